//! One run: a fleet is founded, lives through faults, heals, and is judged.

use std::time::Duration;

use holdfast_types::Moment;

use crate::options::Options;
use crate::report::Report;
use crate::trace::Sink;
use crate::world::World;

/// Runs a seed.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Report {
    run_aloud(seed, options, None)
}

/// Runs a seed; whoever reads along is told every line of what happens.
#[must_use]
pub fn run_aloud(seed: u64, options: &Options, sink: Option<Sink>) -> Report {
    let mut world = World::new(seed, options);
    if let Some(sink) = sink {
        world.hub.trace.read_along(sink);
    }
    let outcome = live(&mut world);
    let violation = world.hub.checks.violations().first().cloned();
    let failure = violation.or_else(|| outcome.err().map(|what| (world.hub.now, what)));
    Report {
        seed,
        time: world.hub.now.since(Moment::ZERO),
        counts: world.hub.counts,
        trace: world.hub.trace.hash(),
        failure,
    }
}

fn live(world: &mut World) -> Result<(), String> {
    world.boot()?;
    world.set_busy(true);
    let safety = world.options.safety;
    world.begin_faults(safety);
    world.run_for(safety);
    world.settle()?;
    world.judge()
}

impl World {
    /// Everything heals; then every range must be led, serve every key, and all replicas come to the same, in time.
    pub fn settle(&mut self) -> Result<(), String> {
        let within = self.options.recovery;
        self.heal_everything();
        self.wait("every range is led", within, World::is_led)?;
        self.set_busy(false);
        self.probe(within);
        // Calls of before may wait for their own deadline.
        self.wait("every client is answered", within + holdfast_types::limits::DEFAULT_DEADLINE, World::is_quiet)?;
        self.converge(within)
    }

    fn converge(&mut self, within: Duration) -> Result<(), String> {
        let mut differs = None;
        self.wait("all replicas have applied the same", within, |world| match world.is_converged() {
            Ok(converged) => converged,
            Err(what) => {
                differs = Some(what);
                true
            }
        })?;
        differs.map_or(Ok(()), Err)
    }

    /// Judges what clients were answered, and the workers' own invariants.
    pub fn judge(&self) -> Result<(), String> {
        self.check()?;
        self.hub.checks.history.check(&self.versions())
    }
}

//! The main job on real Kubernetes clusters: one fleet over three of them, a load in each, one killed and brought back.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use holdfast_benches::workload::Totals;
use holdfast_benches::workload::totals::line;
use holdfast_testkit::Options;
use serde::Serialize;

use crate::{Found, Programs, Stage};

/// The name of the fleet.
const FLEET: &str = "demo";
/// The site that dies.
const VICTIM: &str = "north";
/// How long the load lasts that shows that the site serves again.
const AGAIN_SECONDS: u32 = 5;

/// What the demo found: the same figures as `holdfast demo` has, for programs in the sites that lived.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Sites of the fleet.
    pub sites: usize,
    /// How long the load ran.
    pub seconds: u32,
    /// From nothing to a fleet that is whole.
    pub up_seconds: f64,
    /// What the loads came to.
    #[serde(flatten)]
    pub totals: Totals,
    /// Operations a second, in all sites that lived.
    pub throughput: f64,
    /// From the first process of the killed site to a fleet that is whole again.
    pub return_seconds: f64,
    /// A load in the site that came back was clean.
    pub serves_again: bool,
}

impl Summary {
    fn new(loads: &[Found], seconds: u32) -> Summary {
        Summary {
            sites: 0,
            seconds,
            up_seconds: 0.0,
            totals: Totals::together(loads.iter().map(|load| &load.totals)),
            throughput: loads.iter().map(|load| load.operations_per_second).sum(),
            return_seconds: 0.0,
            serves_again: false,
        }
    }

    /// True when the promises held.
    pub fn is_clean(&self) -> bool {
        self.totals.is_clean() && self.serves_again
    }

    /// The result in words.
    pub fn in_words(&self) -> String {
        let verdict = if self.is_clean() {
            "One of three Kubernetes clusters was killed and came back: nothing was lost, nothing was done twice, no client in the others saw an error."
        } else {
            "A PROMISE WAS BROKEN: see the figures."
        };
        let stalled = format!("{:.1} s after the load began", self.totals.max_stall_began_ms / 1_000.0);
        let mut lines = self.totals.lines(&stalled);
        lines.push(line("throughput", &format!("{:.0}/s", self.throughput)));
        lines.push(line("from nothing to up", &format!("{:.0} s", self.up_seconds)));
        lines.push(line("back after", &format!("{:.0} s", self.return_seconds)));
        format!("\n{verdict}\n\n{}", lines.concat())
    }
}

/// Runs the demo. What happens is told to `say`, a line each.
pub fn run(options: &Options, seconds: u32, say: impl Fn(&str)) -> Result<Summary> {
    say("Booting three Kubernetes clusters, each with an API server, a kubelet and containerd of its own ...");
    let begun = Instant::now();
    let mut stage = Stage::up(options, Programs::beside()?, FLEET)?;
    say(&format!("They are up after {:.0} s, and the image is on every node.", begun.elapsed().as_secs_f64()));
    let ended = drive(&mut stage, seconds, begun, &say);
    // The clusters go, however it ended; why it ended is what matters more.
    let down = stage.down();
    let summary = ended?;
    down.map(|()| summary)
}

fn drive(stage: &mut Stage, seconds: u32, begun: Instant, say: &impl Fn(&str)) -> Result<Summary> {
    let sites = stage.sites();
    for site in &sites {
        stage.apply_tree(site)?;
    }
    let first = sites.first().context("there is no site")?;
    stage.until("the fleet can be founded", || stage.found(first).ok())?;
    stage.keep_synced()?;
    stage.settled(first, stage.fleet.stores())?;
    for site in &sites {
        stage.ready(&stage.pod(site, 0))?;
    }
    stage.split(&stage.pod(first, 0))?;
    let up_seconds = begun.elapsed().as_secs_f64();
    say("One fleet lies over all of them: every range has a replica in each.");
    let alive: Vec<_> = sites.iter().filter(|site| *site != VICTIM).collect();
    let drills: Result<Vec<_>> = alive.iter().map(|site| stage.start_load(site, "demo", seconds)).collect();
    let drills = drills?;
    // It dies with its site.
    stage.start_load(VICTIM, "demo", seconds)?;
    say(&format!("A program in each site loads the fleet, for {seconds} s."));
    let third = Duration::from_secs(u64::from(seconds) / 3);
    thread::sleep(third);
    say(&format!("The whole Kubernetes cluster {VICTIM} is killed: API server, etcd, kubelet, pods."));
    stage.clusters.kill(VICTIM)?;
    thread::sleep(third);
    say("It comes back.");
    let back = Instant::now();
    stage.clusters.bring_back(VICTIM)?;
    stage.ready(&stage.pod(VICTIM, 0))?;
    stage.settled(first, stage.fleet.stores())?;
    let return_seconds = back.elapsed().as_secs_f64();
    say("Reading back every acknowledged write ...");
    let found: Result<Vec<_>> = drills.iter().map(|drill| stage.end_load(drill)).collect();
    let again = stage.start_load(VICTIM, "again", AGAIN_SECONDS)?;
    let serves_again = stage.end_load(&again)?.is_clean();
    Ok(Summary { sites: sites.len(), up_seconds, return_seconds, serves_again, ..Summary::new(&found?, seconds) })
}

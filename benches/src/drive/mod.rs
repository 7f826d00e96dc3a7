//! Clients at work, measured.
//!
//! - closed loop: every client asks, waits for the answer and asks again; the store sets the pace
//! - open loop: operations arrive at a fixed rate, and a client that is free takes the next; see [`Arrivals`]

mod arrivals;
mod clock;
mod recorder;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

pub use self::arrivals::Arrivals;
pub use self::clock::{Clock, MachineClock};
pub use self::recorder::{Ended, Outcome, Recorder, SecondSample};
use crate::contest::Session;
use crate::work::{Operation, Operations, Population, Values, Work, key};

/// A read-modify-write that another client was faster than so often in a row ends with an error.
const MAX_CONFLICTS: u64 = 1_000;
/// Keys are loaded by so many clients.
const LOADERS: u64 = 128;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the clients do.
    pub work: Work,
    /// Operations a second, for an open loop; `None`: a closed one.
    pub rate: Option<f64>,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// How long the clients work before anything counts.
    pub warm_up: Duration,
    /// How long is measured.
    pub lasting: Duration,
    /// What all random numbers come from.
    pub seed: u64,
}

/// What the clients of one run share.
struct Shared {
    recorder: Recorder,
    clock: Arc<dyn Clock>,
    arrivals: Option<Arc<Arrivals>>,
    stop: AtomicBool,
    population: Arc<Population>,
}

/// Clients at work.
pub struct Drive {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    warm_until: Instant,
    lasting: Duration,
}

impl Drive {
    /// Starts one client for each session.
    pub fn start(sessions: &[Arc<dyn Session>], plan: &Plan, population: &Arc<Population>) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(MachineClock::start());
        let arrivals = plan.rate.map(Arrivals::new).transpose()?.map(Arc::new);
        let shared = Arc::new(Shared {
            recorder: Recorder::default(),
            clock: Arc::clone(&clock),
            arrivals: arrivals.clone(),
            stop: AtomicBool::new(false),
            population: Arc::clone(population),
        });
        let values = Values::new(plan.value_bytes, plan.seed);
        let mut tasks = JoinSet::new();
        for (number, session) in sessions.iter().enumerate() {
            let seed = plan.seed.wrapping_mul(1_000_003).wrapping_add(u64::try_from(number).unwrap_or(0));
            let operations = Operations::new(plan.work.clone(), values.clone(), Arc::clone(population), seed);
            tasks.spawn(Arc::clone(&shared).client(number, Arc::clone(session), operations));
        }
        if let Some(arrivals) = arrivals {
            arrivals::pace(arrivals, clock)?;
        }
        Ok(Self { shared, tasks, warm_until: Instant::now() + plan.warm_up, lasting: plan.lasting })
    }

    /// Waits for the end of the warm-up; what follows counts.
    pub async fn warm_up(&self) {
        sleep_until(self.warm_until).await;
        self.shared.recorder.begin();
    }

    /// Measures for as long as planned; shows every second as it passes.
    pub async fn measure(mut self, mut show: impl FnMut(&SecondSample)) -> anyhow::Result<Outcome> {
        let begun = Instant::now();
        let mut samples = Vec::new();
        let mut before = begun;
        while before < begun + self.lasting {
            let next = (before + Duration::from_secs(1)).min(begun + self.lasting);
            sleep_until(next).await;
            let now = Instant::now();
            let sample = self.shared.recorder.sample(now - begun, now - before);
            show(&sample);
            samples.push(sample);
            before = now;
        }
        let lasted = begun.elapsed();
        self.shared.recorder.end();
        self.shared.finish();
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        Ok(self.shared.recorder.outcome(lasted, samples))
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        self.shared.finish();
    }
}

impl Shared {
    /// One client: asks until the run has ended.
    async fn client(self: Arc<Self>, number: usize, session: Arc<dyn Session>, mut operations: Operations) {
        while !self.stop.load(Ordering::Acquire) {
            let intended = match &self.arrivals {
                None => self.clock.now(),
                Some(arrivals) => match arrivals.take().await {
                    Some(intended) => intended,
                    None => return,
                },
            };
            let operation = operations.draw();
            let kind = operation.kind();
            let ended = perform(&*session, operation, &self.population).await;
            let ended = ended.unwrap_or_else(Ended::Badly);
            self.recorder.record(number, kind, self.clock.now().saturating_sub(intended), ended);
            // A store within this process may answer without ever waiting.
            tokio::task::consume_budget().await;
        }
    }

    /// Ends the run. Open loop: what was due and never begun waited up to now, at least.
    fn finish(&self) {
        if self.stop.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(arrivals) = &self.arrivals else { return };
        let now = self.clock.now();
        for intended in arrivals.end(now) {
            self.recorder.record_unserved(now.saturating_sub(intended));
        }
    }
}

async fn perform(session: &dyn Session, operation: Operation, population: &Population) -> anyhow::Result<Ended> {
    let well = |missing| Ended::Well { conflicts: 0, missing };
    Ok(match operation {
        Operation::Read(key) => well(session.get(key).await?.is_none()),
        Operation::Update(key, value) => {
            session.put(key, value).await?;
            well(false)
        }
        Operation::Insert(number, value) => {
            session.put(key(number), value).await?;
            population.inserted(number);
            well(false)
        }
        Operation::Scan(start, end, rows) => {
            session.scan(start, end, rows).await?;
            well(false)
        }
        Operation::ReadModifyWrite(key, value) => {
            let mut conflicts = 0;
            while !session.replace(key.clone(), value.clone()).await? {
                conflicts += 1;
                if conflicts == MAX_CONFLICTS {
                    bail!("another client was faster {MAX_CONFLICTS} times in a row");
                }
            }
            Ended::Well { conflicts, missing: false }
        }
    })
}

/// Writes the keys of all numbers below `keys`.
pub async fn load(
    sessions: &[Arc<dyn Session>],
    keys: u64,
    value_bytes: usize,
    seed: u64,
    mut show: impl FnMut(u64),
) -> anyhow::Result<()> {
    let values = Values::new(value_bytes, seed);
    let mut writers = FuturesUnordered::new();
    for writer in 0..LOADERS {
        let session = &sessions[usize::try_from(writer)? % sessions.len()];
        let values = values.clone();
        writers.push(async move {
            use rand::SeedableRng;
            let mut random = rand::rngs::SmallRng::seed_from_u64(seed ^ writer);
            let mut written = 0;
            for number in (writer..keys).step_by(usize::try_from(LOADERS)?) {
                session.put(key(number), values.next(&mut random)).await?;
                written += 1;
            }
            anyhow::Ok(written)
        });
    }
    let mut done = 0;
    while let Some(written) = writers.next().await {
        done += written?;
        show(done);
    }
    Ok(())
}

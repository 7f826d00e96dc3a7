//! The same work for Holdfast, for another store and for the floor, in turns, on this machine.
//!
//! All are started once, get the same keys, and stay up; while one is measured the others are asked nothing.

mod rows;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use holdfast_output::errln;
use serde::Serialize;
use tokio::time::Instant;

pub use self::rows::{Metric, Row, table};
use crate::contest::{Peer, Session};
use crate::drive::{Drive, Plan, load};
use crate::machine::{Machine, cpu_time, sync_time_ms};
use crate::report::rounded;
use crate::work::{Population, Preset};

/// What is compared.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// Works, each with a number of clients.
    pub works: Vec<(Preset, usize)>,
    /// How often each store is measured with each work; the median counts.
    pub rounds: usize,
    /// Before each measurement.
    pub warm_up: Duration,
    /// Of each measurement.
    pub lasting: Duration,
    /// Keys that each store gets at the beginning.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// What all random numbers come from.
    pub seed: u64,
}

impl CompareOptions {
    /// About five minutes; with TLS, seven.
    #[must_use]
    pub fn short(value_bytes: usize, seed: u64) -> Self {
        Self {
            works: vec![
                (Preset::Put, 64),
                (Preset::Put, 256),
                (Preset::Get, 64),
                (Preset::Get, 256),
                (Preset::Mixed, 64),
                (Preset::Scan, 64),
            ],
            rounds: 3,
            warm_up: Duration::from_secs(1),
            lasting: Duration::from_secs(4),
            keys: 20_000,
            value_bytes,
            seed,
        }
    }

    /// About half an hour.
    #[must_use]
    pub fn long(value_bytes: usize, seed: u64) -> Self {
        let presets = [Preset::Put, Preset::Get, Preset::Mixed, Preset::Scan, Preset::YcsbB, Preset::YcsbF];
        Self {
            works: presets.into_iter().flat_map(|preset| [(preset, 64), (preset, 256)]).collect(),
            rounds: 5,
            warm_up: Duration::from_secs(2),
            lasting: Duration::from_secs(8),
            keys: 100_000,
            value_bytes,
            seed,
        }
    }
}

/// What one store did in one round.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Operations a second.
    pub per_second: f64,
    /// Half of them were at least this fast.
    pub p50_ms: f64,
    /// All but one in a hundred.
    pub p99_ms: f64,
    /// Operations that ended with an error.
    pub errors: u64,
    /// Cores that the store's processes used.
    pub store_cores: f64,
    /// Cores that this process used: the clients, and the floor.
    pub client_cores: f64,
}

/// All rounds of one work.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Series {
    /// The work's name.
    pub work: String,
    /// How many clients.
    pub clients: usize,
    /// Round by round.
    pub holdfast: Vec<Measured>,
    /// Of the store that Holdfast is compared with.
    pub peer: Vec<Measured>,
    /// Of the floor; empty when it was left out.
    pub floor: Vec<Measured>,
    /// Of Holdfast with TLS; empty when it was not asked for.
    pub tls: Vec<Measured>,
}

impl Series {
    fn of(&mut self, role: Role) -> &mut Vec<Measured> {
        match role {
            Role::Holdfast => &mut self.holdfast,
            Role::Peer => &mut self.peer,
            Role::Floor => &mut self.floor,
            Role::Tls => &mut self.tls,
        }
    }
}

/// What a store is in a comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Holdfast,
    Peer,
    Floor,
    Tls,
}

/// What `holdfast-bench compare --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// A row for each work, number of clients and metric.
    pub results: Vec<Row>,
    /// The store that Holdfast is compared with.
    pub peer_name: String,
    /// What each store says of its version.
    pub versions: std::collections::BTreeMap<String, String>,
    /// The machine, and its sync time in this very run.
    pub machine: Machine,
    /// What was asked for.
    pub options: serde_json::Value,
    /// Every round of every work.
    pub rounds: Vec<Series>,
}

/// One store with its clients.
struct Contender {
    role: Role,
    peer: Box<dyn Peer>,
    sessions: Vec<Arc<dyn Session>>,
    population: Arc<Population>,
}

impl Contender {
    async fn prepare(
        role: Role,
        mut peer: Box<dyn Peer>,
        options: &CompareOptions,
        say: &dyn Fn(&str),
    ) -> anyhow::Result<Self> {
        say(&format!("starting {} ({})", peer.name(), peer.version()?));
        peer.start().await?;
        let most = options.works.iter().map(|(_, clients)| *clients).max().unwrap_or(1);
        let sessions = peer.connect(most).await?;
        let begun = Instant::now();
        load(&sessions, options.keys, options.value_bytes, options.seed, |_| ()).await?;
        say(&format!("{}: {} keys loaded in {:.1} s", peer.name(), options.keys, begun.elapsed().as_secs_f64()));
        Ok(Self { role, peer, sessions, population: Arc::new(Population::new(options.keys)) })
    }

    async fn measure(&self, clients: usize, plan: &Plan) -> anyhow::Result<Measured> {
        let drive = Drive::start(&self.sessions[..clients], plan, &self.population)?;
        drive.warm_up().await;
        let (stores, own) = (self.peer.process_ids(), [std::process::id()]);
        let before = (cpu_time(&stores), cpu_time(&own));
        let outcome = drive.measure(|_| ()).await?;
        let cores = |now: Duration, before: Duration| {
            rounded(now.saturating_sub(before).as_secs_f64() / outcome.lasted.as_secs_f64(), 2)
        };
        if let Some(error) = &outcome.first_error {
            errln!("{}: {} operations failed, the first: {error}", self.peer.name(), outcome.errors);
        }
        Ok(Measured {
            per_second: rounded(outcome.per_second(), 1),
            p50_ms: rounded(outcome.all.percentile_ms(50.0), 3),
            p99_ms: rounded(outcome.all.percentile_ms(99.0), 3),
            errors: outcome.errors,
            store_cores: cores(cpu_time(&stores), before.0),
            client_cores: cores(cpu_time(&own), before.1),
        })
    }
}

/// The stores of one comparison.
pub struct Contenders {
    /// Holdfast.
    pub holdfast: Box<dyn Peer>,
    /// What it is compared with.
    pub peer: Box<dyn Peer>,
    /// The floor, if wanted.
    pub floor: Option<Box<dyn Peer>>,
    /// Holdfast with TLS, if it is to be compared with Holdfast without.
    pub tls: Option<Box<dyn Peer>>,
}

/// Measures everything; `dir` is where the stores keep their data, `say` is told what happens.
pub async fn compare(
    contenders: Contenders,
    options: &CompareOptions,
    dir: &Path,
    say: &dyn Fn(&str),
) -> anyhow::Result<Comparison> {
    ensure!(options.rounds > 0 && !options.works.is_empty(), "a comparison has works and rounds");
    ensure!(options.works.iter().all(|(_, clients)| *clients > 0), "a work has at least one client");
    let mut machine = Machine::look(dir)?;
    let mut prepared = Vec::new();
    let Contenders { holdfast, peer, floor, tls } = contenders;
    let peer_name = peer.name().to_owned();
    let all = [(Role::Holdfast, Some(holdfast)), (Role::Tls, tls), (Role::Peer, Some(peer)), (Role::Floor, floor)];
    for (role, peer) in all {
        if let Some(peer) = peer {
            prepared.push(Contender::prepare(role, peer, options, say).await?);
        }
    }
    let mut rounds = Vec::new();
    let mut syncs = vec![machine.fdatasync_ms];
    for (preset, clients) in &options.works {
        rounds.push(measure_work(&prepared, *preset, *clients, options, say).await?);
        syncs.push(sync_time_ms(dir)?);
    }
    syncs.sort_by(f64::total_cmp);
    machine.fdatasync_ms = rounded(syncs[syncs.len() / 2], 3);
    let name_and_version =
        |contender: &Contender| anyhow::Ok((contender.peer.name().to_owned(), contender.peer.version()?));
    let versions = prepared.iter().map(name_and_version).collect::<Result<_, _>>()?;
    Ok(Comparison {
        results: rounds.iter().map(rows::of).collect::<Result<Vec<_>, _>>()?.concat(),
        peer_name,
        versions,
        machine,
        options: serde_json::json!({
            "rounds": options.rounds,
            "seconds": options.lasting.as_secs_f64(),
            "warm_up_seconds": options.warm_up.as_secs_f64(),
            "keys": options.keys,
            "value_bytes": options.value_bytes,
            "seed": options.seed,
        }),
        rounds,
    })
}

/// All rounds of one work: Holdfast, with TLS too, the other store, the floor, and again.
async fn measure_work(
    contenders: &[Contender],
    preset: Preset,
    clients: usize,
    options: &CompareOptions,
    say: &dyn Fn(&str),
) -> anyhow::Result<Series> {
    let work = preset.work();
    let name = work.name.clone();
    let mut series = Series { work: name.clone(), clients, ..Series::default() };
    for round in 0..options.rounds {
        let plan = Plan {
            work: work.clone(),
            rate: None,
            value_bytes: options.value_bytes,
            warm_up: options.warm_up,
            lasting: options.lasting,
            // Every store gets the same operations in a round.
            seed: options.seed.wrapping_add(u64::try_from(round).unwrap_or(0)),
        };
        for contender in contenders {
            let found = contender.measure(clients, &plan).await?;
            say(&format!(
                "{name}, {clients} clients, round {} of {}: {:<15} {:>7.0}/s, p50 {:.2} ms, p99 {:.2} ms",
                round + 1,
                options.rounds,
                contender.peer.name(),
                found.per_second,
                found.p50_ms,
                found.p99_ms
            ));
            series.of(contender.role).push(found);
        }
    }
    Ok(series)
}

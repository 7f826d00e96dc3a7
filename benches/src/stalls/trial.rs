//! One fleet in network namespaces, and one fault after the other on it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use holdfast_client::{Client, Options, Security, SiteName};
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Row;
use super::matrix::{Act, Fault};
use super::pinned::Pinned;
use super::worker::{Access, Seen, Worker, cuts};
use crate::fleet::{FleetOptions, LocalFleet};
use crate::record::Record;
use crate::wires::Wires;
use crate::wires::inside::{Inside, inside};
use crate::workload::verify;

/// One store in each.
const SITES: usize = 3;
/// Clients that may go to any store, as many with each site as their own.
const ROAMING: usize = 6;
/// Clients of each store that talk to no other.
const PINNED: usize = 2;
/// Work before the fault, so that connections are warm.
const BEFORE: Duration = Duration::from_secs(1);
/// And after it: what the healing costs counts too.
const AFTER: Duration = Duration::from_secs(2);
/// A fleet that is not itself again after this long has not healed.
const HEALED_WITHIN: Duration = Duration::from_secs(60);

/// A fleet, driven from outside of all sites: everything here runs in that namespace, but for the clients beside the stores.
pub struct Trial {
    fleet: LocalFleet,
    wires: Arc<Wires>,
    roaming: Vec<Client>,
    run: usize,
}

impl Trial {
    /// Starts a fleet with its data below `dir`, with TLS or without, and cuts its keys into ranges, some of which each site leads.
    pub async fn start(binary: PathBuf, dir: PathBuf, wires: Arc<Wires>, tls: bool) -> anyhow::Result<Self> {
        let options = FleetOptions { binary, dir, sites: SITES, stores_per_site: 1, extra_args: Vec::new(), tls };
        let mut fleet = LocalFleet::new(options)?;
        fleet.place(&wires)?;
        fleet.start().await?;
        fleet.split_at(&cuts()).await?;
        fleet.wait_spread(HEALED_WITHIN).await?;
        fleet.wait_leaders_balanced(HEALED_WITHIN).await?;
        let mut roaming = Vec::new();
        for store in fleet.stores() {
            let site = SiteName::new(&store.site).map_err(anyhow::Error::msg)?;
            roaming.push(
                Client::connect(fleet.addresses(), Options::new().site(site).security(fleet.security().clone()))
                    .await?,
            );
        }
        Ok(Self { fleet, wires, roaming, run: 0 })
    }

    /// Lets clients work, lets the fault happen for so long and go, and reads everything back. `false`: the fleet did not
    /// become itself again, and is of no more use.
    pub async fn measure(&mut self, fault: Fault, lasting: Duration) -> anyhow::Result<(Row, bool)> {
        self.run += 1;
        let stop = Arc::new(AtomicBool::new(false));
        let mut roaming = JoinSet::new();
        for number in 0..ROAMING {
            let client = self.roaming[number % SITES].clone();
            roaming.spawn(Worker::new(Access::Roaming(client), self.run, number).run(Arc::clone(&stop)));
        }
        let pinned: Vec<_> = (0..SITES).map(|site| self.pinned(site, &stop)).collect::<Result<_, _>>()?;
        sleep(BEFORE).await;
        self.play(&fault.act, lasting).await.with_context(|| fault.name.clone())?;
        sleep(AFTER).await;
        stop.store(true, Ordering::Release);

        let (mut anywhere, mut bad, mut elsewhere) = (Seen::default(), Seen::default(), Seen::default());
        let mut record = Record::default();
        while let Some(seen) = roaming.join_next().await {
            let seen = seen?;
            anywhere.add(&seen);
            record.merge(seen.record);
        }
        for (site, clients) in pinned.into_iter().enumerate() {
            for seen in clients.finish().await? {
                if fault.bad.contains(&site) {
                    bad.add(&seen)
                } else {
                    elsewhere.add(&seen)
                }
                record.merge(seen.record);
            }
        }
        let mut notes = self.healing().await;
        let is_healed = notes.is_empty();
        let verdict = verify(&self.roaming, &record, |_, _| ()).await;
        notes.extend(verdict.as_ref().err().map(|error| format!("not everything could be read back: {error:#}")));
        let with_a_way =
            [("anywhere", &anywhere, true), ("bad side", &bad, fault.has_path), ("elsewhere", &elsewhere, true)];
        for (whose, seen, _) in with_a_way {
            notes.extend(
                seen.first_error.as_ref().map(|error| format!("{whose}, {} failed, the first: {error}", seen.errors)),
            );
        }
        let errors = with_a_way.iter().filter(|(.., counts)| *counts).map(|(_, seen, _)| seen.errors).sum();
        let stale = anywhere.stale + bad.stale + elsewhere.stale;
        let (anywhere, bad, elsewhere) = (anywhere.longest, bad.longest, elsewhere.longest);
        let verdict = verdict.ok();
        Ok((Row { fault, anywhere, bad, elsewhere, errors, stale, verdict, notes }, is_healed))
    }

    /// Clients beside the store of a site, which know no other.
    fn pinned(&self, site: usize, stop: &Arc<AtomicBool>) -> anyhow::Result<Inside<Vec<Seen>>> {
        let (address, run, stop) = (self.fleet.stores()[site].client, self.run, Arc::clone(stop));
        let (first, security) = (ROAMING + site * PINNED, self.fleet.security().clone());
        inside(self.wires.site(site), move || work_pinned(address, security, run, first, stop))
    }

    /// Lets the fault happen for so long.
    async fn play(&mut self, act: &Act, lasting: Duration) -> anyhow::Result<()> {
        const VICTIM: usize = 0;
        let end = Instant::now() + lasting;
        match act {
            Act::Nothing => sleep(lasting).await,
            Act::Cut(cuts) => {
                self.wires.cut(cuts)?;
                sleep(lasting).await;
            }
            Act::Flap(cuts, every) => {
                while Instant::now() < end {
                    self.wires.cut(cuts)?;
                    sleep(*every).await;
                    self.wires.heal()?;
                    sleep(*every).await;
                }
            }
            Act::Pause => {
                self.fleet.signal(VICTIM, Signal::STOP)?;
                sleep(lasting).await;
                self.fleet.signal(VICTIM, Signal::CONT)?;
            }
            Act::Pulses(stopped, running) => {
                while Instant::now() < end {
                    self.fleet.signal(VICTIM, Signal::STOP)?;
                    sleep(*stopped).await;
                    self.fleet.signal(VICTIM, Signal::CONT)?;
                    sleep(*running).await;
                }
            }
            Act::Kill => {
                self.fleet.kill(VICTIM)?;
                sleep(lasting).await;
                self.fleet.start_store(VICTIM)?;
            }
        }
        self.wires.heal()
    }

    /// Waits until the fleet is itself again; says what is not.
    async fn healing(&mut self) -> Vec<String> {
        let mut missing = Vec::new();
        if let Err(error) = self.fleet.wait_spread(HEALED_WITHIN).await {
            missing.push(format!("not healed: {error:#}"));
        } else if let Err(error) = self.fleet.wait_leaders_balanced(HEALED_WITHIN).await {
            missing.push(format!("not healed: {error:#}"));
        }
        missing
    }
}

async fn work_pinned(
    address: SocketAddr,
    security: Security,
    run: usize,
    first: usize,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Vec<Seen>> {
    let mut workers = JoinSet::new();
    for number in first..first + PINNED {
        let access = Access::Pinned(Pinned::connect(address, security.clone()).await?);
        workers.spawn(Worker::new(access, run, number).run(Arc::clone(&stop)));
    }
    let mut seen = Vec::new();
    while let Some(worker) = workers.join_next().await {
        seen.push(worker?);
    }
    Ok(seen)
}

//! What goes wrong. Each seed chooses which kinds of faults there are, how often and how badly ("swarm testing": Groce et al.,
//! 2012): runs with few kinds reach states that runs with all of them never see.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_types::{SiteName, StoreId};

use crate::clock::MAX_DRIFT_PPM;
use crate::disk::Ending;
use crate::network::{Cut, Lanes, Place, Weather};
use crate::rng::Rng;
use crate::world::World;

/// Kinds of faults.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A process is killed or a machine loses power; it comes back.
    Crash,
    /// All stores lose power at once.
    CrashAll,
    /// A whole site loses power.
    LoseSite,
    /// A site is cut off, both ways.
    CutSite,
    /// One direction between two stores is cut.
    CutOneWay,
    /// Two stores do not reach each other; both reach the rest.
    CutPair,
    /// Connections break.
    Reset,
    /// A process is stopped and goes on.
    Freeze,
    /// A disk ends no sync for a while.
    Stall,
    /// A disk is many times as slow.
    Slow,
    /// A disk is full.
    Fill,
    /// A disk has so little space left that clients' writes are refused.
    NearlyFull,
    /// A sync fails: the process exits.
    FailSync,
    /// A wall clock is set, within the bound.
    Jump,
    /// A wall clock is set beyond the bound.
    WrongClock,
    /// A disk is lost with all that is on it; its store never comes back.
    Wipe,
    /// A range is split.
    Split,
    /// A leader hands over.
    Transfer,
    /// A store is stopped as planned.
    Retire,
}

const ALL: [(Kind, u64); 19] = [
    (Kind::Crash, 6),
    (Kind::CrashAll, 1),
    (Kind::LoseSite, 3),
    (Kind::CutSite, 3),
    (Kind::CutOneWay, 3),
    (Kind::CutPair, 3),
    (Kind::Reset, 3),
    (Kind::Freeze, 4),
    (Kind::Stall, 3),
    (Kind::Slow, 2),
    (Kind::Fill, 1),
    (Kind::NearlyFull, 1),
    (Kind::FailSync, 2),
    (Kind::Jump, 2),
    (Kind::WrongClock, 2),
    (Kind::Wipe, 1),
    (Kind::Split, 2),
    (Kind::Transfer, 3),
    (Kind::Retire, 1),
];

/// The end of a fault. Doing it twice does nothing more.
#[derive(Clone, Debug)]
pub enum Repair {
    /// The store starts.
    Start(StoreId),
    /// The process ends and starts again.
    Restart(StoreId),
    /// Its process goes on.
    Thaw(StoreId),
    /// Its disk is as it should be.
    Disk(StoreId),
    /// Its wall clock is right.
    Clock(StoreId),
    /// These cuts heal.
    Heal(BTreeSet<(Place, Place)>),
    /// All stores of the site start.
    Return(SiteName),
}

/// What may go wrong in one run.
#[derive(Clone, Debug)]
pub struct Swarm {
    kinds: Vec<(Kind, u64)>,
    /// The mean wait between two faults.
    pub every: Duration,
    /// The network.
    pub weather: Weather,
    /// How far clocks' rates may differ, in millionths.
    pub drift_ppm: i64,
    /// How far wall clocks may be off.
    pub offset: Duration,
}

impl Swarm {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        let every = Duration::from_secs(3_600);
        Self { kinds: Vec::new(), every, weather: Weather::QUIET, drift_ppm: 0, offset: Duration::ZERO }
    }

    /// What a seed chooses.
    pub fn choose(rng: &mut Rng) -> Self {
        let share = rng.between(15, 90);
        let kinds = ALL.into_iter().filter(|_| rng.below(100) < share).collect();
        let mut some = |most: u32| if rng.coin() { u32::try_from(rng.below(u64::from(most))).unwrap_or(0) } else { 0 };
        let (lost, repeated, late) = (some(20_000), some(20_000), some(10_000));
        let delay = Duration::from_micros([200, 300, 1_000, 5_000][rng.index(4)]);
        let weather = Weather { delay, lost, repeated, late };
        let every = Duration::from_millis(rng.between(150, 3_000));
        let drift_ppm = [0, 100, MAX_DRIFT_PPM][rng.index(3)];
        let offset = Duration::from_millis([0, 20, 250][rng.index(3)]);
        Self { kinds, every, weather, drift_ppm, offset }
    }

    /// The kind of the next fault.
    pub fn next(&self, rng: &mut Rng) -> Option<Kind> {
        let total = self.kinds.iter().map(|(_, weight)| weight).sum();
        let mut at = rng.below(total);
        for (kind, weight) in &self.kinds {
            match at.checked_sub(*weight) {
                None => return Some(*kind),
                Some(rest) => at = rest,
            }
        }
        None
    }
}

impl World {
    /// One fault; its end is planned with it.
    pub(crate) fn make_fault(&mut self, kind: Kind) {
        self.hub.note(|| format!("FAULT {kind:?}"));
        self.hub.counts.faults += 1;
        let mut rng = self.hub.rng.fork();
        let stores: Vec<StoreId> = self.living().collect();
        let Some(&store) = rng.pick(&stores) else { return };
        let wait = rng.around(Duration::from_millis(1_200));
        match kind {
            Kind::Crash => {
                let ending = if rng.coin() { Ending::Killed } else { Ending::PowerLost };
                self.end_store(store, ending);
                self.repair_after(wait, Repair::Start(store));
            }
            Kind::CrashAll => {
                for store in stores {
                    self.end_store(store, Ending::PowerLost);
                    self.repair_after(rng.around(Duration::from_millis(400)), Repair::Start(store));
                }
            }
            Kind::LoseSite => {
                let site = self.site_of(store);
                self.lose_site(&site);
                self.repair_after(wait * 2, Repair::Return(site));
            }
            Kind::CutSite | Kind::CutOneWay | Kind::CutPair => {
                let cuts = self.choose_cut(kind, store, &mut rng);
                let how = if rng.coin() { Cut::Loses } else { Cut::Holds };
                let lanes = [Lanes::All, Lanes::All, Lanes::Streams, Lanes::Heartbeats][rng.index(4)];
                self.cut_lanes(&cuts, how, lanes);
                self.repair_after(wait * 2, Repair::Heal(cuts));
            }
            Kind::Reset => self.reset(store, rng.pick(&stores).copied().unwrap_or(store)),
            Kind::Freeze => {
                self.freeze(store);
                self.repair_after(wait, Repair::Thaw(store));
            }
            Kind::Stall | Kind::Slow | Kind::Fill | Kind::NearlyFull | Kind::FailSync => {
                self.spoil_disk(kind, store, wait, &mut rng);
            }
            Kind::Jump => self.jump_clock(store, &mut rng),
            Kind::WrongClock => self.set_one_clock_wrong(store, wait * 2, &mut rng),
            Kind::Wipe => self.wipe_one(store),
            Kind::Split => self.split_somewhere(&mut rng),
            Kind::Transfer => self.transfer_somewhere(&mut rng),
            Kind::Retire => {
                self.retire(store);
                self.restart_after(rng.wait(Duration::from_millis(200), Duration::from_secs(2)), store);
            }
        }
    }

    fn choose_cut(&self, kind: Kind, store: StoreId, rng: &mut Rng) -> BTreeSet<(Place, Place)> {
        if kind == Kind::CutSite {
            return self.around_site(&self.site_of(store));
        }
        let others: Vec<StoreId> = self.living().filter(|other| *other != store).collect();
        let Some(&other) = rng.pick(&others) else { return BTreeSet::new() };
        let (one, two) = (Place::Store(store), Place::Store(other));
        let mut cuts = BTreeSet::from([(one, two)]);
        if kind == Kind::CutPair {
            cuts.insert((two, one));
        }
        cuts
    }

    fn spoil_disk(&mut self, kind: Kind, store: StoreId, wait: Duration, rng: &mut Rng) {
        match kind {
            Kind::Stall => return self.stall_disk(store, wait * 2),
            Kind::FailSync => return self.disk(store, |disk| disk.contents.fail_next_sync()),
            Kind::Slow => {
                let times = u32::try_from(rng.between(5, 50)).expect("fifty");
                self.disk(store, |disk| disk.slowness = times);
            }
            Kind::Fill => self.disk(store, |disk| disk.set_full(true)),
            _ => self.disk(store, |disk| disk.set_nearly_full(true)),
        }
        self.repair_after(wait, Repair::Disk(store));
    }

    /// One clock at a time: two of three that are off alike would be the majority.
    fn set_one_clock_wrong(&mut self, store: StoreId, wait: Duration, rng: &mut Rng) {
        if self.is_any_clock_wrong() {
            return;
        }
        let most_ms = if rng.coin() { 8_000 } else { 600_000 };
        let by_ms = i64::try_from(rng.between(1_500, most_ms)).expect("minutes");
        self.set_clock_wrong(store, if rng.coin() { by_ms } else { -by_ms });
        self.repair_after(wait, Repair::Clock(store));
    }

    /// One disk in a run: of two lost disks no fleet of three copies promises anything.
    fn wipe_one(&mut self, store: StoreId) {
        if self.is_any_gone() {
            return;
        }
        self.wipe(store);
    }

    /// The end of a fault.
    pub(crate) fn repair(&mut self, repair: Repair) {
        match repair {
            Repair::Start(store) => self.start_store(store),
            Repair::Restart(store) => {
                self.end_store(store, Ending::Killed);
                self.start_store(store);
            }
            Repair::Thaw(store) => self.thaw(store),
            Repair::Disk(store) => self.disk(store, |disk| {
                disk.slowness = 1;
                disk.set_full(false);
                disk.set_nearly_full(false);
            }),
            Repair::Clock(store) => self.set_clock_wrong(store, 0),
            Repair::Heal(cuts) => self.heal(&cuts),
            Repair::Return(site) => self.return_site(&site),
        }
    }
}

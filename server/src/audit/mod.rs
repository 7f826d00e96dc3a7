//! Who was refused, who changed the fleet by hand, what became of trust: on record where no single store can take it back.
//!
//! ```text
//! refusals ─▶ sums ─▶ ┐                                 ┌─▶ rows of the audit's keyspace: appended, never changed, expiring
//! acts ─▶ a place ─▶  ├─▶ waiting ─▶ writer, in batches ─┤
//! changes of trust ─▶ ┘      │                          └─▶ (no quorum) the file `audit.bin`, until there is one
//!                            └─▶ at once: a line of the log, target `audit`
//! ```
//!
//! - An *act* takes its place before it is done, and waits for one where there is none: what is not on record is not done. How it ended is
//!   recorded when it ended; an act whose caller went away before that ended `unknown`.
//! - *Refusals* are caused by anybody. The first ones of a caller are told one by one, the others summed up, and so are those of callers
//!   beyond a number: a flood fills neither memory nor disk, and hides nothing but its own details. See [`sums`].
//! - *Changes of trust* come from threads that must not wait. There is room for hundreds; beyond it the oldest go, and are counted.
//! - An entry is stamped with fleet time at its store, and named by that, by the store, and by its number. It is written on the condition that
//!   there is none of its name, so a write whose outcome was lost is simply repeated.
//!
//! What is lost: what was not written yet when the process is killed or the machine loses power, which is a tenth of a second and a write with a
//! quorum, and without one what came since the file was last written, some seconds. The log has it. What does not fit into memory while there is no quorum
//! for long: counted by `holdfast_audit_lost`, and said in the log.
//!
//! No entry and no line has a key's value, a token or a secret in it: arguments are chosen field by field in [`acts`].

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

pub mod acts;
mod entry;
mod file;
pub mod listing;
mod sums;
mod waiting;
pub mod witness;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use holdfast_edge::bucket::Bucket;
use holdfast_proto::convert::audit::decode_waiting;
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_types::{Hlc, Rejected, SiteName, StoreId, Timestamp, limits};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Status};

use self::acts::Act;
use self::sums::{Sums, Told};
use self::waiting::{Item, Waiting};
use crate::services::caller::Caller;

pub use self::acts::Acting;
pub use self::entry::{Change, Refusal};
pub use self::writer::{run, stop};

/// The target of the lines.
pub const TARGET: &str = "audit";

/// What is on record of this process, on its way to where it is kept. One for the process.
pub struct Audit {
    state: Mutex<State>,
    /// Places of acts.
    seats: Arc<Semaphore>,
    pace: Mutex<Bucket>,
    /// Something waits.
    woken: Notify,
    /// Held while a batch is written.
    writing: tokio::sync::Mutex<()>,
    /// Once the process is a store.
    home: OnceLock<Home>,
    file: OnceLock<PathBuf>,
}

struct State {
    clock: Hlc,
    next: u64,
    sums: Sums,
    waiting: Waiting,
}

/// Whose entries these are.
struct Home {
    store: StoreId,
    site: SiteName,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

/// How much there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Entries that are not written yet.
    pub waiting: u64,
    /// Entries written since the start.
    pub written: u64,
    /// Entries that found no room.
    pub lost: u64,
    /// Refusals that entries stand for beyond one each.
    pub summed: u64,
}

impl Audit {
    /// Nothing is on record yet, and nothing is kept on disk.
    pub fn new() -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            state: Mutex::new(State {
                clock: Hlc::default(),
                next: 1,
                sums: Sums::new(now),
                waiting: Waiting::default(),
            }),
            seats: Arc::new(Semaphore::new(limits::AUDIT_ACTS)),
            pace: Mutex::new(Bucket::new(now)),
            woken: Notify::new(),
            writing: tokio::sync::Mutex::default(),
            home: OnceLock::new(),
            file: OnceLock::new(),
        })
    }

    /// From here on what cannot be written is kept in this folder. What an earlier process left there is written first; a file that cannot be
    /// read is put aside, and the store starts all the same: its lines are in the log of that process.
    pub fn keep_in(&self, data_dir: &Path) {
        let path = file::path(data_dir);
        match file::read(&path, decode_waiting) {
            Ok(entries) => {
                let mut state = self.state.lock();
                // What comes now is named after them, whatever became of the clock.
                entries.iter().for_each(|entry| state.clock.observe(Timestamp::compared(entry.at)));
                state.waiting.restore(entries);
            }
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "entries of the audit that an earlier start could not write are not readable"
            ),
        }
        // A process keeps them in one place.
        let _ = self.file.set(path);
    }

    /// The process is a store: its entries have a home. `now`: fleet time there.
    pub fn belong_to(&self, store: StoreId, site: SiteName, now: impl Fn() -> Timestamp + Send + Sync + 'static) {
        // A process is one store.
        let _ = self.home.set(Home { store, site, now: Box::new(now) });
        self.woken.notify_one();
    }

    /// Somebody was refused. Any thread may say so; nobody waits.
    pub fn refused(&self, refusal: Refusal) {
        let told = {
            let mut state = self.state.lock();
            state.sums.take(&refusal, Instant::now())
        };
        if told == Told::Alone {
            self.record(refusal.entry(), None, Waiting::refused);
        }
    }

    /// What is trusted changed, or was to. Any thread may say so; nobody waits.
    pub fn changed(&self, change: Change) {
        self.record(change.entry(), None, Waiting::changed);
    }

    /// Somebody asks for an act: it has its place from here on. Refused as busy, with nothing done, where none is free for long.
    pub async fn begin<Q: Act>(self: &Arc<Self>, request: Request<Q>) -> Result<(Acting, Q), Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        Ok((self.begin_for(&caller, &request).await?, request))
    }

    /// The same, for a caller who is known already.
    pub async fn begin_for<Q: Act>(self: &Arc<Self>, caller: &Caller, request: &Q) -> Result<Acting, Status> {
        if !request.is_change() {
            return Ok(Acting::of_none(Arc::clone(self)));
        }
        let busy = || to_status(Rejected::Busy { retry_after: limits::AUDIT_WAIT });
        let pause = self.pace.lock().owe(1, limits::AUDIT_ACTS_BURST, limits::AUDIT_ACT_EVERY, Instant::now());
        if pause > limits::AUDIT_WAIT {
            return Err(busy());
        }
        tokio::time::sleep(pause).await;
        let seat = tokio::time::timeout(limits::AUDIT_WAIT, Arc::clone(&self.seats).acquire_owned()).await;
        let Ok(Ok(seat)) = seat else { return Err(busy()) };
        Ok(Acting::new(Arc::clone(self), entry::act(caller, request), seat))
    }

    fn acted(&self, entry: v1::AuditEntry, seat: OwnedSemaphorePermit) {
        self.record(entry, Some(seat), Waiting::acted);
    }

    /// Stamps an entry, says it in the log, and has it written.
    fn record(
        &self,
        mut entry: v1::AuditEntry,
        seat: Option<OwnedSemaphorePermit>,
        wait: impl FnOnce(&mut Waiting, Item) -> bool,
    ) {
        let home = self.home.get();
        let now = home.map_or_else(wall_time, |home| (home.now)());
        let is_kept = {
            let mut state = self.state.lock();
            entry.at = state.clock.next(now.ms()).0;
            entry.number = state.take_number();
            entry::say(&entry, home.map(|home| (home.store, home.site.as_str())));
            wait(&mut state.waiting, Item { entry, _seat: seat })
        };
        if !is_kept {
            tracing::error!("an entry of the audit found no room: the range of the audit has had no quorum for long");
        }
        self.woken.notify_one();
    }

    /// Tells the sums that are due; all of them, if the process ends.
    fn tell_sums(&self, now: Instant, all: bool) {
        let sums = self.state.lock().sums.due(now, all);
        for sum in sums {
            self.record(sum, None, Waiting::refused);
        }
    }

    /// How much there is.
    pub fn counters(&self) -> Counters {
        let state = self.state.lock();
        Counters { summed: state.sums.summed(), ..state.waiting.counters() }
    }
}

impl State {
    fn take_number(&mut self) -> u64 {
        let number = self.next;
        self.next = number.saturating_add(1);
        number
    }
}

/// Before the process is a store there is no fleet whose time it could have.
fn wall_time() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;

//! What was granted, as this store knows it: read from the system range, kept in memory for every request and in a file for the next start.
//!
//! ```text
//! a change by another store ─▶ its word (LearnRights) ─┐
//! once a second: has the number changed? ──────────────┴─▶ all records, at one moment ─▶ rights ─▶ store, services
//!                                                                                         └─▶ file
//! ```
//!
//! Until the first look of a start what the file says holds: a store that comes up while the system range has no quorum serves those whom it
//! served before. Without a file operators and stores are served, and clients sent elsewhere. A store that cannot look goes by what it knows,
//! and complains; what it lets through is judged once more by the store that evaluates it.
//!
//! Without TLS nobody is known by name, and nothing is looked for.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use bytes::Bytes;
use holdfast_kv::core::rights::{Book, Rights, decode_rights_version};
use holdfast_placement::StateKey;
use holdfast_proto::convert::rights::{decode_rights, encode_rights};
use holdfast_types::{Key, Rejected, TrustDomain, limits};
use parking_lot::Mutex;

use crate::running::Running;
use crate::system;

/// In the data directory.
const FILE: &str = "rights";

/// What was granted, as this store knows it.
pub struct Granted {
    /// `None`: there is no TLS.
    domain: Option<TrustDomain>,
    path: OnceLock<PathBuf>,
    rights: ArcSwap<Rights>,
    seen: Mutex<Seen>,
    counts: Counts,
    /// One look at a time; whoever waited for one has its result.
    looking: tokio::sync::Mutex<()>,
}

struct Seen {
    /// The change that was read last, since the start; `None`: none was.
    number: Option<u64>,
    /// When it was known last that this is the newest.
    at: Instant,
    is_stale: bool,
}

/// What was asked of the system range since the start. No request of a client adds to it: that is what it is here to show.
#[derive(Default)]
struct Counts {
    looks: AtomicU64,
    compiled: AtomicU64,
}

/// How it is with what was granted, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figures {
    /// Questions of the system range whether something has changed.
    pub looks: u64,
    /// Times that all was read and compiled.
    pub compiled: u64,
    /// How long it has not been known whether this is the newest.
    pub age: Duration,
}

impl Granted {
    /// Nothing is known yet, and nothing kept. `domain`: who vouches for those who ask; `None`: there is no TLS.
    pub fn new(domain: Option<TrustDomain>) -> Self {
        let rights = domain.clone().map_or_else(Rights::insecure, Rights::unknown);
        Self {
            domain,
            path: OnceLock::new(),
            rights: ArcSwap::from_pointee(rights),
            seen: Mutex::new(Seen { number: None, at: Instant::now(), is_stale: false }),
            counts: Counts::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// How it is with what was granted; `None`: there is no TLS, and nothing is looked for.
    pub fn figures(&self) -> Option<Figures> {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let age = self.seen.lock().at.elapsed();
        let figures = Figures { looks: count(&self.counts.looks), compiled: count(&self.counts.compiled), age };
        self.are_enforced().then_some(figures)
    }

    /// From here on what is read is kept in a data directory; what an earlier start left there holds until the first look.
    pub fn keep_in(&self, data_dir: &Path) {
        let Some(domain) = &self.domain else { return };
        let path = data_dir.join(FILE);
        match read(&path, domain) {
            Ok(Some(rights)) => self.rights.store(Arc::new(rights)),
            Ok(None) => {}
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    error,
                    "what was granted is not known before it is read anew: clients are sent elsewhere"
                );
            }
        }
        // A process keeps it in one place.
        let _ = self.path.set(path);
    }

    /// The rights that hold here.
    pub fn now(&self) -> Arc<Rights> {
        self.rights.load_full()
    }

    /// True where everybody is known by name, and may do what he was granted.
    pub fn are_enforced(&self) -> bool {
        self.domain.is_some()
    }

    /// Looks whether something has changed, unless the change of this number is known. Returns the number of the last change that is.
    pub async fn look(&self, running: &Running, least: u64) -> Result<u64, Rejected> {
        let Some(domain) = &self.domain else { return Ok(0) };
        let _one = self.looking.lock().await;
        if let Some(number) = self.seen.lock().number.filter(|number| least > 0 && *number >= least) {
            return Ok(number);
        }
        self.counts.looks.fetch_add(1, Ordering::Relaxed);
        let number = match system::get(running, &StateKey::RightsVersion.key()).await? {
            Some(found) => decode_rights_version(&found.value).map_err(system::damaged)?.0,
            None => 0,
        };
        let known = self.seen.lock().number;
        if known == Some(number) {
            self.is_newest(number);
            return Ok(number);
        }
        let rows = system::rows(running, StateKey::all_rights(), system::PATIENCE).await?;
        let book = Book::read(&rows).map_err(system::damaged)?;
        let rights = Arc::new(Rights::compile(domain.clone(), &book));
        self.counts.compiled.fetch_add(1, Ordering::Relaxed);
        self.rights.store(Arc::clone(&rights));
        running.store.set_rights(&rights);
        self.is_newest(book.number());
        tracing::info!(number = book.number(), closed = book.is_closed(), "what was granted was read");
        self.keep(rows).await;
        Ok(book.number())
    }

    fn is_newest(&self, number: u64) {
        let mut seen = self.seen.lock();
        if seen.is_stale {
            tracing::info!("what was granted can be looked at again");
        }
        *seen = Seen { number: Some(number), at: Instant::now(), is_stale: false };
    }

    /// Writes down what was read. A failure is only logged: the next start then knows what an earlier one did.
    async fn keep(&self, rows: Vec<(Key, Bytes)>) {
        let Some(path) = self.path.get().cloned() else { return };
        let shown = path.display().to_string();
        match tokio::task::spawn_blocking(move || holdfast_files::replace(&path, &sealed(&rows))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what was granted could not be kept in {shown}"),
            Err(_) => tracing::error!("what was granted could not be kept: its thread ended"),
        }
    }

    /// How long it has not been known whether this is the newest, where that is too long.
    pub fn stale_for(&self) -> Option<Duration> {
        let elapsed = self.seen.lock().at.elapsed();
        (self.domain.is_some() && elapsed >= limits::RIGHTS_STALE_AFTER).then_some(elapsed)
    }

    /// Keeps looking until the process ends.
    pub async fn run(self: Arc<Self>, running: Arc<Running>) {
        if !self.are_enforced() {
            return;
        }
        let mut stopped = running.stopped.clone();
        loop {
            if let Err(rejected) = self.look(&running, 0).await {
                self.complain(&rejected);
            }
            tokio::select! {
                () = tokio::time::sleep(limits::RIGHTS_LOOK_EVERY) => {}
                // An error means that the sender is gone, and with it the store.
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    }

    fn complain(&self, rejected: &Rejected) {
        if let Some(elapsed) = self.stale_for()
            && !std::mem::replace(&mut self.seen.lock().is_stale, true)
        {
            let seconds = elapsed.as_secs();
            tracing::warn!(%rejected, seconds, "what was granted cannot be looked at: this store goes by what it knew");
        }
    }
}

/// The file with these records, behind its checksum: one that was damaged would open what was closed.
fn sealed(rows: &[(Key, Bytes)]) -> Vec<u8> {
    let records = encode_rights(rows);
    [&crc32c::crc32c(&records).to_be_bytes()[..], &records].concat()
}

/// What was written down; `None`: nothing was.
fn read(path: &Path, domain: &TrustDomain) -> anyhow::Result<Option<Rights>> {
    let shown = || format!("reading {}", path.display());
    let Some(bytes) = holdfast_files::read(path, limits::RIGHTS_FILE_BYTES).with_context(shown)? else {
        return Ok(None);
    };
    let records =
        bytes.split_first_chunk::<4>().filter(|(sum, records)| **sum == crc32c::crc32c(records).to_be_bytes());
    let (_, records) = records.context("its checksum does not fit").with_context(shown)?;
    let rows = decode_rights(Bytes::copy_from_slice(records)).with_context(shown)?;
    Ok(Some(Rights::compile(domain.clone(), &Book::read(&rows).with_context(shown)?)))
}

#[cfg(test)]
mod tests {
    use holdfast_kv::core::permit::Authority;
    use holdfast_kv::core::rights::{Asker, Change};
    use holdfast_types::{Grant, Grantee, KeyspaceId, Request, Right, Scope};

    use super::*;

    fn open(data_dir: &Path, domain: &str) -> Granted {
        let granted = Granted::new(Some(TrustDomain::new(domain).unwrap()));
        granted.keep_in(data_dir);
        granted
    }

    fn ask(granted: &Granted, path: &str) -> Result<(), Rejected> {
        let principal = Arc::new(format!("spiffe://f/{path}").parse().unwrap());
        let request = Request::Get { keys: vec![Key::bound(KeyspaceId::DEFAULT, b"k")], at: None };
        Asker::of(Authority::Principal(principal), &granted.now()).check(&request)
    }

    /// The records of a fleet in which one client may read.
    fn rows() -> Vec<(Key, Bytes)> {
        let grant = Grant::new(Right::Read, Scope::keyspace(KeyspaceId::DEFAULT)).unwrap();
        let change = Change::Grant(vec![grant], Grantee::Clients("ann".parse().unwrap()));
        let changed = Book::default().change(&change).unwrap().unwrap();
        changed.mutations.into_iter().filter_map(|mutation| Some((mutation.key, mutation.value?))).collect()
    }

    #[test]
    fn a_start_goes_by_what_was_written_down_and_without_it_clients_are_sent_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), "f");
        assert_eq!(ask(&first, "operator/ann"), Ok(()));
        assert!(matches!(ask(&first, "client/ann"), Err(Rejected::Unavailable(_))));
        holdfast_files::replace(&dir.path().join(FILE), &sealed(&rows())).unwrap();
        let again = open(dir.path(), "f");
        assert_eq!(ask(&again, "client/ann"), Ok(()));
        assert!(matches!(ask(&again, "client/bob"), Err(Rejected::Forbidden(_))));
        // Another trust domain vouches for nobody whom this one knows.
        assert!(matches!(ask(&open(dir.path(), "g"), "client/ann"), Err(Rejected::Forbidden(_))));
    }

    #[test]
    fn a_file_that_is_damaged_opens_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let whole = sealed(&rows());
        for damaged in crate::damage::versions_of(&whole).into_iter().filter(|damaged| *damaged != whole) {
            std::fs::write(dir.path().join(FILE), &damaged).unwrap();
            let granted = open(dir.path(), "f");
            assert_eq!(ask(&granted, "operator/ann"), Ok(()), "{damaged:?}");
            assert!(matches!(ask(&granted, "client/ann"), Err(Rejected::Unavailable(_))), "{damaged:?}");
        }
    }

    #[test]
    fn without_tls_nobody_is_asked_who_he_is_and_no_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), b"nonsense").unwrap();
        let granted = Granted::new(None);
        granted.keep_in(dir.path());
        assert!(!granted.are_enforced() && granted.stale_for().is_none() && granted.figures().is_none());
        let request = Request::Get { keys: vec![Key::bound(KeyspaceId::SYSTEM, b"k")], at: None };
        assert_eq!(Asker::of(Authority::Client, &granted.now()).check(&request), Ok(()));
    }
}

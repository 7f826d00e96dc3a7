//! One client at work through a fault: it reads, writes and counts in every range in turn, and notes how long it got nowhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holdfast_client::{Client, ClientError, Expected};
use tokio::time::{Instant, sleep};

use super::pinned::Pinned;
use super::{Failed, Outcome, RANGES};
use crate::record::{Finding, Record, WriteEnd};
use crate::workload::count;

/// Between two operations of a client: what is measured is how long it waits, not how much it gets done.
const THINK: Duration = Duration::from_millis(10);
/// In a row of so many operations on a range, one is a read, one counts, and the others write.
const KINDS: usize = 4;

/// How a client gets at the fleet.
pub enum Access {
    /// By the Rust client: it goes to whatever store serves.
    Roaming(Client),
    /// By one store only.
    Pinned(Pinned),
}

/// What clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// What they wrote.
    pub record: Record,
    /// The longest time in which one of them got nothing done although it tried.
    pub longest: Duration,
    /// Operations that failed.
    pub errors: u64,
    /// Reads of what a key cannot hold.
    pub stale: u64,
    /// Operations that succeeded.
    pub done: u64,
    /// Why the first failed.
    pub first_error: Option<String>,
}

impl Seen {
    /// Takes in what another saw, but for its record.
    pub fn add(&mut self, other: &Seen) {
        self.longest = self.longest.max(other.longest);
        self.errors += other.errors;
        self.stale += other.stale;
        self.done += other.done;
        self.first_error = self.first_error.take().or_else(|| other.first_error.clone());
    }
}

/// A client, and the keys that are its own.
pub struct Worker {
    access: Access,
    /// One in each range.
    keys: Vec<Bytes>,
    /// One in each range, which belong to all clients.
    counters: Vec<Bytes>,
    seen: Seen,
}

/// The first letter of the keys of a range.
fn letter(range: usize) -> char {
    char::from(b'a' + u8::try_from(range % RANGES).expect("few ranges"))
}

/// Where the ranges are cut.
#[must_use]
pub fn cuts() -> Vec<Bytes> {
    (1..RANGES).map(|range| Bytes::from(letter(range).to_string())).collect()
}

impl Worker {
    /// A client whose keys nobody has written; `run` and `number` make them its own.
    #[must_use]
    pub fn new(access: Access, run: usize, number: usize) -> Self {
        let key =
            |what: String| (0..RANGES).map(move |range| Bytes::from(format!("{}/{run:03}/{what}", letter(range))));
        let keys = key(number.to_string()).collect();
        let counters = key("counter".to_owned()).collect();
        Self { access, keys, counters, seen: Seen::default() }
    }

    /// Works until told to stop; the operation under way is ended first.
    pub async fn run(mut self, stop: Arc<AtomicBool>) -> Seen {
        let mut waiting_since: Option<Instant> = None;
        let mut turn = 0;
        while !stop.load(Ordering::Acquire) {
            let begun = *waiting_since.get_or_insert_with(Instant::now);
            let ended = self.operate(turn).await;
            self.seen.longest = self.seen.longest.max(begun.elapsed());
            match ended {
                Ok(()) => {
                    self.seen.done += 1;
                    waiting_since = None;
                }
                Err(failed) => {
                    self.seen.errors += 1;
                    self.seen.first_error.get_or_insert(failed.what);
                }
            }
            turn += 1;
            sleep(THINK).await;
        }
        self.seen
    }

    /// The next operation: each range in turn, and on each all kinds in turn.
    async fn operate(&mut self, turn: usize) -> Outcome<()> {
        let range = turn % RANGES;
        match (turn / RANGES + range) % KINDS {
            0 => self.read(range).await,
            1 => self.count(range).await,
            _ => self.write(range, turn).await,
        }
    }

    async fn read(&mut self, range: usize) -> Outcome<()> {
        let key = self.keys[range].clone();
        let found = self.access.get(key.clone()).await?;
        let known = self.seen.record.keys.entry(key).or_default();
        if known.judge(found.as_ref(), None) != Finding::Right {
            self.seen.stale += 1;
        }
        Ok(())
    }

    async fn write(&mut self, range: usize, turn: usize) -> Outcome<()> {
        let (key, value) = (self.keys[range].clone(), Bytes::from(format!("write {turn}")));
        let ended = self.access.put(key.clone(), value.clone()).await;
        self.seen.record.keys.entry(key).or_default().wrote(Some(value), end_of(&ended));
        ended.map(drop)
    }

    async fn count(&mut self, range: usize) -> Outcome<()> {
        let counter = self.counters[range].clone();
        let found = self.access.get(counter.clone()).await?;
        let next = found.as_ref().map_or(0, count) + 1;
        let ended = self.access.set(counter.clone(), found, Bytes::from(next.to_string())).await;
        self.seen.record.counted(&counter, end_of(&ended));
        ended.map(drop)
    }
}

fn end_of(ended: &Outcome<WriteEnd>) -> WriteEnd {
    ended.as_ref().map_or_else(|failed| failed.end, |end| *end)
}

fn failed(error: &ClientError) -> Failed {
    let end = if error.is_ambiguous() { WriteEnd::Ambiguous } else { WriteEnd::Refused };
    Failed { end, what: error.to_string() }
}

impl Access {
    async fn get(&mut self, key: Bytes) -> Outcome<Option<Bytes>> {
        match self {
            Self::Roaming(client) => match client.get(key).await {
                Ok(found) => Ok(found.map(|found| found.value)),
                Err(error) => Err(failed(&error)),
            },
            Self::Pinned(pinned) => pinned.get(key).await,
        }
    }

    async fn put(&mut self, key: Bytes, value: Bytes) -> Outcome<WriteEnd> {
        match self {
            Self::Roaming(client) => match client.put(key, value).await {
                Ok(_) => Ok(WriteEnd::Acknowledged),
                Err(error) => Err(failed(&error)),
            },
            Self::Pinned(pinned) => pinned.put(key, value).await,
        }
    }

    async fn set(&mut self, key: Bytes, expected: Option<Bytes>, value: Bytes) -> Outcome<WriteEnd> {
        match self {
            Self::Roaming(client) => {
                let expected = expected.map_or(Expected::Absent, Expected::Value);
                match client.compare_and_set(key, expected, Some(value)).await {
                    Ok(outcome) if outcome.is_written() => Ok(WriteEnd::Acknowledged),
                    // Another client was faster: an answer like any other.
                    Ok(_) => Ok(WriteEnd::Refused),
                    Err(error) => Err(failed(&error)),
                }
            }
            Self::Pinned(pinned) => pinned.set(key, expected, value).await,
        }
    }
}

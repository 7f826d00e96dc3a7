//! Loads what the queue brings, in chunks.
//!
//! Invariants:
//! - keys of one chunk are distinct (a later line of a key takes the place of the earlier one), and no key is in two chunks under way: so the
//!   fleet sees the writes of a key one after the other, in the order of the lines
//! - chunks are done with in the order of the input, whenever they have arrived: then their rejected records are told, and the progress moves on.
//!   It never says of a record that it is stored before the fleet has said so.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use holdfast_types::limits;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::batches::{Failed, Line, Pending, Writer};
use super::progress::Progress;
use super::queue::{Fate, Item, Receiver};
use super::rejects::{Rejected, Why};
use super::report::Report;
use super::stop::Stop;

/// How it is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pace {
    /// Stop at the first record that is rejected.
    pub strict: bool,
    /// At most so many rows in a second.
    pub rate: Option<u32>,
}

/// Why loading ended before the input did.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// A record was rejected, and that was to be the end.
    #[error("line {0} was rejected, and with --strict that is the end: nothing behind it is loaded")]
    Strict(u64),
    /// A record was refused by the fleet, and that was to be the end.
    #[error(
        "the fleet refused line {0}, and with --strict that is the end: rows behind it that were on their way may be loaded"
    )]
    Refused(u64),
    /// The input was read to its end, and is not what it was at the beginning.
    #[error("the file was changed while it was read: {0}")]
    Changed(String),
    /// The input cannot be read any further.
    #[error("line {line}: {reason}")]
    Broken {
        /// Where it ended.
        line: u64,
        /// Why.
        reason: String,
    },
    /// The user, or the system, wants it to end.
    #[error("interrupted")]
    Interrupted,
    /// Rows could not be stored.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// A part of this program did.
    #[error("a part of the import failed: {0}")]
    Panicked(#[from] tokio::task::JoinError),
    /// The file of rejected lines takes no more.
    #[error("{0:#}")]
    Rejects(anyhow::Error),
}

/// Rows that are sent together.
#[derive(Debug, Default)]
struct Chunk {
    rows: Vec<Pending>,
    places: HashMap<Bytes, usize>,
    rejected: Vec<Rejected>,
    bytes: usize,
    /// Lines of all rows, those counted whose key a later one has too.
    lines: u64,
    /// What the progress says once it is done with.
    records: u64,
    line: u64,
    digest: super::reading::Digest,
}

/// A chunk on its way.
struct Flying {
    chunk: Chunk,
    keys: Vec<Bytes>,
    /// It has arrived, except for these.
    arrived: Option<Vec<Rejected>>,
}

/// Loads one input.
pub struct Load<'a> {
    writer: Writer,
    pace: Pace,
    report: &'a mut Report,
    stop: Stop,
    arriving: JoinSet<(u64, Result<Vec<Rejected>, Failed>)>,
    flying: VecDeque<Flying>,
    /// The number of the first of those.
    first: u64,
    /// Keys on their way.
    busy: HashSet<Bytes>,
    /// When the next rows may go.
    next_at: Instant,
    /// Why nothing more is taken from the queue.
    ended: Option<Ended>,
}

impl<'a> Load<'a> {
    /// Writes by `writer`, tells `report`.
    pub fn new(writer: Writer, pace: Pace, stop: Stop, report: &'a mut Report) -> Self {
        Self {
            writer,
            pace,
            report,
            stop,
            arriving: JoinSet::new(),
            flying: VecDeque::new(),
            first: 0,
            busy: HashSet::new(),
            next_at: Instant::now(),
            ended: None,
        }
    }

    /// Loads everything. When it returns, nothing is on its way, and the progress is kept up to what is done.
    pub async fn run(mut self, mut queue: Receiver) -> Result<(), Ended> {
        while self.ended.is_none() {
            // Where there is always a next record, nobody waits for one.
            if self.stop.is_wished() {
                self.end(Ended::Interrupted);
                break;
            }
            let Some(chunk) = self.form(&mut queue).await else { break };
            if let Err(ended) = self.send(chunk).await {
                self.end(ended);
            }
        }
        drop(queue);
        while !self.arriving.is_empty() {
            if let Err(ended) = self.land().await {
                self.end(ended);
            }
        }
        self.report.keep().map_err(Ended::Rejects)?;
        self.ended.map_or(Ok(()), Err)
    }

    /// The first reason counts; of rows that were rejected, and of where the input ends, the one that stands first.
    fn end(&mut self, ended: Ended) {
        if matches!((&self.ended, &ended), (Some(Ended::Strict(_) | Ended::Broken { .. }), Ended::Refused(_))) {
            self.ended = Some(ended);
        } else {
            self.ended.get_or_insert(ended);
        }
    }

    /// The next rows to send together; `None`: there are none any more.
    async fn form(&mut self, queue: &mut Receiver) -> Option<Chunk> {
        let mut chunk = Chunk::default();
        let mut until = None;
        while !self.is_full(&chunk) {
            let item = match queue.next_now() {
                Some(item) => Some(item),
                None if chunk.records == 0 => self.wait(queue, None).await,
                None => {
                    let until = *until.get_or_insert_with(|| Instant::now() + limits::IMPORT_LINGER);
                    self.wait(queue, Some(until)).await
                }
            };
            let Some(item) = item else { break };
            if !self.take(&mut chunk, item) {
                break;
            }
        }
        (chunk.records > 0).then_some(chunk)
    }

    async fn wait(&mut self, queue: &mut Receiver, until: Option<Instant>) -> Option<Item> {
        let is_over = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.wished() => {
                self.end(Ended::Interrupted);
                None
            }
            item = queue.next() => item,
            () = is_over => None,
        }
    }

    fn is_full(&self, chunk: &Chunk) -> bool {
        let rows = match self.pace.rate {
            Some(rate) => usize::try_from((u64::from(rate) / limits::IMPORT_RATE_PARTS).max(1)).unwrap_or(usize::MAX),
            None => limits::IMPORT_CHUNK_ROWS,
        };
        let most = rows.min(limits::IMPORT_CHUNK_ROWS);
        chunk.records >= u64::try_from(most).unwrap_or(u64::MAX) || chunk.bytes >= limits::IMPORT_CHUNK_BYTES
    }

    /// Puts a record into a chunk; false: it is the first that is not loaded any more.
    fn take(&mut self, chunk: &mut Chunk, item: Item) -> bool {
        let cost = item.cost();
        let Item { line, digest, raw, what } = item;
        match what {
            Fate::Broken(reason) => {
                self.end(Ended::Broken { line, reason });
                return false;
            }
            Fate::Rejected(why) => {
                let is_wrong = matches!(why, Why::Wrong(_));
                if self.pace.strict && is_wrong {
                    self.report.last_words(Rejected { line, raw, why });
                    self.end(Ended::Strict(line));
                    return false;
                }
                chunk.rejected.push(Rejected { line, raw, why });
            }
            Fate::Row(row) => {
                let said = Line { line, raw, value: row.value, expires: row.expires };
                match chunk.places.get(&row.key).and_then(|place| chunk.rows.get_mut(*place)) {
                    Some(pending) => pending.lines.push(said),
                    None => {
                        chunk.places.insert(row.key.clone(), chunk.rows.len());
                        chunk.rows.push(Pending { key: row.key, lines: vec![said] });
                    }
                }
                chunk.lines = chunk.lines.saturating_add(1);
            }
        }
        chunk.bytes = chunk.bytes.saturating_add(cost);
        chunk.records = chunk.records.saturating_add(1);
        (chunk.line, chunk.digest) = (line, digest);
        true
    }

    async fn send(&mut self, mut chunk: Chunk) -> Result<(), Ended> {
        self.keep_rate(chunk.records).await;
        let is_free = |load: &Self| {
            load.arriving.len() < limits::IMPORT_CHUNKS_IN_FLIGHT
                && !chunk.rows.iter().any(|row| load.busy.contains(&row.key))
        };
        while !is_free(self) {
            self.land().await?;
        }
        let rows = std::mem::take(&mut chunk.rows);
        chunk.places = HashMap::new();
        let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
        self.busy.extend(keys.iter().cloned());
        let number = self.first.saturating_add(u64::try_from(self.flying.len()).unwrap_or(u64::MAX));
        let arrived = rows.is_empty().then(Vec::new);
        self.flying.push_back(Flying { chunk, keys, arrived });
        if rows.is_empty() {
            return self.retire();
        }
        let writer = self.writer.clone();
        self.arriving.spawn(async move { (number, writer.store(rows).await) });
        Ok(())
    }

    async fn keep_rate(&mut self, rows: u64) {
        let Some(rate) = self.pace.rate else { return };
        tokio::select! {
            () = tokio::time::sleep_until(self.next_at) => {}
            () = self.stop.wished() => {}
        }
        let takes = Duration::from_micros(rows.saturating_mul(1_000_000) / u64::from(rate.max(1)));
        self.next_at = self.next_at.max(Instant::now()) + takes;
    }

    /// Waits until one of the chunks on their way has arrived.
    async fn land(&mut self) -> Result<(), Ended> {
        let landed = tokio::select! {
            landed = self.arriving.join_next() => landed,
            () = self.stop.insisted() => {
                self.arriving.shutdown().await;
                return Err(Ended::Interrupted);
            }
        };
        let Some(landed) = landed else { return Ok(()) };
        let (number, arrived) = landed?;
        let place = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if let Some(flying) = self.flying.get_mut(place) {
            for key in flying.keys.drain(..) {
                self.busy.remove(&key);
            }
            flying.arrived = Some(arrived?);
        }
        self.retire()
    }

    /// Is done with all chunks that have arrived, up to the first that has not.
    fn retire(&mut self) -> Result<(), Ended> {
        while let Some(Flying { arrived: Some(refused), .. }) = self.flying.front() {
            if let Some(first) = refused.iter().min_by_key(|refused| refused.line).filter(|_| self.pace.strict) {
                // Nothing of its chunk is passed, nor anything behind: mended, all of it comes again.
                self.report.last_words(first.clone());
                return Err(Ended::Refused(first.line));
            }
            let Some(Flying { chunk, arrived: Some(refused), .. }) = self.flying.pop_front() else { break };
            self.first = self.first.saturating_add(1);
            let stored = chunk.lines.saturating_sub(u64::try_from(refused.len()).unwrap_or(u64::MAX));
            let mut rejected = chunk.rejected;
            rejected.extend(refused);
            rejected.sort_by_key(|rejected| rejected.line);
            let report = &mut *self.report;
            rejected.iter().try_for_each(|rejected| report.rejected(rejected)).map_err(Ended::Rejects)?;
            let done = |progress: &mut Progress| {
                progress.records = progress.records.saturating_add(chunk.records);
                progress.stored = progress.stored.saturating_add(stored);
                progress.line = chunk.line;
                progress.digest = chunk.digest.hex();
            };
            report.done(done).map_err(Ended::Rejects)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;

//! Writes what waits to the rows of the audit, a batch at a time, until it is known to be written.
//!
//! A batch is one atomic write on the condition that none of its rows is there. A write whose outcome was lost is repeated as it is: rows that
//! are there with the same content were written by it.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_kv::core::permit::Authority;
use holdfast_proto::convert::audit::{encode_entry, encode_waiting, name_of};
use holdfast_proto::v1;
use holdfast_types::audit::AuditKey;
use holdfast_types::{
    Condition, Expected, Mutation, RangeRequest, Rejected, Request, Response, VersionedValue, limits,
};

use super::{Audit, file};
use crate::running::Running;

/// Where rows are written to.
#[async_trait]
pub(super) trait Rows: Send + Sync {
    /// Makes one write.
    async fn write(&self, conditions: Vec<Condition>, mutations: Vec<Mutation>) -> Result<Response, Rejected>;
}

/// The fleet, by one of its stores.
struct OfFleet(Arc<Running>);

#[async_trait]
impl Rows for OfFleet {
    async fn write(&self, conditions: Vec<Condition>, mutations: Vec<Mutation>) -> Result<Response, Rejected> {
        let request = RangeRequest { range: None, write: None, request: Request::Write { conditions, mutations } };
        self.0.ask(request, Authority::Fleet, limits::AUDIT_WRITE_WITHIN).await
    }
}

/// Writes for as long as the store runs. `retention`: how long entries are kept.
pub async fn run(audit: Arc<Audit>, running: Arc<Running>, retention: Duration) {
    write_all(&audit, &OfFleet(running), retention).await;
}

async fn write_all(audit: &Audit, rows: &dyn Rows, retention: Duration) {
    let mut keeping = Keeping::of_a_start();
    let mut again = limits::AUDIT_RETRY_MIN;
    loop {
        audit.some_wait().await;
        // Others come with it: what is refused is refused many times.
        tokio::time::sleep(limits::AUDIT_LINGER).await;
        match audit.write_batch(rows, retention).await {
            Ok(()) => {
                again = limits::AUDIT_RETRY_MIN;
                keeping.written(audit).await;
            }
            Err(why) => {
                tracing::warn!(%why, "entries of the audit cannot be written now: they wait");
                keeping.keep(audit).await;
                tokio::time::sleep(again).await;
                again = again.saturating_mul(2).min(limits::AUDIT_RETRY_MAX);
            }
        }
    }
}

/// Writes what waits before the process ends, if that is soon done, and keeps the rest in the file.
pub async fn stop(audit: &Audit, running: Option<Arc<Running>>, retention: Duration) {
    audit.tell_sums(Instant::now(), true);
    if let Some(running) = running {
        let rows = OfFleet(running);
        let all = async {
            while !audit.state.lock().waiting.is_empty() && audit.write_batch(&rows, retention).await.is_ok() {}
        };
        // What is not written by then is in the file.
        let _ = tokio::time::timeout(limits::AUDIT_STOP_WITHIN, all).await;
    }
    Keeping::of_a_start().keep(audit).await;
}

impl Audit {
    /// Waits until something is to be written, and tells sums that are due meanwhile.
    async fn some_wait(&self) {
        loop {
            self.tell_sums(Instant::now(), false);
            if self.home.get().is_some() && !self.state.lock().waiting.is_empty() {
                return;
            }
            // Whoever wakes us between the look and the waiting is not missed: one call is remembered.
            let _ = tokio::time::timeout(limits::AUDIT_SUM_EVERY, self.woken.notified()).await;
        }
    }

    /// Writes one batch. An error: it waits on, though some of it may be written.
    pub(super) async fn write_batch(&self, rows: &dyn Rows, retention: Duration) -> Result<(), Rejected> {
        let Some(home) = self.home.get() else { return Ok(()) };
        // Two that write at a time would take the same batch, and one of them the next one for written.
        let _writing = self.writing.lock().await;
        let mut batch = self.state.lock().waiting.next_batch();
        for entry in &mut batch {
            entry.store_id = home.store.0;
            entry.site = home.site.to_string();
        }
        // What cannot be a row is none, and would be in the way for ever. Nothing makes such an entry.
        batch.retain(|entry| name_of(entry).is_ok());
        let mut parts = VecDeque::from([batch]);
        while let Some(mut part) = parts.pop_front() {
            if part.is_empty() {
                continue;
            }
            let (conditions, mutations) = request_of(&part, retention);
            match rows.write(conditions, mutations).await {
                Ok(Response::ConditionFailed { index, actual }) => {
                    self.settle(&mut part, usize::try_from(index).unwrap_or(usize::MAX), actual)?;
                    parts.push_front(part);
                }
                Ok(_) => {}
                Err(Rejected::SpansRanges { split_key }) => {
                    let is_left = |entry: &v1::AuditEntry| name_of(entry).is_ok_and(|name| name.key() < split_key);
                    let (left, right): (Vec<_>, Vec<_>) = part.into_iter().partition(is_left);
                    if left.is_empty() || right.is_empty() {
                        return Err(Rejected::SpansRanges { split_key });
                    }
                    parts.extend([left, right]);
                }
                // Nothing makes such an entry. One that somebody made all the same must not keep all others from being written.
                Err(Rejected::Invalid(why)) if part.len() == 1 => {
                    tracing::error!(why, "an entry of the audit is not taken: it is in the log only");
                    self.state.lock().waiting.lose();
                }
                Err(Rejected::Invalid(_)) => {
                    let right = part.drain(part.len() / 2..).collect();
                    parts.extend([part, right]);
                }
                Err(rejected) => return Err(rejected),
            }
        }
        self.state.lock().waiting.written();
        Ok(())
    }

    /// There is a row of this name already.
    fn settle(
        &self,
        part: &mut Vec<v1::AuditEntry>,
        index: usize,
        actual: Option<VersionedValue>,
    ) -> Result<(), Rejected> {
        let Some(entry) = part.get_mut(index) else {
            return Err(Rejected::Unavailable("the audit's range names a row that was not written".into()));
        };
        if actual.is_some_and(|actual| actual.value == encode_entry(entry)) {
            // Written by an attempt that was not heard of.
            part.remove(index);
            return Ok(());
        }
        // A clock that was put back gave an earlier start the same time.
        let mut state = self.state.lock();
        let number = state.take_number();
        state.waiting.renumber(entry.at, entry.number, number);
        entry.number = number;
        Ok(())
    }
}

fn request_of(entries: &[v1::AuditEntry], retention: Duration) -> (Vec<Condition>, Vec<Mutation>) {
    let rows = entries.iter().filter_map(|entry| Some((name_of(entry).ok()?, encode_entry(entry))));
    let row = |(name, value): (AuditKey, Bytes)| {
        let (key, expires_at) = (name.key(), Some(name.at.after(retention)));
        let condition = Condition { key: key.clone(), expected: Expected::Absent };
        (condition, Mutation { key, value: Some(value), expires_at })
    };
    rows.map(row).unzip()
}

/// The file with what waits, while it cannot be written.
struct Keeping {
    /// What had changed when the file was written last; `None`: there is no file.
    kept: Option<u64>,
}

impl Keeping {
    /// There may be a file of an earlier start.
    fn of_a_start() -> Self {
        Self { kept: Some(u64::MAX) }
    }

    /// Something was written: once nothing is left, the file is not needed any more.
    async fn written(&mut self, audit: &Audit) {
        let is_empty = audit.state.lock().waiting.is_empty();
        if is_empty && self.kept.is_some() {
            self.keep(audit).await;
        }
    }

    /// Keeps what waits now, if that is something else than is kept.
    async fn keep(&mut self, audit: &Audit) {
        let Some(path) = audit.file.get().cloned() else { return };
        let (entries, generation) = {
            let state = audit.state.lock();
            if self.kept == Some(state.waiting.generation()) {
                return;
            }
            state.waiting.all()
        };
        let is_empty = entries.is_empty();
        let written = tokio::task::spawn_blocking(move || {
            file::write(&path, (!is_empty).then(|| encode_waiting(entries)).as_deref())
        });
        match written.await {
            Ok(Ok(())) => self.kept = (!is_empty).then_some(generation),
            Ok(Err(error)) => tracing::warn!(%error, "entries of the audit that wait could not be kept on disk"),
            // The runtime ends.
            Err(_) => {}
        }
    }
}

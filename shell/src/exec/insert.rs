//! INSERT and UPSERT.

use std::collections::VecDeque;

use holdfast_client::admin::Keyspace;
use holdfast_types::{Expected, Key, Timestamp};

use super::batches::{Batches, plural};
use super::error::ShellError;
use super::reader::KEYS_AT_A_TIME;
use super::run::Run;
use super::sink::Summary;
use super::value::Value;
use crate::backend::{Change, Written};
use crate::lang::ast::{Expiry, Insert};
use crate::plan::moved;

/// Keys that are named in a sentence; more are counted.
const NAMED_KEYS: usize = 5;

/// Writes the rows in the order of their keys, batch by batch; a batch lies in one range and is written all or nothing.
///
/// INSERT looks for all keys first, so that as a rule nothing is written when one exists; what appears between that look and the
/// write is caught by the write itself.
pub(super) async fn run(run: &mut Run<'_>, keyspace: &Keyspace, insert: &Insert) -> Result<Summary, ShellError> {
    let mut changes: Vec<Change> = insert
        .rows
        .iter()
        .map(|row| Change {
            key: Key::bound(keyspace.id, &row.key),
            expected: (!insert.upsert).then_some(Expected::Absent),
            value: Some(row.value.clone()),
            expires_at: expires_at(row.expires, run.now),
        })
        .collect();
    changes.sort_by(|left, right| left.key.cmp(&right.key));
    let total = changes.len();
    if !insert.upsert && total > 1 {
        refuse_existing(run, &changes).await?;
    }
    let mut batches = Batches::new(changes);
    let mut found: VecDeque<Key> = VecDeque::new();
    while let Some(batch) = batches.next() {
        let written = match run.write(batch.clone()).await {
            Ok(written) => written,
            Err(error) => return Err(with_done(error, run, total)),
        };
        match written {
            Written::Done { .. } => run.tell(),
            Written::Spans { split_key } => batches.put_back_cut(batch, &split_key),
            Written::Unexpected { index } => {
                let mut batch = batch;
                found.push_back(batch.remove(index).key);
                batches.put_back(batch);
                break;
            }
        }
    }
    let verb = if insert.upsert { "UPSERT" } else { "INSERT" };
    if let Some(key) = found.pop_front() {
        return Err(appeared(run, total, &key));
    }
    Ok(Summary { verb, rows_affected: Some(run.progress.rows_changed), ..Summary::default() })
}

pub(super) fn expires_at(expiry: Expiry, now: Timestamp) -> Option<Timestamp> {
    match expiry {
        Expiry::Never => None,
        Expiry::AtMs(ms) => Some(Timestamp::from_ms(ms)),
        Expiry::AfterMs(ms) => Some(moved(now, ms)),
    }
}

fn shown(key: &Key) -> String {
    match Value::from_bytes(&bytes::Bytes::copy_from_slice(key.user_key())) {
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string(),
    }
}

async fn refuse_existing(run: &mut Run<'_>, changes: &[Change]) -> Result<(), ShellError> {
    let mut existing: Vec<&Key> = Vec::new();
    for some in changes.chunks(KEYS_AT_A_TIME) {
        let values = run.batch_get(some.iter().map(|change| change.key.clone()).collect()).await?;
        existing.extend(some.iter().zip(values).filter(|(_, value)| value.is_some()).map(|(change, _)| &change.key));
    }
    if existing.is_empty() {
        return Ok(());
    }
    let mut names = existing.iter().take(NAMED_KEYS).map(|key| shown(key)).collect::<Vec<_>>().join(", ");
    if existing.len() > NAMED_KEYS {
        names = format!("{names} and {} more", existing.len() - NAMED_KEYS);
    }
    let verb = if existing.len() == 1 { "exists" } else { "exist" };
    Err(ShellError::Refused {
        message: format!("{} of {} keys {verb} already: {names}; nothing was inserted", existing.len(), changes.len()),
        hint: Some("UPSERT overwrites rows that exist".into()),
    })
}

fn appeared(run: &Run<'_>, total: usize, key: &Key) -> ShellError {
    let written = run.progress.rows_changed;
    let rest = match (written, total) {
        (_, 1) => "nothing was inserted".to_owned(),
        (0, _) => format!("none of the {total} rows was inserted"),
        _ => format!("{} of {total} rows were inserted before, the others were not", written),
    };
    let message = format!("the key {} exists already; {rest}", shown(key));
    ShellError::Refused { message, hint: Some("UPSERT overwrites rows that exist".into()) }
}

/// Says what had been written when a batch failed.
pub(super) fn with_done(error: ShellError, run: &Run<'_>, total: usize) -> ShellError {
    let written = run.progress.rows_changed;
    let done = format!("{} of {} had been written before", written, plural(total, "row"));
    match error {
        ShellError::Fleet { source, .. } if total > 1 => ShellError::Fleet { source, done: Some(done) },
        ShellError::Cancelled { .. } => {
            let done = format!("{done}; whether the batch in flight was written is not known");
            ShellError::Cancelled { done: Some(done) }
        }
        other => other,
    }
}

//! INSERT and UPSERT.

use holdfast_client::admin::Keyspace;
use holdfast_types::{Expected, Key, Timestamp};

use super::batches::Batches;
use super::error::ShellError;
use super::reader::RowReader;
use super::run::Run;
use super::sink::Summary;
use super::value::{literal, plural};
use crate::backend::{Change, Written};
use crate::lang::ast::{Expiry, Insert};
use crate::lang::brief;
use crate::plan::{Interval, KeySet, moved};

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
        refuse_existing(run, keyspace, insert).await?;
    }
    let mut batches = Batches::new(changes);
    while let Some(batch) = batches.next() {
        match run.write(batch.clone()).await.map_err(|error| with_done(error, run, total))? {
            Written::Done { .. } => run.tell(),
            Written::Spans { split_key } => batches.put_back_cut(batch, &split_key),
            Written::Unexpected { index } => return Err(appeared(run, total, &batch[index].key)),
        }
    }
    let verb = if insert.upsert { "UPSERT" } else { "INSERT" };
    Ok(Summary { verb, rows_affected: Some(run.progress.rows_changed), ..Summary::default() })
}

/// When a row will be gone. A time of 0 says "never" on the wire: the epoch, and all before it, is written as the time right after, so that
/// a row that was to be gone by now is.
pub(super) fn expires_at(expiry: Expiry, now: Timestamp) -> Option<Timestamp> {
    let at = match expiry {
        Expiry::Never => return None,
        Expiry::AtMs(ms) => Timestamp::from_ms(ms),
        Expiry::AfterMs(ms) => moved(now, ms),
    };
    Some(at.max(Timestamp::from_ms(1)))
}

async fn refuse_existing(run: &mut Run<'_>, keyspace: &Keyspace, insert: &Insert) -> Result<(), ShellError> {
    let keys = KeySet::from_intervals(insert.rows.iter().map(|row| Interval::point(row.key.clone())).collect());
    let mut reader = RowReader::new(keyspace.id, &keys, false);
    let mut existing: Vec<Key> = Vec::new();
    while let Some(page) = reader.next_page(run, None).await? {
        existing.extend(page.into_iter().map(|row| row.key));
    }
    if existing.is_empty() {
        return Ok(());
    }
    let mut names = existing
        .iter()
        .take(NAMED_KEYS)
        .map(|key| brief(&literal(key.user_key())).into_owned())
        .collect::<Vec<_>>()
        .join(", ");
    if existing.len() > NAMED_KEYS {
        names = format!("{names} and {} more", existing.len() - NAMED_KEYS);
    }
    let verb = if existing.len() == 1 { "exists" } else { "exist" };
    Err(ShellError::Refused {
        message: format!(
            "{} of {} keys {verb} already: {names}; nothing was inserted",
            existing.len(),
            insert.rows.len()
        ),
        hint: Some("UPSERT overwrites rows that exist".into()),
    })
}

fn appeared(run: &Run<'_>, total: usize, key: &Key) -> ShellError {
    let written = run.progress.rows_changed;
    let rest = match (written, total) {
        (_, 1) => "nothing was inserted".to_owned(),
        (0, _) => format!("none of the {total} rows was inserted"),
        (1, _) => format!("1 of {total} rows was inserted before, the others were not"),
        _ => format!("{written} of {total} rows were inserted before, the others were not"),
    };
    let message = format!("the key {} exists already; {rest}", brief(&literal(key.user_key())));
    ShellError::Refused { message, hint: Some("UPSERT overwrites rows that exist".into()) }
}

/// Says what had been written when a batch failed.
fn with_done(error: ShellError, run: &Run<'_>, total: usize) -> ShellError {
    let total = u64::try_from(total).unwrap_or(u64::MAX);
    // Of one row the error says all itself.
    if total == 1 && !matches!(error, ShellError::Cancelled { .. }) {
        return error;
    }
    error.after(format!("{} of {} had been written before", run.progress.rows_changed, plural(total, "row")))
}

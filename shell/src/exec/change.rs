//! UPDATE and DELETE.

use holdfast_client::admin::Keyspace;
use holdfast_types::{Expected, Key};

use super::batches::Batches;
use super::error::ShellError;
use super::insert::expires_at;
use super::reader::RowReader;
use super::run::Run;
use super::select::is_wanted;
use super::sink::Summary;
use crate::backend::{Change, StoredRow, Written};
use crate::lang::ast::{Delete, Filter, NewValue, Update};
use crate::lang::{LangError, Span};
use crate::plan::{Interval, KeyPlan, RowView, asks_for_all};

/// Times that one row is looked at again because somebody else changed it.
const MAX_ATTEMPTS: u32 = 10;

pub(super) async fn update(run: &mut Run<'_>, keyspace: &Keyspace, update: &Update) -> Result<Summary, ShellError> {
    let plan = bounded(&update.filter, update.filter_span, "UPDATE")?;
    let now = run.now;
    let new = |row: &StoredRow| Change {
        key: row.key.clone(),
        expected: Some(Expected::Version(row.value.timestamp)),
        value: Some(match &update.value {
            Some(NewValue::Literal(value)) => value.clone(),
            None => row.value.value.clone(),
        }),
        expires_at: update.expires.map_or(row.value.expires_at, |expiry| expires_at(expiry, now)),
    };
    change_rows(run, keyspace, &plan, &new).await.map_err(|error| with_done(error, run, "changed"))?;
    Ok(Summary { verb: "UPDATE", rows_affected: Some(run.progress.rows_changed), ..Summary::default() })
}

pub(super) async fn delete(run: &mut Run<'_>, keyspace: &Keyspace, delete: &Delete) -> Result<Summary, ShellError> {
    let plan = bounded(&delete.filter, delete.filter_span, "DELETE")?;
    let deleted = if plan.residual.is_none() {
        delete_intervals(run, keyspace, plan.keys.intervals()).await
    } else {
        let gone = |row: &StoredRow| Change {
            key: row.key.clone(),
            expected: Some(Expected::Version(row.value.timestamp)),
            value: None,
            expires_at: None,
        };
        change_rows(run, keyspace, &plan, &gone).await
    };
    deleted.map_err(|error| with_done(error, run, "deleted"))?;
    Ok(Summary { verb: "DELETE", rows_affected: Some(run.progress.rows_changed), ..Summary::default() })
}

/// The plan of a condition for a statement that changes rows: all rows are meant only where it says so.
pub(super) fn bounded(filter: &Filter, span: Span, verb: &str) -> Result<KeyPlan, LangError> {
    let plan = KeyPlan::of(Some(filter));
    if plan.is_full_scan() && !asks_for_all(filter) {
        let message = format!("this condition does not bound the keys: {verb} would read every row of the keyspace");
        return Err(LangError::new(span, message)
            .hint("bound the keys (key STARTS WITH 'a' AND ...); if you mean every row: WHERE true AND ..."));
    }
    Ok(plan)
}

async fn delete_intervals(run: &mut Run<'_>, keyspace: &Keyspace, intervals: &[Interval]) -> Result<(), ShellError> {
    for interval in intervals {
        let mut rest = Some(interval.within(keyspace.id));
        while let Some(bounds) = rest {
            rest = run.delete_page(bounds).await?.rest;
            run.tell();
        }
    }
    Ok(())
}

/// Reads rows and changes those that fulfil the condition. Each change asks that its row still be as it was read; if it is not, the
/// row is read again and the condition asked again.
async fn change_rows(
    run: &mut Run<'_>,
    keyspace: &Keyspace,
    plan: &KeyPlan,
    change: &(dyn Fn(&StoredRow) -> Change + Sync),
) -> Result<(), ShellError> {
    let mut reader = RowReader::new(keyspace.id, &plan.keys, false);
    while let Some(page) = reader.next_page(run, None).await? {
        let wanted = page.iter().filter(|row| is_wanted(plan, &RowView::new(row, run.now)));
        let mut batches = Batches::new(wanted.map(change).collect());
        let mut attempts = 0;
        while let Some(mut batch) = batches.next() {
            match run.write(batch.clone()).await? {
                Written::Done { .. } => attempts = 0,
                Written::Spans { split_key } => batches.put_back_cut(batch, &split_key),
                Written::Unexpected { index } => {
                    attempts += 1;
                    let key = batch[index].key.clone();
                    if attempts > MAX_ATTEMPTS {
                        return Err(contended(&key));
                    }
                    match again(run, plan, key, change).await? {
                        Some(changed) => batch[index] = changed,
                        None => drop(batch.remove(index)),
                    }
                    batches.put_back(batch);
                }
            }
        }
        run.tell();
    }
    Ok(())
}

async fn again(
    run: &mut Run<'_>,
    plan: &KeyPlan,
    key: Key,
    change: &(dyn Fn(&StoredRow) -> Change + Sync),
) -> Result<Option<Change>, ShellError> {
    let value = run.batch_get(vec![key.clone()]).await?.into_iter().next().flatten();
    let row = value.map(|value| StoredRow { key, value });
    Ok(row.filter(|row| is_wanted(plan, &RowView::new(row, run.now))).map(|row| change(&row)))
}

fn contended(key: &Key) -> ShellError {
    ShellError::Refused {
        message: format!(
            "others keep changing rows around {} faster than this statement",
            key.user_key().escape_ascii()
        ),
        hint: Some("try again; rows before it are changed already".into()),
    }
}

fn with_done(error: ShellError, run: &Run<'_>, what: &str) -> ShellError {
    let done = || Some(format!("{} rows had been {what} before", run.progress.rows_changed));
    match error {
        ShellError::Fleet { source, .. } => ShellError::Fleet { source, done: done() },
        ShellError::Cancelled { .. } => ShellError::Cancelled { done: done() },
        other => other,
    }
}

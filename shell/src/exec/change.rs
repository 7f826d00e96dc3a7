//! UPDATE and DELETE.

use holdfast_client::admin::Keyspace;
use holdfast_types::{Expected, Key};

use super::batches::Batches;
use super::error::ShellError;
use super::insert::expires_at;
use super::reader::{KEYS_AT_A_TIME, RowReader};
use super::run::Run;
use super::select::is_wanted;
use super::sink::Summary;
use super::value::{literal, plural};
use crate::backend::{Change, StoredRow, Written};
use crate::lang::ast::{Delete, Filter, Update};
use crate::lang::{LangError, Span, brief};
use crate::plan::{Interval, KeyPlan, KeySet, RowView, Step, asks_for_all};

/// Times that one row is looked at again because somebody else changed it.
const MAX_ATTEMPTS: u32 = 10;

pub(super) async fn update(run: &mut Run<'_>, keyspace: &Keyspace, update: &Update) -> Result<Summary, ShellError> {
    let plan = bounded(&update.filter, update.filter_span, "UPDATE")?;
    let now = run.now;
    let new = |row: &StoredRow| Change {
        key: row.key.clone(),
        expected: Some(Expected::Version(row.value.timestamp)),
        value: Some(update.value.as_ref().unwrap_or(&row.value.value).clone()),
        expires_at: update.expires.map_or(row.value.expires_at, |expiry| expires_at(expiry, now)),
    };
    change_rows(run, keyspace, &plan, &new).await.map_err(|error| with_done(error, run, "changed"))?;
    Ok(Summary { verb: "UPDATE", rows_affected: Some(run.progress.rows_changed), ..Summary::default() })
}

pub(super) async fn delete(run: &mut Run<'_>, keyspace: &Keyspace, delete: &Delete) -> Result<Summary, ShellError> {
    let plan = bounded(&delete.filter, delete.filter_span, "DELETE")?;
    let deleted = if plan.residual.is_none() {
        delete_keys(run, keyspace, &plan.keys).await
    } else {
        change_rows(run, keyspace, &plan, &gone).await
    };
    deleted.map_err(|error| with_done(error, run, "deleted"))?;
    Ok(Summary { verb: "DELETE", rows_affected: Some(run.progress.rows_changed), ..Summary::default() })
}

fn gone(row: &StoredRow) -> Change {
    Change {
        key: row.key.clone(),
        expected: Some(Expected::Version(row.value.timestamp)),
        value: None,
        expires_at: None,
    }
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

/// Deletes keys without a look at their rows, where the fleet can: an interval, or one key. Of several single keys those that exist
/// are looked for first and deleted in batches: two requests a range instead of one a key, and only what existed is counted.
async fn delete_keys(run: &mut Run<'_>, keyspace: &Keyspace, keys: &KeySet) -> Result<(), ShellError> {
    for step in keys.steps(false, KEYS_AT_A_TIME) {
        match step {
            Step::Scan(interval) => delete_interval(run, keyspace, &interval).await?,
            Step::Keys(keys) => match keys.as_slice() {
                [one] => delete_interval(run, keyspace, &Interval::point(one.clone())).await?,
                _ => {
                    let keys = KeySet::from_intervals(keys.into_iter().map(Interval::point).collect());
                    change_rows(run, keyspace, &KeyPlan { keys, residual: None }, &gone).await?;
                }
            },
        }
    }
    Ok(())
}

async fn delete_interval(run: &mut Run<'_>, keyspace: &Keyspace, interval: &Interval) -> Result<(), ShellError> {
    let mut rest = Some(interval.within(keyspace.id));
    while let Some(bounds) = rest {
        rest = run.delete_page(bounds).await?.rest;
        run.tell();
    }
    Ok(())
}

/// Reads rows and changes those that fulfil the condition. Each change asks that its row still be as it was read; if it is not, the
/// row is read again, the condition asked again, and the row changed by itself.
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
        // Of the row that stands alone now. A larger batch gets smaller each time: that has an end.
        let mut attempts = 0;
        while let Some(batch) = batches.next() {
            match run.write(batch.clone()).await? {
                Written::Done { .. } => attempts = 0,
                Written::Spans { split_key } => batches.put_back_cut(batch, &split_key),
                Written::Unexpected { index } => {
                    attempts = if batch.len() == 1 { attempts + 1 } else { 0 };
                    let key = batch[index].key.clone();
                    if attempts > MAX_ATTEMPTS {
                        return Err(contended(&key));
                    }
                    let anew = again(run, plan, key, change).await?;
                    batches.put_back_around(batch, index, anew);
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
        message: format!("others keep changing the row {} faster than this statement", brief(&literal(key.user_key()))),
        hint: Some("try again; rows before it are changed already".into()),
    }
}

fn with_done(error: ShellError, run: &Run<'_>, what: &str) -> ShellError {
    error.after(format!("{} had been {what} before", plural(run.progress.rows_changed, "row")))
}

//! SELECT.

use bytes::Bytes;
use holdfast_client::admin::Keyspace;
use holdfast_types::ScanMode;

use super::error::ShellError;
use super::reader::RowReader;
use super::run::Run;
use super::sink::Summary;
use super::value::Value;
use crate::backend::StoredRow;
use crate::lang::ast::{Aggregate, Item, Output, Scalar, Select};
use crate::plan::{KeyPlan, RowView, is_of_value, reads_values};

pub(super) async fn run(run: &mut Run<'_>, keyspace: &Keyspace, select: &Select) -> Result<Summary, ShellError> {
    let plan = KeyPlan::of(select.filter.as_ref());
    match &select.output {
        Output::Rows(items) => rows(run, keyspace, select, &plan, items).await,
        Output::Aggregates(items) => together(run, keyspace, &plan, items).await,
    }
}

fn summary(rows: u64) -> Summary {
    Summary { verb: "SELECT", rows_returned: Some(rows), ..Summary::default() }
}

async fn rows(
    run: &mut Run<'_>,
    keyspace: &Keyspace,
    select: &Select,
    plan: &KeyPlan,
    items: &[Item<Scalar>],
) -> Result<Summary, ShellError> {
    if !run.quiet {
        run.sink.columns(&names(items))?;
    }
    let mut to_skip = select.offset;
    let mut left = select.limit.unwrap_or(u64::MAX);
    let mode = mode(plan, items.iter().map(|item| &item.what));
    let mut reader = RowReader::new(keyspace.id, &plan.keys, select.descending).with_mode(mode);
    while left > 0 {
        // Rows that are dropped by a condition are not known before they are read.
        let wanted = (plan.residual.is_none() && select.limit.is_some()).then(|| left.saturating_add(to_skip));
        let Some(page) = reader.next_page(run, wanted).await? else { break };
        let mut out = Vec::new();
        for row in &page {
            let view = RowView::new(row, run.now);
            if !is_wanted(plan, &view) {
                continue;
            }
            if to_skip > 0 {
                to_skip -= 1;
                continue;
            }
            if left == 0 {
                break;
            }
            left -= 1;
            run.progress.rows_returned += 1;
            if !run.quiet {
                out.push(items.iter().map(|item| view.value(&item.what)).collect());
            }
        }
        if !out.is_empty() {
            run.sink.rows(out)?;
        }
        run.tell();
    }
    Ok(summary(run.progress.rows_returned))
}

/// What is brought of rows of which these are looked at.
fn mode<'s>(plan: &KeyPlan, mut looked_at: impl Iterator<Item = &'s Scalar>) -> ScanMode {
    let of_value = plan.residual.as_ref().is_some_and(reads_values) || looked_at.any(is_of_value);
    if of_value { ScanMode::Rows } else { ScanMode::Keys }
}

pub(super) fn is_wanted(plan: &KeyPlan, view: &RowView<'_>) -> bool {
    plan.residual.as_ref().is_none_or(|filter| view.fulfils(filter) == Some(true))
}

fn names<T>(items: &[Item<T>]) -> Vec<String> {
    items.iter().map(|item| item.name.clone()).collect()
}

/// COUNT, MIN and MAX: one row for all rows.
async fn together(
    run: &mut Run<'_>,
    keyspace: &Keyspace,
    plan: &KeyPlan,
    items: &[Item<Aggregate>],
) -> Result<Summary, ShellError> {
    let counts_rows = items.iter().any(|item| matches!(item.what, Aggregate::Count | Aggregate::CountOf(_)));
    let cells = if counts_rows {
        count(run, keyspace, plan, items).await?
    } else {
        let mut cells = Vec::with_capacity(items.len());
        for item in items {
            cells.push(end(run, keyspace, plan, item.what == Aggregate::MaxKey).await?);
        }
        cells
    };
    run.progress.rows_returned = 1;
    if !run.quiet {
        run.sink.columns(&names(items))?;
        run.sink.rows(vec![cells])?;
    }
    run.tell();
    Ok(summary(1))
}

/// Reads all rows once; where nothing is asked of them, the fleet counts them. The first and the last key fall off by the way, and agree with the count.
async fn count(
    run: &mut Run<'_>,
    keyspace: &Keyspace,
    plan: &KeyPlan,
    items: &[Item<Aggregate>],
) -> Result<Vec<Value>, ShellError> {
    let mut counted = vec![0_u64; items.len()];
    let (mut first, mut last) = (None, None);
    let looked_at = items.iter().filter_map(|item| match &item.what {
        Aggregate::CountOf(scalar) => Some(scalar),
        _ => None,
    });
    let only_count = plan.residual.is_none() && items.iter().all(|item| item.what == Aggregate::Count);
    let mode = if only_count { ScanMode::Count } else { mode(plan, looked_at) };
    let mut reader = RowReader::new(keyspace.id, &plan.keys, false).with_mode(mode);
    while let Some(page) = reader.next_page(run, None).await? {
        for row in &page {
            let view = RowView::new(row, run.now);
            if !is_wanted(plan, &view) {
                continue;
            }
            for (count, item) in counted.iter_mut().zip(items) {
                *count += match &item.what {
                    Aggregate::CountOf(scalar) => u64::from(!view.is_null(scalar)),
                    _ => 1,
                };
            }
            first.get_or_insert_with(|| view.value(&Scalar::Key));
            last = Some(row.key.clone());
        }
        run.tell();
    }
    counted.iter_mut().for_each(|count| *count += reader.counted());
    let last = last.map_or(Value::Null, |key| Value::from_bytes(&Bytes::copy_from_slice(key.user_key())));
    let cell = |(count, item): (u64, &Item<Aggregate>)| match &item.what {
        Aggregate::Count | Aggregate::CountOf(_) => Value::count(count),
        Aggregate::MinKey => first.clone().unwrap_or(Value::Null),
        Aggregate::MaxKey => last.clone(),
    };
    Ok(counted.into_iter().zip(items).map(cell).collect())
}

/// The first or the last key: one row, where no condition has to be asked of rows.
async fn end(run: &mut Run<'_>, keyspace: &Keyspace, plan: &KeyPlan, last: bool) -> Result<Value, ShellError> {
    let mut reader = RowReader::new(keyspace.id, &plan.keys, last).with_mode(mode(plan, std::iter::empty()));
    let wanted = plan.residual.is_none().then_some(1);
    while let Some(page) = reader.next_page(run, wanted).await? {
        let is_it = |row: &&StoredRow| is_wanted(plan, &RowView::new(row, run.now));
        if let Some(found) = page.iter().find(is_it) {
            return Ok(RowView::new(found, run.now).value(&Scalar::Key));
        }
        run.tell();
    }
    Ok(Value::Null)
}

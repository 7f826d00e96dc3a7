//! EXPLAIN: what a statement would read and write, and where. EXPLAIN ANALYZE: what it did.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_client::admin::{Keyspace, RangeStatus};
use holdfast_types::{Key, KeyRange, RangeId, limits};

use super::change::bounded;
use super::error::ShellError;
use super::fleet::{columns, silent_notes};
use super::reader::KEYS_AT_A_TIME;
use super::run::{Layout, Run, Tally, Watch};
use super::sink::Summary;
use super::value::{Value, literal, plural};
use super::{change, insert, select};
use crate::lang::ast::{Output, Select, Statement};
use crate::plan::{Interval, KeyPlan, KeySet, Step};

/// Ranges that are named in one cell; more are counted.
const NAMED_RANGES: usize = 4;
/// Keys that are named in one cell.
const NAMED_KEYS: usize = 3;

/// One line of a plan.
struct Line {
    step: &'static str,
    what: String,
    ranges: Vec<String>,
    sites: BTreeMap<String, u64>,
    requests: Option<u64>,
}

impl Line {
    fn new(step: &'static str, what: String) -> Self {
        Self { step, what, ranges: vec![], sites: BTreeMap::new(), requests: None }
    }

    fn on<'r>(mut self, ranges: impl IntoIterator<Item = &'r RangeStatus>, requests: u64) -> Self {
        for range in ranges {
            self.ranges.push(range.descriptor.range.to_string());
            *self.sites.entry(site_of(range)).or_default() += 1;
        }
        self.requests = Some(requests);
        self
    }

    fn into_cells(self) -> Vec<Value> {
        let ranges = named(self.ranges, NAMED_RANGES);
        let sites: Vec<String> = self.sites.iter().map(|(site, count)| format!("{site} ({count})")).collect();
        let maybe = |text: String| if text.is_empty() { Value::Null } else { Value::Text(text) };
        vec![
            Value::Text(self.step.into()),
            Value::Text(self.what),
            maybe(ranges),
            maybe(sites.join(", ")),
            self.requests.map_or(Value::Null, Value::count),
        ]
    }
}

fn site_of(range: &RangeStatus) -> String {
    range.leader_site.as_ref().map_or_else(|| "no leader known".to_owned(), ToString::to_string)
}

fn named(mut names: Vec<String>, at_most: usize) -> String {
    let more = names.len().saturating_sub(at_most);
    names.truncate(at_most);
    let names = names.join(", ");
    if more == 0 { names } else { format!("{names} and {more} more") }
}

pub(super) async fn plan(run: &mut Run<'_>, keyspace: &Keyspace, statement: &Statement) -> Result<Summary, ShellError> {
    let layout = run.layout(keyspace.id).await?;
    let mut notes = vec!["requests are estimated from the sizes that stores report".to_owned()];
    let lines = match statement {
        Statement::Select(select) => {
            let plan = KeyPlan::of(select.filter.as_ref());
            notes.extend(scan_notes(&plan));
            select_lines(keyspace, &layout, &plan, select)
        }
        Statement::Insert(insert) => {
            let keys: Vec<Key> = insert.rows.iter().map(|row| Key::bound(keyspace.id, &row.key)).collect();
            insert_lines(&layout, keys, insert.upsert)
        }
        Statement::Update(update) => {
            let plan = bounded(&update.filter, update.filter_span, "UPDATE")?;
            notes.extend(scan_notes(&plan));
            change_lines(keyspace, &layout, &plan, "write", "rows that fulfil the condition, in batches")
        }
        Statement::Delete(delete) => {
            let plan = bounded(&delete.filter, delete.filter_span, "DELETE")?;
            notes.extend(scan_notes(&plan));
            if plan.residual.is_none() {
                delete_lines(keyspace, &layout, &plan.keys)
            } else {
                change_lines(keyspace, &layout, &plan, "delete", "rows that fulfil the condition, in batches")
            }
        }
        _ => vec![],
    };
    notes.extend(silent_notes(&layout.silent));
    columns(run, "step what ranges sites requests")?;
    let rows: Vec<Vec<Value>> = lines.into_iter().map(Line::into_cells).collect();
    run.progress.rows_returned = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    if rows.is_empty() {
        notes.insert(0, "no key can fulfil the condition: nothing is read".into());
    } else {
        run.sink.rows(rows)?;
    }
    Ok(Summary { verb: "EXPLAIN", rows_returned: Some(run.progress.rows_returned), notes, ..Summary::default() })
}

fn scan_notes(plan: &KeyPlan) -> Option<String> {
    plan.is_full_scan().then(|| "full scan: no condition bounds the keys".into())
}

fn select_lines(keyspace: &Keyspace, layout: &Layout, plan: &KeyPlan, select: &Select) -> Vec<Line> {
    let one_row_each = plan.residual.is_none()
        && matches!(&select.output, Output::Aggregates(items) if items.iter().all(|item| {
            matches!(item.what, crate::lang::ast::Aggregate::MinKey | crate::lang::ast::Aggregate::MaxKey)
        }));
    let wanted = match (&select.output, select.limit) {
        _ if one_row_each => Some(1),
        (Output::Rows(_), Some(limit)) if plan.residual.is_none() => Some(limit.saturating_add(select.offset)),
        _ => None,
    };
    let mut lines = read_lines(keyspace, layout, plan, select.descending, wanted);
    if lines.is_empty() {
        return lines;
    }
    if let Some(filter) = &plan.residual {
        lines.push(Line::new("filter", filter.to_string()));
    }
    match &select.output {
        Output::Aggregates(items) => {
            let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
            let how = if one_row_each { ", one row read for each" } else { "" };
            if one_row_each && let Some(first) = lines.first_mut() {
                first.requests = u64::try_from(items.len()).ok();
            }
            lines.push(Line::new("aggregate", format!("{}{how}", names.join(", "))));
        }
        Output::Rows(_) => {
            if select.offset > 0 {
                lines.push(Line::new("offset", format!("{} read and left out", plural(select.offset, "row"))));
            }
            if let Some(limit) = select.limit {
                lines.push(Line::new("limit", plural(limit, "row")));
            }
        }
    }
    lines
}

/// What is read. `wanted`: no more rows than this, of all steps together.
fn read_lines(
    keyspace: &Keyspace,
    layout: &Layout,
    plan: &KeyPlan,
    descending: bool,
    wanted: Option<u64>,
) -> Vec<Line> {
    let steps = plan.keys.steps(descending, KEYS_AT_A_TIME);
    let lines = steps.iter().map(|step| match step {
        Step::Scan(interval) => {
            let step = if descending { "scan back" } else { "scan" };
            let mut line = scan_line(step, keyspace, layout, interval);
            if let (Some(wanted), Some(requests)) = (wanted, line.requests) {
                line.requests = Some(requests.min(wanted.div_ceil(u64::from(limits::MAX_SCAN_ROWS)).max(1)));
            }
            line
        }
        Step::Keys(keys) => {
            let raw: Vec<Key> = keys.iter().map(|key| Key::bound(keyspace.id, key)).collect();
            keys_line("get", &raw, layout)
        }
    });
    lines.collect()
}

fn interval_text(interval: &Interval) -> String {
    if let Some(key) = interval.as_point() {
        return format!("key = {}", literal(key));
    }
    // A zero byte at the end says "behind this key", as a rule.
    let from = match interval.start.split_last() {
        None => None,
        Some((0, key)) if !key.is_empty() => Some(format!("key > {}", literal(key))),
        Some(_) => Some(format!("key >= {}", literal(&interval.start))),
    };
    let to = interval.end.as_ref().map(|end| match end.split_last() {
        Some((0, key)) if !key.is_empty() => format!("key <= {}", literal(key)),
        _ => format!("key < {}", literal(end)),
    });
    match (from, to) {
        (None, None) => "all keys".into(),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(from), Some(to)) => format!("{from} AND {to}"),
    }
}

fn scan_line(step: &'static str, keyspace: &Keyspace, layout: &Layout, interval: &Interval) -> Line {
    let bounds = interval.within(keyspace.id);
    let touched = layout.within(&bounds);
    let requests = touched.iter().map(|range| pages(range, &bounds)).sum();
    Line::new(step, interval_text(interval)).on(touched, requests)
}

/// Pages of one range: by its bytes where all of it is read, else one at least.
fn pages(range: &RangeStatus, bounds: &KeyRange) -> u64 {
    if bounds.contains_range(&range.descriptor.bounds) {
        range.approximate_bytes.unwrap_or(0).div_ceil(u64::from(limits::MAX_SCAN_BYTES)).max(1)
    } else {
        1
    }
}

fn keys_line(step: &'static str, keys: &[Key], layout: &Layout) -> Line {
    let mut touched: Vec<&RangeStatus> = keys.iter().filter_map(|key| layout.holding(key)).collect();
    touched.sort_by_key(|range| range.descriptor.range);
    touched.dedup_by_key(|range| range.descriptor.range);
    let names = keys.iter().map(|key| literal(key.user_key())).collect();
    let what = if keys.len() == 1 { "key = " } else { "keys " };
    // The client sends one request to each range.
    let requests = u64::try_from(touched.len().max(1)).unwrap_or(u64::MAX);
    Line::new(step, format!("{what}{}", named(names, NAMED_KEYS))).on(touched, requests)
}

fn insert_lines(layout: &Layout, mut keys: Vec<Key>, upsert: bool) -> Vec<Line> {
    keys.sort();
    let mut lines = Vec::new();
    if !upsert && keys.len() > 1 {
        lines.extend(keys.chunks(KEYS_AT_A_TIME).map(|some| keys_line("look", some, layout)));
    }
    lines.extend(range_lines(if upsert { "write" } else { "write if absent" }, &keys, layout));
    lines
}

/// Sorted keys, a line for each range that holds some.
fn range_lines(step: &'static str, keys: &[Key], layout: &Layout) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut rest = keys;
    while let Some(first) = rest.first() {
        let in_range = layout
            .holding(first)
            .map_or(rest.len(), |range| rest.partition_point(|key| range.descriptor.bounds.contains(key)));
        let (here, behind) = rest.split_at(in_range.max(1));
        lines.push(keys_line(step, here, layout));
        rest = behind;
    }
    lines
}

fn delete_lines(keyspace: &Keyspace, layout: &Layout, keys: &KeySet) -> Vec<Line> {
    let lines = keys.steps(false, KEYS_AT_A_TIME).into_iter().flat_map(|step| match step {
        Step::Scan(interval) => vec![scan_line("delete", keyspace, layout, &interval)],
        Step::Keys(keys) => {
            let raw: Vec<Key> = keys.iter().map(|key| Key::bound(keyspace.id, key)).collect();
            match raw.as_slice() {
                [one] => vec![keys_line("delete", std::slice::from_ref(one), layout)],
                several => {
                    let deleted = range_lines("delete if present", several, layout);
                    std::iter::once(keys_line("look", several, layout)).chain(deleted).collect()
                }
            }
        }
    });
    lines.collect()
}

fn change_lines(keyspace: &Keyspace, layout: &Layout, plan: &KeyPlan, step: &'static str, what: &str) -> Vec<Line> {
    let mut lines = read_lines(keyspace, layout, plan, false, None);
    if lines.is_empty() {
        return lines;
    }
    if let Some(filter) = &plan.residual {
        lines.push(Line::new("filter", filter.to_string()));
    }
    lines.push(Line::new(step, what.to_owned()));
    lines
}

pub(super) async fn analyze(
    run: &mut Run<'_>,
    keyspace: &Keyspace,
    statement: &Statement,
) -> Result<Summary, ShellError> {
    let layout = run.layout(keyspace.id).await?;
    run.watch = Some(Watch { layout, ..Watch::default() });
    run.quiet = true;
    let done = match statement {
        Statement::Select(statement) => select::run(run, keyspace, statement).await?,
        Statement::Insert(statement) => insert::run(run, keyspace, statement).await?,
        Statement::Update(statement) => change::update(run, keyspace, statement).await?,
        Statement::Delete(statement) => change::delete(run, keyspace, statement).await?,
        _ => Summary::default(),
    };
    let watch = run.watch.take().expect("set above");
    columns(run, "site ranges round_trips rows bytes time")?;
    let rows = site_rows(&watch);
    let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    if !rows.is_empty() {
        run.sink.rows(rows)?;
    }
    Ok(Summary {
        verb: "EXPLAIN ANALYZE",
        rows_returned: Some(count),
        rows_affected: done.rows_affected,
        notes: analyze_notes(run, &done, &watch, statement),
        ..Summary::default()
    })
}

fn site_rows(watch: &Watch) -> Vec<Vec<Value>> {
    let mut by_site: BTreeMap<String, (BTreeSet<RangeId>, Tally)> = BTreeMap::new();
    let known: BTreeMap<RangeId, &RangeStatus> =
        watch.layout.ranges.iter().map(|range| (range.descriptor.range, range)).collect();
    for (ranges, tally) in &watch.tallies {
        let sites: BTreeSet<String> =
            ranges.iter().filter_map(|range| known.get(range)).map(|range| site_of(range)).collect();
        let site = if sites.is_empty() { "not known".to_owned() } else { Vec::from_iter(sites).join(" + ") };
        let (all, sum) = by_site.entry(site).or_default();
        all.extend(ranges);
        sum.requests += tally.requests;
        sum.rows += tally.rows;
        sum.bytes += tally.bytes;
        sum.time += tally.time;
    }
    let row = |(site, (ranges, sum)): (String, (BTreeSet<RangeId>, Tally))| {
        let ranges = named(ranges.iter().map(ToString::to_string).collect(), NAMED_RANGES);
        vec![
            Value::Text(site),
            Value::maybe_text((!ranges.is_empty()).then_some(ranges)),
            Value::count(sum.requests),
            Value::count(sum.rows),
            Value::count(sum.bytes),
            Value::Elapsed(sum.time),
        ]
    };
    by_site.into_iter().map(row).collect()
}

fn analyze_notes(run: &Run<'_>, done: &Summary, watch: &Watch, statement: &Statement) -> Vec<String> {
    let progress = &run.progress;
    let mut notes = vec![format!(
        "{} and {} read in {}",
        plural(progress.rows_scanned, "row"),
        plural(progress.bytes_scanned, "byte"),
        plural(progress.requests, "round trip")
    )];
    notes.extend(done.rows_returned.map(|rows| format!("rows that came out and were not shown: {rows}")));
    notes.extend(done.rows_affected.map(|rows| format!("rows changed: {rows}")));
    let filter = match statement {
        Statement::Select(select) => Some(select.filter.as_ref()),
        Statement::Update(update) => Some(Some(&update.filter)),
        Statement::Delete(delete) => Some(Some(&delete.filter)),
        _ => None,
    };
    notes.extend(filter.and_then(|filter| scan_notes(&KeyPlan::of(filter))));
    if watch.tallies.keys().any(|ranges| ranges.len() > 1) {
        notes.push("where sites stand together, requests went to them at the same time".into());
    }
    notes.extend(silent_notes(&watch.layout.silent));
    notes
}

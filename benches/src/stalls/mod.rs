//! How long clients wait for nothing while something between the sites is broken: one fault after the other, on a real fleet in
//! network namespaces. Every acknowledged write is read back after each.
//!
//! - [`matrix`]: the faults
//! - [`worker`]: a client at work; [`pinned`]: a client that talks to one store only
//! - [`trial`]: one fleet, and one fault on it

pub mod matrix;
pub mod pinned;
pub mod trial;
pub mod worker;

use std::time::Duration;

use self::matrix::Fault;
use crate::record::{Verdict, WriteEnd};
use crate::report::Table;

/// Ranges that the keys are cut into: each site leads some.
pub const RANGES: usize = 6;

/// An operation that did not succeed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// How the write ended; a read is `Refused`.
    pub end: WriteEnd,
    /// What the client was told.
    pub what: String,
}

/// How an operation ended.
pub type Outcome<T> = Result<T, Failed>;

/// What one fault came to.
#[derive(Debug)]
pub struct Row {
    /// The fault.
    pub fault: Fault,
    /// The longest wait of a client that may go to any store.
    pub anywhere: Duration,
    /// Of a client of one store, at the bad side.
    pub bad: Duration,
    /// Of a client of one store, elsewhere.
    pub elsewhere: Duration,
    /// Operations that failed although the client had a way to a majority.
    pub errors: u64,
    /// Reads of what a key cannot hold.
    pub stale: u64,
    /// What the read-back found; `None`: not everything could be read.
    pub verdict: Option<Verdict>,
    /// What else is to be said: how the first operation failed, what did not heal.
    pub notes: Vec<String>,
}

/// The rows as a table in Markdown.
#[must_use]
pub fn table(rows: &[Row]) -> Table {
    let seconds = |time: Duration| format!("{:.2}", time.as_secs_f64());
    let heading = [
        "fault",
        "anywhere, s",
        "pinned, bad side, s",
        "pinned, elsewhere, s",
        "errors",
        "stale",
        "lost",
        "duplicated",
    ];
    let mut table = Table::new(&heading);
    for row in rows {
        let bad = if row.fault.has_path { seconds(row.bad) } else { format!("({})", seconds(row.bad)) };
        let found = |count: fn(Verdict) -> u64| row.verdict.map_or("not read".to_owned(), |v| count(v).to_string());
        table.row(vec![
            row.fault.name.clone(),
            seconds(row.anywhere),
            bad,
            seconds(row.elsewhere),
            row.errors.to_string(),
            row.stale.to_string(),
            found(|verdict| verdict.lost),
            found(|verdict| verdict.duplicated),
        ]);
    }
    table
}

//! Where a statement's results go.

use std::io;
use std::time::Duration;

use super::value::Value;

/// How far a statement has come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Progress {
    /// Rows read so far, given out or not.
    pub rows_scanned: u64,
    /// Bytes of keys and values read so far.
    pub bytes_scanned: u64,
    /// Rows given out so far.
    pub rows_returned: u64,
    /// Rows written or deleted so far.
    pub rows_changed: u64,
    /// Requests made so far.
    pub requests: u64,
}

/// What a statement came to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// What was done, in the imperative that was asked for: `SELECT`, `INSERT`, `SPLIT`...
    pub verb: &'static str,
    /// Rows given out; `None`: the statement gives none.
    pub rows_returned: Option<u64>,
    /// Rows written or deleted; `None`: the statement changes none.
    pub rows_affected: Option<u64>,
    /// What happened instead of counts: "created keyspace orders (id 256)".
    pub message: Option<String>,
    /// What the reader should know besides, a sentence each: a full scan, stores that did not answer.
    pub notes: Vec<String>,
    /// How far it came in all.
    pub progress: Progress,
    /// How long it took.
    pub elapsed: Duration,
}

/// Takes the results of one statement: columns once (not for statements without rows), then rows in pages. The summary is what
/// `Session::execute` returns. An error ends the statement; `BrokenPipe` says that the reader went away.
pub trait Sink: Send {
    /// The names of the columns of the rows that follow.
    fn columns(&mut self, names: &[String]) -> io::Result<()>;

    /// The next rows, each with a cell for every column. Called any number of times, never with no rows.
    fn rows(&mut self, rows: Vec<Vec<Value>>) -> io::Result<()>;

    /// How far the statement has come: called after every page that was read or written.
    fn progress(&mut self, _progress: &Progress) {}
}

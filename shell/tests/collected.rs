//! A sink that keeps everything.

use std::io;

use holdfast_shell::{Progress, Sink, Value};

/// What a statement gave.
#[derive(Default, Debug)]
pub struct Collected {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// All rows.
    pub rows: Vec<Vec<Value>>,
    /// The last progress heard of.
    pub progress: Progress,
}

impl Sink for Collected {
    fn columns(&mut self, names: &[String]) -> io::Result<()> {
        self.columns = names.to_vec();
        Ok(())
    }

    fn rows(&mut self, rows: Vec<Vec<Value>>) -> io::Result<()> {
        self.rows.extend(rows);
        Ok(())
    }

    fn progress(&mut self, progress: &Progress) {
        self.progress = *progress;
    }
}

//! What can go wrong, each with what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why something could not be done with the clusters.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine lacks something.
    #[error("{}", .0.join("\n"))]
    Requirements(Vec<String>),
    /// A name, a number or an option that does not fit.
    #[error("{0}")]
    Invalid(String),
    /// A file or folder could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program could not be started, or failed.
    #[error("{program} failed: {output}")]
    Program {
        /// The program and its arguments.
        program: String,
        /// What it wrote to its error output, or why it could not be started.
        output: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {}; the logs lie in {}", humantime::format_duration(*.limit), .logs.display())]
    Timeout {
        /// What was awaited.
        what: String,
        /// How long.
        limit: Duration,
        /// Where to look.
        logs: PathBuf,
    },
    /// A certificate could not be made.
    #[error("no certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// What was to be printed was not taken.
    #[error("{0}")]
    Unwritten(#[from] holdfast_output::Unwritten),
    /// A value that is no JSON of the expected shape.
    #[error("{what}: {source}")]
    Json {
        /// The text's origin.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Names the file in an error of input or output.
pub(crate) trait At<T> {
    /// The same result, with the path in its error.
    fn at(self, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|source| Error::File { path: path.to_owned(), source })
    }
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|source| Error::File { path: path.to_owned(), source: source.into() })
    }
}

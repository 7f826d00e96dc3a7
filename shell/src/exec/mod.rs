//! Runs statements against a backend and streams what they give.
//!
//! - [`Session`]: parses a statement and carries it out
//! - [`Sink`]: where columns, rows and progress go; [`Summary`]: what it came to
//! - [`Value`]: what results are made of
//! - [`ShellError`]: why a statement ended early
//!
//! Inside: every request goes through `run`; `select`, `insert`, `change`, `fleet`, `audit` and `rights` are the statements, `explain` tells of them.

mod audit;
mod batches;
mod change;
mod error;
mod explain;
mod fleet;
mod insert;
mod reader;
mod rights;
mod run;
mod select;
mod session;
mod sink;
mod value;

pub use error::ShellError;
pub use session::{Cancel, Session};
pub use sink::{Progress, Sink, Summary};
pub use value::{Value, hex, time_text};
pub(crate) use value::{literal, quoted};

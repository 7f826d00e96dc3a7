//! The SQL-ish shell of Holdfast, as a library. Layer 3.
//!
//! - [`lang`]: text to statements: splitting, parsing, errors that point at the place, completion. No IO
//! - [`plan`]: what a WHERE clause comes to: key ranges, and what is left to be checked row by row. No IO
//! - [`backend`]: what a statement needs from a fleet, over the client library
//! - [`exec`]: runs statements against a backend and streams what they give into a [`Sink`]
//! - [`face`]: the terminal, formats, help, scripts
//!
//! ```text
//! text --lang--> Statement --plan--> key ranges + filter --exec--> Backend
//!                                                          |
//!                                                          +--> Sink: columns, rows in pages, progress, summary
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod backend;
pub mod exec;
pub mod face;
pub mod lang;
pub mod plan;
mod steps;
mod text;

pub use backend::Backend;
pub use exec::{Cancel, Progress, Session, ShellError, Sink, Summary, Value};
pub use lang::{LangError, Names};

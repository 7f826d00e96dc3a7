//! The shell over a fleet in memory, and the page about its language.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod changing;
mod collected;
mod documented;
mod field;
mod golden;
mod memory;
mod planning;
mod streaming;

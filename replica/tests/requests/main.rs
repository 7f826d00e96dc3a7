//! Requests through the pipeline, the log and the data, without raft.
#![allow(clippy::unwrap_used, missing_docs)]

mod apply;
mod encodings;
mod exactly_once;
mod isolation;
mod latches;
mod model;
mod pipeline;
mod scripts;

//! The client over gRPC: one task owns the core, one stream per store carries many calls at a time.
//!
//! ```text
//! Client (any number of clones) -- commands --> driver (one task: ClientCore, links with the ways to each store)
//!                                                 |  outbox: what is in flight becomes one message
//!                                                 v
//!                                link (one task per store: connects, reads) <--> Kv.Stream of the store
//! ```
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "clocks and tasks live here")]

pub mod admin;
mod batch;
mod bearer;
mod call;
pub mod channel;
mod client;
mod driver;
mod fleet;
mod link;
mod links;
mod options;
mod outbox;
mod scan;
mod security;
mod why;
mod wire;

pub use batch::{Batch, FailedCondition, WriteOutcome};
pub use bearer::BearerFile;
pub use client::Client;
pub use options::Options;
pub use scan::{KeyValue, PageStream, RowStream, Scan, ScanPlace, ScanPlacePart};
pub use security::Security;

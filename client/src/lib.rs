//! The Rust client of Holdfast. Layer 2.
//!
//! - [`core`]: PURE. Routing, retries, slots; the simulator's clients run it too
//! - `Client` (feature `grpc`): the client itself, asynchronous; `blocking::Client` for programs without a runtime
//! - [`ClientError`]: what a caller is told, and what to do
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(feature = "grpc")]
pub mod blocking;
pub mod core;
mod error;
#[cfg(feature = "grpc")]
mod grpc;

pub use error::ClientError;
#[cfg(feature = "grpc")]
pub use grpc::{Batch, Client, KeyValue, Options, Scan, WriteOutcome};
#[cfg(feature = "grpc")]
pub use holdfast_types::{Expected, KeyspaceId, SiteName, Timestamp, VersionedValue};

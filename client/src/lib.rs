//! The Rust client of Holdfast: an ordered key-value store whose unit of failure is a whole site. Layer 2.
//!
//! - `Client` (feature `grpc`): the client, asynchronous; `blocking::Client` for programs without a runtime
//! - `guide`: how to use it, in eleven chapters; begin there
//! - `mock` (feature `mock`): a fleet within the process, for your tests
//! - `observe`: metrics and traces; `admin`: looking at the fleet as a whole, and changing it by hand
//! - [`ClientError`]: what a caller is told, and what to do
//! - [`core`]: PURE. Routing, retries, slots; the simulator's clients run it too. Not part of the stable interface
#![cfg_attr(feature = "grpc", doc = "\n")]
#![cfg_attr(feature = "grpc", doc = include_str!("guide/front.md"))]
// The guide names the mock, which is there when its feature is.
#![cfg_attr(not(feature = "mock"), allow(rustdoc::broken_intra_doc_links))]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(feature = "grpc")]
pub mod blocking;
pub mod core;
mod error;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "grpc")]
pub mod guide;
#[cfg(feature = "mock")]
pub mod mock;
#[cfg(feature = "grpc")]
pub mod observe;
#[cfg(feature = "grpc")]
mod span;

pub use core::{RetryCause, RetryPolicy};
pub use error::ClientError;
#[cfg(feature = "grpc")]
pub use grpc::admin;
#[cfg(feature = "grpc")]
pub use grpc::{Batch, Client, FailedCondition, KeyValue, Options, PageStream, RowStream, Scan, WriteOutcome};
pub use holdfast_types::Rejected;
#[cfg(feature = "grpc")]
pub use holdfast_types::{Expected, KeyspaceId, SiteName, StoreId, Timestamp, VersionedValue};
#[cfg(feature = "grpc")]
pub use span::KeySpan;

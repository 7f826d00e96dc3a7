//! The Rust client of Holdfast. Layer 2.
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(feature = "grpc")]
pub mod blocking;
pub mod core;
mod error;
#[cfg(feature = "grpc")]
mod grpc;
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
pub use holdfast_types::{Expected, KeyspaceId, SiteName, Timestamp, VersionedValue};
#[cfg(feature = "grpc")]
pub use span::KeySpan;

//! The Rust client of Holdfast: an ordered key-value store whose unit of failure is a whole site. Layer 2.
//!
//! - `Client` (feature `grpc`): the client, asynchronous; `blocking::Client` for programs without a runtime
//! - `guide`: how to use it, in twelve chapters; begin there
//! - `mock` (feature `mock`): a fleet within the process, for your tests
//! - `observe`: metrics and traces; `admin`: looking at the fleet as a whole, and changing it by hand
//! - [`ClientError`]: what a caller is told, and what to do
//! - [`core`]: PURE. Routing, retries, slots; the simulator's clients run it too. Not part of the stable interface
//!
//! ```
//! use holdfast_client::{Batch, Client, Options};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let addresses = mock.addresses();
//!
//! let client = Client::connect(addresses, Options::new()).await?;
//! client.put("greeting", "hello").await?;
//! let value = client.get("greeting").await?.expect("just written");
//! assert_eq!(&value.value[..], b"hello");
//!
//! // All or nothing, within one range.
//! let batch = Batch::new().require_version("greeting", value.timestamp).put("greeting", "hi").delete("draft");
//! if client.batch(batch).await?.is_written() {
//!     println!("nobody else was faster");
//! }
//!
//! let mut scan = client.scan("a".."n").limit(100);
//! while let Some(page) = scan.next_page().await? {
//!     for row in page {
//!         println!("{:?} = {:?}", row.key, row.value);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [Getting started](guide::getting_started) · [Consistency](guide::consistency) · [Exactly once](guide::exactly_once) ·
//! [Deadlines and retries](guide::deadlines_and_retries) · [Scans](guide::scans) · [Batches](guide::batches) ·
//! [Blocking](guide::blocking) · [Security](guide::security) · [Testing](guide::testing) · [Observing](guide::observing) · [Tuning](guide::tuning) ·
//! [Versions and features](guide::versions)
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
mod untrusted;

pub use core::{RetryCause, RetryPolicy};
pub use error::ClientError;
#[cfg(feature = "grpc")]
pub use grpc::admin;
#[cfg(feature = "grpc")]
#[doc(hidden)]
pub use grpc::channel;
#[cfg(feature = "grpc")]
pub use grpc::{
    Batch, BearerFile, Client, FailedCondition, KeyValue, Options, PageStream, RowStream, Scan, ScanPlace,
    ScanPlacePart, Security, WriteOutcome,
};
#[cfg(feature = "grpc")]
pub use holdfast_trust::{Bundle, Place, Trust, TrustError};
pub use holdfast_types::Rejected;
#[cfg(feature = "grpc")]
pub use holdfast_types::{Expected, KeyspaceId, SiteName, StoreId, Timestamp, TrustDomain, VersionedValue};
#[cfg(feature = "grpc")]
pub use span::KeySpan;
pub use untrusted::{Doubt, Untrusted};

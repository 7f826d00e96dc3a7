//! The client over gRPC: one task owns the core, one stream per store carries many calls at a time.
//!
//! ```no_run
//! use holdfast_client::{Batch, Client, ClientError, Expected, Options};
//!
//! # async fn example() -> Result<(), ClientError> {
//! let client = Client::connect(["store-0.site-a:7001"], Options::default()).await?;
//! client.put("greeting", "hello").await?;
//! let value = client.get("greeting").await?.expect("just written");
//! assert_eq!(&value.value[..], b"hello");
//!
//! // All or nothing, within one range.
//! let batch = Batch::new().require("greeting", Expected::Version(value.timestamp)).put("greeting", "hi").delete("draft");
//! if client.batch(batch).await?.is_written() {
//!     println!("nobody else was faster");
//! }
//!
//! let mut scan = client.scan("a", Some("n")).limit(100);
//! while let Some(page) = scan.next_page().await? {
//!     for row in page {
//!         println!("{:?} = {:?}", row.key, row.value);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//! Client (any number of clones) -- commands --> driver (one task: ClientCore, address book)
//!                                                 |  outbox: what is in flight becomes one message
//!                                                 v
//!                                link (one task per store: connects, reads) <--> Kv.Stream of the store
//! ```
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "clocks and tasks live here")]

mod batch;
mod client;
mod driver;
mod fleet;
mod link;
mod outbox;
mod scan;
#[cfg(test)]
mod tests;

pub use batch::{Batch, WriteOutcome};
pub use client::{Client, Options};
pub use scan::{KeyValue, Scan};

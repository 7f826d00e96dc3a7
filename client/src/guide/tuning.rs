//! Tuning.
//!
//! The defaults are meant to be left alone. What changes throughput is how a program calls:
//!
//! - **One client**, cloned, for everything. Each client has connections of its own, and a session of its own in every range it writes to.
//! - **Concurrency, not batches, for throughput.** Calls in flight at the same time travel in the same messages, and their writes share one
//!   log write in the store. Ten thousand `put`s at a time are as cheap as a bulk call, and each has its own outcome. A client takes
//!   16,384 calls at a time; 1,024 writes at a time are sent, more wait their turn.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! use futures::{StreamExt, TryStreamExt};
//!
//! let puts = futures::stream::iter(0..1_000).map(|i| client.put(format!("row/{i}"), "v"));
//! let versions: Vec<_> = puts.buffer_unordered(256).try_collect().await?;
//! assert_eq!(versions.len(), 1_000);
//! # Ok(())
//! # }
//! ```
//!
//! - **`batch_get`** for many keys: one request for each range.
//! - **Site.** Set [`Options::site`](crate::Options::site). Without it the client treats all sites alike.
//! - **Deadlines** shorter than a failover (below a second) turn a change of leader into errors. Prefer a generous deadline, and a
//!   [`budget`](crate::RetryPolicy::budget) where a late attempt is worth nothing.
//! - **Keys.** What is read or changed together should be neighbours. A counter that everybody increments is one key on one leader: cut it
//!   into several.
//! - **Pages.** A page of a scan is 10,000 rows or 1 MiB. Ask for smaller ones where the first row matters more than the last.
//!
//! | bound | value |
//! |---|---|
//! | calls of a client at a time | 16,384; beyond it calls wait, then `TooManyCalls` |
//! | writes of a client under way | 1,024 |
//! | key, value | 4 KiB, 1 MiB (up to 4 MiB by configuration of the fleet) |
//! | keys of a batch or batch get, bytes of a batch | 4,096, 4 MiB |
//! | ranges remembered | 65,536 |
//! | connections | one to each store that is talked to |

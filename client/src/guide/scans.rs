//! Scans: rows in the order of their keys.
//!
//! A scan takes a span of keys: any of Rust's ranges, or a [`KeySpan`](crate::KeySpan).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! use holdfast_client::KeySpan;
//!
//! for i in 0..100 {
//!     client.put(format!("row/{i:02}"), "v").await?;
//! }
//! assert_eq!(client.scan("row/10".."row/20").collect().await?.len(), 10);
//! assert_eq!(client.scan("row/90"..).collect().await?.len(), 10);
//! assert_eq!(client.scan_prefix("row/4").collect().await?.len(), 10);
//! assert_eq!(client.scan(KeySpan::all()).reverse().limit(3).collect().await?.len(), 3);
//! # Ok(())
//! # }
//! ```
//!
//! There are three ways to read it, and none holds more than one page in memory but `collect`:
//!
//! - [`next_page`](crate::Scan::next_page): up to 10,000 rows or 1 MiB at a time, or less if you say so with [`pages`](crate::Scan::pages);
//! - [`stream`](crate::Scan::stream): a `futures::Stream` of rows, [`stream_pages`](crate::Scan::stream_pages) one of pages;
//! - [`collect`](crate::Scan::collect): all that is left, in one vector. Set a limit.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! use futures::TryStreamExt;
//!
//! # for i in 0..10 { client.put(format!("row/{i}"), "v").await?; }
//! let mut rows = client.scan_prefix("row/").stream();
//! while let Some(row) = rows.try_next().await? {
//!     println!("{}: {} bytes", row.key.escape_ascii(), row.value.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Values that nobody needs stay where they are: [`keys_only`](crate::Scan::keys_only) brings rows without them, and
//! [`count`](crate::Scan::count) says how many rows there are and brings none.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! # for i in 0..10 { client.put(format!("row/{i}"), "v").await?; }
//! assert_eq!(client.scan_prefix("row/").count().await?, 10);
//! for row in client.scan_prefix("row/").keys_only().limit(3).collect().await? {
//!     println!("{}", row.key.escape_ascii());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A scan that is broken off can [say where it stands](crate::Scan::place), and another one [goes on there](crate::Scan::go_on), in another process too.
//!
//! A scan over several ranges reads each at a timestamp of its own. For one snapshot over all of them name a timestamp that has passed, for
//! example one that you got from a write, or a little before now:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! use std::time::Duration;
//! use holdfast_client::Timestamp;
//!
//! client.put("a", "1").await?;
//! # mock.advance(Duration::from_secs(2));
//! let a_second_ago = Timestamp::from_ms(client.fleet_now().ms() - 1_000);
//! let rows = client.scan(..).at(a_second_ago).collect().await?;
//! # assert!(rows.len() <= 1);
//! # Ok(())
//! # }
//! ```
//!
//! Each page has the whole deadline for itself. After an error the same page can be asked for again, from the same scan or stream; no row is
//! lost and none comes twice.
//!
//! [`delete_range`](crate::Client::delete_range) walks in the same way, a thousand keys at a time, each page atomic and exactly once.

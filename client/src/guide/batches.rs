//! Batches and conditions: several keys, all or nothing.
//!
//! A [`Batch`](crate::Batch) is built step by step and then given to [`Client::batch`](crate::Client::batch). Everything in it happens at one
//! timestamp, if all conditions hold, or nothing does:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! use holdfast_client::{Batch, WriteOutcome};
//!
//! let seen = client.put("stock/apples", "5").await?;
//! let order = Batch::new()
//!     .require_version("stock/apples", seen)
//!     .require_absent("order/17")
//!     .put("stock/apples", "4")
//!     .put("order/17", "one apple");
//! match client.batch(order.clone()).await? {
//!     WriteOutcome::Written { timestamp } => println!("done, as version {timestamp}"),
//!     WriteOutcome::ConditionFailed(failed) => println!("{failed}"),
//! }
//! // The same once more: the first condition that does not hold is named, with what was there instead.
//! let WriteOutcome::ConditionFailed(failed) = client.batch(order).await? else { panic!("the stock has changed") };
//! assert_eq!((failed.index, &failed.key[..]), (0, &b"stock/apples"[..]));
//! assert_eq!(&failed.actual.expect("it exists").value[..], b"4");
//! # Ok(())
//! # }
//! ```
//!
//! A condition that does not hold is an answer, not an error: nothing was written, and you know why. Where it is an error to you,
//! [`into_result`](crate::WriteOutcome::into_result) makes it one.
//!
//! **Limits.** 4,096 changes on distinct keys, 4,096 conditions, 4 MiB together. What no store would take is refused before it is sent, and
//! [`Batch::check`](crate::Batch::check) tells you earlier still.
//!
//! **One range.** A batch must lie within one range. Ranges split as they grow, so keys that belong together should share a prefix: neighbours
//! stay together for long, though not for ever. When they no longer do, the fleet refuses with the key at which to cut:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! use holdfast_client::{Batch, ClientError, Rejected};
//!
//! mock.split_at("m");
//! let refused = client.batch(Batch::new().put("a", "1").put("z", "1")).await;
//! let Err(ClientError::Rejected(Rejected::SpansRanges { split_key })) = refused else { panic!("two ranges") };
//! assert_eq!(split_key.user_key(), b"m");
//! # Ok(())
//! # }
//! ```

//! Tests with the mock.
//!
//! The feature `mock` adds [`mock::Mock`](crate::mock::Mock): a fleet within your test, on free ports of loopback. The client under test is
//! the real one, and so is the code that evaluates requests: conditions, versions, expiry, scans over ranges and request ids behave as in a
//! fleet. Add it to the dev-dependencies only.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use holdfast_client::mock::Mock;
//!
//! let mock = Mock::builder().sites(["a", "b", "c"]).split_at("m").start()?;
//! let client = mock.client().await?;
//! client.put("k", "v").await?;
//! mock.stop_store(0);
//! assert!(client.get("k").await?.is_some(), "another store leads now");
//! # Ok(())
//! # }
//! ```
//!
//! What goes wrong is told by [`Fault`](crate::mock::Fault)s, in order, for all calls or for those of one operation:
//!
//! | fault | what happens | what a caller sees |
//! |---|---|---|
//! | `delay(d)` | served later | a slow call |
//! | `busy(d)`, `unavailable()`, `not_leader()`, `reject(..)` | refused, nothing done | a retry, or the refusal |
//! | `lose_request()` | the connection breaks before it is served | a retry; `Ambiguous` if none is allowed |
//! | `lose_answer()` | served, then the connection breaks | the same: nobody can tell them apart |
//! | `hold()`, `hold_answer()` | no answer from a store that lives | a retry after a while, or the deadline |
//! | `doubt()` | applied, and the store cannot say | a retry, or `Ambiguous` |
//!
//! Test what your program does with an ambiguous write, both ways:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! use std::time::Duration;
//! use holdfast_client::mock::Fault;
//!
//! let client = client.with_deadline(Duration::from_millis(100));
//! for (fault, written) in [(Fault::lose_answer(), 1), (Fault::lose_request(), 0)] {
//!     let key = format!("written {written} times");
//!     mock.inject(fault.forever());
//!     assert!(client.put(&key, "v").await.unwrap_err().is_ambiguous());
//!     mock.clear_faults();
//!     assert_eq!(mock.versions(&key).len(), written);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Time passes by [`advance`](crate::mock::Mock::advance), for values that expire; [`until`](crate::mock::Mock::until) waits for what the mock
//! has counted, so that no test needs to sleep.

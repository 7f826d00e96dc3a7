//! Deadlines, retries, and dropping calls.
//!
//! **Deadlines.** Every call ends within the deadline of its handle: 10 s by default, 60 s at most. Waiting for a free slot, looking up
//! ranges, redirections and retries all count. A scan and a deletion of a range are one call for each page.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! use std::time::Duration;
//!
//! let quick = client.with_deadline(Duration::from_millis(250));
//! quick.get("k").await?;
//! # Ok(())
//! # }
//! ```
//!
//! **Retries.** The client retries whatever may pass: a range that is changing its leader, a store that is busy or gone, a connection that
//! broke, an answer that was lost. It waits for news rather than polling: when a new leader is heard of, waiting calls go there at once.
//! So with the defaults an error means that the fleet could not serve you for the whole of your deadline, or that the request was wrong.
//!
//! A [`RetryPolicy`](crate::RetryPolicy) makes a call give up earlier. It never makes it less safe: all attempts of a write carry one
//! request id, whatever the policy, and what cannot be known stays ambiguous.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! use std::time::Duration;
//! use holdfast_client::{RetryCause, RetryPolicy, mock::Fault};
//!
//! // At most five attempts, none begun later than 300 ms after the call, and none at all when the fleet is busy.
//! let policy = RetryPolicy::new()
//!     .attempts(5)
//!     .budget(Duration::from_millis(300))
//!     .backoff(Duration::from_millis(10), Duration::from_millis(100))
//!     .without(RetryCause::Busy);
//! let hasty = client.with_retry(policy);
//! mock.inject(Fault::busy(Duration::from_millis(50)));
//! let error = hasty.get("k").await.unwrap_err();
//! assert_eq!(error.retry_after(), Some(Duration::from_millis(50)));
//! # Ok(())
//! # }
//! ```
//!
//! | what happened | by default | with a policy that ends |
//! |---|---|---|
//! | redirected to the leader | followed at once | followed at once |
//! | `Busy` | waits as long as the store asks | `Rejected(Busy)` |
//! | no leader, store stopping or out of reach | waits for news, or 50 ms doubling to 400 ms | `Rejected` with the last refusal |
//! | connection broke, store fell silent | another store | a write: `Ambiguous`; a read: `Rejected(Unavailable)` |
//! | the request is wrong, spans ranges, reads what is gone | `Rejected` | `Rejected` |
//!
//! Do not build a second retry loop around the client for what it retries already: give it a longer deadline. Retry by yourself only
//! after `Ambiguous`, as [the chapter on it](super::exactly_once) says.
//!
//! **Dropping a call.** Every future of this crate may be dropped at any time, in `select!` or by a timeout of your own. The call ends,
//! stores are told that nobody waits, and the handle stays usable. A read leaves nothing behind. A write that was dropped is as one that is
//! ambiguous: applied once or not at all, perhaps a little later. A dropped page of a scan is read again by the next call.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! use std::time::Duration;
//! use holdfast_client::mock::Fault;
//!
//! mock.inject(Fault::hold());
//! let slow = tokio::time::timeout(Duration::from_millis(20), client.put("k", "v")).await;
//! assert!(slow.is_err(), "given up");
//! client.put("k", "w").await?; // A later write comes after it, or instead of it; never before.
//! assert_eq!(&client.get("k").await?.expect("written").value[..], b"w");
//! # Ok(())
//! # }
//! ```
//!
//! That last comment deserves care: an earlier write of the *same key* that was dropped may still arrive until its last moment has
//! passed. Where that matters, guard writes with versions.

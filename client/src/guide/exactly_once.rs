//! Exactly once, and `Ambiguous`.
//!
//! A store can die after it applied a write and before it answered. The client then sends the write again, to whoever leads now, under
//! the same *request id*; the range keeps the outcome of that id next to the data, and answers what it answered before. So a write that
//! succeeds was applied once, however often it was sent, through failover, splits and lost connections:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! use holdfast_client::{Expected, mock::Fault};
//!
//! mock.inject(Fault::lose_answer());
//! let outcome = client.compare_and_set("job", Expected::Absent, Some("mine".into())).await?;
//! assert!(outcome.is_written(), "the second attempt was told what the first one did");
//! assert_eq!(mock.versions("job").len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! What remains is the deadline. When it passes and the client still does not know what became of an attempt, it does not guess:
//! [`ClientError::Ambiguous`](crate::ClientError::Ambiguous). The write was applied once or not at all, and it may still be applied for a
//! short while, until the last moment that it carries. What to do:
//!
//! - *Read it back*, if the value tells whether it is yours.
//! - *Guard it with a condition* from the start. A repeated compare-and-set either happens or tells you that it has happened:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! use holdfast_client::{Client, ClientError, Expected, mock::Fault};
//!
//! /// Takes a job, once, whatever is lost on the way.
//! async fn take(client: &Client, job: &str, worker: &'static str) -> Result<bool, ClientError> {
//!     loop {
//!         match client.compare_and_set(job, Expected::Absent, Some(worker.into())).await {
//!             Ok(outcome) if outcome.is_written() => return Ok(true),
//!             // Somebody has it: perhaps we, by the attempt that we could not hear of.
//!             Ok(_) => return Ok(client.get(job).await?.is_some_and(|found| found.value == worker)),
//!             Err(error) if error.is_ambiguous() => continue,
//!             Err(error) => return Err(error),
//!         }
//!     }
//! }
//!
//! mock.inject(Fault::lose_answer().times(3));
//! assert!(take(&client.with_deadline(std::time::Duration::from_millis(100)), "job/1", "worker-7").await?);
//! assert!(!take(&client, "job/1", "worker-8").await?);
//! # Ok(())
//! # }
//! ```
//!
//! - *Do it again* if doing it twice is harmless: a put of the same value is.
//!
//! Reads are never ambiguous: they fail with `DeadlineExceeded`. Every other error says that nothing was done;
//! [`is_ambiguous`](crate::ClientError::is_ambiguous) is the one question to ask.
//!
//! A program that starts again is a new client: its request ids say nothing about the run before. What must survive a restart of your
//! program needs a condition, or a key that names the operation.

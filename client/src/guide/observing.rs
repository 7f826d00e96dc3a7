//! Observing: metrics and traces.
//!
//! **Metrics.** An [`Observer`](crate::observe::Observer) hears of every call when it ends, with operation, outcome, latency, attempts,
//! retries and bytes; of every attempt and refusal; of connections. It is a trait and not a facade, so the crate ties you to no
//! metrics library: a few lines carry the numbers into yours. [`Totals`](crate::observe::Totals) is one that adds up.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let addresses = mock.addresses();
//! use std::sync::Arc;
//! use holdfast_client::observe::{CallEnded, Observer};
//! use holdfast_client::{Client, Options};
//!
//! struct Prometheus;
//!
//! impl Observer for Prometheus {
//!     fn call_ended(&self, call: &CallEnded) {
//!         // histogram.with_label_values(&[call.operation.as_str(), call.outcome.as_str()]).observe(..)
//!         println!("{} {} {:?}", call.operation, call.outcome, call.latency);
//!     }
//! }
//!
//! let client = Client::connect(addresses, Options::new().observer(Arc::new(Prometheus))).await?;
//! client.put("k", "v").await?;
//! # Ok(())
//! # }
//! ```
//!
//! Worth an alert: `outcome = ambiguous` and `deadline_exceeded` at all; retries per call, when they stay up.
//!
//! **Traces.** Each call is a `tracing` span at level `DEBUG`, named `call`, target `holdfast_client`, below the span of the caller, with
//! the fields `operation`, `keyspace`, and at its end `outcome`, `attempts`, `retries`. Refusals are events at `DEBUG`, attempts at `TRACE`.
//! Keys and values are never part of either.
//!
//! Without an observer and without a subscriber that wants them, both cost a comparison.

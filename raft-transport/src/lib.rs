//! Streams between stores. Layer 2: knows stores and bytes, nothing of ranges.
//!
//! ```text
//! any thread -> Transport::send -> queue (store, class) -> link task ==HTTP/2==> reader -> Inbound::receive
//! support thread -> SupportLink::send/poll ==============TCP================> SupportLink::poll
//! ```
//!
//! - [`class`]: what streams and messages are for
//! - [`security`]: plain, or TLS in both directions
//! - [`handshake`]: who connects to whom, and every typed refusal
//! - [`transport`]: the handle: addresses, send, counters
//! - `queue`: what waits for one stream; bounded, forgotten with the connection
//! - `outbound`, `inbound`: the two ends of a stream
//! - [`traffic`]: bytes by (from site, to site, cause)
//! - [`support`]: heartbeats between stores, on one thread, without tokio

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod class;
pub mod handshake;
#[doc(hidden)]
pub mod hostile;
pub mod inbound;
mod outbound;
mod queue;
pub mod security;
pub mod support;
pub mod traffic;
pub mod transport;

pub use class::{Cause, Class};
pub use handshake::{Addresses, Format, Identity, Incarnations, Introduction, Process, Refusal, SeenElsewhere};
pub use inbound::{Inbound, Intake};
pub use security::Security;
pub use support::{OnRefused, SupportAddresses, SupportConfig, SupportLink};
pub use traffic::{Direction, Traffic, TrafficRow};
pub use transport::{Drops, SendError, Transport, TransportConfig};

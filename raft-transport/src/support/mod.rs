//! Support heartbeats between stores: the support thread owns its sockets and does its own IO, so that neither the request runtime
//! nor a slow store can make it late.
//!
//! TCP with non-blocking sockets, polled by that one thread. Not UDP, although heartbeats may be lost: between sites often
//! only TCP is routed. What TCP adds is undone here:
//!
//! - one connection for each direction, so that a cut in either direction is felt in that direction
//! - the receiver answers each burst with an empty frame; a sender that hears none for the support interval closes the
//!   connection and opens a new one, rather than wait for TCP's growing retransmission time-outs
//! - what cannot be written at once waits in a short queue that drops the oldest: a late heartbeat is worth nothing
//!
//! With TLS a second thread opens and accepts connections, and has both ends prove who they are. It hands them over with their keys, and
//! never touches them again:
//!
//! ```text
//! support-tls:  accept, connect ─▶ proving (handshakes) ──────┐ found: socket and keys
//! support:      heartbeats ◀─▶ frames ◀─▶ wire (seal, open) ◀─┘   ▲ orders: reach a store
//! ```
//!
//! On the wire, or within TLS: frames of a 4-byte big-endian length and at most `limits::SUPPORT_FRAME_BYTES`. The first in each direction are the
//! `LinkFrame`s of the handshake; then heartbeats one way, opaque, and empty frames the other.

mod connection;
pub(crate) mod frame;
mod incoming;
mod link;
mod outgoing;
mod prover;
mod proving;
mod resolver;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
mod wire;

pub use link::{OnRefused, SupportConfig, SupportCounters, SupportLink};
pub use resolver::SupportAddresses;

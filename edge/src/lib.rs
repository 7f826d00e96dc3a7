//! A listening port that strangers reach. Layer 1.
//!
//! Whatever arrives, a port holds a bounded number of connections, a bounded number of bytes, and nothing for longer than it was told to.
//! Each port of a store has a [`gate::Gate`] of its own, so that no port starves another.
//!
//! ```text
//! socket ─▶ gate ─▶ connection ─▶ HTTP/2 (hyper) ─▶ metered: request body ─▶ service
//!           │ count    │ account                     │ charges what comes       │ ledger: charges answers
//!           │          ▼                             ▼                          ▼
//!           │        budget of the port ◀──────────────────────────── paced: response body, given back when taken
//!           ├ pauses at its limit
//!           └ handshake: who is there (TLS), one beside the other
//! ```
//!
//! - `bucket`: so many at once, and then one every so often
//! - `budget`: the bytes of a port, and the share of each connection
//! - `descriptors`: how many files may be open, and who gets how many of them
//! - `gate`: accepts connections, up to its limit
//! - `handshake`: who is at the other end; what becomes of handshakes, and how long what they prove is worth something
//! - `turns`: so many handshakes at a time
//! - `connection`: one accepted connection, from the first byte to the last
//! - `stream`, `records`: its bytes, plain or with TLS, and how many of them lie in TLS
//! - `frames`: what the frames of a connection cost, and who pays for them
//! - `ledger`: what one request holds of its connection's account
//! - `header`: what a message says of its length before it comes
//! - `metered`, `paced`: the bodies of requests and of responses
//! - `layer`: puts them around a service

pub mod bucket;
pub mod budget;
pub mod connection;
pub mod descriptors;
mod frames;
pub mod gate;
pub mod handshake;
mod header;
pub mod layer;
pub mod ledger;
mod metered;
mod paced;
mod records;
mod stream;
mod turns;

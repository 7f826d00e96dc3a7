//! The Rust client of Holdfast. Layer 2.
//!
//! - [`core`]: PURE. Routing, retries, slots; the simulator's clients run it too
//! - [`ClientError`]: what a caller is told
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod core;
mod error;

pub use error::ClientError;

//! The deterministic simulator of whole fleets. Layer 3: no clock, no randomness of its own, no thread, no IO.
//!
//! - [`linearizability`]: were the answers that clients got possible on one copy of the data?
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod linearizability;

//! The store. Layer 2: pure core, and the driver with the only threads.
//!
//! - [`core`]: one worker = `handle(events, env) -> effects`; the support table; the placement loop. No IO, no thread.
//! - [`driver`]: worker threads, log writer, apply pool, read pool, support thread, disk health
//! - [`ports`]: what the store needs from outside

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod core;
pub mod driver;
pub mod ports;

pub use crate::core::effect::AdminOutcome;
pub use crate::core::routing::Found;

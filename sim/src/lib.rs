//! The deterministic simulator of whole fleets. Layer 3: no clock, no randomness of its own, no thread, no IO.
//!
//! ```text
//!            ┌───────────────────────── world: one queue on virtual time ─────────────────────────┐
//!  clients ──┤  client   the client's real core, streams, an application that asks at random      │
//!  stores  ──┤  store    the store's real cores over the engine's memory twin (mirrors kv/driver) │──▶ checkers
//!  between ──┤  network  delay, loss, repetition, cuts both ways and one way, resets              │──▶ trace
//!            │  disk, clock, sites, faults   what goes wrong, chosen by the seed                  │
//!            └────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! [`run()`] lives through one seed: a fleet is founded and spread, faults happen while clients ask, everything heals, every range
//! must serve in time, and all answers are judged. The same seed and options give the same [`Report`], trace included.
//!
//! - [`options`], [`report`], [`run`](mod@run): a run from outside
//! - [`world`]: a fleet to play with, for scenarios that bring their own faults
//! - [`faults`], [`sites`]: what goes wrong; [`network`], [`disk`], [`clock`]: where
//! - [`store`], [`client`]: who it happens to; [`hub`]: what they share
//! - [`checkers`]: what must hold, one invariant a file; [`trace`]: what happened, as one number
//! - [`linearizability`]: were the answers that clients got possible on one copy of the data?
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod checkers;
pub mod client;
pub mod clock;
pub mod disk;
pub mod faults;
pub mod hub;
pub mod linearizability;
pub mod network;
pub mod options;
pub mod report;
pub mod rng;
pub mod run;
pub mod sites;
pub mod store;
pub mod trace;
pub mod world;

pub use options::{Options, Shape};
pub use report::Report;
pub use run::{run, run_aloud};

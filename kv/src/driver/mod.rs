//! The driver: the only threads of a store.
//!
//! ```text
//! request handlers ─▶ mailbox ─▶ worker thread ─▶ log writer ── fsync ─▶ Persisted ┐
//! transport        ─▶          (round of the core) ─▶ apply pool ─▶ Applied       ├─▶ mailbox
//! support thread   ─▶                              ─▶ read pool, snapshot thread  ┘
//! ```
//!
//! Mailboxes take what comes from outside up to a bound, and results of the worker's own work always.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the driver is where threads and clocks live")]

mod clock;
mod health;
mod load;
mod log_writer;
mod maintenance;
mod pools;
mod rights_now;
mod shared;
mod shared_map;
mod sizes;
mod store;
mod streams;
mod support_thread;
mod watched;
mod worker_thread;

pub use clock::SystemClock;
pub use health::{Complaint, ComplaintKind, Pulse, SLOW_BEAT};
pub use shared::FaultSink;
pub use store::{Cancellation, Ports, Store, StoreOptions};
pub use worker_thread::StoreEnv;

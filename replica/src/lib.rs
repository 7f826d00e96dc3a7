//! One range's replica around raft-rs: a pure state machine. Layer 1.
//!
//! ```text
//!              Input                      Effect
//! requests ─▶ ┌──────────────────────────┐ ─▶ Send, Persist, Apply, Evaluate, Read, Answer, ...
//! messages ─▶ │ Replica::step(input,view)│
//! persisted ▶ │  gate → raft → ready     │    The store carries effects out and feeds the results back
//! applied ──▶ │  pipeline (latches,slots)│    as inputs. No clock, no IO, no thread, no randomness.
//! withdrawn ▶ └──────────────────────────┘
//! ```

pub mod apply;
pub mod command;
pub mod effect;
pub mod input;
pub mod evaluate;
pub mod latches;
pub mod pipeline;
pub mod range_state;
pub mod reader;
pub mod slots;
pub mod view;

pub use effect::*;
pub use input::*;
pub use view::*;

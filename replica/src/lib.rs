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

mod applying;
mod convert;
mod election;
mod follow;
mod gate;
mod invariants;
mod lease;
mod membership;
mod passing;
mod raft_log;
mod ready;
mod serving;
mod sleep;
mod snapshot;
mod split;
mod truncate;

pub mod apply;
pub mod command;
pub mod effect;
pub mod evaluate;
pub mod input;
pub mod latches;
pub mod open;
pub mod pipeline;
pub mod range_state;
pub mod read;
pub mod reader;
pub mod replica;
pub mod slots;
pub mod view;

pub use apply::{Applied, ApplyTask};
pub use effect::*;
pub use evaluate::{Evaluated, Evaluation, serve_read};
pub use input::*;
pub use open::{
    LoadedParts, OpenFault, Opening, ReplayedPage, bootstrap, describe_message, finish_install, may_create, replay_page,
};
pub use range_state::RangeState;
pub use read::ReadVerdict;
pub use replica::{CheckLevel, Replica, ReplicaConfig, ReplicaStatus, SurvivalGoal};
pub use view::*;

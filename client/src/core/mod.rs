//! The pure core of a client: one state machine that routes, retries and names requests. No clock, no randomness, no IO; the
//! gRPC client and the simulator's clients drive the same code.
//!
//! ```text
//! application  -- Event::Call, Cancel -->  ClientCore  -- Action::Send, Abandon, Locate -->  stores
//!              <-- Action::Finish -------              <-- Event::Answer, Notice, Located --
//! ```
//!
//! - `machine`: events in, actions out; begins and ends calls
//! - `routing`: which range, which store, under which name
//! - `answers`: what each typed refusal leads to
//! - `policy`: how often and how long a call is tried again
//! - `calls`, `ranges`, `stores`, `slots`, `clock`, `locates`: what it remembers
//! - `ways`: at which addresses a store is tried, in which order; a machine of its own, which the gRPC client drives
//! - [`spanning`]: what touches several ranges

mod answers;
mod calls;
#[cfg(test)]
mod chaos;
mod clock;
mod event;
#[cfg(test)]
mod fixture;
mod locates;
mod machine;
mod policy;
mod ranges;
#[cfg(test)]
mod retry_tests;
mod routing;
mod slots;
pub mod spanning;
mod stores;
#[cfg(test)]
mod tests;
#[cfg(feature = "grpc")]
mod ways;

pub use event::{Action, AttemptId, CallId, CoreOptions, Effort, Event, KnownStore, LocateId};
pub use machine::ClientCore;
pub use policy::{RetryCause, RetryPolicy};
pub use spanning::{DeletePager, Misfit, ScanPager, ScanPart};
#[cfg(feature = "grpc")]
pub(crate) use stores::mix;
#[cfg(feature = "grpc")]
pub(crate) use ways::Ways;

//! Were the answers that clients got possible on one copy of the data, touched by one client at a time?
//!
//! Two judges look at the same [`History`], which records what each client asked and was answered, and when:
//!
//! - [`checker`] searches for an order of the operations that a [`Model`] accepts and that respects real time: Wing and
//!   Gong's algorithm with Lowe's memory ("Testing for linearizability", 2016), as porcupine does it. It needs to know
//!   nothing but the model ([`Register`]), and is exponential at worst, so it works under a budget of steps.
//! - [`versions`] is told the final list of versions of a key and reads the order off their timestamps. It is nearly
//!   linear, exact, and also finds a write that was applied twice.
//!
//! ```text
//!   clients --invoke/complete--> History --by key--> checker::check(Register)   --> Verdict
//!                                           `------> versions::check(versions)  --> Counts or Violations
//! ```
//!
//! An operation without an answer may have happened at any time after it was asked, or never. Operations over several
//! keys are not judged here: linearizability is local, so keys are judged one by one, and what a batch promises beyond
//! that (all or nothing) is another check.

pub mod checker;
pub mod history;
pub mod model;
pub mod register;
pub mod versions;

#[cfg(test)]
mod checker_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod versions_tests;

pub use checker::{Counterexample, Verdict, check};
pub use history::{Answer, History, Operation, OperationId, Stamp};
pub use model::Model;
pub use register::{Register, RegisterInput, RegisterOutput, without_unobserved};

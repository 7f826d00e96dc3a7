//! How to use this client, chapter by chapter. Every example is compiled and run with the tests of the crate, against
//! [`mock`](crate::mock).
//!
//! 1. [Getting started](getting_started)
//! 2. [Consistency](consistency): what a read sees
//! 3. [Exactly once, and `Ambiguous`](exactly_once)
//! 4. [Deadlines and retries](deadlines_and_retries), and dropping calls
//! 5. [Scans](scans)
//! 6. [Batches](batches) and conditions
//! 7. [Programs without a runtime](blocking)
//! 8. [Tests with the mock](testing)
//! 9. [Observing](observing): metrics and traces
//! 10. [Tuning](tuning)
//! 11. [Versions and features](versions)

#[doc = include_str!("getting_started.md")]
pub mod getting_started {}
#[doc = include_str!("consistency.md")]
pub mod consistency {}
#[doc = include_str!("exactly_once.md")]
pub mod exactly_once {}
#[doc = include_str!("deadlines_and_retries.md")]
pub mod deadlines_and_retries {}
#[doc = include_str!("scans.md")]
pub mod scans {}
#[doc = include_str!("batches.md")]
pub mod batches {}
#[doc = include_str!("blocking.md")]
pub mod blocking {}
#[doc = include_str!("testing.md")]
pub mod testing {}
#[doc = include_str!("observing.md")]
pub mod observing {}
#[doc = include_str!("tuning.md")]
pub mod tuning {}
#[doc = include_str!("versions.md")]
pub mod versions {}

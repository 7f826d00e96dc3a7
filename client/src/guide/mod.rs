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
//! 8. [Security](security): certificates, tokens, and what each error means
//! 9. [Tests with the mock](testing)
//! 10. [Observing](observing): metrics and traces
//! 11. [Tuning](tuning)
//! 12. [Versions and features](versions)

pub mod batches;
pub mod blocking;
pub mod consistency;
pub mod deadlines_and_retries;
pub mod exactly_once;
pub mod getting_started;
pub mod observing;
pub mod scans;
pub mod security;
pub mod testing;
pub mod tuning;
pub mod versions;

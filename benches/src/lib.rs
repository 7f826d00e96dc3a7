//! Workloads, histograms, the recorder of acknowledged writes, and fleets of real processes on this machine. Layer 3.
//!
//! - [`fleet`]: real `holdfast` processes on loopback
//! - [`latency`]: how long operations took
//! - [`record`]: what was acknowledged, and whether the store still has exactly that
//! - [`workload`]: clients that load a fleet and keep a record

pub mod fleet;
pub mod latency;
pub mod record;
pub mod workload;

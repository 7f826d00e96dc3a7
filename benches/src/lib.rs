//! Workloads, latency histograms, the recorder of acknowledged writes, and fleets of real processes. Layer 3.
//!
//! ```text
//!   the demo and the tests                    holdfast-bench (measures; not shipped)
//!   ----------------------                    --------------------------------------
//!   workload  clients that judge what         work     which operations on which keys
//!             they read                       contest  the stores: Holdfast, etcd, the floor
//!   record    what was acknowledged           drive    clients in closed and open loops, recorder
//!                                             fault    faults at planned moments
//!   fleet     processes on loopback (both)    compare  the same work in turns: medians, ratios
//!   latency   histograms (both)               report   tables, JSON, plots;  machine  what it ran on
//!   wires     sites as network namespaces     stalls   faults between them, one after the other: who waits how long
//!                                             loading  a file of many rows: import, single puts, COPY
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod compare;
pub mod contest;
pub mod drive;
pub mod fault;
pub mod fleet;
pub mod latency;
pub mod loading;
pub mod machine;
pub mod record;
pub mod report;
pub mod stalls;
pub mod wires;
pub mod work;
pub mod workload;

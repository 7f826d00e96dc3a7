//! One file for all sites of a fleet, and the Kubernetes objects that each site gets from it. Layer 3, without IO.
//!
//! ```text
//! fleet.yaml ──validate()──▶ Fleet ──explain()──▶ sentences
//!     │                        └─────render()───▶ one folder of objects for each site
//!     └──▶ findings, each with line and column
//! ```
//!
//! - [`fleet`]: the file: its types, its checks, its schema, the names and addresses that follow from it
//! - [`mod@render`]: typed objects, one file a kind, written as YAML whose bytes never differ for the same fleet

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod fleet;
pub mod render;

pub use fleet::{Fleet, Report, explain, schema, validate};
pub use render::{SiteTree, render};

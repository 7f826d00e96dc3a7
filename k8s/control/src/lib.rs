//! The control plane of a fleet over Kubernetes: what `holdfast fleet` does to the API servers of its sites. Layer 3, IO by kube-rs.
//!
//! ```text
//! Fleet ──render──▶ objects ──dry run──▶ plan ──gate by gate──▶ apply ──▶ rollout
//!   └──kubeconfig──▶ one link a site      │                        ▲
//!                                         └─▶ audit    pods ──▶ sync, status
//! ```
//!
//! - [`connect`], [`link`], [`failure`]: the API server of each site; every call has a deadline, every failure says what to do
//! - [`kinds`], [`objects`], [`diff`], [`owners`]: objects, in what they differ, and who wrote which field
//! - [`plan`], [`unfinished`], [`apply`], [`rollout`], [`gate`], [`prune`]: from what is to what is wanted, one site and one pod at a time
//! - [`slices`], [`sync`]: the addresses of the other sites' stores
//! - [`audit`], [`permits`], [`equality`], [`status`], [`report`]: what is there, and whether it is what it should be
//! - [`access`]: kubeconfigs that expire; [`tunnel`]: a way to a store
//! - [`stores`]: what the program asks the stores themselves
//!
//! What decides is pure and tested as such; what asks and writes is tested against an API server in the same process.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod access;
pub mod apply;
pub mod audit;
pub mod connect;
pub mod diff;
pub mod equality;
pub mod failure;
pub mod gate;
pub mod kinds;
pub mod link;
pub mod objects;
pub mod owners;
pub mod permits;
pub mod plan;
pub mod prune;
pub mod report;
pub mod rollout;
pub mod slices;
pub mod status;
pub mod stores;
pub mod sync;
pub mod tunnel;
pub mod unfinished;
pub mod views;

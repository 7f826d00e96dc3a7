//! The fleet's trust as a whole: what its stores show of certificates and roots, rotations of the root, and sites that are distrusted.
//!
//! ```text
//! certificates of each store ─▶ shown ─▶ rotation: may the next phase begin?   ─▶ record in the system range
//!                                   └──▶ due: what has somebody to see to?
//! records, other stores, own disk ─▶ doubts: the last word on each site ─▶ acting: connections end, handshakes fail
//! ```
//!
//! - [`shown`]: what a store shows, as it is told and as it is judged
//! - [`rotation`]: the phases of a rotation of the root, and who is behind. Pure
//! - [`due`]: what somebody has to see to. Pure
//! - [`doubts`]: what was said of sites, put together from wherever it is heard. Pure
//! - [`acting`]: what a store does when it hears of a site that is distrusted
//! - [`command`], [`help`]: `holdfast trust`

pub mod acting;
pub mod command;
pub mod doubts;
pub mod due;
pub mod help;
pub mod rotation;
pub mod shown;

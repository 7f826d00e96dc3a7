//! Real handshakes in memory, real folders, and bytes that are no certificates.
#![allow(clippy::unwrap_used, clippy::panic)]

mod folders;
mod forge;
mod handshakes;
mod limits;
mod noise;
mod reloading;
mod scopes;
mod shaking;
mod signing;
mod wires;

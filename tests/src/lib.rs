//! Tests with real processes, real sockets, real disks and real kills. Layer 5.
//!
//! - [`scene`]: one fleet at a time, and the `holdfast` program
//! - [`load`]: a load in the background, and what must hold when it ends
//! - [`raw`]: requests as a client would send them that is not ours
//! - [`attacker`]: connections that do what no honest client does; [`links`]: what stores say; [`watched`]: what a store takes meanwhile
//! - [`terminal`]: a program in a real terminal; [`golden`]: transcripts that are kept
//! - [`wait`]: waiting for what another process must do
//!
//! The tests themselves are in `tests/real`, one binary, because linking is slow; attacks on the ports in `tests/attack`.

// Whoever runs the tests takes what they print, and shows it when one fails.
#![allow(clippy::print_stdout, clippy::print_stderr)]

pub mod attacker;
pub mod golden;
pub mod links;
pub mod load;
pub mod raw;
pub mod scene;
pub mod terminal;
pub mod wait;
pub mod watched;

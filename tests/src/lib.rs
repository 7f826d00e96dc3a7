//! Tests with real processes, real sockets, real disks and real kills. Layer 5.
//!
//! - [`scene`]: one fleet at a time, and the `holdfast` program
//! - [`guarded`]: a fleet with TLS, and who signs for it; [`tls`]: TLS by hand
//! - [`load`]: a load in the background, and what must hold when it ends
//! - [`raw`]: requests as a client would send them that is not ours
//! - [`attacker`]: connections that do what no honest client does; [`links`]: what stores say; [`watched`]: what a store takes meanwhile
//! - [`terminal`]: a program in a real terminal; [`golden`]: transcripts that are kept
//! - [`secrets`]: what no log may say
//! - [`wait`]: waiting for what another process must do
//!
//! The tests themselves are in `tests/real`, one binary, because linking is slow; attacks on the ports in `tests/attack`, what certificates, tokens and rights
//! keep out in `tests/trust`.

// Whoever runs the tests takes what they print, and shows it when one fails.
#![allow(clippy::print_stdout, clippy::print_stderr)]

pub mod attacker;
pub mod golden;
pub mod guarded;
pub mod links;
pub mod load;
pub mod raw;
pub mod scene;
pub mod secrets;
pub mod terminal;
pub mod tls;
pub mod wait;
pub mod watched;

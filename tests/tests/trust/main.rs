//! Who is let in where, on fleets of real processes with TLS: certificates, tokens, rights. Each module is one question, and each answer has its
//! counterpart: what is refused to one is given to another in the same test.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod bearers;
mod distrust;
mod founding;
mod hidden;
mod insecure;
mod joining;
mod lifetimes;
mod names;
mod probes;
mod reload;
mod rights;
mod rotation;
mod stopping;
mod strangers;

//! Whole fleets of real processes on this machine, one at a time. Each module is one kind of trouble.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod admin;
mod audit;
mod bench;
mod commands;
mod copies;
mod cuts;
mod data;
mod disks;
mod draining;
mod hanging;
mod hostile;
mod identity;
mod languages;
mod loss;
mod moved;
mod once;
mod packets;
mod pages;
mod paused;
mod proofs;
mod rows;
mod shell;
mod shown;
mod stopping;
mod unheard;
mod unread;
mod whole_demo;

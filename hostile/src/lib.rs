//! Whatever a socket or a disk may say, fed to every decoder and then to the code that consumes what was decoded. A target takes any
//! bytes and panics only where Holdfast does.
//!
//! ```text
//! bytes ──▶ pieces ──▶ decoder ──▶ support table, handshake, whole store on a disk in memory ──▶ invariants
//! ```
//!
//! - [`TARGETS`]: the targets by name; `fuzz/` has a program for each, and `tests/replay.rs` runs all of them on what was ever found
//! - [`seeds`](mod@seeds): real messages, and attacks that once ended a store: where the fuzzer begins
//! - [`pieces`]: how one input says several things
//! - [`store`]: one store in one thread
//!
//! What lies on a disk or is written by people is read within a few times its size, by the count of an allocator (`memory`).
//!
//! Not here: what needs a real socket or a real disk (`tests/tests/real/hostile.rs`), and the memory of whole stores (`make attack`).

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "this crate is a test: it panics where something is wrong"
)]

mod answers;
mod certificates;
mod disks;
mod heartbeats;
mod links;
mod memory;
mod messages;
mod others;
pub mod pieces;
mod records;
mod requests;
mod rows;
pub mod seeds;
pub mod store;
mod texts;

/// One thing that is fed with bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name; the program in `fuzz/` has the same.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "support_frames", run: links::support_frames },
    Target { name: "link_frames", run: links::link_frames },
    Target { name: "heartbeats", run: heartbeats::run },
    Target { name: "store_messages", run: messages::store_messages },
    Target { name: "raft_messages", run: messages::raft_messages },
    Target { name: "manifests", run: messages::manifests },
    Target { name: "log_entries", run: records::log_entries },
    Target { name: "storage_records", run: records::storage_records },
    Target { name: "client_stream", run: requests::client_stream },
    Target { name: "client_requests", run: requests::client_requests },
    Target { name: "other_messages", run: others::run },
    Target { name: "log_instance", run: disks::log_instance },
    Target { name: "log_files", run: disks::log_files },
    Target { name: "data_instance", run: disks::data_instance },
    Target { name: "small_files", run: disks::small_files },
    Target { name: "admin_answers", run: answers::run },
    Target { name: "shell_texts", run: texts::shell_texts },
    Target { name: "fleet_files", run: texts::fleet_files },
    Target { name: "row_files", run: rows::row_files },
    Target { name: "certificates", run: certificates::run },
];

/// Runs one target on one input.
///
/// # Panics
/// When there is no target of that name, and where Holdfast does.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("the program is named after a target").run)(input);
}

//! The client through its public face, against the mock, over real sockets on loopback.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "clocks and threads live here")]

mod blocking;
mod cancel;
mod forwarded;
mod observe;
mod once;
mod operations;
mod retry;
mod security;
mod thin;

use holdfast_client::KeyValue;
use holdfast_client::mock::{Mock, MockBuilder};

/// Three sites, two ranges that meet at m.
fn three_sites() -> MockBuilder {
    Mock::builder().sites(["a", "b", "c"]).split_at("m")
}

/// The keys of rows, in their order.
fn keys(rows: &[KeyValue]) -> String {
    rows.iter().map(|row| String::from_utf8(row.key.to_vec()).unwrap()).collect::<Vec<_>>().join(" ")
}

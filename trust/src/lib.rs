//! Who is at the other end of a connection, and how it is proved. Layer 0.
//!
//! A party is who its certificate says: one SPIFFE id, signed by an authority that may speak for it, below a root of the bundle. Names of hosts
//! and addresses prove nothing here; they are only ways to get there.
//!
//! ```text
//! folder ─▶ place ─▶ material ─▶ trust ─▶ rustls::ServerConfig, rustls::ClientConfig ─▶ edge, raft-transport, client
//!  tls.crt   reads    checks      keeps      │ at each handshake
//!  tls.key            that all    today's    ▼
//!  ca.crt             fit         material  verify ─▶ scope: may each authority of the path speak for it?
//!             watch: looks again             │
//!                                            └▶ party: who it is
//! ```
//!
//! The configurations never need to be made again: at each handshake they ask [`Trust`] for today's certificate, bundle and distrust. Nothing is
//! resumed, no ticket is given out and no early data taken, so that each connection proves itself anew. TLS 1.3 alone, with ring.
//!
//! - [`party`]: the identity in a certificate
//! - [`place`]: folders as cert-manager, SPIRE and `holdfast ca` write them
//! - [`material`]: certificate, key and bundle that fit each other
//! - `scope`: for whom an authority may speak
//! - `verify`: both sides of a handshake
//! - [`trust`]: what is trusted now
//! - [`bundle`]: what is trusted by whoever has no certificate, and comes by a bearer token
//! - `watch`: new material is taken while the process runs
//! - [`explain`](mod@explain): why a handshake failed, in a sentence
//! - [`connect`]: streams and a connector (feature `connect`)
//! - [`authority`]: makes certificates (feature `authority`)

#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(feature = "authority")]
pub mod authority;
pub mod bundle;
#[cfg(feature = "connect")]
pub mod connect;
pub mod error;
pub mod explain;
pub mod material;
pub mod party;
mod pem;
pub mod place;
mod scope;
pub mod trust;
mod verify;
mod watch;

pub use bundle::Bundle;
pub use error::{TrustError, Unfit};
pub use explain::{explain, explain_io};
pub use material::Material;
pub use party::{Party, fingerprint};
pub use place::Place;
pub use trust::{Callee, Callers, Reloaded, RootInfo, Speaks, Standing, Trust, server_name};
pub use watch::WatchEvent;

//! Versions and features.
//!
//! **Features.**
//!
//! | feature | brings |
//! |---|---|
//! | `grpc` (on by default) | the client, asynchronous and blocking; tokio, tonic |
//! | `mock` | a fleet for tests; for dev-dependencies only |
//! | (none) | [`core`](crate::core) alone: the routing and retry logic without IO, for simulators |
//!
//! **Semantic versions.** Below 1.0 a minor version may change the interface; the changelog says how to follow. What may grow is marked
//! `#[non_exhaustive]` ([`Options`](crate::Options), [`ClientError`](crate::ClientError), [`RetryCause`](crate::RetryCause), [`Security`](crate::Security), [`Doubt`](crate::Doubt), rows, everything in
//! [`observe`](crate::observe)): a new field or variant is not a breaking change. [`Observer`](crate::observe::Observer) may get methods, with
//! bodies that do nothing.
//!
//! Not covered: [`core`](crate::core), items hidden from this documentation, the text of errors, spans and log events, and which waits
//! the client chooses within its policies.
//!
//! **What is public of other crates.** `bytes` 1 (`Bytes`), `futures-core` 0.3 (`Stream`), and the types of `holdfast-types` and
//! `holdfast-trust` (`Trust`, `Place`, `TrustError`), which are released together with this crate. The gRPC, protobuf and TLS libraries are
//! private: they may change in any version.
//!
//! **Client and stores.** A client works with stores of the same minor version and of the one before and after. A store that says something
//! it does not know is answered with [`ClientError::Protocol`](crate::ClientError::Protocol).
//!
//! **Rust.** The oldest compiler that works is named in the manifest, and rises in minor versions only.

//! Protocols and disk formats of Holdfast. Layer 0.
//!
//! - [`v1`]: everything generated from package `holdfast.v1`; client and server stubs behind feature `rpc`
//! - `careful` (feature `rpc`): channels whose answers may come from anybody
//! - `codec`: how the services read and write them, behind feature `rpc`
//! - [`fields`]: how many fields a message has, before it is decoded
//! - [`convert`]: the only conversions between messages and `holdfast-types`
//!
//! Disk formats and handshakes carry a version from the first day; an unknown one is refused with [`convert::BadMessage`].

#[cfg(feature = "rpc")]
pub mod careful;
#[cfg(feature = "rpc")]
pub mod codec;
pub mod convert;
pub mod fields;

/// The header of a call with the id of the fleet that it is meant for, in 32 hexadecimal digits. A store of another fleet refuses such a call with
/// FAILED_PRECONDITION before it does anything. Without the header a call is meant for whoever gets it.
pub const FLEET_HEADER: &str = "holdfast-fleet";

/// Package `holdfast.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications, rustdoc::all)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/holdfast.v1.rs"));

    /// The encoded descriptors of all files, for server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/holdfast.v1.bin"));
}

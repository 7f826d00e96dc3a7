//! What stores say to each other, by hand.

use holdfast_proto::v1;
use holdfast_proto::v1::link_frame::Body;

/// What a hello says, before somebody changes it.
#[must_use]
pub fn hello(fleet: v1::Id128, from: u64, to: u64, class: v1::LinkClass) -> v1::LinkHello {
    v1::LinkHello {
        protocol_version: 1,
        fleet_id: Some(fleet),
        from_store_id: from,
        to_store_id: to,
        incarnation: 1,
        class: class.into(),
        site: "elsewhere".into(),
        ..v1::LinkHello::default()
    }
}

/// A frame that says this.
#[must_use]
pub fn frame(body: Body) -> v1::LinkFrame {
    v1::LinkFrame { body: Some(body) }
}

/// A frame of the port for heartbeats.
///
/// # Panics
/// When it has more than 4 GB.
#[must_use]
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a frame of a test is small");
    [&length.to_be_bytes()[..], bytes].concat()
}

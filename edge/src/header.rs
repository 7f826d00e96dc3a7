//! What comes before each gRPC message: a byte of flags, and its length.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use tonic::Status;

/// Bytes before each message.
pub(crate) const HEADER_BYTES: usize = 5;

/// The length that a header announces, unless it is more than `most`.
pub(crate) fn length(header: &[u8; HEADER_BYTES], most: usize) -> Result<usize, Status> {
    let [_, length @ ..] = *header;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length <= most {
        return Ok(length);
    }
    // As tonic says it.
    Err(Status::out_of_range(format!(
        "Error, decoded message length too large: found {length} bytes, the limit is: {most} bytes"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_taken_up_to_the_limit() {
        assert_eq!(length(&[1, 0, 0, 1, 0], 256).ok(), Some(256));
        assert_eq!(length(&[0, 0, 0, 1, 1], 256).map_err(|status| status.code()), Err(tonic::Code::OutOfRange));
        assert!(length(&[0, 0xff, 0xff, 0xff, 0xff], 8 << 20).is_err());
    }
}

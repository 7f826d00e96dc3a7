//! Conversions of what is said of certificates and roots.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::Bytes;
use holdfast_types::{Fingerprint, RotationPhase};

use super::BadMessage;
use crate::v1;

/// The name of a certificate, as it is told.
#[must_use]
pub fn fingerprint_bytes(print: &Fingerprint) -> Bytes {
    Bytes::copy_from_slice(&print.0)
}

/// The name of a certificate.
///
/// # Errors
/// When it has another length.
pub fn fingerprint(bytes: &[u8]) -> Result<Fingerprint, BadMessage> {
    let wrong = |_| BadMessage::malformed(format!("a fingerprint has 32 bytes, not {}", bytes.len()));
    bytes.try_into().map(Fingerprint).map_err(wrong)
}

impl From<RotationPhase> for v1::RotationPhase {
    fn from(phase: RotationPhase) -> Self {
        match phase {
            RotationPhase::Add => Self::Add,
            RotationPhase::Switch => Self::Switch,
            RotationPhase::Remove => Self::Remove,
            RotationPhase::Aborted => Self::Aborted,
        }
    }
}

impl TryFrom<v1::RotationPhase> for RotationPhase {
    type Error = BadMessage;

    fn try_from(phase: v1::RotationPhase) -> Result<Self, BadMessage> {
        Ok(match phase {
            v1::RotationPhase::Add => Self::Add,
            v1::RotationPhase::Switch => Self::Switch,
            v1::RotationPhase::Remove => Self::Remove,
            v1::RotationPhase::Aborted => Self::Aborted,
            v1::RotationPhase::Unspecified => return Err(BadMessage::malformed("a rotation is in no phase")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_of_another_length_is_refused() {
        assert_eq!(fingerprint(&[7; 32]).unwrap(), Fingerprint([7; 32]));
        for length in [0, 31, 33] {
            assert!(fingerprint(&vec![7; length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_phase_comes_back_as_it_went() {
        for phase in [RotationPhase::Add, RotationPhase::Switch, RotationPhase::Remove, RotationPhase::Aborted] {
            assert_eq!(RotationPhase::try_from(v1::RotationPhase::from(phase)).unwrap(), phase);
        }
        assert!(RotationPhase::try_from(v1::RotationPhase::Unspecified).is_err());
    }
}

//! Conversions for `fleet.proto`, where types exist. The other messages are plain.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_types::{Located, Term};

use super::BadMessage;
use super::common::required;
use crate::v1;

impl From<Located> for v1::LocatedRange {
    fn from(located: Located) -> Self {
        Self {
            descriptor: Some(located.descriptor.into()),
            leader: located.leader.map(Into::into),
            term: located.term.0,
        }
    }
}

impl TryFrom<v1::LocatedRange> for Located {
    type Error = BadMessage;

    fn try_from(located: v1::LocatedRange) -> Result<Self, BadMessage> {
        Ok(Self {
            descriptor: required(located.descriptor, "the descriptor of a range")?.try_into()?,
            leader: located.leader.map(TryInto::try_into).transpose()?,
            term: Term::bounded(located.term)?,
        })
    }
}

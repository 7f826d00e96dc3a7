//! Conversions between messages and types: the only place. One file per .proto file.
//!
//! Every number of a message is bounded here, where it becomes a type (see `holdfast_types::bounds`).

pub mod admin;
pub mod audit;
pub mod common;
pub mod fleet;
pub mod kv;
pub mod rights;
#[cfg(feature = "rpc")]
pub mod status;
pub mod storage;
pub mod trust;

/// Refuses a list that is longer than any honest one, before anything is made of it.
pub fn check_count(what: &str, count: usize, most: usize) -> Result<(), BadMessage> {
    if count > most { Err(BadMessage::Malformed(format!("{count} {what}: there are {most} at most"))) } else { Ok(()) }
}

/// A message that is not well-formed: a field is missing or out of bounds, or a version is not known.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadMessage {
    /// The bytes are not the message they should be.
    #[error("{0}")]
    Malformed(String),
    /// A version that this program does not know.
    #[error("{what} has version {found}, this program knows up to {known}: start the version that wrote it")]
    UnknownVersion {
        /// Which format.
        what: &'static str,
        /// What was found.
        found: u32,
        /// The newest one known.
        known: u32,
    },
}

impl BadMessage {
    /// A malformed message.
    pub fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed(what.into())
    }
}

impl From<holdfast_types::OutOfBounds> for BadMessage {
    fn from(bad: holdfast_types::OutOfBounds) -> Self {
        Self::Malformed(bad.to_string())
    }
}

impl From<std::convert::Infallible> for BadMessage {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<prost::DecodeError> for BadMessage {
    fn from(error: prost::DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

//! Rows of files: CSV, TSV and JSON lines. Layer 0.
//!
//! ```text
//! file or pipe --source--> bytes, unpacked --lines--> lines, decoded --separated or json--> records
//! ```
//!
//! - [`format`](mod@format): what a file is, and how its columns are told apart
//! - [`encoding`]: encodings of texts
//! - [`source`]: files and standard input, unpacked
//! - [`record`]: what comes out
//! - [`json`]: objects of JSON lines
//! - [`records`]: all of it, as an iterator
//! - [`write`](mod@write): the way back
//! - [`export_file`]: files that `holdfast export` writes, which say what they are and prove that they are whole

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod encoding;
pub mod export_file;
pub mod format;
pub mod json;
mod lines;
pub mod record;
pub mod records;
mod separated;
pub mod source;
pub mod write;

pub use self::encoding::{Encoding, UnknownEncoding};
pub use self::format::{Dialect, Format, Heading};
pub use self::json::{JsonField, JsonKind, JsonRow};
pub use self::record::{BadRecord, Content, Extent, Record};
pub use self::records::{HeadingError, Records};
pub use self::source::{Progress, Source, SourceError};

//! Bounds of exports.

use std::time::Duration;

use super::{HARD_MAX_VALUE_BYTES, MAX_KEY_BYTES};

/// One line of an exported file: the longest key and value, each byte written as an escape of JSON with six, and room for the rest.
pub const EXPORT_RECORD_BYTES: usize = 6 * (HARD_MAX_VALUE_BYTES + MAX_KEY_BYTES) + (4 << 10);
/// Pages of an export that were read and are not written yet: the next ones are on their way while one is written.
pub const EXPORT_PAGES_AHEAD: usize = 4;
/// An export keeps its place after so many bytes of text: what is written twice after a break takes a second or less.
pub const EXPORT_KEEP_BYTES: u64 = 64 << 20;
/// ... and after so long, when rows come slowly.
pub const EXPORT_KEEP_EVERY: Duration = Duration::from_secs(10);
/// How long one page of an export may take: a site that is lost on the way ends none.
pub const EXPORT_PAGE_WITHIN: Duration = Duration::from_secs(60);
/// What an export collects before it goes to standard output, in whole lines.
pub const EXPORT_PRINTED_BYTES: usize = 256 << 10;

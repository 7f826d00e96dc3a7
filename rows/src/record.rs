//! What is between the lines of a file: records.

use bytes::Bytes;

use crate::json::JsonRow;

/// One record as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Its bytes as they are in the unpacked file, with the line end.
    pub raw: Bytes,
    /// What it says, or why it cannot be read.
    pub content: Result<Content, BadRecord>,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// As many cells as the heading has names, in UTF-8. `None` is the text that stands for null.
    Cells(Vec<Option<Bytes>>),
    /// An object of JSON lines.
    Object(JsonRow),
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// What is wrong with it, for people.
    pub reason: String,
    /// How much of the input it spoils.
    pub extent: Extent,
}

/// How much of the input a bad record spoils.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Itself. What follows is read as ever.
    Record,
    /// It is a further piece of a record that was too long to be held, and was reported with its first piece: the line is the same. It
    /// comes so that `raw` of all records is the whole file.
    Piece,
    /// Everything from here on: the input cannot be read any further.
    Rest,
}

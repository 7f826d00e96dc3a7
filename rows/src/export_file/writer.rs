//! Writes an export.

use std::fmt;
use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use super::record::{ExportedRow, push_end, push_head, push_row};
use super::{End, Head};
use crate::format::Format;

/// The digest of a text as far as it goes: whoever goes on with the text goes on with it.
#[derive(Clone, Default)]
pub struct TextDigest {
    digest: Sha256,
    bytes: u64,
}

impl TextDigest {
    /// Adds what follows.
    pub fn update(&mut self, text: &[u8]) {
        self.digest.update(text);
        self.bytes = self.bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
    }

    /// The digest, in hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.digest.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// How long the text is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl fmt::Debug for TextDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextDigest").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Writes an export, each record with one `write_all`.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    format: Format,
    digest: TextDigest,
    rows: u64,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins an export.
    ///
    /// # Errors
    /// When its beginning is not taken.
    pub fn new(out: W, format: Format, head: &Head) -> io::Result<Self> {
        let mut writer = Self::go_on(out, format, TextDigest::default(), 0);
        push_head(&mut writer.line, format, head)?;
        writer.write_line()?;
        Ok(writer)
    }

    /// Goes on with an export that has so many rows and this digest.
    pub fn go_on(out: W, format: Format, digest: TextDigest, rows: u64) -> Self {
        Self { out, format, digest, rows, line: Vec::new() }
    }

    /// Writes a row; its line number is of no importance.
    ///
    /// # Errors
    /// When it is not taken.
    pub fn row(&mut self, row: &ExportedRow) -> io::Result<()> {
        push_row(&mut self.line, self.format, row)?;
        self.write_line()?;
        self.rows = self.rows.saturating_add(1);
        Ok(())
    }

    /// Ends the export: `rows` and `sha256` are set here. Returns what it was written to, and the end.
    ///
    /// # Errors
    /// When the end is not taken.
    pub fn finish(mut self, end: End) -> io::Result<(W, End)> {
        let end = End { rows: self.rows, sha256: self.digest.hex(), ..end };
        push_end(&mut self.line, self.format, &end)?;
        self.write_line()?;
        Ok((self.out, end))
    }

    /// The digest of the text so far.
    pub fn digest(&self) -> &TextDigest {
        &self.digest
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What it is written to.
    pub fn out(&mut self) -> &mut W {
        &mut self.out
    }

    fn write_line(&mut self) -> io::Result<()> {
        self.out.write_all(&self.line)?;
        self.digest.update(&self.line);
        self.line.clear();
        Ok(())
    }
}

//! Reads an export, and checks all of it.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use holdfast_types::limits;
use thiserror::Error;

use super::record::{ExportedRow, Said, is_heading, parse};
use super::{BEGINNING_BYTES, End, FORMAT_VERSION, Form, Head, TextDigest};
use crate::format::Format;
use crate::source::Source;

/// The file is not what was exported.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} of the export: {reason}")]
pub struct Damage {
    /// The line where that showed, from 1.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
}

/// What a source turned out to be.
pub enum Recognised {
    /// An export, with its whole text.
    Export {
        /// How it is written.
        form: Form,
        /// The text.
        input: Box<dyn BufRead + Send>,
    },
    /// Something else; nothing of it is read yet.
    Other(Source),
}

/// Tells an export from another source by its first bytes.
///
/// # Errors
/// When they cannot be read.
pub fn recognise(mut source: Source) -> io::Result<Recognised> {
    let mut beginning = Vec::new();
    source.reader.by_ref().take(BEGINNING_BYTES.try_into().unwrap_or(u64::MAX)).read_to_end(&mut beginning)?;
    if let Some(form) = Form::of_beginning(&beginning) {
        let whole = Cursor::new(beginning).chain(source.reader);
        return Ok(Recognised::Export { form, input: Box::new(BufReader::with_capacity(READ_BYTES, whole)) });
    }
    source.reader = Box::new(Cursor::new(beginning).chain(source.reader));
    Ok(Recognised::Other(source))
}

/// What is read at a time.
const READ_BYTES: usize = 256 << 10;

/// The rows of an export. It ends with `None` when the number of rows and the checksum at the end of the file are right; with damage otherwise, and
/// nothing behind it.
pub struct Reader<R: BufRead> {
    input: R,
    format: Format,
    head: Head,
    end: Option<End>,
    is_over: bool,
    digest: TextDigest,
    rows: u64,
    line: u64,
    record: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Reads what stands before the rows.
    ///
    /// # Errors
    /// When it is not there, or a later Holdfast wrote the file.
    pub fn new(input: R, form: Form) -> Result<Self, Damage> {
        let mut reader = Self {
            input,
            format: form.format,
            head: Head::default(),
            end: None,
            is_over: false,
            digest: TextDigest::default(),
            rows: 0,
            line: 1,
            record: Vec::new(),
        };
        if form.version != FORMAT_VERSION {
            let reason = format!(
                "it was written in version {} of the format, and this program reads version {FORMAT_VERSION}: import it with a newer one",
                form.version
            );
            return Err(Damage { line: 1, reason });
        }
        reader.head = reader.read_head()?;
        Ok(reader)
    }

    /// Where the rows come from.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// How the file ends, when it was read to there.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Bytes of the text up to the end of the newest record.
    pub fn position(&self) -> u64 {
        self.digest.bytes()
    }

    fn damage(&self, reason: impl Into<String>) -> Damage {
        Damage { line: self.line, reason: reason.into() }
    }

    fn read_head(&mut self) -> Result<Head, Damage> {
        let cut = |reader: &Self| reader.damage("the file ends before its rows");
        if !self.read_record()? {
            return Err(cut(self));
        }
        if self.format == Format::JsonLines {
            let head = serde_json::from_slice(&self.record).map_err(|e| self.damage(e.to_string()))?;
            self.take_record();
            return Ok(head);
        }
        if !is_heading(&self.record, self.format) {
            return Err(self.damage("it is not the heading of an export"));
        }
        self.take_record();
        if !self.read_record()? {
            return Err(cut(self));
        }
        let Said::Head(head) = parse(&self.record, self.format, self.line).map_err(|reason| self.damage(reason))?
        else {
            return Err(self.damage("it does not say where the rows come from"));
        };
        self.take_record();
        Ok(head)
    }

    /// Reads a record with its line end, without counting it; false at the end of the input.
    fn read_record(&mut self) -> Result<bool, Damage> {
        self.record.clear();
        let mut is_quoted = false;
        loop {
            let begins = self.record.len();
            let left = limits::EXPORT_RECORD_BYTES.saturating_sub(begins).saturating_add(1);
            let mut rest = self.input.by_ref().take(left.try_into().unwrap_or(u64::MAX));
            if let Err(error) = rest.read_until(b'\n', &mut self.record) {
                return Err(self.damage(format!("it cannot be read: {error}")));
            }
            if self.record.len() > limits::EXPORT_RECORD_BYTES {
                return Err(self.damage("it is longer than any that is exported"));
            }
            let piece = self.record.get(begins..).unwrap_or_default();
            // Only in csv a record may have line ends, between quotes.
            is_quoted ^= self.format == Format::Csv && !memchr::memchr_iter(b'"', piece).count().is_multiple_of(2);
            if !is_quoted || piece.is_empty() {
                return Ok(!self.record.is_empty());
            }
        }
    }

    /// Counts the record that was read as part of the text.
    fn take_record(&mut self) {
        self.digest.update(&self.record);
        let lines = memchr::memchr_iter(b'\n', &self.record).count();
        self.line = self.line.saturating_add(u64::try_from(lines).unwrap_or(u64::MAX));
    }

    fn next_row(&mut self) -> Result<Option<ExportedRow>, Damage> {
        if !self.read_record()? {
            return Err(
                self.damage("the file ends here, and an export says at its end that it is whole: it was cut off")
            );
        }
        match parse(&self.record, self.format, self.line).map_err(|reason| self.damage(reason))? {
            Said::Head(_) => Err(self.damage("it is a second head")),
            Said::Row(row) => {
                self.take_record();
                self.rows = self.rows.saturating_add(1);
                Ok(Some(row))
            }
            Said::End(end) => {
                if end.rows != self.rows {
                    return Err(
                        self.damage(format!("the export had {} rows, and the file has {}", end.rows, self.rows))
                    );
                }
                if end.sha256 != self.digest.hex() {
                    return Err(self.damage("the checksum does not fit: the file was changed since it was exported"));
                }
                self.take_record();
                if self.read_record()? {
                    return Err(self.damage("there is more behind the end of the export"));
                }
                self.end = Some(end);
                Ok(None)
            }
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<ExportedRow, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.next_row();
        self.is_over = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

/// Reads a whole export and checks it; gives its head and its end.
///
/// # Errors
/// When it is damaged.
pub fn verify(input: impl BufRead, form: Form) -> Result<(Head, End), Damage> {
    let mut reader = Reader::new(input, form)?;
    for row in reader.by_ref() {
        row?;
    }
    let end = reader.end.clone().ok_or_else(|| reader.damage("it has no end"))?;
    Ok((reader.head, end))
}

//! The input as entries: one for each record, a row or what is wrong with it.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use holdfast_rows::export_file::{self, Head, Recognised, recognise};
use holdfast_rows::{Content, Dialect, Encoding, Extent, Format, Heading, Progress, Records, Source};
use ring::digest;

use super::args::{ImportArgs, Quote, Written};
use super::expiry::Expiry;
use super::recipe::{self, Columns, Recipe, Row};
use super::watched::Watched;

/// Where the input is.
#[derive(Debug)]
pub struct Input {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// It can be read again.
    Regular,
    /// It can be read once.
    Pipe,
    /// It was a pipe, and what it had is in a temporary file.
    Spooled(Arc<File>),
}

impl Input {
    /// Looks at what is to be read, and refuses a folder at once.
    pub fn of(path: &Path) -> anyhow::Result<Self> {
        let is_pipe = path == Path::new("-") || {
            let metadata = std::fs::metadata(path).with_context(|| format!("opening {}", path.display()))?;
            anyhow::ensure!(!metadata.is_dir(), "{} is a folder: name a file", path.display());
            !metadata.is_file()
        };
        Ok(Self { path: path.to_owned(), kind: if is_pipe { Kind::Pipe } else { Kind::Regular } })
    }

    /// The path of a file that is there the next time too.
    pub fn kept_path(&self) -> Option<&Path> {
        matches!(self.kind, Kind::Regular).then_some(&self.path)
    }

    /// True when it can be opened more than once.
    pub fn can_repeat(&self) -> bool {
        !matches!(self.kind, Kind::Pipe)
    }

    /// Its name for people.
    pub fn name(&self) -> String {
        if self.path == Path::new("-") { "standard input".to_owned() } else { self.path.display().to_string() }
    }

    /// Reads a pipe to its end into a temporary file, so that it can be read again.
    pub fn spool(self) -> anyhow::Result<Self> {
        if self.can_repeat() {
            return Ok(self);
        }
        let watched = self.watched_stdin();
        let mut file = tempfile::tempfile().context("a temporary file for standard input")?;
        let copied = if self.path == Path::new("-") {
            io::copy(&mut io::stdin(), &mut file)
        } else {
            io::copy(&mut File::open(&self.path).with_context(|| format!("opening {}", self.name()))?, &mut file)
        };
        copied.with_context(|| format!("copying {} to a temporary file (TMPDIR says where)", self.name()))?;
        if let Some(change) = watched.and_then(|watched| watched.change()) {
            anyhow::bail!("{} is a file that was changed while it was read: {change}. Nothing was loaded", self.name());
        }
        Ok(Self { path: self.path, kind: Kind::Spooled(Arc::new(file)) })
    }

    fn watched_stdin(&self) -> Option<Watched> {
        if self.path == Path::new("-") { Watched::stdin() } else { None }
    }

    fn open(&self, encoding: Encoding) -> anyhow::Result<(Source, Option<Watched>)> {
        match &self.kind {
            Kind::Pipe => Ok((Source::open(&self.path, encoding)?, self.watched_stdin())),
            Kind::Spooled(file) => {
                let size_bytes = file.metadata().context("reading the temporary file")?.len();
                let reader = FromStart { file: Arc::clone(file), at: 0 };
                Ok((Source::from_reader(&self.name(), reader, Some(size_bytes), encoding)?, None))
            }
            Kind::Regular => {
                let opening = || format!("opening {}", self.name());
                let file = File::open(&self.path).with_context(opening)?;
                let metadata = file.metadata().with_context(opening)?;
                let again = file.try_clone().with_context(opening)?;
                let source = Source::from_reader(&self.name(), file, Some(metadata.len()), encoding)?;
                let watched = Watched::new(&self.path, again, &metadata, source.progress());
                Ok((source, Some(watched)))
            }
        }
    }
}

/// A file that several read at a time, each at its own place.
struct FromStart {
    file: Arc<File>,
    at: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at = self.at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

const CHANGED_EXPORT: &str = "`holdfast export` wrote this, and its encoding, quotes or delimiter were changed since. An export is UTF-8, and its \
     end says whether it is whole: import it as it was";

/// How the input is to be read.
#[derive(Clone, Debug)]
pub struct Manner {
    format: Option<Format>,
    written: Written,
    columns: Columns,
}

impl Manner {
    /// As the command line says it.
    pub fn of(args: &ImportArgs) -> Self {
        let columns =
            Columns { key: args.key.clone(), expires: args.expires.clone(), raw: args.raw, value: args.value.clone() };
        let format = args.written.format.map(Format::from).or_else(|| Format::of(&args.file));
        Self { format, written: args.written.clone(), columns }
    }

    /// As it is when the command line says nothing but which column is the key.
    pub fn without_options(path: &Path, key: Option<&str>) -> Self {
        let columns = Columns { key: key.map(ToOwned::to_owned), ..Columns::default() };
        Self { format: Format::of(path), written: Written::default(), columns }
    }

    /// Opens the input; reads its heading.
    pub fn open(&self, input: &Input) -> anyhow::Result<Opened> {
        let (source, watched) = input.open(self.written.encoding.unwrap_or_default())?;
        let (progress, encoding) = (source.progress(), source.encoding());
        let source = recognise(source).with_context(|| format!("reading {}", input.name()))?;
        match source {
            Recognised::Export { form, input: text } => {
                self.check_export()?;
                let rows = export_file::Reader::new(text, form).with_context(|| input.name())?;
                let kind = FileKind::Export(rows.head().clone());
                Ok(Opened { reading: Reading::of(Rows::Export(Box::new(rows))), progress, kind, encoding, watched })
            }
            Recognised::Other(source) => {
                let (reading, kind) = self.open_records(input, source)?;
                Ok(Opened { reading, progress, kind, encoding, watched })
            }
        }
    }

    fn open_records(&self, input: &Input, mut source: Source) -> anyhow::Result<(Reading, FileKind)> {
        let format = self.format.with_context(|| {
            format!(
                "{}: what it is does not follow from its name, which ends with none of .csv, .tsv, .jsonl and .ndjson: say it by --format",
                input.name()
            )
        })?;
        let dialect = self.dialect(format)?;
        let beginning = source.beginning();
        let encoding = source.encoding();
        // Whoever says UTF-8 knows that zero bytes are letters there.
        let is_certain = self.written.encoding == Some(Encoding::default());
        if let Some(doubt) = encoding.doubt(&beginning).filter(|_| !is_certain) {
            anyhow::bail!("{}: {doubt}: --encoding says what it is written in", input.name());
        }
        // Its rows would be taken for rows of a table, and nobody would look whether it is whole.
        anyhow::ensure!(!export_file::was_export(&encoding.decode(&beginning).0), "{}: {CHANGED_EXPORT}", input.name());
        let records = Records::new(source, format, &dialect).with_context(|| input.name())?;
        // Its rows would be taken for rows of a table whose key is the word `row`.
        anyhow::ensure!(
            !records.heading().first().is_some_and(|name| name.starts_with("holdfast_export_")),
            "{}: {CHANGED_EXPORT}",
            input.name()
        );
        let recipe =
            Recipe::new(&self.columns, format, records.heading(), self.written.base64).with_context(|| input.name())?;
        let kind = FileKind::Rows { recipe: recipe.clone(), dialect, format, heading: records.heading().to_vec() };
        Ok((Reading::of(Rows::Records(Box::new(records), recipe)), kind))
    }

    /// An export says itself what it is.
    fn check_export(&self) -> anyhow::Result<()> {
        let Written { format: _, delimiter, quote, null, no_escapes, base64, encoding, header, columns } =
            &self.written;
        let is_plain = self.columns == Columns::default()
            && delimiter.is_none()
            && quote.is_none()
            && null.is_none()
            && !no_escapes
            && !base64
            && encoding.is_none()
            && !header
            && columns.is_empty();
        anyhow::ensure!(
            is_plain,
            "this is what `holdfast export` wrote, which says itself what is key, value and expiry: leave out the options that do"
        );
        Ok(())
    }

    fn dialect(&self, format: Format) -> anyhow::Result<Dialect> {
        let Written { delimiter, quote, null, no_escapes, base64, header, columns, .. } = &self.written;
        if format == Format::JsonLines {
            let given = [
                (delimiter.is_some(), "--delimiter"),
                (quote.is_some(), "--quote"),
                (null.is_some(), "--null"),
                (*no_escapes, "--no-escapes"),
                (*base64, "--base64"),
                (*header, "--header"),
                (!columns.is_empty(), "--columns"),
            ];
            if let Some((_, option)) = given.iter().find(|(is_given, _)| *is_given) {
                anyhow::bail!("JSON lines have no cells: leave out {option}");
            }
        }
        let mut dialect = match format {
            Format::Tsv => Dialect::tsv(),
            Format::Csv | Format::JsonLines => Dialect::csv(),
        };
        dialect.delimiter = delimiter.unwrap_or(dialect.delimiter);
        if let Some(Quote(quote)) = quote {
            dialect.quote = *quote;
        }
        if let Some(null) = null {
            dialect.null = Some(null.clone().into_bytes());
        }
        dialect.escapes &= !no_escapes;
        if !columns.is_empty() {
            dialect.heading = Heading::Given(columns.clone());
        }
        Ok(dialect)
    }

    /// The name of the encoding, for what is bound to it.
    pub fn encoding(&self) -> &'static str {
        self.written.encoding.unwrap_or_default().name()
    }

    /// True when cells may be bytes.
    pub fn is_base64(&self) -> bool {
        self.written.base64
    }
}

/// An input whose heading was read.
pub struct Opened {
    /// Its entries.
    pub reading: Reading,
    /// How much of it was read.
    pub progress: Progress,
    /// What it is.
    pub kind: FileKind,
    /// The encoding of its records as they are in the file.
    pub encoding: Encoding,
    /// The file, if it is one that others may write to meanwhile.
    pub watched: Option<Watched>,
}

/// What an input is.
#[derive(Debug)]
pub enum FileKind {
    /// Rows of anybody's.
    Rows {
        /// What becomes of them.
        recipe: Recipe,
        /// How they are written.
        dialect: Dialect,
        /// As what.
        format: Format,
        /// The names of the columns.
        heading: Vec<String>,
    },
    /// What `holdfast export` wrote, and what it says of itself.
    Export(Head),
}

enum Rows {
    Records(Box<Records>, Recipe),
    Export(Box<export_file::Reader<Box<dyn BufRead + Send>>>),
}

/// The entries of an input, in order.
pub struct Reading {
    rows: Rows,
    /// A row was read.
    has_rows: bool,
    /// An object had the field that says when a row is gone.
    has_expiry: bool,
}

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The line where it begins, from 1.
    pub line: u64,
    /// The record as it is in the file; nothing for a row of an export.
    pub raw: Bytes,
    /// What it is.
    pub what: What,
}

/// What a record is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A row that can be loaded.
    Row(Row),
    /// Something that cannot, and why.
    Rejected(String),
    /// A further piece of what was rejected before.
    Piece,
    /// From here on the input cannot be read, and why.
    Broken(String),
}

impl Reading {
    fn of(rows: Rows) -> Self {
        Self { rows, has_rows: false, has_expiry: false }
    }

    /// What is missing in all that was read, and must be a mistake: the field that says when a row is gone. Objects need not have it, so that none has
    /// it shows at the end alone.
    pub fn lack(&self) -> Option<String> {
        let Rows::Records(_, recipe) = &self.rows else { return None };
        let name = recipe.optional_expiry()?;
        (self.has_rows && !self.has_expiry)
            .then(|| format!("no object has a field {name:?}, which --expires names: none of these rows is ever gone"))
    }

    /// What looks wrong with the input and need not be.
    pub fn doubt(&self) -> Option<String> {
        match &self.rows {
            Rows::Records(records, _) => records.doubt(),
            Rows::Export(_) => None,
        }
    }
}

impl Iterator for Reading {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        match &mut self.rows {
            Rows::Records(records, recipe) => {
                let record = records.next()?;
                if let (false, Some(name), Ok(Content::Object(object))) =
                    (self.has_expiry, recipe.optional_expiry(), &record.content)
                {
                    self.has_expiry = object.field(name).is_some();
                }
                let what = match record.content {
                    Ok(content) => recipe.row(&content).map_or_else(What::Rejected, What::Row),
                    Err(bad) => match bad.extent {
                        Extent::Record => What::Rejected(bad.reason),
                        Extent::Piece => What::Piece,
                        Extent::Rest => What::Broken(bad.reason),
                    },
                };
                self.has_rows |= matches!(what, What::Row(_));
                Some(Entry { line: record.line, raw: record.raw, what })
            }
            Rows::Export(rows) => Some(match rows.next()? {
                Ok(row) => {
                    let expires = row.expires_at.map(Expiry::At);
                    let line = row.line;
                    let row = Row { key: row.key, value: row.value, expires };
                    let what = recipe::check(&row).map_or_else(What::Rejected, |()| What::Row(row));
                    Entry { line, raw: Bytes::new(), what }
                }
                Err(damage) => Entry { line: damage.line, raw: Bytes::new(), what: What::Broken(damage.reason) },
            }),
        }
    }
}

/// A digest of everything that was read up to a record: two inputs with the same one are the same up to there.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest([u8; DIGEST_BYTES]);

/// Bytes of a [`Digest`].
pub const DIGEST_BYTES: usize = 32;

impl Digest {
    /// As bytes.
    pub fn bytes(self) -> [u8; DIGEST_BYTES] {
        self.0
    }

    /// That of these bytes.
    pub fn of_bytes(bytes: [u8; DIGEST_BYTES]) -> Self {
        Self(bytes)
    }

    /// Of what stands before the first record.
    pub fn of_heading(kind: &FileKind) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        match kind {
            FileKind::Rows { heading, .. } => heading.iter().for_each(|name| add(&mut context, name.as_bytes())),
            FileKind::Export(head) => add(&mut context, head.keyspace.as_bytes()),
        }
        Self::finish(context)
    }

    /// Of that and one entry more.
    #[must_use]
    pub fn with(self, entry: &Entry) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.0);
        context.update(&entry.line.to_le_bytes());
        add(&mut context, &entry.raw);
        // A row of an export has no bytes of its own here.
        if let (true, What::Row(row)) = (entry.raw.is_empty(), &entry.what) {
            add(&mut context, &row.key);
            add(&mut context, &row.value);
            add(&mut context, format!("{:?}", row.expires).as_bytes());
        }
        Self::finish(context)
    }

    fn finish(context: digest::Context) -> Self {
        let mut bytes = [0; DIGEST_BYTES];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }

    /// As hexadecimal digits.
    pub fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// Its length goes before it, so that no two lists of parts are alike.
fn add(context: &mut digest::Context, part: &[u8]) {
    context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
    context.update(part);
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;

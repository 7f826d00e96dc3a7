//! Where the bytes of a text come from: a file or standard input, unpacked.
//!
//! What a file is packed with is seen by its first bytes, and so is the encoding when it begins with a byte order mark. Names say nothing: a
//! pipe has none, and files are renamed.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use holdfast_types::limits;
use thiserror::Error;

use crate::encoding::Encoding;
use crate::lines::find_line_end;

/// A source that cannot be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// It is not there, or may not be read.
    #[error("opening {}: {error}", path.display())]
    Unopened {
        /// What was to be opened.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is a folder.
    #[error("{} is a folder: name a file", .0.display())]
    Folder(PathBuf),
    /// Its first bytes cannot be read.
    #[error("reading the beginning of {name}: {error}")]
    Unread {
        /// What was read.
        name: String,
        /// What the system, or what unpacks it, says.
        error: io::Error,
    },
    /// It is packed in a way that is not unpacked here.
    #[error("{name} is packed by {packer}: unpack it first. Only gzip and zstd are unpacked while they are read")]
    Packed {
        /// What was read.
        name: String,
        /// Which way.
        packer: &'static str,
    },
    /// It begins with the mark of another encoding.
    #[error(
        "{name} begins with the mark of {found}, and {asked} was asked for: name no encoding, and it is read as {found}"
    )]
    OtherMark {
        /// What was read.
        name: String,
        /// The encoding that the mark says.
        found: &'static str,
        /// The encoding that was asked for.
        asked: &'static str,
    },
}

/// How many bytes of a file were read, as they lie in it: packed, if it is packed.
#[derive(Clone, Debug)]
pub struct Progress {
    read_bytes: Arc<AtomicU64>,
    size_bytes: Option<u64>,
}

impl Progress {
    /// Bytes that were read so far.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the whole file; `None` where nobody knows, as of a pipe.
    pub fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }
}

/// A text: the bytes of a file or of standard input, unpacked if they are gzip or zstd, and their encoding.
pub struct Source {
    /// What comes behind the byte order mark.
    pub(crate) reader: Box<dyn Read + Send>,
    pub(crate) encoding: Encoding,
    /// Bytes of the byte order mark.
    pub(crate) mark_bytes: usize,
    progress: Progress,
}

impl Source {
    /// Opens a file; `-` is standard input.
    pub fn open(path: &Path, encoding: Encoding) -> Result<Self, SourceError> {
        if path == Path::new("-") {
            return Self::from_reader("standard input", io::stdin(), None, encoding);
        }
        let unopened = |error| SourceError::Unopened { path: path.to_owned(), error };
        let file = File::open(path).map_err(unopened)?;
        let metadata = file.metadata().map_err(unopened)?;
        if metadata.is_dir() {
            return Err(SourceError::Folder(path.to_owned()));
        }
        let size_bytes = metadata.is_file().then_some(metadata.len());
        Self::from_reader(&path.display().to_string(), file, size_bytes, encoding)
    }

    /// Reads from what is open already. `name` is what errors call it; `size_bytes` is how much there is to read, if that is known.
    pub fn from_reader(
        name: &str,
        reader: impl Read + Send + 'static,
        size_bytes: Option<u64>,
        encoding: Encoding,
    ) -> Result<Self, SourceError> {
        let unread = |error| SourceError::Unread { name: name.to_owned(), error };
        let progress = Progress { read_bytes: Arc::default(), size_bytes };
        let counted = Counted { reader, read_bytes: Arc::clone(&progress.read_bytes) };
        let (beginning, packed) = peek(counted).map_err(unread)?;
        let unpacked: Box<dyn Read + Send> = match packing(&beginning) {
            Packing::None => Box::new(packed),
            Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Packing::Zstd => {
                let mut unpacked = zstd::Decoder::new(packed).map_err(unread)?;
                unpacked.window_log_max(limits::UNPACK_WINDOW_LOG).map_err(unread)?;
                Box::new(unpacked)
            }
            Packing::Other(packer) => return Err(SourceError::Packed { name: name.to_owned(), packer }),
        };
        let (beginning, mut reader) = peek(unpacked).map_err(unread)?;
        let (encoding, mark_bytes) = match Encoding::of_mark(&beginning) {
            None => (encoding, 0),
            // The mark of UTF-16 is no UTF-8, so nothing that can be read is taken for something else.
            Some((found, mark_bytes)) if found == encoding || encoding.is_utf8() => (found, mark_bytes),
            Some((found, _)) => {
                let (found, asked) = (found.name(), encoding.name());
                return Err(SourceError::OtherMark { name: name.to_owned(), found, asked });
            }
        };
        let mut mark = [0; PEEKED_BYTES];
        reader.read_exact(mark.get_mut(..mark_bytes).unwrap_or_default()).map_err(unread)?;
        Ok(Self { reader: Box::new(reader), encoding, mark_bytes, progress })
    }

    /// The encoding: that of the mark at its beginning, or else the one that was asked for.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// What it begins with, which is read again: at least its first line, unless that is longer than [`limits::ROWS_BEGINNING_BYTES`]. Nothing
    /// behind that line is waited for. What cannot be read shows when it is read again.
    pub fn beginning(&mut self) -> Vec<u8> {
        let unit = self.encoding.unit();
        let (mut beginning, mut searched, mut failed) = (Vec::new(), 0, None);
        while find_line_end(&beginning, searched, unit).is_none() && beginning.len() < limits::ROWS_BEGINNING_BYTES {
            let held = beginning.len();
            // The last unit may be half there.
            searched = held & !1;
            beginning.resize(limits::ROWS_BEGINNING_BYTES, 0);
            let read = self.reader.read(beginning.get_mut(held..).unwrap_or_default());
            beginning.truncate(held.saturating_add(*read.as_ref().unwrap_or(&0)));
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let again = Cursor::new(beginning.clone());
        self.reader = match failed {
            // Some readers say only once why they fail.
            Some(error) => Box::new(again.chain(Failed(error))),
            None => Box::new(again.chain(std::mem::replace(&mut self.reader, Box::new(io::empty())))),
        };
        beginning
    }

    /// How far the file itself was read; goes on counting while [`crate::Records`] reads.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

/// As much as the longest signature.
const PEEKED_BYTES: usize = 10;

enum Packing {
    None,
    Gzip,
    Zstd,
    Other(&'static str),
}

fn packing(beginning: &[u8]) -> Packing {
    match beginning {
        [0x1f, 0x8b, 8, ..] => Packing::Gzip,
        // A frame of zstd, or one that is to be skipped: parallel packers begin with that.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Packing::Other("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Other("xz"),
        [b'P', b'K', 3, 4, ..] => Packing::Other("zip, as the workbooks of spreadsheets are"),
        [0x04, 0x22, 0x4d, 0x18, ..] => Packing::Other("lz4"),
        _ => Packing::None,
    }
}

/// A reader whose first bytes were read, and are read again.
type Peeked<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// The first bytes, and a reader that reads them again.
fn peek<R: Read>(mut reader: R) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut beginning = Vec::with_capacity(PEEKED_BYTES);
    let most = u64::try_from(PEEKED_BYTES).unwrap_or(u64::MAX);
    reader.by_ref().take(most).read_to_end(&mut beginning)?;
    Ok((beginning.clone(), Cursor::new(beginning).chain(reader)))
}

/// Fails as another reader did.
struct Failed(io::Error);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(self.0.kind(), self.0.to_string()))
    }
}

/// Counts what is read.
struct Counted<R> {
    reader: R,
    read_bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.read_bytes.fetch_add(u64::try_from(read).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn read(bytes: Vec<u8>, encoding: Encoding) -> Result<(Vec<u8>, &'static str), SourceError> {
        let mut source = Source::from_reader("it", Cursor::new(bytes), None, encoding)?;
        let mut read = Vec::new();
        source.reader.read_to_end(&mut read).unwrap();
        Ok((read, source.encoding.name()))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn what_is_packed_is_seen_by_its_first_bytes_whatever_it_is_called() {
        let text = b"id,name\n1,one\n".to_vec();
        let twice = [gzip(b"id,name\n"), gzip(b"1,one\n")].concat();
        let zstd_twice =
            [zstd::encode_all(&b"id,name\n"[..], 1).unwrap(), zstd::encode_all(&b"1,one\n"[..], 1).unwrap()];
        let skipped =
            [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &zstd::encode_all(&text[..], 1).unwrap()].concat();
        for packed in [text.clone(), gzip(&text), twice, zstd_twice.concat(), skipped] {
            assert_eq!(read(packed, Encoding::default()).unwrap().0, text);
        }
    }

    #[test]
    fn a_file_that_is_packed_otherwise_is_refused_by_name() {
        for (beginning, packer) in [
            (&b"BZh91AY&SY\x12\x34"[..], "bzip2"),
            (b"\xfd7zXZ\0\0\x04", "xz"),
            (b"PK\x03\x04\x14\0", "zip"),
            (b"\x04\x22\x4d\x18\x64", "lz4"),
        ] {
            let refused = read(beginning.to_vec(), Encoding::default()).unwrap_err().to_string();
            assert!(refused.contains(packer) && refused.contains("unpack it first"), "{refused}");
        }
        assert_eq!(read(b"BZh9,is,no,bzip2\n".to_vec(), Encoding::default()).unwrap().0, b"BZh9,is,no,bzip2\n");
    }

    #[test]
    fn a_mark_is_left_out_and_decides_the_encoding() {
        let utf8 = Encoding::default();
        assert_eq!(read(b"\xef\xbb\xbf{}".to_vec(), utf8).unwrap(), (b"{}".to_vec(), "UTF-8"));
        assert_eq!(read(b"\xff\xfe{\0}\0".to_vec(), utf8).unwrap(), (b"{\0}\0".to_vec(), "UTF-16LE"));
        assert_eq!(read(b"\xfe\xff\0{\0}".to_vec(), utf8).unwrap(), (b"\0{\0}".to_vec(), "UTF-16BE"));
        assert_eq!(read(gzip(b"\xef\xbb\xbfx"), utf8).unwrap(), (b"x".to_vec(), "UTF-8"));
        assert_eq!(read(Vec::new(), utf8).unwrap(), (Vec::new(), "UTF-8"));
        let refused = read(b"\xef\xbb\xbfx".to_vec(), "latin1".parse().unwrap()).unwrap_err().to_string();
        assert!(refused.contains("the mark of UTF-8") && refused.contains("windows-1252"), "{refused}");
    }

    #[test]
    fn the_beginning_of_a_text_is_its_first_line_and_is_read_again() {
        // What comes later is not waited for.
        let slow = Cursor::new(b"id,n\n".to_vec()).chain(Cursor::new(b"1,2\n".to_vec()));
        let mut source =
            Source { reader: Box::new(slow), ..Source::open(Path::new("/dev/null"), Encoding::default()).unwrap() };
        assert_eq!(source.beginning(), b"id,n\n");
        let mut whole = String::new();
        source.reader.read_to_string(&mut whole).unwrap();
        assert_eq!(whole, "id,n\n1,2\n");
        // The newline of UTF-16 has two bytes.
        let mut source =
            Source::from_reader("it", Cursor::new(b"\xff\xfe\x0a\x0aa\0\n\0".to_vec()), None, Encoding::default())
                .unwrap();
        assert_eq!(source.beginning(), b"\x0a\x0aa\0\n\0");
    }

    #[test]
    fn what_fails_within_the_beginning_fails_again_and_bytes_behind_a_packed_file_are_no_end() {
        let text = b"id,n\n1,2\n".repeat(1_000);
        let packed = gzip(&text);
        for damaged in
            [packed[..packed.len() - 9].to_vec(), [&packed[..], b"garbage"].concat(), [&packed[..], b"x"].concat()]
        {
            let mut source = Source::from_reader("it", Cursor::new(damaged), None, Encoding::default()).unwrap();
            source.beginning();
            let mut read = Vec::new();
            assert!(source.reader.read_to_end(&mut read).is_err(), "{} bytes were taken for all", read.len());
        }
        let packed = zstd::encode_all(&text[..], 1).unwrap();
        for damaged in
            [[&packed[..], b"garbage"].concat(), [&packed[..], b"x"].concat(), packed[..packed.len() - 1].to_vec()]
        {
            // A small one may be damaged within what is looked at to open it.
            match Source::from_reader("it", Cursor::new(damaged), None, Encoding::default()) {
                Ok(mut source) => assert!(source.reader.read_to_end(&mut Vec::new()).is_err()),
                Err(error) => assert!(matches!(error, SourceError::Unread { .. }), "{error}"),
            }
        }
    }

    #[test]
    fn a_folder_and_what_is_not_there_are_refused_with_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| Source::open(path, Encoding::default()).err().unwrap().to_string();
        assert!(refused(folder.path()).ends_with("is a folder: name a file"));
        assert!(refused(&folder.path().join("none.csv")).contains("none.csv: No such file"));
    }

    #[test]
    fn progress_counts_the_bytes_of_the_file_not_those_that_are_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let packed = gzip(&b"1234567\n".repeat(10_000));
        std::fs::write(&path, &packed).unwrap();
        let mut source = Source::open(&path, Encoding::default()).unwrap();
        let progress = source.progress();
        io::copy(&mut source.reader, &mut io::sink()).unwrap();
        let size = u64::try_from(packed.len()).unwrap();
        assert_eq!((progress.read_bytes(), progress.size_bytes()), (size, Some(size)));
    }
}

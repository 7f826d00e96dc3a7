//! Files that are packed as they are written.
//!
//! A packed file is one gzip member or zstd frame behind another: [`Packer::cut`] ends one, and what was written so far can be unpacked and gone
//! on with. Programs that unpack either format take several as one file.

use std::io::{self, BufRead, Read, Write};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Of 1 to 9: more costs much time and saves little.
const GZIP_LEVEL: u32 = 6;
/// The usual one of zstd.
const ZSTD_LEVEL: i32 = 3;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// By gzip.
    Gzip,
    /// By Zstandard.
    Zstd,
}

impl Compression {
    /// The one that the ending of a file's name says, in any case.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        match ending.as_str() {
            "gz" => Self::Gzip,
            "zst" | "zstd" => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Packs what is written to it.
pub struct Packer<W: Write> {
    compression: Compression,
    state: State<W>,
}

enum State<W: Write> {
    Between(W),
    Gzip(Box<GzEncoder<W>>),
    Zstd(Box<zstd::Encoder<'static, W>>),
    /// The writer was lost with an error.
    Failed,
}

impl<W: Write> Packer<W> {
    /// Packs for `out`.
    pub fn new(out: W, compression: Compression) -> Self {
        Self { compression, state: State::Between(out) }
    }

    /// Ends a member or frame, if one has begun: everything so far can be unpacked. Returns what is written to.
    ///
    /// # Errors
    /// When it does not take the rest.
    pub fn cut(&mut self) -> io::Result<&mut W> {
        let out = match std::mem::replace(&mut self.state, State::Failed) {
            State::Between(out) => out,
            State::Gzip(encoder) => encoder.finish()?,
            State::Zstd(encoder) => encoder.finish()?,
            State::Failed => return Err(failed()),
        };
        self.state = State::Between(out);
        match &mut self.state {
            State::Between(out) => Ok(out),
            State::Gzip(_) | State::Zstd(_) | State::Failed => Err(failed()),
        }
    }

    fn begun(&mut self) -> io::Result<&mut dyn Write> {
        if let State::Between(_) = self.state {
            let State::Between(out) = std::mem::replace(&mut self.state, State::Failed) else { return Err(failed()) };
            self.state = match self.compression {
                Compression::None => State::Between(out),
                Compression::Gzip => State::Gzip(Box::new(GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL)))),
                Compression::Zstd => {
                    let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
                    encoder.include_checksum(true)?;
                    State::Zstd(Box::new(encoder))
                }
            };
        }
        match &mut self.state {
            State::Between(out) => Ok(out),
            State::Gzip(encoder) => Ok(encoder),
            State::Zstd(encoder) => Ok(encoder),
            State::Failed => Err(failed()),
        }
    }
}

fn failed() -> io::Error {
    io::Error::other("an earlier part could not be written")
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.state {
            State::Between(out) => out.flush(),
            State::Gzip(encoder) => encoder.flush(),
            State::Zstd(encoder) => encoder.flush(),
            State::Failed => Err(failed()),
        }
    }
}

/// What was packed, as it was.
///
/// # Errors
/// When zstd cannot begin.
pub fn unpacked<'a>(packed: impl BufRead + 'a, compression: Compression) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(packed),
        Compression::Gzip => Box::new(MultiGzDecoder::new(packed)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(packed)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

    #[test]
    fn the_ending_says_how_a_file_is_packed() {
        let of = |name: &str| Compression::of(Path::new(name));
        assert_eq!(
            [of("a.csv.gz"), of("A.GZ"), of("a.jsonl.zst"), of("a.zstd")].map(Compression::name),
            ["gzip", "gzip", "zstd", "zstd"]
        );
        assert_eq!([of("a.csv"), of("gz"), of("-")], [Compression::None; 3]);
    }

    #[test]
    fn what_was_written_up_to_a_cut_is_whole_and_goes_on_behind_it() {
        for compression in ALL {
            let mut packer = Packer::new(Vec::new(), compression);
            packer.write_all(b"one ").unwrap();
            let first = packer.cut().unwrap().clone();
            packer.write_all(b"two").unwrap();
            let both = packer.cut().unwrap().clone();
            assert_eq!(packer.cut().unwrap(), &both, "nothing new has begun");
            let read = |packed: &[u8]| {
                let mut text = String::new();
                unpacked(packed, compression).unwrap().read_to_string(&mut text).map(|_| text)
            };
            assert_eq!(
                (read(&first).unwrap(), read(&both).unwrap()),
                ("one ".into(), "one two".into()),
                "{compression:?}"
            );
            if compression != Compression::None {
                assert!(both.starts_with(&first));
                assert!(read(&both[..both.len() - 1]).is_err(), "{compression:?} that is cut off is no shorter text");
            }
        }
    }
}

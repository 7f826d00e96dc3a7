//! Keys, bounds and versions as a command line has them.

use bytes::Bytes;
use clap::Args;
use holdfast_client::{KeySpan, Timestamp};
use holdfast_output::{readable, visible};

/// How keys are written.
#[derive(Args, Debug, Clone, Copy, Default)]
pub struct KeyForm {
    /// Keys on the command line are hexadecimal digits, two for each byte
    #[arg(long)]
    pub key_hex: bool,
}

impl KeyForm {
    /// A key, or the beginning of one.
    pub fn key(self, text: &str) -> anyhow::Result<Bytes> {
        parse_key(text, self.key_hex)
    }
}

/// A key: the bytes of the text, or those that it names in hexadecimal digits.
pub fn parse_key(text: &str, is_hex: bool) -> anyhow::Result<Bytes> {
    if !is_hex {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    unhex(text).ok_or_else(|| {
        anyhow::anyhow!(
            "{:?} is no key in hexadecimal digits: write two of them for each byte, as in 6b6579",
            visible(text)
        )
    })
}

fn unhex(text: &str) -> Option<Bytes> {
    let digits = text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    let digits = digits.collect::<Option<Vec<u8>>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Adds bytes as hexadecimal digits.
pub fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    use std::io::Write as _;
    for byte in bytes {
        // A vector takes everything.
        let _ = write!(out, "{byte:02x}");
    }
}

/// A version as commands print it: `1795371571982.17`, or as JSON has it, in one number.
pub fn parse_version(text: &str) -> Result<Timestamp, String> {
    let wrong = || {
        let shown = visible(text);
        format!(
            "{shown:?} is no version: `holdfast get KEY --json` shows that of a key, as in 117661471885410321 or 1795371571982.17"
        )
    };
    match text.split_once('.') {
        None => text.parse().map(Timestamp::compared).map_err(|_| wrong()),
        Some((ms, counter)) => {
            let (Ok(ms), Ok(counter)) = (ms.parse::<u64>(), counter.parse::<u16>()) else { return Err(wrong()) };
            let whole = Timestamp::from_ms(ms);
            if whole.ms() != ms {
                return Err(wrong());
            }
            Ok(Timestamp::compared(whole.0 | u64::from(counter)))
        }
    }
}

/// The keys that a command line names by bounds or by what they begin with. A bound that is empty is an error, and so are bounds that no key can
/// lie between: what a script left out by mistake is not to mean everything, or nothing.
pub fn span(start: Option<&[u8]>, end: Option<&[u8]>, prefix: Option<&[u8]>) -> anyhow::Result<KeySpan> {
    for (name, bound) in [("START", start), ("END", end), ("--prefix", prefix)] {
        anyhow::ensure!(
            bound.is_none_or(|bound| !bound.is_empty()),
            "{name} is empty: leave it out where every key is meant"
        );
    }
    if let Some(prefix) = prefix {
        anyhow::ensure!(start.is_none() && end.is_none(), "--prefix takes the place of bounds: give one or the other");
        return Ok(KeySpan::prefix(prefix));
    }
    let span = KeySpan::new(start.unwrap_or_default(), end);
    if span.is_empty() {
        let [start, end] = [start, end].map(|bound| readable(bound.unwrap_or_default()));
        anyhow::bail!(
            "no key lies from {} up to {}: START must come before END, bytewise",
            visible(&start),
            visible(&end)
        );
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_text_or_pairs_of_digits() {
        assert_eq!(parse_key("6b", false).unwrap(), "6b");
        assert_eq!(&parse_key("00fFa", false).unwrap()[..], b"00fFa");
        assert_eq!(&parse_key("006BfF", true).unwrap()[..], b"\0k\xff");
        for wrong in ["6", "6g", "+6", "6b ", "0x6b", "\u{ff16}b"] {
            let said = parse_key(wrong, true).unwrap_err().to_string();
            assert!(said.contains("two of them"), "{said}");
        }
        let mut digits = Vec::new();
        hex(b"\0k\xff", &mut digits);
        assert_eq!(digits, b"006bff");
    }

    #[test]
    fn a_version_is_read_as_it_is_printed() {
        let version = Timestamp(1_795_371_571_982 << 16 | 17);
        assert_eq!(parse_version(&version.to_string()), Ok(version));
        assert_eq!(parse_version(&version.0.to_string()), Ok(version));
        for wrong in ["", "x", "1.", ".1", "1.65536", "281474976710656.0", "-1", "1.2.3", "18446744073709551616"] {
            assert!(parse_version(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bounds_that_hold_nothing_are_errors() {
        let text = |text: &'static str| Some(text.as_bytes());
        assert_eq!(span(None, None, None).unwrap(), KeySpan::all());
        assert_eq!(span(text("b"), None, None).unwrap(), KeySpan::new("b", None));
        assert_eq!(span(text("b"), text("d"), None).unwrap(), KeySpan::new("b", text("d")));
        assert_eq!(span(None, None, text("p/")).unwrap(), KeySpan::prefix("p/"));
        for (start, end, prefix, word) in [
            (text(""), None, None, "START is empty"),
            (None, text(""), None, "END is empty"),
            (text("a"), text(""), None, "END is empty"),
            (None, None, text(""), "--prefix is empty"),
            (text("b"), text("b"), None, "from b up to b"),
            (text("b"), text("a"), None, "must come before"),
            (text("b"), None, text("p"), "one or the other"),
        ] {
            let said = span(start, end, prefix).unwrap_err().to_string();
            assert!(said.contains(word), "{said}");
        }
    }
}

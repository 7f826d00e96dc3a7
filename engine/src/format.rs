//! The file `FORMAT` of a store's directory: which version wrote everything beside it. It is text, so that people can read it.

use crate::contract::Fault;

/// The format of a store's directory that this program writes.
pub(crate) const FORMAT: u32 = 1;

/// What is in the file.
pub(crate) fn encode() -> String {
    format!("holdfast {FORMAT}\n")
}

/// Refuses what another version wrote, and what no version did.
pub(crate) fn check(raw: &[u8]) -> Result<(), Fault> {
    let text = std::str::from_utf8(raw).ok().and_then(|text| text.trim().strip_prefix("holdfast "));
    match text.and_then(|version| version.parse::<u32>().ok()) {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(Fault::UnknownVersion { what: "data directory", found, known: FORMAT }),
        None => Err(damaged("it cannot be read")),
    }
}

/// What is wrong with the file.
pub(crate) fn damaged(detail: &str) -> Fault {
    Fault::Damage { doing: "reading the file FORMAT".to_owned(), detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_version_is_taken_and_another_is_named() {
        assert_eq!(check(encode().as_bytes()), Ok(()));
        assert_eq!(check(b"holdfast 1"), Ok(()), "an editor may have taken the end of the line");
        let newer = check(b"holdfast 2\n").unwrap_err().to_string();
        assert!(newer.contains("version 2") && newer.contains("this program knows 1"), "{newer}");
        for damaged in [&b""[..], b"holdfast", b"holdfast 4294967296", b"holdfast -1", b"\xffholdfast 1", &[0; 99]] {
            assert!(matches!(check(damaged), Err(Fault::Damage { .. })), "{}", damaged.escape_ascii());
        }
    }
}

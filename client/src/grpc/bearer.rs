//! A bearer token from a file: who its bearer is, as somebody says whom the fleet's stores believe.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::fmt;
use std::path::PathBuf;

use holdfast_types::limits;
use http::HeaderValue;

/// A file with one bearer token, on one line. It is read anew whenever a call carries the token, so that whoever renews it need tell nobody.
/// Neither the token nor any part of it is ever shown.
pub struct BearerFile {
    path: PathBuf,
}

impl fmt::Debug for BearerFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BearerFile").field(&self.path).finish()
    }
}

impl BearerFile {
    /// The token in this file; nothing is read yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// As a call carries it. A file that is being written may hold no whole token: then the call fails, and the next one reads it again.
    pub(super) fn header(&self) -> Result<HeaderValue, String> {
        let shown = self.path.display();
        let bytes = holdfast_files::read(&self.path, limits::BEARER_TOKEN_BYTES);
        let bytes = bytes.map_err(|error| format!("the bearer token in {shown} cannot be read: {error}"))?;
        let bytes = bytes.ok_or_else(|| format!("there is no file {shown} with a bearer token"))?;
        let no_token = || format!("{shown} holds no bearer token: it is one line of letters, digits and punctuation");
        let token = std::str::from_utf8(&bytes).map_err(|_| no_token())?.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(no_token());
        }
        let mut header: HeaderValue = format!("Bearer {token}").parse().map_err(|_| no_token())?;
        // Neither logs nor the tables of HTTP/2's compression keep it.
        header.set_sensitive(true);
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_anew_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let bearer = BearerFile::new(&path);
        assert!(bearer.header().unwrap_err().contains("there is no file"));
        for token in ["abc.def.ghi", "second"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            let header = bearer.header().unwrap();
            assert_eq!(header.as_bytes(), format!("Bearer {token}").as_bytes());
            assert!(header.is_sensitive() && !format!("{bearer:?} {header:?}").contains(token));
        }
    }

    #[test]
    fn what_is_no_token_is_refused_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let long = vec![b'x'; limits::BEARER_TOKEN_BYTES + 1];
        for wrong in [&b""[..], b"\n", b"two words", b"one\r\nx-header: two", b"\xff\xfe", b"nul\0", &long] {
            std::fs::write(&path, wrong).unwrap();
            let said = BearerFile::new(&path).header().unwrap_err();
            assert!(said.contains(path.to_str().unwrap()) && said.len() < 400 && !said.contains("words"), "{said}");
        }
    }
}

//! One-time tokens to join a fleet with: their names, which anybody may know, and the texts that carry their secrets.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::fmt;
use std::str::FromStr;

/// What a token begins with, so that whoever finds one in a place where it should not be sees what it is.
const PREFIX: &str = "holdfast-join-";
/// Of an id, in hexadecimal.
const ID_DIGITS: usize = 16;

/// Names a token, and is no secret: 64 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(u64);

impl TokenId {
    /// The one with these bits: any are good.
    #[must_use]
    pub fn of(bits: u64) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenId {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let id = if text.len() == ID_DIGITS && is_hex(text) { u64::from_str_radix(text, 16).ok() } else { None };
        id.map(Self).ok_or(BadToken)
    }
}

/// A token, with its secret: whoever has it may let one store in.
///
/// It has no `Display`, and its `Debug` keeps the secret to itself: only [`JoinToken::reveal`] tells it.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    id: TokenId,
    secret: [u8; Self::SECRET_BYTES],
}

/// What is no token. Says nothing of the text: it may be one with a typing error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this is no join token: one begins with {PREFIX}, and `holdfast token create` prints it")]
pub struct BadToken;

impl JoinToken {
    /// Bytes of the secret: nobody guesses so many.
    pub const SECRET_BYTES: usize = 32;

    /// The token of this name with this secret.
    #[must_use]
    pub fn new(id: TokenId, secret: [u8; Self::SECRET_BYTES]) -> Self {
        Self { id, secret }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// What nobody else knows.
    #[must_use]
    pub fn secret(&self) -> &[u8; Self::SECRET_BYTES] {
        &self.secret
    }

    /// The text that is handed to whoever is to join.
    #[must_use]
    pub fn reveal(&self) -> String {
        let digits = self.secret.iter().map(|byte| format!("{byte:02x}"));
        format!("{PREFIX}{}-{}", self.id, digits.collect::<String>())
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("id", &self.id).finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let (id, digits) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).ok_or(BadToken)?;
        let id = id.parse()?;
        if !is_hex(digits) {
            return Err(BadToken);
        }
        let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return Err(BadToken) };
        let bytes = pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        let bytes: Vec<u8> = bytes.collect::<Option<_>>().ok_or(BadToken)?;
        Ok(Self { id, secret: bytes.try_into().map_err(|_| BadToken)? })
    }
}

/// One way to write each number: small letters, no signs.
fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_as_it_was_written_and_shows_its_secret_to_nobody() {
        let token = JoinToken::new(TokenId::of(0xfe), std::array::from_fn(|at| u8::try_from(at * 7 % 256).unwrap()));
        let text = token.reveal();
        assert!(text.starts_with("holdfast-join-00000000000000fe-00070e15"), "{text}");
        assert_eq!(text.parse::<JoinToken>(), Ok(token.clone()));
        let shown = format!("{token:?}");
        assert!(shown.contains("00000000000000fe") && !shown.contains("070e"), "{shown}");
    }

    #[test]
    fn what_is_no_token_is_refused_and_never_repeated() {
        let whole = JoinToken::new(TokenId::of(1), [0xab; 32]).reveal();
        let cut = &whole[..whole.len() - 1];
        let long = format!("{whole}00");
        for wrong in [
            "",
            "holdfast-join-",
            cut,
            &long,
            &whole.to_uppercase(),
            &whole.replace("ab", "+b"),
            &whole[14..],
            &whole.replace("01-", "1-"),
        ] {
            let refused = wrong.parse::<JoinToken>().unwrap_err().to_string();
            assert!(!refused.contains("abab"), "{refused}");
        }
        for wrong in ["", "1", "000000000000000G", "+00000000000000f", "00000000000000000"] {
            assert!(wrong.parse::<TokenId>().is_err(), "{wrong}");
        }
        assert_eq!("00000000000000ff".parse(), Ok(TokenId::of(255)));
    }
}

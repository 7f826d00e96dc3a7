//! One input that says several things: each piece is a tag, a length and bytes. Any input is a list of pieces, so that the fuzzer
//! loses nothing by a wrong length.

use bytes::Bytes;

/// Pieces of one input, at most: what one run takes must not grow with the input.
const MOST: usize = 16;

/// A tag, and what goes with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// What to do with it: the target's affair.
    pub tag: u8,
    /// The bytes.
    pub bytes: Bytes,
}

/// Cuts an input.
#[must_use]
pub fn cut(mut input: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while let Some(([tag, low, high], rest)) = input.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (bytes, rest) = rest.split_at(length);
        pieces.push(Piece { tag: *tag, bytes: Bytes::copy_from_slice(bytes) });
        input = rest;
        if pieces.len() == MOST {
            break;
        }
    }
    pieces
}

/// The input that is cut into these.
#[must_use]
pub fn join(pieces: &[(u8, &[u8])]) -> Vec<u8> {
    let mut input = Vec::new();
    for (tag, bytes) in pieces {
        let length = u16::try_from(bytes.len()).expect("seeds are short");
        input.push(*tag);
        input.extend(length.to_le_bytes());
        input.extend_from_slice(bytes);
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_joined_is_cut_again() {
        let input = join(&[(1, b"one"), (2, b""), (255, b"three")]);
        let pieces = cut(&input);
        let pieces: Vec<_> = pieces.iter().map(|piece| (piece.tag, &piece.bytes[..])).collect();
        assert_eq!(pieces, [(1, &b"one"[..]), (2, b""), (255, b"three")]);
        assert_eq!(cut(&input[..input.len() - 2]).last().unwrap().bytes, &b"thr"[..], "a wrong length is cut");
    }
}

//! How much of what came over a connection with TLS lies there undecrypted, or decrypted and not taken: bytes, as an upper bound.
//!
//! rustls does not say how much it holds. But it decrypts what is whole at once, so that behind what was handed on there is no more than
//! the beginning of a record; and until something is handed on, no more than all that came since.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::BufMut;

/// A record's header: its kind, its version, two bytes of length.
const HEADER_BYTES: usize = 5;

/// Follows the records of one connection in the bytes that are read from it.
#[derive(Default, Debug)]
pub(crate) struct Records {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// Of the record whose header was seen last.
    to_come: usize,
    /// What came of the record that is not whole yet, with its header.
    begun_bytes: usize,
    /// What came since something was handed on.
    came_bytes: usize,
}

impl Records {
    /// These bytes come next.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) {
        self.came_bytes = self.came_bytes.saturating_add(bytes.len());
        while !bytes.is_empty() {
            if self.to_come == 0 {
                self.follow_header(&mut bytes);
                continue;
            }
            let part = self.to_come.min(bytes.len());
            bytes = bytes.get(part..).unwrap_or_default();
            self.to_come = self.to_come.saturating_sub(part);
            self.begun_bytes = if self.to_come == 0 { 0 } else { self.begun_bytes.saturating_add(part) };
        }
    }

    fn follow_header(&mut self, bytes: &mut &[u8]) {
        let part = HEADER_BYTES.saturating_sub(self.header_bytes).min(bytes.len());
        let Some((part, rest)) = bytes.split_at_checked(part) else { return };
        if let Some(mut room) = self.header.get_mut(self.header_bytes..) {
            room.put_slice(part);
        }
        *bytes = rest;
        self.header_bytes = self.header_bytes.saturating_add(part.len());
        self.begun_bytes = self.begun_bytes.saturating_add(part.len());
        if self.header_bytes == HEADER_BYTES {
            let [_, _, _, high, low] = self.header;
            self.to_come = usize::from(u16::from_be_bytes([high, low]));
            self.header_bytes = 0;
            if self.to_come == 0 {
                self.begun_bytes = 0;
            }
        }
    }

    /// Something of what came was decrypted and handed on.
    pub(crate) fn handed_on(&mut self) {
        self.came_bytes = self.begun_bytes;
    }

    /// At most so much lies there.
    pub(crate) fn held_bytes(&self) -> usize {
        self.came_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(length: usize) -> Vec<u8> {
        let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
        let mut record = vec![23, 3, 3, high, low];
        record.resize(HEADER_BYTES + length, 0xff);
        record
    }

    #[test]
    fn behind_what_was_handed_on_there_is_the_beginning_of_a_record_however_the_bytes_are_cut() {
        let whole = [record(100), record(0), record(16_401), record(1)].concat();
        let bytes = [whole.clone(), record(3_000)[..1_234].to_vec()].concat();
        for cut in [1, 2, 4, 5, 6, 100, 105, 4_096, bytes.len()] {
            let mut records = Records::default();
            bytes.chunks(cut).for_each(|part| records.follow(part));
            assert_eq!(records.held_bytes(), bytes.len(), "nothing was handed on");
            records.handed_on();
            assert_eq!(records.held_bytes(), 1_234, "cut at {cut}");
            records.follow(&[0xff; 10]);
            assert_eq!(records.held_bytes(), 1_244);
        }
        for begun in 0..HEADER_BYTES {
            let mut records = Records::default();
            records.follow(&whole);
            records.follow(&record(7)[..begun]);
            records.handed_on();
            assert_eq!(records.held_bytes(), begun);
        }
    }
}

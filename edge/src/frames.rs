//! What the frames of a connection cost, and who pays for them.
//!
//! A ping, a setting or a request that is reset at once costs its author a few bytes, and the store an answer, a place or a walk through its
//! headers. So frames have a price, and messages that come and answers that are taken pay for those beside them. What nobody has paid for
//! comes out of an allowance that all connections from one address share, and where that is used up the connection is read later: the
//! kernel's buffers fill, and its author waits. Nothing is ended: who has frames to send and nothing to say is slow, and that is all.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::time::{Duration, Instant};

use bytes::BufMut;
use holdfast_types::limits;

/// What a client says before its first frame.
const PREFACE_BYTES: usize = 24;
/// A frame's header: three bytes of length, its kind, its flags, its stream.
const HEADER_BYTES: usize = 9;
/// Bytes of headers, or of anything else that is no message, that cost as much as a frame.
const BYTES_OF_A_FRAME: u64 = 64;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;

/// A request that begins costs a place, an account and a walk through its headers.
const PRICE_OF_HEADERS: u64 = 8;
/// One that is reset has been begun for nothing.
const PRICE_OF_A_RESET: u64 = 4;
/// A connection costs as much as some requests.
pub(crate) const PRICE_OF_A_CONNECTION: u64 = 32;

/// Follows the frames of one connection in the bytes that are read from it.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Bytes to come of the preface, or of the frame whose header was seen last.
    to_come: usize,
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
}

impl Frames {
    /// Of a connection from which nothing was read.
    pub(crate) fn new() -> Self {
        Self { to_come: PREFACE_BYTES, header: [0; HEADER_BYTES], header_bytes: 0 }
    }

    /// The price of the frames whose headers end in these bytes, which come next.
    pub(crate) fn price(&mut self, mut bytes: &[u8]) -> u64 {
        let mut price = 0_u64;
        loop {
            let Some((skipped, rest)) = bytes.split_at_checked(self.to_come.min(bytes.len())) else { return price };
            self.to_come = self.to_come.saturating_sub(skipped.len());
            bytes = rest;
            let Some(header) = self.next_header(&mut bytes) else { return price };
            let [a, b, c, kind, ..] = header;
            let length = u32::from_be_bytes([0, a, b, c]);
            self.to_come = usize::try_from(length).unwrap_or(usize::MAX);
            price = price.saturating_add(price_of(kind, length));
        }
    }

    /// The next header, once it is complete.
    fn next_header(&mut self, bytes: &mut &[u8]) -> Option<[u8; HEADER_BYTES]> {
        let part = HEADER_BYTES.saturating_sub(self.header_bytes).min(bytes.len());
        let (part, rest) = bytes.split_at_checked(part)?;
        self.header.get_mut(self.header_bytes..)?.put_slice(part);
        *bytes = rest;
        self.header_bytes = self.header_bytes.saturating_add(part.len());
        (self.header_bytes == HEADER_BYTES).then(|| {
            self.header_bytes = 0;
            self.header
        })
    }
}

fn price_of(kind: u8, length: u32) -> u64 {
    let by_length = u64::from(length) / BYTES_OF_A_FRAME;
    match kind {
        DATA => u64::from(u64::from(length) < limits::FRAME_WORTH_READING_BYTES),
        HEADERS => PRICE_OF_HEADERS.saturating_add(by_length),
        RST_STREAM => PRICE_OF_A_RESET,
        _ => by_length.saturating_add(1),
    }
}

/// What the connections of one address may send that pays for nothing.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: u64,
    at: Instant,
}

impl Allowance {
    /// A whole one.
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: limits::FRAMES_BURST, at: now }
    }

    /// Takes as much as there is; returns what is still missing.
    pub(crate) fn take(&mut self, wanted: u64, now: Instant) -> u64 {
        let passed_us = u64::try_from(now.saturating_duration_since(self.at).as_micros()).unwrap_or(u64::MAX);
        let gained = passed_us.saturating_mul(limits::FRAMES_PER_SECOND) / 1_000_000;
        if gained > limits::FRAMES_BURST.saturating_sub(self.left) {
            (self.left, self.at) = (limits::FRAMES_BURST, now);
        } else {
            // What is not a whole frame yet is not lost.
            self.left = self.left.saturating_add(gained);
            self.at += Duration::from_micros(gained.saturating_mul(1_000_000) / limits::FRAMES_PER_SECOND);
        }
        let taken = wanted.min(self.left);
        self.left = self.left.saturating_sub(taken);
        wanted.saturating_sub(taken)
    }
}

/// How long a connection that owes so much is not read.
pub(crate) fn pause(owed: u64) -> Duration {
    let until_paid = Duration::from_millis(owed.saturating_mul(1_000) / limits::FRAMES_PER_SECOND);
    until_paid.clamp(limits::FRAMES_PAUSE_MIN, limits::FRAMES_PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;
    const CONTINUATION: u8 = 9;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(length).unwrap().to_be_bytes();
        let mut frame = vec![a, b, c, kind, 0, 0, 0, 0, 1];
        frame.resize(HEADER_BYTES + length, 0xff);
        frame
    }

    #[test]
    fn frames_are_counted_however_the_bytes_are_cut() {
        let frames = [
            frame(4, 18),
            frame(HEADERS, 200),
            frame(CONTINUATION, 6_400),
            frame(DATA, 16 << 10),
            frame(DATA, 0),
            frame(PING, 8),
            frame(RST_STREAM, 4),
        ];
        let bytes: Vec<u8> = [vec![b'P'; PREFACE_BYTES], frames.concat()].concat();
        let expected = 1 + (8 + 3) + (1 + 100) + 1 + 1 + 4;
        for cut in [1, 2, 7, 9, 100, bytes.len()] {
            let mut counted = Frames::new();
            assert_eq!(bytes.chunks(cut).map(|part| counted.price(part)).sum::<u64>(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_that_claims_to_be_long_is_paid_for_when_it_claims_so() {
        let mut counted = Frames::new();
        counted.price(&[0; PREFACE_BYTES]);
        assert_eq!(counted.price(&[0xff, 0xff, 0xff, CONTINUATION, 0, 0, 0, 0, 1]), 1 + (0xff_ffff / 64));
    }

    #[test]
    fn an_allowance_comes_back_by_and_by_and_never_adds_up() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        assert_eq!(allowance.take(limits::FRAMES_BURST + 5, start), 5);
        assert_eq!(allowance.take(5, start + Duration::from_micros(400)), 5);
        assert_eq!(allowance.take(limits::FRAMES_PER_SECOND, start + Duration::from_secs(1)), 0);
        let later = start + Duration::from_secs(3_600);
        assert_eq!(allowance.take(2 * limits::FRAMES_BURST, later), limits::FRAMES_BURST);
    }

    #[test]
    fn an_allowance_that_is_asked_all_the_time_comes_back_nevertheless() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        assert_eq!(allowance.take(limits::FRAMES_BURST, start), 0);
        let missing =
            (1..=10_000).map(|step| allowance.take(1, start + Duration::from_micros(step * 130))).sum::<u64>();
        assert_eq!(10_000 - missing, limits::FRAMES_PER_SECOND * 13 / 10, "as many as 1.3 seconds give");
    }

    #[test]
    fn a_pause_is_as_long_as_what_is_owed_within_bounds() {
        assert_eq!(pause(1), limits::FRAMES_PAUSE_MIN);
        assert_eq!(pause(200), Duration::from_millis(100));
        assert_eq!(pause(u64::MAX), limits::FRAMES_PAUSE_MAX);
    }
}

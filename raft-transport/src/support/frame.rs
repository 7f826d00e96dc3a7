//! Frames of the support link: cut from what was read, queued for what is written. No IO here.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use holdfast_types::limits;

const LENGTH_BYTES: usize = 4;

/// The far end announced a frame that no honest store sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a frame of {bytes} bytes is larger than {}", limits::SUPPORT_FRAME_BYTES)]
pub(crate) struct Oversized {
    bytes: usize,
}

/// Bytes read and not yet cut; holds less than one frame after `next` returned none.
#[derive(Default, Debug)]
pub(crate) struct FrameReader {
    buffer: BytesMut,
}

impl FrameReader {
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Oversized> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let bytes = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if bytes > limits::SUPPORT_FRAME_BYTES {
            return Err(Oversized { bytes });
        }
        let whole = LENGTH_BYTES.saturating_add(bytes);
        let Some(frame) = self.buffer.get(LENGTH_BYTES..whole).map(Bytes::copy_from_slice) else { return Ok(None) };
        self.buffer.advance(whole);
        Ok(Some(frame))
    }
}

/// Frames that wait to be written: at most one begun, and `limits::SUPPORT_QUEUE_FRAMES` whole ones of which the oldest go first.
#[derive(Default, Debug)]
pub(crate) struct FrameWriter {
    begun: Bytes,
    waiting: VecDeque<Bytes>,
    dropped: u64,
}

impl FrameWriter {
    /// Queues a frame, unless the far end would refuse it for its length.
    pub(crate) fn push(&mut self, payload: &[u8]) -> Result<(), Oversized> {
        let bytes = payload.len();
        let length = u32::try_from(bytes).ok().filter(|_| bytes <= limits::SUPPORT_FRAME_BYTES);
        let length = length.ok_or(Oversized { bytes })?;
        let mut frame = BytesMut::with_capacity(payload.len().saturating_add(LENGTH_BYTES));
        frame.put_u32(length);
        frame.extend_from_slice(payload);
        if self.waiting.len() == limits::SUPPORT_QUEUE_FRAMES {
            self.waiting.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        self.waiting.push_back(frame.freeze());
        Ok(())
    }

    /// What to write next; none when all is written.
    pub(crate) fn front(&mut self) -> Option<&[u8]> {
        if self.begun.is_empty() {
            self.begun = self.waiting.pop_front()?;
        }
        Some(&self.begun)
    }

    /// So many bytes of the front were written.
    pub(crate) fn written(&mut self, bytes: usize) {
        self.begun.advance(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.waiting.is_empty()
    }

    /// Frames dropped since the last call.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_wherever_the_reads_end() {
        let mut writer = FrameWriter::default();
        for payload in [&b"one"[..], b"", b"three"] {
            writer.push(payload).unwrap();
        }
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        while let Some(front) = writer.front() {
            reader.extend(&front[..1]);
            writer.written(1);
            frames.extend(reader.next().unwrap());
        }
        assert_eq!(frames, [&b"one"[..], b"", b"three"]);
        assert!(writer.is_empty());
    }

    #[test]
    fn a_frame_is_bounded() {
        let mut reader = FrameReader::default();
        reader.extend(b"GET / HTTP/1.1");
        assert_eq!(reader.next(), Err(Oversized { bytes: 0x4745_5420 }));
        let mut writer = FrameWriter::default();
        let bytes = limits::SUPPORT_FRAME_BYTES + 1;
        assert_eq!(writer.push(&vec![0; bytes]), Err(Oversized { bytes }));
        assert!(writer.is_empty());
    }

    #[test]
    fn a_frame_that_was_begun_is_finished_and_of_the_others_the_oldest_go() {
        let mut writer = FrameWriter::default();
        writer.push(&[0]).unwrap();
        writer.front();
        writer.written(2);
        for number in 1..=10 {
            writer.push(&[number]).unwrap();
        }
        assert_eq!(writer.take_dropped(), 2);
        assert_eq!(writer.front().unwrap(), &[0, 1, 0], "the rest of the first");
        writer.written(3);
        assert_eq!(writer.front().unwrap(), &[0, 0, 0, 1, 3]);
    }
}

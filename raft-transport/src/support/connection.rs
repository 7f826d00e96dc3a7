//! One non-blocking socket of the support link, with its frames.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::time::Instant;

use bytes::Bytes;
use holdfast_proto::v1;
use holdfast_types::limits;
use prost::Message;

use super::frame::{FrameReader, FrameWriter, Oversized};
use super::wire::Wire;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The far end closed it.
    #[error("closed by the other store")]
    Closed,
    /// The socket says so.
    #[error("{0}")]
    Socket(#[from] std::io::Error),
    /// What was read are no frames.
    #[error("{0}")]
    Oversized(#[from] Oversized),
    /// What was read cannot be opened, or the other store does not take our certificate.
    #[error("{0}")]
    Sealed(String),
}

/// What one turn of reading brought.
#[derive(Default, Debug)]
pub(crate) struct Turn {
    pub(crate) frames: Vec<Bytes>,
    /// There may be more to read: the turn ended, not the data.
    pub(crate) has_more: bool,
}

/// A socket and its frames. The socket is registered for readiness by the link.
pub(crate) struct Connection {
    pub(crate) wire: Wire,
    pub(crate) began: Instant,
    /// When the certificates that it stands on are about to expire; `None`: never.
    pub(crate) ends_at: Option<Instant>,
    reader: FrameReader,
    pub(crate) writer: FrameWriter,
}

impl Connection {
    pub(crate) fn new(wire: Wire, began: Instant, ends_at: Option<Instant>) -> Self {
        Self { wire, began, ends_at, reader: FrameReader::default(), writer: FrameWriter::default() }
    }

    /// Reads until nothing is there, or so many bytes have come and the turn is over. What came before an end of the stream is in an earlier turn, or lost.
    pub(crate) fn read(&mut self, most_bytes: usize) -> Result<Turn, Broken> {
        let mut turn = Turn::default();
        let mut chunk = [0; limits::SUPPORT_FRAME_BYTES];
        let mut read_bytes = 0;
        loop {
            if read_bytes >= most_bytes {
                turn.has_more = true;
                return Ok(turn);
            }
            let received = self.wire.receive(&mut chunk)?;
            read_bytes = read_bytes.saturating_add(received.cost);
            match received.bytes {
                None => return Ok(turn),
                Some(0) if turn.frames.is_empty() => return Err(Broken::Closed),
                Some(0) => {
                    // The frames first; the end is read again next turn.
                    turn.has_more = true;
                    return Ok(turn);
                }
                Some(bytes) => {
                    self.reader.extend(chunk.get(..bytes).unwrap_or_default());
                    while let Some(frame) = self.reader.next()? {
                        turn.frames.push(frame);
                    }
                }
            }
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        self.wire.flush(&mut self.writer)
    }

    /// All that was to be written is written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.writer.is_empty() && self.wire.is_flushed()
    }

    /// Queues a frame of the handshake and writes what the socket takes.
    pub(crate) fn say(&mut self, frame: &v1::LinkFrame) -> Result<(), Broken> {
        self.writer.push(&frame.encode_to_vec())?;
        self.flush()
    }
}

//! One non-blocking socket of the support link, with its frames.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use bytes::Bytes;
use holdfast_proto::v1;
use holdfast_types::limits;
use mio::net::TcpStream;
use prost::Message;

use super::frame::{FrameReader, FrameWriter, Oversized};

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
    pub(crate) stream: TcpStream,
    pub(crate) began: Instant,
    reader: FrameReader,
    pub(crate) writer: FrameWriter,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, began: Instant) -> Self {
        Self { stream, began, reader: FrameReader::default(), writer: FrameWriter::default() }
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
            match self.stream.read(&mut chunk) {
                Ok(0) if turn.frames.is_empty() => return Err(Broken::Closed),
                Ok(0) => {
                    // The frames first; the end is read again next turn.
                    turn.has_more = true;
                    return Ok(turn);
                }
                Ok(bytes) => {
                    read_bytes = read_bytes.saturating_add(bytes);
                    self.reader.extend(chunk.get(..bytes).unwrap_or_default());
                    while let Some(frame) = self.reader.next()? {
                        turn.frames.push(frame);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(turn),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        while let Some(front) = self.writer.front() {
            match self.stream.write(front) {
                Ok(0) => return Err(Broken::Closed),
                Ok(bytes) => self.writer.written(bytes),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Queues a frame of the handshake and writes what the socket takes.
    pub(crate) fn say(&mut self, frame: &v1::LinkFrame) -> Result<(), Broken> {
        self.writer.push(&frame.encode_to_vec())?;
        self.flush()
    }
}

//! The bytes of one support connection: those of its socket, or what TLS makes of them. The handshake is over: bytes are sealed and opened here,
//! and that is all.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::io::{ErrorKind, Read as _, Write as _};

use holdfast_trust::explain;
use holdfast_types::limits;
use mio::net::TcpStream;

use super::connection::Broken;
use super::frame::FrameWriter;

/// Plain, or with TLS.
pub(crate) enum Wire {
    Plain(TcpStream),
    Sealed(Box<Sealed>),
}

/// What one reading brought.
pub(crate) struct Received {
    /// Bytes of frames; none: there is nothing to read now.
    pub(crate) bytes: Option<usize>,
    /// Bytes that were read for them. Many small records make few bytes of frames, and cost as much as many.
    pub(crate) cost: usize,
}

impl Wire {
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Sealed(sealed) => &mut sealed.stream,
        }
    }

    /// Reads into `chunk`. `Some(0)` bytes: the other end has closed it.
    pub(crate) fn receive(&mut self, chunk: &mut [u8]) -> Result<Received, Broken> {
        match self {
            Self::Plain(stream) => {
                let bytes = unless_blocked(|| stream.read(chunk))?;
                Ok(Received { bytes, cost: bytes.unwrap_or_default() })
            }
            Self::Sealed(sealed) => sealed.receive(chunk),
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self, writer: &mut FrameWriter) -> Result<(), Broken> {
        match self {
            Self::Plain(stream) => {
                while let Some(front) = writer.front() {
                    match unless_unready(|| stream.write(front))? {
                        None => return Ok(()),
                        Some(0) => return Err(Broken::Closed),
                        Some(bytes) => writer.written(bytes),
                    }
                }
                Ok(())
            }
            Self::Sealed(sealed) => sealed.flush(writer),
        }
    }

    /// Nothing that was taken from the writer waits for the socket.
    pub(crate) fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Sealed(sealed) => !sealed.session.wants_write(),
        }
    }
}

/// A socket with TLS upon it.
///
/// - What is sealed cannot be taken back for something newer: nothing is sealed before all that was sealed before is written.
/// - At most [`limits::SUPPORT_MUTE_BYTES`] are read that do not become frames.
pub(crate) struct Sealed {
    stream: TcpStream,
    session: rustls::Connection,
    /// Read since something was opened.
    mute_bytes: usize,
}

impl Sealed {
    /// A connection whose handshake is over.
    pub(crate) fn new(stream: TcpStream, mut session: rustls::Connection) -> Self {
        session.set_buffer_limit(Some(limits::SUPPORT_SEALED_BYTES));
        Self { stream, session, mute_bytes: 0 }
    }

    fn receive(&mut self, chunk: &mut [u8]) -> Result<Received, Broken> {
        let mut cost = 0_usize;
        loop {
            match self.session.reader().read(chunk) {
                Ok(bytes) => {
                    self.mute_bytes = 0;
                    return Ok(Received { bytes: Some(bytes), cost: cost.max(bytes) });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The socket was closed, and the other end did not say that it would be: frames that are whole are whole nevertheless.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Received { bytes: Some(0), cost }),
                Err(error) => return Err(error.into()),
            }
            let Some(read) = unless_blocked(|| self.session.read_tls(&mut self.stream))? else {
                return Ok(Received { bytes: None, cost });
            };
            cost = cost.saturating_add(read);
            self.mute_bytes = self.mute_bytes.saturating_add(read);
            self.open()?;
            if self.mute_bytes > limits::SUPPORT_MUTE_BYTES {
                return Err(Broken::Sealed(format!("{} bytes came that say nothing", self.mute_bytes)));
            }
        }
    }

    fn open(&mut self) -> Result<(), Broken> {
        self.session.process_new_packets().map(drop).map_err(|error| {
            // The other end is told, if the socket takes it at once.
            let _ = self.session.write_tls(&mut self.stream);
            Broken::Sealed(explain(&error))
        })
    }

    fn flush(&mut self, writer: &mut FrameWriter) -> Result<(), Broken> {
        loop {
            while self.session.wants_write() {
                match unless_unready(|| self.session.write_tls(&mut self.stream))? {
                    None => return Ok(()),
                    Some(0) => return Err(Broken::Closed),
                    Some(_) => {}
                }
            }
            let Some(front) = writer.front() else { return Ok(()) };
            let sealed = self.session.writer().write(front)?;
            if sealed == 0 {
                return Ok(());
            }
            writer.written(sealed);
        }
    }
}

/// `None`: it would have to wait.
fn unless_blocked(mut call: impl FnMut() -> std::io::Result<usize>) -> std::io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The same; a socket that is not connected yet has to wait too.
fn unless_unready(call: impl FnMut() -> std::io::Result<usize>) -> std::io::Result<Option<usize>> {
    match unless_blocked(call) {
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(None),
        other => other,
    }
}

//! One handshake of TLS on a non-blocking socket, of either side.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::io::ErrorKind;
use std::time::{Instant, SystemTime};

use holdfast_edge::handshake::{EXPIRES_NOW, End, Failure, time_left};
use holdfast_trust::{Party, Trust, explain};
use holdfast_types::limits;
use mio::net::TcpStream;

use super::wire::Sealed;

/// Why a handshake led to nothing, and what there is to say of it.
pub(crate) type Failed = (Failure, String);

/// A connection whose other end has proved who it is.
pub(crate) struct Proved {
    pub(crate) sealed: Sealed,
    pub(crate) party: Party,
    /// When one of the certificates is about to expire.
    pub(crate) ends_at: Option<Instant>,
}

/// A handshake under way.
pub(crate) struct Proving {
    pub(crate) stream: TcpStream,
    session: rustls::Connection,
    /// Who this process was when it began.
    own: Party,
    pub(crate) began: Instant,
    came_bytes: usize,
}

/// Whether the socket took part.
enum Io {
    Moved,
    Blocked,
}

impl Proving {
    pub(crate) fn new(stream: TcpStream, session: rustls::Connection, own: Party, began: Instant) -> Self {
        Self { stream, session, own, began, came_bytes: 0 }
    }

    /// Goes on as far as the socket lets it. True: it is over. No turn reads more than a handshake has.
    pub(crate) fn go_on(&mut self) -> Result<bool, Failed> {
        if let Ok(Some(error)) = self.stream.take_error() {
            return Err((Failure::Gone, error.to_string()));
        }
        while self.session.is_handshaking() {
            if self.session.wants_write() {
                if let Io::Blocked = self.write()? {
                    return Ok(false);
                }
            } else if let Io::Blocked = self.read()? {
                return Ok(false);
            }
        }
        // What is left to be written follows with the first frame.
        self.write()?;
        Ok(true)
    }

    fn write(&mut self) -> Result<Io, Failed> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(0) => return Err(gone()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_unready(&error) => return Ok(Io::Blocked),
                Err(error) => return Err((Failure::Gone, error.to_string())),
            }
        }
        Ok(Io::Moved)
    }

    fn read(&mut self) -> Result<Io, Failed> {
        match self.session.read_tls(&mut self.stream) {
            Ok(0) => return Err(gone()),
            Ok(bytes) => self.came_bytes = self.came_bytes.saturating_add(bytes),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Io::Moved),
            Err(error) if is_unready(&error) => return Ok(Io::Blocked),
            Err(error) => return Err((Failure::Gone, error.to_string())),
        }
        if let Err(error) = self.session.process_new_packets() {
            // The other end is told, if the socket takes it at once.
            let _ = self.session.write_tls(&mut self.stream);
            return Err((Failure::of(&error), explain(&error)));
        }
        if self.came_bytes > limits::HANDSHAKE_READ_BYTES {
            let says = format!("{} bytes came before the handshake was over", self.came_bytes);
            return Err((Failure::TooLong, says));
        }
        Ok(Io::Moved)
    }

    /// It is over: what it proved.
    pub(crate) fn prove(self, end: End, trust: &Trust, now: Instant) -> Result<Proved, Failed> {
        let party = Party::at_other_end(&self.session).map_err(|why| (Failure::Unfit, why.to_string()))?;
        let party = party.ok_or_else(|| (Failure::NoCertificate, "no certificate was shown".to_owned()))?;
        // It may have happened since the certificate was looked at.
        if trust.is_distrusted(&party.principal) {
            return Err((Failure::Distrusted, format!("{} is distrusted", party.principal)));
        }
        let left = time_left(&self.own, Some(&party), end, SystemTime::now());
        if left.is_zero() {
            return Err((Failure::Expired, EXPIRES_NOW.to_owned()));
        }
        Ok(Proved { sealed: Sealed::new(self.stream, self.session), party, ends_at: now.checked_add(left) })
    }
}

fn gone() -> Failed {
    (Failure::Gone, "closed by the other end before the handshake was over".to_owned())
}

/// There is nothing to read, no room to write, or no connection yet.
fn is_unready(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

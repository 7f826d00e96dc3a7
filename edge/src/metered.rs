//! The body of a request: every message that begins to arrive is charged, and has to arrive in time.
//!
//! A gRPC message says its length before its first byte (5 bytes: a flag, then the length), and its reader makes room for all of it at once;
//! so all of it is charged at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use holdfast_proto::convert::status::to_status;
use holdfast_types::{Rejected, limits};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use crate::budget::Charge;
use crate::ledger::Ledger;

/// Bytes before each message.
const HEADER_BYTES: usize = 5;

/// What a request's body is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// It may be silent between messages for as long as it likes, and waits when there is no room for a message; others are refused then.
    pub(crate) is_stream: bool,
    /// What arrived is held until the answer is taken; else until it was handed on.
    pub(crate) keeps: bool,
    /// What may wait unread while the body waits for room.
    pub(crate) window_bytes: usize,
}

/// - `arriving` is charged from a message's header to its last byte.
/// - `waiting` is there exactly while a frame waits for room.
pub(crate) struct Metered {
    inner: Body,
    ledger: Arc<Ledger>,
    terms: Terms,
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    missing_bytes: usize,
    arriving: Option<Charge>,
    due: Option<Pin<Box<Sleep>>>,
    waiting: Option<Waiting>,
    is_over: bool,
}

struct Waiting {
    frame: Bytes,
    /// How much of it has been looked at.
    at: usize,
    retry: Pin<Box<Sleep>>,
    /// What the sender may send meanwhile.
    window: Charge,
}

fn timer(after: Duration) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep(after))
}

fn busy() -> Status {
    to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER })
}

impl Metered {
    pub(crate) fn new(inner: Body, ledger: Arc<Ledger>, terms: Terms) -> Self {
        Self {
            inner,
            ledger,
            terms,
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            missing_bytes: 0,
            arriving: None,
            due: (!terms.is_stream).then(|| timer(limits::MESSAGE_WITHIN)),
            waiting: None,
            is_over: false,
        }
    }

    /// Looks at a frame from `at` on; returns where there is no room for what comes.
    fn look_at(&mut self, frame: &Bytes, mut at: usize) -> Option<usize> {
        while at < frame.len() {
            if self.missing_bytes == 0 && self.header_bytes < HEADER_BYTES {
                let part = (HEADER_BYTES - self.header_bytes).min(frame.len() - at);
                self.header[self.header_bytes..self.header_bytes + part].copy_from_slice(&frame[at..at + part]);
                self.header_bytes += part;
                at += part;
                self.due.get_or_insert_with(|| timer(limits::MESSAGE_WITHIN));
            }
            if self.header_bytes == HEADER_BYTES && !self.begin_message() {
                return Some(at);
            }
            let part = self.missing_bytes.min(frame.len() - at);
            self.missing_bytes -= part;
            at += part;
            if self.missing_bytes == 0
                && let Some(message) = self.arriving.take()
            {
                self.end_message(message);
            }
        }
        None
    }

    /// The header is complete. False: there is no room for its message.
    fn begin_message(&mut self) -> bool {
        let length = (&self.header[1..]).get_u32() as usize;
        // A longer one is refused by the service that reads it, before it makes room.
        let Some(charge) = Charge::take(self.ledger.account(), length.min(limits::MAX_MESSAGE_BYTES)) else {
            return false;
        };
        (self.arriving, self.missing_bytes, self.header_bytes) = (Some(charge), length, 0);
        true
    }

    fn end_message(&mut self, message: Charge) {
        if self.terms.keeps {
            self.ledger.receive(message);
        }
        if self.terms.is_stream {
            self.due = None;
        }
    }

    fn wait(&mut self, frame: Bytes, at: usize) -> Result<(), Status> {
        let window = match self.waiting.take() {
            Some(waiting) => Some(waiting.window),
            None => Charge::take(self.ledger.account(), self.terms.window_bytes),
        };
        let window = window.filter(|_| self.terms.is_stream).ok_or_else(busy)?;
        self.waiting = Some(Waiting { frame, at, retry: timer(limits::BUSY_RETRY_AFTER), window });
        Ok(())
    }

    /// Hands a frame on, once there is room for what it begins.
    fn pass(&mut self, frame: Bytes, at: usize) -> Result<Option<Bytes>, Status> {
        match self.look_at(&frame, at) {
            None => {
                self.waiting = None;
                Ok(Some(frame))
            }
            Some(at) => self.wait(frame, at).map(|()| None),
        }
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let me = &mut *self;
        if me.is_over {
            return Poll::Ready(None);
        }
        if me.due.as_mut().is_some_and(|due| due.as_mut().poll(cx).is_ready()) {
            me.is_over = true;
            let within = limits::MESSAGE_WITHIN;
            return Poll::Ready(Some(Err(Status::deadline_exceeded(format!(
                "no whole message came within {within:?}"
            )))));
        }
        loop {
            let (frame, at) = if let Some(waiting) = me.waiting.as_mut() {
                std::task::ready!(waiting.retry.as_mut().poll(cx));
                (waiting.frame.clone(), waiting.at)
            } else {
                match std::task::ready!(Pin::new(&mut me.inner).poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => (data, 0),
                        Err(other) => return Poll::Ready(Some(Ok(other))),
                    },
                    Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                    None => {
                        me.is_over = true;
                        me.due = None;
                        return Poll::Ready(None);
                    }
                }
            };
            match me.pass(frame, at) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
                // It waits: the timer is to be asked.
                Ok(None) => {}
                Err(status) => {
                    me.is_over = true;
                    return Poll::Ready(Some(Err(status)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && (self.is_over || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

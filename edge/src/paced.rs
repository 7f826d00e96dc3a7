//! The body of a response: what it holds is counted until it is taken, and let go when it is not taken in time.
//!
//! It goes out in slices: what is handed to HTTP/2 cannot be taken back, so that is a slice at most.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use holdfast_types::limits;
use http_body::{Body as HttpBody, Frame};
use parking_lot::Mutex;
use tonic::Status;
use tonic::body::Body;

use crate::budget::Charge;
use crate::connection::{Conversation, OpenRequest, Watched};
use crate::ledger::Ledger;

/// In a response's extensions: it is let go if it is not taken by then, however much was taken before.
#[derive(Clone, Copy, Debug)]
pub struct TakenBy(pub Instant);

/// What a response still holds; `None`: it was let go.
pub(crate) struct Held {
    inner: Option<Content>,
    ledger: Arc<Ledger>,
    until: Option<Instant>,
    /// The connection is without it from here on, whether its client has heard of that or not.
    request: Option<OpenRequest>,
}

/// The service's body, and what of its newest frame has not gone out.
pub(crate) struct Content {
    body: Body,
    rest: Bytes,
}

impl Held {
    /// Returns what is to be dropped, if its time is over.
    pub(crate) fn let_go(&mut self, now: Instant) -> Option<Content> {
        if !self.ledger.is_stalled(now) && self.until.is_none_or(|until| now < until) {
            return None;
        }
        self.ledger.close();
        self.request = None;
        self.inner.take()
    }
}

/// A response on its way.
pub(crate) struct Paced {
    held: Arc<Mutex<Held>>,
    _watched: Watched,
    /// What an open request takes beyond its messages.
    _charge: Charge,
    _conversation: Option<Conversation>,
}

impl Paced {
    pub(crate) fn new(body: Body, ledger: Arc<Ledger>, until: Option<TakenBy>, request: Open) -> Self {
        let inner = Some(Content { body, rest: Bytes::new() });
        ledger.begin_offering();
        let until = until.map(|until| until.0);
        let held = Arc::new(Mutex::new(Held { inner, ledger, until, request: Some(request.open) }));
        let watched = request.connection.watch(&held);
        Self { held, _watched: watched, _charge: request.charge, _conversation: request.conversation }
    }
}

/// What a request holds while it is open.
pub(crate) struct Open {
    pub(crate) connection: Arc<crate::connection::Connection>,
    pub(crate) open: OpenRequest,
    pub(crate) charge: Charge,
    pub(crate) conversation: Option<Conversation>,
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut held = self.held.lock();
        let ledger = Arc::clone(&held.ledger);
        let Some(content) = held.inner.as_mut() else {
            return Poll::Ready(Some(Err(Status::deadline_exceeded("the answer was not taken in time"))));
        };
        while content.rest.is_empty() {
            let Poll::Ready(next) = Pin::new(&mut content.body).poll_frame(cx) else {
                ledger.note_awaited();
                return Poll::Pending;
            };
            match next {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => content.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
        let slice = content.rest.split_to(content.rest.len().min(limits::ANSWER_SLICE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(ledger.frame(slice)))))
    }

    fn is_end_stream(&self) -> bool {
        let held = self.held.lock();
        held.inner.as_ref().is_some_and(|content| content.rest.is_empty() && content.body.is_end_stream())
    }
}

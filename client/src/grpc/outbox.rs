//! What waits to be sent to one store. The stream takes all of it as one message whenever the connection has room, so calls are
//! batched exactly as much as they queue.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use holdfast_proto::v1;
use holdfast_types::limits;
use tokio_stream::Stream;

#[derive(Default)]
struct Waiting {
    calls: VecDeque<(v1::StreamCall, usize)>,
    cancel: Vec<u64>,
    hello: Option<v1::StreamHello>,
    /// Counts the streams that were opened; only the newest one takes from here.
    stream: u64,
    /// Nothing is added any more: the stream ends when it has taken what waits.
    is_finished: bool,
    waker: Option<Waker>,
}

/// What waits to be sent to one store. Bounded by the calls of the client.
#[derive(Default)]
pub(super) struct Outbox(Mutex<Waiting>);

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held; if something did, what waits is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call without waking the stream; [`Outbox::flush`] does that once for many.
    pub(super) fn push(&self, call: v1::StreamCall, size_bytes: usize) {
        self.lock().calls.push_back((call, size_bytes));
    }

    /// Adds a cancellation; dropped when too many wait, because a store needs none.
    pub(super) fn cancel(&self, call_id: u64) {
        let mut waiting = self.lock();
        if waiting.cancel.len() < limits::CLIENT_MAX_CALLS {
            waiting.cancel.push(call_id);
        }
    }

    /// Wakes the stream.
    pub(super) fn flush(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Lets the stream end when it has taken what waits; the store answers its open calls first.
    pub(super) fn finish(&self) {
        self.lock().is_finished = true;
        self.flush();
    }

    /// Takes out the calls that no stream has taken: nothing was done about them.
    pub(super) fn take_unsent(&self) -> Vec<u64> {
        let mut waiting = self.lock();
        waiting.cancel.clear();
        waiting.calls.drain(..).map(|(call, _)| call.call_id).collect()
    }

    /// The messages of a new stream, which begins with `hello`. Streams opened before end.
    pub(super) fn open(self: &Arc<Self>, hello: v1::StreamHello) -> Messages {
        let mut waiting = self.lock();
        waiting.stream = waiting.stream.saturating_add(1);
        waiting.hello = Some(hello);
        Messages { outbox: Arc::clone(self), stream: waiting.stream }
    }
}

/// The client's half of one stream.
pub(super) struct Messages {
    outbox: Arc<Outbox>,
    stream: u64,
}

impl Stream for Messages {
    type Item = v1::StreamRequest;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<v1::StreamRequest>> {
        let mut waiting = self.outbox.lock();
        if waiting.stream != self.stream {
            return Poll::Ready(None);
        }
        match waiting.next_message() {
            Some(message) => Poll::Ready(Some(message)),
            None if waiting.is_finished => Poll::Ready(None),
            None => {
                waiting.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Waiting {
    fn next_message(&mut self) -> Option<v1::StreamRequest> {
        if self.hello.is_none() && self.calls.is_empty() && self.cancel.is_empty() {
            return None;
        }
        let mut calls = Vec::with_capacity(self.calls.len().min(limits::CLIENT_MESSAGE_CALLS));
        let mut size = 0_usize;
        while calls.len() < limits::CLIENT_MESSAGE_CALLS && size < limits::CLIENT_MESSAGE_BYTES {
            let Some((call, call_size)) = self.calls.pop_front() else { break };
            size = size.saturating_add(call_size);
            calls.push(call);
        }
        Some(v1::StreamRequest { hello: self.hello.take(), calls, cancel: std::mem::take(&mut self.cancel) })
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    fn call(call_id: u64) -> v1::StreamCall {
        v1::StreamCall { call_id, timeout_ms: 0, request: None }
    }

    #[tokio::test]
    async fn what_queues_goes_out_as_one_message() {
        let outbox = Arc::new(Outbox::default());
        let mut messages = outbox.open(v1::StreamHello::default());
        (1..=3).for_each(|id| outbox.push(call(id), 10));
        outbox.cancel(9);
        let message = messages.next().await.unwrap();
        assert!(message.hello.is_some());
        assert_eq!((message.calls.len(), message.cancel), (3, vec![9]));
        outbox.push(call(4), limits::CLIENT_MESSAGE_BYTES);
        outbox.push(call(5), 10);
        let message = messages.next().await.unwrap();
        assert_eq!((message.calls.len(), message.hello), (1, None), "the message is full");
        assert_eq!(outbox.take_unsent(), [5]);
    }

    #[tokio::test]
    async fn what_waits_goes_out_before_a_finished_stream_ends() {
        let outbox = Arc::new(Outbox::default());
        let mut messages = outbox.open(v1::StreamHello::default());
        outbox.push(call(1), 10);
        outbox.finish();
        assert_eq!(messages.next().await.unwrap().calls.len(), 1);
        assert_eq!(messages.next().await, None);
    }

    #[tokio::test]
    async fn a_new_stream_ends_the_old_one() {
        let outbox = Arc::new(Outbox::default());
        let mut old = outbox.open(v1::StreamHello::default());
        let mut new = outbox.open(v1::StreamHello::default());
        outbox.push(call(1), 10);
        assert_eq!(old.next().await, None);
        assert_eq!(new.next().await.unwrap().calls.len(), 1);
    }
}

//! The messages that wait for one stream: bounded, in order, forgotten when the connection is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use holdfast_types::limits;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::class::Cause;

/// A message that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Queued {
    pub(crate) cause: Cause,
    pub(crate) payload: Bytes,
}

impl Queued {
    fn cost(&self) -> usize {
        self.payload.len() + limits::QUEUED_MESSAGE_OVERHEAD_BYTES
    }
}

/// There is no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

/// One of the connections that a queue has fed; only the latest is fed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Connection(u64);

/// - `bytes` is the sum of the costs of `messages`, and at most `limit` unless a single message is larger.
/// - Nothing leaves before the connection was welcomed; what leaves, leaves in order and once.
/// - When a connection or an attempt at one fails, everything queued goes: whoever sent it sends again, and a message is never
///   older than one attempt.
#[derive(Debug)]
pub(crate) struct Queue {
    limit: usize,
    state: Mutex<State>,
    room: Notify,
    dropped_full: AtomicU64,
    dropped_lost: AtomicU64,
}

#[derive(Default, Debug)]
struct State {
    messages: VecDeque<Queued>,
    bytes: usize,
    connection: Connection,
    is_welcome: bool,
    waker: Option<Waker>,
}

impl State {
    fn next_connection(&mut self) {
        self.connection = Connection(self.connection.0 + 1);
        self.is_welcome = false;
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::default(),
            room: Notify::new(),
            dropped_full: AtomicU64::new(0),
            dropped_lost: AtomicU64::new(0),
        })
    }

    /// Queues a message, or counts and drops it. An empty queue takes any message, however large.
    pub(crate) fn push(&self, message: Queued) -> Result<(), Full> {
        let pushed = self.try_push(message);
        if pushed.is_err() {
            self.dropped_full.fetch_add(1, Ordering::Relaxed);
        }
        pushed
    }

    /// Queues a message when there is room; ready at once when there is.
    pub(crate) async fn push_when_room(&self, message: Queued) {
        let mut room = std::pin::pin!(self.room.notified());
        loop {
            room.as_mut().enable();
            if self.try_push(message.clone()).is_ok() {
                return;
            }
            room.as_mut().await;
            room.set(self.room.notified());
        }
    }

    fn try_push(&self, message: Queued) -> Result<(), Full> {
        let mut state = self.state.lock();
        let bytes = state.bytes + message.cost();
        if bytes > self.limit && !state.messages.is_empty() {
            return Err(Full);
        }
        state.bytes = bytes;
        state.messages.push_back(message);
        let waker = state.waker.take();
        drop(state);
        wake(waker);
        Ok(())
    }

    /// Bytes that still fit.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.state.lock().bytes)
    }

    /// Messages dropped for want of room, and with a lost connection.
    pub(crate) fn dropped(&self) -> (u64, u64) {
        (self.dropped_full.load(Ordering::Relaxed), self.dropped_lost.load(Ordering::Relaxed))
    }

    /// A new connection is tried; the one before gets nothing any more.
    pub(crate) fn begin(&self) -> Connection {
        let mut state = self.state.lock();
        state.next_connection();
        let (connection, waker) = (state.connection, state.waker.take());
        drop(state);
        wake(waker);
        connection
    }

    /// The connection was welcomed: messages may leave.
    pub(crate) fn open(&self, connection: Connection) {
        let mut state = self.state.lock();
        if state.connection != connection {
            return;
        }
        state.is_welcome = true;
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    /// The connection, or the attempt at one, has failed. Returns how many messages went with it.
    pub(crate) fn fail(&self) -> usize {
        let mut state = self.state.lock();
        state.next_connection();
        state.bytes = 0;
        let lost = std::mem::take(&mut state.messages);
        // Whoever feeds the old connection ends its half of the stream now, not when the connection is torn down.
        let waker = state.waker.take();
        drop(state);
        wake(waker);
        self.dropped_lost.fetch_add(lost.len() as u64, Ordering::Relaxed);
        self.room.notify_waiters();
        lost.len()
    }

    /// Ready once something is queued.
    pub(crate) fn poll_waiting(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.messages.is_empty() {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Everything queued up to `limits::STREAM_BATCH_BYTES`, at least one message; `None` once the connection is not the latest.
    pub(crate) fn poll_batch(&self, context: &Context<'_>, connection: Connection) -> Poll<Option<Vec<Queued>>> {
        let mut state = self.state.lock();
        if state.connection != connection {
            return Poll::Ready(None);
        }
        if !state.is_welcome || state.messages.is_empty() {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let (mut count, mut bytes) = (0, 0);
        for message in &state.messages {
            if count > 0 && bytes + message.cost() > limits::STREAM_BATCH_BYTES {
                break;
            }
            count += 1;
            bytes += message.cost();
        }
        state.bytes -= bytes;
        let batch = state.messages.drain(..count).collect();
        drop(state);
        self.room.notify_waiters();
        Poll::Ready(Some(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Queued {
        Queued { cause: Cause::Append, payload: vec![1; length].into() }
    }

    fn poll(queue: &Queue, connection: Connection) -> Poll<Option<usize>> {
        let context = Context::from_waker(Waker::noop());
        queue.poll_batch(&context, connection).map(|batch| batch.map(|batch| batch.len()))
    }

    #[test]
    fn a_full_queue_drops_the_newest_and_counts_it() {
        let queue = Queue::new(1_000);
        assert_eq!(queue.push(message(5_000)), Ok(()), "an empty queue takes anything");
        assert_eq!(queue.push(message(0)), Err(Full));
        let connection = queue.begin();
        queue.open(connection);
        assert_eq!(poll(&queue, connection), Poll::Ready(Some(1)));
        for _ in 0..3 {
            assert_eq!(queue.push(message(250)), Ok(()));
        }
        assert_eq!(queue.push(message(250)), Err(Full));
        assert_eq!(queue.dropped(), (2, 0));
        assert_eq!(queue.room(), 1_000 - 3 * (250 + limits::QUEUED_MESSAGE_OVERHEAD_BYTES));
    }

    #[test]
    fn a_batch_ends_at_the_byte_limit() {
        let queue = Queue::new(10 << 20);
        let half = limits::STREAM_BATCH_BYTES / 2;
        for length in [half, half, 10, limits::STREAM_BATCH_BYTES * 2, 10] {
            queue.push(message(length)).unwrap();
        }
        let connection = queue.begin();
        queue.open(connection);
        let batches: Vec<_> = std::iter::from_fn(|| match poll(&queue, connection) {
            Poll::Ready(batch) => batch,
            Poll::Pending => None,
        })
        .collect();
        assert_eq!(batches, [1, 2, 1, 1]);
        assert_eq!(queue.room(), 10 << 20);
    }

    #[test]
    fn nothing_leaves_before_the_welcome_or_over_an_old_connection() {
        let queue = Queue::new(1_000);
        queue.push(message(1)).unwrap();
        let old = queue.begin();
        assert_eq!(poll(&queue, old), Poll::Pending);
        let new = queue.begin();
        queue.open(old);
        assert_eq!(poll(&queue, old), Poll::Ready(None));
        assert_eq!(poll(&queue, new), Poll::Pending);
        queue.open(new);
        assert_eq!(poll(&queue, new), Poll::Ready(Some(1)));
    }

    #[test]
    fn what_was_queued_goes_with_the_connection() {
        let queue = Queue::new(1_000);
        queue.push(message(1)).unwrap();
        let connection = queue.begin();
        queue.open(connection);
        assert_eq!(queue.fail(), 1);
        assert_eq!(poll(&queue, connection), Poll::Ready(None));
        assert_eq!((queue.dropped(), queue.room()), ((0, 1), 1_000));
    }
}

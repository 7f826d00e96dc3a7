//! The body of a request: every message that begins to arrive is charged, and has to arrive in time.
//!
//! A gRPC message says its length before its first byte (5 bytes: a flag, then the length). Its beginning is charged then, and all the rest
//! once the beginning has come: a mere claim costs its author more than it costs the store, and of many messages that arrive side by side
//! those that were charged can always come to their end. What there is no room for waits, at the sender beyond a window of it; what came
//! before it is handed on. A reader of a stream keeps its largest buffer for as long as the stream lives, so that is charged for as long.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::convert::status::to_status;
use holdfast_types::{Rejected, limits};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use crate::budget::{Charge, Window};
use crate::header::{self, HEADER_BYTES};
use crate::ledger::Ledger;

/// What a request's body is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// It may be silent between messages for as long as it likes.
    pub(crate) is_stream: bool,
    /// What arrived is held until the answer is taken; else until it was handed on.
    pub(crate) keeps: bool,
    /// What may wait unread while the body waits for room.
    pub(crate) window_bytes: usize,
    /// The longest first message, and the longest one of all.
    pub(crate) first_bytes: usize,
    pub(crate) most_bytes: usize,
}

/// - `arriving` is there from a message's header to its last byte. It lacks `uncharged_bytes` of what `missing_bytes` are still to come.
/// - `waiting` is there exactly while a frame waits for room. None of it was handed on.
pub(crate) struct Metered {
    inner: Body,
    ledger: Arc<Ledger>,
    terms: Terms,
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    missing_bytes: usize,
    uncharged_bytes: usize,
    arriving: Option<Charge>,
    /// What the reader of a stream keeps for its next message.
    buffer: Charge,
    due: Option<Pin<Box<Sleep>>>,
    waiting: Option<Waiting>,
    is_first: bool,
    is_over: bool,
}

struct Waiting {
    frame: Bytes,
    retry: Pin<Box<Sleep>>,
    /// What the sender may send meanwhile.
    window: Option<Window>,
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
            terms,
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            missing_bytes: 0,
            uncharged_bytes: 0,
            arriving: None,
            buffer: Charge::none(ledger.account()),
            due: (!terms.is_stream).then(|| timer(limits::MESSAGE_WITHIN)),
            waiting: None,
            is_first: true,
            is_over: false,
            ledger,
        }
    }

    /// Looks at a frame, and returns how much of it may be handed on: what is behind that has no room.
    fn look_at(&mut self, frame: &[u8]) -> Result<usize, Status> {
        let mut at = 0;
        while at < frame.len() {
            if self.arriving.is_none() {
                let before = self.header_bytes;
                let part = (HEADER_BYTES - before).min(frame.len() - at);
                self.header[before..before + part].copy_from_slice(&frame[at..at + part]);
                self.header_bytes += part;
                self.due.get_or_insert_with(|| timer(limits::MESSAGE_WITHIN));
                if self.header_bytes == HEADER_BYTES && !self.begin_message()? {
                    // Its reader must not see the header either: it would make room for the message.
                    self.header_bytes = before;
                    return Ok(at);
                }
                at += part;
            } else {
                let granted = self.missing_bytes - self.uncharged_bytes;
                if granted == 0 && !self.charge_rest() {
                    return Ok(at);
                }
                let part = (self.missing_bytes - self.uncharged_bytes).min(frame.len() - at);
                self.missing_bytes -= part;
                at += part;
            }
            if self.missing_bytes == 0
                && let Some(message) = self.arriving.take()
            {
                self.end_message(message);
            }
        }
        Ok(at)
    }

    /// The header is complete. False: there is no room for the beginning of its message.
    fn begin_message(&mut self) -> Result<bool, Status> {
        let most = if self.is_first { self.terms.first_bytes } else { self.terms.most_bytes };
        let length = header::length(&self.header, most)?;
        let beginning = length.min(limits::MESSAGE_STEP_BYTES);
        let Some(charge) = self.ledger.charge(beginning) else { return Ok(false) };
        (self.arriving, self.missing_bytes, self.uncharged_bytes) = (Some(charge), length, length - beginning);
        (self.header_bytes, self.is_first) = (0, false);
        Ok(true)
    }

    /// The beginning of the message has come. False: there is no room for the rest.
    fn charge_rest(&mut self) -> bool {
        let is_taken = self.arriving.as_mut().is_some_and(|message| message.grow(self.uncharged_bytes));
        if is_taken {
            self.uncharged_bytes = 0;
        }
        is_taken
    }

    fn end_message(&mut self, message: Charge) {
        self.ledger.account().note_message(message.bytes());
        if self.terms.is_stream {
            self.due = None;
        }
        if self.terms.keeps {
            if self.terms.is_stream {
                // It is there by now, whether there is room for it or not.
                self.buffer.grow_anyway_to(message.bytes());
            }
            self.ledger.receive(message);
        }
    }

    /// What of a frame may be handed on; the rest waits.
    fn pass(&mut self, mut frame: Bytes) -> Result<Option<Bytes>, Status> {
        let waited = self.waiting.take();
        let ready = frame.split_to(self.look_at(&frame)?);
        if !frame.is_empty() {
            let window = waited.and_then(|waiting| waiting.window);
            self.waiting = Some(Waiting { frame, retry: timer(limits::BUSY_RETRY_AFTER), window });
        }
        Ok((!ready.is_empty()).then_some(ready))
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        self.due.as_mut().is_some_and(|due| due.as_mut().poll(cx).is_ready())
    }

    fn late(&self) -> Status {
        if self.waiting.is_some() {
            return busy();
        }
        let within = limits::MESSAGE_WITHIN;
        Status::deadline_exceeded(format!("no whole message came within {within:?}"))
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
        if me.is_late(cx) {
            me.is_over = true;
            return Poll::Ready(Some(Err(me.late())));
        }
        loop {
            let frame = if let Some(waiting) = me.waiting.as_mut() {
                if waiting.window.is_none() {
                    waiting.window = me.ledger.window(me.terms.window_bytes);
                }
                if waiting.window.is_none() {
                    me.is_over = true;
                    return Poll::Ready(Some(Err(busy())));
                }
                std::task::ready!(waiting.retry.as_mut().poll(cx));
                waiting.frame.clone()
            } else {
                match std::task::ready!(Pin::new(&mut me.inner).poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => data,
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
            match me.pass(frame) {
                Ok(Some(ready)) => return Poll::Ready(Some(Ok(Frame::data(ready)))),
                // All of it waits, and the timer is to be asked; or it was empty.
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures::FutureExt as _;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::sync::mpsc;
    use tonic::Code;

    use super::*;
    use crate::budget::{Account, Budget};

    const KIB: usize = 1 << 10;
    const STREAM: Terms =
        Terms { is_stream: true, keeps: true, window_bytes: KIB, first_bytes: 8 << 20, most_bytes: 8 << 20 };
    const UNARY: Terms = Terms { is_stream: false, ..STREAM };

    /// The header of a message of this length, and so much of it.
    fn message(length: usize, part: usize) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES + part];
        bytes[1..HEADER_BYTES].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        bytes
    }

    struct Request {
        frames: mpsc::UnboundedSender<Bytes>,
        body: Metered,
        account: Arc<Account>,
        ledger: Arc<Ledger>,
    }

    impl Request {
        /// On a port with so many bytes.
        fn new(max_bytes: usize, terms: Terms) -> Self {
            let account = Account::new(Budget::new(max_bytes), IpAddr::from([127, 0, 0, 1]));
            Self::of(&account, terms)
        }

        fn of(account: &Arc<Account>, terms: Terms) -> Self {
            let (frames, mut received) = mpsc::unbounded_channel();
            let stream = futures::stream::poll_fn(move |cx| received.poll_recv(cx));
            let stream = futures::StreamExt::map(stream, |frame| Ok::<_, Status>(Frame::data(frame)));
            let ledger = Ledger::new(account);
            let body = Metered::new(Body::new(StreamBody::new(stream)), Arc::clone(&ledger), terms);
            Self { frames, body, account: Arc::clone(account), ledger }
        }

        fn send(&self, bytes: impl Into<Bytes>) {
            self.frames.send(bytes.into()).unwrap();
        }

        /// What is handed on at once; `None`: it waits.
        fn now(&mut self) -> Option<Result<Bytes, Code>> {
            // The runtime makes who asks very often wait, whatever there is.
            let frame = tokio::task::unconstrained(self.body.frame()).now_or_never()?.expect("the body has not ended");
            Some(frame.map(|frame| frame.into_data().unwrap()).map_err(|status| status.code()))
        }

        async fn next(&mut self) -> Result<Bytes, Code> {
            let frame = self.body.frame().await.expect("the body has not ended");
            frame.map(|frame| frame.into_data().unwrap()).map_err(|status| status.code())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_is_handed_on_and_a_header_without_room_is_not() {
        let mut request = Request::new(1_000 * KIB, STREAM);
        let first = message(60 * KIB, 60 * KIB);
        // Together with the first one there is no room for the second.
        let mut both = first.clone();
        both.extend(message(40 * KIB, 0));
        let filled = request.ledger.charge(100 * KIB).unwrap();
        request.send(both);
        assert_eq!(request.now().unwrap().unwrap().len(), first.len(), "the first message is there");
        assert!(request.now().is_none(), "the second waits, header and all");
        tokio::time::sleep(limits::BUSY_RETRY_AFTER * 3).await;
        assert!(request.now().is_none(), "asking again lets nothing pass that is not charged");
        let before = request.account.held_bytes();
        drop((filled, request.ledger.take_received()));
        assert_eq!(request.next().await.unwrap().len(), HEADER_BYTES);
        assert_eq!(request.account.held_bytes(), before - 160 * KIB + 40 * KIB);
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_in_pieces_is_one() {
        let mut request = Request::new(1_000 * KIB, STREAM);
        let filled = request.ledger.charge(190 * KIB).unwrap();
        let bytes = message(40 * KIB, 40 * KIB);
        request.send(bytes[..3].to_vec());
        assert_eq!(request.now().unwrap().unwrap().len(), 3);
        request.send(bytes[3..].to_vec());
        assert!(request.now().is_none());
        drop(filled);
        assert_eq!(request.next().await.unwrap(), bytes[3..]);
        assert_eq!(request.ledger.take_received().bytes(), 40 * KIB);
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_costs_a_step_until_that_has_come() {
        let mut request = Request::new(100 << 20, STREAM);
        let length = 8 << 20;
        request.send(message(length, 0));
        assert_eq!(request.now().unwrap().unwrap().len(), HEADER_BYTES);
        assert_eq!(request.account.held_bytes(), limits::MESSAGE_STEP_BYTES);
        request.send(vec![0; limits::MESSAGE_STEP_BYTES]);
        assert!(request.now().is_some());
        assert_eq!(request.account.held_bytes(), limits::MESSAGE_STEP_BYTES);
        request.send(vec![0; 1]);
        assert!(request.now().is_some());
        assert_eq!(request.account.held_bytes(), length);
    }

    #[tokio::test(start_paused = true)]
    async fn the_buffer_of_a_stream_counts_for_as_long_as_the_stream() {
        for (terms, kept) in [(STREAM, 90 * KIB), (UNARY, 0), (Terms { keeps: false, ..STREAM }, 0)] {
            let mut request = Request::new(10 << 20, terms);
            for length in [90 * KIB, 10 * KIB] {
                request.send(message(length, length));
                request.next().await.unwrap();
            }
            drop(request.ledger.take_received());
            assert_eq!(request.account.held_bytes(), kept, "{terms:?}");
            drop(request.body);
            assert_eq!(request.account.held_bytes(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_gets_its_turn_and_is_refused_as_busy_when_its_time_is_over() {
        let account = Account::new(Budget::new(6 << 20), IpAddr::from([127, 0, 0, 1]));
        let mut first = Request::of(&account, UNARY);
        let mut second = Request::of(&account, UNARY);
        let bytes = message(1 << 20, 1 << 20);
        first.send(bytes.clone());
        assert_eq!(first.now().unwrap().unwrap().len(), bytes.len());
        second.send(bytes.clone());
        let ready = second.now().unwrap().unwrap().len();
        assert_eq!(ready, HEADER_BYTES + limits::MESSAGE_STEP_BYTES, "the rest has no room beside the first");
        assert!(second.now().is_none());
        let mut third = Request::of(&account, UNARY);
        third.send(bytes.clone());
        assert!(third.now().is_some() && third.now().is_none());
        // The first is answered.
        drop(first.ledger.take_received());
        assert_eq!(second.next().await.unwrap().len(), bytes.len() - ready);
        assert_eq!(third.next().await, Err(Code::ResourceExhausted), "nobody made room for it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_too_long_ends_the_body_before_anybody_makes_room_for_it() {
        let terms = Terms { first_bytes: KIB, most_bytes: 2 * KIB, ..STREAM };
        let mut request = Request::new(1_000 * KIB, terms);
        request.send(message(KIB, KIB));
        assert!(request.next().await.is_ok());
        request.send(message(2 * KIB, 2 * KIB));
        assert!(request.next().await.is_ok());
        request.send(message(2 * KIB + 1, 0));
        assert_eq!(request.next().await, Err(Code::OutOfRange));
        let mut request = Request::new(1_000 * KIB, terms);
        request.send(message(KIB + 1, 0));
        assert_eq!(request.next().await, Err(Code::OutOfRange));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_in_drops_is_given_up() {
        let mut request = Request::new(1_000 * KIB, STREAM);
        request.send(message(KIB, 1));
        assert!(request.next().await.is_ok());
        assert_eq!(request.next().await, Err(Code::DeadlineExceeded));
    }

    /// Whatever comes, and however it is cut: all of it is handed on, up to the first header of a message that is too long.
    #[tokio::test(start_paused = true)]
    async fn any_bytes_in_any_pieces_are_handed_on_or_refused_for_a_length() {
        let terms = Terms { first_bytes: 300, most_bytes: 600, ..STREAM };
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        let mut below = move |most: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % u64::try_from(most).unwrap()).unwrap()
        };
        let mut refused = 0;
        for round in 0..400 {
            let mut bytes = Vec::new();
            for _ in 0..below(6) {
                bytes.extend(message(below(300), 0));
                let length = bytes.len() + below(300);
                bytes.resize(length, 0);
            }
            if round % 4 == 0 {
                bytes.extend([0xff; 7]);
            }
            let mut request = Request::new(10 << 20, terms);
            let (mut rest, mut handed_on) = (&bytes[..], 0);
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at((1 + below(40)).min(rest.len()));
                rest = behind;
                request.send(piece.to_vec());
                match request.now().expect("there is room") {
                    Ok(part) => handed_on += part.len(),
                    Err(code) => {
                        assert_eq!(code, Code::OutOfRange);
                        refused += 1;
                        break;
                    }
                }
                assert_eq!(handed_on, bytes.len() - rest.len());
            }
            drop((request.ledger.take_received(), request.body));
            assert_eq!(request.account.held_bytes(), 0);
        }
        assert!(refused > 50, "{refused}");
    }
}

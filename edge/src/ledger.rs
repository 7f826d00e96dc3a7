//! What one request holds of its connection's account, from its first byte to the last of its answer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_types::limits;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::budget::{Account, Budget, Charge, Window};

/// The ledger of one request; in its extensions.
///
/// - `owed` is charged for answers that exist and are not in frames yet.
/// - What is in frames is given back when the connection has written it, or lets go of it.
/// - After `close` nothing is owed any more.
#[derive(Debug)]
pub struct Ledger {
    account: Arc<Account>,
    /// Messages that arrived whole, until whoever serves the request takes them over.
    received: Mutex<Charge>,
    answers: Mutex<Answers>,
    in_frames_bytes: AtomicUsize,
    /// The size of the answer that was refused last; 0: none was.
    refused_bytes: AtomicUsize,
    /// Something was taken by the client.
    taken: Notify,
}

#[derive(Debug)]
struct Answers {
    owed_bytes: usize,
    is_closed: bool,
    /// The client has taken all that there is, and waits for more: what is owed does not lie with it.
    is_awaited: bool,
    /// When the client took something, or had something to take where there was nothing before.
    moved_at: Instant,
    /// Since when it has had something to take, and what it has taken since.
    offered_since: Instant,
    taken_bytes: usize,
}

impl Answers {
    /// From now on there is something to take, or nothing again.
    fn begin(&mut self) {
        (self.moved_at, self.offered_since) = (Instant::now(), Instant::now());
        self.taken_bytes = 0;
    }
}

impl Ledger {
    /// Of a request on this account.
    #[must_use]
    pub fn new(account: &Arc<Account>) -> Arc<Self> {
        Arc::new(Self {
            account: Arc::clone(account),
            received: Mutex::new(Charge::none(account)),
            answers: Mutex::new(Answers {
                owed_bytes: 0,
                is_closed: false,
                is_awaited: false,
                moved_at: Instant::now(),
                offered_since: Instant::now(),
                taken_bytes: 0,
            }),
            in_frames_bytes: AtomicUsize::new(0),
            refused_bytes: AtomicUsize::new(0),
            taken: Notify::new(),
        })
    }

    /// The ledger of a request. One that came by no gate has a whole budget to itself.
    #[must_use]
    pub fn of(extensions: &http::Extensions) -> Arc<Self> {
        let found = extensions.get::<Arc<Self>>().cloned();
        found.unwrap_or_else(|| {
            let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            Self::new(&Account::new(Budget::new(limits::CLIENT_PORT_BYTES), nowhere))
        })
    }

    /// Charges what is no answer. `None`: the connection holds its share.
    #[must_use]
    pub fn charge(&self, bytes: usize) -> Option<Charge> {
        Charge::take(&self.account, bytes)
    }

    /// Charges what is no answer yet, once there is room. `None`: `until` came first.
    pub async fn charge_by(&self, bytes: usize, until: tokio::time::Instant) -> Option<Charge> {
        loop {
            if let Some(charge) = self.charge(bytes) {
                return Some(charge);
            }
            let again = tokio::time::Instant::now() + limits::BUSY_RETRY_AFTER;
            if again >= until || self.is_closed() {
                return None;
            }
            tokio::time::sleep_until(again).await;
        }
    }

    /// What the client may send unread while its request waits for room. `None`: too many wait.
    #[must_use]
    pub fn window(&self, bytes: usize) -> Option<Window> {
        Window::take(&self.account, bytes)
    }

    /// Takes over what the messages that arrived so far take.
    #[must_use]
    pub fn take_received(&self) -> Charge {
        self.received.lock().split_off()
    }

    pub(crate) fn receive(&self, message: Charge) {
        self.received.lock().join(message);
    }

    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Charges an answer of this size. False: the client has not taken what it was answered before, and the answer must be let go.
    #[must_use]
    pub fn owe(&self, bytes: usize) -> bool {
        let mut answers = self.answers.lock();
        if answers.is_closed || !self.account.take(bytes) {
            self.refused_bytes.store(bytes, Ordering::Relaxed);
            return false;
        }
        self.note_owed(&mut answers, bytes);
        true
    }

    /// Charges an answer that is small and must not be lost.
    pub fn owe_anyway(&self, bytes: usize) {
        let mut answers = self.answers.lock();
        if !answers.is_closed {
            self.account.take_anyway(bytes);
            self.note_owed(&mut answers, bytes);
        }
    }

    /// An answer is there, for which `held` was charged before.
    pub fn owe_held(&self, held: Charge, bytes: usize) {
        let mut answers = self.answers.lock();
        if answers.is_closed {
            return;
        }
        let held_bytes = held.into_bytes();
        if held_bytes >= bytes {
            self.account.give_back(held_bytes - bytes);
        } else {
            self.account.take_anyway(bytes - held_bytes);
        }
        self.note_owed(&mut answers, bytes);
    }

    fn note_owed(&self, answers: &mut Answers, bytes: usize) {
        if answers.owed_bytes == 0 && self.in_frames_bytes.load(Ordering::Acquire) == 0 {
            answers.begin();
        }
        answers.owed_bytes += bytes;
    }

    /// An answer goes out as so many bytes; other than that was charged for it.
    pub fn settle(&self, charged_bytes: usize, actual_bytes: usize) {
        if actual_bytes > charged_bytes {
            return self.owe_anyway(actual_bytes - charged_bytes);
        }
        let mut answers = self.answers.lock();
        let bytes = (charged_bytes - actual_bytes).min(answers.owed_bytes);
        answers.owed_bytes -= bytes;
        self.account.give_back(bytes);
    }

    /// The size of the answer that was refused since this was asked last, for what the client had not taken; `None`: none was.
    #[must_use]
    pub fn take_refused(&self) -> Option<usize> {
        match self.refused_bytes.swap(0, Ordering::Relaxed) {
            0 => None,
            bytes => Some(bytes),
        }
    }

    /// Bytes of answers that the client has not taken.
    #[must_use]
    pub fn untaken_bytes(&self) -> usize {
        self.answers.lock().owed_bytes + self.in_frames_bytes.load(Ordering::Acquire)
    }

    /// Waits until the client takes something.
    pub async fn taken(&self) {
        self.taken.notified().await;
    }

    /// The answer begins to go out: from now on it is for the client to take.
    pub(crate) fn begin_offering(&self) {
        self.answers.lock().begin();
    }

    /// The connection asks for more, and there is none yet.
    pub(crate) fn note_awaited(&self) {
        self.answers.lock().is_awaited = true;
    }

    /// There is nothing that the client could take: what comes next begins anew.
    fn has_taken_all(answers: &Answers, in_frames_bytes: usize) -> bool {
        in_frames_bytes == 0 && (answers.is_awaited || answers.owed_bytes == 0)
    }

    /// True when the client has something to take and takes nothing of it, or has taken less of it than [`limits::ANSWER_TAKEN_RATE`] asks.
    pub(crate) fn is_stalled(&self, now: Instant) -> bool {
        let answers = self.answers.lock();
        let is_owed = answers.owed_bytes > 0 && !answers.is_awaited;
        if !is_owed && self.in_frames_bytes.load(Ordering::Acquire) == 0 {
            return false;
        }
        let earned = Duration::from_millis(answers.taken_bytes as u64 * 1_000 / limits::ANSWER_TAKEN_RATE as u64);
        now > answers.moved_at + limits::ANSWER_TAKEN_WITHIN
            || now > answers.offered_since + limits::ANSWER_TAKEN_WITHIN + earned
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.answers.lock().is_closed
    }

    /// Bytes on their way to the client, counted until nobody holds them.
    pub(crate) fn frame(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let mut answers = self.answers.lock();
        if Self::has_taken_all(&answers, self.in_frames_bytes.load(Ordering::Acquire)) {
            answers.begin();
        }
        let paid = bytes.len().min(answers.owed_bytes);
        answers.owed_bytes -= paid;
        answers.moved_at = Instant::now();
        answers.is_awaited = false;
        drop(answers);
        // What an answer takes beyond its values.
        self.account.take_anyway(bytes.len() - paid);
        self.in_frames_bytes.fetch_add(bytes.len(), Ordering::AcqRel);
        Bytes::from_owner(Framed { bytes, ledger: Arc::clone(self) })
    }

    /// Nothing more is owed.
    pub(crate) fn close(&self) {
        let mut answers = self.answers.lock();
        answers.is_closed = true;
        self.account.give_back(std::mem::take(&mut answers.owed_bytes));
        drop(answers);
        self.taken.notify_one();
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.account.give_back(self.answers.lock().owed_bytes);
    }
}

/// A frame's bytes, until the connection has written them.
struct Framed {
    bytes: Bytes,
    ledger: Arc<Ledger>,
}

impl AsRef<[u8]> for Framed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Framed {
    fn drop(&mut self) {
        let bytes = self.bytes.len();
        self.ledger.account.give_back(bytes);
        let mut answers = self.ledger.answers.lock();
        let before = self.ledger.in_frames_bytes.fetch_sub(bytes, Ordering::AcqRel);
        if Ledger::has_taken_all(&answers, before - bytes) {
            answers.begin();
        }
        answers.moved_at = Instant::now();
        answers.taken_bytes = answers.taken_bytes.saturating_add(bytes);
        drop(answers);
        self.ledger.account.note_taken();
        self.ledger.taken.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1 << 10;

    fn ledger(max_bytes: usize) -> (Arc<Budget>, Arc<Ledger>) {
        let budget = Budget::new(max_bytes);
        let from = IpAddr::from([127, 0, 0, 1]);
        let ledger = Ledger::new(&Account::new(Arc::clone(&budget), from));
        (budget, ledger)
    }

    /// A moment before which something should have been taken, and one after it.
    fn around(after: Duration) -> (Instant, Instant) {
        let then = Instant::now() + after;
        (then - Duration::from_secs(1), then + Duration::from_secs(1))
    }

    #[test]
    fn an_answer_is_counted_until_the_last_of_its_bytes_is_let_go() {
        let (budget, ledger) = ledger(1_000 * KIB);
        assert!(ledger.owe(100 * KIB));
        let first = ledger.frame(Bytes::from(vec![1; 60 * KIB]));
        let rest = ledger.frame(Bytes::from(vec![1; 50 * KIB]));
        assert_eq!(budget.held_bytes(), 110 * KIB, "what an envelope adds is counted too");
        let part = first.slice(..1);
        drop(first);
        assert_eq!(budget.held_bytes(), 110 * KIB);
        drop((part, rest));
        assert_eq!((budget.held_bytes(), ledger.untaken_bytes()), (0, 0));
    }

    #[test]
    fn what_is_not_taken_lets_nothing_more_in_but_what_must_not_be_lost() {
        let (budget, ledger) = ledger(1_000 * KIB);
        assert!(ledger.owe(150 * KIB) && ledger.take_refused().is_none());
        assert!(!ledger.owe(150 * KIB));
        assert_eq!(
            (ledger.take_refused(), ledger.take_refused()),
            (Some(150 * KIB), None),
            "each refusal is told once"
        );
        ledger.owe_anyway(KIB);
        assert_eq!(ledger.untaken_bytes(), 151 * KIB);
        ledger.close();
        assert!(!ledger.owe(1));
        ledger.owe_anyway(KIB);
        assert_eq!(budget.held_bytes(), 0);
        drop(ledger);
        assert_eq!(budget.held_bytes(), 0);
    }

    #[test]
    fn only_who_has_something_to_take_and_takes_nothing_stalls() {
        let (_, ledger) = ledger(1_000 * KIB);
        let (before, after) = around(limits::ANSWER_TAKEN_WITHIN);
        assert!(!ledger.is_stalled(after), "there is nothing to take");
        assert!(ledger.owe(10 * KIB));
        assert!(ledger.is_stalled(after) && !ledger.is_stalled(before));
        drop(ledger.frame(Bytes::from(vec![0; 10 * KIB])));
        assert!(!ledger.is_stalled(after));
    }

    #[test]
    fn an_answer_that_is_charged_and_not_there_yet_does_not_lie_with_the_client() {
        let (budget, ledger) = ledger(1_000 * KIB);
        let (_, after) = around(limits::ANSWER_TAKEN_WITHIN);
        let held = ledger.charge(100 * KIB).unwrap();
        assert!(!ledger.is_stalled(after) && ledger.untaken_bytes() == 0, "it is read still");
        ledger.owe_held(held, 60 * KIB);
        assert_eq!((budget.held_bytes(), ledger.untaken_bytes()), (60 * KIB, 60 * KIB));
        ledger.note_awaited();
        assert!(!ledger.is_stalled(after), "the client waits for it");
        let frame = ledger.frame(Bytes::from(vec![0; 10 * KIB]));
        assert!(ledger.is_stalled(after));
        ledger.note_awaited();
        assert!(ledger.is_stalled(after), "a frame is on its way all the same");
        drop(frame);
    }

    #[test]
    fn who_takes_all_that_there_is_never_stalls_however_little_that_is() {
        let (_, ledger) = ledger(1_000 * KIB);
        for _ in 0..3 {
            // A sign of life: the connection asks for more before it has written this.
            let frame = ledger.frame(Bytes::from_static(b"alive"));
            ledger.note_awaited();
            drop(frame);
            // So long passes until the next one.
            ledger.answers.lock().offered_since = Instant::now() - limits::ANSWER_TAKEN_WITHIN * 2;
        }
        let next = ledger.frame(Bytes::from_static(b"alive"));
        let (before, after) = around(limits::ANSWER_TAKEN_WITHIN);
        assert!(!ledger.is_stalled(before) && ledger.is_stalled(after));
        drop(next);
    }

    #[test]
    fn who_takes_a_drop_now_and_then_stalls_too() {
        let (_, ledger) = ledger(1_000 * KIB);
        assert!(ledger.owe(150 * KIB));
        let frame = || ledger.frame(Bytes::from(vec![0; 32 * KIB]));
        let (mut stuck, drips) = (frame(), 2);
        for _ in 0..drips {
            // The one before is taken, so that something moves all the while.
            stuck = frame();
        }
        let earned = Duration::from_millis((drips * 32 * KIB * 1_000 / limits::ANSWER_TAKEN_RATE) as u64);
        let (before, after) = around(limits::ANSWER_TAKEN_WITHIN + earned);
        ledger.answers.lock().moved_at = after;
        assert!(!ledger.is_stalled(before) && ledger.is_stalled(after));
        drop(stuck);
    }
}

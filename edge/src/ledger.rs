//! What one request holds of its connection's account, from its first byte to the last of its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use holdfast_types::limits;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::budget::{Account, Budget, Charge};

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
    was_refused: AtomicBool,
    /// Something was taken by the client.
    taken: Notify,
}

#[derive(Debug)]
struct Answers {
    owed_bytes: usize,
    is_closed: bool,
    /// When the client took something, or had something to take where there was nothing before.
    moved_at: Instant,
}

impl Ledger {
    /// Of a request on this account.
    #[must_use]
    pub fn new(account: &Arc<Account>) -> Arc<Self> {
        Arc::new(Self {
            account: Arc::clone(account),
            received: Mutex::new(Charge::none(account)),
            answers: Mutex::new(Answers { owed_bytes: 0, is_closed: false, moved_at: Instant::now() }),
            in_frames_bytes: AtomicUsize::new(0),
            was_refused: AtomicBool::new(false),
            taken: Notify::new(),
        })
    }

    /// The ledger of a request. One that came by no gate has a whole budget to itself.
    #[must_use]
    pub fn of(extensions: &http::Extensions) -> Arc<Self> {
        let found = extensions.get::<Arc<Self>>().cloned();
        found.unwrap_or_else(|| Self::new(&Account::new(Budget::new(limits::CLIENT_PORT_BYTES))))
    }

    /// Charges what is no answer. `None`: the connection holds its share.
    #[must_use]
    pub fn charge(&self, bytes: usize) -> Option<Charge> {
        Charge::take(&self.account, bytes)
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
            self.was_refused.store(true, Ordering::Relaxed);
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

    fn note_owed(&self, answers: &mut Answers, bytes: usize) {
        if answers.owed_bytes == 0 && self.in_frames_bytes.load(Ordering::Acquire) == 0 {
            answers.moved_at = Instant::now();
        }
        answers.owed_bytes += bytes;
    }

    /// Charges an answer that is not there yet, once the client has taken enough of the others. False: `until` came first.
    pub async fn owe_by(&self, bytes: usize, until: tokio::time::Instant) -> bool {
        while !self.owe(bytes) {
            let again = tokio::time::Instant::now() + limits::BUSY_RETRY_AFTER;
            if again >= until || self.is_closed() {
                return false;
            }
            tokio::time::sleep_until(again).await;
        }
        true
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

    /// True when an answer was refused for what this client has not taken.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        self.was_refused.load(Ordering::Relaxed)
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

    /// True when the client has had something to take since `moved_before` and has taken nothing.
    pub(crate) fn is_stalled(&self, moved_before: Instant) -> bool {
        self.untaken_bytes() > 0 && self.answers.lock().moved_at < moved_before
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.answers.lock().is_closed
    }

    /// Bytes on their way to the client, counted until nobody holds them.
    pub(crate) fn frame(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let mut answers = self.answers.lock();
        let paid = bytes.len().min(answers.owed_bytes);
        answers.owed_bytes -= paid;
        answers.moved_at = Instant::now();
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
        self.ledger.in_frames_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.ledger.answers.lock().moved_at = Instant::now();
        self.ledger.taken.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KIB: usize = 1 << 10;

    fn ledger(max_bytes: usize) -> (Arc<Budget>, Arc<Ledger>) {
        let budget = Budget::new(max_bytes);
        let ledger = Ledger::new(&Account::new(Arc::clone(&budget)));
        (budget, ledger)
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
        assert!(ledger.owe(150 * KIB));
        assert!(!ledger.owe(150 * KIB) && ledger.was_refused());
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
        let later = || Instant::now() + Duration::from_secs(1);
        assert!(!ledger.is_stalled(later()), "there is nothing to take");
        assert!(ledger.owe(10 * KIB));
        assert!(ledger.is_stalled(later()) && !ledger.is_stalled(Instant::now() - Duration::from_secs(1)));
        drop(ledger.frame(Bytes::from(vec![0; 10 * KIB])));
        assert!(!ledger.is_stalled(later()));
    }
}

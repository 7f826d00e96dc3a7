//! The bytes that a port may hold for those who are connected to it, and the share of each connection.
//!
//! A fixed share for each connection would be either too small for one busy client or too large for a thousand hostile ones. So a connection
//! has a little of its own, enough for a small request, and beyond that a part of what is *free* for all, as switches share their memory
//! between queues (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998): alone it may hold a fifth
//! of everything; the more others hold, the less it may. Those who come one after the other and give nothing back use the common part up all
//! the same, each a fifth of what the last one left: that is what the little of one's own is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_types::limits;

/// The bytes of one port: those that all connections share. Each has [`limits::CONNECTION_OWN_BYTES`] in any case.
#[derive(Debug)]
pub struct Budget {
    max_bytes: usize,
    held_bytes: AtomicUsize,
    refused: AtomicUsize,
}

impl Budget {
    /// So many bytes.
    #[must_use]
    pub fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { max_bytes, held_bytes: AtomicUsize::new(0), refused: AtomicUsize::new(0) })
    }

    /// Bytes held now.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Charges that were refused since the start.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}

/// What one connection holds of a port's budget.
#[derive(Debug)]
pub struct Account {
    budget: Arc<Budget>,
    held_bytes: AtomicUsize,
}

impl Account {
    /// An account that holds nothing.
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self { budget, held_bytes: AtomicUsize::new(0) })
    }

    /// Bytes held now.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Takes bytes, unless the connection holds more than its share then. What was taken is given back with [`Account::give_back`].
    #[must_use]
    pub fn take(&self, bytes: usize) -> bool {
        let mine = self.held_bytes.fetch_add(bytes, Ordering::AcqRel) + bytes;
        let all = self.budget.held_bytes.fetch_add(bytes, Ordering::AcqRel);
        let share = self.budget.max_bytes.saturating_sub(all) / limits::CONNECTION_SHARE;
        // What the connection held before is not free any more: alone it ends at a fifth of the budget.
        if mine > share.max(limits::CONNECTION_OWN_BYTES) {
            self.give_back(bytes);
            self.budget.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Takes bytes in any case: what is small, counted elsewhere too, and cannot be refused any more.
    pub fn take_anyway(&self, bytes: usize) {
        self.held_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.budget.held_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Gives bytes back.
    pub fn give_back(&self, bytes: usize) {
        let mine = self.held_bytes.fetch_sub(bytes, Ordering::AcqRel);
        let all = self.budget.held_bytes.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(mine >= bytes && all >= bytes, "more was given back than was taken");
    }
}

/// Bytes of an account, given back when dropped.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

impl Charge {
    /// No bytes yet.
    #[must_use]
    pub fn none(account: &Arc<Account>) -> Self {
        Self { account: Arc::clone(account), bytes: 0 }
    }

    /// `None`: the connection holds its share.
    #[must_use]
    pub fn take(account: &Arc<Account>, bytes: usize) -> Option<Self> {
        account.take(bytes).then(|| Self { account: Arc::clone(account), bytes })
    }

    /// Adds another charge of the same account.
    pub fn join(&mut self, mut other: Charge) {
        debug_assert!(Arc::ptr_eq(&self.account, &other.account), "charges of one account");
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Takes all of it out, and leaves nothing behind.
    #[must_use]
    pub fn split_off(&mut self) -> Self {
        Self { account: Arc::clone(&self.account), bytes: std::mem::take(&mut self.bytes) }
    }

    /// How many.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn fill(account: &Account) {
        while account.take(1 << 10) {}
    }

    #[test]
    fn a_connection_alone_gets_a_fifth_and_gives_it_back() {
        let budget = Budget::new(100 * MIB);
        let account = Account::new(Arc::clone(&budget));
        fill(&account);
        let fifth = 20 * MIB;
        assert!(account.held_bytes().abs_diff(fifth) <= MIB / 8, "{}", account.held_bytes());
        account.give_back(account.held_bytes());
        assert_eq!(budget.held_bytes(), 0);
    }

    #[test]
    fn however_many_hold_their_share_there_is_some_for_the_next() {
        let budget = Budget::new(100 * MIB);
        let hostile: Vec<_> = (0..100).map(|_| Account::new(Arc::clone(&budget))).collect();
        hostile.iter().for_each(|account| fill(account));
        assert!(budget.held_bytes() <= 100 * MIB + 100 * limits::CONNECTION_OWN_BYTES);
        let honest = Account::new(Arc::clone(&budget));
        assert!(honest.take(limits::CONNECTION_OWN_BYTES), "{} of 100 MiB are held", budget.held_bytes());
        assert!(!honest.take(MIB) && !hostile[0].take(1), "there is no more than that");
    }

    #[test]
    fn a_charge_is_given_back_once() {
        let budget = Budget::new(100 * MIB);
        let account = Account::new(Arc::clone(&budget));
        let mut charge = Charge::take(&account, MIB).unwrap();
        charge.join(Charge::take(&account, MIB).unwrap());
        let moved = charge.split_off();
        drop(charge);
        assert_eq!((account.held_bytes(), moved.bytes()), (2 * MIB, 2 * MIB));
        drop(moved);
        assert_eq!((account.held_bytes(), budget.held_bytes()), (0, 0));
        assert!(Charge::take(&account, 26 * MIB).is_none());
        assert_eq!((account.held_bytes(), budget.refused()), (0, 1));
    }
}

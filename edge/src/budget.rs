//! The bytes that a port may hold for those who are connected to it, and the share of each connection.
//!
//! A fixed share for each connection would be either too small for one busy client or too large for a thousand hostile ones. So a connection
//! has a little of its own, enough for a small request, and beyond that a part of what is *free* for all, as switches share their memory
//! between queues (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998): alone it may hold a fifth
//! of everything; the more others hold, the less it may. The same threshold stands before it for all connections from one address, at half of
//! what is free: whoever opens as many connections as he likes has a third of everything and no more, and strangers find the rest.
//!
//! Whoever waits for room may go on sending until his window is full. Such *windows* are no part of a connection's share: a connection waits
//! exactly because its share is used up. An address has as many of them as fit into half of what is free.
//!
//! What TLS holds of a connection is no part of its share either, which would be too small for a request then. It is counted for the address
//! and for the port, and bounded by constants: a handshake, two records, what is encrypted and not written.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use holdfast_types::limits;
use parking_lot::Mutex;

use crate::frames::{Allowance, PRICE_OF_A_CONNECTION};

/// The bytes of one port: those that all connections share. Each has [`limits::CONNECTION_OWN_BYTES`] in any case.
#[derive(Debug)]
pub struct Budget {
    max_bytes: usize,
    held_bytes: AtomicUsize,
    refused: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, Weak<Address>>>,
}

/// What all connections from one address hold, and may send unpaid.
#[derive(Debug)]
struct Address {
    held_bytes: AtomicUsize,
    windows_bytes: AtomicUsize,
    frames: Mutex<Allowance>,
}

/// The address that stands for all that one stranger may have: 64 bits of IPv6 are his to choose.
#[must_use]
pub fn stranger(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Adds, unless it would be more than `most` then; returns the sum.
fn add_within(sum: &AtomicUsize, bytes: usize, most: usize) -> Option<usize> {
    let add = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= most);
    sum.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).ok().map(|before| before + bytes)
}

impl Budget {
    /// So many bytes.
    #[must_use]
    pub fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_bytes,
            held_bytes: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            addresses: Mutex::default(),
        })
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

    fn free_bytes(&self) -> usize {
        self.max_bytes.saturating_sub(self.held_bytes.load(Ordering::Acquire))
    }

    fn address(&self, address: IpAddr) -> Arc<Address> {
        let mut addresses = self.addresses.lock();
        let known = addresses.entry(address).or_default();
        known.upgrade().unwrap_or_else(|| {
            let frames = Mutex::new(Allowance::new(Instant::now()));
            let new = Arc::new(Address { held_bytes: AtomicUsize::new(0), windows_bytes: AtomicUsize::new(0), frames });
            *known = Arc::downgrade(&new);
            new
        })
    }
}

/// What one connection holds of a port's budget.
#[derive(Debug)]
pub struct Account {
    budget: Arc<Budget>,
    from: IpAddr,
    address: Arc<Address>,
    held_bytes: AtomicUsize,
    began: Instant,
    /// Milliseconds from `began` until a message came or an answer was taken for the last time.
    moved_after_ms: AtomicU64,
    /// Frames that it may send because of messages that came and answers that were taken.
    earned_frames: AtomicU64,
}

impl Account {
    /// An account that holds nothing, of a connection from this address.
    #[must_use]
    pub fn new(budget: Arc<Budget>, from: IpAddr) -> Arc<Self> {
        let from = stranger(from);
        let address = budget.address(from);
        Arc::new(Self {
            budget,
            from,
            address,
            held_bytes: AtomicUsize::new(0),
            began: Instant::now(),
            moved_after_ms: AtomicU64::new(0),
            earned_frames: AtomicU64::new(0),
        })
    }

    /// Bytes held now.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Takes bytes, unless the connection or its address holds more than its share then. What was taken is given back with
    /// [`Account::give_back`].
    #[must_use]
    pub fn take(&self, bytes: usize) -> bool {
        let is_taken = self.take_share(bytes);
        if !is_taken {
            self.budget.refused.fetch_add(1, Ordering::Relaxed);
        }
        is_taken
    }

    /// Nothing is added before it was looked whether it may be: who asks for too much takes nothing from others meanwhile.
    fn take_share(&self, bytes: usize) -> bool {
        // What the connection held before is not free any more: alone it ends at a fifth of the budget.
        let free = self.budget.free_bytes();
        let share = (free / limits::CONNECTION_SHARE).max(limits::CONNECTION_OWN_BYTES);
        let Some(mine) = add_within(&self.held_bytes, bytes, share) else { return false };
        let most = if mine <= limits::CONNECTION_OWN_BYTES { usize::MAX } else { free / limits::ADDRESS_SHARE };
        if add_within(&self.address.held_bytes, bytes, most).is_none() {
            self.held_bytes.fetch_sub(bytes, Ordering::AcqRel);
            return false;
        }
        self.budget.held_bytes.fetch_add(bytes, Ordering::AcqRel);
        true
    }

    /// Takes bytes in any case: what is small, counted elsewhere too, and cannot be refused any more.
    pub fn take_anyway(&self, bytes: usize) {
        self.held_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.address.held_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.budget.held_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Gives bytes back.
    pub fn give_back(&self, bytes: usize) {
        let mine = self.held_bytes.fetch_sub(bytes, Ordering::AcqRel);
        let address = self.address.held_bytes.fetch_sub(bytes, Ordering::AcqRel);
        let all = self.budget.held_bytes.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(mine >= bytes && address >= bytes && all >= bytes, "more was given back than was taken");
    }

    /// The connection was accepted. Where its address has used up what it may send unpaid, it has nothing of its own either: who comes again
    /// and again would live on that.
    pub(crate) fn begin_frames(&self, now: Instant) {
        if self.address.frames.lock().take(PRICE_OF_A_CONNECTION, now) == 0 {
            self.earn_frames(limits::FRAMES_OF_A_CONNECTION);
        }
    }

    fn earn_frames(&self, frames: u64) {
        let earn = |earned: u64| Some(earned.saturating_add(frames).min(limits::FRAMES_EARNED));
        // It never fails: there is always a sum.
        let _ = self.earned_frames.fetch_update(Ordering::AcqRel, Ordering::Acquire, earn);
    }

    /// Pays for frames out of what was earned, and then of what the address may send unpaid; returns what is owed on.
    pub(crate) fn pay_frames(&self, owed: u64, now: Instant) -> u64 {
        let pay = |earned: u64| Some(earned.saturating_sub(owed));
        let earned = self.earned_frames.fetch_update(Ordering::AcqRel, Ordering::Acquire, pay).unwrap_or(0);
        match owed.saturating_sub(earned) {
            0 => 0,
            missing => self.address.frames.lock().take(missing, now),
        }
    }

    /// A message of this size came.
    pub(crate) fn note_message(&self, bytes: usize) {
        let by_size = bytes as u64 / limits::FRAME_WORTH_READING_BYTES;
        self.earn_frames(limits::FRAMES_OF_A_MESSAGE.saturating_add(by_size));
        self.note_moved();
    }

    /// A frame of an answer was taken.
    pub(crate) fn note_taken(&self) {
        self.earn_frames(limits::FRAMES_OF_AN_ANSWER);
        self.note_moved();
    }

    fn note_moved(&self) {
        let after_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_after_ms.fetch_max(after_ms, Ordering::Relaxed);
    }

    /// For how long neither a message came nor anything of an answer was taken.
    pub(crate) fn unmoved_for(&self, now: Instant) -> Duration {
        let moved_after = Duration::from_millis(self.moved_after_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(self.began).saturating_sub(moved_after)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut addresses = self.budget.addresses.lock();
        // Who comes from there now waits for the lock, and makes a new one.
        if Arc::strong_count(&self.address) == 1 {
            addresses.remove(&self.from);
        }
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

    /// Takes so many more. False: the connection holds its share.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let is_taken = self.account.take(bytes);
        if is_taken {
            self.bytes += bytes;
        }
        is_taken
    }

    /// Makes it at least so many, in any case.
    pub(crate) fn grow_anyway_to(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.bytes);
        self.account.take_anyway(more);
        self.bytes += more;
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

    /// The bytes, which somebody else gives back from now on.
    pub(crate) fn into_bytes(mut self) -> usize {
        std::mem::take(&mut self.bytes)
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

/// What may come unread while somebody waits for room, given back when dropped.
#[derive(Debug)]
pub struct Window {
    account: Arc<Account>,
    bytes: usize,
}

impl Window {
    /// `None`: the windows of this address take half of what is free.
    #[must_use]
    pub fn take(account: &Arc<Account>, bytes: usize) -> Option<Self> {
        let most = account.budget.free_bytes() / limits::ADDRESS_SHARE;
        if add_within(&account.address.windows_bytes, bytes, most).is_none() {
            account.budget.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        account.budget.held_bytes.fetch_add(bytes, Ordering::AcqRel);
        Some(Self { account: Arc::clone(account), bytes })
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.account.address.windows_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.account.budget.held_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// What a connection holds beyond its share, because nobody can do without it: counted for its address and for the port. Given back when
/// dropped.
#[derive(Debug)]
pub(crate) struct Apart {
    account: Arc<Account>,
    bytes: usize,
}

impl Apart {
    /// So many bytes, which cannot be refused: how many a connection may come to is bounded by a constant.
    pub(crate) fn new(account: &Arc<Account>, bytes: usize) -> Self {
        let mut apart = Self { account: Arc::clone(account), bytes: 0 };
        apart.set(bytes);
        apart
    }

    /// It is so many from now on.
    pub(crate) fn set(&mut self, bytes: usize) {
        let (address, all) = (&self.account.address.held_bytes, &self.account.budget.held_bytes);
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            address.fetch_add(more, Ordering::AcqRel);
            all.fetch_add(more, Ordering::AcqRel);
        } else if bytes < self.bytes {
            let less = self.bytes - bytes;
            address.fetch_sub(less, Ordering::AcqRel);
            all.fetch_sub(less, Ordering::AcqRel);
        }
        self.bytes = bytes;
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn account(budget: &Arc<Budget>, address: u8) -> Arc<Account> {
        Account::new(Arc::clone(budget), IpAddr::from([10, 0, 0, address]))
    }

    fn fill(account: &Account) {
        while account.take(1 << 10) {}
    }

    #[test]
    fn a_connection_alone_gets_a_fifth_and_gives_it_back() {
        let budget = Budget::new(100 * MIB);
        let account = account(&budget, 1);
        fill(&account);
        let fifth = 20 * MIB;
        assert!(account.held_bytes().abs_diff(fifth) <= MIB / 8, "{}", account.held_bytes());
        account.give_back(account.held_bytes());
        assert_eq!(budget.held_bytes(), 0);
    }

    #[test]
    fn frames_are_paid_by_messages_and_then_out_of_what_the_address_may_send_unpaid() {
        let budget = Budget::new(100 * MIB);
        let (first, stranger, now) = (account(&budget, 1), account(&budget, 2), Instant::now());
        first.begin_frames(now);
        let unpaid = limits::FRAMES_OF_A_CONNECTION + limits::FRAMES_BURST - PRICE_OF_A_CONNECTION;
        assert_eq!(first.pay_frames(unpaid + 7, now), 7, "its own, and all that the address has");
        let second = account(&budget, 1);
        second.begin_frames(now);
        assert_eq!(second.pay_frames(1, now), 1, "who comes again has nothing of his own");
        second.note_message(4 << 10);
        assert_eq!(second.pay_frames(100, now), 100 - limits::FRAMES_OF_A_MESSAGE - 4);
        first.note_taken();
        assert_eq!(first.pay_frames(limits::FRAMES_OF_AN_ANSWER, now), 0);
        let later = now + Duration::from_millis(10);
        assert_eq!(second.pay_frames(100, later), 100 - limits::FRAMES_PER_SECOND / 100);
        assert_eq!(first.pay_frames(1, later), 1, "that was for both");
        stranger.begin_frames(now);
        assert_eq!(stranger.pay_frames(limits::FRAMES_OF_A_CONNECTION, now), 0);
    }

    #[test]
    fn what_is_earned_does_not_add_up_for_ever() {
        let (budget, now) = (Budget::new(100 * MIB), Instant::now());
        let account = account(&budget, 1);
        (0..10_000).for_each(|_| account.note_message(1 << 20));
        assert_eq!(account.pay_frames(u64::MAX, now), u64::MAX - limits::FRAMES_EARNED - limits::FRAMES_BURST);
    }

    #[test]
    fn however_many_addresses_hold_their_share_there_is_some_for_the_next() {
        let budget = Budget::new(100 * MIB);
        let hostile: Vec<_> = (0..100).map(|address| account(&budget, address)).collect();
        hostile.iter().for_each(|account| fill(account));
        assert!(budget.held_bytes() <= 100 * MIB + 100 * limits::CONNECTION_OWN_BYTES);
        let honest = account(&budget, 200);
        assert!(honest.take(limits::CONNECTION_OWN_BYTES), "{} of 100 MiB are held", budget.held_bytes());
        assert!(!honest.take(MIB) && !hostile[0].take(1), "there is no more than that");
    }

    #[test]
    fn however_many_connections_one_address_has_strangers_find_most_of_it_free() {
        let budget = Budget::new(100 * MIB);
        let hostile: Vec<_> = (0..100).map(|_| account(&budget, 1)).collect();
        hostile.iter().for_each(|account| fill(account));
        let windows: Vec<_> = hostile.iter().filter_map(|account| Window::take(account, 256 << 10)).collect();
        assert!(!windows.is_empty() && windows.len() < 100);
        let honest = account(&budget, 2);
        assert!(honest.take(8 * MIB), "{} of 100 MiB are held", budget.held_bytes());
        drop(windows);
        honest.give_back(8 * MIB);
        assert!(budget.held_bytes() <= 34 * MIB + 100 * limits::CONNECTION_OWN_BYTES);
    }

    #[test]
    fn a_window_is_to_be_had_by_who_has_used_up_his_share() {
        let budget = Budget::new(100 * MIB);
        let account = account(&budget, 1);
        fill(&account);
        let held = budget.held_bytes();
        let window = Window::take(&account, MIB).expect("it is no part of the share");
        assert_eq!(budget.held_bytes(), held + MIB);
        drop(window);
        assert_eq!(budget.held_bytes(), held);
    }

    #[test]
    fn a_charge_that_is_refused_takes_nothing_from_anybody() {
        let budget = Budget::new(100 * MIB);
        let account = account(&budget, 1);
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert!(!account.take(90 * MIB));
                }
            });
            for _ in 0..100_000 {
                assert!(account.take(MIB), "there is room");
                account.give_back(MIB);
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_stranger_is_known_by_64_bits_of_ipv6_and_is_forgotten_when_he_is_gone() {
        let budget = Budget::new(MIB);
        let at = |text: &str| Account::new(Arc::clone(&budget), text.parse().unwrap());
        let accounts = [at("2001:db8::1"), at("2001:db8::2:7"), at("10.0.0.7"), at("::ffff:10.0.0.7")];
        assert_eq!(budget.addresses.lock().len(), 2);
        assert_ne!(stranger("2001:db8::1".parse().unwrap()), stranger("2001:db8:0:1::1".parse().unwrap()));
        drop(accounts);
        assert_eq!(budget.addresses.lock().len(), 0);
    }

    #[test]
    fn what_is_held_apart_leaves_a_connection_its_own_and_counts_for_its_address_and_for_all() {
        let budget = Budget::new(100 * MIB);
        let holder = account(&budget, 1);
        let mut apart = Apart::new(&holder, 40 * MIB);
        assert!(holder.take(limits::CONNECTION_OWN_BYTES) && !holder.take(MIB), "its address has more than its share");
        let stranger = account(&budget, 2);
        fill(&stranger);
        assert!(
            stranger.held_bytes().abs_diff(12 * MIB) <= MIB / 8,
            "a fifth of what is left: {}",
            stranger.held_bytes()
        );
        apart.set(MIB);
        assert!(holder.take(MIB));
        drop(apart);
        holder.give_back(MIB + limits::CONNECTION_OWN_BYTES);
        assert_eq!(budget.held_bytes(), stranger.held_bytes());
    }

    #[test]
    fn a_charge_is_given_back_once() {
        let budget = Budget::new(100 * MIB);
        let account = account(&budget, 1);
        let mut charge = Charge::take(&account, MIB).unwrap();
        charge.join(Charge::take(&account, MIB).unwrap());
        let mut moved = charge.split_off();
        drop(charge);
        assert!(moved.grow(MIB) && !moved.grow(26 * MIB));
        moved.grow_anyway_to(2 * MIB);
        assert_eq!((account.held_bytes(), moved.bytes()), (3 * MIB, 3 * MIB));
        drop(moved);
        assert_eq!((account.held_bytes(), budget.held_bytes(), budget.refused()), (0, 0, 1));
    }
}

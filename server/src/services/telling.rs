//! What of the ranges held here a client is still to be told: all of them, in the order of their keys, a message at a time, as the client takes
//! them.
//!
//! Where so much is news that a client has not heard all of it, it is told everything once more: from where the telling has come to, and then from
//! the beginning up to there. A telling that began anew each time would never come to the last ranges of a store with many.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::VecDeque;
use std::time::Duration;

use holdfast_proto::v1::{RangeNotice, StreamResponse};
use holdfast_types::{Key, KeyRange};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

/// What there was no room to tell is told after so long.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What of the ranges held here a client is still to be told.
pub struct Telling {
    /// The ranges with these keys: at most two pieces.
    left: VecDeque<KeyRange>,
    /// At most so many ranges.
    most: usize,
    not_before: Option<Instant>,
}

impl Telling {
    /// All ranges, as far as `most` goes.
    pub fn of(most: usize) -> Self {
        Self { left: VecDeque::from([KeyRange::all()]), most, not_before: None }
    }

    /// All ranges are to be told from now on, each once.
    pub fn tell_all(&mut self) {
        let here = self.left.pop_front().map_or(Key::MIN, |piece| piece.start);
        let before = KeyRange { start: Key::MIN, end: Some(here.clone()) };
        self.left = VecDeque::from([KeyRange { start: here.clone(), end: None }]);
        if here > Key::MIN {
            self.left.push_back(before);
        }
        self.most = usize::MAX;
    }

    /// All ranges once more, when there may be room for them.
    pub fn tell_all_later(&mut self) {
        self.tell_all();
        self.not_before = Some(Instant::now() + TELL_AGAIN_AFTER);
    }

    /// Waits for its turn: the client takes what it is told.
    pub async fn turn(&self, ready: &mpsc::Sender<Result<StreamResponse, Status>>) {
        if let Some(not_before) = self.not_before {
            sleep_until(not_before).await;
        }
        // An error means that the client is gone, which the next message finds.
        let _ = ready.reserve().await;
    }

    pub fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// The next message's part of it. `page` returns what of the ranges within some keys goes into one message, and where the rest begins.
    pub fn next(&mut self, page: impl FnOnce(&KeyRange, usize) -> (Vec<RangeNotice>, Option<Key>)) -> Vec<RangeNotice> {
        self.not_before = None;
        let Some(piece) = self.left.pop_front() else { return Vec::new() };
        let (notices, next) = page(&piece, self.most);
        self.most = self.most.saturating_sub(notices.len());
        if let Some(start) = next {
            self.left.push_front(KeyRange { start, end: piece.end });
        }
        if self.most == 0 {
            self.left.clear();
        }
        notices
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use holdfast_types::KeyspaceId;

    use super::*;

    const RANGES: u64 = 10_000;
    const PAGE: u64 = 100;

    fn bound(n: u64) -> Key {
        if n == 0 { Key::MIN } else { Key::bound(KeyspaceId::DEFAULT, format!("{n:06}").as_bytes()) }
    }

    /// What a store with so many ranges says of those within some keys: of each its number.
    fn page(within: &KeyRange, most: usize) -> (Vec<RangeNotice>, Option<Key>) {
        let first = (0..RANGES).find(|n| bound(*n) >= within.start).unwrap_or(RANGES);
        let inside = |n: &u64| within.end.as_ref().is_none_or(|end| bound(*n) < *end);
        let most = PAGE.min(u64::try_from(most).unwrap());
        let found: Vec<_> = (first..RANGES).take_while(inside).take(usize::try_from(most).unwrap()).collect();
        let next = found.last().map(|last| last + 1).filter(|next| *next < RANGES && inside(next)).map(bound);
        (found.into_iter().map(|n| RangeNotice { term: n, ..RangeNotice::default() }).collect(), next)
    }

    fn told(notices: Vec<RangeNotice>) -> Vec<u64> {
        notices.into_iter().map(|notice| notice.term).collect()
    }

    #[test]
    fn a_client_that_lags_again_and_again_is_told_of_every_range_in_one_round() {
        let mut telling = Telling::of(300);
        let (mut heard, mut messages) = (BTreeSet::new(), 0);
        while heard.len() < usize::try_from(RANGES).unwrap() {
            let notices = told(telling.next(page));
            assert!(u64::try_from(notices.len()).unwrap() <= PAGE);
            heard.extend(notices);
            messages += 1;
            assert!(messages <= RANGES / PAGE, "{} of {RANGES} ranges after {messages} messages", heard.len());
            // More is news with every message than the client can take.
            telling.tell_all();
        }
    }

    #[test]
    fn what_was_news_when_a_client_lagged_is_told_once_from_there() {
        let mut telling = Telling::of(usize::MAX);
        (0..30).for_each(|_| drop(telling.next(page)));
        telling.tell_all();
        let mut heard = Vec::new();
        while !telling.is_over() {
            heard.extend(told(telling.next(page)));
        }
        assert_eq!(heard, (3_000..RANGES).chain(0..3_000).collect::<Vec<_>>());
        telling.tell_all();
        assert_eq!(told(telling.next(page))[0], 0, "after its end it begins anew");
    }

    #[test]
    fn a_client_is_told_of_so_many_ranges_unasked_and_no_more() {
        let mut telling = Telling::of(250);
        let mut heard = Vec::new();
        while !telling.is_over() {
            heard.extend(told(telling.next(page)));
        }
        assert_eq!(heard, (0..250).collect::<Vec<_>>());
    }
}

//! Bytes and messages between sites, by cause: what a fleet over several sites pays for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_types::SiteName;
use parking_lot::RwLock;

use crate::class::Cause;

/// Pairs of sites counted. A store counts only those that it is one end of, and no fleet has so many sites: of more, which somebody
/// made up, nothing is counted.
const MAX_PAIRS: usize = 256;

/// Whether this store sent the bytes or received them. Summed over a fleet, what was sent is what was paid for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// By this store.
    Sent,
    /// By this store, from another.
    Received,
}

/// One row of [`Traffic::rows`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TrafficRow {
    /// Seen from this store.
    pub direction: Direction,
    /// The site of the sending store.
    pub from_site: SiteName,
    /// The site of the receiving store.
    pub to_site: SiteName,
    /// What for.
    pub cause: Cause,
    /// Bytes of payloads, without the framing of the streams.
    pub bytes: u64,
    /// Messages.
    pub messages: u64,
}

/// Counters of one store since its start; only grow.
#[derive(Default, Debug)]
pub struct Traffic {
    pairs: RwLock<BTreeMap<(Direction, SiteName, SiteName), Arc<Counters>>>,
}

/// The counters of one pair of sites, shared by the streams between them.
#[derive(Default, Debug)]
pub(crate) struct Counters {
    by_cause: [Counter; Cause::ALL.len()],
}

#[derive(Default, Debug)]
struct Counter {
    bytes: AtomicU64,
    messages: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, cause: Cause, payload_bytes: usize) {
        let counter = &self.by_cause[usize::from(cause.number())];
        counter.bytes.fetch_add(payload_bytes as u64, Ordering::Relaxed);
        counter.messages.fetch_add(1, Ordering::Relaxed);
    }
}

impl Traffic {
    pub(crate) fn between(&self, direction: Direction, from_site: &SiteName, to_site: &SiteName) -> Arc<Counters> {
        let pair = (direction, from_site.clone(), to_site.clone());
        let mut pairs = self.pairs.write();
        if pairs.len() >= MAX_PAIRS && !pairs.contains_key(&pair) {
            return Arc::default();
        }
        Arc::clone(pairs.entry(pair).or_default())
    }

    /// Everything that was counted so far; rows without messages are left out.
    #[must_use]
    pub fn rows(&self) -> Vec<TrafficRow> {
        let mut rows = Vec::new();
        for ((direction, from_site, to_site), counters) in &*self.pairs.read() {
            for (cause, counter) in Cause::ALL.into_iter().zip(&counters.by_cause) {
                let messages = counter.messages.load(Ordering::Relaxed);
                if messages > 0 {
                    let bytes = counter.bytes.load(Ordering::Relaxed);
                    let (from_site, to_site) = (from_site.clone(), to_site.clone());
                    rows.push(TrafficRow { direction: *direction, from_site, to_site, cause, bytes, messages });
                }
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_that_are_counted_are_bounded() {
        let (traffic, here) = (Traffic::default(), SiteName::new("here").unwrap());
        for number in 0..10_000 {
            let site = SiteName::new(&format!("made-up-{number}")).unwrap();
            traffic.between(Direction::Received, &site, &here).count(Cause::Support, 10);
        }
        assert_eq!(traffic.rows().len(), MAX_PAIRS);
    }
}

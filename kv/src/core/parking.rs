//! Messages for ranges that are not known here yet: the newest of each sender waits a moment for a split or a creation.

use std::collections::BTreeMap;

use holdfast_replica::RaftEnvelope;
use holdfast_types::{Moment, RangeId, ReplicaId, StoreId, limits};

/// Parked messages of one worker, at most [`limits::PARKED_MESSAGES`], each for [`limits::PARK_FOR`].
#[derive(Default, Debug)]
pub struct Parking {
    parked: BTreeMap<(RangeId, ReplicaId), Parked>,
}

#[derive(Debug)]
struct Parked {
    until: Moment,
    from: StoreId,
    envelope: RaftEnvelope,
}

impl Parking {
    /// Parks a message in place of an older one of the same sender. Full: it is dropped; raft sends again.
    pub fn park(&mut self, from: StoreId, envelope: RaftEnvelope, now: Moment) {
        let place = (envelope.range, envelope.from);
        if self.parked.len() >= limits::PARKED_MESSAGES && !self.parked.contains_key(&place) {
            self.expire(now);
            if self.parked.len() >= limits::PARKED_MESSAGES {
                return;
            }
        }
        self.parked.insert(place, Parked { until: now.after(limits::PARK_FOR), from, envelope });
    }

    /// Takes out what waits for a range.
    pub fn leave(&mut self, range: RangeId) -> Vec<(StoreId, RaftEnvelope)> {
        let places = (range, ReplicaId(0))..=(range, ReplicaId(u64::MAX));
        let here: Vec<_> = self.parked.range(places).map(|(place, _)| *place).collect();
        here.into_iter().filter_map(|p| self.parked.remove(&p)).map(|p| (p.from, p.envelope)).collect()
    }

    /// The ranges for which something waits.
    #[must_use]
    pub fn ranges(&self) -> Vec<RangeId> {
        let mut ranges: Vec<_> = self.parked.keys().map(|(range, _)| *range).collect();
        ranges.dedup();
        ranges
    }

    /// Drops what has waited too long.
    pub fn expire(&mut self, now: Moment) {
        self.parked.retain(|_, parked| parked.until > now);
    }

    /// When something has waited too long.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        self.parked.values().map(|parked| parked.until).min()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn envelope(range: u64, from: u64, message: &'static [u8]) -> RaftEnvelope {
        RaftEnvelope {
            range: RangeId(range),
            from: ReplicaId(from),
            to: ReplicaId(9),
            descriptor: None,
            stamp: None,
            message: Bytes::from_static(message),
        }
    }

    #[test]
    fn newest_message_of_a_sender_waits_and_leaves_once() {
        let mut parking = Parking::default();
        parking.park(StoreId(1), envelope(7, 1, b"old"), Moment(0));
        parking.park(StoreId(1), envelope(7, 1, b"new"), Moment(1));
        parking.park(StoreId(2), envelope(7, 2, b"other"), Moment(1));
        parking.park(StoreId(2), envelope(8, 2, b"elsewhere"), Moment(1));
        assert_eq!(parking.ranges(), [RangeId(7), RangeId(8)]);
        let left: Vec<_> = parking.leave(RangeId(7)).into_iter().map(|(_, e)| e.message).collect();
        assert_eq!(left, [Bytes::from_static(b"new"), Bytes::from_static(b"other")]);
        assert!(parking.leave(RangeId(7)).is_empty());
        parking.expire(Moment(1).after(limits::PARK_FOR));
        assert!(parking.ranges().is_empty());
    }

    #[test]
    fn full_parking_drops_the_newest() {
        let mut parking = Parking::default();
        for range in 0..2 * limits::PARKED_MESSAGES as u64 {
            parking.park(StoreId(1), envelope(range, 1, b"m"), Moment(0));
        }
        assert_eq!(parking.ranges().len(), limits::PARKED_MESSAGES);
    }
}

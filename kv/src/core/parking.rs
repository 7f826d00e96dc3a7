//! Messages for ranges that are not known here yet: the newest of each sender waits a moment for a split or a creation.

use std::collections::BTreeMap;

use holdfast_replica::RaftEnvelope;
use holdfast_types::{Moment, RangeId, ReplicaId, StoreId, limits};

/// Parked messages of one worker, at most [`limits::PARKED_MESSAGES`] and [`limits::PARKED_BYTES`], each for [`limits::PARK_FOR`].
///
/// Invariant: `bytes` is what all of them take.
#[derive(Default, Debug)]
pub struct Parking {
    parked: BTreeMap<(RangeId, ReplicaId), Parked>,
    bytes: usize,
}

#[derive(Debug)]
struct Parked {
    until: Moment,
    from: StoreId,
    envelope: RaftEnvelope,
}

impl Parked {
    /// What it keeps in memory.
    fn bytes(&self) -> usize {
        let bounds = self.envelope.descriptor.as_ref().map(|descriptor| &descriptor.bounds);
        let keys =
            bounds.map_or(0, |bounds| bounds.start.raw().len() + bounds.end.as_ref().map_or(0, |end| end.raw().len()));
        self.envelope.message.len() + keys + limits::QUEUED_MESSAGE_OVERHEAD_BYTES
    }
}

impl Parking {
    /// Parks a message in place of an older one of the same sender. Full: it is dropped; raft sends again.
    pub fn park(&mut self, from: StoreId, envelope: RaftEnvelope, now: Moment) {
        let place = (envelope.range, envelope.from);
        let parked = Parked { until: now.after(limits::PARK_FOR), from, envelope };
        let older = self.remove(&place);
        if !self.has_room_for(&parked) {
            self.expire(now);
        }
        // Of one sender what there was is as good as nothing.
        if let Some(fitting) = [Some(parked), older].into_iter().flatten().find(|parked| self.has_room_for(parked)) {
            self.bytes += fitting.bytes();
            self.parked.insert(place, fitting);
        }
    }

    fn has_room_for(&self, parked: &Parked) -> bool {
        self.parked.len() < limits::PARKED_MESSAGES && self.bytes + parked.bytes() <= limits::PARKED_BYTES
    }

    fn remove(&mut self, place: &(RangeId, ReplicaId)) -> Option<Parked> {
        let parked = self.parked.remove(place)?;
        self.bytes -= parked.bytes();
        Some(parked)
    }

    /// Takes out what waits for a range.
    pub fn leave(&mut self, range: RangeId) -> Vec<(StoreId, RaftEnvelope)> {
        let places = (range, ReplicaId(0))..=(range, ReplicaId(u64::MAX));
        let here: Vec<_> = self.parked.range(places).map(|(place, _)| *place).collect();
        here.into_iter().filter_map(|p| self.remove(&p)).map(|p| (p.from, p.envelope)).collect()
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
        let bytes = &mut self.bytes;
        self.parked.retain(|_, parked| {
            let stays = parked.until > now;
            *bytes -= if stays { 0 } else { parked.bytes() };
            stays
        });
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
    fn parked_bytes_are_bounded() {
        let mut parking = Parking::default();
        let large: &'static [u8] = vec![7; 1 << 20].leak();
        for range in 0..100 {
            parking.park(StoreId(1), envelope(range, 1, large), Moment(0));
        }
        assert_eq!(
            parking.ranges().len(),
            limits::PARKED_BYTES / (1 << 20) - 1,
            "with what each takes beside its message"
        );
        parking.park(StoreId(1), envelope(0, 1, b"newer"), Moment(1));
        assert_eq!(parking.leave(RangeId(0)).len(), 1);
        parking.expire(Moment(1).after(limits::PARK_FOR));
        assert_eq!(parking.bytes, 0);
        parking.park(StoreId(1), envelope(1, 1, large), Moment(2));
        assert_eq!(parking.leave(RangeId(1)).len(), 1);
        assert_eq!(parking.bytes, 0);
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

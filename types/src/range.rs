//! Key ranges, replicas and range descriptors.

use std::fmt;

use crate::bounds::{OutOfBounds, at_most};
use crate::ids::{RangeId, ReplicaId, SiteName, StoreId};
use crate::key::Key;
use crate::limits;

/// Keys from `start` to before `end`; no `end` means to the end of the key space.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The first key.
    pub start: Key,
    /// The first key that is not in the range.
    pub end: Option<Key>,
}

impl KeyRange {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self { start: Key::MIN, end: None }
    }

    /// True when `key` lies within.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.start <= *key && self.is_before_end(key)
    }

    /// True when every key of `other` lies within.
    #[must_use]
    pub fn contains_range(&self, other: &KeyRange) -> bool {
        self.start <= other.start
            && match (&self.end, &other.end) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(mine), Some(theirs)) => theirs <= mine,
            }
    }

    /// True when some key lies in both.
    #[must_use]
    pub fn overlaps(&self, other: &KeyRange) -> bool {
        !self.is_empty() && !other.is_empty() && self.is_before_end(&other.start) && other.is_before_end(&self.start)
    }

    /// The smallest range that holds both.
    #[must_use]
    pub fn hull(&self, other: &KeyRange) -> KeyRange {
        let end = self.end.as_ref().zip(other.end.as_ref()).map(|(mine, theirs)| mine.max(theirs).clone());
        KeyRange { start: self.start.clone().min(other.start.clone()), end }
    }

    /// What of it lies outside of `other`: before it, behind it, or both.
    #[must_use]
    pub fn without(&self, other: &KeyRange) -> Vec<KeyRange> {
        if !self.overlaps(other) {
            return [self.clone()].into_iter().filter(|all| !all.is_empty()).collect();
        }
        let before = KeyRange { start: self.start.clone(), end: Some(other.start.clone()) };
        let behind = other.end.clone().map(|start| KeyRange { start, end: self.end.clone() });
        [Some(before), behind].into_iter().flatten().filter(|part| !part.is_empty()).collect()
    }

    /// True when no key can lie within.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// True when `key` lies before the end.
    #[must_use]
    pub fn is_before_end(&self, key: &Key) -> bool {
        self.end.as_ref().is_none_or(|end| key < end)
    }
}

impl fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            Some(end) => write!(f, "[{}, {end})", self.start),
            None => write!(f, "[{}, /max)", self.start),
        }
    }
}

/// Counts the changes of a range: whoever holds an older epoch has something to learn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RangeEpoch {
    /// Counts changes of the replicas (entering and leaving a joint configuration count one each).
    pub membership: u64,
    /// Counts changes of the bounds (splits, merges).
    pub bounds: u64,
}

impl RangeEpoch {
    /// The epoch that a socket or a disk names, unless it is out of bounds.
    pub fn bounded(membership: u64, bounds: u64) -> Result<Self, OutOfBounds> {
        let counted = |raw| at_most("a range's epoch", raw, limits::MAX_COUNTED);
        Ok(Self { membership: counted(membership)?, bounds: counted(bounds)? })
    }

    /// The epoch that a socket names; see [`limits::MAX_TOLD`].
    pub fn told(membership: u64, bounds: u64) -> Result<Self, OutOfBounds> {
        let counted = |raw| at_most("a range's epoch", raw, limits::MAX_TOLD);
        Ok(Self { membership: counted(membership)?, bounds: counted(bounds)? })
    }

    /// True when neither part is older than `other`'s and one is newer.
    #[must_use]
    pub fn is_newer_than(&self, other: &RangeEpoch) -> bool {
        self != other && self.membership >= other.membership && self.bounds >= other.bounds
    }
}

impl fmt::Debug for RangeEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}b{}", self.membership, self.bounds)
    }
}

/// What a replica is in its range's configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Votes and counts, in both halves of a joint configuration.
    Voter,
    /// Receives entries, neither votes nor counts.
    Learner,
    /// Joint: a voter of the incoming half only.
    IncomingVoter,
    /// Joint: a voter of the outgoing half only; a learner when the joint configuration is left.
    OutgoingVoter,
}

/// One replica as its range's descriptor names it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReplicaDescriptor {
    /// Unique within the range for ever.
    pub replica: ReplicaId,
    /// Where it lives.
    pub store: StoreId,
    /// The site of that store: copied, because the rule "no two voters in one site" is checked where no fleet view is.
    pub site: SiteName,
    /// Its part in the configuration.
    pub role: Role,
}

/// Bounds, replicas and epoch of a range: replicated data of the range itself.
///
/// Invariants (see [`RangeDescriptor::check`]):
/// - replica ids and stores are unique
/// - every replica id is below `next_replica`, and none is 0, which is nobody
/// - each half of the configuration has a voter
/// - the bounds are not empty
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RangeDescriptor {
    /// The range.
    pub range: RangeId,
    /// Its keys.
    pub bounds: KeyRange,
    /// How often it changed.
    pub epoch: RangeEpoch,
    /// Its replicas, in the order of their ids.
    pub replicas: Vec<ReplicaDescriptor>,
    /// The id that the next new replica gets.
    pub next_replica: ReplicaId,
}

impl RangeDescriptor {
    /// The descriptor, unless a number in it is further than a socket may say.
    pub fn told(self) -> Result<Self, OutOfBounds> {
        RangeEpoch::told(self.epoch.membership, self.epoch.bounds)?;
        ReplicaId::told(self.next_replica.0)?;
        self.replicas.iter().try_for_each(|replica| ReplicaId::told(replica.replica.0).map(drop))?;
        Ok(self)
    }

    /// The replica on `store`.
    #[must_use]
    pub fn replica_on(&self, store: StoreId) -> Option<&ReplicaDescriptor> {
        self.replicas.iter().find(|r| r.store == store)
    }

    /// The replica with that id.
    #[must_use]
    pub fn replica(&self, replica: ReplicaId) -> Option<&ReplicaDescriptor> {
        self.replicas.iter().find(|r| r.replica == replica)
    }

    /// True between entering and leaving a joint configuration.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.replicas.iter().any(|r| matches!(r.role, Role::IncomingVoter | Role::OutgoingVoter))
    }

    /// Voters of the incoming half; of the only one when the configuration is not joint.
    pub fn incoming_voters(&self) -> impl Iterator<Item = &ReplicaDescriptor> + Clone {
        self.replicas.iter().filter(|r| matches!(r.role, Role::Voter | Role::IncomingVoter))
    }

    /// Voters of the outgoing half; of the only one when the configuration is not joint.
    pub fn outgoing_voters(&self) -> impl Iterator<Item = &ReplicaDescriptor> + Clone {
        self.replicas.iter().filter(|r| matches!(r.role, Role::Voter | Role::OutgoingVoter))
    }

    /// Voters of either half.
    pub fn voters(&self) -> impl Iterator<Item = &ReplicaDescriptor> {
        self.replicas.iter().filter(|r| r.role != Role::Learner)
    }

    /// True when `counts` holds for a majority of each half.
    pub fn is_quorum(&self, mut counts: impl FnMut(&ReplicaDescriptor) -> bool) -> bool {
        let mut majority = |half: &mut dyn Iterator<Item = &ReplicaDescriptor>| {
            let (yes, all) = half.fold((0, 0), |(yes, all), r| (yes + usize::from(counts(r)), all + 1));
            yes * 2 > all
        };
        let incoming = majority(&mut self.incoming_voters());
        incoming && (!self.is_joint() || majority(&mut self.outgoing_voters()))
    }

    /// The first site that has two voters within one half, if any: see docs/replication.md#no-two-voters-in-one-site.
    #[must_use]
    pub fn crowded_site(&self) -> Option<&SiteName> {
        // A range has a handful of voters, and this is asked of every range again and again: nothing is put aside for it.
        fn crowded<'a>(half: impl Iterator<Item = &'a ReplicaDescriptor> + Clone) -> Option<&'a SiteName> {
            let before = |i: usize| half.clone().take(i);
            let mut voters = half.clone().enumerate();
            voters.find(|(i, voter)| before(*i).any(|other| other.site == voter.site)).map(|(_, voter)| &voter.site)
        }
        crowded(self.incoming_voters()).or_else(|| crowded(self.outgoing_voters()))
    }

    /// By how many voters a half exceeds one per site: the worse of both.
    pub fn surplus_voters(&self) -> usize {
        fn surplus<'a>(half: impl Iterator<Item = &'a ReplicaDescriptor> + Clone) -> usize {
            half.clone()
                .enumerate()
                .filter(|(i, voter)| half.clone().take(*i).any(|other| other.site == voter.site))
                .count()
        }
        surplus(self.incoming_voters()).max(surplus(self.outgoing_voters()))
    }

    /// Checks the invariants; the error names the one that is broken.
    pub fn check(&self) -> Result<(), String> {
        for (i, replica) in self.replicas.iter().enumerate() {
            if replica.replica == ReplicaId(0) {
                return Err(format!("{}: the replica on {} has no id", self.range, replica.store));
            }
            if replica.replica >= self.next_replica {
                return Err(format!("{}: {} is not below {}", self.range, replica.replica, self.next_replica));
            }
            let twin = self.replicas.iter().skip(i + 1);
            if twin.clone().any(|other| other.replica == replica.replica || other.store == replica.store) {
                return Err(format!("{}: {} on {} appears twice", self.range, replica.replica, replica.store));
            }
        }
        if self.incoming_voters().next().is_none() || self.outgoing_voters().next().is_none() {
            return Err(format!("{}: one half has no voter", self.range));
        }
        if self.bounds.is_empty() {
            return Err(format!("{}: bounds {:?} are empty", self.range, self.bounds));
        }
        Ok(())
    }
}

impl fmt::Debug for RangeDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:?}{:?}", self.range, self.epoch, self.bounds)?;
        for r in &self.replicas {
            let role = match r.role {
                Role::Voter => "",
                Role::Learner => "L",
                Role::IncomingVoter => "+",
                Role::OutgoingVoter => "-",
            };
            write!(f, " {}{role}@{}", r.replica, r.store)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::KeyspaceId;

    fn replica(id: u64, site: &str, role: Role) -> ReplicaDescriptor {
        let site = SiteName::new(site).expect("legal name");
        ReplicaDescriptor { replica: ReplicaId(id), store: StoreId(id), site, role }
    }

    fn descriptor(replicas: Vec<ReplicaDescriptor>) -> RangeDescriptor {
        let next_replica = ReplicaId(replicas.len() as u64 + 1);
        RangeDescriptor {
            range: RangeId(7),
            bounds: KeyRange::all(),
            epoch: RangeEpoch::default(),
            replicas,
            next_replica,
        }
    }

    #[test]
    fn joint_configuration_needs_a_majority_of_both_halves() {
        let joint = descriptor(vec![
            replica(1, "a", Role::Voter),
            replica(2, "b", Role::Voter),
            replica(3, "c", Role::OutgoingVoter),
            replica(4, "c", Role::IncomingVoter),
        ]);
        assert!(joint.check().is_ok());
        assert!(joint.crowded_site().is_none(), "c has one voter in each half");
        assert!(joint.is_quorum(|r| [1, 2].contains(&r.replica.0)));
        assert!(!joint.is_quorum(|r| [1, 3].contains(&r.replica.0)));
        assert!(!joint.is_quorum(|r| [1, 4].contains(&r.replica.0)));
    }

    #[test]
    fn two_voters_in_one_site_are_seen() {
        let crowded = descriptor(vec![replica(1, "a", Role::Voter), replica(2, "a", Role::Voter)]);
        assert_eq!(crowded.crowded_site().map(SiteName::as_str), Some("a"));
        assert_eq!(crowded.surplus_voters(), 1);
        let learner = descriptor(vec![replica(1, "a", Role::Voter), replica(2, "a", Role::Learner)]);
        assert_eq!(learner.surplus_voters(), 0);
        assert!(learner.crowded_site().is_none());
    }

    #[test]
    fn replica_without_an_id_is_refused() {
        let good = descriptor(vec![replica(1, "a", Role::Voter), replica(2, "b", Role::Voter)]);
        assert!(good.check().is_ok());
        let nobody = descriptor(vec![replica(0, "a", Role::Voter), replica(2, "b", Role::Voter)]);
        assert!(nobody.check().is_err());
    }

    #[test]
    fn parts_outside_of_another_range_and_the_hull_of_both() {
        let key = |user: &[u8]| Key::bound(KeyspaceId(1), user);
        let range = |start: &[u8], end: &[u8]| KeyRange { start: key(start), end: Some(key(end)) };
        let all = range(b"a", b"z");
        assert_eq!(all.without(&range(b"c", b"m")), [range(b"a", b"c"), range(b"m", b"z")]);
        assert_eq!(all.without(&range(b"a", b"m")), [range(b"m", b"z")]);
        assert_eq!(all.without(&KeyRange { start: key(b"m"), end: None }), [range(b"a", b"m")]);
        assert_eq!(all.without(&KeyRange::all()), []);
        assert_eq!(range(b"a", b"c").without(&range(b"c", b"m")), [range(b"a", b"c")]);
        assert_eq!(range(b"a", b"c").hull(&range(b"m", b"z")), all);
        assert_eq!(all.hull(&KeyRange::all()), KeyRange::all());
    }

    #[test]
    fn ranges_that_touch_do_not_overlap() {
        let key = |user: &[u8]| Key::bound(KeyspaceId(1), user);
        let left = KeyRange { start: Key::MIN, end: Some(key(b"m")) };
        let right = KeyRange { start: key(b"m"), end: None };
        assert!(!left.overlaps(&right));
        assert!(!right.overlaps(&left));
        assert!(right.contains(&key(b"m")));
        assert!(!left.contains(&key(b"m")));
        assert!(KeyRange::all().contains_range(&left));
        assert!(!left.contains_range(&KeyRange::all()));
    }
}

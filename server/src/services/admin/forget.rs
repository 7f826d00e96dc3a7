//! Takes a store that is dead for good, or that was drained, out of the fleet's list. Its record is marked, not deleted: the id is never given away again, and
//! whoever reads the mark refuses the store from then on.
//!
//! ```text
//! record ─▶ who hears it, who holds what of it ─▶ mark, if the record is as it was looked at ─▶ directory ─▶ streams, heartbeats
//!              (every store is asked)               (compare and swap)
//! ```
//!
//! Placement takes a store that has been silent for [`limits::FORGET_AFTER_SILENCE`] for dead and gives it nothing, nor does it give
//! anything to one that came back before it has read the records anew; and whoever leads a range and knows the mark refuses to add or
//! promote a replica there. What slips in between the look and the mark all the same, by hand or because the store came back in that
//! moment, counts for nothing: the store is refused at its next handshake, and placement takes the replica away at once, because the
//! store is no member.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::{BTreeMap, BTreeSet};

use holdfast_kv::core::records;
use holdfast_placement::{StateKey, StoreRecord};
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_types::{
    Condition, Expected, KeyRange, RangeDescriptor, RangeId, Rejected, StoreId, Timestamp, VersionedValue, limits,
};
use tonic::Status;

use super::AdminService;
use super::ranges::Wanted;
use crate::running::Running;
use crate::system;

/// How often it is begun again when the record changed meanwhile.
const MAX_TRIES: usize = 16;
/// Ranges of one question to the others.
const RANGES_AT_A_TIME: usize = 1_000;
/// Ranges and stores that one refusal names.
const NAMED: usize = 5;

/// Why a store is not forgotten, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
enum Refusal {
    /// It answers this very call.
    #[error("{0} answers this call, so it is alive: stop it for good, then ask another store to forget it")]
    Itself(StoreId),
    /// Some store hears it.
    #[error("{store} is alive: {} {} it now or heard it a moment ago; empty it first (`holdfast drain {store}`), or stop it for good and ask \
         again when it has been silent for {} s",
        named(by), if by.len() == 1 { "hears" } else { "hear" }, limits::FORGET_AFTER_SILENCE.as_secs())]
    Alive {
        /// Which.
        store: StoreId,
        /// Who hears it.
        by: Vec<StoreId>,
    },
    /// It still counts in some range.
    #[error(
        "{store} holds replicas that count, of {}: wait until placement has replaced them, or move them away by hand (ChangeReplicas), \
         then ask again",
        named(ranges)
    )]
    HoldsReplicas {
        /// Which.
        store: StoreId,
        /// The ranges that it has replicas of, by their newest descriptors.
        ranges: Vec<RangeId>,
    },
}

pub(super) fn named<T: std::fmt::Display>(all: &[T]) -> String {
    let names: Vec<_> = all.iter().take(NAMED).map(ToString::to_string).collect();
    let more = all.len().saturating_sub(names.len());
    if more == 0 { names.join(", ") } else { format!("{} and {more} more", names.join(", ")) }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Status::failed_precondition(refusal.to_string())
    }
}

/// What the fleet knows of a store that is to be forgotten.
#[derive(Default, Debug)]
struct Look {
    /// Stores that hear it; itself, if it answers.
    heard_by: Vec<StoreId>,
    /// Ranges of which it has a replica.
    ranges: Vec<RangeId>,
    /// Other stores that did not answer.
    silent: Vec<v1::SilentStore>,
}

impl Look {
    /// A store that was drained may live: it was emptied for this, gets nothing any more, and says itself that it holds nothing.
    fn judge(&self, record: &StoreRecord) -> Result<(), Refusal> {
        let store = record.store;
        let (lives, says_so) = (!self.heard_by.is_empty(), self.heard_by.contains(&store));
        if lives && !(record.is_leaving() && says_so) {
            return Err(Refusal::Alive { store, by: self.heard_by.clone() });
        }
        if !self.ranges.is_empty() {
            return Err(Refusal::HoldsReplicas { store, ranges: self.ranges.clone() });
        }
        Ok(())
    }
}

/// The ranges that have a replica on a store, by the newest of these descriptors.
fn ranges_on(store: StoreId, known: impl Iterator<Item = RangeDescriptor>) -> Vec<RangeId> {
    let mut newest: BTreeMap<RangeId, RangeDescriptor> = BTreeMap::new();
    for descriptor in known {
        let is_newer = newest.get(&descriptor.range).is_none_or(|old| descriptor.epoch.is_newer_than(&old.epoch));
        if is_newer {
            newest.insert(descriptor.range, descriptor);
        }
    }
    let here = newest.into_iter().filter(|(_, descriptor)| descriptor.replica_on(store).is_some());
    here.map(|(range, _)| range).collect()
}

/// Who hears a store, by what each store that answered says.
pub(super) fn heard_by(store: StoreId, answers: &BTreeMap<StoreId, v1::ListStoresResponse>) -> Vec<StoreId> {
    let says_so = |(asked, answer): &(&StoreId, &v1::ListStoresResponse)| {
        // Whoever answers at the address of a store that is gone is not that store.
        let status = answer.stores.iter().find(|status| status.store_id == asked.0);
        status.is_some_and(|status| **asked == store || status.hears.contains(&store.0))
    };
    answers.iter().filter(says_so).map(|(asked, _)| *asked).collect()
}

fn answer(record: &StoreRecord, changed: bool, silent: Vec<v1::SilentStore>) -> v1::ForgetStoreResponse {
    v1::ForgetStoreResponse {
        store_id: record.store.0,
        site: record.site.to_string(),
        forgotten_at: record.forgotten_at.unwrap_or_default().0,
        changed,
        silent,
    }
}

impl AdminService {
    /// Forgets a store, unless it is alive or holds replicas.
    pub(super) async fn forget(
        &self,
        running: &Running,
        request: v1::ForgetStoreRequest,
    ) -> Result<v1::ForgetStoreResponse, Status> {
        let store = super::bounded(StoreId::bounded(request.store_id))?;
        if store == StoreId::NONE {
            return Err(super::invalid("name the store that is to be forgotten"));
        }
        if store == running.store_id {
            return Err(Refusal::Itself(store).into());
        }
        for _ in 0..MAX_TRIES {
            let found = system::get(running, &StateKey::Store(store).key()).await.map_err(to_status)?;
            let found = found.ok_or_else(|| Status::not_found(format!("{store} is no store of this fleet")))?;
            let record = records::decode_store(&found.value).map_err(system::damaged).map_err(to_status)?;
            if record.is_forgotten() {
                running.directory.learn(std::slice::from_ref(&record));
                return Ok(answer(&record, false, Vec::new()));
            }
            let look = self.look_at(running, store).await?;
            look.judge(&record)?;
            if let Some(record) = mark(running, record, &found).await.map_err(to_status)? {
                tracing::info!(%store, site = %record.site, "a store was forgotten");
                running.directory.learn(std::slice::from_ref(&record));
                return Ok(answer(&record, true, look.silent));
            }
        }
        Err(to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }))
    }

    /// Asks every store what it knows of one of them.
    async fn look_at(&self, running: &Running, store: StoreId) -> Result<Look, Status> {
        let recorded = system::all(running, StateKey::all_ranges(), system::PATIENCE, records::decode_range);
        let looked = async { tokio::try_join!(self.statuses(running), self.all_descriptors(running)) };
        let (looked, recorded) = tokio::join!(looked, recorded);
        let (gathered, held) = looked?;
        let recorded = recorded.map_err(to_status)?;
        let mut look = Look { heard_by: heard_by(store, &gathered.answers), ..Look::default() };
        if running.hears(store) {
            look.heard_by.insert(0, running.store_id);
        }
        look.ranges = ranges_on(store, held.into_iter().chain(recorded));
        look.silent = gathered.silent;
        look.silent.retain(|silent| silent.store_id != store.0);
        Ok(look)
    }

    /// All ranges, each by the newest that any store that answers knows of it.
    async fn all_descriptors(&self, running: &Running) -> Result<Vec<RangeDescriptor>, Status> {
        let ranges = self.all_ranges(running).await?.0.into_iter().filter_map(|range| range.descriptor);
        Ok(ranges.filter_map(|descriptor| RangeDescriptor::try_from(descriptor).ok()).collect())
    }

    /// The same as they are told, and who did not answer. Who did not answer once is asked no more: a dead store would be waited for with
    /// every page.
    pub(super) async fn all_ranges(
        &self,
        running: &Running,
    ) -> Result<(Vec<v1::RangeStatus>, Vec<v1::SilentStore>), Status> {
        let mut wanted = Wanted { bounds: KeyRange::all(), only: None, limit: RANGES_AT_A_TIME };
        let (mut found, mut silent, mut spared) = (Vec::new(), Vec::new(), BTreeSet::new());
        loop {
            let page = self.merged(running, &wanted, &spared).await?;
            found.extend(page.ranges);
            spared.extend(page.silent.iter().filter_map(|silent| super::store_of(silent.store_id)));
            silent.extend(page.silent);
            match page.resume {
                Some(resume) => wanted.bounds.start = resume,
                None => return Ok((found, silent)),
            }
        }
    }
}

/// Marks a record as it was looked at. `None`: it is another one by now.
async fn mark(running: &Running, record: StoreRecord, found: &VersionedValue) -> Result<Option<StoreRecord>, Rejected> {
    let forgotten_at = Some(running.fleet_now().max(Timestamp(1)));
    let marked = StoreRecord { forgotten_at, ..record };
    let key = StateKey::Store(marked.store).key();
    let condition = Condition { key: key.clone(), expected: Expected::Version(found.timestamp) };
    let written = system::write(running, vec![condition], vec![system::put(key, records::encode_store(&marked))]);
    Ok(written.await?.then_some(marked))
}

#[cfg(test)]
mod tests {
    use holdfast_types::{RangeEpoch, ReplicaDescriptor, ReplicaId, Role, SiteName};

    use super::*;

    const DEAD: StoreId = StoreId(4);

    fn record(leaving_at: Option<Timestamp>) -> StoreRecord {
        StoreRecord { joined_at: Timestamp(1), leaving_at, ..StoreRecord::new(DEAD, SiteName::new("a").unwrap()) }
    }

    fn descriptor(range: u64, membership: u64, stores: &[(u64, Role)]) -> RangeDescriptor {
        let replica = |(store, role): &(u64, Role)| ReplicaDescriptor {
            replica: ReplicaId(*store),
            store: StoreId(*store),
            site: SiteName::new("a").unwrap(),
            role: *role,
        };
        RangeDescriptor {
            range: RangeId(range),
            bounds: KeyRange::all(),
            epoch: RangeEpoch { membership, bounds: 1 },
            replicas: stores.iter().map(replica).collect(),
            next_replica: ReplicaId(9),
        }
    }

    #[test]
    fn the_newest_descriptor_of_each_range_says_whether_a_replica_counts() {
        let known = [
            // It left, and one record is older than that.
            descriptor(7, 3, &[(1, Role::Voter), (2, Role::Voter)]),
            descriptor(7, 2, &[(1, Role::Voter), (4, Role::Voter)]),
            // It came, and one store has not heard.
            descriptor(8, 2, &[(1, Role::Voter)]),
            descriptor(8, 3, &[(1, Role::Voter), (4, Role::Learner)]),
            descriptor(9, 1, &[(1, Role::Voter), (4, Role::OutgoingVoter)]),
        ];
        assert_eq!(ranges_on(DEAD, known.clone().into_iter()), [RangeId(8), RangeId(9)]);
        assert_eq!(ranges_on(DEAD, known.into_iter().rev()), [RangeId(8), RangeId(9)], "in any order");
        assert_eq!(ranges_on(DEAD, std::iter::empty()), []);
    }

    fn says(store: u64, hears: &[u64]) -> v1::ListStoresResponse {
        let status = v1::StoreStatus { store_id: store, hears: hears.to_vec(), ..v1::StoreStatus::default() };
        v1::ListStoresResponse { stores: vec![status], silent: Vec::new() }
    }

    #[test]
    fn one_store_that_hears_it_is_enough_and_so_is_its_own_answer() {
        let of = |answers: Vec<(u64, v1::ListStoresResponse)>| {
            heard_by(DEAD, &answers.into_iter().map(|(store, answer)| (StoreId(store), answer)).collect())
        };
        assert_eq!(of(vec![(2, says(2, &[1, 3])), (3, says(3, &[1, 2]))]), []);
        assert_eq!(of(vec![(2, says(2, &[1, 3, 4])), (3, says(3, &[1, 2]))]), [StoreId(2)]);
        assert_eq!(of(vec![(4, says(4, &[]))]), [DEAD]);
        assert_eq!(of(vec![(4, says(3, &[1, 2]))]), [], "another store lives at its address now");
    }

    #[test]
    fn a_store_is_forgotten_only_when_it_is_dead_and_nothing_of_it_counts() {
        let look = |heard: &[u64], ranges: &[u64]| Look {
            heard_by: heard.iter().copied().map(StoreId).collect(),
            ranges: ranges.iter().copied().map(RangeId).collect(),
            silent: Vec::new(),
        };
        assert_eq!(look(&[], &[]).judge(&record(None)), Ok(()));
        let alive = look(&[2, 3], &[7]).judge(&record(None)).unwrap_err().to_string();
        assert!(alive.starts_with("s4 is alive: s2, s3 hear it now") && alive.contains("silent for 3 s"), "{alive}");
        let drained = record(Some(Timestamp(9)));
        assert_eq!(look(&[4, 2], &[]).judge(&drained), Ok(()), "it was emptied for this");
        assert!(
            matches!(look(&[2], &[]).judge(&drained), Err(Refusal::Alive { .. })),
            "it does not say that it is empty"
        );
        assert!(matches!(look(&[4, 2], &[7]).judge(&drained), Err(Refusal::HoldsReplicas { .. })));
        let one = look(&[2], &[]).judge(&record(None)).unwrap_err().to_string();
        assert!(one.starts_with("s4 is alive: s2 hears it now"), "{one}");
        let many = look(&[], &[1, 2, 3, 4, 5, 6, 7]).judge(&record(None)).unwrap_err().to_string();
        assert!(many.starts_with("s4 holds replicas that count, of r1, r2, r3, r4, r5 and 2 more: wait"), "{many}");
        let itself = Status::from(Refusal::Itself(DEAD));
        assert_eq!(itself.code(), tonic::Code::FailedPrecondition);
        assert!(itself.message().contains("ask another store"), "{itself:?}");
    }
}

//! Marks stores as leaving, or takes that back. What the mark brings about is placement's; here it is judged whether it may be made.
//!
//! ```text
//! records ─▶ who lives, who holds what ─▶ placement's judgement ─▶ mark, if no record has changed since ─▶ directory
//! ```
//!
//! The condition is on the records of all members, so two drains that are asked for at the same moment are judged one after the other: the
//! second one sees the mark of the first.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::{BTreeMap, BTreeSet};

use holdfast_kv::core::records;
use holdfast_placement::view::StoreView;
use holdfast_placement::{CannotLeave, FleetView, Policies, RangeView, StateKey, StoreRecord, judge_leaving};
use holdfast_proto::convert::status::{cannot_leave, to_status};
use holdfast_proto::v1;
use holdfast_proto::v1::CannotLeaveReason as Reason;
use holdfast_types::bounds::cut;
use holdfast_types::{Condition, Expected, Moment, RangeDescriptor, Rejected, StoreId, Timestamp, limits};
use tonic::Status;

use super::AdminService;
use crate::running::Running;
use crate::system;

/// How often it is begun again when a record changed meanwhile.
const MAX_TRIES: usize = 16;

/// What the fleet says of itself at the moment.
pub(super) struct Look {
    stores: BTreeMap<StoreId, v1::StoreStatus>,
    heard: BTreeSet<StoreId>,
    ranges: Vec<(RangeDescriptor, Option<StoreId>, u64)>,
    silent: Vec<v1::SilentStore>,
}

fn refuse(reason: Reason, message: String) -> Status {
    cannot_leave(&v1::CannotLeave { reason: reason.into(), message })
}

fn dead(store: StoreId) -> Status {
    refuse(
        Reason::Dead,
        format!(
            "{store} is dead, nothing can be moved from it: wait until placement has replaced what it held, then `holdfast forget {store}`; or \
             start it, and drain it then"
        ),
    )
}

impl Look {
    fn lives(&self, store: StoreId) -> bool {
        self.stores.contains_key(&store) || self.heard.contains(&store)
    }

    /// The fleet as placement sees it, but for loads of single ranges, which only their leaders know.
    pub(super) fn view(&self, members: &[StoreRecord]) -> FleetView {
        let mut view = FleetView::new(Moment::ZERO);
        for record in members {
            view.stores.insert(record.store, store_view(record, self.stores.get(&record.store)));
        }
        for (descriptor, leader, bytes) in &self.ranges {
            let caught_up = descriptor.replicas.iter().map(|replica| replica.replica).collect();
            let range = RangeView::idle(descriptor.clone(), *leader, caught_up, Moment::ZERO);
            view.ranges.insert(descriptor.range, RangeView { size_bytes: *bytes, ..range });
        }
        view
    }

    fn told(&self, record: &StoreRecord, changed: bool) -> v1::DrainedStore {
        let here = self.ranges.iter().filter(|(descriptor, ..)| descriptor.replica_on(record.store).is_some());
        let (mut ranges_left, mut bytes_left) = (0_u64, 0_u64);
        for (_, _, bytes) in here {
            ranges_left = u64::saturating_add(ranges_left, 1);
            bytes_left = u64::saturating_add(bytes_left, *bytes);
        }
        v1::DrainedStore {
            store_id: record.store.0,
            site: record.site.to_string(),
            leaving_at: record.leaving_at.unwrap_or_default().0,
            changed,
            ranges_left,
            bytes_left,
        }
    }
}

/// `said`: by itself, if it answered.
fn store_view(record: &StoreRecord, said: Option<&v1::StoreStatus>) -> StoreView {
    let silent = StoreView { alive: false, leaving: record.is_leaving(), ..StoreView::alive_at(record.site.clone()) };
    let Some(said) = said else { return silent };
    let unfit = [v1::ComplaintKind::Disk, v1::ComplaintKind::Clock];
    StoreView {
        alive: true,
        draining: said.draining,
        capacity_millicores: u64::from(said.cores.max(1)).saturating_mul(1_000),
        used_millicores: cut(said.used_millicores, limits::MAX_REPORTED_RATE),
        disk_total_bytes: cut(said.disk_total_bytes, limits::MAX_REPORTED_BYTES),
        disk_free_bytes: cut(said.disk_free_bytes, limits::MAX_REPORTED_BYTES),
        disk_ok: !said.complaints.iter().any(|complaint| unfit.contains(&complaint.kind())),
        ..silent
    }
}

/// The records of the stores that are named; refuses what is no member.
fn named<'a>(known: &'a [StoreRecord], wanted: &BTreeSet<StoreId>) -> Result<Vec<&'a StoreRecord>, Status> {
    let find = |store: &StoreId| {
        let found = known.iter().find(|record| record.store == *store);
        let record = found.ok_or_else(|| Status::not_found(format!("{store} is no store of this fleet")))?;
        if record.is_forgotten() {
            return Err(refuse(
                Reason::Forgotten,
                format!("{store} was forgotten by the fleet: there is nothing to drain"),
            ));
        }
        Ok(record)
    };
    wanted.iter().map(find).collect()
}

fn condition(record: &StoreRecord) -> Condition {
    let key = StateKey::Store(record.store).key();
    Condition { key, expected: Expected::Value(records::encode_store(record)) }
}

impl AdminService {
    /// Marks stores as leaving, or takes that back.
    pub(super) async fn drain(
        &self,
        running: &Running,
        request: v1::DrainStoresRequest,
    ) -> Result<v1::DrainStoresResponse, Status> {
        let wanted = request.store_ids.iter().map(|store| super::bounded(StoreId::bounded(*store)));
        let wanted = wanted.collect::<Result<BTreeSet<StoreId>, Status>>()?;
        if wanted.is_empty() || wanted.contains(&StoreId::NONE) {
            return Err(super::invalid("name the stores that are to leave"));
        }
        for _ in 0..MAX_TRIES {
            let known = system::all(running, StateKey::all_stores(), system::PATIENCE, records::decode_store);
            let known = known.await.map_err(to_status)?;
            let named = named(&known, &wanted)?;
            let look = self.look_for_drain(running).await?;
            let other: Vec<_> = named.iter().copied().filter(|record| record.is_leaving() == request.cancel).collect();
            if !request.cancel && !other.is_empty() {
                self.judge(running, &known, &look, &other).await?;
            }
            let leaving_at = (!request.cancel).then(|| running.fleet_now().max(Timestamp(1)));
            let marked: Vec<_> = other.iter().map(|record| StoreRecord { leaving_at, ..(*record).clone() }).collect();
            let guarded = known.iter().filter(|record| !record.is_forgotten() && !request.cancel);
            let guarded = guarded.chain(other.iter().copied().filter(|_| request.cancel));
            if !marked.is_empty()
                && !write(running, guarded.map(condition).collect(), &marked).await.map_err(to_status)?
            {
                continue;
            }
            running.directory.learn(&marked);
            for record in &marked {
                tracing::info!(store = %record.store, site = %record.site, cancel = request.cancel, "a store is to leave, or no longer");
            }
            let told = named.iter().map(|record| {
                let changed = marked.iter().find(|marked| marked.store == record.store);
                look.told(changed.unwrap_or(record), changed.is_some())
            });
            let mut silent = look.silent.clone();
            silent.retain(|silent| super::store_of(silent.store_id).is_none_or(|store| !wanted.contains(&store)));
            return Ok(v1::DrainStoresResponse { stores: told.collect(), silent });
        }
        Err(to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }))
    }

    /// Refuses what the stores that stay could not bear. `leaving`: those that are to be marked.
    async fn judge(
        &self,
        running: &Running,
        known: &[StoreRecord],
        look: &Look,
        leaving: &[&StoreRecord],
    ) -> Result<(), Status> {
        if let Some(record) = leaving.iter().find(|record| !look.lives(record.store)) {
            return Err(dead(record.store));
        }
        let policies = policies(running).await.map_err(to_status)?;
        let members: Vec<_> = known.iter().filter(|record| !record.is_forgotten()).cloned().collect();
        let stores: BTreeSet<_> = leaving.iter().map(|record| record.store).collect();
        // One at a time, and not in the way of other tasks: it goes through all ranges.
        let _turn = self.judging.lock().await;
        let judged = tokio::task::block_in_place(|| judge_leaving(&look.view(&members), &policies, &stores));
        judged.map_err(|why| {
            let reason = match &why {
                CannotLeave::Places { .. } => Reason::Places,
                CannotLeave::Disk { .. } => Reason::Disk,
                CannotLeave::Load(_) => Reason::Load,
            };
            let names: Vec<_> = stores.iter().map(ToString::to_string).collect();
            refuse(reason, format!("{} cannot leave, nothing was moved: {why}", names.join(" and ")))
        })
    }

    /// Asks every store how it is and what it holds.
    pub(super) async fn look_for_drain(&self, running: &Running) -> Result<Look, Status> {
        let (gathered, (ranges, _)) = tokio::try_join!(self.statuses(running), self.all_ranges(running))?;
        let mut stores = BTreeMap::from([(running.store_id, self.own_status(running))]);
        for (store, answer) in gathered.answers {
            // Whoever answers at the address of a store that is gone is not that store.
            stores.extend(answer.stores.into_iter().find(|said| said.store_id == store.0).map(|said| (store, said)));
        }
        let heard =
            stores.values().flat_map(|said| said.hears.iter().filter_map(|heard| super::store_of(*heard))).collect();
        let understood = |range: v1::RangeStatus| {
            let leader = super::store_of(range.leader_store);
            let bytes = cut(range.approximate_bytes, limits::MAX_REPORTED_RANGE_BYTES);
            Some((RangeDescriptor::try_from(range.descriptor?).ok()?, leader, bytes))
        };
        let ranges = ranges.into_iter().filter_map(understood).collect();
        Ok(Look { stores, heard, ranges, silent: gathered.silent })
    }
}

/// The policies that are on record.
pub(super) async fn policies(running: &Running) -> Result<Policies, Rejected> {
    let rows = system::rows(running, StateKey::all_policies(), system::PATIENCE).await?;
    let policies = rows.into_iter().filter_map(|(key, value)| match StateKey::parse(&key) {
        // One that cannot be read is not used by placement either, which complains of it.
        Some(StateKey::Policy(keyspace)) => Some((keyspace, records::decode_policy(&value).ok()?)),
        _ => None,
    });
    Ok(Policies::default().overlaid(&policies.collect()))
}

async fn write(running: &Running, guarded: Vec<Condition>, marked: &[StoreRecord]) -> Result<bool, Rejected> {
    let put = |record: &StoreRecord| system::put(StateKey::Store(record.store).key(), records::encode_store(record));
    system::write(running, guarded, marked.iter().map(put).collect()).await
}

#[cfg(test)]
mod tests {
    use holdfast_proto::convert::status::why_cannot_leave;
    use holdfast_types::SiteName;

    use super::*;

    fn record(store: u64) -> StoreRecord {
        StoreRecord { joined_at: Timestamp(1), ..StoreRecord::new(StoreId(store), SiteName::new("a").unwrap()) }
    }

    #[test]
    fn only_members_are_drained() {
        let known = [record(1), StoreRecord { forgotten_at: Some(Timestamp(2)), ..record(2) }];
        let of = |store| named(&known, &BTreeSet::from([StoreId(store)]));
        assert_eq!(of(1).unwrap(), [&known[0]]);
        assert_eq!(of(3).unwrap_err().code(), tonic::Code::NotFound);
        let why = why_cannot_leave(&of(2).unwrap_err()).unwrap();
        assert_eq!(why.reason(), Reason::Forgotten);
    }

    #[test]
    fn a_store_is_dead_when_neither_it_nor_anybody_says_otherwise() {
        let look = |answered: &[u64], heard: &[u64]| Look {
            stores: answered.iter().map(|store| (StoreId(*store), v1::StoreStatus::default())).collect(),
            heard: heard.iter().copied().map(StoreId).collect(),
            ranges: Vec::new(),
            silent: Vec::new(),
        };
        assert!(look(&[1, 4], &[]).lives(StoreId(4)) && look(&[1], &[4]).lives(StoreId(4)));
        assert!(!look(&[1], &[2]).lives(StoreId(4)));
        let why = why_cannot_leave(&dead(StoreId(4))).unwrap();
        assert!(why.reason() == Reason::Dead && why.message.contains("holdfast forget s4"), "{why:?}");
    }

    #[test]
    fn what_did_not_answer_takes_nothing_in() {
        let view = store_view(&record(1), None);
        assert!(!view.alive && !view.could_take_replicas());
        let full = v1::Complaint { kind: v1::ComplaintKind::Disk.into(), message: String::new() };
        let said = v1::StoreStatus { cores: 2, complaints: vec![full], ..v1::StoreStatus::default() };
        let view = store_view(&record(1), Some(&said));
        assert!(view.alive && !view.could_take_replicas() && view.capacity_millicores == 2_000);
    }
}

//! Changes by hand: splits, replicas, leaders. The range is looked up anew for each try, so that an old picture costs time only.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::time::Duration;

use holdfast_kv::core::message::RangeHint;
use holdfast_kv::core::permit::check_admin;
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_proto::v1::change_replicas_request::Change;
use holdfast_proto::v1::transfer_leader_request::To;
use holdfast_replica::{AdminRequest, MembershipChange};
use holdfast_types::{
    Key, RangeDescriptor, RangeId, Rejected, ReplicaDescriptor, ReplicaId, Role, SiteName, StoreId, Term,
};
use tokio::time::Instant;
use tonic::Status;

use super::{AdminService, bounded, check_epoch, invalid, store_of};
use crate::running::Running;

/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before a change is tried again, or looked for.
const AGAIN_AFTER: Duration = Duration::from_millis(25);
/// How long the answer to a split waits for word of the right side. It is there, told or not.
const RIGHT_SIDE_IS_KNOWN: Duration = Duration::from_secs(2);

/// A range as it was looked up.
struct Looked {
    descriptor: RangeDescriptor,
    leader: Option<StoreId>,
    status: v1::RangeStatus,
}

impl Looked {
    fn new(status: v1::RangeStatus) -> Option<Self> {
        let descriptor = RangeDescriptor::try_from(status.descriptor.clone()?).ok()?;
        let leader = store_of(status.leader_store);
        Some(Self { descriptor, leader, status })
    }
}

impl AdminService {
    pub(super) async fn split(
        &self,
        running: &Running,
        request: v1::SplitRangeRequest,
    ) -> Result<v1::SplitRangeResponse, Status> {
        let at = split_key(request.key)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let looked = self.look_up_key(running, &at).await?;
            let looked = looked.ok_or_else(|| nobody(&format!("the range of {at}")))?;
            let found = looked.descriptor;
            check_epoch(found.range, found.epoch, request.expected_epoch)?;
            if found.bounds.start == at {
                return Ok(v1::SplitRangeResponse { left: None, right: Some(found.into()), changed: false });
            }
            // The leader's store names the right range: ids come from its own counter.
            let change = AdminRequest::Split { at: at.clone(), right: RangeId(0) };
            match running.administer(found.range, change, left(deadline)).await {
                Ok(done) => {
                    let right = self.right_side(running, &at).await.map(Into::into);
                    return Ok(v1::SplitRangeResponse { left: Some(done.descriptor.into()), right, changed: true });
                }
                Err(rejected) => self.again(rejected, deadline).await?,
            }
        }
    }

    /// The right side of a split that was done a moment ago, on a store that has not said so yet perhaps.
    async fn right_side(&self, running: &Running, at: &Key) -> Option<RangeDescriptor> {
        let deadline = Instant::now() + RIGHT_SIDE_IS_KNOWN;
        loop {
            let looked = self.look_up_key(running, at).await.ok().flatten().map(|looked| looked.descriptor);
            let right = looked.filter(|right| right.bounds.start == *at);
            if right.is_some() || Instant::now() >= deadline {
                return right;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    pub(super) async fn change(
        &self,
        running: &Running,
        request: v1::ChangeReplicasRequest,
    ) -> Result<v1::ChangeReplicasResponse, Status> {
        let range = bounded(RangeId::bounded(request.range_id))?;
        let change = AdminRequest::ChangeMembership(membership(running, request.change)?);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.look_up(running, range).await?.descriptor;
            check_epoch(range, found.epoch, request.expected_epoch)?;
            match running.administer(range, change.clone(), left(deadline)).await {
                Ok(done) => return Ok(v1::ChangeReplicasResponse { descriptor: Some(done.descriptor.into()) }),
                Err(rejected) => self.again(rejected, deadline).await?,
            }
        }
    }

    pub(super) async fn transfer(
        &self,
        running: &Running,
        request: v1::TransferLeaderRequest,
    ) -> Result<v1::TransferLeaderResponse, Status> {
        let range = bounded(RangeId::bounded(request.range_id))?;
        let to = request.to.ok_or_else(|| invalid("name the store or the site that is to lead"))?;
        let site = match &to {
            To::Site(name) => Some(SiteName::new(name).map_err(invalid)?),
            To::StoreId(_) => None,
        };
        let is_wanted = |replica: &ReplicaDescriptor| match &to {
            To::StoreId(store) => replica.store.0 == *store,
            To::Site(_) => Some(&replica.site) == site.as_ref(),
        };
        let deadline = Instant::now() + PATIENCE;
        let mut changed = false;
        loop {
            let looked = self.look_up(running, range).await?;
            if !changed {
                check_epoch(range, looked.descriptor.epoch, request.expected_epoch)?;
            }
            let leader = looked.leader.and_then(|store| looked.descriptor.replica_on(store));
            if looked.status.confirmed && leader.is_some_and(is_wanted) {
                return Ok(v1::TransferLeaderResponse { range: Some(looked.status), changed });
            }
            let target = heir(running, &looked.descriptor, is_wanted)?;
            let transfer = AdminRequest::Transfer { to: target };
            match running.administer(range, transfer, left(deadline)).await {
                // Of one that leads already, by word of itself, the next look will say so too.
                Ok(_) => changed |= !leader.is_some_and(is_wanted),
                Err(rejected) => self.again(rejected, deadline).await?,
            }
            if left(deadline).is_zero() {
                return Err(Status::deadline_exceeded(format!("{range} has not gone over in time: look who leads it")));
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn look_up(&self, running: &Running, range: RangeId) -> Result<Looked, Status> {
        let found = self.range(running, range).await?.and_then(Looked::new);
        let found = found.ok_or_else(|| Status::not_found(format!("no store knows a range {range}")))?;
        learn(running, &found);
        Ok(found)
    }

    async fn look_up_key(&self, running: &Running, key: &Key) -> Result<Option<Looked>, Status> {
        let found = self.range_of(running, key).await?.and_then(Looked::new);
        if let Some(found) = &found {
            learn(running, found);
        }
        Ok(found)
    }

    /// Waits before the next try, or gives up.
    async fn again(&self, rejected: Rejected, deadline: Instant) -> Result<(), Status> {
        if !rejected.may_retry() || rejected.is_ambiguous() || left(deadline) <= AGAIN_AFTER {
            return Err(to_status(rejected));
        }
        tokio::time::sleep(AGAIN_AFTER).await;
        Ok(())
    }
}

/// The workers route by what they have heard.
fn learn(running: &Running, found: &Looked) {
    let hint = RangeHint {
        descriptor: found.descriptor.clone(),
        term: Term::bounded(found.status.term).unwrap_or_default(),
        leader: found.leader,
    };
    running.store.learn(vec![hint]);
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn nobody(what: &str) -> Status {
    to_status(Rejected::Unavailable(format!("no store that answers knows {what}")))
}

fn split_key(raw: bytes::Bytes) -> Result<Key, Status> {
    if raw.is_empty() {
        // Between stores it means the middle of the data.
        return Err(invalid("name the key to split at"));
    }
    let at = Key::from_raw(raw).map_err(|bad| invalid(bad.to_string()))?;
    // Before anybody looks for its range.
    check_admin(&AdminRequest::Split { at: at.clone(), right: RangeId(0) }).map_err(to_status)?;
    Ok(at)
}

fn membership(running: &Running, change: Option<Change>) -> Result<MembershipChange, Status> {
    let replicas = |ids: Vec<u64>| ids.into_iter().map(|id| bounded(ReplicaId::bounded(id))).collect::<Result<_, _>>();
    Ok(match change.ok_or_else(|| invalid("name the change"))? {
        Change::AddLearner(add) => {
            let store = bounded(StoreId::bounded(add.store_id))?;
            let site = running.directory.all().get(&store).map(|record| record.site.clone());
            let site = site.ok_or_else(|| invalid(format!("{store} is no store of this fleet")))?;
            MembershipChange::AddLearner { store, site }
        }
        Change::Reconfigure(change) => {
            MembershipChange::Reconfigure { promote: replicas(change.promote)?, demote: replicas(change.demote)? }
        }
        Change::RemoveLearner(remove) => {
            MembershipChange::RemoveLearner { replica: bounded(ReplicaId::bounded(remove.replica_id))? }
        }
    })
}

/// Who is to lead: of the voters wanted the one that lives and leads least.
fn heir(
    running: &Running,
    descriptor: &RangeDescriptor,
    is_wanted: impl Fn(&ReplicaDescriptor) -> bool,
) -> Result<ReplicaId, Status> {
    let range = descriptor.range;
    let lives = |store: StoreId| store == running.store_id || running.incoming.reaches(store);
    let led = |store: StoreId| running.store.counts(store).led;
    let voters = descriptor.voters().filter(|replica| replica.role == Role::Voter && is_wanted(replica));
    let live = voters.filter(|replica| lives(replica.store));
    live.min_by_key(|replica| (led(replica.store), replica.store)).map(|replica| replica.replica).ok_or_else(|| {
        let voters: Vec<_> = descriptor.voters().map(|voter| format!("{} in {}", voter.store, voter.site)).collect();
        Status::failed_precondition(format!(
            "no live voter of {range} lies there: its voters are {}",
            voters.join(", ")
        ))
    })
}

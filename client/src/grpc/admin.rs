//! The admin API: looking at a fleet as a whole, and changing it by hand.
//!
//! ```no_run
//! use holdfast_client::KeyspaceId;
//! use holdfast_client::admin::{Admin, AdminError, LeaderGoesTo, Ranges};
//!
//! # async fn example() -> Result<(), AdminError> {
//! let admin = Admin::connect(["store-0.site-a:7300", "store-0.site-b:7300"]).await?;
//! for store in admin.stores().await?.stores {
//!     println!("{} in {}: {} replicas, {} leaders", store.store, store.site, store.replicas, store.leaders);
//! }
//! let split = admin.split(KeyspaceId::DEFAULT, "m").await?;
//! if let Some(right) = split.right {
//!     admin.transfer_leader(right.range, None, LeaderGoesTo::site("site-b")?).await?;
//! }
//! for range in admin.all_ranges(Ranges::Keyspace("default".into())).await?.ranges {
//!     println!("{} is led by {:?} in {:?}", range.descriptor.range, range.leader, range.leader_site);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Any store answers any call. A store that does not answer is named in the answer (`silent`), and costs a second at most.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

mod answers;
mod audit;
mod error;
mod events;
mod rights;
mod tokens;
mod trust;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::convert::status::from_status;
use holdfast_proto::v1;
use holdfast_proto::v1::admin_client::AdminClient;
use holdfast_proto::v1::{change_replicas_request, list_ranges_request, transfer_leader_request};
use holdfast_types::{Rejected, limits};
use tonic::{Code, Response, Status};

use super::channel::{Dialer, StoreChannel, Unconnected};
use super::link;
use super::security::Security;
use super::why::{self, Why};
use crate::untrusted::{Doubt, Untrusted};

pub use self::answers::{
    Complaint, ComplaintKind, Drained, DrainedStore, Forgotten, FormerIdentity, Keyspace, MovedSite, Prepared,
    QuarantinedRange, RangePage, RangeStatus, Setting, SettingSource, Settings, SilentStore, SiteHeadroom, SiteStatus,
    Sites, Split, StoreStatus, Stores, Transferred,
};
pub use self::audit::{AuditCondition, AuditEntry, AuditField, AuditKind, AuditPage, AuditQuery, AuditResult};
pub use self::error::{AdminError, CannotLeaveReason};
pub use self::events::{Event, EventKind, Events};
pub use self::rights::{GrantOn, GrantedRights, HeldGrant, HeldRights, RightsChange, RightsChanged};
pub use self::tokens::{TokenInfo, Tokens};
pub use self::trust::{
    Anyway, BehindStore, DistrustMeaning, Distrusted, FleetTrust, Rotated, Rotation, RotationStep, SiteTrust,
    StoreStanding, StoreTrust, TrustedRoot,
};
pub use holdfast_types::{
    Clients, Fingerprint, FleetId, Grant, Grantee, Incarnation, JoinToken, Key, KeyRange, KeyspaceId, LogIndex,
    RangeDescriptor, RangeEpoch, RangeId, ReplicaDescriptor, ReplicaId, Right, Role, RoleName, RotationPhase, Scope,
    SiteName, StoreId, Term, Timestamp, TokenId,
};

/// How long a look may take: a store waits a second for the others.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// How long a change may take: a store gives up after ten seconds.
const CHANGE_WITHIN: Duration = Duration::from_secs(15);
/// Ranges of a page where all are asked for.
const PAGE_RANGES: u32 = 1_000;

/// A handle for the admin API of one fleet. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
}

struct Shared {
    addresses: Vec<String>,
    channels: Vec<OnceLock<StoreChannel>>,
    dialer: Dialer,
    /// The address that answered last.
    current: AtomicUsize,
}

/// Which ranges are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Ranges {
    /// All of the fleet, the system range too.
    #[default]
    All,
    /// Those that hold keys of a keyspace, by its name.
    Keyspace(String),
    /// Those that hold keys of an interval.
    Within(KeyRange),
    /// One.
    One(RangeId),
}

/// One step of a change of a range's replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplicaChange {
    /// A new learner on a store without a replica of the range.
    AddLearner(StoreId),
    /// Learners become voters and voters learners, together.
    Reconfigure {
        /// Learners that become voters.
        promote: Vec<ReplicaId>,
        /// Voters that become learners; never the leader.
        demote: Vec<ReplicaId>,
    },
    /// A learner goes.
    RemoveLearner(ReplicaId),
}

/// Where a leadership goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaderGoesTo {
    /// To the voter on this store.
    Store(StoreId),
    /// To a live voter in this site.
    Site(SiteName),
}

impl LeaderGoesTo {
    /// To a live voter in the site of this name; refuses what is no name of a site.
    pub fn site(name: &str) -> Result<Self, AdminError> {
        SiteName::new(name).map(Self::Site).map_err(|why| AdminError::Rejected(Rejected::Invalid(why)))
    }
}

/// What is done when an address does not answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Asking twice does no harm.
    Look,
    /// It may have been done.
    Change,
}

impl Admin {
    /// A handle for the fleet that these addresses (host:port) belong to, in plain text. Sees that one of them answers.
    pub async fn connect<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Result<Self, AdminError> {
        Self::connect_with(addresses, Security::Plain).await
    }

    /// The same, with proofs of who is at either end.
    ///
    /// # Errors
    /// [`AdminError::Untrusted`] when each store that answered was not believed or did not believe us.
    pub async fn connect_with<A: Into<String>>(
        addresses: impl IntoIterator<Item = A>,
        security: impl Into<Security>,
    ) -> Result<Self, AdminError> {
        let admin = Self::with(addresses, security);
        let request = v1::ListStoresRequest { only_this_store: true };
        admin.look(request, async |mut client, request| client.list_stores(request).await).await?;
        Ok(admin)
    }

    /// As [`Admin::connect`] without asking anyone: an address that does not answer is noticed by the first call.
    pub fn new<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Self {
        Self::with(addresses, Security::Plain)
    }

    /// As [`Admin::connect_with`] without asking anyone.
    pub fn with<A: Into<String>>(addresses: impl IntoIterator<Item = A>, security: impl Into<Security>) -> Self {
        Self::dialing(addresses, link::dialer(security.into()))
    }

    pub(super) fn dialing<A: Into<String>>(addresses: impl IntoIterator<Item = A>, dialer: Dialer) -> Self {
        let addresses: Vec<String> = addresses.into_iter().map(Into::into).collect();
        let channels = addresses.iter().map(|_| OnceLock::new()).collect();
        Self { shared: Arc::new(Shared { addresses, channels, dialer, current: AtomicUsize::new(0) }) }
    }

    /// The sites of the fleet.
    pub async fn sites(&self) -> Result<Sites, AdminError> {
        self.look(v1::ListSitesRequest {}, async |mut client, request| client.list_sites(request).await)
            .await?
            .try_into()
    }

    /// The stores of the fleet.
    pub async fn stores(&self) -> Result<Stores, AdminError> {
        let request = v1::ListStoresRequest { only_this_store: false };
        self.look(request, async |mut client, request| client.list_stores(request).await).await?.try_into()
    }

    /// One page of ranges in the order of their keys: at most `limit` (0: 100), from `resume` of the page before on.
    pub async fn ranges(&self, which: Ranges, resume: Option<Key>, limit: u32) -> Result<RangePage, AdminError> {
        let which = match which {
            Ranges::All => None,
            Ranges::Keyspace(name) => Some(list_ranges_request::Which::Keyspace(name)),
            Ranges::Within(bounds) => Some(list_ranges_request::Which::Bounds(bounds.into())),
            Ranges::One(range) => Some(list_ranges_request::Which::RangeId(range.0)),
        };
        let resume = resume.map(Bytes::from);
        let request = v1::ListRangesRequest { which, resume, limit, only_this_store: false };
        self.look(request, async |mut client, request| client.list_ranges(request).await).await?.try_into()
    }

    /// All pages, in memory. Stores that were silent at any of them are named once.
    pub async fn all_ranges(&self, which: Ranges) -> Result<RangePage, AdminError> {
        let mut all = self.ranges(which.clone(), None, PAGE_RANGES).await?;
        while let Some(resume) = all.resume.take() {
            let page = self.ranges(which.clone(), Some(resume), PAGE_RANGES).await?;
            all.ranges.extend(page.ranges);
            let new = page.silent.into_iter().filter(|new| all.silent.iter().all(|known| known.store != new.store));
            let new: Vec<_> = new.collect();
            all.silent.extend(new);
            all.resume = page.resume;
        }
        Ok(all)
    }

    /// One range by its id.
    pub async fn range(&self, range: RangeId) -> Result<Option<RangeStatus>, AdminError> {
        Ok(self.ranges(Ranges::One(range), None, 1).await?.ranges.into_iter().next())
    }

    /// What happened, the newest first: at most `limit` (0: 100), none older than `since`.
    pub async fn events(&self, limit: u32, since: Option<Timestamp>) -> Result<Events, AdminError> {
        let since = since.map_or(0, |since| since.0);
        let request = v1::ListEventsRequest { limit, since, only_this_store: false };
        self.look(request, async |mut client, request| client.list_events(request).await).await?.try_into()
    }

    /// The configuration of a store; `None`: of the one that answers.
    pub async fn settings(&self, store: Option<StoreId>) -> Result<Settings, AdminError> {
        let request = v1::ListSettingsRequest { store_id: store.unwrap_or(StoreId::NONE).0 };
        self.look(request, async |mut client, request| client.list_settings(request).await).await?.try_into()
    }

    /// The keyspaces that have a name, by name.
    pub async fn keyspaces(&self) -> Result<Vec<Keyspace>, AdminError> {
        let request = v1::ListKeyspacesRequest {};
        let answer = self.look(request, async |mut client, request| client.list_keyspaces(request).await).await?;
        Ok(answer.keyspaces.into_iter().map(Into::into).collect())
    }

    /// The keyspace of this name; `None`: there is none.
    pub async fn keyspace(&self, name: &str) -> Result<Option<Keyspace>, AdminError> {
        Ok(self.keyspaces().await?.into_iter().find(|known| known.name == name))
    }

    /// Names a new keyspace. [`AdminError::AlreadyExists`]: there is one of that name, perhaps by an attempt of this very call that
    /// was not heard of.
    pub async fn create_keyspace(&self, name: &str) -> Result<Keyspace, AdminError> {
        let request = v1::CreateKeyspaceRequest { name: name.to_owned() };
        let answer = self.change(request, async |mut client, request| client.create_keyspace(request).await).await?;
        answer.keyspace.map(Into::into).ok_or_else(|| AdminError::Protocol("a keyspace was expected".into()))
    }

    /// Cuts the range that holds a key of a keyspace, so that its right part begins there.
    pub async fn split(&self, keyspace: KeyspaceId, key: impl AsRef<[u8]>) -> Result<Split, AdminError> {
        self.split_at(Key::bound(keyspace, key.as_ref()), None).await
    }

    /// The same by raw key; refused when the range is at another epoch than the one given.
    pub async fn split_at(&self, key: Key, expected: Option<RangeEpoch>) -> Result<Split, AdminError> {
        let request = v1::SplitRangeRequest { key: key.into(), expected_epoch: expected.map(Into::into) };
        self.change(request, async |mut client, request| client.split_range(request).await).await?.try_into()
    }

    /// Makes one step of a change of a range's replicas. Gives the range as it is then.
    pub async fn change_replicas(
        &self,
        range: RangeId,
        expected: Option<RangeEpoch>,
        change: ReplicaChange,
    ) -> Result<RangeDescriptor, AdminError> {
        use change_replicas_request::Change;
        let ids = |replicas: Vec<ReplicaId>| replicas.into_iter().map(|replica| replica.0).collect();
        let change = match change {
            ReplicaChange::AddLearner(store) => Change::AddLearner(v1::AddLearner { store_id: store.0 }),
            ReplicaChange::Reconfigure { promote, demote } => {
                Change::Reconfigure(v1::Reconfigure { promote: ids(promote), demote: ids(demote) })
            }
            ReplicaChange::RemoveLearner(replica) => Change::RemoveLearner(v1::RemoveLearner { replica_id: replica.0 }),
        };
        let expected_epoch = expected.map(Into::into);
        let request = v1::ChangeReplicasRequest { range_id: range.0, expected_epoch, change: Some(change) };
        let answer = self.change(request, async |mut client, request| client.change_replicas(request).await).await?;
        let descriptor = answer.descriptor.ok_or_else(|| AdminError::Protocol("a range was expected".into()))?;
        Ok(RangeDescriptor::try_from(descriptor)?)
    }

    /// Hands the leadership of a range over, and waits until it went.
    pub async fn transfer_leader(
        &self,
        range: RangeId,
        expected: Option<RangeEpoch>,
        to: LeaderGoesTo,
    ) -> Result<Transferred, AdminError> {
        let to = match to {
            LeaderGoesTo::Store(store) => transfer_leader_request::To::StoreId(store.0),
            LeaderGoesTo::Site(site) => transfer_leader_request::To::Site(site.to_string()),
        };
        let expected_epoch = expected.map(Into::into);
        let request = v1::TransferLeaderRequest { range_id: range.0, expected_epoch, to: Some(to) };
        self.change(request, async |mut client, request| client.transfer_leader(request).await).await?.try_into()
    }

    /// Takes a store that is dead for good out of the fleet's list; should it come back, it is refused. One that was forgotten before
    /// stays so. [`AdminError::FailedPrecondition`]: it is alive or holds replicas; the sentence says what to do.
    pub async fn forget_store(&self, store: StoreId) -> Result<Forgotten, AdminError> {
        let request = v1::ForgetStoreRequest { store_id: store.0 };
        self.change(request, async |mut client, request| client.forget_store(request).await).await?.try_into()
    }

    /// Binds the label of a site to another identity, after its Kubernetes cluster was rebuilt or moved. A site that is bound to it already
    /// stays so. [`AdminError::FailedPrecondition`]: a store of the site is alive, or the identity is another site's; the sentence says what
    /// to do.
    pub async fn move_site(&self, site: &SiteName, identity: &str) -> Result<MovedSite, AdminError> {
        let request = v1::MoveSiteRequest { site: site.to_string(), identity: identity.to_owned() };
        self.change(request, async |mut client, request| client.move_site(request).await).await?.try_into()
    }

    /// Marks stores as leaving: placement empties them of leaders and replicas. Returns when the marks are on record; [`Admin::stores`]
    /// and [`Admin::all_ranges`] show what is left. Stores that leave already stay so. [`AdminError::CannotLeave`]: the others could not
    /// take over, or one of these is dead.
    pub async fn drain_stores(&self, stores: impl IntoIterator<Item = StoreId>) -> Result<Drained, AdminError> {
        self.mark(stores, false).await
    }

    /// Takes [`Admin::drain_stores`] back. What has moved stays where it is.
    pub async fn cancel_drain(&self, stores: impl IntoIterator<Item = StoreId>) -> Result<Drained, AdminError> {
        self.mark(stores, true).await
    }

    async fn mark(&self, stores: impl IntoIterator<Item = StoreId>, cancel: bool) -> Result<Drained, AdminError> {
        let store_ids = stores.into_iter().map(|store| store.0).collect();
        let request = v1::DrainStoresRequest { store_ids, cancel };
        self.change(request, async |mut client, request| client.drain_stores(request).await).await?.try_into()
    }

    /// Has the store that answers hand its leaders over, to be stopped; returns when it leads nothing, or after `within`. Make the handle
    /// with the address of that one store.
    pub async fn prepare_to_stop(&self, within: Duration) -> Result<Prepared, AdminError> {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        self.prepare(v1::PrepareToStopRequest { within_ms, cancel: false }, within).await
    }

    /// Takes [`Admin::prepare_to_stop`] back.
    pub async fn cancel_stop(&self) -> Result<Prepared, AdminError> {
        self.prepare(v1::PrepareToStopRequest { within_ms: 0, cancel: true }, Duration::ZERO).await
    }

    async fn prepare(&self, request: v1::PrepareToStopRequest, within: Duration) -> Result<Prepared, AdminError> {
        let patience = CHANGE_WITHIN.saturating_add(within);
        let call = async |mut client: AdminClient<StoreChannel>, request| client.prepare_to_stop(request).await;
        self.call(Kind::Change, patience, request, call).await?.try_into()
    }

    async fn look<Q: Clone, A>(
        &self,
        request: Q,
        call: impl AsyncFn(AdminClient<StoreChannel>, Q) -> Result<Response<A>, Status>,
    ) -> Result<A, AdminError> {
        self.call(Kind::Look, LOOK_WITHIN, request, call).await
    }

    async fn change<Q: Clone, A>(
        &self,
        request: Q,
        call: impl AsyncFn(AdminClient<StoreChannel>, Q) -> Result<Response<A>, Status>,
    ) -> Result<A, AdminError> {
        self.call(Kind::Change, CHANGE_WITHIN, request, call).await
    }

    /// Asks the address that answered last, then the others in turn, once each.
    async fn call<Q: Clone, A>(
        &self,
        kind: Kind,
        within: Duration,
        request: Q,
        call: impl AsyncFn(AdminClient<StoreChannel>, Q) -> Result<Response<A>, Status>,
    ) -> Result<A, AdminError> {
        let shared = &self.shared;
        let first = shared.current.load(Ordering::Relaxed);
        let all = || shared.addresses.iter().zip(&shared.channels).enumerate();
        let mut tried = Tried::default();
        for (index, (address, kept)) in all().skip(first).chain(all().take(first)) {
            let channel = match shared.channel(address, kept) {
                Ok(channel) => channel,
                Err(why) => {
                    tried.add(address, why, None);
                    continue;
                }
            };
            let client = AdminClient::new(channel).max_decoding_message_size(limits::MAX_MESSAGE_BYTES);
            let status = match tokio::time::timeout(within, call(client, request.clone())).await {
                Ok(Ok(answer)) => {
                    shared.current.store(index, Ordering::Relaxed);
                    return Ok(answer.into_inner());
                }
                Ok(Err(status)) => status,
                Err(_) => Status::cancelled("no answer in time"),
            };
            let why = why::of_status(&status);
            if !goes_elsewhere(kind, &status, &why) {
                shared.current.store(index, Ordering::Relaxed);
                return Err(AdminError::from_status(&status, kind == Kind::Change));
            }
            tried.add(address, why, from_status(&status));
        }
        Err(tried.into())
    }
}

impl Shared {
    /// The channel to an address, made when it is first asked for.
    fn channel(&self, address: &str, kept: &OnceLock<StoreChannel>) -> Result<StoreChannel, Why> {
        if let Some(channel) = kept.get() {
            return Ok(channel.clone());
        }
        let channel = self.dialer.lazily(address).map_err(Unconnected::why)?;
        Ok(kept.get_or_init(|| channel).clone())
    }
}

/// What became of the addresses that were asked, when none did what it was asked for.
#[derive(Default)]
struct Tried {
    said: Vec<String>,
    doubts: Vec<Option<Doubt>>,
    refused: Option<Rejected>,
}

impl Tried {
    fn add(&mut self, address: &str, why: Why, refused: Option<Rejected>) {
        self.said.push(format!("{address}: {why}"));
        self.doubts.push(why.doubt());
        self.refused = self.refused.take().or(refused);
    }
}

impl From<Tried> for AdminError {
    fn from(tried: Tried) -> Self {
        // What a store says of itself or of its fleet tells more than that the others could not be reached.
        if let Some(refused) = tried.refused {
            return Self::Rejected(refused);
        }
        if tried.said.is_empty() {
            return Self::Unreachable("no address was given".to_owned());
        }
        let said = tried.said.join("; ");
        match tried.doubts.first() {
            Some(Some(doubt)) if tried.doubts.iter().all(Option::is_some) => Untrusted::new(*doubt, said).into(),
            _ => Self::Unreachable(said),
        }
    }
}

/// True when another store should be asked: this one is not there, or can do nothing for anybody.
fn goes_elsewhere(kind: Kind, status: &Status, why: &Why) -> bool {
    match from_status(status) {
        // Nothing was done: a store that is a member of nothing, that starts or stops, or that reaches no quorum. Another may.
        Some(Rejected::Unavailable(_)) => return true,
        Some(_) => return false,
        None => {}
    }
    // One end did not believe the other: no call went over that connection.
    if why.doubt().is_some() {
        return true;
    }
    match status.code() {
        // Connections that were refused.
        Code::Unavailable => true,
        // Connections that broke: a change may have been made.
        Code::Unknown | Code::Internal | Code::Cancelled => kind == Kind::Look,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use holdfast_proto::convert::status::to_status;

    use super::*;

    fn goes(kind: Kind, status: &Status) -> bool {
        goes_elsewhere(kind, status, &why::of_status(status))
    }

    #[test]
    fn only_what_was_not_done_is_asked_of_another_store() {
        let refused = Status::unavailable("connection refused");
        assert!(goes(Kind::Look, &refused) && goes(Kind::Change, &refused));
        let broken = Status::unknown("the connection broke");
        assert!(goes(Kind::Look, &broken) && !goes(Kind::Change, &broken));
        let waits = to_status(Rejected::Unavailable("run `holdfast init` once".into()));
        assert!(goes(Kind::Look, &waits) && goes(Kind::Change, &waits), "nothing was done");
        let typed = to_status(Rejected::invalid("a key of no keyspace"));
        assert!(!goes(Kind::Look, &typed), "the fleet has answered");
        assert!(!goes(Kind::Look, &Status::not_found("no such keyspace")));
        let token = Status::unauthenticated("the token has expired");
        assert!(goes(Kind::Look, &token) && goes(Kind::Change, &token), "nothing was done");
    }

    #[tokio::test]
    async fn no_address_that_answers_is_said_with_the_reason_of_each() {
        assert!(matches!(Admin::new(Vec::<String>::new()).sites().await, Err(AdminError::Unreachable(_))));
        // Nobody listens on port 1.
        let error = Admin::connect(["127.0.0.1:1", "not an address"]).await.err().unwrap();
        let AdminError::Unreachable(why) = error else { panic!("{error}") };
        assert!(why.starts_with("127.0.0.1:1: Connection refused"), "{why}");
        assert!(why.ends_with("; not an address: this is no address like 10.0.1.5:7300"), "{why}");
    }
}

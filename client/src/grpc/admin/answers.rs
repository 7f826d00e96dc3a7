//! What the admin API answers, in plain types.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_proto::convert::BadMessage;
use holdfast_proto::v1;
use holdfast_types::bounds::cut;
use holdfast_types::{
    FleetId, Incarnation, Key, KeyspaceId, LogIndex, RangeDescriptor, RangeId, SiteName, StoreId, Term, Timestamp,
    limits,
};

use super::AdminError;

/// A store that did not answer in time when it was asked for its part of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SilentStore {
    /// Which.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
    /// Why, in a sentence.
    pub reason: String,
}

/// The sites of a fleet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sites {
    /// By name.
    pub sites: Vec<SiteStatus>,
    /// The fleet.
    pub fleet: FleetId,
    /// The store that answered.
    pub store: StoreId,
    /// Fleet time there.
    pub now: Timestamp,
    /// What the survivors have to spare when the worst site is lost; `None`: not known.
    pub headroom: Option<String>,
    /// Warnings for the operator, a sentence each.
    pub warnings: Vec<String>,
    /// Stores that did not answer in time.
    pub silent: Vec<SilentStore>,
}

/// One site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SiteStatus {
    /// Its label.
    pub name: SiteName,
    /// The identity that its label is bound to; `None`: none, or not known now.
    pub identity: Option<String>,
    /// Stores that are members.
    pub stores: u32,
    /// Of these, stores that answered.
    pub alive: u32,
    /// Stores of it hand their leaders over for planned work.
    pub draining: bool,
    /// Replicas on the stores that answered.
    pub replicas: u64,
    /// Of these, leaders.
    pub leaders: u64,
    /// What the survivors have to spare when this site is lost; `None`: not known.
    pub headroom: Option<String>,
    /// What its label was bound to before it moved, the newest last.
    pub former: Vec<FormerIdentity>,
    /// Since when it is distrusted; `None`: it is trusted.
    pub distrusted_since: Option<Timestamp>,
}

/// An identity that a site had before it moved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormerIdentity {
    /// What proved it.
    pub identity: String,
    /// Until when.
    pub until: Timestamp,
}

/// A site that is bound to another identity than before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MovedSite {
    /// Which.
    pub site: SiteName,
    /// What it is bound to.
    pub identity: String,
    /// What it was bound to before, the newest last.
    pub former: Vec<FormerIdentity>,
    /// False: it was bound to it before this call.
    pub changed: bool,
    /// Stores of other sites that could not be asked whether they hear one of this site.
    pub silent: Vec<SilentStore>,
}

/// The stores of a fleet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stores {
    /// By id.
    pub stores: Vec<StoreStatus>,
    /// Stores that did not answer in time.
    pub silent: Vec<SilentStore>,
}

/// A store that the fleet has forgotten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forgotten {
    /// Which.
    pub store: StoreId,
    /// The site that it belonged to.
    pub site: SiteName,
    /// When.
    pub forgotten_at: Timestamp,
    /// False: it was forgotten before.
    pub changed: bool,
    /// Other stores that could not be asked whether they hear it and what they know of its replicas.
    pub silent: Vec<SilentStore>,
}

/// What became of stores that were to be drained, or no longer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drained {
    /// By id.
    pub stores: Vec<DrainedStore>,
    /// Stores that could not be asked what they hold.
    pub silent: Vec<SilentStore>,
}

/// A store that leaves, or was to leave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DrainedStore {
    /// Which.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
    /// When it was marked; `None`: it stays.
    pub leaving_at: Option<Timestamp>,
    /// False: it was so before.
    pub changed: bool,
    /// Ranges that have a replica there.
    pub ranges_left: u64,
    /// Roughly their bytes.
    pub bytes_left: u64,
}

/// A store that was to get ready to be stopped, or no longer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prepared {
    /// Which.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
    /// Ranges that it led when it was asked.
    pub led_before: u64,
    /// Ranges that it leads now.
    pub leads: u64,
}

/// One store. What only it can know is empty or 0 when it did not answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreStatus {
    /// Its id.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
    /// Where clients reach it: host:port.
    pub client_address: String,
    /// Where stores reach it: host:port.
    pub store_address: String,
    /// Health and metrics: host:port.
    pub http_address: String,
    /// It answered.
    pub alive: bool,
    /// The version of its program.
    pub version: String,
    /// Counts its starts.
    pub incarnation: Incarnation,
    /// Since its process started.
    pub uptime: Duration,
    /// Replicas there.
    pub replicas: u64,
    /// Of these, leaders.
    pub leaders: u64,
    /// It hands its leaders over to be stopped.
    pub draining: bool,
    /// Size of its disk.
    pub disk_total_bytes: u64,
    /// What is free of it.
    pub disk_free_bytes: u64,
    /// Processor cores that it may use.
    pub cores: u32,
    /// What it is doing, in thousandths of a core.
    pub used_millicores: u64,
    /// The first of the replicas that it keeps but does not use.
    pub quarantined: Vec<QuarantinedRange>,
    /// How many of them there are.
    pub quarantined_replicas: u64,
    /// What is wrong with it now.
    pub complaints: Vec<Complaint>,
    /// Headroom by lost site; only from the store that plans.
    pub headroom: Vec<SiteHeadroom>,
    /// When an operator said that it leaves the fleet; `None`: it stays. Known also when it did not answer.
    pub leaving_at: Option<Timestamp>,
    /// Where in its site it is, if it was told.
    pub zone: Option<String>,
    /// When it was let in, if it has not started as a member since.
    pub awaited_since: Option<Timestamp>,
}

/// A replica that a store keeps but does not use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuarantinedRange {
    /// Which.
    pub range: RangeId,
    /// Why.
    pub reason: String,
}

/// What a complaint is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ComplaintKind {
    /// The disk is slow, or full.
    Disk,
    /// A worker does not finish its rounds in time.
    Workers,
    /// The wall clock is away from those of most other stores.
    Clock,
    /// Another thread is late.
    Threads,
    /// Heartbeats of another store arrive, but nothing on the streams to or from it.
    Streams,
    /// A kind that this client does not know.
    Other,
}

/// Something that is wrong with a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Complaint {
    /// About what.
    pub kind: ComplaintKind,
    /// A sentence.
    pub message: String,
}

/// What the survivors have to spare when a site is lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SiteHeadroom {
    /// The site whose loss was played through.
    pub lost_site: SiteName,
    /// "lose a: needs 1.50x, has 1.38x, site b binds".
    pub sentence: String,
    /// False: the loss could not be borne.
    pub enough: bool,
    /// What the store that binds would use, in thousandths of what it can.
    pub utilisation_permille: u64,
    /// The loss could not be borne only because voters are not spread over the sites yet, which placement sees to.
    pub spreading: bool,
}

/// A page of ranges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangePage {
    /// In the order of their keys.
    pub ranges: Vec<RangeStatus>,
    /// Where to go on; `None`: these were the last ones.
    pub resume: Option<Key>,
    /// Stores that did not answer in time.
    pub silent: Vec<SilentStore>,
}

/// One range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeStatus {
    /// Bounds, replicas and epoch, the newest that any store knows.
    pub descriptor: RangeDescriptor,
    /// The store that leads it.
    pub leader: Option<StoreId>,
    /// The site of that store.
    pub leader_site: Option<SiteName>,
    /// The raft term of that leader; 0: not known.
    pub term: Term,
    /// Roughly its bytes on disk; `None`: not measured.
    pub approximate_bytes: Option<u64>,
    /// The name of the keyspace in which it begins.
    pub keyspace: Option<String>,
    /// A store that answered says that it leads the range; false: hearsay.
    pub confirmed: bool,
    /// Up to where each replica has applied the range's log, by word of its store; one that did not answer is missing.
    pub applied: BTreeMap<StoreId, LogIndex>,
}

/// The configuration of a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// In the order of the documentation.
    pub settings: Vec<Setting>,
    /// Whose they are.
    pub store: StoreId,
    /// The site of that store.
    pub site: SiteName,
}

/// One value of a store's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// As in the configuration file.
    pub name: String,
    /// What the store uses; secrets are not shown.
    pub value: String,
    /// What it would be if nobody said anything; `None`: there is no default.
    pub default: Option<String>,
    /// Where the value comes from.
    pub source: SettingSource,
    /// What it means.
    pub description: String,
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SettingSource {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File,
    /// The environment.
    Environment,
    /// The command line.
    Flag,
    /// It cannot be changed.
    BuiltIn,
    /// A source that this client does not know.
    Other,
}

impl SettingSource {
    /// As a word for tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
            Self::BuiltIn => "built in",
            Self::Other => "other",
        }
    }
}

/// A keyspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keyspace {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: KeyspaceId,
    /// When it was made; `None`: it has always been there.
    pub created_at: Option<Timestamp>,
    /// Clients may write into it.
    pub writable: bool,
}

/// Two ranges meet at a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Split {
    /// The range that ends there; `None`: not known yet, or none does.
    pub left: Option<RangeDescriptor>,
    /// The range that begins there; `None`: not known yet.
    pub right: Option<RangeDescriptor>,
    /// False: a range began there before.
    pub changed: bool,
}

/// A leadership that went over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transferred {
    /// The range and who leads it now.
    pub range: RangeStatus,
    /// False: it was led from there before.
    pub changed: bool,
}

pub(super) fn site(name: &str) -> Result<SiteName, BadMessage> {
    SiteName::new(name).map_err(BadMessage::Malformed)
}

pub(super) fn store(raw: u64) -> Result<StoreId, BadMessage> {
    Ok(StoreId::bounded(raw)?)
}

fn progress(progress: &v1::ReplicaProgress) -> Result<(StoreId, LogIndex), BadMessage> {
    Ok((store(progress.store_id)?, LogIndex::bounded(progress.applied_index)?))
}

/// Ranges or replicas that a store counted, no more than there can be.
fn counted(raw: u64) -> u64 {
    cut(raw, limits::MAX_RANGES_MADE)
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

pub(super) fn all<Q, A: TryFrom<Q, Error = BadMessage>>(list: Vec<Q>) -> Result<Vec<A>, BadMessage> {
    list.into_iter().map(TryInto::try_into).collect()
}

impl TryFrom<v1::SilentStore> for SilentStore {
    type Error = BadMessage;

    fn try_from(silent: v1::SilentStore) -> Result<Self, BadMessage> {
        Ok(Self { store: store(silent.store_id)?, site: site(&silent.site)?, reason: silent.reason })
    }
}

impl TryFrom<v1::ListSitesResponse> for Sites {
    type Error = AdminError;

    fn try_from(answer: v1::ListSitesResponse) -> Result<Self, AdminError> {
        let fleet = answer.fleet.ok_or_else(|| BadMessage::malformed("the answer names no fleet"))?;
        Ok(Self {
            sites: all(answer.sites)?,
            fleet: fleet.into(),
            store: store(answer.store_id)?,
            now: Timestamp::compared(answer.now),
            headroom: some(answer.headroom),
            warnings: answer.warnings,
            silent: all(answer.silent)?,
        })
    }
}

impl TryFrom<v1::SiteStatus> for SiteStatus {
    type Error = BadMessage;

    fn try_from(status: v1::SiteStatus) -> Result<Self, BadMessage> {
        Ok(Self {
            name: site(&status.name)?,
            identity: some(status.identity),
            stores: status.stores,
            alive: status.alive,
            draining: status.draining,
            replicas: counted(status.replicas),
            leaders: counted(status.leaders),
            headroom: some(status.headroom),
            former: former(status.former),
            distrusted_since: moment(status.distrusted_at),
        })
    }
}

fn former(all: Vec<v1::FormerSiteIdentity>) -> Vec<FormerIdentity> {
    all.into_iter()
        .map(|was| FormerIdentity { identity: was.identity, until: Timestamp::compared(was.until) })
        .collect()
}

impl TryFrom<v1::MoveSiteResponse> for MovedSite {
    type Error = AdminError;

    fn try_from(answer: v1::MoveSiteResponse) -> Result<Self, AdminError> {
        Ok(Self {
            site: site(&answer.site)?,
            identity: answer.identity,
            former: former(answer.former),
            changed: answer.changed,
            silent: all(answer.silent)?,
        })
    }
}

impl TryFrom<v1::ListStoresResponse> for Stores {
    type Error = AdminError;

    fn try_from(answer: v1::ListStoresResponse) -> Result<Self, AdminError> {
        Ok(Self { stores: all(answer.stores)?, silent: all(answer.silent)? })
    }
}

impl TryFrom<v1::StoreStatus> for StoreStatus {
    type Error = BadMessage;

    fn try_from(status: v1::StoreStatus) -> Result<Self, BadMessage> {
        let quarantined = status.quarantined.into_iter();
        Ok(Self {
            store: store(status.store_id)?,
            site: site(&status.site)?,
            client_address: status.client_address,
            store_address: status.store_address,
            http_address: status.http_address,
            alive: status.alive,
            version: status.version,
            incarnation: Incarnation::bounded(status.incarnation)?,
            uptime: Duration::from_millis(cut(status.uptime_ms, limits::MAX_WALL_MS)),
            replicas: counted(status.replicas),
            leaders: counted(status.leaders),
            draining: status.draining,
            disk_total_bytes: cut(status.disk_total_bytes, limits::MAX_REPORTED_BYTES),
            disk_free_bytes: cut(status.disk_free_bytes, limits::MAX_REPORTED_BYTES),
            cores: status.cores,
            used_millicores: cut(status.used_millicores, limits::MAX_REPORTED_RATE),
            // Older stores name all and count none.
            quarantined_replicas: counted(status.quarantined_replicas.max(quarantined.len() as u64)),
            quarantined: quarantined
                .map(|q| Ok(QuarantinedRange { range: RangeId::bounded(q.range_id)?, reason: q.reason }))
                .collect::<Result<_, BadMessage>>()?,
            complaints: status.complaints.into_iter().map(Into::into).collect(),
            headroom: all(status.headroom)?,
            leaving_at: moment(status.leaving_at),
            zone: some(status.zone),
            awaited_since: moment(status.awaited_since),
        })
    }
}

impl From<v1::Complaint> for Complaint {
    fn from(complaint: v1::Complaint) -> Self {
        let kind = match complaint.kind() {
            v1::ComplaintKind::Disk => ComplaintKind::Disk,
            v1::ComplaintKind::Workers => ComplaintKind::Workers,
            v1::ComplaintKind::Clock => ComplaintKind::Clock,
            v1::ComplaintKind::Threads => ComplaintKind::Threads,
            v1::ComplaintKind::Streams => ComplaintKind::Streams,
            v1::ComplaintKind::Unspecified => ComplaintKind::Other,
        };
        Self { kind, message: complaint.message }
    }
}

impl TryFrom<v1::SiteHeadroom> for SiteHeadroom {
    type Error = BadMessage;

    fn try_from(headroom: v1::SiteHeadroom) -> Result<Self, BadMessage> {
        Ok(Self {
            lost_site: site(&headroom.lost_site)?,
            sentence: headroom.sentence,
            enough: headroom.enough,
            utilisation_permille: cut(headroom.utilisation_permille, limits::MAX_REPORTED_RATE),
            spreading: headroom.spreading,
        })
    }
}

impl TryFrom<v1::ListRangesResponse> for RangePage {
    type Error = AdminError;

    fn try_from(answer: v1::ListRangesResponse) -> Result<Self, AdminError> {
        let resume = answer.resume.map(holdfast_proto::convert::common::key).transpose()?;
        Ok(Self { ranges: all(answer.ranges)?, resume, silent: all(answer.silent)? })
    }
}

impl TryFrom<v1::RangeStatus> for RangeStatus {
    type Error = BadMessage;

    fn try_from(status: v1::RangeStatus) -> Result<Self, BadMessage> {
        let descriptor = status.descriptor.ok_or_else(|| BadMessage::malformed("a range has no descriptor"))?;
        Ok(Self {
            descriptor: descriptor.try_into()?,
            leader: Some(store(status.leader_store)?).filter(|leader| *leader != StoreId::NONE),
            leader_site: some(status.leader_site).map(|name| site(&name)).transpose()?,
            term: Term::bounded(status.term)?,
            approximate_bytes: (status.approximate_bytes != 0)
                .then(|| cut(status.approximate_bytes, limits::MAX_REPORTED_RANGE_BYTES)),
            keyspace: some(status.keyspace),
            confirmed: status.confirmed,
            applied: status.progress.iter().map(progress).collect::<Result<_, BadMessage>>()?,
        })
    }
}

impl TryFrom<v1::ListSettingsResponse> for Settings {
    type Error = AdminError;

    fn try_from(answer: v1::ListSettingsResponse) -> Result<Self, AdminError> {
        let settings = answer.settings.into_iter().map(Into::into).collect();
        Ok(Self { settings, store: store(answer.store_id)?, site: site(&answer.site)? })
    }
}

impl From<v1::Setting> for Setting {
    fn from(setting: v1::Setting) -> Self {
        let source = match setting.source() {
            v1::SettingSource::Default => SettingSource::Default,
            v1::SettingSource::File => SettingSource::File,
            v1::SettingSource::Environment => SettingSource::Environment,
            v1::SettingSource::Flag => SettingSource::Flag,
            v1::SettingSource::BuiltIn => SettingSource::BuiltIn,
            v1::SettingSource::Unspecified => SettingSource::Other,
        };
        Self {
            name: setting.name,
            value: setting.value,
            default: some(setting.default_value),
            source,
            description: setting.description,
        }
    }
}

impl From<v1::Keyspace> for Keyspace {
    fn from(keyspace: v1::Keyspace) -> Self {
        Self {
            name: keyspace.name,
            id: KeyspaceId(keyspace.id),
            created_at: (keyspace.created_at != 0).then_some(Timestamp::compared(keyspace.created_at)),
            writable: keyspace.writable,
        }
    }
}

impl TryFrom<v1::SplitRangeResponse> for Split {
    type Error = AdminError;

    fn try_from(answer: v1::SplitRangeResponse) -> Result<Self, AdminError> {
        let left = answer.left.map(TryInto::try_into).transpose()?;
        let right = answer.right.map(TryInto::try_into).transpose()?;
        Ok(Self { left, right, changed: answer.changed })
    }
}

impl TryFrom<v1::ForgetStoreResponse> for Forgotten {
    type Error = AdminError;

    fn try_from(answer: v1::ForgetStoreResponse) -> Result<Self, AdminError> {
        Ok(Self {
            store: store(answer.store_id)?,
            site: site(&answer.site)?,
            forgotten_at: Timestamp::compared(answer.forgotten_at),
            changed: answer.changed,
            silent: all(answer.silent)?,
        })
    }
}

impl TryFrom<v1::DrainStoresResponse> for Drained {
    type Error = AdminError;

    fn try_from(answer: v1::DrainStoresResponse) -> Result<Self, AdminError> {
        Ok(Self { stores: all(answer.stores)?, silent: all(answer.silent)? })
    }
}

impl TryFrom<v1::DrainedStore> for DrainedStore {
    type Error = BadMessage;

    fn try_from(drained: v1::DrainedStore) -> Result<Self, BadMessage> {
        Ok(Self {
            store: store(drained.store_id)?,
            site: site(&drained.site)?,
            leaving_at: moment(drained.leaving_at),
            changed: drained.changed,
            ranges_left: counted(drained.ranges_left),
            bytes_left: cut(drained.bytes_left, limits::MAX_REPORTED_BYTES),
        })
    }
}

impl TryFrom<v1::PrepareToStopResponse> for Prepared {
    type Error = AdminError;

    fn try_from(answer: v1::PrepareToStopResponse) -> Result<Self, AdminError> {
        Ok(Self {
            store: store(answer.store_id)?,
            site: site(&answer.site)?,
            led_before: counted(answer.led_before),
            leads: counted(answer.leads),
        })
    }
}

/// A moment that may be missing.
fn moment(timestamp: u64) -> Option<Timestamp> {
    (timestamp != 0).then_some(Timestamp::compared(timestamp))
}

impl TryFrom<v1::TransferLeaderResponse> for Transferred {
    type Error = AdminError;

    fn try_from(answer: v1::TransferLeaderResponse) -> Result<Self, AdminError> {
        let range = answer.range.ok_or_else(|| BadMessage::malformed("the answer names no range"))?;
        Ok(Self { range: range.try_into()?, changed: answer.changed })
    }
}

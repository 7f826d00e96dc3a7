//! The fleet's trust: what stores show of their certificates, rotations of the root, sites that are distrusted.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use holdfast_proto::convert::BadMessage;
use holdfast_proto::convert::trust::fingerprint;
use holdfast_proto::v1;
use holdfast_types::bounds::cut;
use holdfast_types::{Fingerprint, RangeId, RotationPhase, SiteName, StoreId, Timestamp, limits};

use super::answers::{all, site, store};
use super::{Admin, AdminError};

/// How the fleet stands with trust.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FleetTrust {
    /// All stores, by id.
    pub stores: Vec<StoreStanding>,
    /// The rotation of the root that is under way, or the last one.
    pub rotation: Option<Rotation>,
    /// Stores that have not shown the phase of the rotation.
    pub behind: Vec<BehindStore>,
    /// Sites that are distrusted, by name.
    pub distrusted: Vec<SiteTrust>,
    /// What somebody has to see to, a sentence each; empty: all is in order.
    pub due: Vec<String>,
}

/// A store, and what it shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreStanding {
    /// Which.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
    /// Why it shows nothing, if it did not answer.
    pub silent: Option<String>,
    /// What it shows; `None`: it did not answer, or runs without TLS.
    pub trust: Option<StoreTrust>,
}

/// The certificate and the bundle of a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreTrust {
    /// Who its certificate says it is.
    pub identity: String,
    /// Names its certificate.
    pub certificate: Option<Fingerprint>,
    /// From when on its certificate is valid.
    pub issued_at: SystemTime,
    /// Until when it is.
    pub expires_at: SystemTime,
    /// The root of its bundle that its certificate leads to.
    pub root_in_use: Option<Fingerprint>,
    /// The roots of its bundle.
    pub roots: Vec<TrustedRoot>,
    /// Why it did not take what is in its folder now; `None`: it did.
    pub refused: Option<String>,
    /// How often it has taken other material since it started.
    pub reloads: u64,
    /// How often it has refused some.
    pub refusals: u64,
    /// Sites that it distrusts.
    pub distrusted: Vec<SiteName>,
}

/// A root of a bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustedRoot {
    /// Names it.
    pub fingerprint: Fingerprint,
    /// As people read it; empty where a long list left it out.
    pub subject: String,
    /// Until when it is valid.
    pub expires_at: SystemTime,
}

/// A rotation of the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// How far it is.
    pub phase: RotationPhase,
    /// The root that comes.
    pub new_root: Fingerprint,
    /// The roots that go.
    pub old_roots: Vec<Fingerprint>,
    /// When it began.
    pub begun_at: Timestamp,
    /// When it came to this phase.
    pub phase_at: Timestamp,
}

/// A rotation after a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rotated {
    /// As it is now.
    pub rotation: Rotation,
    /// False: it was there before.
    pub changed: bool,
    /// Stores that have not shown this phase yet.
    pub behind: Vec<BehindStore>,
}

/// A store that is behind, and what is to be done there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BehindStore {
    /// Which.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
    /// In a sentence.
    pub what: String,
}

/// A step of a rotation of the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RotationStep {
    /// Begin: this root is to come.
    Add(Fingerprint),
    /// All stores trust it: certificates may be made below it.
    Switch,
    /// All certificates are: the old root may go.
    Remove,
    /// Give it up.
    Abort,
}

/// What was last said of whether a site is believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SiteTrust {
    /// The site.
    pub site: SiteName,
    /// When it was distrusted; `None`: never.
    pub distrusted_at: Option<Timestamp>,
    /// When it was trusted again; `None`: never.
    pub restored_at: Option<Timestamp>,
}

/// What the distrust of a site means for the fleet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DistrustMeaning {
    /// Its stores: they count as lost.
    pub stores: Vec<StoreId>,
    /// Ranges that are led there.
    pub ranges_led: u64,
    /// Ranges that lose a voter.
    pub ranges_losing_a_voter: u64,
    /// Ranges that would be without a quorum.
    pub ranges_stopped: u64,
    /// The first of them.
    pub stopped: Vec<RangeId>,
    /// Of the ranges that lose a voter, those for which there is no other place.
    pub ranges_without_replacement: u64,
    /// What the other sites have to spare then; `None`: not known.
    pub headroom: Option<String>,
    /// False: the load could not be borne.
    pub enough: bool,
    /// It is the last site that is trusted.
    pub is_last: bool,
}

/// A site that is, or would be, distrusted, or trusted again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Distrusted {
    /// What was last said of it.
    pub site: SiteTrust,
    /// False: it was so before, or it was only judged.
    pub changed: bool,
    /// What it means; `None` for a site that is trusted again.
    pub meaning: Option<DistrustMeaning>,
    /// The site of the store that answered.
    pub asked_site: SiteName,
    /// Stores that have learned of it.
    pub told: Vec<StoreId>,
    /// Stores of other sites that could not be told.
    pub untold: Vec<BehindStore>,
}

/// What is done although something speaks against it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Anyway {
    /// Ranges are left without a quorum.
    pub ranges_stop: bool,
    /// It is the last site that is trusted, or that of the store that is asked.
    pub last_or_asked: bool,
}

impl Admin {
    /// What stores show of their certificates, how far a rotation is, which sites are distrusted, and what is due.
    pub async fn trust(&self) -> Result<FleetTrust, AdminError> {
        let request = v1::ShowTrustRequest {};
        self.look(request, async |mut client, request| client.show_trust(request).await).await?.try_into()
    }

    /// Takes a rotation of the root on by a step. [`AdminError::FailedPrecondition`]: stores are behind, and which; nothing has changed.
    pub async fn rotate_root(&self, step: RotationStep) -> Result<Rotated, AdminError> {
        let (step, new_root) = match step {
            RotationStep::Add(root) => (v1::RotationStep::Add, Bytes::copy_from_slice(&root.0)),
            RotationStep::Switch => (v1::RotationStep::Switch, Bytes::new()),
            RotationStep::Remove => (v1::RotationStep::Remove, Bytes::new()),
            RotationStep::Abort => (v1::RotationStep::Abort, Bytes::new()),
        };
        let request = v1::RotateRootRequest { step: step.into(), new_root };
        self.change(request, async |mut client, request| client.rotate_root(request).await).await?.try_into()
    }

    /// What it would mean to distrust a site; nothing is changed.
    pub async fn judge_distrust(&self, site: &SiteName) -> Result<Distrusted, AdminError> {
        let site = site.to_string();
        let request = v1::DistrustSiteRequest { site, only_judge: true, ..v1::DistrustSiteRequest::default() };
        self.look(request, async |mut client, request| client.distrust_site(request).await).await?.try_into()
    }

    /// Distrusts a site: every store ends its connections with the site's stores, which count as lost. [`AdminError::FailedPrecondition`]: ranges
    /// would stop, or it is the last site or the one that is asked, unless it is to be done `anyway`.
    pub async fn distrust_site(&self, site: &SiteName, anyway: Anyway) -> Result<Distrusted, AdminError> {
        let request = v1::DistrustSiteRequest {
            site: site.to_string(),
            even_if_ranges_stop: anyway.ranges_stop,
            even_if_last_or_asked: anyway.last_or_asked,
            ..v1::DistrustSiteRequest::default()
        };
        self.change(request, async |mut client, request| client.distrust_site(request).await).await?.try_into()
    }

    /// Takes [`Admin::distrust_site`] back.
    pub async fn trust_site(&self, site: &SiteName) -> Result<Distrusted, AdminError> {
        let site = site.to_string();
        let request = v1::DistrustSiteRequest { site, restore: true, ..v1::DistrustSiteRequest::default() };
        self.change(request, async |mut client, request| client.distrust_site(request).await).await?.try_into()
    }
}

fn stamp(raw: u64) -> Option<Timestamp> {
    (raw != 0).then_some(Timestamp::compared(raw))
}

/// No later than clocks can say.
fn seconds(raw: u64) -> SystemTime {
    let since = Duration::from_secs(cut(raw, limits::MAX_WALL_MS.saturating_div(1_000)));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl TryFrom<v1::ShowTrustResponse> for FleetTrust {
    type Error = AdminError;

    fn try_from(answer: v1::ShowTrustResponse) -> Result<Self, AdminError> {
        Ok(Self {
            stores: all(answer.stores)?,
            rotation: answer.rotation.map(TryInto::try_into).transpose()?,
            behind: all(answer.behind)?,
            distrusted: all(answer.distrusted)?,
            due: answer.due,
        })
    }
}

impl TryFrom<v1::StoreStanding> for StoreStanding {
    type Error = BadMessage;

    fn try_from(standing: v1::StoreStanding) -> Result<Self, BadMessage> {
        Ok(Self {
            store: store(standing.store_id)?,
            site: site(&standing.site)?,
            silent: some(standing.silent),
            trust: standing.trust.map(TryInto::try_into).transpose()?,
        })
    }
}

impl TryFrom<v1::StoreTrust> for StoreTrust {
    type Error = BadMessage;

    fn try_from(trust: v1::StoreTrust) -> Result<Self, BadMessage> {
        let root = |root: v1::TrustedRoot| {
            let fingerprint = fingerprint(&root.fingerprint)?;
            Ok(TrustedRoot { fingerprint, subject: root.subject, expires_at: seconds(root.expires_at) })
        };
        Ok(Self {
            identity: trust.identity,
            certificate: some_fingerprint(&trust.certificate)?,
            issued_at: seconds(trust.issued_at),
            expires_at: seconds(trust.expires_at),
            root_in_use: some_fingerprint(&trust.root_in_use)?,
            roots: trust.roots.into_iter().map(root).collect::<Result<_, BadMessage>>()?,
            refused: some(trust.refused),
            reloads: trust.reloads,
            refusals: trust.refusals,
            distrusted: trust.distrusted.iter().map(|name| site(name)).collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<v1::Rotation> for Rotation {
    type Error = BadMessage;

    fn try_from(rotation: v1::Rotation) -> Result<Self, BadMessage> {
        Ok(Self {
            phase: rotation.phase().try_into()?,
            new_root: fingerprint(&rotation.new_root)?,
            old_roots: rotation.old_roots.iter().map(|root| fingerprint(root)).collect::<Result<_, _>>()?,
            begun_at: Timestamp::compared(rotation.begun_at),
            phase_at: Timestamp::compared(rotation.phase_at),
        })
    }
}

impl TryFrom<v1::RotateRootResponse> for Rotated {
    type Error = AdminError;

    fn try_from(answer: v1::RotateRootResponse) -> Result<Self, AdminError> {
        let rotation = answer.rotation.ok_or_else(|| BadMessage::malformed("the answer names no rotation"))?;
        Ok(Self { rotation: rotation.try_into()?, changed: answer.changed, behind: all(answer.behind)? })
    }
}

impl TryFrom<v1::BehindStore> for BehindStore {
    type Error = BadMessage;

    fn try_from(behind: v1::BehindStore) -> Result<Self, BadMessage> {
        Ok(Self { store: store(behind.store_id)?, site: site(&behind.site)?, what: behind.what })
    }
}

impl TryFrom<v1::SiteTrust> for SiteTrust {
    type Error = BadMessage;

    fn try_from(said: v1::SiteTrust) -> Result<Self, BadMessage> {
        let (distrusted_at, restored_at) = (stamp(said.distrusted_at), stamp(said.restored_at));
        Ok(Self { site: site(&said.site)?, distrusted_at, restored_at })
    }
}

impl TryFrom<v1::DistrustMeaning> for DistrustMeaning {
    type Error = BadMessage;

    fn try_from(meaning: v1::DistrustMeaning) -> Result<Self, BadMessage> {
        let counted = |raw| cut(raw, limits::MAX_RANGES_MADE);
        Ok(Self {
            stores: meaning.stores.iter().map(|raw| store(*raw)).collect::<Result<_, _>>()?,
            ranges_led: counted(meaning.ranges_led),
            ranges_losing_a_voter: counted(meaning.ranges_losing_a_voter),
            ranges_stopped: counted(meaning.ranges_stopped),
            stopped: meaning.stopped.iter().map(|raw| RangeId::bounded(*raw)).collect::<Result<_, _>>()?,
            ranges_without_replacement: counted(meaning.ranges_without_replacement),
            headroom: some(meaning.headroom),
            enough: meaning.enough,
            is_last: meaning.is_last,
        })
    }
}

impl TryFrom<v1::DistrustSiteResponse> for Distrusted {
    type Error = AdminError;

    fn try_from(answer: v1::DistrustSiteResponse) -> Result<Self, AdminError> {
        let said = answer.site.ok_or_else(|| BadMessage::malformed("the answer names no site"))?;
        Ok(Self {
            site: said.try_into()?,
            changed: answer.changed,
            meaning: answer.meaning.map(TryInto::try_into).transpose()?,
            asked_site: site(&answer.asked_site)?,
            told: answer.told.iter().map(|raw| store(*raw)).collect::<Result<_, _>>()?,
            untold: all(answer.untold)?,
        })
    }
}

fn some_fingerprint(bytes: &[u8]) -> Result<Option<Fingerprint>, BadMessage> {
    if bytes.is_empty() { Ok(None) } else { fingerprint(bytes).map(Some) }
}

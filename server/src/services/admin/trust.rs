//! Trust as a whole: what stores show of their certificates, rotations of the root, and sites that are distrusted.
//!
//! ```text
//! rotate:    what every store shows ─▶ may the step be taken? ─▶ record, if it is as it was looked at ─▶ event
//! distrust:  what would it mean? ─▶ record ─▶ this store ─▶ all others at once ─▶ connections end
//!                                     └ where the site leads the system range: is it there? The others lead by then
//! ```
//!
//! Whoever is not reached by the push hears of it with the answer to its next report to placement, from any store that announces itself, or
//! from the records, which it reads now and then (see [`crate::trust::doubts`]).

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeSet;
use std::time::SystemTime;

use holdfast_kv::core::records;
use holdfast_placement::{
    CannotChangeTrust, Meaning, Rotation, SiteRecord, SiteTrust, StateKey, StoreRecord, change_trust, judge_distrust,
};
use holdfast_proto::convert::status::to_status;
use holdfast_proto::convert::trust::fingerprint;
use holdfast_proto::v1;
use holdfast_types::{Condition, Expected, RangeId, Rejected, SiteName, Timestamp, limits};
use prost::Message as _;
use tonic::Status;

use super::AdminService;
use super::forget::named;
use crate::membership::doubted;
use crate::running::Running;
use crate::services::caller::Caller;
use crate::services::fitting::{first_of, short};
use crate::trust::due::{Picture, due, trusted};
use crate::trust::rotation::{self, Behind, Step};
use crate::trust::shown::{Certificates, Shown, What, since_1970};
use crate::{others, system};

/// How often it is begun again when a record changed meanwhile.
const MAX_TRIES: usize = 16;
/// Ranges that one answer names.
const NAMED_RANGES: usize = 16;

/// Why nothing is changed where nobody proves anything.
const NO_TLS: &str = "this fleet runs without TLS: nobody proves who he is, so there is nothing to trust or to distrust; start its stores with \
                      --tls (docs/security.md)";

/// Why a site is not distrusted, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
enum Refusal {
    /// Ranges would stand still.
    #[error(
        "site {site} is not distrusted: {} would be left without a quorum ({}), and stand still until it is trusted again. Bring the stores of the other \
         sites back first; or do it all the same with --even-if-ranges-stop",
        if stopped.len() == 1 { "1 range".to_owned() } else { format!("{} ranges", stopped.len()) }, named(.stopped)
    )]
    RangesStop {
        /// Which site.
        site: SiteName,
        /// The ranges.
        stopped: Vec<RangeId>,
    },
    /// Nobody would be left.
    #[error("site {0} is not distrusted: it is the last one that is trusted; --yes does it all the same")]
    Last(SiteName),
    /// The answer would not come.
    #[error(
        "site {0} is not distrusted: this store is of it, and would be cut off before it could tell the others; ask a store of another site \
         (--at), or do it all the same with --yes"
    )]
    Asked(SiteName),
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::failed_precondition(refusal.to_string())
    }
}

/// Sees that nothing speaks against it that was not said to be borne.
fn judge(request: &v1::DistrustSiteRequest, site: &SiteName, own: &SiteName, meaning: &Meaning) -> Result<(), Refusal> {
    if !request.even_if_last_or_asked {
        if meaning.is_last {
            return Err(Refusal::Last(site.clone()));
        }
        if site == own {
            return Err(Refusal::Asked(site.clone()));
        }
    }
    if meaning.stops_ranges() && !request.even_if_ranges_stop {
        return Err(Refusal::RangesStop { site: site.clone(), stopped: meaning.stopped.clone() });
    }
    Ok(())
}

fn told(meaning: &Meaning) -> v1::DistrustMeaning {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    v1::DistrustMeaning {
        stores: meaning.stores.iter().map(|store| store.0).collect(),
        ranges_led: count(meaning.led),
        ranges_losing_a_voter: count(meaning.losing_a_voter),
        ranges_stopped: count(meaning.stopped.len()),
        stopped: meaning.stopped.iter().take(NAMED_RANGES).map(|range| range.0).collect(),
        ranges_without_replacement: count(meaning.without_replacement),
        headroom: meaning.headroom.as_ref().map(|headroom| short(headroom.to_string())).unwrap_or_default(),
        enough: meaning.headroom.as_ref().is_none_or(|headroom| headroom.utilisation_permille <= 1_000),
        is_last: meaning.is_last,
    }
}

fn behind_told(behind: Behind) -> v1::BehindStore {
    v1::BehindStore { store_id: behind.store.0, site: behind.site.to_string(), what: short(behind.what) }
}

fn step_of(request: &v1::RotateRootRequest) -> Result<Step, Status> {
    match request.step() {
        v1::RotationStep::Add => {
            fingerprint(&request.new_root).map(Step::Add).map_err(|bad| super::invalid(bad.to_string()))
        }
        v1::RotationStep::Switch => Ok(Step::Switch),
        v1::RotationStep::Remove => Ok(Step::Remove),
        v1::RotationStep::Abort => Ok(Step::Abort),
        v1::RotationStep::Unspecified => Err(super::invalid("name a step of a rotation")),
    }
}

/// What stores show, where there are so many that it must be cut: the names of roots are known by their fingerprints.
fn fitting(mut stores: Vec<v1::StoreStanding>) -> Vec<v1::StoreStanding> {
    let bytes: usize = stores.iter().map(|store| store.encoded_len()).fold(0, usize::saturating_add);
    if bytes > limits::STORES_LIST_BYTES {
        let roots = stores.iter_mut().filter_map(|store| store.trust.as_mut()).flat_map(|trust| &mut trust.roots);
        roots.for_each(|root| root.subject.clear());
    }
    stores
}

impl AdminService {
    /// What every store shows, what is on record, and what is due. Says what it can without a quorum too: certificates that ended may be why
    /// there is none.
    pub(super) async fn trust_of_all(&self, running: &Running) -> Result<v1::ShowTrustResponse, Status> {
        let bounds = StateKey::all_sites();
        let sites = system::all(running, bounds, others::OTHERS_WITHIN, records::decode_site);
        // Whoever asks waits no longer than for the stores.
        let rotation = async {
            let looked = tokio::time::timeout(others::OTHERS_WITHIN, rotation_of(running)).await;
            looked.unwrap_or(Err(Rejected::DeadlineExceeded))
        };
        let recorded = async { tokio::join!(sites, rotation) };
        let (looked, (sites, rotation)) = tokio::join!(self.shown(running), recorded);
        let (shown, stores) = looked?;
        let mut unknown = Vec::new();
        let sites = sites.map(|sites| doubted(&sites)).unwrap_or_else(|_| running.directory.sites_said());
        let rotation = rotation.map(|(rotation, _)| rotation).unwrap_or_else(|rejected| {
            unknown.push(format!(
                "the system range does not answer, so it is not known whether the root is being rotated: {rejected}"
            ));
            None
        });
        let now = since_1970(SystemTime::now());
        let picture = Picture { shown: &shown, rotation: rotation.as_ref(), sites: &sites, now };
        let due = unknown.into_iter().chain(due(&picture)).collect();
        let late = rotation.as_ref().map(|rotation| rotation::behind(rotation, &trusted(&shown, &sites)));
        Ok(v1::ShowTrustResponse {
            stores: fitting(stores),
            rotation: rotation.as_ref().map(records::rotation_of),
            behind: late.unwrap_or_default().into_iter().map(behind_told).collect(),
            distrusted: sites.iter().filter(|said| said.is_distrusted()).map(records::site_trust_of).collect(),
            due: first_of(due),
        })
    }

    /// What every store shows of trust, as it is judged and as it is told.
    async fn shown(&self, running: &Running) -> Result<(Vec<Shown>, Vec<v1::StoreStanding>), Status> {
        let (statuses, silent) = self.stores(running).await?;
        let members = running.directory.all();
        let (mut shown, mut standings) = (Vec::new(), Vec::new());
        for status in statuses {
            let Some(record) = super::store_of(status.store_id).and_then(|store| members.get(&store)) else { continue };
            let why =
                silent.iter().find(|silent| silent.store_id == record.store.0).map(|silent| silent.reason.clone());
            let what = match &status.trust {
                Some(told) => What::Certificates(Box::new(Certificates::of(told))),
                None if status.alive => What::Plain,
                None => What::Silent(why.unwrap_or_else(|| "no answer".to_owned())),
            };
            standings.push(v1::StoreStanding {
                store_id: record.store.0,
                site: record.site.to_string(),
                silent: if let What::Silent(why) = &what { why.clone() } else { String::new() },
                trust: status.trust,
            });
            shown.push(Shown { store: record.store, site: record.site.clone(), what });
        }
        Ok((shown, standings))
    }

    /// Takes a rotation of the root on by a step.
    pub(super) async fn rotate(
        &self,
        running: &Running,
        request: v1::RotateRootRequest,
    ) -> Result<v1::RotateRootResponse, Status> {
        let step = step_of(&request)?;
        if self.state.trust().is_none() {
            return Err(Status::failed_precondition(NO_TLS));
        }
        for _ in 0..MAX_TRIES {
            let (known, expected) = rotation_of(running).await.map_err(to_status)?;
            let sites = system::all(running, StateKey::all_sites(), system::PATIENCE, records::decode_site);
            let sites = doubted(&sites.await.map_err(to_status)?);
            let members = system::all(running, StateKey::all_stores(), system::PATIENCE, records::decode_store);
            let members = members.await.map_err(to_status)?;
            let shown = trusted(&completed(self.shown(running).await?.0, &members), &sites);
            let now = running.fleet_now().max(Timestamp(1));
            let taken = rotation::take(known.as_ref(), step, &shown, now);
            let taken = taken.map_err(|why| Status::failed_precondition(short(why.to_string())))?;
            let changed = taken.is_some();
            let Some(rotation) = taken.clone().or(known) else {
                return Err(Status::internal("a step led nowhere"));
            };
            if let Some(rotation) = &taken
                && !write_rotation(running, rotation, expected).await.map_err(to_status)?
            {
                continue;
            }
            let behind = rotation::behind(&rotation, &shown).into_iter().map(behind_told).collect();
            return Ok(v1::RotateRootResponse { rotation: Some(records::rotation_of(&rotation)), changed, behind });
        }
        Err(to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }))
    }

    /// Distrusts a site, or trusts it again; or says what that would mean.
    pub(super) async fn distrust(
        &self,
        running: &Running,
        request: v1::DistrustSiteRequest,
    ) -> Result<v1::DistrustSiteResponse, Status> {
        let site = SiteName::new(&request.site).map_err(super::invalid)?;
        if self.state.trust().is_none() {
            return Err(Status::failed_precondition(NO_TLS));
        }
        for _ in 0..MAX_TRIES {
            let (record, expected) = site_of(running, &site).await?;
            let meaning = if request.restore { None } else { Some(self.meaning(running, &site).await?) };
            let mut answer = v1::DistrustSiteResponse {
                site: Some(records::site_trust_of(&record.trust())),
                changed: false,
                meaning: meaning.as_ref().map(told),
                asked_site: running.site.to_string(),
                told: Vec::new(),
                untold: Vec::new(),
            };
            if request.only_judge {
                return Ok(answer);
            }
            let now = running.fleet_now().max(Timestamp(1));
            let changed = change_trust(std::slice::from_ref(&record), &site, request.restore, now);
            let changed = changed.map_err(|why| Status::not_found(why.to_string()))?;
            if let (Some(meaning), true) = (&meaning, changed.is_some()) {
                judge(&request, &site, &running.site, meaning)?;
            }
            let word = changed.as_ref().unwrap_or(&record).trust();
            // A site that leads the system range writes down its own end, which it may not do.
            let leads = word.is_distrusted() && leads_the_system_range(running, &site);
            if let Some(changed) = &changed
                && !self.put_on_record(running, changed, expected, leads).await.map_err(to_status)?
            {
                continue;
            }
            running.directory.confirm_site(&word);
            let saving = std::sync::Arc::clone(&running.directory);
            let told = self.tell_of_site(running, &word);
            ((answer.told, answer.untold), _) = tokio::join!(told, tokio::task::spawn_blocking(move || saving.save()));
            let goes_on = meaning.is_some_and(|meaning| !meaning.stopped.contains(&RangeId::SYSTEM));
            if let Some(changed) = changed.as_ref().filter(|_| leads && goes_on) {
                see_that_it_stands(running, changed).await.map_err(to_status)?;
            }
            (answer.site, answer.changed) = (Some(records::site_trust_of(&word)), changed.is_some());
            return Ok(answer);
        }
        Err(to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }))
    }

    /// Writes a site's record, if it is as it was looked at. Where the site `leads` the system range and does not write it, the others are told
    /// first: then they lead, and write it.
    async fn put_on_record(
        &self,
        running: &Running,
        record: &SiteRecord,
        expected: Expected,
        leads: bool,
    ) -> Result<bool, Rejected> {
        let written = write_site(running, record, expected.clone()).await;
        if written.is_ok() || !leads {
            return written;
        }
        running.directory.hear_sites(&[record.trust()]);
        self.tell_of_site(running, &record.trust()).await;
        write_site(running, record, expected).await
    }

    /// What the distrust of a site means, on the fleet as it is.
    async fn meaning(&self, running: &Running, site: &SiteName) -> Result<Meaning, Status> {
        let known = system::all(running, StateKey::all_stores(), system::PATIENCE, records::decode_store);
        let (known, policies) = tokio::join!(known, super::drain::policies(running));
        let (known, policies) = (known.map_err(to_status)?, policies.map_err(to_status)?);
        let look = self.look_for_drain(running).await?;
        let members: Vec<_> = known.into_iter().filter(|record| !record.is_forgotten()).collect();
        // One at a time, and not in the way of other tasks: it goes through all ranges.
        let _turn = self.judging.lock().await;
        Ok(tokio::task::block_in_place(|| {
            let mut view = look.view(&members);
            view.distrust(&running.directory.distrusted());
            judge_distrust(&view, &policies, site)
        }))
    }

    /// Tells all stores of other sites. Returns who knows it, and who could not be told.
    async fn tell_of_site(&self, running: &Running, word: &SiteTrust) -> (Vec<u64>, Vec<v1::BehindStore>) {
        let of_site = running
            .directory
            .all()
            .values()
            .filter(|record| record.site == word.site)
            .map(|record| record.store)
            .collect();
        // Whoever is trusted again has nobody distrusted by this, and hears of it as all others do.
        let spared = if word.is_distrusted() { of_site } else { BTreeSet::new() };
        let request = v1::LearnSitesRequest { sites: vec![records::site_trust_of(word)] };
        let asked = self.others.tell_all(running, &spared, move |mut client| {
            let request = request.clone();
            async move { client.learn_sites(request).await }
        });
        let (heard, silent) = asked.await;
        let told = std::iter::once(running.store_id).chain(heard).map(|store| store.0).collect();
        let untold = silent.into_iter().map(|silent| v1::BehindStore {
            store_id: silent.store_id,
            site: silent.site,
            what: silent.reason,
        });
        (told, untold.collect())
    }

    /// Another store says what it knows of sites.
    pub(super) async fn take_sites(
        &self,
        running: &Running,
        caller: &Caller,
        request: v1::LearnSitesRequest,
    ) -> Result<v1::LearnSitesResponse, Status> {
        if caller.store_of().is_none() {
            return Err(Status::permission_denied(format!(
                "{} is no store: stores tell each other of sites",
                caller.name()
            )));
        }
        if request.sites.len() > limits::SITES_DOUBTED {
            return Err(super::invalid(format!("at most {} sites are told of", limits::SITES_DOUBTED)));
        }
        let said = request.sites.iter().map(records::site_trust).collect::<Result<Vec<_>, _>>();
        let said = said.map_err(|bad| super::invalid(bad.to_string()))?;
        if running.directory.hear_sites(&said) {
            // That a site is trusted again is for the records to say. Without them it stays as it is, and they are read again later.
            look_at_sites(running, others::OTHERS_WITHIN).await.map_err(to_status)?;
        }
        // Whoever is told that it is known here may rely on it, whatever becomes of this process.
        let saving = std::sync::Arc::clone(&running.directory);
        if tokio::task::spawn_blocking(move || saving.save()).await.is_err() {
            return Err(Status::internal("the thread that writes it down ended"));
        }
        Ok(v1::LearnSitesResponse {})
    }
}

/// The same with all that are on record: what this store has not heard of yet has shown nothing.
fn completed(mut shown: Vec<Shown>, members: &[StoreRecord]) -> Vec<Shown> {
    let known: BTreeSet<_> = shown.iter().map(|shown| shown.store).collect();
    let unknown = members.iter().filter(|record| !record.is_forgotten() && !known.contains(&record.store));
    shown.extend(unknown.map(|record| {
        let why = "the store that is asked has not heard of it yet: ask again in a moment";
        Shown { store: record.store, site: record.site.clone(), what: What::Silent(why.to_owned()) }
    }));
    shown
}

/// Reads what the records say of all sites.
async fn look_at_sites(running: &Running, patience: std::time::Duration) -> Result<(), Rejected> {
    let asked_at = running.directory.moment();
    let sites = system::all(running, StateKey::all_sites(), patience, records::decode_site).await?;
    running.directory.learn_sites(&doubted(&sites), asked_at);
    Ok(())
}

/// The rotation on record, and what its record must be when it is written.
async fn rotation_of(running: &Running) -> Result<(Option<Rotation>, Expected), Rejected> {
    let Some(found) = system::get(running, &StateKey::Rotation.key()).await? else {
        return Ok((None, Expected::Absent));
    };
    let rotation = records::decode_rotation(&found.value).map_err(system::damaged)?;
    Ok((Some(rotation), Expected::Version(found.timestamp)))
}

async fn write_rotation(running: &Running, rotation: &Rotation, expected: Expected) -> Result<bool, Rejected> {
    let key = StateKey::Rotation.key();
    let mutation = system::put(key.clone(), records::encode_rotation(rotation));
    if !system::write(running, vec![Condition { key, expected }], vec![mutation]).await? {
        return Ok(false);
    }
    let (phase, root) = (rotation.phase.as_str(), rotation.new_root);
    tracing::info!(phase, %root, "the rotation of the root came to another phase");
    let message = format!("the rotation of the root to {} is in phase `{phase}`", root.short());
    running.events.note(v1::EventKind::RootRotated, None, None, message);
    Ok(true)
}

/// The record of a site, and what it must be when it is written.
async fn site_of(running: &Running, site: &SiteName) -> Result<(SiteRecord, Expected), Status> {
    let found = system::get(running, &StateKey::Site(site.clone()).key()).await.map_err(to_status)?;
    let unknown = || Status::not_found(CannotChangeTrust::Unknown(site.clone()).to_string());
    let found = found.ok_or_else(unknown)?;
    let record = records::decode_site(&found.value).map_err(system::damaged).map_err(to_status)?;
    Ok((record, Expected::Version(found.timestamp)))
}

async fn write_site(running: &Running, record: &SiteRecord, expected: Expected) -> Result<bool, Rejected> {
    let key = StateKey::Site(record.label.clone()).key();
    let mutation = system::put(key.clone(), records::encode_site(record));
    system::write(running, vec![Condition { key, expected }], vec![mutation]).await
}

/// Whoever acknowledged it was the site itself: the others lead by now, and know whether it is there.
async fn see_that_it_stands(running: &Running, record: &SiteRecord) -> Result<(), Rejected> {
    let key = StateKey::Site(record.label.clone()).key();
    for _ in 0..MAX_TRIES {
        let found = system::get(running, &key).await?;
        let known =
            found.as_ref().map(|found| records::decode_site(&found.value)).transpose().map_err(system::damaged)?;
        if known.is_some_and(|known| known.trust().said_at() >= record.trust().said_at()) {
            return Ok(());
        }
        let expected = found.map_or(Expected::Absent, |found| Expected::Version(found.timestamp));
        if write_site(running, record, expected).await? {
            return Ok(());
        }
    }
    Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER })
}

/// True when a store of the site leads the system range, as far as is known here.
fn leads_the_system_range(running: &Running, site: &SiteName) -> bool {
    let leader = running.store.ranges().into_iter().find(|found| found.descriptor.range == RangeId::SYSTEM);
    let Some((leader, found)) = leader.and_then(|found| Some((found.leader?, found))) else { return false };
    let by_record = running.directory.all().get(&leader).map(|record| record.site.clone());
    by_record.or_else(|| found.descriptor.replica_on(leader).map(|replica| replica.site.clone())).as_ref() == Some(site)
}

#[cfg(test)]
mod tests {
    use holdfast_types::StoreId;

    use super::*;

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    fn meaning(stopped: &[u64], is_last: bool) -> Meaning {
        Meaning {
            stores: [StoreId(2), StoreId(5)].into(),
            led: 3,
            losing_a_voter: 7,
            stopped: stopped.iter().copied().map(RangeId).collect(),
            without_replacement: 7,
            headroom: None,
            is_last,
        }
    }

    fn refusal(even_if: (bool, bool), own: &str, meaning: &Meaning) -> Option<String> {
        let request = v1::DistrustSiteRequest {
            even_if_ranges_stop: even_if.0,
            even_if_last_or_asked: even_if.1,
            ..v1::DistrustSiteRequest::default()
        };
        judge(&request, &site("b"), &site(own), meaning).err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn what_speaks_against_it_has_to_be_borne_by_name() {
        let (none, stop, last_or_asked) = ((false, false), (true, false), (false, true));
        assert_eq!(refusal(none, "a", &meaning(&[], false)), None);
        let why = refusal(none, "a", &meaning(&[7, 8], false)).unwrap();
        assert!(
            why.contains("2 ranges would be left without a quorum (r7, r8)") && why.contains("--even-if-ranges-stop"),
            "{why}"
        );
        assert_eq!(refusal(stop, "a", &meaning(&[7], false)), None);
        assert!(refusal(last_or_asked, "a", &meaning(&[7], false)).unwrap().contains("1 range would"));
        assert!(refusal(stop, "a", &meaning(&[7], true)).unwrap().contains("the last one that is trusted"));
        assert!(refusal(stop, "b", &meaning(&[], false)).unwrap().contains("ask a store of another site"));
        assert_eq!(refusal((true, true), "b", &meaning(&[7], true)), None);
    }

    #[test]
    fn what_it_means_is_told_and_ranges_are_named_up_to_a_bound() {
        let many: Vec<u64> = (1..=100).collect();
        let told = told(&meaning(&many, false));
        assert_eq!((told.ranges_stopped, told.stopped.len(), told.ranges_led), (100, NAMED_RANGES, 3));
        assert!(told.enough && told.headroom.is_empty() && told.stores == [2, 5], "{told:?}");
    }

    #[test]
    fn the_largest_fleet_shows_its_roots_in_one_message() {
        let root = v1::TrustedRoot {
            fingerprint: vec![1; 32].into(),
            subject: "s".repeat(limits::TRUST_SUBJECT_BYTES),
            expires_at: u64::from(u32::MAX),
        };
        let trust = v1::StoreTrust {
            roots: vec![root; limits::TRUST_ROOTS],
            refused: "r".repeat(limits::MAX_SENTENCE_BYTES),
            ..v1::StoreTrust::default()
        };
        let one = v1::StoreStanding { store_id: 1, site: "s".repeat(63), silent: String::new(), trust: Some(trust) };
        let behind =
            v1::BehindStore { store_id: 1, site: "s".repeat(63), what: "w".repeat(limits::MAX_SENTENCE_BYTES) };
        let answer = v1::ShowTrustResponse {
            stores: fitting(vec![one.clone(); limits::MAX_MEMBERS]),
            behind: vec![behind; limits::MAX_MEMBERS],
            due: first_of(vec!["d".repeat(limits::MAX_SENTENCE_BYTES); 1_000]),
            ..v1::ShowTrustResponse::default()
        };
        assert!(answer.encoded_len() < limits::MAX_MESSAGE_BYTES, "{}", answer.encoded_len());
        assert_eq!(fitting(vec![one.clone()]), [one], "a small one shows all");
    }

    #[test]
    fn a_store_that_was_not_heard_of_has_shown_nothing() {
        let record = |store| StoreRecord::new(StoreId(store), site("b"));
        let forgotten = StoreRecord { forgotten_at: Some(Timestamp(9)), ..record(3) };
        let known = Shown { store: StoreId(1), site: site("b"), what: What::Plain };
        let all = completed(vec![known.clone()], &[record(1), record(2), forgotten]);
        assert_eq!((all.len(), &all[0], all[1].store), (2, &known, StoreId(2)));
        assert!(matches!(&all[1].what, What::Silent(why) if why.contains("not heard of it yet")));
    }

    #[test]
    fn a_step_is_named_and_its_root_too() {
        let request = |step: v1::RotationStep, root: &[u8]| v1::RotateRootRequest {
            step: step.into(),
            new_root: root.to_vec().into(),
        };
        assert!(matches!(step_of(&request(v1::RotationStep::Add, &[7; 32])), Ok(Step::Add(_))));
        for bad in [request(v1::RotationStep::Add, b"short"), request(v1::RotationStep::Unspecified, b"")] {
            assert_eq!(step_of(&bad).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
    }
}

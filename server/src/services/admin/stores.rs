//! Stores and sites: each store by its own word, as far as it answers.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::{BTreeMap, BTreeSet};

use holdfast_kv::core::records;
use holdfast_kv::driver::ComplaintKind;
use holdfast_placement::{Headroom, MoveLimits, StateKey, StoreRecord};
use holdfast_proto::v1;
use holdfast_types::{StoreId, limits};
use tonic::Status;

use super::AdminService;
use crate::others::Gathered;
use crate::running::Running;
use crate::services::fitting::{first_of, plausible, short};
use crate::trust::shown;
use crate::{others, system};

impl AdminService {
    /// This store by its own word.
    pub(super) fn own_status(&self, running: &Running) -> v1::StoreStatus {
        let ranges = running.store.counts(running.store_id);
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let measured = running.store.measured();
        let known = running.directory.all().get(&running.store_id).cloned();
        let (quarantined, quarantined_replicas) = running.quarantined();
        v1::StoreStatus {
            store_id: running.store_id.0,
            site: running.site.to_string(),
            alive: true,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            incarnation: running.incarnation.0,
            uptime_ms: u64::try_from(self.state.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            replicas: count(ranges.own),
            leaders: count(ranges.led),
            draining: self.state.is_draining(),
            disk_total_bytes: measured.disk_total_bytes,
            disk_free_bytes: measured.disk_free_bytes,
            cores: measured.cores,
            used_millicores: measured.used_millicores,
            quarantined,
            quarantined_replicas,
            complaints: running.complaints().iter().take(limits::MAX_SENTENCES).map(complaint).collect(),
            headroom: running.history.headroom().iter().take(limits::MAX_SENTENCES).map(lost_site).collect(),
            hears: running.heard().iter().map(|store| store.0).collect(),
            trust: self.state.trust().map(|trust| shown::told(&trust.standing(), &running.directory.distrusted())),
            ..known.map(|record| kept(&record)).unwrap_or_default()
        }
    }

    /// All stores, by id, and who did not answer.
    pub(super) async fn stores(
        &self,
        running: &Running,
    ) -> Result<(Vec<v1::StoreStatus>, Vec<v1::SilentStore>), Status> {
        let gathered = self.statuses(running).await?;
        let mut stores: BTreeMap<StoreId, v1::StoreStatus> =
            running.directory.all().values().map(|record| (record.store, kept(record))).collect();
        stores.insert(running.store_id, self.own_status(running));
        for (store, answer) in gathered.answers {
            // Whoever answers at the address of a store that is gone is not that store.
            if let Some(status) = answer.stores.into_iter().find(|status| status.store_id == store.0) {
                stores.insert(store, status);
            }
        }
        Ok((stores.into_values().collect(), gathered.silent))
    }

    /// What each of the other stores says of itself, cut to what an honest one says.
    pub(super) async fn statuses(&self, running: &Running) -> Result<Gathered<v1::ListStoresResponse>, Status> {
        let everybody = BTreeSet::new();
        let asked = self.others.ask_all(running, &everybody, |mut client| async move {
            client.list_stores(v1::ListStoresRequest { only_this_store: true }).await
        });
        let mut gathered = asked.await?;
        gathered.answers.values_mut().flat_map(|answer| &mut answer.stores).for_each(plausible);
        Ok(gathered)
    }

    /// All sites, by name.
    pub(super) async fn sites(&self, running: &Running) -> Result<v1::ListSitesResponse, Status> {
        let bounds = StateKey::all_sites();
        let identities = system::all(running, bounds, others::OTHERS_WITHIN, records::decode_site);
        let (stores, identities) = tokio::join!(self.stores(running), identities);
        let (stores, silent) = stores?;
        let mut sites: BTreeMap<String, v1::SiteStatus> = BTreeMap::new();
        let (mut warnings, mut headroom) = (Vec::new(), Vec::new());
        let of_moves = MoveLimits::default();
        for store in stores {
            let site = sites.entry(store.site.clone()).or_default();
            site.name.clone_from(&store.site);
            site.stores = site.stores.saturating_add(1);
            site.alive = site.alive.saturating_add(u32::from(store.alive));
            site.draining |= store.draining;
            site.replicas = site.replicas.saturating_add(store.replicas);
            site.leaders = site.leaders.saturating_add(store.leaders);
            let name = super::store_of(store.store_id).unwrap_or_default();
            warnings.extend(store.complaints.iter().map(|what| format!("{name} ({}): {}", store.site, what.message)));
            warnings.extend(short_of_disk(&store, &of_moves));
            let damaged = store.quarantined.iter();
            warnings.extend(
                damaged.map(|q| format!("{name} ({}): r{} is quarantined: {}", store.site, q.range_id, q.reason)),
            );
            let more = store.quarantined_replicas.saturating_sub(store.quarantined.len() as u64);
            warnings
                .extend((more > 0).then(|| format!("{name} ({}): {more} more replicas are quarantined", store.site)));
            headroom.extend(store.headroom);
        }
        warnings.extend(silent.iter().map(|s| format!("s{} ({}) does not answer: {}", s.store_id, s.site, s.reason)));
        warnings.extend(running.unreached().iter().map(|unreached| format!("{}: {unreached}", running.store_id)));
        let distrusted = running.directory.distrusted();
        warnings.extend(
            distrusted.iter().map(|site| {
                format!("site {site} is distrusted, and its stores count as lost (`holdfast trust status`)")
            }),
        );
        for said in running.directory.sites_said().iter().filter(|said| said.is_distrusted()) {
            if let Some(site) = sites.get_mut(said.site.as_str()) {
                site.distrusted_at = said.distrusted_at.unwrap_or_default().0;
            }
        }
        for identity in identities.into_iter().flatten() {
            if let Some(site) = sites.get_mut(identity.label.as_str()) {
                site.identity = identity.identity.unwrap_or_default();
                site.former = identity.former.iter().map(super::moved::told).collect();
            }
        }
        for lost in &headroom {
            if let Some(site) = sites.get_mut(&lost.lost_site) {
                site.headroom.clone_from(&lost.sentence);
            }
        }
        warnings.extend(unbearable(sites.len(), &headroom));
        let worst = headroom.iter().max_by_key(|lost| (!lost.enough, lost.utilisation_permille));
        Ok(v1::ListSitesResponse {
            sites: sites.into_values().collect(),
            fleet: Some(running.fleet.into()),
            store_id: running.store_id.0,
            now: running.fleet_now().0,
            headroom: worst.map(|worst| worst.sentence.clone()).unwrap_or_default(),
            warnings: first_of(warnings),
            silent,
        })
    }
}

/// A store that placement gives nothing more, which may be why ranges are not spread.
fn short_of_disk(store: &v1::StoreStatus, limits: &MoveLimits) -> Option<String> {
    let (free, total) = (store.disk_free_bytes, store.disk_total_bytes);
    let is_said = store.complaints.iter().any(|what| what.kind() == v1::ComplaintKind::Disk);
    (!is_said && limits.is_short_of_disk(free, total)).then(|| {
        format!(
            "{} ({}) gets no more replicas: {} % of its disk are free, {} % or {} GiB are wanted: make room, or add a store",
            super::store_of(store.store_id).unwrap_or_default(),
            store.site,
            free.saturating_mul(100).checked_div(total).unwrap_or_default(),
            limits.low_space_percent,
            limits.ample_space_bytes >> 30
        )
    })
}

/// What is to be said of sites whose loss the fleet could not bear.
fn unbearable(sites: usize, headroom: &[v1::SiteHeadroom]) -> Vec<String> {
    let not_enough = headroom.iter().filter(|lost| !lost.enough);
    if sites < 3 {
        let some = not_enough.take(1);
        return some
            .map(|_| "the loss of a site could not be borne: it takes three sites to lose one".into())
            .collect();
    }
    let said = not_enough.map(|lost| match lost.spreading {
        true => format!("placement is still spreading voters over the sites: {}", lost.sentence),
        false => format!("the loss of a site could not be borne: {}", lost.sentence),
    });
    said.collect()
}

/// What the fleet keeps of a store.
fn kept(record: &StoreRecord) -> v1::StoreStatus {
    v1::StoreStatus {
        store_id: record.store.0,
        site: record.site.to_string(),
        client_address: record.addresses.client.clone(),
        store_address: record.addresses.store_to_store.clone(),
        http_address: record.addresses.http.clone(),
        leaving_at: record.leaving_at.unwrap_or_default().0,
        zone: record.zone.clone().unwrap_or_default(),
        awaited_since: if record.is_awaited { record.joined_at.0 } else { 0 },
        ..v1::StoreStatus::default()
    }
}

fn lost_site(headroom: &Headroom) -> v1::SiteHeadroom {
    v1::SiteHeadroom {
        lost_site: headroom.lost.to_string(),
        sentence: short(headroom.to_string()),
        enough: headroom.is_enough(),
        utilisation_permille: headroom.utilisation_permille,
        spreading: headroom.is_spreading(),
    }
}

fn complaint(complaint: &holdfast_kv::driver::Complaint) -> v1::Complaint {
    let kind = match complaint.kind {
        ComplaintKind::Disk => v1::ComplaintKind::Disk,
        ComplaintKind::Workers => v1::ComplaintKind::Workers,
        ComplaintKind::Clock => v1::ComplaintKind::Clock,
        ComplaintKind::Threads => v1::ComplaintKind::Threads,
        ComplaintKind::Streams => v1::ComplaintKind::Streams,
    };
    v1::Complaint { kind: kind.into(), message: short(complaint.message.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_short_of_disk_is_named_once() {
        let limits = MoveLimits::default();
        let store = |free_gib: u64, total_gib: u64| v1::StoreStatus {
            store_id: 2,
            site: "b".into(),
            disk_free_bytes: free_gib << 30,
            disk_total_bytes: total_gib << 30,
            ..v1::StoreStatus::default()
        };
        let said = short_of_disk(&store(10, 100), &limits).unwrap();
        assert!(said.starts_with("s2 (b) gets no more replicas: 10 % of its disk are free"), "{said}");
        // Enough of a small disk, ample of a large one, a store that did not answer.
        for well in [store(20, 100), store(16, 1_000), store(0, 0)] {
            assert_eq!(short_of_disk(&well, &limits), None);
        }
        let full = v1::Complaint { kind: v1::ComplaintKind::Disk.into(), message: "nearly full".into() };
        assert_eq!(short_of_disk(&v1::StoreStatus { complaints: vec![full], ..store(1, 100) }, &limits), None);
    }

    #[test]
    fn only_a_loss_that_placement_cannot_help_is_alarming() {
        let lost = |enough, spreading| v1::SiteHeadroom {
            sentence: "lose a: ...".into(),
            enough,
            spreading,
            ..v1::SiteHeadroom::default()
        };
        assert!(unbearable(3, &[lost(true, false)]).is_empty());
        assert_eq!(
            unbearable(3, &[lost(false, true), lost(false, false)]),
            [
                "placement is still spreading voters over the sites: lose a: ...",
                "the loss of a site could not be borne: lose a: ..."
            ]
        );
        let two = unbearable(2, &[lost(false, false), lost(false, false)]);
        assert_eq!(two, ["the loss of a site could not be borne: it takes three sites to lose one"]);
    }
}

//! Binds the label of a site to another identity, after its Kubernetes cluster was rebuilt, or moved with its volumes.
//!
//! ```text
//! site's record ─▶ may it be? ─▶ does any store of it live? ─▶ write, if no record has changed since ─▶ event
//!                (placement)     (every store is asked)
//! ```
//!
//! From then on [`crate::membership`] lets in whoever proves the new identity, and refuses whoever proves the old one: a store of the old
//! Kubernetes cluster that was only cut off hears that at its next look, and ends. While one of them answers or is heard nothing is
//! written, since the label would stand for two Kubernetes clusters at once.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;

use holdfast_kv::core::records;
use holdfast_placement::{CannotMove, FormerIdentity, SiteRecord, StateKey, StoreRecord, check_identity, move_site};
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_types::{Condition, Expected, Rejected, SiteName, StoreId, Timestamp, limits};
use tonic::Status;

use super::AdminService;
use super::forget::{heard_by, named};
use crate::running::Running;
use crate::system;

/// How often it is begun again when a record changed meanwhile.
const MAX_TRIES: usize = 16;

/// Stores of the site live.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "site {site} is not moved, {} of it {} alive, where it is bound to {bound}: stop every store of it for good, and ask again when they have \
     been silent for {} s. For a site that is to be moved while it lives, add a site and remove this one",
    named(.living), if .living.len() == 1 { "is" } else { "are" }, limits::FORGET_AFTER_SILENCE.as_secs()
)]
struct Alive {
    site: SiteName,
    bound: String,
    living: Vec<StoreId>,
}

/// A former identity as it is told.
pub(super) fn told(was: &FormerIdentity) -> v1::FormerSiteIdentity {
    v1::FormerSiteIdentity { identity: was.identity.clone(), until: was.until.0 }
}

fn refused(why: CannotMove) -> Status {
    match why {
        CannotMove::Unknown(_) => Status::not_found(why.to_string()),
        CannotMove::Unbound(_) | CannotMove::Taken { .. } => Status::failed_precondition(why.to_string()),
    }
}

/// The stores of a site that answer or are heard. `hears`: whether the store that is asked hears one, or is it.
fn living<'a>(
    site: &SiteName,
    stores: impl Iterator<Item = &'a StoreRecord>,
    answers: &BTreeMap<StoreId, v1::ListStoresResponse>,
    hears: impl Fn(StoreId) -> bool,
) -> Vec<StoreId> {
    let of_site = stores.filter(|record| record.site == *site && !record.is_forgotten()).map(|record| record.store);
    of_site.filter(|store| hears(*store) || !heard_by(*store, answers).is_empty()).collect()
}

fn answer(record: &SiteRecord, changed: bool, silent: Vec<v1::SilentStore>) -> v1::MoveSiteResponse {
    v1::MoveSiteResponse {
        site: record.label.to_string(),
        identity: record.identity.clone().unwrap_or_default(),
        former: record.former.iter().map(told).collect(),
        changed,
        silent,
    }
}

impl AdminService {
    /// Binds a site to another identity, unless a store of it lives.
    pub(super) async fn move_to(
        &self,
        running: &Running,
        request: v1::MoveSiteRequest,
    ) -> Result<v1::MoveSiteResponse, Status> {
        let label = SiteName::new(&request.site).map_err(super::invalid)?;
        check_identity(&request.identity).map_err(to_status)?;
        for _ in 0..MAX_TRIES {
            let attempt = self.try_to_move(running, &label, &request.identity).await?;
            if let Some(answer) = attempt {
                return Ok(answer);
            }
        }
        Err(to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }))
    }

    /// `None`: somebody else changed a record meanwhile.
    async fn try_to_move(
        &self,
        running: &Running,
        label: &SiteName,
        identity: &str,
    ) -> Result<Option<v1::MoveSiteResponse>, Status> {
        // Whoever joins changes one of the two.
        let mut conditions = Vec::new();
        for key in [StateKey::Site(label.clone()).key(), StateKey::NextStore.key()] {
            let found = system::get(running, &key).await.map_err(to_status)?;
            let expected = found.map_or(Expected::Absent, |found| Expected::Version(found.timestamp));
            conditions.push(Condition { key, expected });
        }
        let sites = system::all(running, StateKey::all_sites(), system::PATIENCE, records::decode_site);
        let sites = sites.await.map_err(to_status)?;
        let now = running.fleet_now().max(Timestamp(1));
        let Some(record) = move_site(&sites, label, identity, now).map_err(refused)? else {
            let known = sites.iter().find(|site| site.label == *label);
            let known = known.ok_or_else(|| Status::internal("the site was found to be bound"))?;
            return Ok(Some(answer(known, false, Vec::new())));
        };
        let was = record.former.last().map(|was| was.identity.clone()).unwrap_or_default();
        let silent = self.see_that_it_is_dead(running, label, &was).await?;
        let mutation = system::put(StateKey::Site(label.clone()).key(), records::encode_site(&record));
        if !system::write(running, conditions, vec![mutation]).await.map_err(to_status)? {
            return Ok(None);
        }
        tracing::info!(site = %label, from = %was, to = %identity, "a site was moved");
        let message = format!("site {label} is bound to {identity}, no longer to {was}");
        running.events.note(v1::EventKind::SiteMoved, None, None, message);
        Ok(Some(answer(&record, true, silent)))
    }

    /// Refuses when a store of the site lives; returns the stores of other sites that could not be asked.
    async fn see_that_it_is_dead(
        &self,
        running: &Running,
        label: &SiteName,
        bound: &str,
    ) -> Result<Vec<v1::SilentStore>, Status> {
        let asked = self.statuses(running);
        let recorded = system::all(running, StateKey::all_stores(), system::PATIENCE, records::decode_store);
        let (gathered, recorded) = tokio::join!(asked, recorded);
        let (gathered, recorded) = (gathered?, recorded.map_err(to_status)?);
        let hears = |store| store == running.store_id || running.hears(store);
        let living = living(label, recorded.iter(), &gathered.answers, hears);
        if !living.is_empty() {
            let alive = Alive { site: label.clone(), bound: bound.to_owned(), living };
            return Err(Status::failed_precondition(alive.to_string()));
        }
        let mut silent = gathered.silent;
        silent.retain(|silent| silent.site != label.as_str());
        Ok(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    fn says(store: u64, hears: &[u64]) -> (StoreId, v1::ListStoresResponse) {
        let status = v1::StoreStatus { store_id: store, hears: hears.to_vec(), ..v1::StoreStatus::default() };
        (StoreId(store), v1::ListStoresResponse { stores: vec![status], silent: Vec::new() })
    }

    #[test]
    fn a_site_lives_while_one_of_its_members_answers_or_is_heard_by_anybody() {
        let mut stores: Vec<_> = [(1, "east"), (2, "east"), (3, "west"), (4, "east")]
            .map(|(id, name)| StoreRecord::new(StoreId(id), site(name)))
            .into();
        stores[3].forgotten_at = Some(Timestamp(9));
        let of = |answers: Vec<(StoreId, v1::ListStoresResponse)>, hears: &[u64]| {
            living(&site("east"), stores.iter(), &answers.into_iter().collect(), |store| hears.contains(&store.0))
        };
        assert_eq!(of(vec![says(3, &[])], &[]), []);
        assert_eq!(of(vec![says(3, &[4])], &[]), [], "a forgotten one is refused whatever it proves");
        assert_eq!(of(vec![says(3, &[2])], &[]), [StoreId(2)]);
        assert_eq!(of(vec![says(1, &[])], &[]), [StoreId(1)], "it answers itself");
        assert_eq!(of(vec![says(3, &[])], &[1, 2]), [StoreId(1), StoreId(2)]);
    }

    #[test]
    fn who_lives_and_what_to_do_is_said() {
        let alive = |living: &[u64]| Alive {
            site: site("east"),
            bound: "uid-1".into(),
            living: living.iter().copied().map(StoreId).collect(),
        };
        let one = alive(&[2]).to_string();
        assert!(
            one.starts_with("site east is not moved, s2 of it is alive, where it is bound to uid-1: stop every store"),
            "{one}"
        );
        assert!(alive(&[1, 2]).to_string().contains("s1, s2 of it are alive"));
        let not_found = refused(CannotMove::Unknown(site("east")));
        assert_eq!(not_found.code(), tonic::Code::NotFound);
        let taken = refused(CannotMove::Taken { identity: "uid-2".into(), site: site("west") });
        assert_eq!(taken.code(), tonic::Code::FailedPrecondition);
    }
}

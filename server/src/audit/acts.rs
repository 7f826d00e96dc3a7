//! What is an act, and which of its arguments go on record: field by field, so that a secret which is added to a request is in no entry unless
//! somebody puts it there.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::sync::Arc;

use holdfast_proto::convert::status::from_status;
use holdfast_proto::v1::change_replicas_request::Change;
use holdfast_proto::v1::change_rights_request::Change as Rights;
use holdfast_proto::v1::grantee::Who;
use holdfast_proto::v1::transfer_leader_request::To;
use holdfast_proto::v1::{self, AuditKind, AuditResult};
use holdfast_types::{JoinToken, Key, TokenId};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Code, Status};

use super::{Audit, entry};

/// Numbers of a list that are named; how many there are is said.
const NAMED: usize = 16;

/// The arguments of an act, by name.
pub type Arguments = Vec<(&'static str, String)>;

/// A request that is an act.
pub trait Act {
    /// Its word.
    const WHAT: &'static str;
    /// Acts that change what is trusted, or who may do what, are changes of trust.
    const KIND: AuditKind = AuditKind::Act;

    /// What goes on record of it: no value of a key, no token, no other secret.
    fn arguments(&self) -> Arguments;

    /// False: it only asks what would be.
    fn is_change(&self) -> bool {
        true
    }
}

/// An act that is under way. It goes on record when it ends, by its answer or because its caller went away.
#[must_use = "what is not ended is on record as unknown"]
pub struct Acting {
    audit: Arc<Audit>,
    /// Until it is on record; `None` from the beginning: nothing is changed.
    open: Option<(v1::AuditEntry, OwnedSemaphorePermit)>,
}

impl Acting {
    pub(super) fn new(audit: Arc<Audit>, entry: v1::AuditEntry, seat: OwnedSemaphorePermit) -> Self {
        Self { audit, open: Some((entry, seat)) }
    }

    pub(super) fn of_none(audit: Arc<Audit>) -> Self {
        Self { audit, open: None }
    }

    /// It ended so.
    pub fn end<T>(mut self, ended: Result<T, Status>) -> Result<T, Status> {
        match &ended {
            Ok(_) => self.record(AuditResult::Done, ""),
            Err(status) if may_be_done(status) => self.record(AuditResult::Unknown, status.message()),
            Err(status) => self.record(AuditResult::Refused, status.message()),
        }
        ended
    }

    fn record(&mut self, result: AuditResult, why: &str) {
        if let Some((entry, seat)) = self.open.take() {
            let entry = v1::AuditEntry { result: result.into(), why: entry::fitting(why.to_owned()), ..entry };
            self.audit.acted(entry, seat);
        }
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        self.record(AuditResult::Unknown, "whoever asked went away before it had ended");
    }
}

/// True of an error that does not say for certain that nothing was done.
fn may_be_done(status: &Status) -> bool {
    match from_status(status) {
        Some(rejected) => rejected.is_ambiguous(),
        None => matches!(status.code(), Code::Unknown | Code::Internal | Code::Cancelled | Code::DeadlineExceeded),
    }
}

fn numbers(numbers: &[u64]) -> String {
    let named: Vec<_> = numbers.iter().take(NAMED).map(u64::to_string).collect();
    match numbers.len().saturating_sub(NAMED) {
        0 => named.join(" "),
        more => format!("{} and {more} more", named.join(" ")),
    }
}

fn key(raw: &bytes::Bytes) -> String {
    Key::from_raw(raw.clone()).map_or_else(|_| "(no key)".to_owned(), |key| key.to_string())
}

/// The first bytes of a fingerprint are enough to tell it from others.
fn fingerprint(bytes: &[u8]) -> String {
    bytes.iter().take(32).map(|byte| format!("{byte:02x}")).collect()
}

impl Act for v1::CreateKeyspaceRequest {
    const WHAT: &'static str = "create-keyspace";

    fn arguments(&self) -> Arguments {
        vec![("name", self.name.clone())]
    }
}

impl Act for v1::SplitRangeRequest {
    const WHAT: &'static str = "split-range";

    fn arguments(&self) -> Arguments {
        vec![("key", key(&self.key))]
    }
}

impl Act for v1::ChangeReplicasRequest {
    const WHAT: &'static str = "change-replicas";

    fn arguments(&self) -> Arguments {
        let range = ("range_id", self.range_id.to_string());
        match &self.change {
            None => vec![range],
            Some(Change::AddLearner(add)) => vec![range, ("add_learner", add.store_id.to_string())],
            Some(Change::Reconfigure(change)) => {
                vec![range, ("promote", numbers(&change.promote)), ("demote", numbers(&change.demote))]
            }
            Some(Change::RemoveLearner(remove)) => vec![range, ("remove_learner", remove.replica_id.to_string())],
        }
    }
}

impl Act for v1::TransferLeaderRequest {
    const WHAT: &'static str = "transfer-leader";

    fn arguments(&self) -> Arguments {
        let range = ("range_id", self.range_id.to_string());
        match &self.to {
            None => vec![range],
            Some(To::StoreId(store)) => vec![range, ("store_id", store.to_string())],
            Some(To::Site(site)) => vec![range, ("site", site.clone())],
        }
    }
}

impl Act for v1::ForgetStoreRequest {
    const WHAT: &'static str = "forget-store";

    fn arguments(&self) -> Arguments {
        vec![("store_id", self.store_id.to_string())]
    }
}

impl Act for v1::MoveSiteRequest {
    const WHAT: &'static str = "move-site";

    fn arguments(&self) -> Arguments {
        vec![("site", self.site.clone()), ("identity", self.identity.clone())]
    }
}

impl Act for v1::DrainStoresRequest {
    const WHAT: &'static str = "drain-stores";

    fn arguments(&self) -> Arguments {
        vec![("store_ids", numbers(&self.store_ids)), ("cancel", self.cancel.to_string())]
    }
}

impl Act for v1::PrepareToStopRequest {
    const WHAT: &'static str = "prepare-to-stop";

    fn arguments(&self) -> Arguments {
        vec![("within_ms", self.within_ms.to_string()), ("cancel", self.cancel.to_string())]
    }
}

impl Act for v1::InitRequest {
    const WHAT: &'static str = "init";

    // Its token is a secret.
    fn arguments(&self) -> Arguments {
        Vec::new()
    }
}

impl Act for v1::JoinRequest {
    const WHAT: &'static str = "join";

    // Its tokens are secrets; the name of a one-time token is none.
    fn arguments(&self) -> Arguments {
        let token = self.join_token.parse::<JoinToken>().ok().map(|token| ("token", token.id().to_string()));
        let known = [
            ("store_id", self.store_id.to_string()),
            ("site", self.site.clone()),
            ("client_address", self.client_address.clone()),
            ("store_address", self.store_address.clone()),
        ];
        known.into_iter().chain(token).collect()
    }
}

impl Act for v1::RotateRootRequest {
    const WHAT: &'static str = "rotate-root";
    const KIND: AuditKind = AuditKind::Trust;

    fn arguments(&self) -> Arguments {
        let step = ("step", self.step().as_str_name().trim_start_matches("ROTATION_STEP_").to_ascii_lowercase());
        if self.new_root.is_empty() { vec![step] } else { vec![step, ("new_root", fingerprint(&self.new_root))] }
    }
}

impl Act for v1::ChangeRightsRequest {
    const WHAT: &'static str = "change-rights";
    const KIND: AuditKind = AuditKind::Trust;

    fn arguments(&self) -> Arguments {
        let grantee = |grantee: &Option<v1::Grantee>| match grantee.as_ref().and_then(|grantee| grantee.who.as_ref()) {
            Some(Who::Client(name)) => format!("client {name}"),
            Some(Who::Role(name)) => format!("role {name}"),
            None => String::new(),
        };
        let grants = |verb: &'static str, change: &v1::GrantChange| {
            vec![(verb, granted(&change.grants)), ("grantee", grantee(&change.grantee))]
        };
        let member = |verb: &'static str, change: &v1::MemberChange| {
            vec![(verb, change.role.clone()), ("client", change.client.clone())]
        };
        match &self.change {
            None => Vec::new(),
            Some(Rights::CreateRole(name)) => vec![("create_role", name.clone())],
            Some(Rights::DropRole(name)) => vec![("drop_role", name.clone())],
            Some(Rights::Grant(change)) => grants("grant", change),
            Some(Rights::Revoke(change)) => grants("revoke", change),
            Some(Rights::RevokeAll(who)) => vec![("revoke_all", grantee(&Some(who.clone())))],
            Some(Rights::AddMember(change)) => member("grant_role", change),
            Some(Rights::RemoveMember(change)) => member("revoke_role", change),
        }
    }
}

/// The beginning of a list of grants.
fn granted(grants: &[v1::Grant]) -> String {
    let one = |grant: &v1::Grant| {
        let right = grant.right().as_str_name().trim_start_matches("RIGHT_").to_ascii_lowercase();
        let place = match (grant.everywhere, grant.keyspace.as_str(), grant.keyspace_id) {
            (true, ..) => "all keyspaces".to_owned(),
            (false, "", id) => format!("keyspace {id}"),
            (false, name, _) => format!("keyspace {name}"),
        };
        let prefix = if grant.prefix.is_empty() { String::new() } else { format!(" {}", grant.prefix.escape_ascii()) };
        format!("{right} on {place}{prefix}")
    };
    let named: Vec<_> = grants.iter().take(NAMED).map(one).collect();
    let more = grants.len().saturating_sub(named.len());
    if more == 0 { named.join(", ") } else { format!("{} and {more} more", named.join(", ")) }
}

impl Act for v1::DistrustSiteRequest {
    const WHAT: &'static str = "distrust-site";
    const KIND: AuditKind = AuditKind::Trust;

    fn arguments(&self) -> Arguments {
        vec![
            ("site", self.site.clone()),
            ("restore", self.restore.to_string()),
            ("even_if_ranges_stop", self.even_if_ranges_stop.to_string()),
            ("even_if_last_or_asked", self.even_if_last_or_asked.to_string()),
        ]
    }

    fn is_change(&self) -> bool {
        !self.only_judge
    }
}

impl Act for v1::CreateJoinTokenRequest {
    const WHAT: &'static str = "create-join-token";
    const KIND: AuditKind = AuditKind::Trust;

    fn arguments(&self) -> Arguments {
        vec![("site", self.site.clone()), ("ttl_ms", self.ttl_ms.to_string())]
    }
}

impl Act for v1::RevokeJoinTokenRequest {
    const WHAT: &'static str = "revoke-join-token";
    const KIND: AuditKind = AuditKind::Trust;

    fn arguments(&self) -> Arguments {
        vec![("id", TokenId::of(self.id).to_string())]
    }
}

#[cfg(test)]
mod tests {
    use holdfast_proto::convert::status::to_status;
    use holdfast_types::Rejected;

    use super::*;

    #[test]
    fn a_token_is_in_no_argument() {
        let secret = "8f1d-a-secret-93aa";
        let join = v1::JoinRequest {
            fleet_token: secret.into(),
            join_token: secret.into(),
            site: "a".into(),
            ..v1::JoinRequest::default()
        };
        let init = v1::InitRequest { fleet_token: secret.into(), ..v1::InitRequest::default() };
        let token =
            v1::CreateJoinTokenRequest { secret_sha256: secret.into(), ..v1::CreateJoinTokenRequest::default() };
        let shown = format!("{:?}{:?}{:?}", join.arguments(), init.arguments(), token.arguments());
        assert!(!shown.contains(secret));
        assert!(join.arguments().contains(&("site", "a".to_owned())));
    }

    #[test]
    fn lists_are_told_by_their_beginning_and_keys_are_cut() {
        let many = v1::DrainStoresRequest { store_ids: (1..=1_000).collect(), cancel: false };
        assert!(many.arguments()[0].1.ends_with("15 16 and 984 more"), "{:?}", many.arguments());
        let long = v1::SplitRangeRequest { key: vec![b'k'; 4 << 10].into(), expected_epoch: None };
        assert!(long.arguments()[0].1.len() < 200);
    }

    #[test]
    fn only_what_says_for_certain_that_nothing_was_done_is_a_refusal() {
        for (status, may_be) in [
            (to_status(Rejected::Ambiguous("x".into())), true),
            (to_status(Rejected::Unavailable("x".into())), false),
            (to_status(Rejected::DeadlineExceeded), false),
            (Status::deadline_exceeded("x"), true),
            (Status::unknown("x"), true),
            (Status::failed_precondition("x"), false),
            (Status::permission_denied("x"), false),
        ] {
            assert_eq!(may_be_done(&status), may_be, "{status:?}");
        }
    }
}

//! Grants and roles, listed and changed. A change is judged and written against all that is granted at one moment, so that bounds and
//! refusals hold however many change something at once; then every store is told, so that whoever asked can go by it.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holdfast_kv::core::rights::{Book, CannotChange, Change};
use holdfast_placement::StateKey;
use holdfast_proto::convert::BadMessage;
use holdfast_proto::convert::rights as convert;
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_proto::v1::change_rights_request::Change as Asked;
use holdfast_types::principal::Kind;
use holdfast_types::{
    Clients, Condition, Expected, Grant, Grantee, Key, KeyspaceId, Rejected, RoleName, Scope, StoreId, limits,
};
use prost::Message as _;
use tonic::Status;

use super::{AdminService, keyspaces};
use crate::running::Running;
use crate::services::caller::Caller;
use crate::system;

/// How often a change is begun again when another one came first.
const MAX_TRIES: usize = 16;

fn bad(bad: BadMessage) -> Status {
    super::invalid(bad.to_string())
}

fn refused(why: CannotChange) -> Status {
    match why {
        CannotChange::NoRole(_) | CannotChange::NotGranted { .. } | CannotChange::NoMember { .. } => {
            Status::not_found(why.to_string())
        }
        CannotChange::RoleExists(_) => Status::already_exists(why.to_string()),
        CannotChange::TooMany { .. } => Status::failed_precondition(why.to_string()),
    }
}

/// All records of rights, read at one moment.
async fn all(running: &Running) -> Result<(Book, Vec<(Key, Bytes)>), Rejected> {
    let rows = system::rows(running, StateKey::all_rights(), system::PATIENCE).await?;
    let book = Book::read(&rows).map_err(system::damaged)?;
    Ok((book, rows))
}

impl AdminService {
    /// A page of what was granted, as far as it is the caller's business.
    pub(super) async fn granted(
        &self,
        running: &Running,
        caller: &Caller,
        request: v1::ListRightsRequest,
    ) -> Result<v1::ListRightsResponse, Status> {
        let wanted = request.grantee.map(Grantee::try_from).transpose().map_err(bad)?;
        let from = resumed(&request.resume)?;
        let (book, _) = all(running).await.map_err(to_status)?;
        let names = self.names.by_id(running).await;
        let is_shown = |grantee: &Grantee| {
            wanted.as_ref().is_none_or(|wanted| concerns(&book, wanted, grantee))
                && is_business_of(&book, caller, grantee)
        };
        let mut page = v1::ListRightsResponse {
            closed: book.is_closed(),
            enforced: self.state.rights.are_enforced(),
            number: book.number(),
            ..v1::ListRightsResponse::default()
        };
        let mut bytes = 0;
        for grantee in grantees(&book).filter(|grantee| from.as_ref().is_none_or(|from| from <= grantee)) {
            if !is_shown(&grantee) {
                continue;
            }
            if bytes >= limits::RIGHTS_PAGE_BYTES {
                page.resume = place_of(&grantee);
                break;
            }
            let held = held(&book, &grantee, &names);
            bytes = usize::saturating_add(bytes, held.encoded_len());
            page.held.push(held);
        }
        Ok(page)
    }

    /// Makes a change.
    pub(super) async fn change_grants(
        &self,
        running: &Running,
        request: v1::ChangeRightsRequest,
    ) -> Result<v1::ChangeRightsResponse, Status> {
        let change = change_of(running, request.change).await?;
        let enforced = self.state.rights.are_enforced();
        for _ in 0..MAX_TRIES {
            let (book, rows) = all(running).await.map_err(to_status)?;
            let Some(changed) = book.change(&change).map_err(refused)? else {
                let number = book.number();
                return Ok(v1::ChangeRightsResponse { number, enforced, ..v1::ChangeRightsResponse::default() });
            };
            let key = StateKey::RightsVersion.key();
            let known = rows.into_iter().find(|(found, _)| *found == key).map(|(_, value)| value);
            let condition = Condition { key, expected: known.map_or(Expected::Absent, Expected::Value) };
            if system::write(running, vec![condition], changed.mutations).await.map_err(to_status)? {
                let number = changed.book.number();
                tracing::info!(number, closes = changed.closes, "rights were changed");
                let silent = self.tell(running, number).await;
                return Ok(v1::ChangeRightsResponse {
                    changed: true,
                    number,
                    silent,
                    closes: changed.closes,
                    enforced,
                });
            }
        }
        Err(to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }))
    }

    /// Has every store go by a change. Who does not say that it does is returned.
    async fn tell(&self, running: &Running, number: u64) -> Vec<v1::SilentStore> {
        if !self.state.rights.are_enforced() {
            return Vec::new();
        }
        let request = v1::LearnRightsRequest { number };
        let nobody = BTreeSet::new();
        let asked =
            self.others.ask_all(running, &nobody, move |mut client| async move { client.learn_rights(request).await });
        let (own, asked) = tokio::join!(self.state.rights.look(running, number), asked);
        let mut silent = match asked {
            Ok(gathered) => {
                let behind = gathered.answers.into_iter().filter(|(_, answer)| answer.number < number);
                let behind = behind.map(|(store, _)| silent_store(running, store, "it has not read the change yet"));
                gathered.silent.into_iter().chain(behind).collect()
            }
            // They look for themselves.
            Err(status) => {
                let others = running.directory.all();
                let others = others.keys().filter(|store| **store != running.store_id);
                others.map(|store| silent_store(running, *store, status.message())).collect::<Vec<_>>()
            }
        };
        if let Err(rejected) = own {
            silent.push(silent_store(running, running.store_id, &rejected.to_string()));
        }
        silent.sort_by_key(|silent| silent.store_id);
        silent
    }
}

fn silent_store(running: &Running, store: StoreId, reason: &str) -> v1::SilentStore {
    let site = running.directory.all().get(&store).map(|record| record.site.to_string()).unwrap_or_default();
    v1::SilentStore { store_id: store.0, site, reason: crate::services::fitting::short(reason.to_owned()) }
}

/// Understands a request.
async fn change_of(running: &Running, asked: Option<Asked>) -> Result<Change, Status> {
    let role = |name: &str| convert::role(name).map_err(bad);
    Ok(match asked.ok_or_else(|| super::invalid("name the change"))? {
        Asked::CreateRole(name) => Change::CreateRole(role(&name)?),
        Asked::DropRole(name) => Change::DropRole(role(&name)?),
        Asked::Grant(change) => {
            let (grants, to) = grants_of(running, change).await?;
            Change::Grant(grants, to)
        }
        Asked::Revoke(change) => {
            let (grants, from) = grants_of(running, change).await?;
            Change::Revoke(grants, from)
        }
        Asked::RevokeAll(grantee) => Change::RevokeAll(Grantee::try_from(grantee).map_err(bad)?),
        Asked::AddMember(change) => Change::Join(role(&change.role)?, convert::clients(&change.client).map_err(bad)?),
        Asked::RemoveMember(change) => {
            Change::Leave(role(&change.role)?, convert::clients(&change.client).map_err(bad)?)
        }
    })
}

async fn grants_of(running: &Running, change: v1::GrantChange) -> Result<(Vec<Grant>, Grantee), Status> {
    let grantee = change.grantee.ok_or_else(|| super::invalid("name whom it concerns"))?;
    let grantee = Grantee::try_from(grantee).map_err(bad)?;
    let (count, most) = (change.grants.len(), limits::GRANTS_AT_A_TIME);
    if count == 0 || count > most {
        return Err(super::invalid(format!("{count} grants: name 1 to {most}")));
    }
    let mut grants = Vec::with_capacity(limits::GRANTS_AT_A_TIME);
    for grant in change.grants {
        grants.push(grant_of(running, grant).await?);
    }
    Ok((grants, grantee))
}

/// A grant whose keyspace may be named.
async fn grant_of(running: &Running, grant: v1::Grant) -> Result<Grant, Status> {
    if grant.keyspace.is_empty() {
        return Grant::try_from(grant).map_err(bad);
    }
    if grant.everywhere || grant.keyspace_id != 0 {
        return Err(super::invalid("a grant names its keyspace once: all, or one by name, or one by id"));
    }
    let right = convert::right(grant.right).map_err(bad)?;
    let found = keyspaces::find(running, &grant.keyspace).await.map_err(to_status)?;
    let found = found.ok_or_else(|| Status::not_found(format!("there is no keyspace {:?}", grant.keyspace)))?;
    Grant::new(right, Scope::In { keyspace: KeyspaceId(found.id), prefix: grant.prefix }).map_err(to_status)
}

/// Everybody who was given something, and every role, in order.
fn grantees(book: &Book) -> impl Iterator<Item = Grantee> {
    let clients = book.clients().keys().cloned().map(Grantee::Clients);
    clients.chain(book.roles().keys().cloned().map(Grantee::Role))
}

fn held(book: &Book, grantee: &Grantee, names: &BTreeMap<KeyspaceId, String>) -> v1::HeldRights {
    let role = match grantee {
        Grantee::Role(name) => book.roles().get(name),
        Grantee::Clients(_) => None,
    };
    let grants = match grantee {
        Grantee::Role(_) => role.map(|role| &role.grants),
        Grantee::Clients(clients) => book.clients().get(clients),
    };
    let named = |grant: &Grant| {
        let keyspace = match grant.scope() {
            Scope::Everywhere => None,
            Scope::In { keyspace, .. } => names.get(keyspace).cloned(),
        };
        v1::Grant { keyspace: keyspace.unwrap_or_default(), ..grant.into() }
    };
    v1::HeldRights {
        grantee: Some(grantee.into()),
        grants: grants.into_iter().flatten().map(named).collect(),
        members: role.into_iter().flat_map(|role| &role.members).map(ToString::to_string).collect(),
    }
}

/// True when what one was given is of use to the other: of a client its own grants, those of every client, and its roles.
fn concerns(book: &Book, wanted: &Grantee, grantee: &Grantee) -> bool {
    let Grantee::Clients(clients) = wanted else { return wanted == grantee };
    match grantee {
        Grantee::Clients(other) => other == clients || *other == Clients::Every,
        Grantee::Role(role) => is_in(book, role, clients),
    }
}

fn is_in(book: &Book, role: &RoleName, clients: &Clients) -> bool {
    let members = book.roles().get(role).map(|role| &role.members);
    members.is_some_and(|members| members.contains(clients) || members.contains(&Clients::Every))
}

/// Operators, and where there is no TLS everybody, see all; a client what it may itself.
fn is_business_of(book: &Book, caller: &Caller, grantee: &Grantee) -> bool {
    match caller.principal.as_deref().map(|principal| &principal.kind) {
        None | Some(Kind::Operator(_)) => true,
        Some(Kind::Client(name)) => concerns(book, &Grantee::Clients(Clients::One(name.clone())), grantee),
        Some(Kind::Store(_)) => false,
    }
}

/// Where a list goes on.
fn place_of(grantee: &Grantee) -> String {
    match grantee {
        Grantee::Clients(clients) => format!("client/{clients}"),
        Grantee::Role(role) => format!("role/{role}"),
    }
}

fn resumed(resume: &str) -> Result<Option<Grantee>, Status> {
    if resume.is_empty() {
        return Ok(None);
    }
    let grantee = match resume.split_once('/') {
        Some(("client", name)) => convert::clients(name).map(Grantee::Clients),
        Some(("role", name)) => convert::role(name).map(Grantee::Role),
        _ => Err(BadMessage::malformed("this is no place in a list of grants")),
    };
    grantee.map(Some).map_err(bad)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdfast_types::Right;

    use super::*;

    fn book() -> Book {
        let role = |name: &str| RoleName::new(name).unwrap();
        let to = |name: &str| Grantee::Clients(name.parse().unwrap());
        let read = |id: u32| vec![Grant::new(Right::Read, Scope::keyspace(KeyspaceId(id))).unwrap()];
        let changes = [
            Change::CreateRole(role("readers")),
            Change::CreateRole(role("writers")),
            Change::Join(role("readers"), "ann".parse().unwrap()),
            Change::Grant(read(256), Grantee::Role(role("readers"))),
            Change::Grant(read(1), to("*")),
            Change::Grant(read(2), to("ann")),
            Change::Grant(read(3), to("bob")),
        ];
        changes.iter().fold(Book::default(), |book, change| book.change(change).unwrap().unwrap().book)
    }

    fn seen_by(uri: Option<&str>) -> Vec<String> {
        let caller = Caller { principal: uri.map(|uri| Arc::new(uri.parse().unwrap())), from: None };
        let book = book();
        grantees(&book).filter(|grantee| is_business_of(&book, &caller, grantee)).map(|one| place_of(&one)).collect()
    }

    #[test]
    fn everybody_sees_what_concerns_himself_and_operators_see_all() {
        let all = ["client/*", "client/ann", "client/bob", "role/readers", "role/writers"];
        assert_eq!(seen_by(None), all, "without TLS nobody has a name");
        assert_eq!(seen_by(Some("spiffe://f/operator/eve")), all);
        assert_eq!(seen_by(Some("spiffe://f/client/ann")), ["client/*", "client/ann", "role/readers"]);
        assert_eq!(seen_by(Some("spiffe://f/client/carl")), ["client/*"]);
        assert!(seen_by(Some("spiffe://f/site/b/store")).is_empty());
    }

    #[test]
    fn a_list_goes_on_where_it_stopped_whatever_changed_meanwhile() {
        let from = |resume: &str| {
            let from = resumed(resume).unwrap();
            let all: Vec<_> = grantees(&book()).filter(|one| from.as_ref().is_none_or(|from| from <= one)).collect();
            all.iter().map(place_of).collect::<Vec<_>>()
        };
        assert_eq!(from("").len(), 5);
        assert_eq!(from("client/ann")[0], "client/ann");
        assert_eq!(from("client/b")[0], "client/bob", "one that is gone");
        assert_eq!(from("role/readers"), ["role/readers", "role/writers"]);
        assert!(resumed("elsewhere").is_err() && resumed("role/X").is_err());
    }

    #[test]
    fn what_is_told_of_a_grantee_names_keyspaces_and_members() {
        let names = BTreeMap::from([(KeyspaceId(256), "orders".to_owned())]);
        let told = held(&book(), &Grantee::Role(RoleName::new("readers").unwrap()), &names);
        assert_eq!((told.grants[0].keyspace.as_str(), told.grants[0].keyspace_id), ("orders", 256));
        assert_eq!(told.members, ["ann"]);
        assert_eq!(held(&book(), &Grantee::Clients(Clients::Every), &names).grants[0].keyspace, "", "it has no name");
    }
}

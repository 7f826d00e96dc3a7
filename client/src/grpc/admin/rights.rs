//! Grants and roles: who may do what, where.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::Bytes;
use holdfast_proto::convert::common::required;
use holdfast_proto::convert::rights as convert;
use holdfast_proto::convert::{BadMessage, check_count};
use holdfast_proto::v1;
use holdfast_proto::v1::change_rights_request::Change;
use holdfast_types::bounds::cut;
use holdfast_types::{Clients, Grant, Grantee, KeyspaceId, Right, RoleName, Scope, limits};

use super::answers::all;
use super::{Admin, AdminError, SilentStore};

/// Whose grants there may be, roles among them.
const MOST_GRANTEES: usize = limits::MAX_ROLES + limits::MAX_GRANTED_CLIENTS;

/// Where a grant is to hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GrantOn {
    /// In all keyspaces, also in those that come.
    Everywhere,
    /// In the keyspace of this name.
    Named {
        /// The name.
        keyspace: String,
        /// With what keys begin; empty: all of them.
        prefix: Bytes,
    },
    /// In the keyspace with this id, which may have no name.
    Numbered {
        /// The id.
        keyspace: KeyspaceId,
        /// With what keys begin; empty: all of them.
        prefix: Bytes,
    },
}

/// One change of what somebody may.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RightsChange {
    /// A new role.
    CreateRole(RoleName),
    /// A role ends, with what it gave.
    DropRole(RoleName),
    /// Gives.
    Grant(Vec<(Right, GrantOn)>, Grantee),
    /// Takes away what was given by these words.
    Revoke(Vec<(Right, GrantOn)>, Grantee),
    /// Takes away all that was given to this one itself.
    RevokeAll(Grantee),
    /// A client becomes a member of a role.
    AddMember(RoleName, Clients),
    /// It is one no more.
    RemoveMember(RoleName, Clients),
}

/// What a change of rights came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RightsChanged {
    /// False: it was so before.
    pub changed: bool,
    /// Counts the changes.
    pub number: u64,
    /// Until this change every client could read and write all keyspaces; from now on each may do what it was granted.
    pub closes: bool,
    /// False: the fleet has no TLS, so everybody may do everything.
    pub enforced: bool,
    /// Stores that have not said that they go by it.
    pub silent: Vec<SilentStore>,
}

/// A grant, and the name of its keyspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldGrant {
    /// What may be done, and where.
    pub grant: Grant,
    /// The name of the keyspace; `None`: it has none, or all are meant.
    pub keyspace: Option<String>,
}

/// What one grantee was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldRights {
    /// Who.
    pub grantee: Grantee,
    /// What.
    pub grants: Vec<HeldGrant>,
    /// Of a role, its members.
    pub members: Vec<Clients>,
}

/// What was granted in a fleet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantedRights {
    /// Every client first, then clients by name, then roles by name.
    pub held: Vec<HeldRights>,
    /// True: clients may do what they were granted, and nothing else. False: nothing was granted so far.
    pub closed: bool,
    /// False: the fleet has no TLS, so everybody may do everything.
    pub enforced: bool,
    /// Counts the changes.
    pub number: u64,
}

impl Admin {
    /// What was granted; with `to` only what that one may by it: of a client its own grants, those of every client, and its roles. In a fleet
    /// with TLS operators see all, everybody else what concerns himself.
    pub async fn rights(&self, to: Option<&Grantee>) -> Result<GrantedRights, AdminError> {
        let mut rights: Option<GrantedRights> = None;
        let mut resume = String::new();
        loop {
            let request = v1::ListRightsRequest { grantee: to.map(Into::into), resume: std::mem::take(&mut resume) };
            let page = self.look(request, async |mut client, request| client.list_rights(request).await).await?;
            let held: Vec<HeldRights> = all(page.held)?;
            let has_more = !page.resume.is_empty();
            if has_more && held.is_empty() {
                return Err(AdminError::Protocol("a list of grants that does not go on".into()));
            }
            resume = page.resume;
            let rights = rights.get_or_insert_with(|| GrantedRights {
                held: Vec::new(),
                closed: page.closed,
                enforced: page.enforced,
                number: cut(page.number, limits::MAX_COUNTED),
            });
            rights.held.extend(held);
            check_count("grantees", rights.held.len(), MOST_GRANTEES)?;
            if !has_more {
                break;
            }
        }
        rights.ok_or_else(|| AdminError::Protocol("a list of grants was expected".into()))
    }

    /// Changes what somebody may. [`AdminError::NotFound`]: there is no such role, member or grant.
    pub async fn change_rights(&self, change: RightsChange) -> Result<RightsChanged, AdminError> {
        let request = v1::ChangeRightsRequest { change: Some(message(change)) };
        let answer = self.change(request, async |mut client, request| client.change_rights(request).await).await?;
        Ok(RightsChanged {
            changed: answer.changed,
            number: cut(answer.number, limits::MAX_COUNTED),
            closes: answer.closes,
            enforced: answer.enforced,
            silent: all(answer.silent)?,
        })
    }
}

fn message(change: RightsChange) -> Change {
    let grants = |grants: Vec<(Right, GrantOn)>, grantee: &Grantee| v1::GrantChange {
        grants: grants.into_iter().map(|(right, on)| grant(right, on)).collect(),
        grantee: Some(grantee.into()),
    };
    let member =
        |role: RoleName, client: Clients| v1::MemberChange { role: role.to_string(), client: client.to_string() };
    match change {
        RightsChange::CreateRole(role) => Change::CreateRole(role.to_string()),
        RightsChange::DropRole(role) => Change::DropRole(role.to_string()),
        RightsChange::Grant(given, to) => Change::Grant(grants(given, &to)),
        RightsChange::Revoke(taken, from) => Change::Revoke(grants(taken, &from)),
        RightsChange::RevokeAll(from) => Change::RevokeAll((&from).into()),
        RightsChange::AddMember(role, client) => Change::AddMember(member(role, client)),
        RightsChange::RemoveMember(role, client) => Change::RemoveMember(member(role, client)),
    }
}

fn grant(right: Right, on: GrantOn) -> v1::Grant {
    let right = convert::right_of(right).into();
    match on {
        GrantOn::Everywhere => v1::Grant { right, everywhere: true, ..v1::Grant::default() },
        GrantOn::Named { keyspace, prefix } => v1::Grant { right, keyspace, prefix, ..v1::Grant::default() },
        GrantOn::Numbered { keyspace, prefix } => {
            v1::Grant { right, keyspace_id: keyspace.0, prefix, ..v1::Grant::default() }
        }
    }
}

impl TryFrom<v1::HeldRights> for HeldRights {
    type Error = BadMessage;

    fn try_from(held: v1::HeldRights) -> Result<Self, BadMessage> {
        check_count("grants", held.grants.len(), limits::GRANTS_OF_ONE)?;
        check_count("members", held.members.len(), limits::MEMBERS_OF_A_ROLE)?;
        Ok(Self {
            grantee: required(held.grantee, "grantee")?.try_into()?,
            grants: all(held.grants)?,
            members: held.members.iter().map(|name| convert::clients(name)).collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<v1::Grant> for HeldGrant {
    type Error = BadMessage;

    fn try_from(mut grant: v1::Grant) -> Result<Self, BadMessage> {
        let keyspace = Some(std::mem::take(&mut grant.keyspace)).filter(|name| !name.is_empty());
        Ok(Self { grant: grant.try_into()?, keyspace })
    }
}

impl HeldGrant {
    /// Where it holds, for people: the name of a keyspace where it has one.
    #[must_use]
    pub fn place(&self) -> String {
        match (&self.keyspace, self.grant.scope()) {
            (_, Scope::Everywhere) if self.grant.right() == Right::Fleet => "the fleet".to_owned(),
            (_, Scope::Everywhere) => "all keyspaces".to_owned(),
            (Some(name), Scope::In { .. }) => name.clone(),
            (None, Scope::In { keyspace, .. }) => keyspace.0.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_grants_is_bounded_and_named() {
        let grant = v1::Grant { right: 1, keyspace_id: 256, keyspace: "orders".into(), ..v1::Grant::default() };
        let grantee = Some(v1::Grantee { who: Some(v1::grantee::Who::Role("readers".into())) });
        let held = v1::HeldRights { grantee, grants: vec![grant.clone()], members: vec!["*".into()] };
        let told = HeldRights::try_from(held.clone()).unwrap();
        assert_eq!((told.grants[0].place().as_str(), told.members.as_slice()), ("orders", [Clients::Every].as_slice()));
        let many = v1::HeldRights { grants: vec![grant; limits::GRANTS_OF_ONE + 1], ..held.clone() };
        assert!(HeldRights::try_from(many).is_err());
        let crowd = v1::HeldRights { members: vec!["a".into(); limits::MEMBERS_OF_A_ROLE + 1], ..held.clone() };
        assert!(HeldRights::try_from(crowd).is_err());
        assert!(HeldRights::try_from(v1::HeldRights { grantee: None, ..held }).is_err());
    }

    #[test]
    fn a_change_says_which_keyspace_it_means() {
        let prefix = Bytes::from_static(b"a/");
        let on = |on| grant(Right::Read, on);
        assert!(on(GrantOn::Everywhere).everywhere);
        let named = on(GrantOn::Named { keyspace: "orders".into(), prefix: prefix.clone() });
        assert_eq!((named.keyspace.as_str(), named.keyspace_id, named.prefix), ("orders", 0, prefix));
        let numbered = on(GrantOn::Numbered { keyspace: KeyspaceId(7), prefix: Bytes::new() });
        assert_eq!((numbered.keyspace.as_str(), numbered.keyspace_id), ("", 7));
    }
}

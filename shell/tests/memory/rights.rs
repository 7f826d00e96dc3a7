//! Rights of a made-up fleet: what was granted is remembered, and nobody is kept from anything.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_client::admin::{
    AdminError, GrantOn, GrantedRights, HeldGrant, HeldRights, Keyspace, RightsChange, RightsChanged,
};
use holdfast_types::{Clients, Grant, Grantee, Right, RoleName, Scope};

use holdfast_shell::backend::BackendError;

/// What was granted.
#[derive(Default)]
pub(super) struct Granted {
    number: u64,
    closed: bool,
    grants: BTreeMap<Grantee, BTreeSet<Grant>>,
    roles: BTreeMap<RoleName, BTreeSet<Clients>>,
}

impl Granted {
    pub(super) fn shown(&self, keyspaces: &BTreeMap<String, Keyspace>, to: Option<&Grantee>) -> GrantedRights {
        let named = |grant: &Grant| {
            let name = match grant.scope() {
                Scope::Everywhere => None,
                Scope::In { keyspace, .. } => keyspaces.values().find(|known| known.id == *keyspace),
            };
            HeldGrant { grant: grant.clone(), keyspace: name.map(|known| known.name.clone()) }
        };
        let roles = self.roles.keys().cloned().map(Grantee::Role);
        let grantees: BTreeSet<Grantee> = self.grants.keys().cloned().chain(roles).collect();
        let held = grantees.into_iter().filter(|grantee| to.is_none_or(|to| self.concerns(to, grantee)));
        let held = held.map(|grantee| HeldRights {
            grants: self.grants.get(&grantee).into_iter().flatten().map(named).collect(),
            members: match &grantee {
                Grantee::Role(role) => self.roles.get(role).into_iter().flatten().cloned().collect(),
                Grantee::Clients(_) => Vec::new(),
            },
            grantee,
        });
        GrantedRights { held: held.collect(), closed: self.closed, enforced: true, number: self.number }
    }

    fn concerns(&self, wanted: &Grantee, grantee: &Grantee) -> bool {
        let Grantee::Clients(clients) = wanted else { return wanted == grantee };
        match grantee {
            Grantee::Clients(other) => other == clients || *other == Clients::Every,
            Grantee::Role(role) => {
                let members = self.roles.get(role);
                members.is_some_and(|members| members.contains(clients) || members.contains(&Clients::Every))
            }
        }
    }

    pub(super) fn change(
        &mut self,
        keyspaces: &BTreeMap<String, Keyspace>,
        change: RightsChange,
    ) -> Result<RightsChanged, BackendError> {
        let before = (self.grants.clone(), self.roles.clone());
        match change {
            RightsChange::CreateRole(role) if self.roles.contains_key(&role) => {
                return Err(AdminError::AlreadyExists(format!("there is a role {role} already")).into());
            }
            RightsChange::CreateRole(role) => drop(self.roles.insert(role, BTreeSet::new())),
            RightsChange::DropRole(role) => {
                self.members(&role)?;
                self.roles.remove(&role);
                self.grants.remove(&Grantee::Role(role));
            }
            RightsChange::Grant(given, to) => {
                let given = grants(keyspaces, given)?;
                self.of(to)?.extend(given);
            }
            RightsChange::Revoke(taken, from) => {
                let whom = from.clone();
                let held = self.of(from)?;
                for grant in grants(keyspaces, taken)? {
                    if !held.remove(&grant) {
                        return Err(
                            AdminError::NotFound(format!("{whom} was not granted {grant} in these words")).into()
                        );
                    }
                }
            }
            RightsChange::RevokeAll(from) => self.of(from)?.clear(),
            RightsChange::AddMember(role, client) => drop(self.members(&role)?.insert(client)),
            RightsChange::RemoveMember(role, client) => {
                if !self.members(&role)?.remove(&client) {
                    return Err(AdminError::NotFound(format!("client {client} is no member of role {role}")).into());
                }
            }
        }
        self.grants.retain(|_, grants| !grants.is_empty());
        let changed = before != (self.grants.clone(), self.roles.clone());
        let closes = !self.closed && !self.grants.is_empty();
        self.closed |= closes;
        self.number += u64::from(changed);
        Ok(RightsChanged { changed, number: self.number, closes, enforced: true, silent: vec![] })
    }

    fn members(&mut self, role: &RoleName) -> Result<&mut BTreeSet<Clients>, BackendError> {
        let none = || AdminError::NotFound(format!("there is no role {role}: CREATE ROLE {role} makes it"));
        Ok(self.roles.get_mut(role).ok_or_else(none)?)
    }

    fn of(&mut self, grantee: Grantee) -> Result<&mut BTreeSet<Grant>, BackendError> {
        if let Grantee::Role(role) = &grantee {
            self.members(role)?;
        }
        Ok(self.grants.entry(grantee).or_default())
    }
}

fn grants(keyspaces: &BTreeMap<String, Keyspace>, named: Vec<(Right, GrantOn)>) -> Result<Vec<Grant>, BackendError> {
    let grant = |(right, on)| {
        let scope = match on {
            GrantOn::Everywhere => Scope::Everywhere,
            GrantOn::Numbered { keyspace, prefix } => Scope::In { keyspace, prefix },
            GrantOn::Named { keyspace, prefix } => {
                let none = || AdminError::NotFound(format!("there is no keyspace {keyspace:?}"));
                Scope::In { keyspace: keyspaces.get(&keyspace).ok_or_else(none)?.id, prefix }
            }
        };
        Ok(Grant::new(right, scope).map_err(AdminError::Rejected)?)
    };
    named.into_iter().map(grant).collect()
}

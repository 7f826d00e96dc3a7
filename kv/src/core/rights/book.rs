//! What was granted to whom, as the system range keeps it, and how it changes: one change is one record and the number of all of them, written
//! together under the condition that the number is the one that was read.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holdfast_placement::StateKey;
use holdfast_proto::convert::BadMessage;
use holdfast_types::bounds::at_most;
use holdfast_types::{Clients, Grant, Grantee, Key, Mutation, RoleName, limits};

use super::records;

/// A role.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Role {
    /// What its members may.
    pub grants: BTreeSet<Grant>,
    /// Who they are.
    pub members: BTreeSet<Clients>,
}

/// What was granted to whom.
///
/// Invariants, see [`Book::check`]:
/// - there are no more roles, members, grants and clients with grants than `limits` says
/// - a client without grants of its own is not listed
/// - whoever has a grant has it in closed rights
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Book {
    number: u64,
    is_closed: bool,
    roles: BTreeMap<RoleName, Role>,
    clients: BTreeMap<Clients, BTreeSet<Grant>>,
}

/// One change of what somebody may.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A new role.
    CreateRole(RoleName),
    /// A role ends, with what it gave and who was in it.
    DropRole(RoleName),
    /// Gives.
    Grant(Vec<Grant>, Grantee),
    /// Takes away what was given in these words.
    Revoke(Vec<Grant>, Grantee),
    /// Takes away all that was given to this one itself.
    RevokeAll(Grantee),
    /// A client becomes a member of a role.
    Join(RoleName, Clients),
    /// It is one no more.
    Leave(RoleName, Clients),
}

/// Why something is not changed, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CannotChange {
    /// There is no such role.
    #[error("there is no role {0}: CREATE ROLE {0} makes it, SHOW ROLES lists those that there are")]
    NoRole(RoleName),
    /// There is one.
    #[error("there is a role {0} already")]
    RoleExists(RoleName),
    /// What is to be taken away was not given.
    #[error("{grantee} was not granted {grant} in these words: SHOW GRANTS FOR {grantee} lists what was")]
    NotGranted {
        /// What.
        grant: Grant,
        /// To whom.
        grantee: Grantee,
    },
    /// The client is no member.
    #[error("client {clients} is no member of role {role}: SHOW ROLES lists members")]
    NoMember {
        /// Of which role.
        role: RoleName,
        /// Who.
        clients: Clients,
    },
    /// A bound was reached.
    #[error("there would be more than {most} {what}: {advice}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
        /// What to do instead.
        advice: &'static str,
    },
}

/// What a change comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// What is granted then.
    pub book: Book,
    /// True when this is the first grant of all: from now on clients may do what they were granted, and nothing else.
    pub closes: bool,
    /// What is to be written, if the number is still that of the book that was changed.
    pub mutations: Vec<Mutation>,
}

impl Book {
    /// Reads the records of rights, which were all read at one moment; refuses what no store writes.
    pub fn read(rows: &[(Key, Bytes)]) -> Result<Self, BadMessage> {
        let bytes = rows.iter().map(|(_, value)| value.len()).fold(0, usize::saturating_add);
        if bytes > limits::RIGHTS_BYTES {
            return Err(BadMessage::malformed(format!(
                "records of rights have {bytes} bytes, {} at most",
                limits::RIGHTS_BYTES
            )));
        }
        let mut book = Self::default();
        for (key, value) in rows {
            let unnamed = || BadMessage::malformed(format!("{key} is not the name of a record of rights"));
            match StateKey::parse(key).ok_or_else(unnamed)? {
                StateKey::RightsVersion => (book.number, book.is_closed) = records::decode_rights_version(value)?,
                StateKey::Role(name) => {
                    let (named, role) = records::decode_role(value)?;
                    is_its_own(named == name, key)?;
                    book.roles.insert(name, role);
                }
                StateKey::ClientGrants(clients) => {
                    let (named, grants) = records::decode_client_grants(value)?;
                    is_its_own(named == clients, key)?;
                    if !grants.is_empty() {
                        book.clients.insert(clients, grants);
                    }
                }
                _ => return Err(unnamed()),
            }
        }
        book.check().map_err(|bad| BadMessage::malformed(bad.to_string()))?;
        // Whoever wrote a grant closed them; should that have been lost, nobody is let in by it.
        book.is_closed |= book.has_grants();
        Ok(book)
    }

    /// Counts the changes.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// True from the first grant on: clients may do what they were granted, and nothing else.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// All roles.
    #[must_use]
    pub fn roles(&self) -> &BTreeMap<RoleName, Role> {
        &self.roles
    }

    /// Grants of clients themselves.
    #[must_use]
    pub fn clients(&self) -> &BTreeMap<Clients, BTreeSet<Grant>> {
        &self.clients
    }

    /// What a change comes to; `None`: it is so already.
    pub fn change(&self, change: &Change) -> Result<Option<Changed>, CannotChange> {
        let mut book = self.clone();
        let key = book.apply(change)?;
        if book == *self {
            return Ok(None);
        }
        book.is_closed |= book.has_grants();
        book.number = book.number.saturating_add(1);
        book.check()?;
        let closes = book.is_closed && !self.is_closed;
        let version = put(StateKey::RightsVersion, Some(records::encode_rights_version(book.number, book.is_closed)));
        let record = book.record(&key);
        let mutations = vec![version, put(key, record)];
        Ok(Some(Changed { book, closes, mutations }))
    }

    /// Changes it, and returns the name of the record that changed.
    fn apply(&mut self, change: &Change) -> Result<StateKey, CannotChange> {
        match change {
            Change::CreateRole(role) if self.roles.contains_key(role) => {
                return Err(CannotChange::RoleExists(role.clone()));
            }
            Change::CreateRole(role) => {
                self.roles.insert(role.clone(), Role::default());
            }
            Change::DropRole(role) => {
                self.role(role)?;
                self.roles.remove(role);
            }
            Change::Grant(grants, to) => self.grants_of(to)?.extend(grants.iter().cloned()),
            Change::Revoke(grants, from) => {
                let held = self.grants_of(from)?;
                for grant in grants {
                    if !held.remove(grant) {
                        return Err(CannotChange::NotGranted { grant: grant.clone(), grantee: from.clone() });
                    }
                }
            }
            Change::RevokeAll(from) => self.grants_of(from)?.clear(),
            Change::Join(role, clients) => {
                self.role(role)?.members.insert(clients.clone());
            }
            Change::Leave(role, clients) => {
                if !self.role(role)?.members.remove(clients) {
                    return Err(CannotChange::NoMember { role: role.clone(), clients: clients.clone() });
                }
            }
        }
        self.clients.retain(|_, grants| !grants.is_empty());
        Ok(match change {
            Change::CreateRole(role) | Change::DropRole(role) | Change::Join(role, _) | Change::Leave(role, _) => {
                StateKey::Role(role.clone())
            }
            Change::Grant(_, grantee) | Change::Revoke(_, grantee) | Change::RevokeAll(grantee) => match grantee {
                Grantee::Role(role) => StateKey::Role(role.clone()),
                Grantee::Clients(clients) => StateKey::ClientGrants(clients.clone()),
            },
        })
    }

    fn role(&mut self, name: &RoleName) -> Result<&mut Role, CannotChange> {
        self.roles.get_mut(name).ok_or_else(|| CannotChange::NoRole(name.clone()))
    }

    fn grants_of(&mut self, grantee: &Grantee) -> Result<&mut BTreeSet<Grant>, CannotChange> {
        match grantee {
            Grantee::Role(role) => Ok(&mut self.role(role)?.grants),
            Grantee::Clients(clients) => Ok(self.clients.entry(clients.clone()).or_default()),
        }
    }

    /// The record of this name; `None`: there is none.
    fn record(&self, key: &StateKey) -> Option<Bytes> {
        match key {
            StateKey::Role(name) => self.roles.get(name).map(|role| records::encode_role(name, role)),
            StateKey::ClientGrants(clients) => {
                self.clients.get(clients).map(|grants| records::encode_client_grants(clients, grants))
            }
            _ => None,
        }
    }

    fn has_grants(&self) -> bool {
        !self.clients.is_empty() || self.roles.values().any(|role| !role.grants.is_empty())
    }

    /// Checks the bounds; the error names the one that is broken.
    pub fn check(&self) -> Result<(), CannotChange> {
        let within = |found: usize, most: usize, what: &'static str, advice: &'static str| {
            if found <= most { Ok(()) } else { Err(CannotChange::TooMany { what, most, advice }) }
        };
        let role = "give clients that do the same one role";
        within(self.roles.len(), limits::MAX_ROLES, "roles", role)?;
        within(self.clients.len(), limits::MAX_GRANTED_CLIENTS, "clients with grants of their own", role)?;
        let prefix = "grant a shorter prefix that holds several, or a keyspace";
        let held = self.roles.values().map(|role| &role.grants).chain(self.clients.values());
        let most = held.map(BTreeSet::len).max().unwrap_or_default();
        within(most, limits::GRANTS_OF_ONE, "grants of one client or role", prefix)?;
        let mut joined: BTreeMap<&Clients, usize> = BTreeMap::new();
        for role in self.roles.values() {
            let members = "make a second role, or give it to client '*'";
            within(role.members.len(), limits::MEMBERS_OF_A_ROLE, "members of one role", members)?;
            for member in &role.members {
                let count = joined.entry(member).or_default();
                *count = count.saturating_add(1);
            }
        }
        let most = joined.values().copied().max().unwrap_or_default();
        within(most, limits::ROLES_OF_A_CLIENT, "roles of one client", "make one role of several")?;
        let bytes =
            self.keys().filter_map(|key| self.record(&key)).map(|record| record.len()).fold(0, usize::saturating_add);
        within(bytes, limits::RIGHTS_BYTES, "bytes of grants and members", role)
    }

    fn keys(&self) -> impl Iterator<Item = StateKey> {
        let clients = self.clients.keys().cloned().map(StateKey::ClientGrants);
        self.roles.keys().cloned().map(StateKey::Role).chain(clients)
    }
}

fn put(key: StateKey, value: Option<Bytes>) -> Mutation {
    Mutation { key: key.key(), value, expires_at: None }
}

fn is_its_own(is_it: bool, key: &Key) -> Result<(), BadMessage> {
    if is_it { Ok(()) } else { Err(BadMessage::malformed(format!("{key} holds the record of another one"))) }
}

/// The number of a change that a record or a socket names.
pub(super) fn counted(number: u64) -> Result<u64, BadMessage> {
    Ok(at_most("the number of a change of rights", number, limits::MAX_TOLD)?)
}

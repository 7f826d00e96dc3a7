//! What somebody may do, where, and who was given it.
//!
//! ```text
//! grantee ── grants ──▶ right, scope          role ── members ──▶ clients
//! ```
//!
//! Rights only add up: nothing takes away what something else gives. Operators need no grants; stores get none.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use crate::ids::KeyspaceId;
use crate::key::Key;
use crate::limits;
use crate::principal::PrincipalName;
use crate::range::KeyRange;
use crate::rejected::Rejected;

/// What may be done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Right {
    /// To read keys. A condition of a write is read too, since its failure tells the value.
    Read,
    /// To put and to delete keys.
    Write,
    /// To look at ranges; on all keyspaces also to make keyspaces, and to look at stores, sites, events and settings.
    Admin,
    /// To change the fleet: ranges, replicas, leaders, stores, sites; and to look at it.
    Fleet,
}

impl Right {
    /// All of them, in their order.
    pub const ALL: [Right; 4] = [Right::Read, Right::Write, Right::Admin, Right::Fleet];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Fleet => "fleet",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Right {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|right| text.eq_ignore_ascii_case(right.as_str()));
        found.ok_or_else(|| "there are the rights read, write, admin and fleet".to_owned())
    }
}

/// The name of a role. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(Arc<str>);

impl RoleName {
    /// A role's name is a letter from `a` to `z`, then up to 62 of `a-z`, `0-9` and `_`: an identifier in SQL too.
    pub fn new(name: &str) -> Result<Self, String> {
        let is_legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.len() > 63 || !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(is_legal) {
            let shown: String = name.chars().take(80).collect();
            return Err(format!(
                "role name {shown:?} is not a letter from a to z and up to 62 of a-z, 0-9 and '_': choose one like \"auditors\""
            ));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One client, or every one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Clients {
    /// Each that has proved to be one.
    Every,
    /// This one.
    One(PrincipalName),
}

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every => f.write_str("*"),
            Self::One(name) => name.fmt(f),
        }
    }
}

impl FromStr for Clients {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "*" => Ok(Self::Every),
            name => PrincipalName::new(name).map(Self::One).map_err(|bad| bad.to_string()),
        }
    }
}

/// Who is given a right.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Grantee {
    /// One client, or every one.
    Clients(Clients),
    /// All members of a role.
    Role(RoleName),
}

/// As SQL writes it.
impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clients(clients) => write!(f, "CLIENT '{clients}'"),
            Self::Role(role) => write!(f, "ROLE {role}"),
        }
    }
}

/// Where a right holds: keys of users. What is the fleet's own lies in no scope.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// In all keyspaces, also in those that come.
    Everywhere,
    /// In one, for the keys that begin with a prefix; an empty one means all of them.
    In {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// With what keys begin.
        prefix: Bytes,
    },
}

impl Scope {
    /// All keys of a keyspace.
    #[must_use]
    pub fn keyspace(keyspace: KeyspaceId) -> Self {
        Self::In { keyspace, prefix: Bytes::new() }
    }

    /// The keys in it.
    #[must_use]
    pub fn keys(&self) -> KeyRange {
        match self {
            Self::Everywhere => {
                KeyRange { start: Key::bound(KeyspaceId::DEFAULT, b""), end: Some(Key::bound(KeyspaceId::AUDIT, b"")) }
            }
            Self::In { keyspace, prefix } => {
                let behind = behind(prefix).map(|end| Key::bound(*keyspace, &end));
                KeyRange { start: Key::bound(*keyspace, prefix), end: behind.or_else(|| Key::keyspace_end(*keyspace)) }
            }
        }
    }
}

/// As SQL writes it.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere => f.write_str("ON ALL KEYSPACES"),
            Self::In { keyspace, prefix } if prefix.is_empty() => write!(f, "ON KEYSPACE {}", keyspace.0),
            Self::In { keyspace, prefix } => match std::str::from_utf8(prefix) {
                Ok(text) if !text.chars().any(char::is_control) => {
                    write!(f, "ON KEYSPACE {} PREFIX '{}'", keyspace.0, text.replace('\'', "''"))
                }
                _ => {
                    write!(f, "ON KEYSPACE {} PREFIX x'", keyspace.0)?;
                    prefix.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                    f.write_str("'")
                }
            },
        }
    }
}

/// The first key that does not begin with a prefix and lies behind all that do; `None`: there is none.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let at = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=at)?.to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    Some(end)
}

/// A right and where it holds.
///
/// Invariants:
/// - `Fleet` holds everywhere: it is about no keys
/// - the scope names no keyspace of the fleet, and its prefix is no longer than [`limits::GRANT_PREFIX_BYTES`]
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Grant {
    right: Right,
    scope: Scope,
}

impl Grant {
    /// A grant that can be given; refuses any other with a sentence that says what to do.
    pub fn new(right: Right, scope: Scope) -> Result<Self, Rejected> {
        match &scope {
            Scope::Everywhere => {}
            Scope::In { .. } if right == Right::Fleet => {
                return Err(Rejected::invalid("fleet is a right on the fleet as a whole: leave ON KEYSPACE out"));
            }
            Scope::In { keyspace, .. } if keyspace.is_of_the_fleet() => {
                let id = keyspace.0;
                return Err(Rejected::invalid(format!(
                    "keyspace {id} is the fleet's own, and is for operators alone: name another one"
                )));
            }
            Scope::In { prefix, .. } if prefix.len() > limits::GRANT_PREFIX_BYTES => {
                let (len, most) = (prefix.len(), limits::GRANT_PREFIX_BYTES);
                return Err(Rejected::invalid(format!("the prefix has {len} B: {most} B at most")));
            }
            Scope::In { .. } => {}
        }
        Ok(Self { right, scope })
    }

    /// What may be done.
    #[must_use]
    pub fn right(&self) -> Right {
        self.right
    }

    /// Where.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

/// As SQL writes it.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.right {
            Right::Fleet => f.write_str("fleet"),
            right => write!(f, "{right} {}", self.scope),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn within(keyspace: u32, prefix: &[u8]) -> Scope {
        Scope::In { keyspace: KeyspaceId(keyspace), prefix: Bytes::copy_from_slice(prefix) }
    }

    proptest! {
        #[test]
        fn a_scope_holds_exactly_the_keys_with_its_prefix(
            prefix in proptest::collection::vec(prop_oneof![Just(0_u8), Just(0x61), Just(0xff)], 0..4),
            user in proptest::collection::vec(prop_oneof![Just(0_u8), Just(0x61), Just(0x62), Just(0xff)], 0..5),
            keyspace in 6_u32..9,
        ) {
            let keys = within(7, &prefix).keys();
            let expected = keyspace == 7 && user.starts_with(&prefix);
            prop_assert_eq!(keys.contains(&Key::bound(KeyspaceId(keyspace), &user)), expected);
        }
    }

    #[test]
    fn everywhere_is_all_keyspaces_of_users_and_nothing_of_the_fleet() {
        let keys = Scope::Everywhere.keys();
        for (keyspace, lies_within) in
            [(0, false), (1, true), (2, true), (256, true), (u32::MAX - 1, true), (u32::MAX, false)]
        {
            assert_eq!(keys.contains(&Key::bound(KeyspaceId(keyspace), b"k")), lies_within, "{keyspace}");
        }
    }

    #[test]
    fn a_grant_that_means_nothing_is_refused_with_what_to_do() {
        let refused = |right, scope| Grant::new(right, scope).unwrap_err().to_string();
        assert!(refused(Right::Fleet, within(1, b"")).contains("leave ON KEYSPACE out"));
        assert!(refused(Right::Read, Scope::keyspace(KeyspaceId::SYSTEM)).contains("operators alone"));
        assert!(refused(Right::Write, Scope::keyspace(KeyspaceId::AUDIT)).contains("operators alone"));
        let long = vec![b'p'; limits::GRANT_PREFIX_BYTES + 1];
        assert!(refused(Right::Read, within(1, &long)).contains("at most"));
        assert!(Grant::new(Right::Read, within(1, &long[1..])).is_ok());
        assert!(Grant::new(Right::Fleet, Scope::Everywhere).is_ok());
    }

    #[test]
    fn grants_are_shown_as_they_are_typed() {
        let shown = |right, scope| Grant::new(right, scope).unwrap().to_string();
        assert_eq!(shown(Right::Read, within(256, b"it's/")), "read ON KEYSPACE 256 PREFIX 'it''s/'");
        assert_eq!(shown(Right::Write, within(1, b"\x00\xff")), "write ON KEYSPACE 1 PREFIX x'00ff'");
        assert_eq!(shown(Right::Admin, Scope::Everywhere), "admin ON ALL KEYSPACES");
        assert_eq!(shown(Right::Fleet, Scope::Everywhere), "fleet");
        assert_eq!(Grantee::Clients(Clients::Every).to_string(), "CLIENT '*'");
        assert_eq!(Grantee::Role(RoleName::new("readers").unwrap()).to_string(), "ROLE readers");
    }

    #[test]
    fn names_read_as_they_are_written_and_others_are_refused() {
        assert_eq!("*".parse(), Ok(Clients::Every));
        assert_eq!("billing.v2".parse::<Clients>().unwrap().to_string(), "billing.v2");
        assert!(
            "a b".parse::<Clients>().is_err() && "".parse::<Clients>().is_err() && "**".parse::<Clients>().is_err()
        );
        assert!(RoleName::new("r_1").is_ok());
        for bad in ["", "R", "1r", "r-1", &"r".repeat(64)] {
            assert!(RoleName::new(bad).is_err(), "{bad}");
        }
        assert_eq!("READ".parse(), Ok(Right::Read));
        assert!("reed".parse::<Right>().unwrap_err().contains("read, write, admin and fleet"));
    }
}

//! Newtypes for ids and counters. A raw integer never crosses a function of this project.

use std::fmt;
use std::sync::Arc;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($raw:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $raw);

        impl $name {
            /// The value after this one. Panics at the end of the integer, which no counter of ours reaches.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// One Holdfast process with one disk. Given once by the system range, never reused. 0 means "none yet".
    StoreId(u64), "s");
id!(
    /// One contiguous piece of the key space. The high 32 bits are the store that made it, the low 32 its synced counter.
    RangeId(u64), "r");
id!(
    /// One copy of a range; unique within the range for ever. It is the raft id of that copy.
    ReplicaId(u64), "p");
id!(
    /// A named part of the key space. 0 is the system range's.
    KeyspaceId(u32), "k");
id!(
    /// A raft term.
    Term(u64), "t");
id!(
    /// A position in a range's raft log. The first real entry has index 1 (or the log start of a split plus one).
    LogIndex(u64), "i");
id!(
    /// Counts the starts of one store; synced before the store's first contact with anyone.
    Incarnation(u64), "n");
id!(
    /// Counts the promises of support that one store has given to another. A withdrawn generation is never extended.
    Generation(u64), "g");
id!(
    /// One of the requests that a client may have in flight at a time.
    Slot(u16), "slot");
id!(
    /// The number of a request within its slot; it only grows.
    Sequence(u64), "q");
id!(
    /// The number of a synced batch of the log instance, store-wide; it only grows.
    LogCounter(u64), "c");

impl RangeId {
    /// The range that holds keyspace 0. It exists from `init` on.
    pub const SYSTEM: RangeId = RangeId(1);

    /// The id that `store` gives to the `counter`-th range it makes.
    ///
    /// Panics when the store id or the counter does not fit into 32 bits.
    #[must_use]
    pub fn made_by(store: StoreId, counter: u64) -> Self {
        assert!(store.0 <= u64::from(u32::MAX));
        assert!(counter <= u64::from(u32::MAX));
        Self(store.0 << 32 | counter)
    }
}

impl KeyspaceId {
    /// Stores, sites, policies, range descriptors, operators, ids and events.
    pub const SYSTEM: KeyspaceId = KeyspaceId(0);
    /// Where keys go when no keyspace is named.
    pub const DEFAULT: KeyspaceId = KeyspaceId(1);
    /// The first id that is given to a keyspace with a name. Programs may number keyspaces of their own below it.
    pub const FIRST_NAMED: KeyspaceId = KeyspaceId(256);
}

impl StoreId {
    /// Not a store yet: before the fleet gave it an id.
    pub const NONE: StoreId = StoreId(0);
}

/// The fleet: all sites of one deployment. 128 random bits, made by `init`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FleetId(pub u128);

/// A client session: 128 random bits, made by each client at its start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClientId(pub u128);

impl fmt::Display for FleetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for FleetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The label of a site: one Kubernetes cluster, the failure domain. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteName(Arc<str>);

impl SiteName {
    /// A site label is 1 to 63 bytes of `a-z`, `0-9`, `-`, `.` and `_`, as a Kubernetes label value allows.
    pub fn new(name: &str) -> Result<Self, String> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
        if name.is_empty() || name.len() > 63 || !name.chars().all(legal) {
            return Err(format!(
                "site name {name:?} is not 1 to 63 characters of a-z, 0-9, '-', '.' and '_': choose one like \"site-a\""
            ));
        }
        Ok(Self(name.into()))
    }

    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a keyspace. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyspaceName(Arc<str>);

impl KeyspaceName {
    /// The name of [`KeyspaceId::DEFAULT`].
    pub const DEFAULT: &str = "default";
    /// The name of [`KeyspaceId::SYSTEM`].
    pub const SYSTEM: &str = "system";

    /// A keyspace's name is a letter from `a` to `z`, then up to 62 of `a-z`, `0-9` and `_`: an identifier in SQL too.
    pub fn new(name: &str) -> Result<Self, String> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.len() > 63 || !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(legal) {
            return Err(format!(
                "keyspace name {name:?} is not a letter from a to z and up to 62 of a-z, 0-9 and '_': choose one like \"orders\""
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

impl fmt::Display for KeyspaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyspaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

//! Newtypes for ids and counters. A raw integer never crosses a function of this project.
//!
//! Each has a bound, [`StoreId::MAX`] and so on, far below the end of its integer: what comes from a socket or a disk becomes one of
//! them by `bounded` alone, and whatever is then added to it fits.

use std::fmt;
use std::sync::Arc;

use crate::bounds::{OutOfBounds, at_most};
use crate::limits;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($raw:ty), $prefix:literal, $what:literal, $most:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $raw);

        impl $name {
            /// The largest one that is taken from outside.
            pub const MAX: Self = Self($most);

            /// The one that a socket or a disk names, unless it is out of bounds.
            pub fn bounded(raw: $raw) -> Result<Self, OutOfBounds> {
                at_most($what, raw.into(), Self::MAX.0.into()).map(|_| Self(raw))
            }

            /// The value after this one. Panics at the end of the integer, which lies far behind [`Self::MAX`].
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

/// What a socket says of a number from which a store counts on, and which it writes down.
macro_rules! told {
    ($($name:ident, $what:literal;)*) => {$(
        impl $name {
            /// The one that a socket names. It is further from the end than what a disk may hold: what is counted on from it and written
            /// down can be read again.
            pub fn told(raw: u64) -> Result<Self, OutOfBounds> {
                at_most($what, raw, limits::MAX_TOLD).map(Self)
            }
        }
    )*};
}

id!(
    /// One Holdfast process with one disk. Given once by the system range, never reused. 0 means "none yet".
    StoreId(u64), "s", "a store id", limits::MAX_STORE_ID);
id!(
    /// One contiguous piece of the key space. The high 32 bits are the store that made it, the low 32 its synced counter.
    RangeId(u64), "r", "a range id", limits::MAX_STORE_ID << 32 | limits::MAX_RANGES_MADE);
id!(
    /// One copy of a range; unique within the range for ever. It is the raft id of that copy.
    ReplicaId(u64), "p", "a replica id", limits::MAX_COUNTED);
id!(
    /// A named part of the key space. 0 is the system range's.
    KeyspaceId(u32), "k", "a keyspace id", u32::MAX);
id!(
    /// A raft term.
    Term(u64), "t", "a term", limits::MAX_COUNTED);
id!(
    /// A position in a range's raft log. The first real entry has index 1 (or the log start of a split plus one).
    LogIndex(u64), "i", "an index of a log", limits::MAX_COUNTED);
id!(
    /// Counts the starts of one store; synced before the store's first contact with anyone.
    Incarnation(u64), "n", "an incarnation", limits::MAX_COUNTED);
id!(
    /// Counts the promises of support that one store has given to another. A withdrawn generation is never extended.
    Generation(u64), "g", "a generation of a promise", limits::MAX_COUNTED);
id!(
    /// One of the requests that a client may have in flight at a time.
    Slot(u16), "slot", "a slot", limits::MAX_SLOTS - 1);
id!(
    /// The number of a request within its slot; it only grows.
    Sequence(u64), "q", "the sequence of a request", limits::MAX_COUNTED);
id!(
    /// The number of a synced batch of the log instance, store-wide; it only grows.
    LogCounter(u64), "c", "the counter of a log", limits::MAX_COUNTED);

told! {
    ReplicaId, "a replica id";
    Term, "a term";
    LogIndex, "an index of a log";
    Incarnation, "an incarnation";
    Generation, "a generation of a promise";
    Sequence, "the sequence of a request";
    LogCounter, "the counter of a log";
}

impl RangeId {
    /// The range that holds keyspace 0. It exists from `init` on.
    pub const SYSTEM: RangeId = RangeId(1);

    /// The id that `store` gives to the `counter`-th range it makes.
    ///
    /// Panics when the store id or the counter is larger than any that is taken from a disk.
    #[must_use]
    pub fn made_by(store: StoreId, counter: u64) -> Self {
        assert!(store <= StoreId::MAX);
        assert!(counter <= limits::MAX_RANGES_MADE);
        Self(store.0 << 32 | counter)
    }
}

impl Incarnation {
    /// What one store says of another: what was seen elsewhere of an earlier life, to which the next start adds one. So far below
    /// [`Incarnation::MAX`] that a store which believed it is still taken by the others, start after start.
    pub fn hearsay(raw: u64) -> Result<Self, OutOfBounds> {
        at_most("an incarnation seen elsewhere", raw, limits::MAX_HEARSAY).map(Self)
    }
}

impl LogCounter {
    /// As [`Incarnation::hearsay`]: a store adds its own counter to it.
    pub fn hearsay(raw: u64) -> Result<Self, OutOfBounds> {
        at_most("a log counter seen elsewhere", raw, limits::MAX_HEARSAY).map(Self)
    }
}

impl KeyspaceId {
    /// Stores, sites, policies, range descriptors, operators, ids and events.
    pub const SYSTEM: KeyspaceId = KeyspaceId(0);
    /// Where keys go when no keyspace is named.
    pub const DEFAULT: KeyspaceId = KeyspaceId(1);
    /// The first id that is given to a keyspace with a name. Programs may number keyspaces of their own below it.
    pub const FIRST_NAMED: KeyspaceId = KeyspaceId(256);
    /// What was refused, done by hand and changed of trust: see [`crate::audit`]. The last one there is, so that no program's own number
    /// is taken from it.
    pub const AUDIT: KeyspaceId = KeyspaceId(u32::MAX);

    /// True of what stores alone write, whatever anybody was granted.
    #[must_use]
    pub fn is_of_the_fleet(self) -> bool {
        self == Self::SYSTEM || self == Self::AUDIT
    }
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

/// As much of a wrong name as a sentence about it needs.
fn beginning(name: &str) -> &str {
    &name[..name.floor_char_boundary(80)]
}

/// The label of a site: one Kubernetes cluster, the failure domain. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteName(Arc<str>);

impl SiteName {
    /// The longest label, as for label values of Kubernetes.
    pub const MAX_BYTES: usize = 63;

    /// A site label is 1 to 63 bytes of `a-z`, `0-9`, `-`, `.` and `_`, as a Kubernetes label value allows.
    pub fn new(name: &str) -> Result<Self, String> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
        if name.is_empty() || name.len() > Self::MAX_BYTES || !name.chars().all(legal) {
            let name = beginning(name);
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
            let name = beginning(name);
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

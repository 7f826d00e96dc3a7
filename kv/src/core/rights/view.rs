//! What one principal may: what he, every client and each of his roles were given, side by side.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_types::principal::Kind;
use holdfast_types::{Grant, Key, KeyRange, KeyspaceId, Principal, Rejected, Request, Right, Scope};

use super::keys::Keys;

/// What one grantee was given.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Holdings {
    read: Keys,
    write: Keys,
    admin: Keys,
    fleet: bool,
}

impl Holdings {
    pub(super) fn of(grants: &BTreeSet<Grant>) -> Self {
        let keys = |right: Right| {
            let with_it = grants.iter().filter(move |grant| grant.right() == right);
            Keys::of(with_it.map(|grant| grant.scope().keys()))
        };
        Self {
            read: keys(Right::Read),
            write: keys(Right::Write),
            admin: keys(Right::Admin),
            fleet: grants.iter().any(|grant| grant.right() == Right::Fleet),
        }
    }

    /// What every client has while nothing was granted to anybody.
    pub(super) fn open() -> Self {
        let all = Keys::of([Scope::Everywhere.keys()]);
        Self { read: all.clone(), write: all, ..Self::default() }
    }

    fn keys(&self, right: Right) -> Option<&Keys> {
        match right {
            Right::Read => Some(&self.read),
            Right::Write => Some(&self.write),
            Right::Admin => Some(&self.admin),
            Right::Fleet => None,
        }
    }
}

/// What one principal may.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// Everything is refused for this reason.
    refuses: Option<Rejected>,
    parts: Vec<Arc<Holdings>>,
}

impl View {
    pub(super) fn refusing(why: Rejected) -> Self {
        Self { refuses: Some(why), parts: Vec::new() }
    }

    pub(super) fn granted(parts: Vec<Arc<Holdings>>) -> Self {
        Self { refuses: None, parts }
    }

    /// Everything, but to write what is the fleet's own: that is done by the Admin and Fleet services.
    pub(super) fn of_operators() -> Self {
        let all = Keys::of([KeyRange::all()]);
        let write = Keys::of([Scope::Everywhere.keys()]);
        Self::granted(vec![Arc::new(Holdings { read: all.clone(), write, admin: all, fleet: true })])
    }

    /// To read what the fleet keeps of itself. What is replicated does not come this way.
    pub(super) fn of_stores() -> Self {
        let system = KeyRange { start: Key::MIN, end: Key::keyspace_end(KeyspaceId::SYSTEM) };
        Self::granted(vec![Arc::new(Holdings { read: Keys::of([system]), ..Holdings::default() })])
    }

    /// Refuses somebody of whom it is not known what he may, or who is not of this fleet.
    pub fn check_known(&self) -> Result<(), Rejected> {
        self.refuses.clone().map_or(Ok(()), Err)
    }

    /// True when he has the right at this key.
    #[must_use]
    pub fn holds(&self, right: Right, key: &Key) -> bool {
        self.keys(right).any(|keys| keys.around(key).is_some())
    }

    /// True when he has the right at every key within bounds, whoever of those who gave it to him.
    #[must_use]
    pub fn holds_all(&self, right: Right, bounds: &KeyRange) -> bool {
        if right == Right::Fleet {
            return self.parts.iter().any(|part| part.fleet);
        }
        // All before it is within.
        let mut reached = &bounds.start;
        loop {
            let mut furthest: Option<&Key> = None;
            for range in self.keys(right).filter_map(|keys| keys.around(reached)) {
                match &range.end {
                    None => return true,
                    Some(end) => furthest = furthest.max(Some(end)),
                }
            }
            match furthest {
                None => return false,
                Some(end) if bounds.end.as_ref().is_some_and(|bound| bound <= end) => return true,
                Some(end) => reached = end,
            }
        }
    }

    /// True when he may read, write or look at some key within bounds.
    #[must_use]
    pub fn concerns(&self, bounds: &KeyRange) -> bool {
        let mut rights = [Right::Read, Right::Write, Right::Admin].into_iter();
        rights.any(|right| self.keys(right).any(|keys| keys.overlap(bounds))) || self.holds_fleet()
    }

    /// True when all keys are his business, those of the fleet too.
    #[must_use]
    pub fn concerns_everything(&self) -> bool {
        self.holds_fleet()
    }

    /// True when he may look at some range within bounds.
    #[must_use]
    pub fn looks_at(&self, bounds: &KeyRange) -> bool {
        self.keys(Right::Admin).any(|keys| keys.overlap(bounds)) || self.holds_fleet()
    }

    /// True when he may look at some range.
    #[must_use]
    pub fn looks_at_something(&self) -> bool {
        self.holds_fleet() || self.keys(Right::Admin).any(|keys| !keys.are_none())
    }

    /// True when he may change the fleet.
    #[must_use]
    pub fn holds_fleet(&self) -> bool {
        self.parts.iter().any(|part| part.fleet)
    }

    /// True when he may look at the fleet as a whole.
    #[must_use]
    pub fn looks_at_everything(&self) -> bool {
        self.holds_fleet() || self.holds_all(Right::Admin, &Scope::Everywhere.keys())
    }

    /// True when he may do anything at all.
    #[must_use]
    pub fn holds_something(&self) -> bool {
        let has_some = |part: &Arc<Holdings>| {
            part.fleet || [&part.read, &part.write, &part.admin].iter().any(|keys| !keys.are_none())
        };
        self.parts.iter().any(has_some)
    }

    fn keys(&self, right: Right) -> impl Iterator<Item = &Keys> {
        self.parts.iter().filter_map(move |part| part.keys(right))
    }

    /// Refuses a request that `who` may not make. Takes no memory unless it refuses.
    pub(super) fn check(&self, who: &Principal, request: &Request) -> Result<(), Rejected> {
        let one = |right: Right, key: &Key| match self.holds(right, key) {
            true => Ok(()),
            false => Err(lacks_at(who, right, key)),
        };
        let all = |right: Right, bounds: &KeyRange| match self.holds_all(right, bounds) {
            true => Ok(()),
            false => Err(lacks(who, right, bounds)),
        };
        match request {
            Request::Get { keys, .. } => keys.iter().try_for_each(|key| one(Right::Read, key)),
            Request::Scan { bounds, .. } => all(Right::Read, bounds),
            Request::Write { conditions, mutations } => {
                mutations.iter().try_for_each(|mutation| one(Right::Write, &mutation.key))?;
                // A condition that does not hold is answered with the value.
                conditions.iter().try_for_each(|condition| one(Right::Read, &condition.key))
            }
            Request::DeleteRange { bounds, .. } => all(Right::Write, bounds),
        }
    }
}

/// Somebody in a sentence.
pub(super) fn named(who: &Principal) -> String {
    match &who.kind {
        Kind::Client(name) => format!("client {name}"),
        Kind::Operator(name) => format!("operator {name}"),
        Kind::Store(site) => format!("a store of site {site}"),
    }
}

fn lacks_at(who: &Principal, right: Right, key: &Key) -> Rejected {
    refusal(who, right, &key.to_string(), Some(key.keyspace()))
}

/// Why somebody may not do this with all of these keys, and the grant by which he could.
pub(super) fn lacks(who: &Principal, right: Right, keys: &KeyRange) -> Rejected {
    let first = keys.start.keyspace();
    let is_in_one = keys.end.as_ref().is_some_and(|end| Key::keyspace_end(first).is_none_or(|behind| *end <= behind));
    refusal(who, right, &format!("all of {keys:?}"), is_in_one.then_some(first))
}

/// Why somebody is not told where he would begin to read. Names no key but those that he named.
pub(super) fn lacks_first(who: &Principal, asked: &KeyRange, reverse: bool) -> Rejected {
    let Some(end) = asked.end.as_ref().filter(|_| reverse) else {
        return match reverse {
            true => refusal(who, Right::Read, "the last of all keys", None),
            false => lacks_at(who, Right::Read, &asked.start),
        };
    };
    let keyspace = end.keyspace();
    match KeyspaceId(keyspace.0.saturating_sub(1)) {
        // It ends where the next one begins.
        before if end.user_key().is_empty() => {
            refusal(who, Right::Read, &format!("the last keys of keyspace {}", before.0), Some(before))
        }
        _ => refusal(who, Right::Read, &format!("the keys before {end}"), Some(keyspace)),
    }
}

fn refusal(who: &Principal, right: Right, place: &str, keyspace: Option<KeyspaceId>) -> Rejected {
    let name = named(who);
    let does = match right {
        Right::Read => "read",
        Right::Write => "write",
        Right::Admin => "look at",
        Right::Fleet => return lacks_fleet(who),
    };
    let what = format!("{name} may not {does} {place}");
    Rejected::Forbidden(match (&who.kind, keyspace) {
        (Kind::Store(_), _) => format!("{what}: a store asks for those who asked it, and names them"),
        (_, Some(keyspace)) if keyspace.is_of_the_fleet() => {
            format!("{what}: keyspace {} is the fleet's own, and operators alone read it", keyspace.0)
        }
        (Kind::Operator(_), _) => format!("{what}: what is the fleet's own is changed by its Admin and Fleet services"),
        (Kind::Client(client), Some(keyspace)) => format!(
            "{what}: an operator may give it with GRANT {right} ON KEYSPACE {} TO CLIENT '{client}', or with PREFIX for a part of it",
            keyspace.0
        ),
        (Kind::Client(client), None) => {
            format!("{what}: an operator may give it with GRANT {right} ON ALL KEYSPACES TO CLIENT '{client}'")
        }
    })
}

/// Why somebody may not change the fleet, and the grant by which he could.
#[must_use]
pub fn lacks_fleet(who: &Principal) -> Rejected {
    let name = named(who);
    Rejected::Forbidden(match &who.kind {
        Kind::Client(client) => {
            format!("{name} lacks the right fleet: an operator may give it with GRANT fleet TO CLIENT '{client}'")
        }
        Kind::Store(_) | Kind::Operator(_) => format!("{name} lacks the right fleet: operators have it"),
    })
}

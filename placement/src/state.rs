//! What placement keeps in the system range: the names of its facts, and the facts that have no other home.
//!
//! | key | value |
//! |---|---|
//! | `id/next-store` | the next store id to give |
//! | `store/<id>` | [`StoreRecord`] |
//! | `site/<label>` | [`SiteRecord`] |
//! | `id/next-keyspace` | the next keyspace id to give |
//! | `keyspace/<name>` | [`KeyspaceRecord`] |
//! | `range/<id>` | the range's descriptor, as last reported |
//! | `policy/<keyspace>` | [`crate::Policy`] |
//! | `trust/rotation` | [`crate::Rotation`] |
//! | `token/<id>` | [`crate::TokenRecord`] |
//! | `operator/<range>` | [`crate::Operator`] in flight |
//! | `rights/version` | the number of the last change of rights, and whether they are closed |
//! | `rights/role/<name>` | the grants and the members of a role |
//! | `rights/client/<name>` | the grants of a client; `*` in place of the name: of every client |
//!
//! Ids are written as 16 (keyspaces: 8) hexadecimal digits, so that keys sort by number.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_types::{
    Clients, Key, KeyRange, KeyspaceId, KeyspaceName, RangeId, Rejected, RoleName, SiteName, StoreId, Timestamp,
    TokenId, limits,
};

use crate::trust::SiteTrust;

/// The name of one fact.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum StateKey {
    /// The next store id.
    NextStore,
    /// The next keyspace id.
    NextKeyspace,
    /// A keyspace with a name.
    Keyspace(KeyspaceName),
    /// A store.
    Store(StoreId),
    /// A site.
    Site(SiteName),
    /// A range's descriptor.
    Range(RangeId),
    /// A keyspace's policy.
    Policy(KeyspaceId),
    /// A range's operator in flight.
    Operator(RangeId),
    /// The rotation of the root.
    Rotation,
    /// A one-time token to join with.
    JoinToken(TokenId),
    /// What changes with every change of rights.
    RightsVersion,
    /// A role.
    Role(RoleName),
    /// The grants of one client, or of every one.
    ClientGrants(Clients),
}

const NEXT_STORE: &str = "id/next-store";
const NEXT_KEYSPACE: &str = "id/next-keyspace";
const KEYSPACE: &str = "keyspace/";
const STORE: &str = "store/";
const SITE: &str = "site/";
const RANGE: &str = "range/";
const POLICY: &str = "policy/";
const OPERATOR: &str = "operator/";
const ROTATION: &str = "trust/rotation";
const JOIN_TOKEN: &str = "token/";
const RIGHTS: &str = "rights/";
const RIGHTS_VERSION: &str = "rights/version";
const ROLE: &str = "rights/role/";
const CLIENT_GRANTS: &str = "rights/client/";

impl StateKey {
    /// The key in the system range.
    #[must_use]
    pub fn key(&self) -> Key {
        let name = match self {
            Self::NextStore => NEXT_STORE.to_owned(),
            Self::NextKeyspace => NEXT_KEYSPACE.to_owned(),
            Self::Keyspace(name) => format!("{KEYSPACE}{name}"),
            Self::Store(id) => format!("{STORE}{:016x}", id.0),
            Self::Site(label) => format!("{SITE}{label}"),
            Self::Range(id) => format!("{RANGE}{:016x}", id.0),
            Self::Policy(keyspace) => format!("{POLICY}{:08x}", keyspace.0),
            Self::Operator(id) => format!("{OPERATOR}{:016x}", id.0),
            Self::Rotation => ROTATION.to_owned(),
            Self::JoinToken(id) => format!("{JOIN_TOKEN}{id}"),
            Self::RightsVersion => RIGHTS_VERSION.to_owned(),
            Self::Role(name) => format!("{ROLE}{name}"),
            Self::ClientGrants(clients) => format!("{CLIENT_GRANTS}{clients}"),
        };
        Key::bound(KeyspaceId::SYSTEM, name.as_bytes())
    }

    /// Reads what [`StateKey::key`] wrote; `None` for every other key.
    #[must_use]
    pub fn parse(key: &Key) -> Option<Self> {
        let name = std::str::from_utf8(key.user_key()).ok()?;
        let parsed = if name == NEXT_STORE {
            Self::NextStore
        } else if name == NEXT_KEYSPACE {
            Self::NextKeyspace
        } else if name == ROTATION {
            Self::Rotation
        } else if name == RIGHTS_VERSION {
            Self::RightsVersion
        } else if let Some(role) = name.strip_prefix(ROLE) {
            Self::Role(RoleName::new(role).ok()?)
        } else if let Some(clients) = name.strip_prefix(CLIENT_GRANTS) {
            Self::ClientGrants(clients.parse().ok()?)
        } else if let Some(id) = name.strip_prefix(JOIN_TOKEN) {
            Self::JoinToken(id.parse().ok()?)
        } else if let Some(keyspace) = name.strip_prefix(KEYSPACE) {
            Self::Keyspace(KeyspaceName::new(keyspace).ok()?)
        } else if let Some(id) = name.strip_prefix(STORE) {
            Self::Store(StoreId::bounded(hex(id)?).ok()?)
        } else if let Some(label) = name.strip_prefix(SITE) {
            Self::Site(SiteName::new(label).ok()?)
        } else if let Some(id) = name.strip_prefix(RANGE) {
            Self::Range(RangeId::bounded(hex(id)?).ok()?)
        } else if let Some(keyspace) = name.strip_prefix(POLICY) {
            Self::Policy(KeyspaceId(u32::try_from(hex(keyspace)?).ok()?))
        } else {
            Self::Operator(RangeId::bounded(hex(name.strip_prefix(OPERATOR)?)?).ok()?)
        };
        // One name per fact: other spellings of a number, and other keyspaces, are not ours.
        (parsed.key() == *key).then_some(parsed)
    }

    /// All stores.
    #[must_use]
    pub fn all_stores() -> KeyRange {
        all(STORE)
    }

    /// All sites.
    #[must_use]
    pub fn all_sites() -> KeyRange {
        all(SITE)
    }

    /// All keyspaces with a name.
    #[must_use]
    pub fn all_keyspaces() -> KeyRange {
        all(KEYSPACE)
    }

    /// All range descriptors.
    #[must_use]
    pub fn all_ranges() -> KeyRange {
        all(RANGE)
    }

    /// All policies.
    #[must_use]
    pub fn all_policies() -> KeyRange {
        all(POLICY)
    }

    /// All one-time tokens to join with.
    #[must_use]
    pub fn all_join_tokens() -> KeyRange {
        all(JOIN_TOKEN)
    }

    /// All operators in flight.
    #[must_use]
    pub fn all_operators() -> KeyRange {
        all(OPERATOR)
    }

    /// All that is kept of rights, what changes with every change of them included.
    #[must_use]
    pub fn all_rights() -> KeyRange {
        all(RIGHTS)
    }
}

fn hex(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

/// From the prefix, which ends in `/`, to before the byte after `/`.
fn all(prefix: &str) -> KeyRange {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    let bound = |name: &[u8]| Key::bound(KeyspaceId::SYSTEM, name);
    KeyRange { start: bound(prefix.as_bytes()), end: Some(bound(&end)) }
}

/// Where a store can be reached, as `host:port`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreAddresses {
    /// For clients.
    pub client: String,
    /// For other stores.
    pub store_to_store: String,
    /// Health, metrics, console.
    pub http: String,
}

/// A store as a member of the fleet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreRecord {
    /// Its id.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
    /// The identity that it proved at its last join.
    pub site_identity: Option<String>,
    /// Where it can be reached.
    pub addresses: StoreAddresses,
    /// When it joined first, in fleet time.
    pub joined_at: Timestamp,
    /// When an operator had it forgotten; `None` while it is a member.
    pub forgotten_at: Option<Timestamp>,
    /// When an operator said that it leaves; `None` while it stays.
    pub leaving_at: Option<Timestamp>,
    /// Where in its site it is, if it was told: the zone of its provider.
    pub zone: Option<String>,
    /// It was let in, and has not started as a member yet.
    pub is_awaited: bool,
    /// Names the application by which it was let in, if that had a name.
    pub application: Option<u128>,
}

impl StoreRecord {
    /// A member of which nothing is known but where it is.
    #[must_use]
    pub fn new(store: StoreId, site: SiteName) -> Self {
        Self {
            store,
            site,
            site_identity: None,
            addresses: StoreAddresses::default(),
            joined_at: Timestamp::ZERO,
            forgotten_at: None,
            leaving_at: None,
            zone: None,
            is_awaited: false,
            application: None,
        }
    }

    /// True when the store is no member any more. Its record stays: the id is never given away again, and nobody lets it back in.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.forgotten_at.is_some()
    }

    /// The record of a member that started again and says this of itself: what the fleet and its operators said of it stays.
    #[must_use]
    pub fn renewed(&self, said: Self) -> Self {
        let (joined_at, forgotten_at) = (self.joined_at, self.forgotten_at);
        Self { joined_at, forgotten_at, leaving_at: self.leaving_at, application: self.application, ..said }
    }

    /// What others need to know of it: of a store that is no member, that it is none.
    #[must_use]
    pub fn told(&self) -> Self {
        match self.is_forgotten() {
            true => Self {
                joined_at: self.joined_at,
                forgotten_at: self.forgotten_at,
                ..Self::new(self.store, self.site.clone())
            },
            false => self.clone(),
        }
    }

    /// True when placement is to empty the store and to give it nothing.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving_at.is_some()
    }
}

/// A site, bound to the first identity that joined with its label.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SiteRecord {
    /// The label.
    pub label: SiteName,
    /// What proves it; `None` while only stores without an identity have joined.
    pub identity: Option<String>,
    /// What it was bound to before it moved; the newest last, at most [`limits::SITE_MOVES_KEPT`].
    pub former: Vec<FormerIdentity>,
    /// When an operator had it distrusted; `None`: never.
    pub distrusted_at: Option<Timestamp>,
    /// When it was trusted again; `None`: never.
    pub restored_at: Option<Timestamp>,
}

impl SiteRecord {
    /// A site that has not moved.
    #[must_use]
    pub fn new(label: SiteName, identity: Option<String>) -> Self {
        Self { label, identity, former: Vec::new(), distrusted_at: None, restored_at: None }
    }

    /// What was last said of whether it is believed.
    #[must_use]
    pub fn trust(&self) -> SiteTrust {
        SiteTrust { site: self.label.clone(), distrusted_at: self.distrusted_at, restored_at: self.restored_at }
    }

    /// True when nobody is to believe its stores.
    #[must_use]
    pub fn is_distrusted(&self) -> bool {
        self.trust().is_distrusted()
    }
}

/// An identity that a site had once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormerIdentity {
    /// What proved it.
    pub identity: String,
    /// Until when, in fleet time.
    pub until: Timestamp,
}

/// A keyspace with a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyspaceRecord {
    /// Its id.
    pub id: KeyspaceId,
    /// Its name.
    pub name: KeyspaceName,
    /// When it was made, in fleet time.
    pub created_at: Timestamp,
}

/// Why the proof of a site is not accepted, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SiteRefusal {
    /// The identity is another label's.
    #[error(
        "this Kubernetes cluster ({identity}) is site {site}, not {label}: two labels for one site would let it hold two voters of a range; \
         start the store with --site {site}"
    )]
    Twin {
        /// What was claimed.
        label: SiteName,
        /// What was proved.
        identity: String,
        /// The label that is bound to it.
        site: SiteName,
    },
    /// The label is bound, and nothing was proved.
    #[error(
        "site {label} is bound to identity {bound}, and this store proves none: start it with --site-id, or choose another label"
    )]
    Unproved {
        /// What was claimed.
        label: SiteName,
        /// What it is bound to.
        bound: String,
    },
    /// The label is bound to another identity.
    #[error(
        "site {label} is bound to identity {bound}, and this store proves {identity}: each Kubernetes cluster needs a label of its own; if this \
         one took the place of that one, `holdfast site move {label} --to {identity}`"
    )]
    Other {
        /// What was claimed.
        label: SiteName,
        /// What it is bound to.
        bound: String,
        /// What was proved.
        identity: String,
    },
}

impl From<SiteRefusal> for Rejected {
    fn from(refusal: SiteRefusal) -> Self {
        Self::invalid(refusal.to_string())
    }
}

/// Decides whether a store that claims `label` and proves `identity` may join, and gives the site's record to keep.
///
/// A label without an identity so far is bound to the first one that comes.
pub fn admit_store(sites: &[SiteRecord], label: &SiteName, identity: Option<&str>) -> Result<SiteRecord, SiteRefusal> {
    let twin = sites.iter().find(|s| s.label != *label && identity.is_some() && s.identity.as_deref() == identity);
    if let (Some(twin), Some(identity)) = (twin, identity) {
        let (label, identity) = (label.clone(), identity.to_owned());
        return Err(SiteRefusal::Twin { label, identity, site: twin.label.clone() });
    }
    match (sites.iter().find(|s| s.label == *label).and_then(|s| s.identity.as_deref()), identity) {
        (Some(bound), None) => Err(SiteRefusal::Unproved { label: label.clone(), bound: bound.to_owned() }),
        (Some(bound), Some(identity)) if identity != bound => {
            Err(SiteRefusal::Other { label: label.clone(), bound: bound.to_owned(), identity: identity.to_owned() })
        }
        _ => {
            let known = sites.iter().find(|s| s.label == *label).cloned();
            let known = known.unwrap_or_else(|| SiteRecord::new(label.clone(), None));
            Ok(SiteRecord { identity: identity.map(ToOwned::to_owned), ..known })
        }
    }
}

/// Why a site is not bound to another identity, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CannotMove {
    /// It is no site of the fleet.
    #[error("{0} is no site of this fleet: a new site is bound by the first store that joins from it")]
    Unknown(SiteName),
    /// Nothing is bound yet.
    #[error(
        "site {0} is bound to no identity yet: the first store that proves one binds it, and nothing has to be moved"
    )]
    Unbound(SiteName),
    /// The identity is that of another site.
    #[error(
        "{identity} is site {site}: one Kubernetes cluster is one site; look whether you mean the UID of another one"
    )]
    Taken {
        /// The identity.
        identity: String,
        /// Whose it is.
        site: SiteName,
    },
}

/// The record of a site that is bound to `identity` from `now` on; `None` when it is so already. That no store of the site lives is for the
/// caller to see to.
pub fn move_site(
    sites: &[SiteRecord],
    label: &SiteName,
    identity: &str,
    now: Timestamp,
) -> Result<Option<SiteRecord>, CannotMove> {
    if let Some(twin) = sites.iter().find(|s| s.label != *label && s.identity.as_deref() == Some(identity)) {
        return Err(CannotMove::Taken { identity: identity.to_owned(), site: twin.label.clone() });
    }
    let Some(known) = sites.iter().find(|s| s.label == *label) else {
        return Err(CannotMove::Unknown(label.clone()));
    };
    let Some(bound) = known.identity.clone() else { return Err(CannotMove::Unbound(label.clone())) };
    if bound == identity {
        return Ok(None);
    }
    let mut former = known.former.clone();
    former.push(FormerIdentity { identity: bound, until: now });
    former.drain(..former.len().saturating_sub(limits::SITE_MOVES_KEPT));
    Ok(Some(SiteRecord { identity: Some(identity.to_owned()), former, ..known.clone() }))
}

/// Of a proof that is refused this much is shown.
const SHOWN_CHARACTERS: usize = 64;

/// Refuses what is no proof of a site.
pub fn check_identity(identity: &str) -> Result<(), Rejected> {
    let most = limits::MAX_SITE_IDENTITY_BYTES;
    if identity.is_empty() || identity.len() > most || !identity.bytes().all(|byte| byte.is_ascii_graphic()) {
        // What came over a wire may be of any length; a refusal is short.
        let shown: String = identity.chars().take(SHOWN_CHARACTERS).collect();
        let rest = if shown.len() < identity.len() { "..." } else { "" };
        return Err(Rejected::invalid(format!(
            "{shown:?}{rest} is no proof of a site: use the UID of the kube-system namespace, or 1 to {most} printable ASCII characters without spaces"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_starts_again_may_move_and_leaves_all_the_same() {
        let known = StoreRecord {
            addresses: StoreAddresses { client: "old:1".into(), ..StoreAddresses::default() },
            joined_at: Timestamp(5),
            leaving_at: Some(Timestamp(9)),
            ..StoreRecord::new(StoreId(4), SiteName::new("d").unwrap())
        };
        let addresses = StoreAddresses { client: "new:1".into(), ..StoreAddresses::default() };
        let (joined_at, zone) = (Timestamp(77), Some("d-2".to_owned()));
        let said = StoreRecord { addresses, joined_at, zone, leaving_at: None, ..known.clone() };
        let renewed = known.renewed(said.clone());
        assert!(renewed.is_leaving());
        assert_eq!(renewed, StoreRecord { joined_at: Timestamp(5), leaving_at: Some(Timestamp(9)), ..said });
    }

    #[test]
    fn names_round_trip_and_lie_in_their_range() {
        let keys = [
            (StateKey::NextStore, None),
            (StateKey::NextKeyspace, None),
            (StateKey::Keyspace(KeyspaceName::new("orders").unwrap()), Some(StateKey::all_keyspaces())),
            (StateKey::Store(StoreId(7)), Some(StateKey::all_stores())),
            (StateKey::Site(SiteName::new("site-a").unwrap()), Some(StateKey::all_sites())),
            (StateKey::Range(RangeId::MAX), Some(StateKey::all_ranges())),
            (StateKey::Policy(KeyspaceId(3)), Some(StateKey::all_policies())),
            (StateKey::Operator(RangeId(1)), Some(StateKey::all_operators())),
            (StateKey::Rotation, None),
            (StateKey::JoinToken(TokenId::of(u64::MAX)), Some(StateKey::all_join_tokens())),
            (StateKey::RightsVersion, Some(StateKey::all_rights())),
            (StateKey::Role(RoleName::new("readers").unwrap()), Some(StateKey::all_rights())),
            (StateKey::ClientGrants(Clients::Every), Some(StateKey::all_rights())),
            (StateKey::ClientGrants("billing.v2".parse().unwrap()), Some(StateKey::all_rights())),
        ];
        for (key, all) in keys {
            assert_eq!(StateKey::parse(&key.key()), Some(key.clone()));
            assert!(all.is_none_or(|all| all.contains(&key.key())), "{key:?}");
        }
        for foreign in [
            "trust/",
            "trust/rotation/",
            "rights/",
            "rights/role/R",
            "rights/client/",
            "rights/client/**",
            "store/7",
            "store/+000000000000007",
            "site/",
            "keyspace/No",
            "other",
            "policy/0000000100000000",
        ] {
            assert_eq!(StateKey::parse(&Key::bound(KeyspaceId::SYSTEM, foreign.as_bytes())), None, "{foreign}");
        }
        let elsewhere = Key::bound(KeyspaceId::DEFAULT, StateKey::NextStore.key().user_key());
        assert_eq!(StateKey::parse(&elsewhere), None);
    }
}

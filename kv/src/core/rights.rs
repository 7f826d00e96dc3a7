//! What callers may, compiled from what was granted, so that a request is judged by comparing a few keys.
//!
//! ```text
//! system range ─▶ Book (records, changes) ─▶ Rights ─▶ View of one principal ─▶ Asker ─▶ permit
//!                  who was granted what        all        what he may: intervals of keys
//! ```
//!
//! [`Rights`] are made anew with every change of what was granted, and never change themselves. Whoever asks again and again keeps an
//! [`Asker`], which looks its view up when the rights have changed and not with every request: neither a lock nor memory is taken then.
//!
//! - Without TLS nobody is known by name: all is as if there were no rights, and a principal is believed nothing.
//! - With TLS operators may read everything and change the fleet; a store reads what the fleet keeps of itself. Both need no grant and get
//!   none, so that no change of grants, and no loss of them, locks the fleet's own people out.
//! - Clients may read and write the keyspaces of users until the first grant is made; from then on what they were granted and nothing else,
//!   for ever. A store that does not know yet what was granted sends them elsewhere.
//! - Keyspace 0 and the audit are in no grant.
//!
//! What is not done: nothing here denies. A right that a role gives is taken away by leaving the role.

mod book;
mod keys;
mod records;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_types::principal::Kind;
use holdfast_types::{Clients, KeyRange, Principal, PrincipalName, Rejected, Request, Right, TrustDomain};

use self::view::{Holdings, lacks, lacks_first};
use super::permit::Authority;

pub use self::book::{Book, CannotChange, Change, Changed, Role};
pub use self::records::{decode_client_grants, decode_rights_version, decode_role};
pub use self::view::{View, lacks_fleet};

/// What everybody may.
#[derive(Clone, Debug)]
pub struct Rights {
    footing: Footing,
    number: u64,
    operators: Arc<View>,
    stores: Arc<View>,
    /// Clients that are named nowhere.
    every: Arc<View>,
    named: BTreeMap<PrincipalName, Arc<View>>,
}

/// Whether anybody is known by name.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Footing {
    /// Nobody is.
    Insecure,
    /// Those whom this domain vouches for.
    Secured(TrustDomain),
}

impl Default for Rights {
    fn default() -> Self {
        Self::insecure()
    }
}

impl Rights {
    /// Those of a fleet without TLS.
    #[must_use]
    pub fn insecure() -> Self {
        let why =
            "this store runs without TLS, so it knows nobody by name: ask without a name, or run the fleet with --tls";
        let nobody = Arc::new(View::refusing(Rejected::Forbidden(why.into())));
        Self {
            footing: Footing::Insecure,
            number: 0,
            operators: Arc::clone(&nobody),
            stores: Arc::clone(&nobody),
            every: nobody,
            named: BTreeMap::new(),
        }
    }

    /// Those of a store that has not heard yet what was granted.
    #[must_use]
    pub fn unknown(domain: TrustDomain) -> Self {
        let why = "this store does not know yet what was granted to clients: ask another one, or try again in a moment";
        let every = View::refusing(Rejected::Unavailable(why.into()));
        Self { every: Arc::new(every), ..Self::of_people(domain, 0) }
    }

    /// Those that were granted in a fleet of this trust domain.
    #[must_use]
    pub fn compile(domain: TrustDomain, book: &Book) -> Self {
        let roles: BTreeMap<_, _> =
            book.roles().iter().map(|(name, role)| (name, Arc::new(Holdings::of(&role.grants)))).collect();
        let of = |clients: &Clients| {
            let own = book.clients().get(clients).map(|grants| Arc::new(Holdings::of(grants)));
            let joined = book.roles().iter().filter(|(_, role)| role.members.contains(clients));
            own.into_iter().chain(joined.filter_map(|(name, _)| roles.get(name).cloned())).collect::<Vec<_>>()
        };
        let mut every = of(&Clients::Every);
        if !book.is_closed() {
            every.push(Arc::new(Holdings::open()));
        }
        let members = book.roles().values().flat_map(|role| &role.members);
        let named: BTreeSet<&Clients> = book.clients().keys().chain(members).collect();
        let named = named.into_iter().filter_map(|clients| match clients {
            Clients::Every => None,
            Clients::One(name) => {
                let parts = every.iter().cloned().chain(of(clients)).collect();
                Some((name.clone(), Arc::new(View::granted(parts))))
            }
        });
        let named = named.collect();
        Self { every: Arc::new(View::granted(every)), named, ..Self::of_people(domain, book.number()) }
    }

    /// Operators and stores, whatever was granted.
    fn of_people(domain: TrustDomain, number: u64) -> Self {
        Self {
            footing: Footing::Secured(domain),
            number,
            operators: Arc::new(View::of_operators()),
            stores: Arc::new(View::of_stores()),
            every: Arc::new(View::granted(Vec::new())),
            named: BTreeMap::new(),
        }
    }

    /// Counts the changes of what was granted; 0: none is known of.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// True in a fleet with TLS: everybody is known by name, and may do what he was granted.
    #[must_use]
    pub fn are_enforced(&self) -> bool {
        self.footing != Footing::Insecure
    }

    /// What somebody may. He was proved to be who he says, by this store or by one that passes his request on.
    #[must_use]
    pub fn view(&self, principal: &Principal) -> Arc<View> {
        if let Footing::Secured(domain) = &self.footing
            && principal.domain != *domain
        {
            let why = format!("{principal} is not of this fleet, whose trust domain is {domain}");
            return Arc::new(View::refusing(Rejected::Forbidden(why)));
        }
        Arc::clone(match &principal.kind {
            Kind::Operator(_) => &self.operators,
            Kind::Store(_) => &self.stores,
            Kind::Client(name) => self.named.get(name).unwrap_or(&self.every),
        })
    }

    /// Whether somebody may do something with all of these keys. Looks his view up: for what is not asked again and again.
    pub fn allows(&self, principal: &Principal, right: Right, keys: &KeyRange) -> Result<(), Rejected> {
        let view = self.view(principal);
        view.check_known()?;
        if view.holds_all(right, keys) { Ok(()) } else { Err(lacks(principal, right, keys)) }
    }

    fn sight(&self, authority: &Authority) -> Sight {
        match authority {
            Authority::Fleet => Sight::Unchecked,
            Authority::Client if !self.are_enforced() => Sight::Unchecked,
            Authority::Client => Sight::Nobody,
            Authority::Principal(principal) => Sight::Seen(self.view(principal)),
        }
    }
}

/// Somebody who asks, and what he may by the rights that were looked at last.
#[derive(Clone, Debug)]
pub struct Asker {
    authority: Authority,
    sight: Sight,
    /// Which rights these were, by the count of whoever hands them out.
    seen: u64,
}

/// What is known of somebody who asks.
#[derive(Clone, Debug)]
enum Sight {
    /// No rights were looked at.
    None,
    /// His requests are judged by what they are alone.
    Unchecked,
    /// He has no name where everybody needs one.
    Nobody,
    Seen(Arc<View>),
}

impl Asker {
    /// Somebody of whom nobody has looked yet what he may: until [`Asker::look`] nothing of his is let through.
    #[must_use]
    pub fn new(authority: Authority) -> Self {
        Self { authority, sight: Sight::None, seen: 0 }
    }

    /// Somebody who asks once, by these rights.
    #[must_use]
    pub fn of(authority: Authority, rights: &Rights) -> Self {
        let sight = rights.sight(&authority);
        Self { authority, sight, seen: 0 }
    }

    /// The fleet itself, which needs no rights.
    #[must_use]
    pub fn fleet() -> Self {
        Self { authority: Authority::Fleet, sight: Sight::Unchecked, seen: 0 }
    }

    /// Looks up what he may, if these are other rights than those that were looked at last. `generation` counts the rights that were handed
    /// out, from 1; it is read before they are.
    pub fn look(&mut self, generation: u64, rights: impl FnOnce() -> Arc<Rights>) {
        if self.seen != generation {
            self.sight = rights().sight(&self.authority);
            self.seen = generation;
        }
    }

    /// For whom he asks.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Refuses a request that he may not make. Neither waits nor takes memory, unless it refuses.
    pub fn check(&self, request: &Request) -> Result<(), Rejected> {
        self.judge(|principal, view| view.check(principal, request))
    }

    /// Judges by who he is and what he may, where that is a question; elsewhere he may. Who cannot be judged is refused.
    pub fn judge(&self, judge: impl FnOnce(&Principal, &View) -> Result<(), Rejected>) -> Result<(), Rejected> {
        match (&self.sight, &self.authority) {
            (Sight::Unchecked, _) => Ok(()),
            (Sight::Seen(view), Authority::Principal(principal)) => {
                view.check_known()?;
                judge(principal, view)
            }
            (Sight::Nobody, _) => {
                let why =
                    "whoever asks in this fleet shows a certificate or a token of it, and this request names nobody";
                Err(Rejected::Forbidden(why.into()))
            }
            (Sight::None | Sight::Seen(_), _) => {
                Err(Rejected::Unavailable("what may be asked here is not known yet: ask another store".into()))
            }
        }
    }

    /// True when keys within bounds are any of his business: what is told unasked goes by it.
    #[must_use]
    pub fn is_concerned_by(&self, bounds: &KeyRange) -> bool {
        self.sees(|view| view.concerns(bounds))
    }

    /// Refuses to tell him of a range that is none of his business, the first or in reverse the last of those that hold what he `asked` for: in the
    /// words in which he would be refused to read there.
    pub fn check_told(&self, range: &KeyRange, asked: &KeyRange, reverse: bool) -> Result<(), Rejected> {
        self.judge(|principal, view| match view.concerns(range) {
            true => Ok(()),
            false => Err(lacks_first(principal, asked, reverse)),
        })
    }

    /// True when he may look at some range within bounds.
    #[must_use]
    pub fn looks_at(&self, bounds: &KeyRange) -> bool {
        self.sees(|view| view.looks_at(bounds))
    }

    /// True when what he sees is not limited by rights.
    #[must_use]
    pub fn sees_everything(&self) -> bool {
        self.sees(|view| view.concerns_everything())
    }

    fn sees(&self, sees: impl FnOnce(&View) -> bool) -> bool {
        match &self.sight {
            Sight::Unchecked => true,
            Sight::Seen(view) => view.check_known().is_ok() && sees(view),
            Sight::None | Sight::Nobody => false,
        }
    }
}

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;

//! What each call of the client port needs of whoever makes it: one table, and whether somebody has it.
//!
//! The table is looked at for every call before its service is ([`super::allowed`]). A method without a row is for operators alone, and a test
//! finds it. What a row cannot say, because it depends on keys, the service looks at for itself: rows say `Data`, `Keyspaces` or `Ranges`.

use holdfast_kv::core::rights::{Asker, View, lacks_fleet};
use holdfast_types::principal::Kind;
use holdfast_types::{Principal, Rejected};

/// What a call needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Nothing: what it tells is no secret, or its service asks for a proof of another kind.
    Nothing,
    /// To say who one is: to find one's way through the fleet. What is told of ranges and rights is limited to what concerns the caller.
    Named,
    /// A right to the keys that are asked for; each request is looked at where it enters, and again by the store that evaluates it. Here it
    /// is enough to say who one is: a refusal is to name the right and the keyspace.
    Data,
    /// A right, whichever; keyspaces are told of in which the caller has one.
    Keyspaces,
    /// The right `admin` somewhere; ranges are told of that lie there. Or `fleet`, for all.
    Ranges,
    /// The right `admin` on all keyspaces, or `fleet`: to look at the fleet as a whole, and to make keyspaces.
    Whole,
    /// The right `fleet`.
    Fleet,
    /// The right `fleet`; or to be a store of the same site, which gets the one on its machine ready to be stopped: the service looks at the site.
    Stop,
    /// To be an operator: whoever gives rights has them all.
    Operator,
    /// To be a store, or an operator.
    Store,
}

/// What every method needs, by its path.
#[rustfmt::skip]
pub const TABLE: &[(&str, Need)] = &[
    ("/holdfast.v1.Kv/Stream", Need::Data),
    ("/holdfast.v1.Kv/Get", Need::Data),
    ("/holdfast.v1.Kv/Put", Need::Data),
    ("/holdfast.v1.Kv/Delete", Need::Data),
    ("/holdfast.v1.Kv/CompareAndSet", Need::Data),
    ("/holdfast.v1.Kv/AtomicBatch", Need::Data),
    ("/holdfast.v1.Kv/BatchGet", Need::Data),
    ("/holdfast.v1.Kv/DeleteRange", Need::Data),
    ("/holdfast.v1.Kv/Scan", Need::Data),
    ("/holdfast.v1.Fleet/Locate", Need::Named),
    ("/holdfast.v1.Fleet/Describe", Need::Named),
    ("/holdfast.v1.Fleet/Status", Need::Whole),
    ("/holdfast.v1.Fleet/Announce", Need::Store),
    // By a token, a certificate of a store, or the word of an operator: the fleet service looks.
    ("/holdfast.v1.Fleet/Join", Need::Nothing),
    // There are no rights before there is a fleet: by who founds it, or by the secret, the fleet service looks.
    ("/holdfast.v1.Fleet/Init", Need::Nothing),
    ("/holdfast.v1.Admin/ListKeyspaces", Need::Keyspaces),
    ("/holdfast.v1.Admin/CreateKeyspace", Need::Whole),
    ("/holdfast.v1.Admin/ListRanges", Need::Ranges),
    ("/holdfast.v1.Admin/ListSites", Need::Whole),
    ("/holdfast.v1.Admin/ListStores", Need::Whole),
    ("/holdfast.v1.Admin/ListEvents", Need::Whole),
    ("/holdfast.v1.Admin/ListSettings", Need::Whole),
    ("/holdfast.v1.Admin/ListAudit", Need::Fleet),
    // Everybody sees what concerns himself.
    ("/holdfast.v1.Admin/ListRights", Need::Named),
    ("/holdfast.v1.Admin/ChangeRights", Need::Operator),
    ("/holdfast.v1.Admin/LearnRights", Need::Store),
    ("/holdfast.v1.Admin/SplitRange", Need::Fleet),
    ("/holdfast.v1.Admin/ChangeReplicas", Need::Fleet),
    ("/holdfast.v1.Admin/TransferLeader", Need::Fleet),
    ("/holdfast.v1.Admin/ForgetStore", Need::Fleet),
    ("/holdfast.v1.Admin/MoveSite", Need::Fleet),
    ("/holdfast.v1.Admin/DrainStores", Need::Fleet),
    ("/holdfast.v1.Admin/PrepareToStop", Need::Stop),
    // A token lets a store in, and a store has all rights.
    ("/holdfast.v1.Admin/CreateJoinToken", Need::Operator),
    ("/holdfast.v1.Admin/ListJoinTokens", Need::Operator),
    ("/holdfast.v1.Admin/RevokeJoinToken", Need::Operator),
    // Whoever lets stores in, or says whom to believe, has the keys in the end.
    ("/holdfast.v1.Admin/ShowTrust", Need::Whole),
    ("/holdfast.v1.Admin/RotateRoot", Need::Operator),
    ("/holdfast.v1.Admin/DistrustSite", Need::Operator),
    ("/holdfast.v1.Admin/LearnSites", Need::Store),
    ("/grpc.health.v1.Health/Check", Need::Nothing),
    ("/grpc.health.v1.Health/Watch", Need::Nothing),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Need::Named),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Need::Named),
];

/// What a call needs. One that is not in the table does not exist, or was forgotten: it is for operators.
pub fn need_of(path: &str) -> Need {
    TABLE.iter().find(|(known, _)| *known == path).map_or(Need::Operator, |(_, need)| *need)
}

impl Need {
    /// Refuses somebody who has not what it takes. Without TLS everybody has.
    pub fn check(self, asker: &Asker) -> Result<(), Rejected> {
        match self {
            Self::Nothing => Ok(()),
            _ => asker.judge(|who, view| self.judge(who, view)),
        }
    }

    fn judge(self, who: &Principal, view: &View) -> Result<(), Rejected> {
        let has_it = match self {
            Self::Nothing | Self::Named | Self::Data => true,
            Self::Keyspaces => view.holds_something(),
            // Stores ask each other for their parts of an answer.
            Self::Ranges => who.is_store() || view.looks_at_something(),
            Self::Whole => who.is_store() || view.looks_at_everything(),
            Self::Fleet => view.holds_fleet(),
            Self::Stop => who.is_store() || view.holds_fleet(),
            Self::Operator => who.is_operator(),
            Self::Store => who.is_store() || who.is_operator(),
        };
        if has_it { Ok(()) } else { Err(self.refusal(who)) }
    }

    fn refusal(self, who: &Principal) -> Rejected {
        let Kind::Client(name) = &who.kind else { return self.refusal_of_people(who) };
        let gives = |grant: &str| format!("an operator may give it with GRANT {grant} TO CLIENT '{name}'");
        Rejected::Forbidden(match self {
            Self::Nothing | Self::Named | Self::Data | Self::Keyspaces => {
                format!("client {name} was granted nothing: {}", gives("read, write ON KEYSPACE ..."))
            }
            Self::Ranges => format!("client {name} lacks the right admin: {}", gives("admin ON KEYSPACE ...")),
            Self::Whole => {
                format!("client {name} lacks the right admin on all keyspaces: {}", gives("admin ON ALL KEYSPACES"))
            }
            Self::Fleet | Self::Stop => return lacks_fleet(who),
            Self::Operator => {
                format!("client {name} is no operator, and this is for operators alone: no right gives it")
            }
            Self::Store => format!("client {name} is no store, and this is what stores ask each other"),
        })
    }

    fn refusal_of_people(self, who: &Principal) -> Rejected {
        Rejected::Forbidden(match self {
            Self::Operator | Self::Fleet | Self::Stop => {
                format!("{who} is no operator, and this is for operators and those who have the right fleet")
            }
            _ => format!("{who} is neither a client nor an operator: a store asks for those who asked it"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use holdfast_kv::core::permit::Authority;
    use holdfast_kv::core::rights::{Book, Change, Rights};
    use holdfast_proto::v1;
    use holdfast_types::{Grant, Grantee, KeyspaceId, Right, Scope, TrustDomain};
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Served on the port of stores, to stores alone: those are told apart by their handshake.
    const ELSEWHERE: &str = "StoreTransport";

    fn methods(descriptors: &[u8]) -> BTreeSet<String> {
        let files = FileDescriptorSet::decode(descriptors).unwrap();
        let mut paths = BTreeSet::new();
        for file in &files.file {
            for service in file.service.iter().filter(|service| service.name() != ELSEWHERE) {
                let names = service.method.iter().map(|method| method.name());
                paths.extend(names.map(|name| format!("/{}.{}/{name}", file.package(), service.name())));
            }
        }
        paths
    }

    #[test]
    fn every_method_that_is_served_has_one_row_and_every_row_a_method() {
        let mut served = methods(v1::DESCRIPTORS);
        served.extend(methods(tonic_health::pb::FILE_DESCRIPTOR_SET));
        served.extend(methods(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET));
        served.extend(methods(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET));
        let rows: BTreeSet<String> = TABLE.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(rows.len(), TABLE.len(), "a method has one row");
        let missing: Vec<_> = served.difference(&rows).collect();
        assert!(missing.is_empty(), "what do these need? {missing:?}");
        let gone: Vec<_> = rows.difference(&served).collect();
        assert!(gone.is_empty(), "nothing serves these: {gone:?}");
        assert_eq!(need_of("/holdfast.v1.Admin/Forgotten"), Need::Operator);
    }

    fn asker(path: &str, grants: &[(Right, Scope)]) -> Asker {
        let grants = grants.iter().map(|(right, scope)| Grant::new(*right, scope.clone()).unwrap()).collect::<Vec<_>>();
        let other = Grant::new(Right::Read, Scope::keyspace(KeyspaceId(300))).unwrap();
        let mut book = Book::default();
        for (grants, to) in [(vec![other], "other"), (grants, "ann")] {
            let change = Change::Grant(grants, Grantee::Clients(to.parse().unwrap()));
            book = book.change(&change).unwrap().map_or(book, |changed| changed.book);
        }
        let principal = Arc::new(format!("spiffe://f/{path}").parse().unwrap());
        Asker::of(Authority::Principal(principal), &Rights::compile(TrustDomain::new("f").unwrap(), &book))
    }

    #[test]
    fn what_somebody_may_call_follows_from_who_he_is_and_what_he_was_granted() {
        use Need::*;
        let one = Scope::keyspace(KeyspaceId(256));
        let may = |path: &str, grants: &[(Right, Scope)]| -> Vec<Need> {
            let all = [Nothing, Named, Data, Keyspaces, Ranges, Whole, Fleet, Stop, Operator, Store];
            let asker = asker(path, grants);
            all.into_iter().filter(|need| need.check(&asker).is_ok()).collect()
        };
        assert_eq!(may("client/ann", &[]), [Nothing, Named, Data]);
        assert_eq!(may("client/ann", &[(Right::Write, one.clone())]), [Nothing, Named, Data, Keyspaces]);
        assert_eq!(may("client/ann", &[(Right::Admin, one)]), [Nothing, Named, Data, Keyspaces, Ranges]);
        let everywhere = [(Right::Admin, Scope::Everywhere)];
        assert_eq!(may("client/ann", &everywhere), [Nothing, Named, Data, Keyspaces, Ranges, Whole]);
        let fleet = [(Right::Fleet, Scope::Everywhere)];
        assert_eq!(may("client/ann", &fleet), [Nothing, Named, Data, Keyspaces, Ranges, Whole, Fleet, Stop]);
        assert_eq!(may("site/b/store", &[]), [Nothing, Named, Data, Keyspaces, Ranges, Whole, Stop, Store]);
        let everything = [Nothing, Named, Data, Keyspaces, Ranges, Whole, Fleet, Stop, Operator, Store];
        assert_eq!(may("operator/ann", &[]), everything);
    }

    #[test]
    fn a_refusal_names_the_grant_that_would_help_and_without_tls_nobody_is_refused() {
        let refused = |need: Need| need.check(&asker("client/ann", &[])).unwrap_err().to_string();
        assert!(refused(Need::Keyspaces).contains("client ann was granted nothing"));
        assert!(refused(Need::Whole).contains("GRANT admin ON ALL KEYSPACES TO CLIENT 'ann'"));
        assert!(refused(Need::Fleet).contains("GRANT fleet TO CLIENT 'ann'"));
        assert!(refused(Need::Operator).contains("no right gives it"));
        let nobody = Asker::of(Authority::Client, &Rights::insecure());
        assert!(TABLE.iter().all(|(_, need)| need.check(&nobody).is_ok()));
        let unnamed = Asker::of(Authority::Client, &Rights::unknown(TrustDomain::new("f").unwrap()));
        assert!(TABLE.iter().all(|(_, need)| need.check(&unnamed).is_ok() == (*need == Need::Nothing)));
    }
}

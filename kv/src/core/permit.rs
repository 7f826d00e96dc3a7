//! What a request may do, whoever brings it: a client over its port, another store that passes it on, or the fleet itself.
//!
//! A worker takes in nothing but a [`Permitted`] request, and [`Permitted::check`] is the only way to get one. So a request that came by
//! another way, or of a new kind, cannot miss the check: the match over kinds below has no arm for the rest.
//!
//! Another store is believed when it says for whom it asks. That is no more trust than it has anyway, since it takes part in the
//! replication of what it asks for; but what it brings must be what that author may ask, within the same bounds. For the fleet these
//! are the records that stores write, one by one, each readable and under its own name: a store that runs wild, or whoever passes for
//! one, writes no nonsense into what all the others go by.
//!
//! Whether somebody in particular may do what anybody like him may ask, [`super::rights`] says: where a request enters, and again at each
//! store that takes it in from another one, by what that store knows itself.

mod audit;

use std::sync::Arc;

use holdfast_placement::StateKey;
use holdfast_proto::convert::BadMessage;
use holdfast_replica::{AdminRequest, MembershipChange};
use holdfast_types::{
    Key, KeyRange, KeyspaceId, Mutation, Principal, RangeRequest, Rejected, Request, StoreId, limits, validate,
};

use super::records::{
    decode_keyspace, decode_next_id, decode_policy, decode_range, decode_rotation, decode_site, decode_store,
    decode_token,
};
use super::rights::{Asker, decode_client_grants, decode_rights_version, decode_role};

/// For whom something is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Authority {
    /// Somebody outside whom nobody knows, in a fleet without TLS: reads all, and writes where users' keys lie.
    Client,
    /// Somebody outside who has proved who he is: does the same as far as he has a right to.
    Principal(Arc<Principal>),
    /// The fleet: reads all, and writes the records of keyspace 0.
    Fleet,
}

impl Authority {
    /// Who asks when the store that passes a request on does not say it: programs before this question did not. Their ports for clients
    /// refused to write keyspace 0, so what writes there and nowhere else was of the fleet; of everything else a client is the author,
    /// who may do least.
    #[must_use]
    pub fn unsaid(request: &RangeRequest) -> Self {
        match &request.request {
            Request::Write { mutations, .. }
                if !mutations.is_empty() && mutations.iter().all(|mutation| is_system(&mutation.key)) =>
            {
                Self::Fleet
            }
            _ => Self::Client,
        }
    }
}

/// A request whose author may ask for it, within the bounds of requests.
#[derive(Clone, PartialEq, Debug)]
pub struct Permitted {
    request: RangeRequest,
    authority: Authority,
}

impl Permitted {
    /// Refuses what is malformed, beyond a bound, or not for whoever asks to do.
    pub fn check(request: RangeRequest, asker: &Asker) -> Result<Self, Rejected> {
        validate(&request, limits::MAX_VALUE_BYTES)?;
        let authority = asker.authority();
        match &request.request {
            Request::Get { .. } | Request::Scan { .. } => {}
            Request::Write { conditions, mutations } => match authority {
                Authority::Client | Authority::Principal(_)
                    if mutations.iter().any(|mutation| is_of_the_fleet(&mutation.key)) =>
                {
                    return Err(not_theirs());
                }
                Authority::Client | Authority::Principal(_) => {}
                Authority::Fleet => mutations.iter().try_for_each(|mutation| match mutation.key.keyspace() {
                    KeyspaceId::AUDIT => audit::check_appended(mutation, conditions),
                    _ => check_record(mutation),
                })?,
            },
            Request::DeleteRange { bounds, .. } => {
                let system = KeyRange { start: Key::MIN, end: Key::keyspace_end(KeyspaceId::SYSTEM) };
                let audit = KeyRange { start: Key::bound(KeyspaceId::AUDIT, b""), end: None };
                if bounds.overlaps(&system) || bounds.overlaps(&audit) {
                    return Err(not_theirs());
                }
                if *authority == Authority::Fleet {
                    return Err(Rejected::Forbidden("the fleet deletes no ranges of users' keys".into()));
                }
            }
        }
        asker.check(&request.request)?;
        Ok(Self { authority: authority.clone(), request })
    }

    /// What is asked.
    #[must_use]
    pub fn request(&self) -> &RangeRequest {
        &self.request
    }

    /// The same, given away.
    #[must_use]
    pub fn into_request(self) -> RangeRequest {
        self.request
    }

    /// For whom.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }
}

/// Refuses an administrative request that nobody may bring, neither an operator nor another store for one: what it says of members is
/// for the leader's store to judge, which knows them.
pub fn check_admin(request: &AdminRequest) -> Result<(), Rejected> {
    match request {
        // In the middle of the data.
        AdminRequest::Split { at, .. } if *at == Key::MIN => Ok(()),
        AdminRequest::Split { at, .. } if at.user_key().len() > limits::MAX_KEY_BYTES => {
            Err(Rejected::invalid(format!("the key is longer than {} B", limits::MAX_KEY_BYTES)))
        }
        AdminRequest::Split { at, .. } if is_system(at) => {
            Err(Rejected::invalid("the system range stays in one piece: name a key of another keyspace"))
        }
        AdminRequest::Split { .. } | AdminRequest::Transfer { .. } => Ok(()),
        AdminRequest::ChangeMembership(MembershipChange::Reconfigure { promote, demote }) => {
            let most = limits::MAX_RECONFIGURED;
            if promote.len().max(demote.len()) > most {
                return Err(Rejected::invalid(format!("more than {most} replicas change at a time: name fewer")));
            }
            Ok(())
        }
        AdminRequest::ChangeMembership(
            MembershipChange::AddLearner { .. } | MembershipChange::RemoveLearner { .. },
        ) => Ok(()),
        AdminRequest::RaiseGcThreshold { .. } | AdminRequest::CollectGarbage(_) => {
            Err(Rejected::Forbidden("garbage is collected by the store that leads, by itself".into()))
        }
    }
}

fn is_system(key: &Key) -> bool {
    key.keyspace() == KeyspaceId::SYSTEM
}

/// True of what stores alone write.
fn is_of_the_fleet(key: &Key) -> bool {
    key.keyspace().is_of_the_fleet()
}

fn not_theirs() -> Rejected {
    let why = "keyspace 0 and the audit are the fleet's own: who may read them does, and changes the fleet by its Admin and Fleet services";
    Rejected::Forbidden(why.into())
}

/// A record of the system range must be one, under the name of what it is about.
fn check_record(mutation: &Mutation) -> Result<(), Rejected> {
    let forbidden = |why: &str| Rejected::Forbidden(format!("{:?} in the name of the fleet: {why}", mutation.key));
    if !is_system(&mutation.key) {
        return Err(forbidden("the fleet writes its own records alone, and users' keys are none"));
    }
    let Some(name) = StateKey::parse(&mutation.key) else { return Err(forbidden("no record has that name")) };
    // They come and go; of everything else what was said once stays.
    let is_passing = matches!(name, StateKey::JoinToken(_));
    let is_right = matches!(name, StateKey::Role(_) | StateKey::ClientGrants(_));
    if mutation.expires_at.is_some() && !is_passing {
        return Err(forbidden("records do not expire"));
    }
    let Some(value) = &mutation.value else {
        return if is_passing || is_right { Ok(()) } else { Err(forbidden("records are not deleted")) };
    };
    let most = match &name {
        StateKey::Store(_) => limits::STORE_RECORD_BYTES,
        StateKey::Role(_) | StateKey::ClientGrants(_) => limits::RIGHTS_RECORD_BYTES,
        _ => limits::FLEET_RECORD_BYTES,
    };
    if value.len() > most {
        return Err(forbidden(&format!("the record has {} B, and {most} B at most", value.len())));
    }
    let is_its_own = match &name {
        // The next is given to whoever asks then.
        StateKey::NextStore => decode_next_id(value).and_then(|next| Ok(StoreId::bounded(next).map(|_| true)?)),
        StateKey::NextKeyspace => decode_next_id(value).map(|next| u32::try_from(next).is_ok()),
        StateKey::Store(store) => decode_store(value).map(|record| record.store == *store),
        StateKey::Site(site) => decode_site(value).map(|record| record.label == *site),
        StateKey::Keyspace(name) => decode_keyspace(value).map(|record| record.name == *name),
        StateKey::Range(range) => decode_range(value).map(|record| record.range == *range),
        StateKey::Policy(_) => decode_policy(value).map(|_| true),
        StateKey::Rotation => decode_rotation(value).map(|_| true),
        StateKey::JoinToken(id) => {
            decode_token(value).map(|record| record.id == *id && mutation.expires_at == Some(record.expires_at))
        }
        StateKey::RightsVersion => decode_rights_version(value).map(|_| true),
        StateKey::Role(name) => decode_role(value).map(|(named, _)| named == *name),
        StateKey::ClientGrants(clients) => decode_client_grants(value).map(|(named, _)| named == *clients),
        StateKey::Operator(_) => return Err(forbidden("operators are not kept")),
    };
    match is_its_own {
        // A newer program may write what this one cannot read, and must not be kept from it by who passes its requests on.
        Ok(true) => Ok(()),
        Err(BadMessage::UnknownVersion { found, known, .. }) if found > known => Ok(()),
        Ok(false) => Err(forbidden("the record is about another one than its name says")),
        Err(bad) => Err(forbidden(&bad.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_placement::{Rotation, SiteRecord, StoreRecord, TokenRecord};
    use holdfast_types::{
        Fingerprint, RangeId, ReplicaId, RoleName, RotationPhase, ScanMode, SiteName, Timestamp, TokenId, TrustDomain,
    };

    use super::*;
    use crate::core::message::{CallId, StoreMessage};
    use crate::core::records::{encode_next_id, encode_rotation, encode_site, encode_store, encode_token};
    use crate::core::rights::{Book, Change, Rights};

    fn ask(request: Request, authority: Authority) -> Result<(), Rejected> {
        let asker = Asker::of(authority, &Rights::insecure());
        Permitted::check(RangeRequest { range: None, write: None, request }, &asker).map(|_| ())
    }

    fn write(mutations: Vec<Mutation>) -> Request {
        Request::Write { conditions: vec![], mutations }
    }

    fn put(key: Key, value: impl Into<Bytes>) -> Mutation {
        Mutation { key, value: Some(value.into()), expires_at: None }
    }

    fn user_key(keyspace: u32) -> Key {
        Key::bound(KeyspaceId(keyspace), b"k")
    }

    fn is_forbidden(outcome: Result<(), Rejected>) -> bool {
        matches!(outcome, Err(Rejected::Forbidden(_)))
    }

    #[test]
    fn clients_read_keyspace_zero_and_do_not_write_it() {
        let client = |request| ask(request, Authority::Client);
        let row = |keyspace| put(user_key(keyspace), Bytes::new());
        assert_eq!(client(Request::Get { keys: vec![user_key(0)], at: None }), Ok(()));
        assert_eq!(client(write(vec![row(1), row(256)])), Ok(()));
        assert!(is_forbidden(client(write(vec![row(1), row(0)]))));
        let delete = |bounds| client(Request::DeleteRange { bounds, max_keys: 1 });
        assert!(is_forbidden(delete(KeyRange::all())));
        assert!(is_forbidden(delete(KeyRange { start: user_key(0), end: None })));
        let audit = Some(Key::bound(KeyspaceId::AUDIT, b""));
        assert_eq!(delete(KeyRange { start: Key::bound(KeyspaceId::DEFAULT, b""), end: audit }), Ok(()));
    }

    #[test]
    fn the_fleet_writes_records_under_their_own_names_and_nothing_else() {
        let fleet = |mutation| ask(write(vec![mutation]), Authority::Fleet);
        let site = SiteName::new("a").unwrap();
        let record = encode_store(&StoreRecord::new(StoreId(4), site.clone()));
        let store = |id| StateKey::Store(StoreId(id)).key();
        assert_eq!(fleet(put(store(4), record.clone())), Ok(()));
        assert_eq!(fleet(put(StateKey::NextStore.key(), encode_next_id(5))), Ok(()));
        let told = encode_site(&SiteRecord::new(site.clone(), None));
        let other = StateKey::Site(SiteName::new("b").unwrap()).key();
        let newer = holdfast_proto::v1::StoreRecord { version: 2, ..Default::default() };
        assert_eq!(fleet(put(store(4), prost::Message::encode_to_vec(&newer))), Ok(()), "an upgrade is under way");
        let zone = Some("z".repeat(limits::STORE_RECORD_BYTES));
        let long_store = encode_store(&StoreRecord { zone, ..StoreRecord::new(StoreId(4), site.clone()) });
        let long_site = encode_site(&SiteRecord::new(site.clone(), Some("i".repeat(limits::FLEET_RECORD_BYTES))));
        for bad in [
            put(store(5), record.clone()),
            put(other, told),
            put(store(4), b"nonsense".as_slice()),
            put(store(4), Bytes::new()),
            Mutation { key: store(4), value: None, expires_at: None },
            Mutation { expires_at: Some(Timestamp(9)), ..put(store(4), record.clone()) },
            put(Key::bound(KeyspaceId::SYSTEM, b"store/x"), record.clone()),
            put(StateKey::Operator(RangeId(1)).key(), Bytes::new()),
            put(user_key(1), record.clone()),
            put(StateKey::NextStore.key(), encode_next_id(limits::MAX_STORE_ID + 1)),
            put(StateKey::NextKeyspace.key(), encode_next_id(u64::from(u32::MAX) + 1)),
            put(store(4), long_store),
            put(StateKey::Site(site.clone()).key(), long_site),
        ] {
            assert!(is_forbidden(fleet(bad.clone())), "{bad:?}");
        }
        for name in ["store/00000000ffffffff", "range/ffffffffffffffff", "operator/ffffffffffffffff"] {
            assert_eq!(
                StateKey::parse(&Key::bound(KeyspaceId::SYSTEM, name.as_bytes())),
                None,
                "no store or range has that id"
            );
        }
        let delete = Request::DeleteRange { bounds: StateKey::all_stores(), max_keys: 1 };
        assert!(is_forbidden(ask(delete, Authority::Fleet)));
    }

    #[test]
    fn a_rotation_is_a_record_of_the_fleet_that_can_be_read() {
        let root = |byte| Fingerprint([byte; 32]);
        let rotation = Rotation {
            phase: RotationPhase::Add,
            new_root: root(9),
            old_roots: [root(1)].into(),
            begun_at: Timestamp(5),
            phase_at: Timestamp(5),
        };
        let record = put(StateKey::Rotation.key(), encode_rotation(&rotation));
        assert_eq!(ask(write(vec![record.clone()]), Authority::Fleet), Ok(()));
        assert!(is_forbidden(ask(write(vec![record.clone()]), Authority::Client)));
        let same_root = encode_rotation(&Rotation { old_roots: [root(9)].into(), ..rotation });
        for bad in [
            put(StateKey::Rotation.key(), same_root),
            put(StateKey::Rotation.key(), b"nonsense".as_slice()),
            Mutation { value: None, ..record },
        ] {
            assert!(is_forbidden(ask(write(vec![bad.clone()]), Authority::Fleet)), "{bad:?}");
        }
    }

    #[test]
    fn a_join_token_goes_when_it_expires_or_is_revoked_and_never_stays() {
        let (id, ends) = (TokenId::of(7), Timestamp(50));
        let token = TokenRecord {
            id,
            secret_sha256: [9; 32],
            site: SiteName::new("b").unwrap(),
            created_at: Timestamp(5),
            expires_at: ends,
            created_by: None,
            used: None,
        };
        let fleet = |mutation| ask(write(vec![mutation]), Authority::Fleet);
        let record = Mutation { expires_at: Some(ends), ..put(StateKey::JoinToken(id).key(), encode_token(&token)) };
        assert_eq!(fleet(record.clone()), Ok(()));
        assert_eq!(fleet(Mutation { value: None, expires_at: None, ..record.clone() }), Ok(()));
        for bad in [
            Mutation { expires_at: None, ..record.clone() },
            Mutation { expires_at: Some(Timestamp(51)), ..record.clone() },
            Mutation { key: StateKey::JoinToken(TokenId::of(8)).key(), ..record.clone() },
            Mutation { value: Some(Bytes::from_static(b"nonsense")), ..record.clone() },
        ] {
            assert!(is_forbidden(fleet(bad.clone())), "{bad:?}");
        }
        assert!(is_forbidden(ask(write(vec![record]), Authority::Client)));
    }

    #[test]
    fn the_fleet_writes_rights_under_their_own_names_and_takes_them_away() {
        let fleet = |mutation| ask(write(vec![mutation]), Authority::Fleet);
        let (readers, others) = (RoleName::new("readers").unwrap(), RoleName::new("others").unwrap());
        let change = |book: &Book, change| book.change(&change).unwrap().unwrap();
        let made = change(&Book::default(), Change::CreateRole(readers.clone()));
        let dropped = change(&made.book, Change::DropRole(readers));
        for mutation in made.mutations.iter().chain(&dropped.mutations) {
            assert_eq!(fleet(mutation.clone()), Ok(()), "{mutation:?}");
            assert!(is_forbidden(ask(write(vec![mutation.clone()]), Authority::Client)), "{mutation:?}");
        }
        let record = made.mutations.iter().find(|mutation| mutation.key != StateKey::RightsVersion.key()).unwrap();
        for bad in [
            Mutation { key: StateKey::Role(others).key(), ..record.clone() },
            Mutation { key: StateKey::RightsVersion.key(), value: None, expires_at: None },
            Mutation { expires_at: Some(Timestamp(9)), ..record.clone() },
            Mutation { value: Some(vec![0; limits::RIGHTS_RECORD_BYTES + 1].into()), ..record.clone() },
        ] {
            assert!(is_forbidden(fleet(bad.clone())), "{bad:?}");
        }
    }

    #[test]
    fn who_may_read_and_write_everything_writes_nothing_of_the_fleets_own() {
        let domain = TrustDomain::new("f").unwrap();
        let operator = Authority::Principal(Arc::new("spiffe://f/operator/ann".parse().unwrap()));
        let ask = |request| {
            let asker = Asker::of(operator.clone(), &Rights::unknown(domain.clone()));
            Permitted::check(RangeRequest { range: None, write: None, request }, &asker).map(|_| ())
        };
        let row = |keyspace| put(user_key(keyspace), Bytes::new());
        assert_eq!(ask(write(vec![row(1)])), Ok(()));
        assert_eq!(ask(Request::Get { keys: vec![user_key(0)], at: None }), Ok(()));
        assert!(is_forbidden(ask(write(vec![row(1), row(0)]))));
        assert!(is_forbidden(ask(write(vec![put(StateKey::NextStore.key(), encode_next_id(5))]))));
        assert!(is_forbidden(ask(Request::DeleteRange { bounds: KeyRange::all(), max_keys: 1 })));
    }

    /// A request as a store passes it on, and who is taken for its author by whoever gets it.
    fn passed_on(request: Request, author: impl FnOnce(&mut i32)) -> Result<Authority, BadMessage> {
        use holdfast_proto::v1::{self, store_message::Body};
        use prost::Message as _;
        let request = RangeRequest { range: None, write: None, request };
        let said = StoreMessage::Forward {
            id: CallId::new(0, 1),
            request,
            authority: Authority::Client,
            timeout_ms: 1,
            hops: 1,
        };
        let mut message = v1::StoreMessage::decode(said.encode().unwrap()).unwrap();
        if let Some(Body::Forward(forward)) = &mut message.body {
            author(&mut forward.author);
        }
        match StoreMessage::decode(&message.encode_to_vec().into())? {
            StoreMessage::Forward { authority, .. } => Ok(authority),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_an_older_program_passes_on_for_the_fleet_is_taken_for_it() {
        let row = |keyspace| put(user_key(keyspace), Bytes::new());
        let record = put(StateKey::NextStore.key(), encode_next_id(5));
        let unsaid = |request: Request| passed_on(request, |author| *author = 0);
        assert_eq!(unsaid(write(vec![record.clone()])), Ok(Authority::Fleet));
        assert_eq!(unsaid(write(vec![record.clone(), record.clone()])), Ok(Authority::Fleet));
        for of_a_client in [
            write(vec![row(1)]),
            write(vec![record.clone(), row(1)]),
            write(vec![]),
            Request::Get { keys: vec![user_key(0)], at: None },
            Request::DeleteRange { bounds: StateKey::all_stores(), max_keys: 1 },
        ] {
            assert_eq!(unsaid(of_a_client.clone()), Ok(Authority::Client), "{of_a_client:?}");
        }
        // Whoever says it is believed, as before; and nobody is taken for somebody that is not known.
        assert_eq!(passed_on(write(vec![record.clone()]), |_| {}), Ok(Authority::Client));
        assert_eq!(passed_on(write(vec![row(1)]), |author| *author = 2), Ok(Authority::Fleet));
        assert!(passed_on(write(vec![record]), |author| *author = 3).is_err());
    }

    #[test]
    fn nobody_brings_what_the_leader_does_by_itself() {
        let split = |at| AdminRequest::Split { at, right: RangeId(0) };
        assert_eq!(check_admin(&split(user_key(1))), Ok(()));
        assert_eq!(check_admin(&split(Key::MIN)), Ok(()));
        let long = Key::bound(KeyspaceId::DEFAULT, &[b'k'; limits::MAX_KEY_BYTES + 1]);
        let many = vec![ReplicaId(1); limits::MAX_RECONFIGURED + 1];
        let reconfigure = MembershipChange::Reconfigure { promote: vec![], demote: many };
        for bad in [
            split(user_key(0)),
            split(long),
            AdminRequest::ChangeMembership(reconfigure),
            AdminRequest::RaiseGcThreshold { threshold: Timestamp(u64::MAX) },
        ] {
            assert!(check_admin(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bounds_hold_for_everybody() {
        let large = put(user_key(1), vec![0; limits::MAX_VALUE_BYTES + 1]);
        let scan = |max_rows| Request::Scan {
            bounds: KeyRange::all(),
            reverse: false,
            max_rows,
            max_bytes: 1,
            at: None,
            mode: ScanMode::Count,
        };
        for authority in [Authority::Client, Authority::Fleet] {
            for bad in [write(vec![]), write(vec![large.clone()]), scan(0), scan(limits::MAX_SCAN_ROWS + 1)] {
                assert!(matches!(ask(bad, authority.clone()), Err(Rejected::Invalid(_))));
            }
        }
    }
}

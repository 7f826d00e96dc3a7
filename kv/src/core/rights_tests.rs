use bytes::Bytes;
use holdfast_placement::StateKey;
use holdfast_types::{
    Condition, Expected, Grant, Grantee, Key, KeyspaceId, Mutation, Request, RoleName, ScanMode, Scope, limits,
};
use proptest::prelude::*;

use super::*;

fn domain() -> TrustDomain {
    TrustDomain::new("f.example").unwrap()
}

fn principal(path: &str) -> Arc<Principal> {
    Arc::new(format!("spiffe://f.example/{path}").parse().unwrap())
}

fn client(name: &str) -> Clients {
    name.parse().unwrap()
}

fn to(name: &str) -> Grantee {
    Grantee::Clients(client(name))
}

fn role(name: &str) -> RoleName {
    RoleName::new(name).unwrap()
}

fn within(keyspace: u32, prefix: &[u8]) -> Scope {
    Scope::In { keyspace: KeyspaceId(keyspace), prefix: Bytes::copy_from_slice(prefix) }
}

fn grant(right: Right, scope: Scope) -> Grant {
    Grant::new(right, scope).unwrap()
}

fn key(keyspace: u32, user: &[u8]) -> Key {
    Key::bound(KeyspaceId(keyspace), user)
}

fn bounds(start: Key, end: Option<Key>) -> KeyRange {
    KeyRange { start, end }
}

fn changed(book: &Book, changes: &[Change]) -> Book {
    let apply = |book: Book, change: &Change| book.change(change).unwrap().map_or(book, |changed| changed.book);
    changes.iter().fold(book.clone(), apply)
}

/// The records of a book as the system range keeps them after these changes.
fn kept(changes: &[Change]) -> (Book, Vec<(Key, Bytes)>) {
    let (mut book, mut rows) = (Book::default(), BTreeMap::new());
    for change in changes {
        let Some(changed) = book.change(change).unwrap() else { continue };
        for Mutation { key, value, .. } in changed.mutations {
            match value {
                Some(value) => drop(rows.insert(key, value)),
                None => drop(rows.remove(&key)),
            }
        }
        book = changed.book;
    }
    (book, rows.into_iter().collect())
}

// ---- the model: a list of grants, looked through one by one

const NAMES: [&str; 3] = ["ann", "bob", "eve"];

#[derive(Clone, Debug)]
struct Model {
    direct: Vec<(usize, Grant)>,
    of_everybody: Vec<Grant>,
    of_roles: Vec<(usize, Grant)>,
    members: Vec<(usize, Option<usize>)>,
}

impl Model {
    fn changes(&self) -> Vec<Change> {
        let name = |at: usize| role(["r", "s"][at]);
        let mut changes = vec![Change::CreateRole(name(0)), Change::CreateRole(name(1))];
        changes.extend(self.direct.iter().map(|(who, grant)| Change::Grant(vec![grant.clone()], to(NAMES[*who]))));
        changes.extend(self.of_everybody.iter().map(|grant| Change::Grant(vec![grant.clone()], to("*"))));
        let of_role = |(at, grant): &(usize, Grant)| Change::Grant(vec![grant.clone()], Grantee::Role(name(*at)));
        changes.extend(self.of_roles.iter().map(of_role));
        let joins =
            |(at, who): &(usize, Option<usize>)| Change::Join(name(*at), client(who.map_or("*", |who| NAMES[who])));
        changes.extend(self.members.iter().map(joins));
        changes
    }

    fn grants_of(&self, who: usize) -> Vec<&Grant> {
        let is_in = |role: usize| {
            self.members.iter().any(|(at, member)| *at == role && member.is_none_or(|member| member == who))
        };
        let direct = self.direct.iter().filter(|(holder, _)| *holder == who).map(|(_, grant)| grant);
        let by_role = self.of_roles.iter().filter(|(role, _)| is_in(*role)).map(|(_, grant)| grant);
        direct.chain(&self.of_everybody).chain(by_role).collect()
    }

    fn is_closed(&self) -> bool {
        !(self.direct.is_empty() && self.of_everybody.is_empty() && self.of_roles.is_empty())
    }

    /// Whether a right holds at one key, by what its bytes begin with.
    fn holds(&self, who: usize, right: Right, key: &Key) -> bool {
        let fits = |grant: &&Grant| {
            grant.right() == right
                && match grant.scope() {
                    Scope::Everywhere => !key.keyspace().is_of_the_fleet(),
                    Scope::In { keyspace, prefix } => key.keyspace() == *keyspace && key.user_key().starts_with(prefix),
                }
        };
        let is_open = !self.is_closed() && matches!(right, Right::Read | Right::Write);
        (is_open && !key.keyspace().is_of_the_fleet()) || self.grants_of(who).iter().any(fits)
    }

    /// The same of bounds: what a scope covers changes at its ends only, so these keys speak for all others.
    fn holds_all(&self, who: usize, right: Right, bounds: &KeyRange) -> bool {
        let everywhere = Scope::Everywhere.keys();
        let ends = self.grants_of(who).into_iter().map(|grant| grant.scope().keys()).chain([everywhere]);
        let ends = ends.filter_map(|keys| keys.end).filter(|end| bounds.contains(end));
        ends.chain([bounds.start.clone()]).all(|key| self.holds(who, right, &key))
    }
}

fn any_user() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0_u8), Just(b'a'), Just(b'b'), Just(0xff)], 0..4)
}

fn any_key() -> impl Strategy<Value = Key> {
    (prop_oneof![Just(0_u32), 1..4_u32, Just(u32::MAX)], any_user()).prop_map(|(keyspace, user)| key(keyspace, &user))
}

fn any_grant() -> impl Strategy<Value = Grant> {
    let scope = prop_oneof![
        1 => Just(Scope::Everywhere),
        6 => (1..4_u32, any_user()).prop_map(|(keyspace, prefix)| within(keyspace, &prefix)),
    ];
    let right = prop_oneof![Just(Right::Read), Just(Right::Write), Just(Right::Admin)];
    (right, scope).prop_map(|(right, scope)| grant(right, scope))
}

fn any_model() -> impl Strategy<Value = Model> {
    let some = || proptest::collection::vec((0..3_usize, any_grant()), 0..6);
    let of_roles = proptest::collection::vec((0..2_usize, any_grant()), 0..6);
    let members = proptest::collection::vec((0..2_usize, proptest::option::weighted(0.8, 0..3_usize)), 0..4);
    (some(), proptest::collection::vec(any_grant(), 0..2), of_roles, members)
        .prop_map(|(direct, of_everybody, of_roles, members)| Model { direct, of_everybody, of_roles, members })
}

proptest! {
    #[test]
    fn compiled_rights_say_what_the_list_of_grants_says(
        model in any_model(),
        who in 0..3_usize,
        at in any_key(),
        ends in (any_key(), proptest::option::weighted(0.9, any_key())),
    ) {
        let (book, rows) = kept(&model.changes());
        prop_assert_eq!(&Book::read(&rows).unwrap(), &book);
        let rights = Rights::compile(domain(), &book);
        let view = rights.view(&principal(&format!("client/{}", NAMES[who])));
        let bounds = bounds(ends.0, ends.1);
        for right in [Right::Read, Right::Write, Right::Admin] {
            prop_assert_eq!(view.holds(right, &at), model.holds(who, right, &at), "{} at {}", right, at);
            if !bounds.is_empty() {
                prop_assert_eq!(view.holds_all(right, &bounds), model.holds_all(who, right, &bounds), "{} in {:?}", right, bounds);
            }
        }
        if !bounds.is_empty() {
            let some = model.grants_of(who).into_iter().any(|grant| grant.scope().keys().overlaps(&bounds));
            let is_open = !model.is_closed() && Scope::Everywhere.keys().overlaps(&bounds);
            prop_assert_eq!(view.concerns(&bounds), some || is_open);
        }
    }
}

// ---- whose word counts

fn get(key: Key) -> Request {
    Request::Get { keys: vec![key], at: None }
}

fn put(key: Key) -> Request {
    let mutation = Mutation { key, value: Some(Bytes::new()), expires_at: None };
    Request::Write { conditions: vec![], mutations: vec![mutation] }
}

fn ask(rights: &Rights, path: &str, request: &Request) -> Result<(), Rejected> {
    Asker::of(Authority::Principal(principal(path)), rights).check(request)
}

fn why(outcome: Result<(), Rejected>) -> String {
    match outcome {
        Err(Rejected::Forbidden(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn clients_do_as_before_until_the_first_grant_and_what_they_were_granted_from_then_on() {
    let open = Rights::compile(domain(), &changed(&Book::default(), &[Change::CreateRole(role("r"))]));
    for request in [get(key(1, b"k")), put(key(300, b"k"))] {
        assert_eq!(ask(&open, "client/ann", &request), Ok(()));
    }
    let given = Change::Grant(vec![grant(Right::Read, within(1, b"a/"))], to("ann"));
    let book = changed(&Book::default(), std::slice::from_ref(&given));
    assert!(book.is_closed() && Book::default().change(&given).unwrap().unwrap().closes);
    let closed = Rights::compile(domain(), &book);
    assert_eq!(ask(&closed, "client/ann", &get(key(1, b"a/1"))), Ok(()));
    for (who, request) in
        [("client/ann", put(key(1, b"a/1"))), ("client/ann", get(key(1, b"b"))), ("client/bob", get(key(1, b"a/1")))]
    {
        assert!(matches!(ask(&closed, who, &request), Err(Rejected::Forbidden(_))), "{who} {request:?}");
    }
    // Whoever takes the last grant away does not open the fleet by that.
    let Change::Grant(grants, grantee) = given else { unreachable!() };
    let none = changed(&book, &[Change::Revoke(grants, grantee)]);
    assert!(none.is_closed() && none.clients().is_empty());
    assert!(ask(&Rights::compile(domain(), &none), "client/bob", &get(key(1, b"k"))).is_err());
}

#[test]
fn what_the_fleet_keeps_is_read_by_operators_and_stores_alone() {
    let everything = [Right::Read, Right::Write, Right::Admin].map(|right| grant(right, Scope::Everywhere));
    let book = changed(&Book::default(), &[Change::Grant(everything.into(), to("*"))]);
    for rights in [Rights::compile(domain(), &book), Rights::unknown(domain())] {
        assert_eq!(ask(&rights, "operator/ann", &get(key(0, b"store/1"))), Ok(()));
        assert_eq!(ask(&rights, "operator/ann", &get(key(u32::MAX, b"entry"))), Ok(()));
        assert_eq!(ask(&rights, "operator/ann", &put(key(1, b"k"))), Ok(()));
        assert_eq!(ask(&rights, "site/b/store", &get(key(0, b"store/1"))), Ok(()));
        for request in [get(key(1, b"k")), put(key(1, b"k")), get(key(u32::MAX, b"entry"))] {
            assert!(ask(&rights, "site/b/store", &request).is_err(), "{request:?}");
        }
    }
    let rights = Rights::compile(domain(), &book);
    let scan = Request::Scan {
        bounds: KeyRange::all(),
        reverse: false,
        max_rows: 1,
        max_bytes: 1,
        at: None,
        mode: ScanMode::Count,
    };
    for request in [get(key(0, b"store/1")), get(key(u32::MAX, b"entry")), scan] {
        assert!(matches!(ask(&rights, "client/bob", &request), Err(Rejected::Forbidden(_))), "{request:?}");
    }
    assert!(why(ask(&rights, "client/bob", &get(key(0, b"x")))).contains("operators alone"));
}

#[test]
fn a_condition_is_a_read_and_bounds_are_checked_from_end_to_end() {
    let book = changed(
        &Book::default(),
        &[
            Change::Grant(vec![grant(Right::Write, within(1, b"a")), grant(Right::Write, within(1, b"b"))], to("ann")),
            Change::Grant(vec![grant(Right::Read, within(1, b"a"))], to("ann")),
        ],
    );
    let rights = Rights::compile(domain(), &book);
    let Request::Write { mutations, .. } = put(key(1, b"a1")) else { unreachable!() };
    let conditional = |on: &[u8]| Request::Write {
        conditions: vec![Condition { key: key(1, on), expected: Expected::Absent }],
        mutations: mutations.clone(),
    };
    assert_eq!(ask(&rights, "client/ann", &conditional(b"a1")), Ok(()));
    assert!(why(ask(&rights, "client/ann", &conditional(b"b1"))).contains("may not read /1/b1"));
    let delete = |end: &[u8]| Request::DeleteRange { bounds: bounds(key(1, b"a"), Some(key(1, end))), max_keys: 1 };
    assert_eq!(ask(&rights, "client/ann", &delete(b"c")), Ok(()), "by two grants that meet");
    assert!(ask(&rights, "client/ann", &delete(b"c\0")).is_err());
    let to_the_end = Request::DeleteRange { bounds: bounds(key(1, b"a"), None), max_keys: 1 };
    assert!(why(ask(&rights, "client/ann", &to_the_end)).contains("ON ALL KEYSPACES"));
}

#[test]
fn a_refusal_names_who_what_where_and_the_grant_that_is_missing() {
    let book = changed(&Book::default(), &[Change::Grant(vec![grant(Right::Read, within(256, b"a/"))], to("billing"))]);
    let said = why(ask(&Rights::compile(domain(), &book), "client/billing", &put(key(256, b"a/7"))));
    assert_eq!(
        said,
        "client billing may not write /256/a/7: an operator may give it with GRANT write ON KEYSPACE 256 TO CLIENT 'billing', or with PREFIX for \
         a part of it"
    );
    let fleet = lacks_fleet(&principal("client/billing")).to_string();
    assert!(fleet.contains("GRANT fleet TO CLIENT 'billing'"), "{fleet}");
}

#[test]
fn nobody_is_let_in_by_what_is_not_known() {
    let request = get(key(1, b"k"));
    let unknown = Rights::unknown(domain());
    assert!(matches!(ask(&unknown, "client/ann", &request), Err(Rejected::Unavailable(_))), "another store may know");
    let foreign = "spiffe://other.example/operator/ann".parse().unwrap();
    let foreign = Asker::of(Authority::Principal(Arc::new(foreign)), &Rights::compile(domain(), &Book::default()));
    assert!(why(foreign.check(&request)).contains("not of this fleet"));
    assert!(why(Asker::of(Authority::Client, &unknown).check(&request)).contains("names nobody"));
    assert!(why(ask(&Rights::insecure(), "operator/ann", &request)).contains("without TLS"));
    assert_eq!(Asker::of(Authority::Client, &Rights::insecure()).check(&request), Ok(()));
    assert!(matches!(Asker::new(Authority::Client).check(&request), Err(Rejected::Unavailable(_))));
    assert_eq!(Asker::fleet().check(&request), Ok(()));
}

#[test]
fn a_range_that_is_hidden_is_refused_in_words_that_name_no_key_but_those_asked_for() {
    let book = changed(&Book::default(), &[Change::Grant(vec![grant(Right::Read, within(1, b"a/"))], to("ann"))]);
    let asker = |rights: &Rights| Asker::of(Authority::Principal(principal("client/ann")), rights);
    let (known, unknown) = (Rights::compile(domain(), &book), Rights::unknown(domain()));
    let hidden = bounds(key(1, b"secret"), None);
    let told = |asked: KeyRange, reverse| why(asker(&known).check_told(&hidden, &asked, reverse));
    let before = told(bounds(Key::MIN, Some(key(1, b"z"))), true);
    assert!(
        before.starts_with("client ann may not read the keys before /1/z: ") && !before.contains("secret"),
        "{before}"
    );
    let last = told(bounds(Key::MIN, Key::keyspace_end(KeyspaceId(1))), true);
    assert!(last.contains("the last keys of keyspace 1") && last.contains("ON KEYSPACE 1"), "{last}");
    assert!(told(bounds(key(1, b"t"), None), false).contains("may not read /1/t"));
    assert_eq!(asker(&known).check_told(&bounds(key(1, b"a/5"), None), &KeyRange::all(), true), Ok(()));
    let refused = asker(&unknown).check_told(&hidden, &KeyRange::all(), true);
    assert!(matches!(refused, Err(Rejected::Unavailable(_))), "who knows nothing forbids nothing: {refused:?}");
}

#[test]
fn an_asker_looks_again_when_rights_have_changed_and_not_before() {
    let book = changed(&Book::default(), &[Change::Grant(vec![grant(Right::Read, within(1, b""))], to("ann"))]);
    let (with, without) =
        (Rights::compile(domain(), &book), Rights::compile(domain(), &changed(&book, &[Change::RevokeAll(to("ann"))])));
    let mut asker = Asker::new(Authority::Principal(principal("client/ann")));
    asker.look(1, || Arc::new(with));
    asker.look(1, || panic!("it has seen these"));
    assert_eq!(asker.check(&get(key(1, b"k"))), Ok(()));
    asker.look(2, || Arc::new(without));
    assert!(asker.check(&get(key(1, b"k"))).is_err());
}

/// The hot path: a stream that asks ten thousand times looks its rights up once, and once more when they have changed.
#[test]
fn ten_thousand_requests_look_rights_up_once_and_once_more_for_each_change() {
    const REQUESTS: usize = 10_000;
    let book = changed(&Book::default(), &[Change::Grant(vec![grant(Right::Read, within(1, b"a/"))], to("ann"))]);
    let taken = changed(&book, &[Change::RevokeAll(to("ann"))]);
    let handed_out = [&book, &taken].map(|book| Arc::new(Rights::compile(domain(), book)));
    let mut asker = Asker::new(Authority::Principal(principal("client/ann")));
    let (mut looked_up, mut refused) = (0, 0);
    let request = get(key(1, b"a/1"));
    for (generation, rights) in (1..).zip(&handed_out) {
        for _ in 0..REQUESTS {
            asker.look(generation, || {
                looked_up += 1;
                Arc::clone(rights)
            });
            refused += usize::from(asker.check(&request).is_err());
        }
        assert_eq!(looked_up, generation, "once for each change");
    }
    assert_eq!(refused, REQUESTS, "and what was taken away was gone for all that came after");
}

// ---- how grants change

#[test]
fn what_cannot_be_changed_is_refused_with_what_to_do_and_what_is_so_already_changes_nothing() {
    let read = grant(Right::Read, within(1, b""));
    let book = changed(&Book::default(), &[Change::CreateRole(role("r")), Change::Join(role("r"), client("ann"))]);
    let said = |change: Change| book.change(&change).unwrap_err().to_string();
    assert!(said(Change::CreateRole(role("r"))).contains("a role r already"));
    assert!(said(Change::DropRole(role("s"))).contains("CREATE ROLE s"));
    assert!(said(Change::Grant(vec![read.clone()], Grantee::Role(role("s")))).contains("CREATE ROLE s"));
    assert!(said(Change::Revoke(vec![read.clone()], to("ann"))).contains("SHOW GRANTS FOR CLIENT 'ann'"));
    assert!(said(Change::Leave(role("r"), client("bob"))).contains("no member"));
    assert_eq!(book.change(&Change::Join(role("r"), client("ann"))), Ok(None));
    assert_eq!(book.change(&Change::RevokeAll(to("ann"))), Ok(None), "it has none");
    let dropped = changed(&book, &[Change::DropRole(role("r"))]);
    assert!(dropped.roles().is_empty() && dropped.number() == 3);
}

#[test]
fn bounds_hold_and_say_what_to_do() {
    let many = |count: usize| {
        (0..count).map(|n| grant(Right::Read, within(1, format!("{n}/").as_bytes()))).collect::<Vec<_>>()
    };
    let most = changed(&Book::default(), &[Change::Grant(many(limits::GRANTS_OF_ONE), to("ann"))]);
    let more = Change::Grant(many(limits::GRANTS_OF_ONE + 1), to("ann"));
    assert!(most.change(&more).unwrap_err().to_string().contains("shorter prefix"));
    let roles: Vec<_> = (0..limits::MAX_ROLES).map(|n| Change::CreateRole(role(&format!("r{n}")))).collect();
    let book = changed(&Book::default(), &roles);
    assert!(book.change(&Change::CreateRole(role("one_more"))).is_err());
    let joins: Vec<_> =
        (0..limits::ROLES_OF_A_CLIENT).map(|n| Change::Join(role(&format!("r{n}")), client("ann"))).collect();
    assert!(changed(&book, &joins).change(&Change::Join(role("r99"), client("ann"))).is_err());
    let longest = |n: usize| format!("{n:0>64}");
    let crowd: Vec<_> = (0..limits::MEMBERS_OF_A_ROLE).map(|n| Change::Join(role("r0"), client(&longest(n)))).collect();
    let prefix = |n: usize| [&[0xff; limits::GRANT_PREFIX_BYTES - 2][..], &n.to_be_bytes()[6..]].concat();
    let long = (0..limits::GRANTS_OF_ONE).map(|n| grant(Right::Write, within(u32::MAX - 1, &prefix(n)))).collect();
    let full = changed(&changed(&book, &crowd), &[Change::Grant(long, Grantee::Role(role("r0")))]);
    assert!(full.change(&Change::Join(role("r0"), client("one-more"))).is_err());
    let record = records::encode_role(&role("r0"), &full.roles()[&role("r0")]);
    assert!(record.len() <= limits::RIGHTS_RECORD_BYTES, "{}", record.len());
    assert_eq!(decode_role(&record), Ok((role("r0"), full.roles()[&role("r0")].clone())));
}

#[test]
fn records_that_no_store_writes_are_refused() {
    let (book, rows) =
        kept(&[Change::CreateRole(role("r")), Change::Grant(vec![grant(Right::Read, within(1, b""))], to("ann"))]);
    assert_eq!(Book::read(&rows), Ok(book));
    let at = |key: StateKey| rows.iter().position(|(found, _)| *found == key.key()).unwrap();
    let (role_at, client_at, version_at) =
        (at(StateKey::Role(role("r"))), at(StateKey::ClientGrants(client("ann"))), at(StateKey::RightsVersion));
    let with = |place: usize, value: Bytes| {
        let mut rows = rows.clone();
        rows[place].1 = value;
        Book::read(&rows)
    };
    assert!(with(role_at, rows[client_at].1.clone()).is_err());
    assert!(
        with(client_at, records::encode_client_grants(&client("bob"), &BTreeSet::new())).is_err(),
        "under another name"
    );
    assert!(with(client_at, vec![0; limits::RIGHTS_RECORD_BYTES + 1].into()).is_err());
    assert!(with(version_at, records::encode_rights_version(u64::MAX, true)).is_err());
    let mut others = rows.clone();
    others.push((StateKey::NextStore.key(), Bytes::new()));
    assert!(Book::read(&others).is_err());
    // A version that was lost, or put back, opens nothing.
    assert!(with(version_at, records::encode_rights_version(0, false)).unwrap().is_closed());
}

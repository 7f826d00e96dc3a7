//! What judging a request costs where it enters: no memory, whoever asks and whatever he was granted. Rights are looked up once, and compared
//! with every request from then on.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use allocation_counter::measure;
use bytes::Bytes;
use holdfast_kv::core::permit::{Authority, Permitted};
use holdfast_kv::core::rights::{Asker, Book, Change, Rights};
use holdfast_types::{
    Clients, Condition, Expected, Grant, Grantee, Key, KeyRange, KeyspaceId, Mutation, RangeRequest, Request, Right,
    RoleName, ScanMode, Scope, TrustDomain, limits,
};

const KEYSPACE: KeyspaceId = KeyspaceId(256);

/// As many grants as one client can have, by as many roles.
fn most() -> Rights {
    let client: Clients = "ann".parse().unwrap();
    let grants = |of: usize| -> Vec<Grant> {
        let prefix = |n: usize| Bytes::from(format!("{of:02}/{n:02}/{}", "p".repeat(limits::GRANT_PREFIX_BYTES - 6)));
        let grant = |n: usize| {
            let right = if n.is_multiple_of(2) { Right::Read } else { Right::Write };
            Grant::new(right, Scope::In { keyspace: KEYSPACE, prefix: prefix(n / 2) }).unwrap()
        };
        (0..limits::GRANTS_OF_ONE).map(grant).collect()
    };
    let mut changes = vec![Change::Grant(grants(99), Grantee::Clients(client.clone()))];
    for of in 0..limits::ROLES_OF_A_CLIENT {
        let role = RoleName::new(&format!("r{of}")).unwrap();
        changes.push(Change::CreateRole(role.clone()));
        changes.push(Change::Grant(grants(of), Grantee::Role(role.clone())));
        changes.push(Change::Join(role, client.clone()));
    }
    let book = changes.iter().fold(Book::default(), |book, change| book.change(change).unwrap().unwrap().book);
    Rights::compile(TrustDomain::new("f").unwrap(), &book)
}

/// A key of the last role, and all keys that begin like it.
fn keys() -> (Key, KeyRange) {
    let of = limits::ROLES_OF_A_CLIENT - 1;
    let prefix = format!("{of:02}/07/{}", "p".repeat(limits::GRANT_PREFIX_BYTES - 6));
    let key = |user: String| Key::bound(KEYSPACE, user.as_bytes());
    let bounds = KeyRange { start: key(format!("{prefix}/a")), end: Some(key(format!("{prefix}/z"))) };
    (key(format!("{prefix}/k")), bounds)
}

fn requests() -> Vec<Request> {
    let (key, bounds) = keys();
    let mutation = Mutation { key: key.clone(), value: Some(Bytes::from_static(b"v")), expires_at: None };
    let condition = Condition { key: key.clone(), expected: Expected::Absent };
    vec![
        Request::Get { keys: vec![key; 16], at: None },
        Request::Scan {
            bounds: bounds.clone(),
            reverse: true,
            max_rows: 1,
            max_bytes: 1,
            at: None,
            mode: ScanMode::Rows,
        },
        Request::Write { conditions: vec![condition], mutations: vec![mutation] },
        Request::DeleteRange { bounds, max_keys: 1 },
    ]
}

#[test]
fn a_request_that_may_be_made_is_judged_without_taking_memory() {
    let rights = Arc::new(most());
    let principal = Arc::new("spiffe://f/client/ann".parse().unwrap());
    let mut asker = Asker::new(Authority::Principal(principal));
    asker.look(1, || Arc::clone(&rights));
    for request in requests() {
        let mut judged = None;
        let taken = measure(|| {
            asker.look(1, || Arc::clone(&rights));
            judged = Some(asker.check(&request));
        });
        assert_eq!(judged, Some(Ok(())), "{request:?}");
        assert_eq!(taken.count_total, 0, "{request:?}");
    }
}

#[test]
fn rights_add_no_memory_to_what_taking_a_request_in_takes_anyway() {
    let rights = most();
    let ann = Asker::of(Authority::Principal(Arc::new("spiffe://f/client/ann".parse().unwrap())), &rights);
    let nobody = Asker::of(Authority::Client, &Rights::insecure());
    for request in requests() {
        let taken = |asker: &Asker| {
            let asked = RangeRequest { range: None, write: None, request: request.clone() };
            let mut permitted = None;
            let taken = measure(|| permitted = Some(Permitted::check(asked, asker)));
            assert!(permitted.unwrap().is_ok(), "{request:?}");
            taken.count_total
        };
        assert_eq!(taken(&ann), taken(&nobody), "{request:?}");
    }
}

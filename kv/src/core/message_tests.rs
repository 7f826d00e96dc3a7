use holdfast_engine::SnapshotFile;
use holdfast_replica::{MembershipChange, Stamp};
use holdfast_types::{Generation, KeyRange, KeyspaceId, RangeEpoch, ReplicaDescriptor, Request, Role, VersionedValue};

use super::*;

fn descriptor() -> RangeDescriptor {
    let replica = ReplicaDescriptor {
        replica: ReplicaId(1),
        store: StoreId(1),
        site: SiteName::new("a").unwrap(),
        role: Role::Voter,
    };
    RangeDescriptor {
        range: RangeId(7),
        bounds: KeyRange::all(),
        epoch: RangeEpoch { membership: 2, bounds: 3 },
        replicas: vec![replica],
        next_replica: ReplicaId(2),
    }
}

fn envelope() -> RaftEnvelope {
    RaftEnvelope {
        range: RangeId(7),
        from: ReplicaId(1),
        to: ReplicaId(2),
        descriptor: Some(descriptor()),
        stamp: Some(Stamp { incarnation: Incarnation(3), generation: Generation(4) }),
        message: Bytes::from_static(b"raft"),
    }
}

fn report() -> StoreReport {
    StoreReport {
        store: StoreId(1),
        site: SiteName::new("a").unwrap(),
        incarnation: Incarnation(2),
        worker: 1,
        workers: 2,
        disk_total_bytes: 3,
        disk_free_bytes: 4,
        disk_ok: true,
        cores: 5,
        used_millicores: 6,
        replicas: 7,
        draining: true,
        directory_version: 8,
        damaged: vec![(RangeId(14), ReplicaId(15))],
        part: ReportPart { report: 16, part: 1, parts: 3 },
        ranges: vec![RangeReport {
            descriptor: descriptor(),
            term: Term(9),
            has_lease: true,
            size_bytes: 10,
            reads_per_second: 11,
            writes_per_second: 12,
            write_bytes_per_second: 13,
            caught_up: vec![ReplicaId(1)],
        }],
    }
}

fn every_message() -> Vec<StoreMessage> {
    let id = CallId::new(3, 99);
    let hint = RangeHint { descriptor: descriptor(), term: Term(5), leader: Some(StoreId(1)) };
    let key = Key::bound(KeyspaceId(1), b"k");
    let request =
        RangeRequest { range: None, write: None, request: Request::Get { keys: vec![key.clone()], at: None } };
    let value = VersionedValue { value: Bytes::from_static(b"v"), timestamp: Timestamp(9), expires_at: None };
    let outcome = Ok(Response::Got { values: vec![Some(value), None] });
    let manifest = SnapshotManifest {
        id: SnapshotId(1 << 100),
        range: RangeId(7),
        bounds: KeyRange::all(),
        range_state: Bytes::from_static(b"state"),
        files: vec![SnapshotFile { size_bytes: 1, checksum: 2 }],
        checksum: 3,
    };
    let admin = |request| StoreMessage::Admin { id, range: RangeId(7), request, timeout_ms: 5, hops: 1 };
    let change = |change| admin(AdminRequest::ChangeMembership(change));
    vec![
        StoreMessage::Raft(envelope()),
        StoreMessage::Unled { range: RangeId(7), term: Term(1) },
        StoreMessage::UnledNoted { range: RangeId(7), term: Term(1) },
        StoreMessage::AskLeader { range: RangeId(7), term: Term(1) },
        StoreMessage::Forward { id, request: request.clone(), authority: Authority::Client, timeout_ms: 100, hops: 1 },
        StoreMessage::Forward { id, request: request.clone(), authority: Authority::Fleet, timeout_ms: 100, hops: 1 },
        StoreMessage::Forward {
            id,
            request: request.clone(),
            authority: named("client/ann"),
            timeout_ms: 100,
            hops: 1,
        },
        StoreMessage::Forward { id, request, authority: named("site/b/store"), timeout_ms: 100, hops: 1 },
        StoreMessage::ForwardAnswer { id, outcome, fleet_now: Timestamp(1), hints: vec![hint.clone()] },
        StoreMessage::Locate { id, key: key.clone() },
        StoreMessage::Located { id, hints: vec![hint] },
        admin(AdminRequest::Split { at: key, right: RangeId(0) }),
        change(MembershipChange::AddLearner { store: StoreId(1), site: SiteName::new("a").unwrap() }),
        change(MembershipChange::Reconfigure { promote: vec![ReplicaId(1)], demote: vec![ReplicaId(2)] }),
        change(MembershipChange::RemoveLearner { replica: ReplicaId(1) }),
        admin(AdminRequest::Transfer { to: ReplicaId(1) }),
        admin(AdminRequest::RaiseGcThreshold { threshold: Timestamp(1) }),
        StoreMessage::AdminAnswer { id, outcome: Ok(AdminOutcome { descriptor: descriptor() }) },
        StoreMessage::AdminAnswer { id, outcome: Err(Rejected::Unavailable("why".into())) },
        StoreMessage::Report(Box::new(report())),
        StoreMessage::ReportAnswer {
            leader: None,
            directory_version: 1,
            directory: vec![Bytes::from_static(b"x")],
            sites: vec![SiteTrust {
                distrusted_at: Some(Timestamp(7)),
                ..SiteTrust::never_doubted(SiteName::new("b").unwrap())
            }],
        },
        StoreMessage::SnapshotOffer { envelope: envelope(), manifest: Box::new(manifest) },
        StoreMessage::SnapshotChunk {
            range: RangeId(7),
            snapshot: SnapshotId(1),
            file: 2,
            offset: 3,
            data: Bytes::from_static(b"d"),
            last: true,
        },
        StoreMessage::SnapshotProgress {
            range: RangeId(7),
            snapshot: SnapshotId(1),
            state: SnapshotState::Busy,
            received: vec![1, 2],
        },
    ]
}

fn named(path: &str) -> Authority {
    Authority::Principal(std::sync::Arc::new(format!("spiffe://f/{path}").parse().unwrap()))
}

#[test]
fn a_principal_that_is_none_or_that_asks_for_the_fleet_is_refused() {
    use holdfast_proto::v1::{self, store_message::Body};
    let request = RangeRequest { range: None, write: None, request: Request::Get { keys: vec![Key::MIN], at: None } };
    let told = |author: v1::Author, principal: &str| {
        let (request, principal) = (Some(request.clone().into()), principal.to_owned());
        let forward = v1::Forward { forward_id: 1, request, timeout_ms: 1, hops: 1, author: author.into(), principal };
        let message = v1::StoreMessage { version: 1, body: Some(Body::Forward(forward)) };
        match StoreMessage::decode(&message.encode_to_vec().into()) {
            Ok(StoreMessage::Forward { authority, .. }) => Some(authority),
            Ok(other) => panic!("{other:?}"),
            Err(bad) => {
                assert!(bad.to_string().len() < 512, "{bad}");
                None
            }
        }
    };
    assert_eq!(told(v1::Author::Client, "spiffe://f/client/ann"), Some(named("client/ann")));
    assert_eq!(told(v1::Author::Client, ""), Some(Authority::Client));
    let long = format!("spiffe://f/client/{}", "x".repeat(100_000));
    for principal in ["ann", "spiffe://f/client/", "spiffe://f/site/b", "https://f/client/ann", &long] {
        assert_eq!(told(v1::Author::Client, principal), None);
    }
    for author in [v1::Author::Fleet, v1::Author::Unspecified] {
        assert_eq!(told(author, "spiffe://f/operator/ann"), None, "{author:?}");
    }
}

#[test]
fn every_message_round_trips() {
    for message in every_message() {
        assert_eq!(StoreMessage::decode(&message.encode().unwrap()), Ok(message));
    }
}

#[test]
fn answers_find_the_worker_that_asked() {
    let answer = StoreMessage::Located { id: CallId::new(3, 99), hints: Vec::new() };
    assert_eq!(answer.route(), Route::Worker(3));
    assert_eq!(CallId::new(3, 99).number(), 99);
}

#[test]
fn unknown_version_and_garbage_are_refused() {
    let newer = holdfast_proto::v1::StoreMessage { version: 2, body: None }.encode_to_vec();
    assert!(matches!(StoreMessage::decode(&newer.into()), Err(BadMessage::UnknownVersion { found: 2, .. })));
    assert!(StoreMessage::decode(&Bytes::from_static(b"\xff\xff")).is_err());
    assert!(StoreMessage::decode(&Bytes::new()).is_err());
}

#[test]
fn numbers_that_code_behind_the_decoder_would_fail_on_are_refused_by_it() {
    let nobody = ReplicaDescriptor { replica: ReplicaId(0), ..descriptor().replicas[0].clone() };
    let with_nobody = RangeDescriptor { replicas: vec![nobody], ..descriptor() };
    let envelope_with_nobody = RaftEnvelope { to: ReplicaId(0), descriptor: Some(with_nobody), ..envelope() };
    let files = vec![SnapshotFile { size_bytes: u64::MAX, checksum: 1 }; 2];
    let id = SnapshotId(1);
    let too_large = SnapshotManifest::sealed(id, RangeId(7), KeyRange::all(), Bytes::new(), files);
    let offer = StoreMessage::SnapshotOffer { envelope: envelope(), manifest: Box::new(too_large) };
    for message in [StoreMessage::Raft(envelope_with_nobody), offer] {
        let bytes = message.encode().unwrap();
        assert!(matches!(StoreMessage::decode(&bytes), Err(BadMessage::Malformed(_))), "{message:?}");
    }
}

#[test]
fn what_is_told_leaves_room_to_count_on_from_it() {
    let told = |message: &StoreMessage| StoreMessage::decode(&message.encode().unwrap()).is_ok();
    let unled = |term| StoreMessage::Unled { range: RangeId(7), term: Term(term) };
    assert!(told(&unled(limits::MAX_TOLD)) && !told(&unled(limits::MAX_TOLD + 1)));
    let described = |change: fn(&mut RangeDescriptor)| {
        let mut descriptor = descriptor();
        change(&mut descriptor);
        let hint = RangeHint { descriptor: descriptor.clone(), term: Term(5), leader: None };
        let located = StoreMessage::Located { id: CallId::new(0, 1), hints: vec![hint] };
        let raft = StoreMessage::Raft(RaftEnvelope { descriptor: Some(descriptor), ..envelope() });
        (told(&located), told(&raft))
    };
    assert_eq!(described(|_| {}), (true, true));
    for change in [
        |descriptor: &mut RangeDescriptor| descriptor.epoch.membership = limits::MAX_TOLD + 1,
        |descriptor: &mut RangeDescriptor| descriptor.epoch.bounds = limits::MAX_COUNTED,
        |descriptor: &mut RangeDescriptor| descriptor.next_replica = ReplicaId(limits::MAX_TOLD + 1),
    ] {
        assert_eq!(described(change), (false, false));
    }
    let late = Timestamp::from_ms(limits::MAX_TOLD_WALL_MS).next();
    let id = CallId::new(0, 1);
    let outcome = Err(Rejected::DeadlineExceeded);
    assert!(!told(&StoreMessage::ForwardAnswer { id, outcome, fleet_now: late, hints: Vec::new() }));
}

#[test]
fn figures_that_are_reported_are_bounded_before_placement_adds_them() {
    let range = RangeReport {
        size_bytes: u64::MAX,
        reads_per_second: u64::MAX,
        writes_per_second: u64::MAX,
        write_bytes_per_second: u64::MAX,
        ..report().ranges[0].clone()
    };
    let told = StoreReport { disk_total_bytes: u64::MAX, used_millicores: u64::MAX, ranges: vec![range], ..report() };
    let bytes = StoreMessage::Report(Box::new(told)).encode().unwrap();
    let Ok(StoreMessage::Report(heard)) = StoreMessage::decode(&bytes) else { panic!("a report is well-formed") };
    let range = &heard.ranges[0];
    let requests = range.reads_per_second.checked_add(range.writes_per_second);
    assert!(requests.and_then(|requests| requests.checked_mul(1_000)).is_some(), "{heard:?}");
    assert!(
        [heard.disk_total_bytes, heard.used_millicores, range.size_bytes]
            .iter()
            .all(|figure| *figure < u64::MAX / 1_000)
    );
}

#[test]
fn a_message_of_more_fields_than_any_store_sends_is_refused_before_it_is_decoded() {
    let hints = vec![holdfast_proto::v1::RangeHint::default(); limits::MAX_REQUEST_FIELDS + 1];
    let located = holdfast_proto::v1::Located { hints, ..Default::default() };
    let body = Some(holdfast_proto::v1::store_message::Body::Located(located));
    let message = holdfast_proto::v1::StoreMessage { version: VERSION, body };
    let refused = StoreMessage::decode(&message.encode_to_vec().into()).unwrap_err();
    assert!(refused.to_string().contains("fields"), "{refused}");
}

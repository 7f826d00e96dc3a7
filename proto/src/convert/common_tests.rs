//! Whatever the types can say comes back unchanged over the wire.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

use holdfast_types::Slot;

use super::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn a_key() -> impl Strategy<Value = Key> {
    (any::<u32>(), vec(any::<u8>(), 0..9)).prop_map(|(k, user)| Key::bound(holdfast_types::KeyspaceId(k), &user))
}

fn bounds() -> impl Strategy<Value = KeyRange> {
    (prop_oneof![Just(Key::MIN), a_key()], option::of(a_key())).prop_map(|(start, end)| KeyRange { start, end })
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    (1..=Timestamp::from_ms(limits::MAX_TOLD_WALL_MS).0).prop_map(Timestamp)
}

/// What counts: up to the bound of its kind.
fn counted() -> impl Strategy<Value = u64> {
    prop_oneof![0..9_u64, 0..=limits::MAX_TOLD, Just(limits::MAX_TOLD)]
}

fn versioned() -> impl Strategy<Value = VersionedValue> {
    (bytes(), timestamp(), option::of(timestamp())).prop_map(|(value, timestamp, expires_at)| VersionedValue {
        value,
        timestamp,
        expires_at,
    })
}

fn a_condition() -> impl Strategy<Value = Condition> {
    let expected = prop_oneof![
        Just(Expected::Absent),
        bytes().prop_map(Expected::Value),
        any::<u64>().prop_map(|v| Expected::Version(Timestamp(v))),
    ];
    (a_key(), expected).prop_map(|(key, expected)| Condition { key, expected })
}

fn mutation() -> impl Strategy<Value = Mutation> {
    (a_key(), option::of(bytes()), option::of(timestamp())).prop_map(|(key, value, expires_at)| Mutation {
        key,
        value,
        expires_at,
    })
}

fn mode() -> impl Strategy<Value = ScanMode> {
    prop_oneof![Just(ScanMode::Rows), Just(ScanMode::Keys), Just(ScanMode::Count)]
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (vec(a_key(), 0..4), option::of(timestamp())).prop_map(|(keys, at)| Request::Get { keys, at }),
        (bounds(), any::<bool>(), any::<u32>(), any::<u32>(), option::of(timestamp()), mode()).prop_map(
            |(bounds, reverse, max_rows, max_bytes, at, mode)| {
                Request::Scan { bounds, reverse, max_rows, max_bytes, at, mode }
            }
        ),
        (vec(a_condition(), 0..3), vec(mutation(), 0..3))
            .prop_map(|(conditions, mutations)| Request::Write { conditions, mutations }),
        (bounds(), any::<u32>()).prop_map(|(bounds, max_keys)| Request::DeleteRange { bounds, max_keys }),
    ]
}

fn attempt() -> impl Strategy<Value = WriteAttempt> {
    (1..=u128::MAX, 0..limits::MAX_SLOTS, counted(), any::<u32>(), any::<u64>()).prop_map(
        |(client, slot, sequence, attempt, last)| WriteAttempt {
            id: RequestId { client: ClientId(client), slot: Slot(slot), sequence: Sequence(sequence) },
            attempt,
            last_moment: Timestamp(last),
        },
    )
}

fn range_request() -> impl Strategy<Value = RangeRequest> {
    let epoch = (counted(), counted()).prop_map(|(membership, bounds)| RangeEpoch { membership, bounds });
    let range = option::of((1..=RangeId::MAX.0, epoch).prop_map(|(id, epoch)| (RangeId(id), epoch)));
    (range, option::of(attempt()), request()).prop_map(|(range, write, request)| RangeRequest { range, write, request })
}

fn descriptor() -> impl Strategy<Value = RangeDescriptor> {
    (1..99u64, 1..6u64, counted(), 0..4u8).prop_map(|(range, voters, epoch, extra)| {
        let replica = |id: u64, role| ReplicaDescriptor {
            replica: ReplicaId(id),
            store: StoreId(id + 100),
            site: SiteName::new(&format!("site-{id}")).expect("legal"),
            role,
        };
        let mut replicas: Vec<_> = (1..=voters).map(|id| replica(id, Role::Voter)).collect();
        replicas.push(replica(
            voters + 1,
            [Role::Voter, Role::Learner, Role::IncomingVoter, Role::OutgoingVoter][usize::from(extra)],
        ));
        RangeDescriptor {
            range: RangeId(range),
            bounds: KeyRange::all(),
            epoch: RangeEpoch { membership: epoch, bounds: epoch / 2 },
            replicas,
            next_replica: ReplicaId(voters + 2),
        }
    })
}

fn response() -> impl Strategy<Value = Response> {
    let row = (a_key(), versioned()).prop_map(|(key, value)| Row { key, value });
    prop_oneof![
        vec(option::of(versioned()), 0..4).prop_map(|values| Response::Got { values }),
        (vec(row, 0..4), any::<u32>(), option::of(a_key()), timestamp(), option::of((a_key(), option::of(a_key()))),)
            .prop_map(|(rows, counted, resume, at, within)| {
                let within = within.map(|(start, end)| Box::new(KeyRange { start, end }));
                Response::Scanned { rows, counted, resume, at, within }
            }),
        timestamp().prop_map(|timestamp| Response::Written { timestamp }),
        (any::<u32>(), option::of(versioned())).prop_map(|(index, actual)| Response::ConditionFailed { index, actual }),
        (any::<u32>(), option::of(a_key()), timestamp())
            .prop_map(|(deleted, resume, timestamp)| Response::RangeDeleted { deleted, resume, timestamp }),
    ]
}

fn hint() -> impl Strategy<Value = LeaderHint> {
    (1..=StoreId::MAX.0, option::of("[a-z:0-9]{1,9}"))
        .prop_map(|(store, address)| LeaderHint { store: StoreId(store), address })
}

fn rejected() -> impl Strategy<Value = Rejected> {
    prop_oneof![
        ".{0,9}".prop_map(Rejected::Invalid),
        (0..=RangeId::MAX.0, option::of(hint()))
            .prop_map(|(range, leader)| Rejected::NotLeader { range: RangeId(range), leader }),
        vec(descriptor(), 0..3).prop_map(|known| Rejected::WrongRange { known }),
        a_key().prop_map(|split_key| Rejected::SpansRanges { split_key }),
        (0..9_999u64).prop_map(|ms| Rejected::Busy { retry_after: Duration::from_millis(ms) }),
        Just(Rejected::StaleSequence),
        Just(Rejected::RequestReused),
        timestamp().prop_map(|now| Rejected::PastLastMoment { now }),
        timestamp().prop_map(|threshold| Rejected::BelowGcThreshold { threshold }),
        ".{0,9}".prop_map(Rejected::Ambiguous),
        Just(Rejected::DeadlineExceeded),
        ".{0,9}".prop_map(Rejected::Unavailable),
        ".{0,9}".prop_map(Rejected::Forbidden),
    ]
}

fn over_the_wire<M: Message + Default>(message: M) -> M {
    M::decode(message.encode_to_vec().as_slice()).expect("decodes")
}

proptest! {
    #[test]
    fn requests_come_back_unchanged(request in range_request()) {
        let sent = over_the_wire(v1::RangeRequest::from(request.clone()));
        prop_assert_eq!(RangeRequest::try_from(sent), Ok(request));
    }

    #[test]
    fn answers_come_back_unchanged(answer in prop_oneof![response().prop_map(Ok), rejected().prop_map(Err)]) {
        let sent = over_the_wire(v1::RangeResponse::from(answer.clone()));
        prop_assert_eq!(outcome(sent), Ok(answer));
    }

    #[test]
    fn descriptors_come_back_unchanged(descriptor in descriptor()) {
        let sent = over_the_wire(v1::RangeDescriptor::from(descriptor.clone()));
        prop_assert_eq!(RangeDescriptor::try_from(sent), Ok(descriptor));
    }

    #[test]
    fn ids_come_back_unchanged(id in any::<u128>()) {
        prop_assert_eq!(u128::from(over_the_wire(v1::Id128::from(id))), id);
    }

    #[test]
    fn garbage_is_refused_or_read_but_never_panics(garbage in vec(any::<u8>(), 0..200)) {
        if let Ok(request) = v1::RangeRequest::decode(garbage.as_slice()) {
            let _ = RangeRequest::try_from(request);
        }
        if let Ok(response) = v1::RangeResponse::decode(garbage.as_slice()) {
            let _ = outcome(response);
        }
    }
}

#[test]
fn slots_and_clients_out_of_bounds_are_refused() {
    let id = |client: u128, slot| v1::RequestId { client: Some(client.into()), slot, sequence: 1 };
    assert!(RequestId::try_from(id(1, 1_023)).is_ok());
    assert!(RequestId::try_from(id(1, 1_024)).is_err());
    assert!(RequestId::try_from(id(1, 70_000)).is_err());
    assert!(RequestId::try_from(id(0, 0)).is_err());
    assert!(RequestId::try_from(v1::RequestId { client: None, slot: 0, sequence: 1 }).is_err());
}

#[test]
fn a_descriptor_that_breaks_its_invariants_is_refused() {
    let empty = v1::RangeDescriptor {
        range_id: 1,
        bounds: Some(KeyRange::all().into()),
        epoch: None,
        replicas: vec![],
        next_replica_id: 1,
    };
    assert!(RangeDescriptor::try_from(empty).is_err());
}

#[test]
fn numbers_out_of_bounds_are_refused() {
    let request = |range_id, membership, sequence| {
        let epoch = Some(v1::RangeEpoch { membership, bounds: 1 });
        let id = v1::RequestId { client: Some(1_u128.into()), slot: 0, sequence };
        let write = Some(v1::WriteAttempt { id: Some(id), attempt: 1, last_moment: u64::MAX });
        let body = Some(range_request::Body::Get(v1::RangeGet { keys: vec![], at: u64::MAX }));
        RangeRequest::try_from(v1::RangeRequest { range_id, epoch, write, body })
    };
    assert!(request(1, 1, 1).is_ok(), "what is only compared may be any");
    for (range_id, membership, sequence) in [(u64::MAX, 1, 1), (1, u64::MAX, 1), (1, 1, u64::MAX)] {
        assert!(request(range_id, membership, sequence).is_err(), "{range_id} {membership} {sequence}");
    }
    let descriptor = |replica_id, store_id, next_replica_id| {
        let role = v1::ReplicaRole::Voter.into();
        let replicas = vec![v1::ReplicaDescriptor { replica_id, store_id, site: "a".into(), role }];
        let bounds = Some(KeyRange::all().into());
        RangeDescriptor::try_from(v1::RangeDescriptor { range_id: 1, bounds, epoch: None, replicas, next_replica_id })
    };
    assert!(descriptor(1, 1, 2).is_ok());
    assert!(descriptor(1, 1, u64::MAX).is_err());
    assert!(descriptor(1, u64::MAX, 2).is_err());
    let rejection = |reason| Rejected::try_from(v1::Rejection { message: String::new(), reason: Some(reason) });
    let busy = rejection(rejection::Reason::Busy(v1::Busy { retry_after_ms: u64::MAX }));
    assert_eq!(busy, Ok(Rejected::Busy { retry_after: limits::MAX_DEADLINE }), "nobody waits for ever");
    assert!(rejection(rejection::Reason::PastLastMoment(v1::PastLastMoment { now: u64::MAX })).is_err());
}

#[test]
fn a_range_has_no_more_replicas_than_any_policy_wants() {
    let replica = |id: u64| v1::ReplicaDescriptor {
        replica_id: id,
        store_id: id,
        site: "a".into(),
        role: v1::ReplicaRole::Voter.into(),
    };
    let range = |replicas: u64| v1::RangeDescriptor {
        range_id: 7,
        bounds: Some(KeyRange::all().into()),
        epoch: None,
        replicas: (1..=replicas).map(replica).collect(),
        next_replica_id: replicas + 1,
    };
    let most = limits::MAX_REPLICAS as u64;
    assert!(RangeDescriptor::try_from(range(most)).is_ok());
    let refused = RangeDescriptor::try_from(range(most + 1)).unwrap_err();
    assert!(refused.to_string().contains("65 replicas"), "{refused}");
}

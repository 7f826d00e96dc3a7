//! Where the fuzzer begins, and what every test run repeats: real messages, and attacks that once ended a store.

mod certificates;
mod disks;
mod rows;
mod texts;

use bytes::Bytes;
use holdfast_engine::{SnapshotFile, SnapshotId, SnapshotManifest};
use holdfast_kv::core::message::{CallId, SnapshotState, StoreMessage};
use holdfast_kv::core::records::encode_next_id;
use holdfast_placement::{SiteTrust, StateKey};
use holdfast_proto::v1;
use holdfast_raft_transport::hostile;
use holdfast_replica::{AdminRequest, RaftEnvelope};
use holdfast_types::{
    Key, KeyRange, KeyspaceId, LogIndex, RangeDescriptor, RangeId, ReplicaId, SiteName, StoreId, Term, Timestamp,
};
use prost::Message;

use crate::pieces::join;
use crate::store::{SHARED, Store, entry};

/// One input.
pub struct Seed {
    /// The target.
    pub target: &'static str,
    /// What it is.
    pub name: String,
    /// The bytes.
    pub input: Vec<u8>,
}

const MOST: u64 = u64::MAX;

/// All of them.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    links(&mut seeds);
    heartbeats(&mut seeds);
    messages(&mut seeds);
    raft(&mut seeds);
    manifests(&mut seeds);
    records(&mut seeds);
    changes_of_replicas(&mut seeds);
    clients(&mut seeds);
    others(&mut seeds);
    disks::seeds(&mut seeds);
    texts::seeds(&mut seeds);
    rows::seeds(&mut seeds);
    certificates::seeds(&mut seeds);
    seeds
}

fn add(seeds: &mut Vec<Seed>, target: &'static str, name: impl Into<String>, pieces: &[(u8, &[u8])]) {
    seeds.push(Seed { target, name: name.into(), input: join(pieces) });
}

fn links(seeds: &mut Vec<Seed>) {
    let framed = |frame: &[u8]| {
        let length = u32::try_from(frame.len()).expect("short").to_be_bytes();
        [&length[..], frame].concat()
    };
    for (name, frame) in hostile::first_frames() {
        for tag in 0..4 {
            add(seeds, "link_frames", format!("{name}, {tag}"), &[(tag, &frame), (tag, &frame)]);
        }
        let framed = framed(&frame);
        let (first, second) = framed.split_at(framed.len() / 2);
        add(seeds, "support_frames", name, &[(0, first), (0, second), (0, &[0, 0, 0, 0])]);
    }
    let hello = |change: fn(&mut v1::LinkHello)| {
        let mut frame = v1::LinkFrame::decode(hostile::first_frames()[1].1.clone()).expect("a hello");
        if let Some(v1::link_frame::Body::Hello(hello)) = &mut frame.body {
            change(hello);
        }
        frame.encode_to_vec()
    };
    type Change = fn(&mut v1::LinkHello);
    let attacks: [(&str, Change); 5] = [
        ("a site of 4,010 letters", |hello| hello.site = "s".repeat(4_010)),
        ("the last incarnation", |hello| hello.incarnation = MOST),
        ("the last counter", |hello| hello.started_at = MOST),
        ("the last store", |hello| hello.from_store_id = MOST),
        ("many formats", |hello| {
            hello.formats = vec![v1::LinkFormat { name: "f".repeat(180), oldest: 3, newest: u32::MAX }; 16];
        }),
    ];
    for (name, attack) in attacks {
        let frame = hello(attack);
        add(seeds, "link_frames", name, &[(0, &frame)]);
        add(seeds, "support_frames", name, &[(0, &framed(&frame))]);
    }
    for reason in [v1::LinkRefusal::OldIncarnation, v1::LinkRefusal::PutBack, v1::LinkRefusal::RunsElsewhere] {
        for counted in [MOST, MOST - 1, 1 << 62, 1 << 48, 9] {
            let refused = v1::LinkRefused {
                reason: reason.into(),
                incarnation: counted,
                counter: counted,
                ..v1::LinkRefused::default()
            };
            let frame = v1::LinkFrame { body: Some(v1::link_frame::Body::Refused(refused)) }.encode_to_vec();
            add(seeds, "link_frames", format!("{reason:?} of {counted}"), &[(1, &frame), (3, &frame), (1, &frame)]);
        }
    }
}

fn heartbeats(seeds: &mut Vec<Seed>) {
    let real = Store::founded().heartbeats;
    for (number, bytes) in real.iter().take(4).enumerate() {
        add(seeds, "heartbeats", format!("real {number}"), &[(16, bytes), (17, bytes), (255, bytes)]);
    }
    let said = v1::SupportMessage { version: 1, incarnation: 1, ..v1::SupportMessage::default() };
    let answer =
        |asked_at, generation| v1::SupportAnswer { asker_incarnation: 1, asked_at, answered_at: MOST, generation };
    let refusal = |seen| v1::SupportRefusal { asker_incarnation: 1, seen_incarnation: seen, seen_counter: seen };
    let question = |at| v1::SupportQuestion {
        asked_at: at,
        wants_promise: true,
        echo_incarnation: 1,
        echo_answered_at: at,
        disk_full: true,
        hears_streams: true,
    };
    let attacks = [
        ("a counter", v1::SupportMessage { counter: MOST, ..said }),
        ("the largest counter", v1::SupportMessage { counter: 1 << 62, ..said }),
        ("a start", v1::SupportMessage { started_at: MOST, counter: 1, ..said }),
        ("an incarnation", v1::SupportMessage { incarnation: MOST, ..said }),
        ("a wall clock", v1::SupportMessage { wall_ms: MOST, answer: Some(answer(1_000_000, 1)), ..said }),
        ("a late wall clock", v1::SupportMessage { wall_ms: 1 << 47, answer: Some(answer(1, 1)), ..said }),
        ("an answer", v1::SupportMessage { answer: Some(answer(MOST, MOST)), ..said }),
        ("an answer of the future", v1::SupportMessage { answer: Some(answer(1 << 62, 1)), ..said }),
        ("a question", v1::SupportMessage { question: Some(question(MOST)), ..said }),
        ("a question of now", v1::SupportMessage { question: Some(question(1_000_000)), ..said }),
        ("a refusal", v1::SupportMessage { refusal: Some(refusal(MOST)), ..said }),
        ("the largest refusal", v1::SupportMessage { refusal: Some(refusal(1 << 48)), ..said }),
        ("a small refusal", v1::SupportMessage { refusal: Some(refusal(2)), ..said }),
    ];
    for (name, message) in attacks {
        let bytes = message.encode_to_vec();
        let pieces: [(u8, &[u8]); 4] = [(16, &bytes), (18, &bytes), (255, &bytes), (248, &bytes)];
        add(seeds, "heartbeats", name, &pieces);
    }
}

fn envelope(message: Vec<u8>, store: &Store) -> RaftEnvelope {
    RaftEnvelope {
        range: SHARED,
        from: ReplicaId(2),
        to: ReplicaId(1),
        descriptor: Some(store.shared_descriptor()),
        stamp: None,
        message: message.into(),
    }
}

fn messages(seeds: &mut Vec<Seed>) {
    let store = Store::founded();
    let mut real: Vec<_> = store.sent.iter().map(|(_, message)| message.clone()).collect();
    real.dedup_by_key(|message| std::mem::discriminant(message));
    let descriptor = store.shared_descriptor();
    let term = Term(9);
    real.extend([
        StoreMessage::Raft(envelope(raft_message(|message| message.msg_type = 8), &store)),
        StoreMessage::Unled { range: SHARED, term },
        StoreMessage::AskLeader { range: SHARED, term },
        StoreMessage::UnledNoted { range: SHARED, term },
        StoreMessage::Locate { id: CallId::new(0, 1), key: descriptor.bounds.start.clone() },
        StoreMessage::Admin {
            id: CallId::new(0, 2),
            range: RangeId::SYSTEM,
            request: AdminRequest::Split { at: Key::bound(KeyspaceId::DEFAULT, b"s"), right: RangeId(0) },
            timeout_ms: 1_000,
            hops: 1,
        },
        StoreMessage::SnapshotOffer {
            envelope: envelope(raft_message(|message| message.msg_type = 7), &store),
            manifest: Box::new(manifest(&store, 100)),
        },
        chunk(0),
        progress(vec![10]),
        StoreMessage::ReportAnswer {
            leader: Some(StoreId(2)),
            directory_version: 1,
            directory: Vec::new(),
            sites: vec![SiteTrust {
                distrusted_at: Some(Timestamp(7)),
                ..SiteTrust::never_doubted(SiteName::new("site-2").expect("a name"))
            }],
        },
    ]);
    for (number, message) in real.iter().enumerate() {
        let bytes = message.encode().unwrap();
        add(seeds, "store_messages", format!("real {number}"), &[(0, &bytes), (33, &bytes)]);
    }
    forwards(seeds);
    reports(seeds, &descriptor);
}

fn forwards(seeds: &mut Vec<Seed>) {
    let whole = format!("spiffe://f/client/{}", "x".repeat(50_000));
    let principals =
        ["", "spiffe://f/client/billing", "spiffe://other/operator/ann", "spiffe://f/site/b/store", "ann", &whole];
    for (author, principal) in [0, 1, 2, 3, -1].into_iter().flat_map(|author| principals.map(|named| (author, named))) {
        let record = StateKey::NextStore.key().raw().clone();
        let mutation = v1::Mutation { key: record, value: Some(encode_next_id(7)), expires_at: 0 };
        let change = v1::RangeWrite { conditions: vec![], mutations: vec![mutation] };
        let request =
            v1::RangeRequest { body: Some(v1::range_request::Body::Change(change)), ..v1::RangeRequest::default() };
        let principal = principal.to_owned();
        let named = principal.len();
        let forward =
            v1::Forward { forward_id: 5, request: Some(request), timeout_ms: 1_000, hops: 1, author, principal };
        let body = v1::store_message::Body::Forward(forward);
        let bytes = v1::StoreMessage { version: 1, body: Some(body) }.encode_to_vec();
        add(
            seeds,
            "store_messages",
            format!("a record in the name of author {author}, with a principal of {named} B"),
            &[(0, &bytes), (1, &bytes), (3, &bytes)],
        );
    }
}

fn reports(seeds: &mut Vec<Seed>, descriptor: &RangeDescriptor) {
    let report = |figure: u64, ranges: usize| {
        let range = v1::RangeReport {
            descriptor: Some(descriptor.clone().into()),
            term: 9,
            size_bytes: figure,
            reads_per_second: figure,
            writes_per_second: figure,
            write_bytes_per_second: figure,
            caught_up: vec![1, 2],
            has_lease: true,
        };
        let other = |number: usize| {
            let mut range = range.clone();
            if let Some(descriptor) = &mut range.descriptor {
                descriptor.range_id += number as u64;
            }
            range
        };
        v1::StoreReport {
            store_id: 2,
            site: "site-2".into(),
            incarnation: 1,
            worker: 0,
            workers: 1,
            disk_total_bytes: figure,
            disk_free_bytes: figure,
            cores: u32::try_from(figure).unwrap_or(u32::MAX),
            replicas: figure,
            ranges: (0..ranges).map(other).collect(),
            used_millicores: figure,
            disk_ok: true,
            ..v1::StoreReport::default()
        }
    };
    for (name, figure, ranges) in [("small", 1, 1), ("large", MOST, 1), ("many", MOST, 200)] {
        let body = v1::store_message::Body::Report(report(figure, ranges));
        let bytes = v1::StoreMessage { version: 1, body: Some(body) }.encode_to_vec();
        let again: [(u8, &[u8]); 4] = [(0, &bytes), (33, &bytes), (1, &bytes), (224, &bytes)];
        add(seeds, "store_messages", format!("a {name} report"), &again);
    }
}

fn chunk(offset: u64) -> StoreMessage {
    let (range, snapshot) = (SHARED, SnapshotId(5));
    StoreMessage::SnapshotChunk { range, snapshot, file: 0, offset, data: Bytes::from_static(b"data"), last: true }
}

fn progress(received: Vec<u64>) -> StoreMessage {
    let (range, snapshot) = (SHARED, SnapshotId(5));
    StoreMessage::SnapshotProgress { range, snapshot, state: SnapshotState::Receiving, received }
}

fn manifest(store: &Store, size_bytes: u64) -> SnapshotManifest {
    let state = store.state(SHARED);
    let files = vec![SnapshotFile { size_bytes, checksum: 4 }; 2];
    SnapshotManifest::sealed(SnapshotId(5), SHARED, KeyRange::all(), state.encode(), files)
}

fn manifests(seeds: &mut Vec<Seed>) {
    let store = Store::founded();
    for size_bytes in [0, 4, 1 << 49, 1 << 50, MOST / 2, MOST] {
        let manifest = manifest(&store, size_bytes);
        let disk = manifest.encode();
        let offer =
            StoreMessage::SnapshotOffer { envelope: envelope(Vec::new(), &store), manifest: Box::new(manifest) };
        let (offer, chunk) = (offer.encode().unwrap(), chunk(0).encode().unwrap());
        let (late, progress) = (self::chunk(MOST).encode().unwrap(), progress(vec![MOST; 2]).encode().unwrap());
        let pieces: [(u8, &[u8]); 6] = [(0, &disk), (1, &offer), (1, &chunk), (1, &late), (1, &progress), (1, &chunk)];
        add(seeds, "manifests", format!("files of {size_bytes}"), &pieces);
    }
}

/// `eraftpb.Message`, as far as seeds need it.
#[derive(Clone, PartialEq, Message)]
struct RawMessage {
    #[prost(int32, tag = "1")]
    msg_type: i32,
    #[prost(uint64, tag = "2")]
    to: u64,
    #[prost(uint64, tag = "3")]
    from: u64,
    #[prost(uint64, tag = "4")]
    term: u64,
    #[prost(uint64, tag = "5")]
    log_term: u64,
    #[prost(uint64, tag = "6")]
    index: u64,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    entries: Vec<Bytes>,
    #[prost(uint64, tag = "8")]
    commit: u64,
    #[prost(message, optional, tag = "9")]
    snapshot: Option<RawSnapshot>,
    #[prost(bool, tag = "10")]
    reject: bool,
    #[prost(uint64, tag = "11")]
    reject_hint: u64,
    #[prost(bytes = "bytes", tag = "12")]
    context: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct RawSnapshot {
    #[prost(message, optional, tag = "2")]
    metadata: Option<RawPosition>,
}

#[derive(Clone, PartialEq, Message)]
struct RawPosition {
    #[prost(uint64, tag = "2")]
    index: u64,
    #[prost(uint64, tag = "3")]
    term: u64,
}

impl RawSnapshot {
    fn at(index: u64) -> Self {
        Self { metadata: Some(RawPosition { index, term: 1 }) }
    }
}

fn raft_message(with: impl FnOnce(&mut RawMessage)) -> Vec<u8> {
    let mut message = RawMessage { to: 1, from: 2, term: 6, ..RawMessage::default() };
    with(&mut message);
    message.encode_to_vec()
}

fn raft(seeds: &mut Vec<Seed>) {
    let appended = entry(LogIndex(6), Term(6), false, &Bytes::from_static(b"\x08\x01")).data;
    for msg_type in 0..19 {
        let plain = raft_message(|message| message.msg_type = msg_type);
        let large = raft_message(|message| {
            message.msg_type = msg_type;
            (message.term, message.index, message.commit) = (MOST, MOST, MOST);
            (message.log_term, message.reject_hint, message.reject) = (MOST, MOST, true);
        });
        let furthest = raft_message(|message| {
            message.msg_type = msg_type;
            (message.term, message.index, message.commit) = (1 << 32, 1 << 40, 1 << 40);
            message.snapshot = Some(RawSnapshot::at(1 << 62));
            (message.log_term, message.entries) = (6, vec![appended.clone()]);
        });
        let append = raft_message(|message| {
            message.msg_type = msg_type;
            (message.index, message.log_term, message.entries) = (5, 5, vec![appended.clone()]);
            message.commit = 6;
        });
        for (name, message) in [("plain", plain), ("large", large), ("furthest", furthest), ("append", append)] {
            let pieces: [(u8, &[u8]); 3] = [(2, &message), (35, &message), (32, &message)];
            add(seeds, "raft_messages", format!("{name} {msg_type}"), &pieces);
        }
    }
}

fn records_of_trust(seeds: &mut Vec<Seed>, stamp: u64) {
    let site = v1::SiteRecord {
        version: 1,
        label: "site-1".into(),
        distrusted_at: stamp,
        restored_at: stamp,
        ..v1::SiteRecord::default()
    };
    add(seeds, "storage_records", format!("site {stamp}"), &[(8, &site.encode_to_vec())]);
    let root = |byte| Bytes::from(vec![byte; 32]);
    let rotation = v1::Rotation {
        phase: v1::RotationPhase::Switch.into(),
        new_root: root(9),
        old_roots: vec![root(1)],
        begun_at: stamp,
        phase_at: stamp,
    };
    let record = v1::RotationRecord { version: 1, rotation: Some(rotation) };
    add(seeds, "storage_records", format!("rotation {stamp}"), &[(14, &record.encode_to_vec())]);
    let token = v1::JoinTokenRecord {
        version: 1,
        id: stamp,
        secret_sha256: root(3),
        site: "site-1".into(),
        created_at: stamp,
        expires_at: stamp,
        created_by: "spiffe://f/operator/ann".into(),
        used_by: Some(7_u128.into()),
        used_at: stamp,
        used_as: stamp,
    };
    add(seeds, "storage_records", format!("token {stamp}"), &[(17, &token.encode_to_vec())]);
}

fn records_of_rights(seeds: &mut Vec<Seed>) {
    let grant = v1::Grant { right: 1, keyspace_id: 1, prefix: "a/".into(), ..v1::Grant::default() };
    let role =
        v1::RoleRecord { version: 1, name: "r".into(), grants: vec![grant.clone(); 3], members: vec!["*".into(); 2] };
    let client = v1::ClientGrantsRecord { version: 1, client: "c".into(), grants: vec![grant] };
    let number = v1::RightsRecord { version: 1, number: MOST, closed: true };
    let record = |key: &str, value: Vec<u8>| {
        let key = Key::bound(KeyspaceId::SYSTEM, key.as_bytes());
        v1::StoredRight { key: key.into(), value: value.into() }
    };
    let records = vec![
        record("rights/client/c", client.encode_to_vec()),
        record("rights/role/r", role.encode_to_vec()),
        record("rights/version", v1::RightsRecord { number: 7, ..number }.encode_to_vec()),
    ];
    let file = v1::StoredRights { version: 1, records };
    for (name, bytes) in [
        ("role", role.encode_to_vec()),
        ("client", client.encode_to_vec()),
        ("number", number.encode_to_vec()),
        ("file", file.encode_to_vec()),
    ] {
        add(seeds, "storage_records", format!("rights: {name}"), &[(16, &bytes)]);
    }
}

fn records_of_the_audit(seeds: &mut Vec<Seed>) {
    for number in [1, 1 << 48, MOST] {
        let argument = v1::AuditArgument { name: "key".into(), value: "/1/m".into() };
        let named = v1::AuditEntry { at: number, store_id: number, number, times: number, ..Default::default() };
        let entry = v1::AuditEntry {
            version: 1,
            site: "east".into(),
            who: "spiffe://f/operator/ann".into(),
            what: "split-range".into(),
            arguments: vec![argument; 2],
            ..named
        };
        add(seeds, "storage_records", format!("audit {number}"), &[(15, &entry.encode_to_vec())]);
        let waiting = v1::WaitingAudit { version: 1, entries: vec![entry; 2] }.encode_to_vec();
        add(seeds, "small_files", format!("audit: {number}"), &[(3, &waiting)]);
    }
    let empty = [&[8, 1][..], &[0x12, 0].repeat(5_000)].concat();
    add(seeds, "small_files", "audit: many empty ones", &[(3, &empty), (3, b"\xff")]);
}

fn records(seeds: &mut Vec<Seed>) {
    records_of_the_audit(seeds);
    records_of_rights(seeds);
    let seen = |counted| {
        let store = v1::SeenStore { store_id: 2, incarnation: counted, started_at: counted, counter: counted };
        v1::SeenStores { version: 1, stores: vec![store] }.encode_to_vec()
    };
    for counted in [1, 1 << 48, 1 << 62, MOST - 1, MOST] {
        let record = seen(counted);
        add(seeds, "storage_records", format!("seen {counted}"), &[(0, &record), (1, &record), (1, &record)]);
        let identity = v1::StoreIdentity {
            version: 1,
            fleet_id: Some(7_u128.into()),
            store_id: 1,
            incarnation: counted,
            site: "site-1".into(),
            counter_offset: counted,
            site_identity: String::new(),
        };
        add(seeds, "storage_records", format!("identity {counted}"), &[(2, &identity.encode_to_vec())]);
        let reserved = v1::StoreCounter { version: 1, reserved: counted };
        add(seeds, "storage_records", format!("counter {counted}"), &[(3, &reserved.encode_to_vec())]);
        let next = v1::NextId { version: 1, next: counted };
        add(seeds, "storage_records", format!("next id {counted}"), &[(12, &next.encode_to_vec())]);
        records_of_trust(seeds, counted);
        let numbers: Vec<u8> = [counted; 3].iter().flat_map(|number| number.to_be_bytes()).collect();
        add(seeds, "storage_records", format!("hard state {counted}"), &[(5, &numbers), (6, &numbers)]);
        let state = Store::founded().state(SHARED);
        let state = v1::StoredRangeState {
            version: 1,
            descriptor: Some(state.descriptor.into()),
            applied_index: counted,
            applied_term: counted,
            gc_threshold: counted,
            last_timestamp: counted,
        };
        add(seeds, "storage_records", format!("range state {counted}"), &[(4, &state.encode_to_vec())]);
        let command = |body| v1::StoredCommand { version: 1, bounds_epoch: counted, body: Some(body) }.encode_to_vec();
        use v1::stored_command::Body;
        for (name, body) in [
            ("threshold", Body::GcThreshold(counted)),
            ("time", Body::TimePassed(counted)),
            (
                "writes",
                Body::Writes(v1::StoredWrites {
                    writes: vec![v1::StoredWrite { timestamp: counted, ..v1::StoredWrite::default() }],
                }),
            ),
            (
                "split",
                Body::Split(v1::StoredSplit {
                    at: Bytes::from_static(b"\0\0\0\0s"),
                    right_range_id: counted,
                    right_leader: 1,
                }),
            ),
        ] {
            let command = command(body);
            add(seeds, "log_entries", format!("{name} {counted}"), &[(0, &command), (0, &command)]);
        }
    }
}

/// Changes of the replicas after which a range could not be.
fn changes_of_replicas(seeds: &mut Vec<Seed>) {
    let replicas: Vec<_> = Store::founded().state(SHARED).descriptor.replicas;
    let as_role = |role: v1::ReplicaRole| {
        let replica = |replica| v1::ReplicaDescriptor { role: role.into(), ..v1::ReplicaDescriptor::from(replica) };
        replicas.iter().cloned().map(replica).collect()
    };
    for (name, replicas, next_replica_id) in [
        ("nobody is left", Vec::new(), 9),
        ("nobody votes", as_role(v1::ReplicaRole::Learner), 9),
        ("an old next one", as_role(v1::ReplicaRole::Voter), 1),
        ("the last replica", as_role(v1::ReplicaRole::Voter), 1 << 62),
        ("beyond the last replica", as_role(v1::ReplicaRole::Voter), MOST),
    ] {
        let change = v1::StoredMembership { version: 1, replicas, next_replica_id }.encode_to_vec();
        add(seeds, "log_entries", name, &[(1, &change), (1, &change)]);
    }
    add(seeds, "log_entries", "a change to nobody", &[(1, b"\x08\x01"), (0, b"")]);
}

fn clients(seeds: &mut Vec<Seed>) {
    let key = || Bytes::from_static(b"k");
    let write = |sequence, last_moment| v1::WriteAttempt {
        id: Some(v1::RequestId { client: Some(5_u128.into()), slot: 1, sequence }),
        attempt: 1,
        last_moment,
    };
    for counted in [0, 1, MOST] {
        let put = v1::PutRequest {
            key: key(),
            value: Bytes::from_static(b"v"),
            expires_at_ms: counted,
            write: Some(write(counted, counted)),
            ..v1::PutRequest::default()
        };
        let get = v1::GetRequest { key: key(), at: counted, ..v1::GetRequest::default() };
        let pieces: [(u8, &[u8]); 2] = [(2, &put.encode_to_vec()), (8, &get.encode_to_vec())];
        add(seeds, "client_requests", format!("put and get {counted}"), &pieces);
        let scan = v1::ScanRequest { end: Some(key()), at: counted, ..v1::ScanRequest::default() };
        let delete = v1::DeleteRangeRequest { end: Some(key()), max_keys: 9, ..v1::DeleteRangeRequest::default() };
        let pieces: [(u8, &[u8]); 2] = [(7, &scan.encode_to_vec()), (6, &delete.encode_to_vec())];
        add(seeds, "client_requests", format!("scan and delete {counted}"), &pieces);
        // Modes that are known, and one that is not.
        let [keys, count, later] = [1, 2, i32::MAX]
            .map(|mode| v1::ScanRequest { mode, at: counted, ..v1::ScanRequest::default() }.encode_to_vec());
        add(seeds, "client_requests", format!("modes {counted}"), &[(7, &keys), (15, &count), (23, &later)]);
        let raw = Bytes::from_static(b"\0\0\0\x01k");
        let mutation = v1::Mutation { key: raw, value: Some(key()), expires_at: counted };
        let request = v1::RangeRequest {
            range_id: counted,
            epoch: Some(v1::RangeEpoch { membership: counted, bounds: counted }),
            write: Some(write(counted, counted)),
            body: Some(v1::range_request::Body::Change(v1::RangeWrite {
                conditions: vec![],
                mutations: vec![mutation],
            })),
        };
        let call = v1::StreamCall { call_id: counted, timeout_ms: u32::MAX, request: Some(request) };
        let asked = v1::StreamRequest { calls: vec![call], cancel: vec![counted], ..v1::StreamRequest::default() };
        let rejection = v1::Rejection {
            message: "no".into(),
            reason: Some(v1::rejection::Reason::Busy(v1::Busy { retry_after_ms: counted })),
        };
        let response = v1::RangeResponse { body: Some(v1::range_response::Body::Rejected(rejection)) };
        let answer = v1::StreamAnswer { call_id: counted, response: Some(response) };
        let said = v1::StreamResponse { now: counted, answers: vec![answer], ..v1::StreamResponse::default() };
        let pieces: [(u8, &[u8]); 2] = [(0, &asked.encode_to_vec()), (1, &said.encode_to_vec())];
        add(seeds, "client_stream", format!("call {counted}"), &pieces);
    }
}

fn others(seeds: &mut Vec<Seed>) {
    let descriptor = v1::RangeDescriptor::from(Store::founded().shared_descriptor());
    let located = v1::LocatedRange { descriptor: Some(descriptor.clone()), term: MOST, ..v1::LocatedRange::default() };
    let part = Some(v1::ScanPart { at: MOST, until: Some(Bytes::from_static(b"m")) });
    let batch = v1::LinkBatch { messages: vec![v1::LinkMessage::default(); 100] };
    let frame = v1::LinkFrame { body: Some(v1::link_frame::Body::Batch(batch.clone())) };
    let messages = [
        ("a descriptor", descriptor.encode_to_vec()),
        ("a place", v1::LocateResponse { ranges: vec![located; 2], ..v1::LocateResponse::default() }.encode_to_vec()),
        ("a part", v1::ScanRequest { part, ..v1::ScanRequest::default() }.encode_to_vec()),
        ("a batch", batch.encode_to_vec()),
        ("a frame", frame.encode_to_vec()),
        ("nothing", Vec::new()),
        ("many numbers", [&[0x0a, 0x7f][..], &[0xff; 127]].concat()),
        ("a group", vec![0x0b, 0x0c, 0x0b]),
        ("deep", [[0x0a, 0x7e]; 64].concat()),
    ];
    for (name, bytes) in messages {
        for tag in 0..crate::others::kinds() {
            add(seeds, "other_messages", format!("{name} as kind {tag}"), &[(tag, &bytes)]);
        }
    }
}

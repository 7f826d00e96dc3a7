//! Seeds of what lies on a disk byte for byte, real and damaged.

use holdfast_engine::hostile::{batch, current_format, data_rows, log_rows, put_fragment, put_record};
use holdfast_kv::core::addresses::{Claim, Kept};
use holdfast_placement::{SiteTrust, StoreRecord};
use holdfast_proto::convert::admin::encode_events;
use holdfast_proto::v1;
use holdfast_types::{Incarnation, SiteName, StoreId, Timestamp};
use prost::Message;

use super::{MOST, Seed, add};
use crate::disks::RANGES;

/// Bytes of a key of the log instance before the index of an entry.
const RANGE_KEY_BYTES: usize = 10;
/// Tags of `log_instance`: a key with its value, sound or as it is; the counter; entries that follow the last one.
const SOUND: u8 = 5;
const AS_IT_IS: u8 = 6;
const COUNTER: u8 = 7;
const FOLLOWING: u8 = 4;
/// Tags of `log_files`.
const BATCH: u8 = 6;
const NEXT_FILE: u8 = 7;

pub(super) fn seeds(seeds: &mut Vec<Seed>) {
    log_instance(seeds);
    log_files(seeds);
    data_instance(seeds);
    address_books(seeds);
    events(seeds);
    for (name, text) in [
        ("this version", &current_format()[..]),
        ("the next version", b"holdfast 2\n"),
        ("a version that is no number", b"holdfast 99999999999999999999\n"),
        ("no text", b"\xff\xfe\0holdfast 1"),
        ("a first line of two", b"holdfast 1\nholdfast 2\n"),
        ("nothing", b""),
    ] {
        add(seeds, "small_files", format!("format: {name}"), &[(0, text)]);
    }
}

/// Two things in one piece.
fn paired(key: &[u8], value: &[u8]) -> Vec<u8> {
    [&[u8::try_from(key.len()).expect("short")], key, value].concat()
}

fn log_instance(seeds: &mut Vec<Seed>) {
    for number in [1, 5, 1 << 48, 1 << 62, MOST - 1, MOST] {
        for (kind, (key, value)) in log_rows(RANGES[1], number).into_iter().enumerate() {
            let (plain, _) = value.split_at(value.len() - 4);
            let longer = paired(&[&key[..], &[0]].concat(), plain);
            let cut = paired(&key, &plain[..plain.len() / 2]);
            for (name, tag, bytes) in [
                ("real", AS_IT_IS, paired(&key, &value)),
                ("under a longer key", SOUND, longer),
                ("cut", SOUND, cut),
                ("without its checksum", AS_IT_IS, paired(&key, plain)),
            ] {
                let name = format!("{name}, kind {kind} of {number}");
                add(seeds, "log_instance", name, &[(0, b"\0\0\0\0\0\0\0\0\x01"), (tag, &bytes)]);
            }
        }
        let number = number.to_be_bytes();
        add(seeds, "log_instance", format!("counter {number:?}"), &[(COUNTER, &number), (COUNTER, b"short")]);
        // The record, hard state, start and entries of one range; then an entry that does not follow.
        let (record, state) = ([&[0], &number[..]].concat(), number.repeat(3));
        let (start, entry) = (number.repeat(2), [&number[..], b"entry"].concat());
        let far = [&MOST.to_be_bytes()[..], &entry].concat();
        for of in 0..4 {
            let tag = |kind: u8| kind | of << 3;
            let whole = [(tag(0), &record[..]), (tag(1), &state), (tag(2), &start), (tag(FOLLOWING) | 0x40, &entry)];
            add(seeds, "log_instance", format!("a log of range {of} at {number:?}"), &whole);
            let holed = [&whole[..], &[(tag(3), &far)]].concat();
            add(seeds, "log_instance", format!("a log of range {of} with a hole at {number:?}"), &holed);
            add(seeds, "log_instance", format!("entries alone of range {of}, {number:?}"), &[(tag(FOLLOWING), &entry)]);
        }
    }
    assert_eq!(log_rows(RANGES[1], 1)[0].0.len(), RANGE_KEY_BYTES);
}

fn log_files(seeds: &mut Vec<Seed>) {
    let mut beginning = Vec::new();
    put_fragment(&mut beginning, 2, b"");
    let mut copy = Vec::new();
    (1..4).for_each(|counter| put_record(&mut copy, &batch(counter, b"operations")));
    // 32 times, so that the batch lies in three blocks.
    let often = BATCH | 31 << 3;
    let long = [7; 2_500];
    let beginnings = beginning.repeat(300);
    for (name, pieces) in [
        ("batches", vec![(BATCH, &b"one"[..]), (BATCH, b""), (often, &long), (BATCH, b"last")]),
        ("the last one is long", vec![(BATCH, b"one"), (often, &long)]),
        ("two files", vec![(BATCH, b"one"), (NEXT_FILE, b""), (BATCH, b"two"), (NEXT_FILE, b"")]),
        ("a copy of a log in a value", vec![(BATCH, b"one"), (BATCH, &copy)]),
        ("made-up beginnings in a value", vec![(BATCH, b"one"), (often, &beginnings)]),
        ("a tear, and a batch behind", vec![(BATCH, b"one"), (0, b"torn"), (BATCH, b"two")]),
        ("a tear in the first of two files", vec![(BATCH, b"one"), (0, b"torn"), (NEXT_FILE, b""), (BATCH, b"two")]),
        ("any bytes behind", vec![(BATCH, b"one"), (0, &[0xff; 64])]),
        ("every kind alone", (1..=5).map(|kind| (kind, &b"fragment"[..])).collect()),
        ("every kind empty", (1..=5).map(|kind| (kind, &b""[..])).collect()),
        ("a middle without an end", vec![(2, b"first"), (3, b"middle"), (3, b"middle")]),
        ("a middle without a beginning", vec![(BATCH, b"one"), (3, b"middle"), (4, b"last")]),
        ("a length beyond the file", vec![(BATCH, b"one"), (0, b"\0\0\0\0\xff\xff\x01")]),
        ("the files of another program", vec![(NEXT_FILE, b"text"), (0, b"more text"), (NEXT_FILE, &[0; 99])]),
    ] {
        add(seeds, "log_files", name, &pieces);
    }
    // Numbers of batches that do not follow each other, each in a sound record.
    for counters in [[1, 3], [3, 1], [1, 1], [MOST - 1, MOST], [MOST, 0], [MOST, MOST]] {
        let batches = counters.map(|counter| batch(counter, b""));
        let both = [(1, &batches[0][..]), (1, &batches[1])];
        add(seeds, "log_files", format!("batches {counters:?}"), &both);
        let apart = [both[0], (NEXT_FILE, b""), both[1]];
        add(seeds, "log_files", format!("batches {counters:?} in two files"), &apart);
    }
}

fn data_instance(seeds: &mut Vec<Seed>) {
    for number in [1, 1 << 48, MOST] {
        for (kind, (key, value)) in data_rows(RANGES[1], number).into_iter().enumerate() {
            let (real, cut) = (paired(&key, &value), paired(&key[..key.len() / 2], &value));
            add(seeds, "data_instance", format!("kind {kind} of {number}"), &[(0, &real), (0, &cut)]);
        }
    }
    for (name, key, value) in [
        ("an intent", &b"\x02\0\0\0\x01k\0\x01\0\0\0\0\0\0\0\0"[..], &b"\x02"[..]),
        ("a key without an end", b"\x02\0\0\0\x01k", b"\0v"),
        ("an escape without its second half", b"\x02\0\0\0\x01k\0\0\x01\0\0\0\0\0\0\0\0", b"\0v"),
        ("an expiry that is cut", b"\x01\0\0\0\0\0\0\0\x05\0", b"\x80\0\0"),
        ("a slot beyond all", b"\x01\0\0\0\0\0\0\0\x05\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff", b""),
        ("nothing", b"", b""),
    ] {
        add(seeds, "data_instance", name, &[(0, &paired(key, value)), (1, &paired(key, value))]);
    }
}

fn address_books(seeds: &mut Vec<Seed>) {
    let site = SiteName::new("east").expect("a legal name");
    let claim = |store, incarnation, host: &str| Claim {
        store: StoreId(store),
        site: site.clone(),
        incarnation: Incarnation(incarnation),
        client: format!("{host}:7300"),
        store_to_store: format!("{host}:7400"),
    };
    let gone = StoreRecord { forgotten_at: Some(Timestamp(70)), ..StoreRecord::new(StoreId(9), site.clone()) };
    let kept = Kept {
        claims: vec![claim(2, 7, "here"), claim(2, 7, "there"), claim(3, 0, "h"), claim(1, 2, "own")],
        hearsay: [StoreId(3)].into(),
        forgotten: vec![gone.clone()],
        sites: vec![SiteTrust { distrusted_at: Some(Timestamp(70)), ..SiteTrust::never_doubted(site.clone()) }],
    };
    let real = kept.encode();
    let furthest = Kept {
        claims: vec![claim(MOST, MOST, "h"), claim(0, 0, "h"), claim(2, 1, &"h".repeat(400)), claim(2, 1, "\u{1b}[2J")],
        hearsay: [StoreId(MOST)].into(),
        forgotten: vec![StoreRecord { store: StoreId(MOST), ..gone.clone() }, gone],
        sites: vec![SiteTrust { distrusted_at: Some(Timestamp(MOST)), ..SiteTrust::never_doubted(site.clone()) }],
    };
    let entry = r#"{"store":2,"site":"a","client":"","store_to_store":"h:2"}"#;
    let many = format!(r#"{{"version":1,"stores":[{}]}}"#, vec![entry; 300].join(","));
    for (name, text) in [
        ("real", &real[..]),
        ("cut", &real[..real.len() / 2]),
        ("numbers and texts that nothing has", &furthest.encode()),
        ("the next version", br#"{"version":2,"stores":[]}"#),
        ("the last version", br#"{"version":4294967295,"stores":null}"#),
        ("a version that is no number", br#"{"version":1e99,"stores":[]}"#),
        (
            "an earlier one",
            br#"{"version":1,"stores":[{"store":2,"site":"a","client":"h:1","store_to_store":"h:2","http":"h:3"}]}"#,
        ),
        ("many places", many.as_bytes()),
        ("a list", b"[]"),
        ("deep", &b"{\"x\":".repeat(200)),
        ("nothing", b""),
    ] {
        add(seeds, "small_files", format!("address book: {name}"), &[(1, text)]);
    }
}

fn events(seeds: &mut Vec<Seed>) {
    let event = |number| v1::Event {
        kind: v1::EventKind::LeaderElected.into(),
        at: number,
        store_id: number,
        site: "east".into(),
        range_id: number,
        other_store: number,
        message: "it leads".into(),
        incarnation: number,
        sequence: number,
    };
    let real = encode_events(vec![event(1), event(2)]);
    let other = |version| v1::StoredEvents { version, events: vec![event(1)] }.encode_to_vec();
    for (name, bytes) in [
        ("real", &real[..]),
        ("cut", &real[..real.len() - 3]),
        ("the largest numbers", &encode_events(vec![event(MOST), event(1 << 62), event(1 << 48), event(1)])),
        ("no version", &other(0)),
        ("the next version", &other(2)),
        ("the last version", &other(u32::MAX)),
        ("many empty ones", &[&[8, 1][..], &[0x12, 0].repeat(5_000)].concat()),
        ("a length beyond the file", b"\x08\x01\x12\xff\xff\xff\xff\x0f"),
        ("nothing", b""),
    ] {
        add(seeds, "small_files", format!("events: {name}"), &[(2, bytes)]);
    }
}

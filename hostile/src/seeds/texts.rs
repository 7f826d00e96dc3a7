//! Seeds of texts, and of answers that are read by people.

use holdfast_proto::convert::status::{cannot_leave, to_status};
use holdfast_proto::v1;
use holdfast_types::{Key, KeyspaceId, Rejected};
use prost::Message;

use super::{MOST, Seed, add};

/// A fleet file that has something of everything.
const FLEET: &str = include_str!("../../../k8s/examples/flat-mirror/fleet.yaml");
const OTHER_FLEET: &str = include_str!("../../../k8s/examples/flat-dns/fleet.yaml");

pub(super) fn seeds(seeds: &mut Vec<Seed>) {
    answers(seeds);
    statements(seeds);
    fleets(seeds);
}

fn answers(seeds: &mut Vec<Seed>) {
    let refusals = [
        to_status(Rejected::invalid("no")),
        to_status(Rejected::WrongRange { known: Vec::new() }),
        to_status(Rejected::SpansRanges { split_key: Key::bound(KeyspaceId(1), &[0xff; 1_024]) }),
        cannot_leave(&v1::CannotLeave { reason: i32::MAX, message: "add a store".into() }),
    ];
    for (number, refusal) in refusals.iter().enumerate() {
        add(seeds, "admin_answers", format!("refusal {number}"), &[(0, refusal.details())]);
    }
    let store = v1::StoreStatus { store_id: MOST, site: "east".into(), ..v1::StoreStatus::default() };
    let event = v1::Event { site: "east".into(), at: MOST, sequence: MOST, ..v1::Event::default() };
    let entry = v1::AuditEntry { store_id: MOST, times: MOST, what: "init".into(), ..v1::AuditEntry::default() };
    let range = v1::RangeStatus { term: MOST, ..v1::RangeStatus::default() };
    let messages = [
        ("a store", v1::ListStoresResponse { stores: vec![store; 2], ..Default::default() }.encode_to_vec()),
        ("events", v1::ListEventsResponse { events: vec![event; 2], more: true, silent: vec![] }.encode_to_vec()),
        ("an audit", v1::ListAuditResponse { entries: vec![entry; 2], resume: None }.encode_to_vec()),
        ("ranges", v1::ListRangesResponse { ranges: vec![range; 2], ..Default::default() }.encode_to_vec()),
        ("a text", vec![0x0a, 3, b'a', 0x1b, 0xff]),
        ("a length beyond the message", vec![0x0a, 0xff, 0xff, 0xff, 0x7f]),
        ("nothing", Vec::new()),
        ("deep", [[0x0a, 0x7e]; 64].concat()),
    ];
    for (name, bytes) in messages {
        for tag in 0..crate::answers::kinds() {
            add(seeds, "admin_answers", format!("{name} as kind {tag}"), &[(tag, &bytes)]);
        }
    }
}

fn statements(seeds: &mut Vec<Seed>) {
    let rows: [(u8, &[u8]); 4] = [
        (1, br#"{"name":"a","n":1.5,"list":[1,{"x":null}]}"#),
        (3, b"plain"),
        (5, b"\xff\0"),
        (7, br#"{"n":1e400,"name":"\ud800"}"#),
    ];
    let deep =
        |open: &str, close: &str| format!("SELECT * FROM t WHERE {}key{} = 'a'", open.repeat(300), close.repeat(300));
    let scripts = [
        "SELECT * FROM orders WHERE key LIKE 'a%' AND value->>'name' = 'a' LIMIT 5 OFFSET 1;".to_owned(),
        "SELECT key, value->'list'->1->>'x', version, expires FROM t WHERE NOT (key < 'b' OR value->'n' > 1) ORDER BY key DESC".to_owned(),
        "SELECT count(*), min(key), max(key) FROM t WHERE key BETWEEN 'a' AND x'ff00' AND value IS NOT NULL".to_owned(),
        "SELECT * FROM t WHERE key IN ('a', 'b', x'') AND expires > now() + INTERVAL '1 hour' AND version < '9.9'".to_owned(),
        "INSERT INTO t (key, value) VALUES ('a', '{}'), ('b', 'x'); UPSERT INTO t VALUES ('a', 1);".to_owned(),
        "UPDATE t SET value = 'x' WHERE key = 'a'; DELETE FROM t WHERE true; EXPLAIN ANALYZE SELECT * FROM t".to_owned(),
        "SHOW RANGES; SHOW EVENTS LIMIT 3; SPLIT RANGE AT 'k' IN KEYSPACE t; MOVE LEADER OF RANGE 7 TO 'east'; CREATE KEYSPACE t".to_owned(),
        "-- a comment\n/* another /* within */ */ SELECT 'it''s' FROM \"a name\"".to_owned(),
        "SELECT * FROM t WHERE key = '\u{1b}[2J\u{202e}ë' LIMIT 18446744073709551615".to_owned(),
        "SELECT * FROM t LIMIT 99999999999999999999999 OFFSET -1".to_owned(),
        "SELECT 'open".to_owned(),
        deep("(", ")"),
        deep("NOT ", ""),
        deep("-", ""),
        format!("SELECT * FROM t WHERE {}", vec!["key = 'a'"; 500].join(" OR ")),
        format!("SELECT value{} FROM t", "->'a'".repeat(300)),
    ];
    for (number, script) in scripts.iter().enumerate() {
        let pieces = [&rows[..], &[(0, script.as_bytes())]].concat();
        add(seeds, "shell_texts", format!("script {number}"), &pieces);
    }
}

fn fleets(seeds: &mut Vec<Seed>) {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..9 {
        let before = format!("*a{},", level - 1).repeat(9);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(',')));
    }
    let numbers = FLEET.replace(": 3", ": 18446744073709551615").replace(": 1", ": -1");
    for (name, text) in [
        ("a fleet", FLEET),
        ("another", OTHER_FLEET),
        ("cut", &FLEET[..FLEET.len() / 2]),
        ("the largest numbers", &numbers),
        ("aliases of aliases", &bomb),
        ("an alias of itself", "sites: &a [*a]\n"),
        ("deep lists", &"[".repeat(2_000)),
        ("deep maps", &(0..500).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>()),
        ("a key twice", "name: a\nname: b\n"),
        ("merged keys", "base: &b {name: a}\n<<: *b\n"),
        ("tags", "name: !!binary aGk=\nsites: !!set {a, b}\n"),
        ("two documents", "name: a\n---\nname: b\n"),
        ("another version", "apiVersion: holdfast/v99\nname: a\n"),
        ("a blank line", "\n"),
        ("control characters", "name: \"\u{1b}[2J\u{202e}\"\n"),
    ] {
        seeds.push(Seed { target: "fleet_files", name: name.into(), input: text.as_bytes().to_vec() });
    }
}

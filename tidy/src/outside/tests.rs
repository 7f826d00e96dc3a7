//! What the rule finds, by one file at a time.

use super::*;

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

/// What is said of one file.
fn said(path: &str, text: &str) -> Vec<Problem> {
    let all = check(&[file(path, text)]);
    all.into_iter().filter(|problem| problem.starts_with(path)).collect()
}

/// How much is found in a function of a guarded file.
fn found(body: &str) -> usize {
    said("kv/src/core/new.rs", &format!("{GUARD}fn f(raw: u64) {{ {body} }}\n")).len()
}

/// How much is found beside functions of a guarded file.
fn found_among_items(items: &str) -> usize {
    said("kv/src/core/new.rs", &format!("{GUARD}{items}\n")).len()
}

fn sees_raw(text: &str) -> bool {
    raw::sees_raw(&code::parse(text).unwrap())
}

#[test]
fn who_sees_raw_numbers_is_guarded() {
    let text = "fn f(m: v1::Forward) {\n}\n";
    assert_eq!(said("kv/src/core/new.rs", text).len(), 1);
    assert!(said("kv/src/core/new.rs", &format!("{GUARD}{text}")).is_empty());
    assert!(said("kv/src/core/new.rs", "// v1::Forward\nfn f() {}\n").is_empty());
    assert!(said("kv/src/core/new_tests.rs", text).is_empty());
}

#[test]
fn every_crate_is_looked_at_but_those_that_say_why_not() {
    let text = "fn f(m: v1::Forward) {\n}\n";
    for crate_of_ours in ["types", "client", "edge", "k8s", "k8s/control", "shell", "files", "output", "a-new-one"] {
        assert_eq!(said(&format!("{crate_of_ours}/src/new.rs"), text).len(), 1, "{crate_of_ours}");
    }
    assert!(said("k8s/testkit/src/new.rs", text).is_empty() && said("client/src/mock/new.rs", text).is_empty());
}

#[test]
fn raw_numbers_are_seen_by_whatever_name() {
    assert!(sees_raw("fn f() { let at = u64::from_be_bytes(raw); }"));
    assert!(sees_raw("fn f() { raw.map(u64::from_ne_bytes); }"));
    assert!(sees_raw("use holdfast_proto::v1 as wire;"), "a module with another name");
    assert!(
        sees_raw("use holdfast_proto::{convert, v1::{Forward, Locate}};") && sees_raw("use holdfast_proto::v1::*;")
    );
    assert!(sees_raw("macro_rules! of { ($name:ident) => { v1::$name }; }"), "within a macro");
    assert!(sees_raw("fn f() { rest.try_get_u64_le(); }") && sees_raw("fn f() { rest.get_uint(3); }"));
    assert!(sees_raw("#[derive(Deserialize)] struct Kept { line: u64 }"), "what a file says");
    assert!(sees_raw("fn f() { value[\"line\"].as_u64(); }"));
    assert!(sees_raw("use raft::eraftpb::Message; fn f() { Message::decode(raw); }"));
    assert!(!sees_raw("use raft::eraftpb::Message; fn f(m: &Message) {}"), "the gate has let it in");
    assert!(!sees_raw("use k8s_openapi::api::core::v1; fn f(pod: v1::Pod) {}"), "a module of Kubernetes");
    assert!(!sees_raw("use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};"));
    assert!(!sees_raw("fn f() { file.read_until(b'\\n'); map.get_int; }"));
    assert!(!sees_raw("#[cfg(test)] mod tests { use holdfast_proto::v1; }"), "tests may");
    assert!(sees_raw("#[cfg(test)] mod tests {} fn f(m: v1::Forward) {}"), "and what stands behind them is no test");
}

#[test]
fn only_an_attribute_of_the_file_is_a_guard() {
    let text = "fn f(m: v1::Forward) {}\n";
    let quoted = format!("//! Not yet:\n/*\n{GUARD}*/\n{text}");
    assert_eq!(said("kv/src/core/new.rs", &quoted).len(), 1);
    let within = format!("{text}mod inner {{\n{GUARD}}}\n");
    assert_eq!(said("kv/src/core/new.rs", &within).len(), 1);
    let weaker = GUARD.replace("clippy::panic, ", "");
    assert_eq!(said("kv/src/core/new.rs", &format!("{weaker}{text}")).len(), 1);
    let on_one_line = GUARD.replace("\n    ", " ");
    assert!(said("kv/src/core/new.rs", &format!("{on_one_line}{text}")).is_empty());
}

#[test]
fn nothing_is_freed_from_the_guard() {
    assert_eq!(found_among_items("#[allow(clippy::arithmetic_side_effects)]\nfn f() {}"), 1);
    assert_eq!(found_among_items("#[expect(clippy::indexing_slicing, reason = \"short\")]\nfn f() {}"), 1);
    assert_eq!(found_among_items("mod inner {\n#![allow(clippy::restriction)]\n}"), 1);
    assert_eq!(found_among_items("#[cfg_attr(not(test), warn(clippy::panic))]\nfn f() {}"), 1);
    assert_eq!(found("#[allow(clippy::cast_possible_truncation)] let low = raw as u16;"), 1);
    assert_eq!(found_among_items("#[cfg_attr(test, allow(clippy::unwrap_used))]\nfn f() {}"), 0, "in tests");
    assert_eq!(found_among_items("#[allow(clippy::too_many_arguments)]\nfn f() {}"), 0);
}

#[test]
fn newtypes_are_made_by_their_bound() {
    assert_eq!(found("let store = StoreId(m.store_id);"), 1);
    assert_eq!(found("let ids = ids.into_iter().map(ReplicaId).collect();"), 1);
    assert_eq!(found("let at = Timestamp(u64::MAX);"), 1, "no more than any other");
    assert_eq!(found("let store = StoreId::bounded(m.store_id)?;"), 0);
    assert_eq!(found("let right = RangeId(0);"), 0, "a literal");
    assert_eq!(found("let first = LogIndex(limits::FIRST_LOG_INDEX);"), 0, "a named constant");
    assert_eq!(found("let raw = store.0; To::StoreId(raw)"), 0, "a variant of a message");
    assert_eq!(found("let other = MyStoreId(raw);"), 0);
    assert_eq!(found("// StoreId(raw)\n let text = \"StoreId(raw)\";"), 0);
    assert_eq!(found("let StoreId(raw) = store;"), 0, "a pattern");
}

#[test]
fn a_qualified_path_makes_the_same_newtype() {
    assert_eq!(found("let store = holdfast_types::StoreId(raw);"), 1);
    assert_eq!(found("let term = ::holdfast_types::ids::Term(raw);"), 1);
    assert_eq!(found("let ids = ids.into_iter().map(holdfast_types::ReplicaId).collect();"), 1);
    assert_eq!(found("let make = crate::LogIndex; make(raw);"), 1);
}

#[test]
fn another_name_makes_the_same_newtype() {
    assert_eq!(found_among_items("use holdfast_types::Term as Number;\nfn f(raw: u64) { Number(raw); }"), 1);
    assert_eq!(found_among_items("type Number = holdfast_types::Term;\nfn f(raw: u64) { Number(raw); }"), 1);
    assert_eq!(found_among_items("use holdfast_types as Types;\nfn f(raw: u64) { Types::Term(raw); }"), 1);
    assert_eq!(found_among_items("impl From<u64> for Wrapped<Term> { fn from(raw: u64) -> Self { Self(raw) } }"), 0);
    assert_eq!(found_among_items("impl Said for Term { fn said(raw: u64) -> Self { Self(raw) } }"), 1);
    let aliased = file("types/src/names.rs", "pub use crate::Term as Number;\n");
    let user = file("kv/src/core/new.rs", &format!("{GUARD}fn f(raw: u64) {{ Number(raw); }}\n"));
    assert!(check(&[aliased, user]).iter().any(|problem| problem.starts_with("kv/src/core/new.rs:5")));
}

#[test]
fn a_sum_that_begins_with_a_literal_is_no_literal() {
    assert_eq!(found("let term = Term(0 + raw);"), 1);
    assert_eq!(found("let term = Term(1_u64.saturating_add(raw));"), 1);
    assert_eq!(found("let term = Term({ 0; raw });"), 1);
    assert_eq!(found("let term = Term(1 << 40);"), 0);
}

#[test]
fn newtypes_are_not_filled_otherwise() {
    assert_eq!(found("let term = Term { 0: raw };"), 1);
    assert_eq!(found("let epoch = RangeEpoch { membership: raw, bounds: 1 };"), 1);
    assert_eq!(found("let epoch = v1::RangeEpoch { membership: raw, bounds: 1 };"), 0, "a message");
    assert_eq!(found("let mut term = Term(0); term.0 = raw;"), 1);
    assert_eq!(found("let mut term = Term(0); std::mem::replace(&mut term.0, raw);"), 1);
}

#[test]
fn macros_hide_nothing() {
    assert_eq!(found("let all = vec![StoreId(raw)];"), 1);
    assert_eq!(found("let text = format!(\"{}\", Term(raw));"), 1);
    assert_eq!(found("let is = matches!(Term(raw), Term(1));"), 1);
    assert_eq!(found("let is = matches!(term, Term(_) if raw.checked_add(1).unwrap() > 1);"), 1);
    assert_eq!(found("tokio::select! { found = next() => { Term(found.unwrap()) } }"), 2);
    assert_eq!(found("tracing::warn!(term = %holdfast_types::Term(raw), \"late\");"), 1);
    assert_eq!(found_among_items("macro_rules! made { ($raw:expr) => { LogIndex($raw) }; }"), 1);
    assert_eq!(found_among_items("macro_rules! made { ($raw:expr) => { $raw.iter().sum() }; }"), 1);
    assert_eq!(found("tokio::select! { found = next() => { all[found] } }"), 1);
    assert_eq!(found("tracing::warn!(term = %term, ids = ?[1, 2], \"late\");"), 0);
}

#[test]
fn nothing_is_asserted_of_a_raw_number() {
    for asserted in ["assert!(raw < 4)", "debug_assert!(raw < 4)", "assert_eq!(raw, 4)", "debug_assert_ne!(raw, 4)"] {
        assert_eq!(found(&format!("{asserted};")), 1, "{asserted}");
    }
    for ends in ["panic!(\"{raw}\")", "unreachable!()", "todo!()", "unimplemented!()", "std::unreachable!()"] {
        assert_eq!(found(&format!("{ends};")), 1, "{ends}");
    }
    let in_tests = format!("{GUARD}#[cfg(test)]\nmod tests {{\nfn f() {{ assert!(true); }}\n}}\n");
    assert!(said("kv/src/core/new.rs", &in_tests).is_empty());
    let behind_tests = format!("{in_tests}fn f(raw: u64) {{ assert!(raw < 4); }}\n");
    assert_eq!(said("kv/src/core/new.rs", &behind_tests).len(), 1);
}

#[test]
fn nothing_is_unwrapped() {
    assert_eq!(found("let next = raw.checked_add(1).expect(\"small\");"), 1);
    assert_eq!(found("let next = raw.checked_add(1).unwrap();"), 1);
    assert_eq!(found("let all: Vec<u8> = all.into_iter().map(Result::unwrap).collect();"), 1);
    assert_eq!(found("let why = u8::try_from(raw).unwrap_err();"), 1);
    assert_eq!(found("let range = RangeId::made_by(store, raw);"), 1, "it asserts what it is given");
    assert_eq!(found("let next = raw.checked_add(1).unwrap_or_default();"), 0);
}

#[test]
fn sums_that_clippy_does_not_see_are_seen() {
    assert_eq!(found("let whole: u64 = sizes.iter().sum();") + found("let whole = sizes.iter().product::<u64>();"), 2);
    assert_eq!(found("let next = raw.add(1);") + found("let next = u64::add(raw, 1);"), 2);
    assert_eq!(found("let next = raw.pow(2);") + found("let next = raw.div_ceil(4);"), 2);
    assert_eq!(found("let whole = Iterator::sum::<u64>(sizes.iter());"), 1);
    assert_eq!(found("let whole = sizes.iter().fold(0, u64::saturating_add);"), 0);
}

#[test]
fn nothing_is_indexed() {
    assert_eq!(found("let one = map[&raw];"), 1, "a map panics too, and is no slice");
    assert_eq!(found("let part = &text[..raw];"), 1);
    assert_eq!(found("let part = bytes.split_to(raw);") + found("let (a, b) = bytes.split_at(raw);"), 2);
    assert_eq!(found("let next = rest.get_u64();"), 1, "it panics when nothing is left");
    assert_eq!(found("for part in bytes.chunks(raw) {}"), 1);
    assert_eq!(found("for part in bytes.chunks(8) {}") + found("let all = &bytes[..]; bytes.get(raw);"), 0);
    assert_eq!(found("let copy = Bytes::copy_from_slice(raw);"), 0);
}

#[test]
fn no_memory_is_taken_for_what_is_only_claimed() {
    assert_eq!(found("let all = Vec::with_capacity(raw);") + found("let all = vec![0; raw];"), 2);
    assert_eq!(found("all.reserve(raw);") + found("all.resize(raw, 0);") + found("let text = \"-\".repeat(raw);"), 3);
    assert_eq!(found("let all = BytesMut::zeroed(raw);") + found("all.map(Vec::with_capacity);"), 2);
    assert_eq!(found("let all = Vec::with_capacity(list.len() + 4);"), 0, "it is there");
    assert_eq!(found("let all = Vec::with_capacity(raw.min(limits::MOST));") + found("let all = vec![0; LENGTH];"), 0);
}

#[test]
fn what_is_named_like_tests_is_tests() {
    assert_eq!(said("kv/src/core/new.rs", "mod wire_tests;\n").len(), 1);
    assert_eq!(said("kv/src/core/new.rs", "mod tests;\n").len(), 1);
    assert!(said("kv/src/core/new.rs", "#[cfg(test)]\nmod tests;\nmod wire;\n").is_empty());
}

#[test]
fn what_cannot_be_read_is_said() {
    assert_eq!(said("kv/src/core/new.rs", "fn f( {\n").len(), 1);
}

#[test]
fn every_exception_has_a_reason_and_is_needed() {
    assert!(ELSEWHERE.iter().chain(UNGUARDED).all(|(_, reason)| reason.len() > 17));
    assert!(EXCUSED.iter().all(|(_, _, reason)| reason.len() > 17));
    assert_eq!(stale(&[], &[false; EXCUSED.len()]).len(), UNGUARDED.len() + EXCUSED.len());
    let (path, ..) = EXCUSED[0];
    let fine = check(&[file(path, "fn f() {}\n")]);
    assert!(fine.iter().any(|problem| problem.contains(path) && problem.contains("needs no exception for")));
}

//! Numbers from a socket or a disk are bounded where they are decoded, before anything is computed with them or asserted of them.
//!
//! What can be left to the compiler is: a file that sees raw numbers carries [`GUARD`], by which clippy refuses every sum, product,
//! index and panic in it. What remains is for this check:
//!
//! - a file that names generated messages, or reads integers from bytes, carries the guard, or stands in [`UNGUARDED`] with a reason
//! - such a file asserts nothing
//! - in such a file a bounded newtype is made by `bounded`, never by its constructor, unless [`MADE`] says why that number is not raw
//!
//! So what leaves the file is bounded, and all other files see nothing else.

use crate::Problem;
use crate::tree::File;

/// The first lines of code of a file that sees raw numbers. Its tests may fail on them.
const GUARD: &str = "#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]
";
/// Where what runs in a store lies.
const FOLDERS: &[&str] =
    &["proto/src/", "raft-transport/src/", "engine/src/", "replica/src/", "placement/src/", "kv/src/", "server/src/"];
/// By these a file sees raw numbers.
const RAW: &[&str] = &["v1::", "from_be_bytes", "from_le_bytes", "try_get_u"];
/// The newtypes that have a bound. Of [`Moment`](../../types/src/time.rs) every value is legal.
const BOUNDED: &[&str] = &[
    "StoreId",
    "RangeId",
    "ReplicaId",
    "Term",
    "LogIndex",
    "Incarnation",
    "Generation",
    "Slot",
    "Sequence",
    "LogCounter",
    "Timestamp",
];
/// Files that see raw numbers and are not guarded, and why that does no harm.
const UNGUARDED: &[(&str, &str)] = &[
    (
        "raft-transport/src/hostile.rs",
        "it makes the frames that the handshake is tried with, and asserts what must hold of its answers",
    ),
    ("raft-transport/src/outbound.rs", "it sends frames; those that answer them it hands to the handshake as they are"),
    ("raft-transport/src/transport.rs", "it names the service whose port it opens, and no message"),
    ("raft-transport/src/inbound.rs", "it hands first frames to the handshake, and of batches counts what they weigh"),
    (
        "raft-transport/src/support/incoming.rs",
        "it hands first frames to the handshake, and reckons with its own clock",
    ),
    ("raft-transport/src/support/outgoing.rs", "it hands answers to the handshake, and reckons with its own clock"),
    (
        "engine/src/rocks/wal_check.rs",
        "it reckons with places in the bytes that it has, and lengths of two bytes; counters it only compares",
    ),
    ("server/src/directory.rs", "of all messages it only names the one that a hint for clients becomes"),
];
/// Newtypes that are made of something else than a raw number: file, code, reason.
const MADE: &[(&str, &str, &str)] = &[
    ("raft-transport/src/hostile.rs", "StoreId(store)", "a number that this program wrote itself"),
    ("raft-transport/src/hostile.rs", "StoreId(if of_a_stranger", "one of two numbers that this program wrote itself"),
    (
        "engine/src/rocks/log.rs",
        "LogCounter(self.counter.load",
        "it was bounded when the log was opened, and has been counted on from since",
    ),
    ("engine/src/rocks/log.rs", "LogIndex(index)", "an index between two of the log's own, bounded as they were read"),
    (
        "engine/src/rocks/wal_check.rs",
        "newest.map(LogCounter)",
        "it is compared with the counter that the log itself has, and nothing else",
    ),
];

/// Checks every file that may see raw numbers.
pub(crate) fn check(files: &[File]) -> Vec<Problem> {
    let mut problems: Vec<_> = files.iter().filter(|file| sees_raw(file)).flat_map(check_file).collect();
    problems.extend(stale(files));
    problems
}

fn sees_raw(file: &File) -> bool {
    let is_ours = file.is_rust() && !file.is_tests() && FOLDERS.iter().any(|folder| file.path.starts_with(folder));
    is_ours && code(file).any(|(_, line)| RAW.iter().any(|raw| line.contains(raw)))
}

/// The lines of code, without comments.
fn code(file: &File) -> impl Iterator<Item = (usize, &str)> {
    file.lines_without_tests().map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
}

fn check_file(file: &File) -> Vec<Problem> {
    let path = &file.path;
    let mut problems = Vec::new();
    let is_guarded = file.text.contains(GUARD);
    if !is_guarded && !UNGUARDED.iter().any(|(unguarded, _)| unguarded == path) {
        problems.push(format!(
            "{path}: it sees numbers from a socket or a disk: decode them in a file of their own that begins with the guard of tidy/src/outside.rs"
        ));
    }
    for (number, line) in code(file) {
        if is_guarded && line.contains("assert") {
            problems.push(format!("{path}:{number}: an assertion where raw numbers are: refuse the message instead"));
        }
        let made = BOUNDED.iter().filter(|name| makes(line, name));
        let excused =
            |name: &str| MADE.iter().any(|(file, code, _)| file == path && line.contains(code) && code.contains(name));
        for name in made.filter(|name| !excused(name)) {
            problems.push(format!("{path}:{number}: {name} made of a raw number: use {name}::bounded"));
        }
    }
    problems
}

/// True when a line makes a newtype by its constructor, of anything but a literal; or maps raw numbers to it.
fn makes(line: &str, name: &str) -> bool {
    let is_name = |at: usize| line[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
    line.match_indices(name).filter(|(at, _)| is_name(*at)).any(|(at, _)| {
        let (before, rest) = (&line[..at], &line[at + name.len()..]);
        let of_something =
            rest.strip_prefix('(').is_some_and(|inside| !inside.starts_with(|c: char| c.is_ascii_digit()));
        let mapped = before.ends_with("map(") && rest.starts_with(')');
        // `To::StoreId(store)` is a variant of a message.
        !before.ends_with("::") && (of_something || mapped)
    })
}

/// Exceptions that nothing needs any more.
fn stale(files: &[File]) -> Vec<Problem> {
    let text = |path: &str| files.iter().find(|file| file.path == path);
    let unguarded =
        UNGUARDED.iter().filter(|(path, _)| text(path).is_none_or(|file| !sees_raw(file) || file.text.contains(GUARD)));
    let made = MADE
        .iter()
        .filter(|(path, snippet, _)| text(path).is_none_or(|file| !code(file).any(|(_, line)| line.contains(snippet))));
    let unguarded = unguarded.map(|(path, _)| format!("tidy/src/outside.rs: {path} needs no exception"));
    let made = made.map(|(path, snippet, _)| format!("tidy/src/outside.rs: {path} has no `{snippet}`"));
    unguarded.chain(made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn who_sees_raw_numbers_is_guarded() {
        let text = "fn f(m: v1::Forward) {\n}\n";
        assert_eq!(check(&[file("kv/src/core/new.rs", text)]).iter().filter(|p| p.contains("new.rs")).count(), 1);
        let guarded = format!("{GUARD}{text}");
        assert!(check_file(&file("kv/src/core/new.rs", &guarded)).is_empty());
        assert!(sees_raw(&file("engine/src/new.rs", "let at = u64::from_be_bytes(raw);")));
        assert!(!sees_raw(&file("kv/src/core/new.rs", "// v1::Forward\nfn f() {}\n")));
        assert!(!sees_raw(&file("kv/src/core/new_tests.rs", text)) && !sees_raw(&file("shell/src/new.rs", text)));
    }

    #[test]
    fn newtypes_are_made_by_their_bound() {
        let problems = |line: &str| check_file(&file("kv/src/core/new.rs", &format!("{GUARD}{line}\n"))).len();
        assert_eq!(problems("let store = StoreId(m.store_id);"), 1);
        assert_eq!(problems("let ids = ids.into_iter().map(ReplicaId).collect();"), 1);
        assert_eq!(problems("let at = Timestamp(u64::MAX);"), 1, "no more than any other");
        assert_eq!(problems("let store = StoreId::bounded(m.store_id)?;"), 0);
        assert_eq!(problems("let right = RangeId(0);"), 0, "a literal");
        assert_eq!(problems("let raw = store.0; To::StoreId(raw)"), 0, "a variant of a message");
        assert_eq!(problems("let other = MyStoreId(raw);"), 0);
        assert_eq!(problems("// StoreId(raw)"), 0);
    }

    #[test]
    fn nothing_is_asserted_of_a_raw_number() {
        let text = format!("{GUARD}assert!(m.file < 4);\n");
        assert_eq!(check_file(&file("kv/src/core/new.rs", &text)).len(), 1);
        let in_tests = format!("{GUARD}#[cfg(test)]\nmod tests {{\nassert!(true);\n}}\n");
        assert!(check_file(&file("kv/src/core/new.rs", &in_tests)).is_empty());
    }

    #[test]
    fn every_exception_has_a_reason_and_is_needed() {
        assert!(UNGUARDED.iter().all(|(_, reason)| reason.len() > 20));
        assert!(MADE.iter().all(|(_, _, reason)| reason.len() > 20));
        let missing = stale(&[]);
        assert_eq!(missing.len(), UNGUARDED.len() + MADE.len());
    }
}

//! Numbers from a socket or a disk are bounded where they are decoded, before anything is computed with them or asserted of them.
//!
//! What can be left to the compiler is: a file that sees raw numbers ([`raw`]) carries [`GUARD`], by which clippy refuses every sum, product,
//! index and panic in it. What remains is for this check, which reads the syntax tree:
//!
//! - a file that names generated messages, or reads numbers from bytes or text, carries the guard, or stands in [`UNGUARDED`] with a reason
//! - nothing in a guarded file is freed from it ([`guard`])
//! - such a file asserts nothing, unwraps nothing, and does not compute, index or take memory by functions that clippy does not know for
//!   it ([`offences`])
//! - in such a file a bounded newtype is made by `bounded`, never by its constructor, by whatever name or path, except of a constant
//! - [`EXCUSED`] says of single lines why they may
//! - a file that is named like tests is compiled for tests only: nothing in it is looked at
//!
//! So what leaves the file is bounded, and all other files see nothing else. What a syntax tree cannot tell: that a number is raw. A file
//! that hands raw numbers to functions of others that take integers passes.

mod code;
mod guard;
mod offences;
mod raw;
#[cfg(test)]
mod tests;

use syn::visit::Visit;

use crate::Problem;
use crate::tree::File;

use self::guard::GUARD;
use self::offences::{Aliases, Offence};

/// Folders whose programs see no strangers and none of their data, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("tests/", "it starts stores and asks them; what it asserts of answers are its tests"),
    ("hostile/", "it says what must not be believed, and asserts what must hold of the answers"),
    ("sim/", "its network and its disks are its own memory"),
    ("benches/", "it measures stores that it has started; a run that ends with a panic measured nothing"),
    ("client/src/mock/", "a fleet within a test of somebody's program, which asks it"),
    ("tidy/", "it reads the checkout"),
    ("k8s/image/", "it packs programs that were built beside it"),
    ("k8s/testkit/", "it boots Kubernetes clusters on the machine of a developer"),
    ("k8s/stage/", "it shows a fleet on the machine of a developer"),
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
        "engine/src/wal.rs",
        "it reckons with places in the bytes that it has, and lengths of two bytes; counters it only compares",
    ),
    ("server/src/directory.rs", "of all messages it only names the one that a hint for clients becomes"),
    (
        "server/src/import/progress.rs",
        "of its own notes it takes how many records it had read, and asks the digest of those whether that is so",
    ),
    ("server/src/import/duplicates.rs", "it compares numbers that it wrote itself, into a file that has no name"),
    ("server/src/import/marks.rs", "it compares numbers that it wrote itself, into a file that has no name"),
    (
        "replica/src/open.rs",
        "its records were bounded as they were read; an entry or a message it decodes only to show it",
    ),
    ("client/src/grpc/client.rs", "its own random bytes become its id"),
    ("k8s/control/src/diff.rs", "it shows where two objects differ, and computes nothing with what differs"),
    ("k8s/control/src/views.rs", "it cuts the numbers of an object; a key that is not there is null, as JSON has it"),
    (
        "shell/src/lang/literal.rs",
        "whoever typed a number is who is told of it; of hexadecimal ones it reads two digits",
    ),
];
/// Lines of files that see raw numbers which do what is not done there, to numbers that are not raw: file, code, reason.
const EXCUSED: &[(&str, &str, &str)] = &[
    ("raft-transport/src/hostile.rs", "StoreId(store)", "a number that this program wrote itself"),
    ("raft-transport/src/hostile.rs", "StoreId(if of_a_stranger", "one of two numbers that this program wrote itself"),
    (
        "engine/src/rocks/log.rs",
        "LogCounter(self.counter.load",
        "it was bounded when the log was opened, and has been counted on from since",
    ),
    ("engine/src/rocks/log.rs", "LogIndex(index)", "an index between two of the log's own, bounded as they were read"),
    ("engine/src/manifest.rs", "rest.split_to(len)", "the line begins with the question whether so much is there"),
    ("engine/src/memory/snapshot.rs", "file.slice(start..", "both ends were cut to the length of the file"),
    (
        "kv/src/core/addresses/file.rs",
        ".expect(\"texts and numbers under names",
        "it writes texts and numbers of its own, which JSON always can",
    ),
    (
        "kv/src/core/identity.rs",
        ".expect(\"a store has no more workers",
        "its own worker, of which the configuration bounds the number",
    ),
    ("proto/src/convert/kv.rs", "slice_ref(key.user_key())", "a part of the very bytes that it is cut from"),
    ("proto/src/fields.rs", ".expect(\"the descriptors that were compiled in\")", "bytes of the program itself"),
    ("raft-transport/src/support/frame.rs", "self.buffer.advance(whole)", "so much was just copied from it"),
    (
        "raft-transport/src/support/frame.rs",
        "self.begun.advance(bytes)",
        "the system never wrote more than it was given",
    ),
    (
        "replica/src/convert.rs",
        "LogIndex(entry.index)",
        "raft has only what the gate let in, or what it counted itself",
    ),
    ("replica/src/convert.rs", "Term(raw.term)", "raft has only what the gate let in, or what it counted itself"),
    (
        "replica/src/slots.rs",
        "unreachable!(\"a write is not answered like a read\")",
        "what a write of its own came to; nothing of it was decoded",
    ),
    ("server/src/start.rs", ".expect(\"bounded by the configuration\")", "its own configuration was checked before"),
    ("server/src/start.rs", ".expect(\"the descriptors are those", "bytes of the program itself"),
    (
        "engine/src/wal.rs",
        "newest.map(LogCounter)",
        "it is compared with the counter that the log itself has, and nothing else",
    ),
];

/// Checks every file that may see raw numbers.
pub(crate) fn check(files: &[File]) -> Vec<Problem> {
    let parsed: Vec<Parsed<'_>> = files.iter().filter(|file| is_looked_at(file)).map(Parsed::of).collect();
    let mut aliases = Aliases::default();
    parsed.iter().filter_map(|file| file.code.as_ref().ok()).for_each(|code| aliases.learn(code));
    let mut excused = vec![false; EXCUSED.len()];
    let mut problems: Vec<_> = parsed.iter().flat_map(|file| check_file(file, &aliases, &mut excused)).collect();
    problems.extend(stale(&parsed, &excused));
    problems
}

fn is_looked_at(file: &File) -> bool {
    let is_code = file.is_rust() && !file.is_tests() && file.path.contains("src/");
    is_code && !ELSEWHERE.iter().any(|(folder, _)| file.path.starts_with(folder))
}

/// A file and its syntax tree.
struct Parsed<'a> {
    file: &'a File,
    code: Result<syn::File, String>,
}

impl<'a> Parsed<'a> {
    fn of(file: &'a File) -> Self {
        Self { file, code: code::parse(&file.text) }
    }

    fn sees_raw(&self) -> bool {
        self.code.as_ref().is_ok_and(raw::sees_raw)
    }

    fn is_guarded(&self) -> bool {
        self.code.as_ref().is_ok_and(guard::is_guarded)
    }
}

fn check_file(parsed: &Parsed<'_>, aliases: &Aliases, excused: &mut [bool]) -> Vec<Problem> {
    let path = &parsed.file.path;
    let code = match &parsed.code {
        Ok(code) => code,
        Err(error) => return vec![format!("{path}: it cannot be read as Rust: {error}")],
    };
    let (sees_raw, is_guarded) = (parsed.sees_raw(), parsed.is_guarded());
    let mut problems = Vec::new();
    if sees_raw && !is_guarded && !UNGUARDED.iter().any(|(unguarded, _)| unguarded == path) {
        let says =
            "it sees numbers from a socket or a disk: decode them in a file of their own that begins with this guard";
        problems.push(format!("{path}: {says}\n{GUARD}"));
    }
    let mut offences = misnamed(code);
    if is_guarded {
        offences.extend(guard::undone(code));
    }
    if sees_raw || is_guarded {
        offences.extend(offences::find(code, aliases, is_guarded));
    }
    offences.sort_by_key(|offence| offence.line);
    offences.retain(|offence| !is_excused(parsed.file, offence, excused));
    problems.extend(offences.into_iter().map(|Offence { line, says }| format!("{path}:{line}: {says}")));
    problems
}

/// Notes the exceptions that are needed.
fn is_excused(file: &File, offence: &Offence, excused: &mut [bool]) -> bool {
    let line = file.text.lines().nth(offence.line.saturating_sub(1)).unwrap_or_default();
    let fitting =
        EXCUSED.iter().enumerate().filter(|(_, (path, snippet, _))| *path == file.path && line.contains(snippet));
    let fitting: Vec<usize> = fitting.map(|(at, _)| at).collect();
    fitting.iter().for_each(|at| excused[*at] = true);
    !fitting.is_empty()
}

/// Modules that are taken for tests by the names of their files, and are not.
fn misnamed(code: &syn::File) -> Vec<Offence> {
    struct Looking(Vec<Offence>);
    impl Visit<'_> for Looking {
        fn visit_item_mod(&mut self, module: &syn::ItemMod) {
            let name = module.ident.to_string();
            if module.content.is_none() && (name == "tests" || name.ends_with("_tests")) {
                let says = "a module of this name is taken for tests: put `#[cfg(test)]` before it".to_owned();
                self.0.push(Offence { line: module.ident.span().start().line, says });
            }
            syn::visit::visit_item_mod(self, module);
        }
    }
    let mut looking = Looking(Vec::new());
    looking.visit_file(code);
    looking.0
}

/// Exceptions that nothing needs any more.
fn stale(files: &[Parsed<'_>], excused: &[bool]) -> Vec<Problem> {
    let of = |path: &str| files.iter().find(|parsed| parsed.file.path == path);
    let unguarded =
        UNGUARDED.iter().filter(|(path, _)| of(path).is_none_or(|file| !file.sees_raw() || file.is_guarded()));
    let unguarded = unguarded.map(|(path, _)| format!("tidy/src/outside.rs: {path} needs no exception"));
    let lines = EXCUSED.iter().zip(excused).filter(|(_, is_needed)| !**is_needed);
    let lines =
        lines.map(|((path, snippet, _), _)| format!("tidy/src/outside.rs: {path} needs no exception for `{snippet}`"));
    unguarded.chain(lines).collect()
}

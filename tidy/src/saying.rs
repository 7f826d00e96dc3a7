//! What a store says goes through its log, where nobody can make it wait and nothing comes too often: no other way out is used.

use crate::Problem;
use crate::tree::File;

/// Crates that run in a store.
const CRATES: &[&str] = &[
    "types/src/",
    "proto/src/",
    "engine/src/",
    "replica/src/",
    "placement/src/",
    "raft-transport/src/",
    "kv/src/",
    "edge/src/",
    "files/src/",
    "trust/src/",
    "client/src/core/",
    "server/src/",
];

/// What speaks to whoever typed a command, and runs in no store. A new module of the server is taken for a part of a store.
const COMMANDS: &[&str] = &[
    "server/src/ca/",
    "server/src/completions.rs",
    "server/src/demo/",
    "server/src/dev.rs",
    "server/src/drain.rs",
    "server/src/export/",
    "server/src/fleet/",
    "server/src/forget.rs",
    "server/src/import/",
    "server/src/load.rs",
    "server/src/man.rs",
    "server/src/oneshot/",
    "server/src/site.rs",
    "server/src/sql/",
    "server/src/sql.rs",
    "server/src/status.rs",
    "server/src/token.rs",
    "server/src/trust/command.rs",
    // `config show` prints; what it does for a store goes by the log.
    "server/src/main.rs",
];

/// The log itself.
const LOG: &str = "server/src/log/";

/// Ways out beside the log, and what is wrong with each.
const WAYS_OUT: &[(&str, &str)] = &[
    ("println!", "it waits for whoever reads, and panics when nobody does any more"),
    ("print!", "it waits for whoever reads, and panics when nobody does any more"),
    ("dbg!", "it waits for whoever reads"),
    ("outln!", "it waits for whoever reads"),
    ("out!", "it waits for whoever reads"),
    ("errln!", "it waits for whoever reads"),
    ("err!", "it waits for whoever reads"),
    ("io::stdout(", "to write there waits for whoever reads"),
    ("io::stderr(", "to write there waits for whoever reads"),
    ("tracing_subscriber", "a second subscriber would be without the limits of the first"),
    ("set_hook", "a second hook for panics would undo that of the log"),
];

/// Checks what runs in a store.
pub(crate) fn check(files: &[File]) -> Vec<Problem> {
    files.iter().filter(|file| is_of_a_store(file)).flat_map(ways_out).collect()
}

fn is_of_a_store(file: &File) -> bool {
    let is_in = |places: &[&str]| places.iter().any(|place| file.path.starts_with(place));
    file.is_rust() && !file.is_tests() && is_in(CRATES) && !is_in(COMMANDS) && !file.path.starts_with(LOG)
}

fn ways_out(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, line) in file.lines_without_tests() {
        let code = line.split("//").next().unwrap_or_default();
        if let Some((way, why)) = WAYS_OUT.iter().find(|(way, _)| code.contains(way)) {
            problems.push(format!(
                "{}:{number}: {way}: {why}: use `tracing`, whose lines pass the limits of server/src/log",
                file.path
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> usize {
        check(&[File { path: path.to_owned(), text: text.to_owned() }]).len()
    }

    #[test]
    fn nothing_that_runs_in_a_store_speaks_beside_its_log() {
        for way in
            ["eprintln!(\"x\")", "print!(\"x\")", "io::stderr().lock()", "tracing_subscriber::fmt().init()", "dbg!(x)"]
        {
            let text = format!("fn f() {{\n    {way};\n}}\n// {way}\n");
            for place in ["kv/src/driver/a.rs", "raft-transport/src/a.rs", "server/src/a_new_module.rs"] {
                assert_eq!(problems(place, &text), 1, "{place}: {way}");
            }
            for place in ["server/src/log/mod.rs", "server/src/status.rs", "kv/tests/a.rs", "benches/src/a.rs"] {
                assert_eq!(problems(place, &text), 0, "{place}: {way}");
            }
        }
        assert_eq!(problems("kv/src/a.rs", "#[cfg(test)]\nmod tests {\n    println!();\n}\n"), 0);
    }
}

//! Every command, and outputs that do not take what it prints: a reader that is gone, a disk without room, a closed descriptor.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_tests::guarded::Guarded;
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;

use super::start_unfounded;

/// The exit code of a command whose reader went away, as of one that SIGPIPE ended.
const READER_GONE: i32 = 141;
/// What a command says when its output has no room.
const NO_ROOM: &str = "No space left on device";

/// What is run of each command. `{new}` is a path where nothing is yet, `{work}` the folder with the inputs, `{example}` a fleet file. A command
/// that may not succeed here still has to end without a panic, and alike wherever its output leads.
const RUNS: &[&str] = &[
    "status",
    "status --ranges --json",
    "status --wait ready --timeout 30s",
    "init",
    "get k",
    "get k other none",
    "get k --raw",
    "get k --hex",
    "get none --json",
    "put k v",
    "put k v --json",
    "put k v --if-absent --json",
    "put k --file {work}/value",
    "scan",
    "scan --json",
    "scan --keys-only --print0",
    "scan --count",
    "delete gone",
    "delete gone --json",
    "delete --prefix gone --yes",
    "sql -e 'SHOW STORES'",
    "sql -e 'SELECT * FROM default' --format csv",
    "import {work}/rows.csv --restart",
    "import {work}/rows.csv --restart --json",
    "export -o -",
    "export -o - --format csv",
    "export -o {new}.jsonl --json",
    "load --site site-a --seconds 1 --rows 50 --clients 2 --json",
    "drain s1 --cancel",
    "drain s1 --cancel --json",
    "forget s77",
    "forget --never-started --json",
    "site move nowhere --to 11111111-1111-1111-1111-111111111111",
    "token create --site site-a",
    "token create --site site-a --json",
    "token list",
    "token list --json",
    "token revoke 0000000000000007",
    "trust status",
    "trust status --json",
    "trust rotate add --root /dev/null",
    "trust rotate switch",
    "trust rotate remove",
    "trust rotate abort",
    "trust revoke site nowhere --yes",
    "trust restore site nowhere",
    "ca init --domain fleet.example {new}",
    "ca init --domain fleet.example {new} --json",
    "ca site east --root {work}/root --out {new}",
    "ca people --root {work}/root --out {new} --json",
    "ca request --client app --domain fleet.example --out {new}",
    "ca sign --issuer {work}/people {work}/asked/request.csr --out {new}",
    "ca leaf --issuer {work}/people --client app --out {new}",
    "ca bundle add --root {work}/root/root.crt {work}/people",
    "ca bundle remove --root {work}/root/root.crt {work}/people",
    "ca show {work}/root",
    "ca show {work}/root --json",
    "config show --site site-a --data-dir data --insecure",
    "config show --site site-a --data-dir data --insecure --json",
    "completions bash",
    "completions zsh",
    "man",
    "man --dir {new}",
    "fleet validate {example}",
    "fleet validate {example} --json",
    "fleet explain {example}",
    "fleet schema",
    "fleet render {example} --out {new}",
    "fleet plan {example} --kubeconfig /nowhere",
    "fleet apply {example} --kubeconfig /nowhere",
    "fleet status {example} --kubeconfig /nowhere --json",
    "fleet audit {example} --kubeconfig /nowhere",
    "fleet sync {example} --kubeconfig /nowhere",
    "fleet access {example} --kubeconfig /nowhere",
    "demo --seconds 3",
    "dev --first-port 0",
];
/// A store prints nothing, and serves whether its log is read or not.
const ELSEWHERE: [&str; 1] = ["start"];

/// Where what a command prints goes.
#[derive(Clone, Copy, Debug)]
enum Leads {
    /// To somebody who reads it.
    Reader,
    /// Into a pipe whose reader went away.
    Unread,
    /// To a disk without room.
    Full,
    /// Nowhere: the descriptor is closed.
    Closed,
}

struct Ended {
    code: Option<i32>,
    printed: Vec<u8>,
    said: String,
}

/// A path where nothing is yet.
fn new_path(work: &Path) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    work.join(format!("new-{}", NEXT.fetch_add(1, Ordering::Relaxed))).display().to_string()
}

fn words(run: &str, work: &Path) -> Vec<String> {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/examples/flat-mirror/fleet.yaml");
    let run = run
        .replace("{new}", &new_path(work))
        .replace("{work}", &work.display().to_string())
        .replace("{example}", example);
    // Of quotes there is one pair at most.
    let mut words: Vec<String> = Vec::new();
    for (at, part) in run.split('\'').enumerate() {
        match at % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

async fn run(scene: &Scene, run: &str, leads: Leads, work: &Path) -> Ended {
    let words = words(run, work);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut command = scene.command(&words);
    let is_own = ["config", "demo", "dev"].contains(&words[0]);
    if let Leads::Closed = leads {
        let program = command.as_std().get_program().to_owned();
        let environment: Vec<_> =
            command.as_std().get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
        command = tokio::process::Command::new("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" >&-"])
            .arg(program)
            .args(&words)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for (name, value) in environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    }
    if is_own {
        command.env_remove("HOLDFAST_TLS");
    }
    let output = match leads {
        Leads::Reader | Leads::Closed => Stdio::piped(),
        Leads::Unread => {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer.into()
        }
        Leads::Full => std::fs::File::options().write(true).open("/dev/full").unwrap().into(),
    };
    let child = command.current_dir(work).stdout(output).stderr(Stdio::piped()).spawn().unwrap();
    let ended = tokio::time::timeout(2 * wait::PATIENCE, child.wait_with_output()).await;
    let ended = ended.unwrap_or_else(|_| panic!("{words:?} does not end when its output leads to {leads:?}")).unwrap();
    Ended {
        code: ended.status.code(),
        printed: ended.stdout,
        said: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

/// The subcommands that have none below them, by the pages of the manual.
async fn leaves(scene: &Scene, work: &Path) -> BTreeSet<String> {
    let folder = new_path(work);
    assert!(scene.run(&["man", "--dir", &folder]).await.status.success());
    let pages = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> =
        pages.filter_map(|page| Some(page.strip_suffix(".1")?.strip_prefix("holdfast-")?.to_owned())).collect();
    let has_more = |name: &String| {
        names.iter().any(|other| other.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('-')))
    };
    names.iter().filter(|name| !has_more(name)).cloned().collect()
}

/// The subcommand that a run is of.
fn leaf_of<'a>(run: &str, leaves: &'a BTreeSet<String>) -> Option<&'a String> {
    let words: Vec<&str> = run.split_whitespace().collect();
    (1..=words.len()).rev().find_map(|many| leaves.get(&words[..many].join("-")))
}

async fn inputs(scene: &Scene) -> std::path::PathBuf {
    let work = scene.path("inputs");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::write(work.join("value"), "a value").unwrap();
    std::fs::write(work.join("rows.csv"), "id,text\nk,v\nother,w\n").unwrap();
    for made in [
        "ca init --domain fleet.example {work}/root",
        "ca people --root {work}/root --out {work}/people",
        "ca request --client app --domain fleet.example --out {work}/asked",
    ] {
        let ended = run(scene, made, Leads::Reader, &work).await;
        assert_eq!(ended.code, Some(0), "{made}: {}", ended.said);
    }
    work
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_ends_as_it_should_wherever_its_output_leads() {
    let Some(guarded) = Guarded::start().await else { return };
    let scene = &guarded.scene;
    let work = inputs(scene).await;
    scene.client().await.put("k", "v").await.unwrap();
    let leaves = leaves(scene, &work).await;
    let tried: BTreeSet<_> =
        RUNS.iter().map(|run| leaf_of(run, &leaves).unwrap_or_else(|| panic!("{run}: no such command"))).collect();
    let missing: Vec<_> =
        leaves.iter().filter(|leaf| !tried.contains(leaf) && !ELSEWHERE.contains(&leaf.as_str())).collect();
    assert!(leaves.len() > 30 && missing.is_empty(), "commands that are not tried here: {missing:?}");

    let mut wrong = Vec::new();
    for one in RUNS {
        let name = one.split_whitespace().next().unwrap();
        // They go on until somebody ends them, or for long; they print at once.
        let (usual, prints) = match name {
            "dev" | "demo" => (None, true),
            _ => {
                let ended = run(scene, one, Leads::Reader, &work).await;
                let prints = !ended.printed.is_empty();
                (Some(ended), prints)
            }
        };
        let usual_code = usual.as_ref().and_then(|ended| ended.code);
        let mut ends = vec![Leads::Unread, Leads::Full];
        ends.extend(usual.is_some().then_some(Leads::Closed));
        for leads in ends {
            let ended = run(scene, one, leads, &work).await;
            let (code, says) = match (leads, prints) {
                (Leads::Unread, true) => (Some(READER_GONE), None),
                (Leads::Full, true) => (Some(1), Some(NO_ROOM)),
                // A closed descriptor is one of /dev/null by the time that a Rust program begins.
                _ => (usual_code, None),
            };
            let is_quiet = matches!(leads, Leads::Unread) && prints && ended.said.contains("error");
            let is_said = says.is_none_or(|text| ended.said.contains(text));
            if ended.code != code || ended.said.contains("panicked") || is_quiet || !is_said {
                wrong.push(format!(
                    "{one}\n  output: {leads:?}, ends with {:?} and not {code:?}\n  {}",
                    ended.code,
                    ended.said.trim()
                ));
            }
        }
        if let Some(usual) = usual.filter(|usual| usual.said.contains("panicked")) {
            wrong.push(format!("{one}: {}", usual.said));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_founded_though_nobody_can_be_told() {
    let Some(scene) = Scene::prepare(2, 1).await else { return };
    let work = scene.path("inputs");
    std::fs::create_dir_all(&work).unwrap();
    for (index, (leads, code)) in [(Leads::Unread, READER_GONE), (Leads::Full, 1)].into_iter().enumerate() {
        let _child = start_unfounded(&scene, index).await;
        let client = scene.fleet.stores()[index].client;
        let founding = format!("init --at {client}");
        let ended = run(&scene, &founding, leads, &work).await;
        assert_eq!(ended.code, Some(code), "{}", ended.said);
        assert!(ended.said.contains(NO_ROOM) == (code == 1) && !ended.said.contains("panicked"), "{}", ended.said);
        let status = scene.run(&["status", "--wait", "ready", "--timeout", "30s", "--at", &client.to_string()]).await;
        assert!(status.status.success(), "{status:?}");
    }
}

/// What is printed before the reader goes away is whole, and what was meant to be done is done or not, never half.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_one_line_gets_it_and_nobody_is_told() {
    let Some(scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    for i in 0..2_000 {
        client.put(format!("row/{i:05}"), "v".repeat(200)).await.unwrap();
    }
    let program = scene.command(&[]).as_std().get_program().to_str().unwrap().to_owned();
    let at = scene.fleet.stores()[0].client.to_string();
    for printed in ["scan --limit 2000", "export -o -", "sql -e 'SELECT * FROM default'", "scan --limit 2000 --json"] {
        // The exit code of the command, not that of head.
        let script = format!("{{ {program} {printed}; echo $? >&3; }} 3>&2 2>said | head -1 | wc -l");
        let mut shell = tokio::process::Command::new("sh");
        shell.args(["-c", &script]).env("HOLDFAST_AT", &at).current_dir(scene.path(""));
        let ended = tokio::time::timeout(wait::PATIENCE, shell.output()).await.expect("it ends").unwrap();
        assert_eq!(String::from_utf8_lossy(&ended.stdout).trim(), "1", "{printed}");
        assert_eq!(String::from_utf8_lossy(&ended.stderr).trim(), "141", "{printed}");
        let said = std::fs::read_to_string(scene.path("said")).unwrap();
        assert!(!said.contains("error") && !said.contains("panicked"), "{printed}: {said}");
    }
}

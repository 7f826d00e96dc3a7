//! `holdfast import`: what is read is stored or told, broken off it goes on, and nothing of the user's is touched.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use holdfast_client::Client;
use holdfast_tests::scene::Scene;
use holdfast_tests::terminal::Terminal;
use holdfast_tests::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};

/// Rows of a file that takes a while at [`SLOWLY`].
const ROWS: usize = 4_000;
/// Rows in a second: enough are loaded before the first progress is kept, and far from all.
const SLOWLY: &str = "400";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

/// A file of many rows, with a heading, and two bad lines before its last one.
fn rows_csv(scene: &Scene) -> PathBuf {
    let mut content = String::from("id,text\n");
    for row in 0..ROWS {
        writeln!(content, "{row:06},{}", "a value of some length ".repeat(4)).unwrap();
    }
    content.push_str("one column only\n,no key\nlast,row\n");
    let path = scene.path("rows.csv");
    std::fs::write(&path, content).unwrap();
    path
}

/// Files in the folder of `path` whose names go on after its own.
fn beside(path: &Path) -> Vec<PathBuf> {
    let begins = format!("{}.", path.file_name().unwrap().to_str().unwrap());
    let names = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|other| other.file_name().unwrap().to_str().unwrap().starts_with(&begins)).collect()
}

/// The line up to which the progress in a folder says that all is stored.
fn kept_line(kept: &[PathBuf]) -> Option<u64> {
    // The draft of the next one may be beside it.
    let kept = kept.iter().find(|path| path.extension().is_none_or(|ending| ending != "draft"))?;
    let content = std::fs::read(kept).ok()?;
    serde_json::from_slice::<Value>(&content).ok()?["line"].as_u64()
}

/// Starts an import and waits until it has kept some progress.
async fn begun(mut command: Command, kept: impl Fn() -> Vec<PathBuf>) -> Child {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait::until_true("some of the progress is kept", || kept_line(&kept()) > Some(1)).await;
    child
}

async fn keys(client: &Client) -> usize {
    client.scan(..).collect().await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_off_it_goes_on_into_the_same_keyspace_and_begins_anew_in_another() {
    let Some(scene) = Scene::start(1).await else { return };
    let path = rows_csv(&scene);
    let file = path.to_str().unwrap();
    let client = scene.client().await;
    for name in ["one", "two"] {
        client.admin().create_keyspace(name).await.unwrap();
    }
    let command = scene.command(&["import", file, "--keyspace", "one", "--rate", SLOWLY]);
    let mut first = begun(command, || beside(&path)).await;
    first.kill().await.unwrap();
    let reached = kept_line(&beside(&path)).unwrap();

    let other = scene.run(&["import", file, "--keyspace", "two", "--json"]).await;
    assert_eq!(other.status.code(), Some(1), "two rows are bad: {}", text(&other.stderr));
    assert_eq!((&json(&other)["loaded"], &json(&other)["loaded_before"]), (&(ROWS + 1).into(), &0.into()));
    assert!(text(&other.stderr).contains("keyspace number"), "it says why: {}", text(&other.stderr));
    assert_eq!(keys(&client.keyspace("two").await.unwrap()).await, ROWS + 1);

    let again = scene.run(&["import", file, "--keyspace", "one", "--json"]).await;
    assert_eq!(again.status.code(), Some(1), "two rows are bad: {}", text(&again.stderr));
    let said = text(&again.stderr);
    assert!(said.contains(&format!("Going on after line {reached}")), "{said}");
    for bad in [ROWS + 2, ROWS + 3] {
        assert!(said.contains(&format!("line {bad}:")), "{said}");
    }
    let result = json(&again);
    let [now, before] = ["loaded", "loaded_before"].map(|name| result[name].as_u64().unwrap());
    assert_eq!((now + before, before, &result["bad"]), (ROWS as u64 + 1, reached - 1, &2.into()));
    assert_eq!(keys(&client.keyspace("one").await.unwrap()).await, ROWS + 1);
    assert!(beside(&path).is_empty(), "nothing is left to go on with");
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_it_keeps_what_it_came_to_and_files_of_that_name_are_left_alone() {
    let Some(scene) = Scene::start(1).await else { return };
    let path = rows_csv(&scene);
    let file = path.to_str().unwrap();
    let theirs = scene.path("rows.csv.holdfast-import");
    std::fs::write(&theirs, "theirs").unwrap();
    let ours = || beside(&path).into_iter().filter(|other| *other != theirs).collect::<Vec<_>>();
    let rejects = scene.path("bad.csv");
    let options = ["--rate", SLOWLY, "--rejects", rejects.to_str().unwrap()];
    let child = begun(scene.command(&[&["import", file], &options[..]].concat()), ours).await;
    let id = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(id, Signal::INT).unwrap();
    let ended = child.wait_with_output().await.unwrap();
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("interrupted. The same command goes on where this one stopped"), "{said}");
    // All that it says was stored is.
    let reached = usize::try_from(kept_line(&ours()).unwrap()).unwrap();
    assert_eq!(keys(&scene.client().await).await, reached - 1);

    let again = scene.run(&["import", file, "--rejects", rejects.to_str().unwrap()]).await;
    assert_eq!(again.status.code(), Some(1), "{}", text(&again.stderr));
    assert_eq!(keys(&scene.client().await).await, ROWS + 1);
    assert_eq!(std::fs::read_to_string(&rejects).unwrap(), "one column only\n,no key\n");
    assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "theirs");
    assert!(ours().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grows_while_it_is_loaded_is_no_success_and_the_next_import_loads_the_rest() {
    let Some(scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    let path = scene.path("growing.csv");
    let file = path.to_str().unwrap();
    for (which, rows, left_out) in [("last", 2, 0), ("first", 1, 1)] {
        let mut content = String::from("id,n\n");
        (0..ROWS).for_each(|row| writeln!(content, "{row:06},first").unwrap());
        std::fs::write(&path, content).unwrap();
        let keyspace = client.admin().create_keyspace(which).await.unwrap().id;
        let options = ["import", file, "--raw", "--json", "--keyspace", which, "--on-duplicate", which];
        let growing = begun(scene.command(&[&options[..], &["--rate", "1000"]].concat()), || beside(&path)).await;
        let second = scene.run(&options).await;
        assert_eq!(second.status.code(), Some(1));
        assert!(text(&second.stderr).contains("running in another process"), "{}", text(&second.stderr));

        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"000000,second\nlast,second\n").unwrap();
        let ended = growing.wait_with_output().await.unwrap();
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("has grown") || said.contains("is not what it was"), "{said}");
        assert!(said.contains("the same command goes on"), "{said}");

        let again = scene.run(&options).await;
        assert!(again.status.success(), "{}", text(&again.stderr));
        let result = json(&again);
        assert_eq!((&result["loaded"], &result["left_out"]), (&rows.into(), &left_out.into()), "{which}: {result}");
        let first = client.with_keyspace(keyspace).get("000000").await.unwrap().unwrap();
        assert_eq!(text(&first.value), if which == "last" { "second" } else { "first" });
        assert!(beside(&path).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_folder_takes_no_file_the_load_goes_on_and_so_does_the_next() {
    let Some(scene) = Scene::start(1).await else { return };
    let path = rows_csv(&scene);
    let home = scene.path("home");
    let kept = || {
        let folder = home.join(".local/state/holdfast/imports");
        std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    // In the folder of a process nobody makes files, whoever he is.
    let command = |options: &[&str]| {
        let mut command =
            scene.command(&[&["import", "/proc/self/fd/0", "--format", "csv", "--json"], options].concat());
        command.stdin(std::fs::File::open(&path).unwrap()).env("HOME", &home).env_remove("XDG_STATE_HOME");
        command
    };
    let mut first = begun(command(&["--rate", SLOWLY]), kept).await;
    first.kill().await.unwrap();
    let again = command(&[]).output().await.unwrap();
    let said = text(&again.stderr);
    assert!(said.contains("Going on after line"), "{said}");
    let result = json(&again);
    let [now, before] = ["loaded", "loaded_before"].map(|name| result[name].as_u64().unwrap());
    assert_eq!(now + before, ROWS as u64 + 1);
    assert_eq!(keys(&scene.client().await).await, ROWS + 1);
    assert!(kept().is_empty());

    // Without any place to keep it, all is loaded all the same.
    let mut nowhere = command(&[]);
    let nowhere = nowhere.env_remove("HOME").output().await.unwrap();
    assert_eq!(json(&nowhere)["loaded"], ROWS + 1);
    assert!(text(&nowhere.stderr).contains("begins anew the next time"), "{}", text(&nowhere.stderr));
}

/// Runs an import of standard input.
async fn piped(scene: &Scene, options: &[&str], content: &[u8]) -> Output {
    let path = scene.path("piped");
    std::fs::File::create(&path).unwrap().write_all(content).unwrap();
    let mut command = scene.command(&[&["import", "-", "--json"], options].concat());
    // A pipe, and no file that could be read twice.
    let mut cat = std::process::Command::new("cat").arg(&path).stdout(Stdio::piped()).spawn().unwrap();
    let output = command.stdin(cat.stdout.take().unwrap()).output().await.unwrap();
    cat.wait().unwrap();
    output
}

async fn stored(scene: &Scene) -> BTreeMap<String, String> {
    let client = scene.client().await;
    let rows = client.scan(..).collect().await.unwrap();
    client.delete_range(..).await.unwrap();
    rows.iter().map(|row| (text(&row.key), text(&row.value))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_is_read_packed_or_not() {
    let Some(scene) = Scene::start(1).await else { return };
    let content = b"id,n\na,1\nb,2\na,3\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(content).unwrap();
    let zstd = zstd::encode_all(&content[..], 1).unwrap();
    for content in [content.to_vec(), gzip.finish().unwrap(), zstd] {
        for (which, a) in [("last", "3"), ("first", "1")] {
            let output = piped(&scene, &["--format", "csv", "--raw", "--on-duplicate", which], &content).await;
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert_eq!(stored(&scene).await, BTreeMap::from([("a".into(), a.into()), ("b".into(), "2".into())]));
        }
    }
    let output = piped(&scene, &[], content).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--format"), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_packed_and_cut_off_is_no_success() {
    let Some(scene) = Scene::start(1).await else { return };
    let mut content = String::from("id,n\n");
    (0..50_000).for_each(|row| writeln!(content, "{row},{}", row * 7_919 % 10_007).unwrap());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(content.as_bytes()).unwrap();
    let whole = gzip.finish().unwrap();
    let path = scene.path("rows.csv.gz");
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let cut = scene.run(&["import", path.to_str().unwrap(), "--json"]).await;
    assert_eq!(cut.status.code(), Some(1));
    assert!(text(&cut.stderr).contains("the same command goes on there"), "{}", text(&cut.stderr));
    // The whole one is the same up to where it was cut.
    std::fs::write(&path, &whole).unwrap();
    let rest = scene.run(&["import", path.to_str().unwrap(), "--json"]).await;
    assert!(rest.status.success(), "{}", text(&rest.stderr));
    assert!(json(&rest)["loaded_before"].as_u64() > Some(1_000), "{}", json(&rest));
    assert_eq!(keys(&scene.client().await).await, 50_000);
}

/// Which file, which options, how many rows and bad records, which lines are named.
type Case = (&'static str, &'static [&'static str], u64, u64, &'static [u64]);

#[tokio::test(flavor = "multi_thread")]
async fn inputs_of_the_field_are_stored_or_told_and_the_exit_code_says_so() {
    let Some(scene) = Scene::start(1).await else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rows/tests/field");
    let cases: &[Case] = &[
        ("a02-unclosed-quote.csv", &[], 2, 1, &[2]),
        ("a03-latin1.csv", &[], 0, 2, &[2, 3]),
        ("a03-latin1.csv", &["--encoding", "latin1"], 2, 0, &[]),
        ("A06-UPPER.CSV", &[], 1, 0, &[]),
        ("a08-bom.jsonl", &["--key", "id"], 2, 0, &[]),
        ("a10-bigint.jsonl", &["--key", "id"], 2, 0, &[]),
        ("a11-dup-json-key.jsonl", &["--key", "id"], 0, 1, &[1]),
        ("a12-same-key-twice.csv", &[], 4_000, 0, &[]),
        ("a12-same-key-twice.csv", &["--on-duplicate", "error"], 2_000, 2_000, &[3, 5]),
        ("a14-key-order.jsonl", &["--key", "zid"], 2, 0, &[]),
        ("a15-tsv-quote.tsv", &[], 4, 0, &[]),
        ("a16-tsv-escaped.tsv", &[], 2, 0, &[]),
        ("a17-trailing-space-key.csv", &[], 2, 0, &[]),
        ("a19-semicolon.csv", &["--delimiter", ";"], 2, 0, &[]),
        ("a21-ragged.csv", &[], 1, 2, &[2, 3]),
        ("a22-embedded-newline.csv", &[], 2, 1, &[5]),
        ("a26-invalid-utf8.jsonl", &["--key", "id"], 1, 1, &[1]),
        ("a27-lone-surrogate.jsonl", &["--key", "id"], 1, 1, &[1]),
        ("a34-null-key.jsonl", &["--key", "id"], 0, 4, &[1, 2, 3, 4]),
    ];
    for (name, options, rows, bad, lines) in cases {
        let path = folder.join(name);
        let output = scene.run(&[&["import", path.to_str().unwrap(), "--json"], *options].concat()).await;
        let said = text(&output.stderr);
        let result = json(&output);
        assert_eq!(
            (&result["loaded"], &result["bad"]),
            (&(*rows).into(), &(*bad).into()),
            "{name} {options:?}: {said}"
        );
        assert_eq!(output.status.code(), Some(i32::from(*bad > 0)), "{name} {options:?}");
        for line in *lines {
            assert!(said.contains(&format!("line {line}:")), "{name} {options:?}: {said}");
        }
    }
    let refused: &[(&str, &[&str], &str)] =
        &[("a01-duplicate-heading.csv", &[], "both called \"tel\""), ("a14-key-order.jsonl", &[], "need --key FIELD")];
    for (name, options, why) in refused {
        let output = scene.run(&[&["import", folder.join(name).to_str().unwrap()], *options].concat()).await;
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(text(&output.stderr).contains(why), "{name}: {}", text(&output.stderr));
    }
    let semicolons = scene.run(&["import", folder.join("a19-semicolon.csv").to_str().unwrap()]).await;
    assert!(text(&semicolons.stderr).contains("warning:"), "{}", text(&semicolons.stderr));
    let folder = scene.run(&["import", folder.to_str().unwrap()]).await;
    assert!(text(&folder.stderr).contains("is a folder"), "{}", text(&folder.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_query_writes_as_csv_and_tsv_is_read_back_byte_for_byte() {
    let Some(scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    let values: [&[u8]; 9] =
        [b"", b"plain", b"a,\"b\"\r\n", b"tab\there \\ \\N", b"\\N", b"\xff\x00", b"base64:/w==", b" outer ", b"NULL"];
    for (number, value) in values.iter().enumerate() {
        client.put([&[b'k', 0xf0 + u8::try_from(number).unwrap()][..], *value].concat(), value.to_vec()).await.unwrap();
    }
    let rows = async |client: &Client| {
        let rows = client.scan(..).collect().await.unwrap();
        rows.into_iter().map(|row| (row.key, row.value)).collect::<Vec<_>>()
    };
    for (format, options) in [("csv", &["--null", ""][..]), ("tsv", &[])] {
        let written = scene.run(&["sql", "-e", "SELECT key, value FROM default", "--format", format]).await;
        assert!(written.status.success(), "{}", text(&written.stderr));
        let path = scene.path(&format!("rows.{format}"));
        std::fs::write(&path, &written.stdout).unwrap();
        let copy = client.admin().create_keyspace(format).await.unwrap().name;
        let line = ["import", path.to_str().unwrap(), "--raw", "--base64", "--keyspace", &copy];
        let output = scene.run(&[&line, options].concat()).await;
        assert!(output.status.success(), "{format}: {}", text(&output.stderr));
        assert_eq!(rows(&client.keyspace(&copy).await.unwrap()).await, rows(&client).await, "{format}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_rows_bytes_rate_and_time_left() {
    let Some(scene) = Scene::start(1).await else { return };
    let path = rows_csv(&scene);
    let program = holdfast_tests::scene::program().unwrap();
    let command = format!("{} import {} --rate {SLOWLY}; sleep 600", program.display(), path.display());
    let at = scene.fleet.addresses().join(",");
    let variables = [("HOLDFAST_AT", at.as_str())];
    let Some(terminal) = Terminal::start(&scene.path("."), 110, 24, &variables, &command) else { return };
    let is_so = |screen: &str| {
        let line = screen.lines().last().unwrap_or_default();
        ["% of ", " rows (", " read), ", " rows/s, ", " left"].iter().all(|part| line.contains(part))
    };
    terminal.wait_for("the bar of the import", is_so).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loading_a_file_is_measured_beside_other_ways() {
    let Some(scene) = Scene::prepare(3, 1).await else { return };
    let bench = holdfast_tests::scene::program().unwrap().with_file_name("holdfast-bench");
    let folder = scene.path("bench");
    std::fs::create_dir(&folder).unwrap();
    let mut command = Command::new(bench);
    command.args(["import", "--rows", "2000", "--singles", "1", "--rounds", "2", "--json", "--dir"]);
    command.arg(&folder).kill_on_drop(true);
    let ended = command.output().await.unwrap();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let found = json(&ended);
    let ways = found["ways"].as_array().unwrap();
    assert!(ways.len() + found["skipped"].as_array().unwrap().len() == 4, "{found}");
    assert_eq!(ways[0]["name"], "holdfast import");
    let rows = |round: usize| ways[0]["rounds"][round]["rows"].as_u64();
    assert_eq!([rows(0), rows(1), rows(2)], [Some(2_000), Some(2_000), None], "{found}");
    assert!(ways.iter().all(|way| way["rows_per_second"].as_f64() > Some(0.0)), "{found}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "nothing is left");
}

//! Exports of a fleet, and what imports make of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};

use bytes::Bytes;
use holdfast_client::{Client, Timestamp};
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use holdfast_types::{Key, Mutation, Request, Response};
use serde_json::Value;

/// A row without its version, which is the fleet's.
type Rows = BTreeMap<Bytes, (Bytes, Option<Timestamp>)>;

const DAY_MS: u64 = 24 * 3_600 * 1_000;

#[track_caller]
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{:?}: {}", output.status, said(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The same bytes every time.
fn random() -> impl FnMut() -> u64 {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// Rows of random bytes, texts that formats trip over, and expiries with and without a counter.
fn nasty(now: Timestamp) -> Rows {
    let texts = [
        "plain",
        "a,b",
        "\"",
        "\"\"",
        "tab\there",
        "line\nline",
        "\r",
        "\r\n",
        "\\",
        "\\N",
        "\\n",
        "NULL",
        "base64:",
        "base64:/w==",
        " outer ",
        "é",
        "{\"json\": 1.10}",
        "holdfast_export_1,key",
        "row",
        "end",
        "\u{feff}",
        "\u{2028}",
        "\0",
        "-",
    ];
    let mut random = random();
    let mut some_bytes =
        move |most: u64| -> Bytes { (0..random() % most).map(|_| random().to_le_bytes()[0]).collect() };
    let mut rows = Rows::new();
    for (index, text) in texts.iter().enumerate() {
        rows.insert(Bytes::from(format!("text {index} {text}")), (Bytes::from(*text), None));
        rows.insert(Bytes::from_static(texts[index].as_bytes()), (Bytes::new(), None));
    }
    for index in 0..500_u64 {
        let counter = if index.is_multiple_of(3) { 0 } else { index * 131 % 65_536 };
        let ends = Timestamp(Timestamp::from_ms(now.ms() + DAY_MS * (1 + index)).0 | counter);
        let ends = [None, Some(ends), Some(Timestamp(u64::MAX - index))][usize::try_from(index % 3).unwrap()];
        let key = [&index.to_be_bytes()[6..], &some_bytes(30)].concat();
        rows.insert(key.into(), (some_bytes(300), ends));
    }
    rows
}

async fn store(client: &Client, rows: &Rows) {
    for (key, (value, expires_at)) in rows {
        let key = Key::bound(client.keyspace_id(), key);
        let mutations = vec![Mutation { key, value: Some(value.clone()), expires_at: *expires_at }];
        let stored = client.call(Request::Write { conditions: Vec::new(), mutations }).await.unwrap();
        assert!(matches!(stored, Response::Written { .. }), "{stored:?}");
    }
}

async fn stored(client: &Client) -> Rows {
    let rows = client.scan(..).collect().await.unwrap();
    rows.into_iter().map(|row| (row.key, (row.value, row.expires_at))).collect()
}

/// The rows of an export of JSON lines, without their versions.
fn without_versions(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let rows = rows.filter(|row| row.get("key").is_some()).map(|mut row| {
        assert!(row.as_object_mut().unwrap().remove("version").is_some());
        row
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_is_imported_elsewhere_to_the_same_rows_and_expiries() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    let rows = nasty(client.fleet_now());
    store(&client, &rows).await;
    scene.split_at(&["\0\u{80}", "b"]).await;
    let first = scene.path("first.jsonl");
    done(&scene.run(&["export", "-o", first.to_str().unwrap()]).await);
    for told in ["not there yet", "there"] {
        let mut export = scene.command(&["export", "-o", "near.jsonl", "--json"]);
        let result: Value =
            serde_json::from_str(&done(&export.current_dir(scene.path("")).output().await.unwrap())).unwrap();
        let named = scene.path("").canonicalize().unwrap().join("near.jsonl");
        assert_eq!(result["file"], Value::from(named.to_str().unwrap()), "the file is {told}");
    }
    for (keyspace, ending) in [
        ("one", "jsonl.gz"),
        ("two", "csv"),
        ("three", "tsv.zst"),
        ("four", "csv.zst"),
        ("five", "tsv"),
        ("six", "jsonl"),
    ] {
        let other = client.with_keyspace(client.admin().create_keyspace(keyspace).await.unwrap().id);
        let file = scene.path(&format!("{keyspace}.{ending}"));
        let file = file.to_str().unwrap();
        let result: Value = serde_json::from_str(&done(&scene.run(&["export", "-o", file, "--json"]).await)).unwrap();
        let named = std::fs::canonicalize(file).unwrap();
        let named = Value::from(named.to_str().unwrap());
        assert_eq!((result["rows"].as_u64(), &result["file"]), (Some(rows.len() as u64), &named));
        assert_eq!(result["bytes"].as_u64(), Some(std::fs::metadata(file).unwrap().len()));
        done(&scene.run(&["import", file, "--keyspace", keyspace]).await);
        let elsewhere = stored(&other).await;
        for (key, row) in &rows {
            assert_eq!(elsewhere.get(key), Some(row), "{ending}: {}", key.escape_ascii());
        }
        assert_eq!(elsewhere.len(), rows.len(), "{ending}");
        let again = scene.path(&format!("{keyspace}-again.jsonl"));
        done(&scene.run(&["export", "-o", again.to_str().unwrap(), "--keyspace", keyspace]).await);
        assert_eq!(without_versions(&again), without_versions(&first), "{ending}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_through_a_pipe_into_another_keyspace() {
    let Some(scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    store(&client, &nasty(client.fleet_now())).await;
    let other = client.with_keyspace(client.admin().create_keyspace("other").await.unwrap().id);
    for format in ["jsonl", "csv", "tsv"] {
        let exported = scene.run(&["export", "-o", "-", "--format", format]).await;
        assert!(exported.status.success(), "{}", said(&exported));
        let file = scene.path("piped");
        std::fs::write(&file, &exported.stdout).unwrap();
        let input = std::fs::File::open(&file).unwrap();
        let import = scene.command(&["import", "-", "--keyspace", "other"]).stdin(input).output().await.unwrap();
        done(&import);
        assert_eq!(stored(&other).await, stored(&client).await, "{format}");
        other.delete_range(..).await.unwrap();
    }
}

/// Stores values of which each takes six times its bytes as text: the place of an export of them is kept after 64 MiB, long before its end.
async fn store_large(client: &Client) -> Timestamp {
    let mut newest = Timestamp::ZERO;
    for index in 0..16 {
        newest = client.put(format!("{index:02}"), vec![1; 1 << 20]).await.unwrap();
    }
    newest
}

/// Runs an export that is killed when it has written 80 MiB.
async fn run_until_killed(scene: &Scene, arguments: &[&str]) {
    const BLOCKS: usize = (80 << 20) / 512;
    let export = scene.command(arguments);
    let mut killed = tokio::process::Command::new("sh");
    let limited = format!("ulimit -f {BLOCKS}; exec \"$0\" \"$@\"");
    killed.arg("-c").arg(limited).arg(export.as_std().get_program()).args(export.as_std().get_args());
    for (name, value) in export.as_std().get_envs() {
        killed.env(name, value.unwrap_or_default());
    }
    let ended = tokio::time::timeout(wait::PATIENCE, killed.output()).await.expect("it ends").unwrap();
    assert!(!ended.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_was_killed_goes_on_and_its_file_is_what_it_would_have_been() {
    let Some(scene) = Scene::start(1).await else { return };
    let at = store_large(&scene.client().await).await.0.to_string();
    let (file, whole) = (scene.path("file.jsonl"), scene.path("whole.jsonl"));
    std::fs::write(&file, "before").unwrap();
    let arguments = ["export", "-o", file.to_str().unwrap(), "--at", &at];
    run_until_killed(&scene, &arguments).await;
    assert_eq!(std::fs::read(&file).unwrap(), b"before", "only a whole file takes its place");

    // Another export does not go on with it, and says why.
    let other = scene.run(&["export", "-o", file.to_str().unwrap()]).await;
    assert_eq!(other.status.code(), Some(1));
    assert!(said(&other).contains("another version") && said(&other).contains("--restart"), "{}", said(&other));

    let second = scene.run(&arguments).await;
    done(&second);
    assert!(said(&second).contains("Going on after "), "{}", said(&second));
    done(&scene.run(&["export", "-o", whole.to_str().unwrap(), "--at", &at]).await);
    assert!(std::fs::read(&file).unwrap() == std::fs::read(&whole).unwrap(), "byte for byte the same");
    for left in ["file.jsonl.holdfast-export", "file.jsonl.holdfast-export.part"] {
        assert!(!scene.path(left).exists(), "{left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_goes_on_shows_its_range_as_it_was_when_that_was_begun() {
    let Some(scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    store_large(&client).await;
    let file = scene.path("file.jsonl");
    let arguments = ["export", "-o", file.to_str().unwrap()];
    run_until_killed(&scene, &arguments).await;
    client.delete("14").await.unwrap();
    client.put("15", "new").await.unwrap();
    let second = scene.run(&arguments).await;
    done(&second);
    assert!(said(&second).contains("Going on after "), "{}", said(&second));
    let rows = without_versions(&file);
    let row = |key: &str| rows.iter().find(|row| row["key"] == key).map(|row| row["value"] == "new");
    assert_eq!(rows.len(), 16);
    assert_eq!((row("14"), row("15")), (Some(false), Some(false)), "what was deleted and what was changed meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_version_for_all_ranges_is_one_snapshot() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    client.put("a", "old").await.unwrap();
    let at = client.put("z", "old").await.unwrap();
    scene.split_at(&["m"]).await;
    client.put("a", "new").await.unwrap();
    client.put("z", "new").await.unwrap();
    client.put("zz", "new").await.unwrap();
    let exported = done(&scene.run(&["export", "-o", "-", "--at", &at.to_string()]).await);
    let lines: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["at"], at.0.to_string());
    assert_eq!(lines[0]["keyspace"], "default");
    let rows: Vec<_> = lines.iter().filter_map(|line| Some((line["key"].as_str()?, line["value"].as_str()?))).collect();
    assert_eq!(rows, [("a", "old"), ("z", "old")]);
    let end = &lines.last().unwrap()["holdfast_export_end"];
    assert_eq!((&end["read_from"], &end["read_to"]), (&Value::from(at.0.to_string()), &Value::from(at.0.to_string())));

    let newest = done(&scene.run(&["export", "-o", "-"]).await);
    let lines: Vec<Value> = newest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0].get("at").is_none());
    let end = &lines.last().unwrap()["holdfast_export_end"];
    let version = |name: &str| end[name].as_str().unwrap().parse::<u64>().unwrap();
    assert!(version("read_from") <= version("read_to") && version("read_from") > at.0, "{end}");
    assert_eq!(end["rows"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_choose_rows_and_nothing_is_a_file_too() {
    let Some(scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    for key in [&b"a/1"[..], b"a/2", b"b", b"\xff\x01"] {
        client.put(key, "v").await.unwrap();
    }
    let keys = async |bounds: &[&str]| {
        let exported = done(&scene.run(&[&["export", "-o", "-", "--format", "tsv"], bounds].concat()).await);
        let keys = exported.lines().filter_map(|line| line.strip_prefix("row\t")?.split('\t').next());
        keys.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(&[]).await, "a/1 a/2 b base64:/wE=");
    assert_eq!(keys(&["--prefix", "a/"]).await, "a/1 a/2");
    assert_eq!(keys(&["--prefix-hex", "ff"]).await, "base64:/wE=");
    assert_eq!(keys(&["--start", "a/2", "--end-hex", "ff"]).await, "a/2 b");
    assert_eq!(keys(&["--start-hex", "62"]).await, "b base64:/wE=");
    assert_eq!(keys(&["--prefix", "nothing"]).await, "");

    for refused in [
        &["--start", ""][..],
        &["--prefix", ""],
        &["--start", "b", "--end", "a"],
        &["--keyspace", "missing"],
        &["--keyspace", "77"],
    ] {
        let output =
            scene.run(&[&["export", "-o", scene.path("refused.csv").to_str().unwrap()], refused].concat()).await;
        assert_eq!(output.status.code(), Some(1), "{refused:?}: {}", said(&output));
        assert!(!scene.path("refused.csv").exists());
    }

    let file = scene.path("nothing.csv.gz");
    let file = file.to_str().unwrap();
    assert!(done(&scene.run(&["export", "-o", file, "--prefix", "nothing"]).await).starts_with("0 rows exported"));
    done(&scene.run(&["import", file]).await);
    assert_eq!(stored(&client).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_damaged_export_nothing_is_imported() {
    let Some(scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    let other = client.with_keyspace(client.admin().create_keyspace("other").await.unwrap().id);
    for index in 0..100 {
        client.put(format!("key {index:03}"), "value").await.unwrap();
    }
    for ending in ["jsonl", "csv", "tsv", "jsonl.gz", "csv.zst"] {
        let file = scene.path(&format!("file.{ending}"));
        done(&scene.run(&["export", "-o", file.to_str().unwrap()]).await);
        let whole = std::fs::read(&file).unwrap();
        let mut changed = whole.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        for damaged in [&changed[..], &whole[..whole.len() * 2 / 3]] {
            std::fs::write(&file, damaged).unwrap();
            let refused = scene.run(&["import", file.to_str().unwrap(), "--keyspace", "other"]).await;
            assert_eq!(refused.status.code(), Some(1), "{ending}: {}", said(&refused));
            // What is packed may be unreadable from its beginning.
            assert!(said(&refused).contains("line ") || ending.contains('.'), "{ending}: {}", said(&refused));
            assert_eq!(stored(&other).await, Rows::new(), "{ending}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_an_export_quietly_and_a_full_disk_is_said() {
    let Some(scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    for index in 0..50 {
        client.put(format!("{index:02}"), vec![b'v'; 100 << 10]).await.unwrap();
    }
    for format in ["jsonl", "csv", "tsv"] {
        let arguments = ["export", "-o", "-", "--format", format];
        let (reader, writer) = std::io::pipe().unwrap();
        let mut export = scene.command(&arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let first = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(reader), &mut line).unwrap();
            line
        });
        assert!(first.await.unwrap().contains("holdfast_export"));
        let code = tokio::time::timeout(wait::PATIENCE, export.wait()).await.expect("it ends").unwrap().code();
        let mut errors = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut export.stderr.take().unwrap(), &mut errors).await.unwrap();
        assert_eq!((code, errors.as_str()), (Some(141), ""), "{format}");

        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let child = scene.command(&arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let ended = child.wait_with_output().await.unwrap();
        assert_eq!(ended.status.code(), Some(1));
        assert!(said(&ended).starts_with("error: writing to standard output: No space left"), "{}", said(&ended));
    }
    for unwritable in
        ["/dev/full", "/dev/null", scene.path("").to_str().unwrap(), scene.path("no/folder.csv").to_str().unwrap()]
    {
        let refused = scene.run(&["export", "--format", "csv", "-o", unwritable]).await;
        assert_eq!(refused.status.code(), Some(1), "{unwritable}");
        assert!(said(&refused).starts_with("error: "), "{unwritable}: {}", said(&refused));
    }
}

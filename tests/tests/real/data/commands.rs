//! Single requests: every byte in, every byte out, and nothing done by mistake.

use std::collections::BTreeSet;
use std::process::{Output, Stdio};
use std::time::Duration;

use holdfast_client::{Batch, KeyspaceId};
use holdfast_proto::v1;
use holdfast_tests::raw;
use holdfast_tests::scene::Scene;
use holdfast_tests::terminal::Terminal;
use holdfast_tests::wait;
use holdfast_types::limits;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_stream::StreamExt;

use super::start_unfounded;

/// Everything that a line, a field, a text or a C string could end at.
const NASTY: &[u8] = b"a\tb\nc\r\nd\\e\0f\"g,\xff\xfe";

#[track_caller]
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn ended(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
}

#[track_caller]
fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Runs a command with this on its standard input.
async fn fed(scene: &Scene, arguments: &[&str], input: &[u8]) -> Output {
    let mut child =
        scene.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may stop reading before the end.
    let _ = stdin.write_all(input).await;
    drop(stdin);
    tokio::time::timeout(wait::PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_comes_out_as_it_went_in() {
    let Some(scene) = Scene::start(1).await else { return };
    ended(&fed(&scene, &["put", "stream", "-"], NASTY).await, 0);
    let file = scene.path("value");
    std::fs::write(&file, NASTY).unwrap();
    ended(&scene.run(&["put", "file", "--file", file.to_str().unwrap()]).await, 0);
    ended(&fed(&scene, &["put", "empty", "-"], b"").await, 0);
    for (key, value) in [("stream", NASTY), ("file", NASTY), ("empty", b"")] {
        assert_eq!(scene.run(&["get", key]).await.stdout, value, "{key}: nothing behind it, nothing changed in it");
        assert_eq!(scene.run(&["get", key, "--raw"]).await.stdout, value);
    }
    let digits: String = NASTY.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(scene.run(&["get", "file", "--hex"]).await.stdout, format!("{digits}\n").into_bytes());
    let marked = json_of(&scene.run(&["get", "file", "--json"]).await);
    assert_eq!(marked["value"], json!({"base64": "YQliCmMNCmRcZQBmImcs//4="}));
    let refused = scene.run(&["get", "file", "--print0"]).await;
    ended(&refused, 1);
    assert!(said(&refused).contains("--hex") && refused.stdout.is_empty(), "{}", said(&refused));

    // A key that no text can be.
    ended(&scene.run(&["put", "--key-hex", "00ff0a", "raw key"]).await, 0);
    assert_eq!(scene.run(&["get", "--key-hex", "00FF0A"]).await.stdout, b"raw key");
    let client = scene.client().await;
    assert_eq!(client.get(b"\0\xff\n").await.unwrap().unwrap().value, "raw key");
    let found = json_of(&scene.run(&["get", "--key-hex", "00ff0a", "--json"]).await);
    assert_eq!(found["key"], json!({"base64": "AP8K"}));
    ended(&scene.run(&["delete", "--key-hex", "00ff0a"]).await, 0);
    assert_eq!(client.get(b"\0\xff\n").await.unwrap(), None);
    ended(&scene.run(&["get", "--key-hex", "0"]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_beyond_the_limit_is_refused_while_it_is_read() {
    let Some(scene) = Scene::start(1).await else { return };
    let largest = vec![7; limits::MAX_VALUE_BYTES];
    ended(&fed(&scene, &["put", "k", "-"], &largest).await, 0);
    assert_eq!(scene.run(&["get", "k"]).await.stdout, largest);
    // There is no end of it: a program that read it all first would not end either.
    for arguments in [&["put", "k", "--file", "/dev/zero"][..], &["put", "k", "--file", "-"]] {
        let mut command = scene.command(arguments);
        command.stdin(std::fs::File::open("/dev/zero").unwrap());
        let refused = tokio::time::timeout(wait::PATIENCE, command.output()).await.expect("it ends").unwrap();
        ended(&refused, 1);
        assert!(said(&refused).contains("1048576 B"), "{}", said(&refused));
    }
    assert_eq!(scene.run(&["get", "k"]).await.stdout, largest, "nothing was written");
    ended(&scene.run(&["put", "k", "--file", "/nowhere"]).await, 1);
    ended(&scene.run(&["put", "k"]).await, 2);
    ended(&scene.run(&["put", "k", "v", "--file", "/dev/null"]).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_end_where_they_seem_to() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    client.put(NASTY.to_vec(), "1").await.unwrap();
    client.put("b", NASTY.to_vec()).await.unwrap();
    client.put("c\n", "").await.unwrap();
    scene.split_at(&["b"]).await;
    let escaped: &[u8] = b"a\\tb\\nc\\r\\nd\\\\e\0f\"g,\xff\xfe";
    let expected = [escaped, b"\t1\nb\t", escaped, b"\nc\\n\t\n"].concat();
    assert_eq!(scene.run(&["scan"]).await.stdout, expected);
    assert_eq!(scene.run(&["scan", "--keys-only"]).await.stdout, [escaped, b"\nb\nc\\n\n"].concat());
    assert_eq!(scene.run(&["scan", "c", "--print0"]).await.stdout, b"c\n\0\0");
    assert_eq!(scene.run(&["scan", "c", "--hex"]).await.stdout, b"630a\t\n");
    assert_eq!(scene.run(&["scan", "--prefix", "c", "--keys-only", "--print0"]).await.stdout, b"c\n\0");
    let refused = scene.run(&["scan", "--print0", "--reverse"]).await;
    ended(&refused, 1);
    assert_eq!(refused.stdout, b"c\n\0\0", "what can be shown is shown");
    let text = String::from_utf8(scene.run(&["scan", "--json"]).await.stdout).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!((&rows[1]["key"], &rows[1]["value"]), (&json!("b"), &json!({"base64": "YQliCmMNCmRcZQBmImcs//4="})));
    assert_eq!(rows[2]["key"], "c\n");

    // Many keys, each with its own, in the order in which they were asked for.
    let several = scene.run(&["get", "c", "b", "nothing"]).await;
    ended(&several, 1);
    assert_eq!(several.stdout, [b"b\t", escaped, b"\n"].concat(), "{}", said(&several));
    assert!(said(&several).contains("no such key: c") && said(&several).contains("no such key: nothing"));
    let several = scene.run(&["get", "--key-hex", "630a", "62", "--hex"]).await;
    ended(&several, 0);
    assert!(several.stdout.starts_with(b"630a\t\n62\t"), "{several:?}");
    let several = scene.run(&["get", "--json", "b", "nothing"]).await;
    let text = String::from_utf8(several.stdout.clone()).unwrap();
    let found: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&found[0]["key"], &found[1]), (&json!("b"), &json!({"key": "nothing", "value": null})));
    ended(&several, 1);
    ended(&scene.run(&["get", "b", "c", "--raw"]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_and_keys_carry_no_values_over_the_wire() {
    const ROWS: u64 = 25_000;
    let Some(mut scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    let numbers: Vec<u64> = (0..ROWS).collect();
    for page in numbers.chunks(500) {
        let batch = page.iter().fold(Batch::new(), |batch, i| batch.put(format!("row/{i:06}"), "a value"));
        client.batch(batch).await.unwrap();
    }
    client.put("row0", "a neighbour").await.unwrap();
    client.put_for("row/expired", "v", Duration::from_millis(1)).await.unwrap();
    scene.split_at(&["row/008000", "row/016000"]).await;
    let count = |arguments: &'static [&'static str]| {
        let scene = &scene;
        async move {
            let output = scene.run(arguments).await;
            ended(&output, 0);
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        }
    };
    assert_eq!(count(&["scan", "--prefix", "row/", "--count"]).await, ROWS.to_string());
    assert_eq!(count(&["scan", "row/000010", "row/000020", "--count"]).await, "10");
    assert_eq!(count(&["scan", "row/", "--count", "--limit", "12345"]).await, "12345");
    assert_eq!(count(&["scan", "--count", "--json"]).await, format!("{{\"count\":{}}}", ROWS + 1));

    // Also of a thin client, whichever store it asks.
    for store in 0..3 {
        let mut kv = raw::kv(scene.fleet.stores()[store].client).await;
        let asked = |mode: v1::ScanMode| v1::ScanRequest {
            start: "row/".into(),
            end: Some("row0".into()),
            mode: mode.into(),
            ..v1::ScanRequest::default()
        };
        let mut pages = kv.scan(asked(v1::ScanMode::Count)).await.unwrap().into_inner();
        let (mut counted, mut met) = (0, 0);
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            assert!(page.rows.is_empty(), "neither keys nor values");
            counted += page.counted;
            met += 1;
        }
        assert_eq!(counted, ROWS);
        assert!(met >= 3, "a page for each range at least");
        let mut pages = kv.scan(asked(v1::ScanMode::Keys)).await.unwrap().into_inner();
        let mut keys = BTreeSet::new();
        while let Some(page) = pages.next().await {
            for row in page.unwrap().rows {
                assert!(row.value.is_empty() && row.version > 0);
                keys.insert(row.key);
            }
        }
        assert_eq!(keys.len() as u64, ROWS);
        // A mode of later times: whole rows, of which whoever asks makes what he wants.
        let later = v1::ScanRequest { mode: 77, max_rows: 3, ..asked(v1::ScanMode::Rows) };
        let mut pages = kv.scan(later).await.unwrap().into_inner();
        let page = pages.next().await.unwrap().unwrap();
        assert_eq!((page.rows.len(), &page.rows[0].value[..], page.counted), (3, &b"a value"[..], 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_may_depend_on_what_is_there_and_end_by_itself() {
    let Some(scene) = Scene::start(1).await else { return };
    let run = async |arguments: &[&str]| scene.run(arguments).await;
    ended(&run(&["put", "k", "1", "--if-value", "0"]).await, 1);
    let written = run(&["put", "k", "1", "--if-absent", "--json"]).await;
    ended(&written, 0);
    let version = json_of(&written)["version"].as_str().unwrap().to_owned();
    assert_eq!(json_of(&written)["written"], true);

    let refused = run(&["put", "k", "2", "--if-absent"]).await;
    ended(&refused, 1);
    assert!(said(&refused).starts_with("not written: "), "{}", said(&refused));
    let refused = run(&["put", "k", "2", "--if-absent", "--json"]).await;
    ended(&refused, 1);
    let told = json_of(&refused);
    assert_eq!((&told["written"], &told["actual"]["value"]), (&json!(false), &json!("1")));
    assert_eq!(told["actual"]["version"], Value::from(version.clone()));
    assert_eq!(json_of(&run(&["put", "none", "2", "--if-version", "7", "--json"]).await)["actual"], Value::Null);

    // As JSON has it, and as people read it.
    let text = String::from_utf8(run(&["put", "k", "2", "--if-version", &version]).await.stdout).unwrap();
    let read = text.trim().strip_prefix("ok, version ").unwrap().to_owned();
    ended(&run(&["put", "k", "3", "--if-version", &version]).await, 1);
    ended(&run(&["put", "k", "3", "--if-version", &read]).await, 0);
    ended(&run(&["put", "k", "4", "--if-value", "3", "--ttl", "1h"]).await, 0);
    let found = json_of(&run(&["get", "k", "--json"]).await);
    assert_eq!(found["value"], "4");
    assert!(found["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{found}");
    ended(&run(&["put", "short", "v", "--ttl", "1ms"]).await, 0);
    let gone = async || (run(&["get", "short"]).await.status.code() == Some(1)).then_some(());
    wait::until("it is gone", gone).await;
    ended(&run(&["put", "k", "v", "--ttl", "0s"]).await, 1);
    for wrong in [
        &["put", "k", "v", "--if-absent", "--if-value", "x"][..],
        &["put", "k", "v", "--if-version", "yesterday"],
        &["put", "k", "v", "--ttl", "soon"],
    ] {
        ended(&run(wrong).await, 2);
    }
    assert_eq!(run(&["get", "k"]).await.stdout, b"4");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_that_nobody_meant() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    for i in 0..30 {
        client.put(format!("tmp/{i:02}"), "v").await.unwrap();
    }
    client.put("tmp0", "a neighbour").await.unwrap();
    scene.split_at(&["tmp/10"]).await;
    let refused = fed(&scene, &["delete", "--prefix", "tmp/"], b"y\n").await;
    ended(&refused, 1);
    assert!(said(&refused).contains("--yes"), "{}", said(&refused));
    for (wrong, code) in [
        (&["delete", "--prefix", "", "--yes"][..], 1),
        (&["delete"], 2),
        (&["delete", "k", "--prefix", "p"], 2),
        (&["delete", "k", "--yes"], 2),
    ] {
        ended(&scene.run(wrong).await, code);
    }
    assert_eq!(client.scan_prefix("tmp/").count().await.unwrap(), 30);

    // On a terminal somebody is asked, and anything but a yes is a no.
    let at = scene.fleet.addresses().join(",");
    let program = scene.command(&[]).as_std().get_program().to_str().unwrap().to_owned();
    let asks = format!(
        "echo n | {program} delete --prefix tmp/; {program} delete --prefix tmp/0; echo ended: $?; {program} delete --prefix tmp/0; echo all was asked; sleep 600"
    );
    let Some(terminal) = Terminal::start(&scene.path("."), 150, 40, &[("HOLDFAST_AT", &at)], &asks) else { return };
    terminal
        .wait_for("the question", |screen| screen.contains("10 keys begin with tmp/0. Delete them all? [y/N]"))
        .await;
    terminal.enter("n");
    terminal.wait_for("a no", |screen| screen.contains("nothing was deleted") && screen.contains("ended: 1")).await;
    assert_eq!(client.scan_prefix("tmp/").count().await.unwrap(), 30);
    terminal.wait_for("the next question", |screen| screen.matches("[y/N]").count() == 2).await;
    terminal.enter("yes");
    terminal
        .wait_for("a yes", |screen| screen.contains("ok, 10 keys deleted") && screen.ends_with("all was asked"))
        .await;
    assert_eq!(client.scan_prefix("tmp/").count().await.unwrap(), 20);

    let deleted = scene.run(&["delete", "--prefix", "tmp/", "--yes", "--json"]).await;
    ended(&deleted, 0);
    assert_eq!(json_of(&deleted), json!({"prefix": "tmp/", "deleted": 20}));
    assert_eq!(client.get("tmp0").await.unwrap().unwrap().value, "a neighbour");
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_without_a_key_and_keyspaces_that_do_not_exist_are_errors() {
    let Some(scene) = Scene::start(1).await else { return };
    let file = scene.path("rows.csv");
    std::fs::write(&file, "id,text\n1,a\n").unwrap();
    let file = file.to_str().unwrap();
    let exported = scene.path("rows.jsonl");
    for (arguments, word) in [
        (&["scan", ""][..], "START is empty"),
        (&["scan", "a", ""], "END is empty"),
        (&["scan", "b", "b"], "START must come before END"),
        (&["scan", "b", "a", "--count"], "START must come before END"),
        (&["scan", "--prefix", ""], "--prefix is empty"),
        (&["get", "k", "--keyspace", "4711"], "no keyspace 4711"),
        (&["put", "k", "v", "--keyspace", "4711"], "no keyspace 4711"),
        (&["delete", "k", "--keyspace", "4711"], "no keyspace 4711"),
        (&["delete", "--prefix", "k", "--yes", "--keyspace", "4711"], "no keyspace 4711"),
        (&["scan", "--keyspace", "4711"], "no keyspace 4711"),
        (&["scan", "--keyspace", "nothing"], "no keyspace"),
        (&["import", file, "--keyspace", "4711"], "no keyspace 4711"),
        (&["export", "-o", exported.to_str().unwrap(), "--keyspace", "4711"], "no keyspace 4711"),
    ] {
        let refused = scene.run(arguments).await;
        ended(&refused, 1);
        assert!(said(&refused).contains(word) && refused.stdout.is_empty(), "{arguments:?}: {refused:?}");
    }
    let client = scene.client().await;
    assert_eq!(client.with_keyspace(KeyspaceId(4711)).scan(..).count().await.unwrap(), 0, "nothing was written there");
    // One that exists is found by either.
    let id = client.admin().create_keyspace("orders").await.unwrap().id.0.to_string();
    ended(&scene.run(&["put", "k", "v", "--keyspace", &id]).await, 0);
    assert_eq!(scene.run(&["get", "k", "--keyspace", "orders"]).await.stdout, b"v");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_taken_as_people_write_it() {
    let Some(scene) = Scene::start(1).await else { return };
    let store = scene.fleet.stores()[0].client.to_string();
    ended(&scene.run(&["put", "k", "v"]).await, 0);
    for at in [format!("http://{store}"), format!("http://{store}/"), format!("127.0.0.1:1,http://{store}")] {
        assert_eq!(scene.run(&["get", "k", "--at", &at]).await.stdout, b"v", "{at}");
        ended(&scene.run(&["status", "--at", &at]).await, 0);
    }
    for wrong in ["", ",", "https://a", "a:b", "a/b", "http://"] {
        let refused = scene.run(&["get", "k", "--at", wrong]).await;
        ended(&refused, 2);
        assert!(!said(&refused).contains("panicked"));
    }
    let refused = scene.run(&["get", "k", "--at", "host.invalid"]).await;
    assert!(said(&refused).contains("host.invalid:7300"), "the default port: {}", said(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_fleet_is_told_what_is_missing() {
    let Some(mut scene) = Scene::prepare(3, 1).await else { return };
    let addresses = scene.fleet.addresses().join(",");
    // Nobody is there.
    let early = scene.run(&["status", "--wait", "ready", "--timeout", "300ms", "--at", &addresses]).await;
    ended(&early, 1);
    assert!(said(&early).contains("the fleet is not ready after 300ms"), "{}", said(&early));
    let mut waiting = scene.command(&["status", "--wait", "balanced", "--json", "--at", &addresses]);
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    scene.fleet.start().await.unwrap();
    let balanced =
        tokio::time::timeout(2 * wait::PATIENCE, waiting.wait_with_output()).await.expect("it ends").unwrap();
    ended(&balanced, 0);
    let status = json_of(&balanced);
    let stores = status["stores"].as_array().unwrap();
    assert!(stores.len() == 3 && stores.iter().all(|store| store["alive"] == true), "{status}");
    assert_eq!(status["ranges"], status["ranges_led"]);
    assert!(stores.iter().all(|store| store["replicas"].as_u64() > Some(0)), "{status}");

    scene.fleet.kill(2).unwrap();
    let missing = scene.run(&["status", "--wait", "ready", "--timeout", "3s", "--at", &addresses]).await;
    ended(&missing, 1);
    assert!(said(&missing).contains("site-c) does not answer"), "{}", said(&missing));
    ended(&scene.run(&["status", "--timeout", "3s"]).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_may_wait_until_its_fleet_serves() {
    let Some(scene) = Scene::prepare(1, 1).await else { return };
    let _child = start_unfounded(&scene, 0).await;
    ended(&scene.run(&["init", "--timeout", "5s"]).await, 2);
    let founded = scene.run(&["init", "--wait", "--json"]).await;
    ended(&founded, 0);
    assert_eq!(json_of(&founded)["fleet"].as_str().map(str::len), Some(32));
    // It serves at once: no retry, no pause.
    ended(&scene.run(&["put", "k", "v"]).await, 0);
    ended(&scene.run(&["status", "--wait", "ready", "--timeout", "1s"]).await, 0);
}

//! The shell's own ways in and out: scripts of any length, and results that import reads back.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Output;

use bytes::Bytes;
use holdfast_client::{Client, Timestamp};
use holdfast_tests::scene::Scene;
use holdfast_types::{Key, Mutation, Request};

/// Keys with their values and the milliseconds of their expiries.
type Rows = BTreeMap<Bytes, (Bytes, Option<u64>)>;

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What formats trip over, as keys and as values.
fn nasty() -> Rows {
    let texts: [&[u8]; 22] = [
        b"plain",
        b"a,b",
        b"a;b",
        b"\"",
        b"\"\"",
        b"it's",
        b"tab\there",
        b"line\nline",
        b"\r",
        b"\r\n",
        b"\\",
        b"\\N",
        b"\\n",
        b"NULL",
        b" outer ",
        b"base64:",
        b"base64:AP8=",
        b"x'00ff'",
        b"\0\xff\n",
        b"\x1b[2J",
        "\u{feff}zo\u{eb}\u{2028}".as_bytes(),
        b"{\"n\": 1.10}",
    ];
    let ends = [None, Some(4_102_444_800_123)];
    let row = |(at, text): (usize, &&'static [u8])| {
        (Bytes::from_static(text), (Bytes::from_static(texts[(at + 5) % texts.len()]), ends[at % 2]))
    };
    let mut rows: Rows = texts.iter().enumerate().map(row).collect();
    rows.insert(Bytes::from_static(b"empty"), (Bytes::new(), None));
    rows
}

async fn store(client: &Client, rows: &Rows) {
    let mutations = rows.iter().map(|(key, (value, ends))| Mutation {
        key: Key::bound(client.keyspace_id(), key),
        value: Some(value.clone()),
        expires_at: ends.map(Timestamp::from_ms),
    });
    let write = Request::Write { conditions: Vec::new(), mutations: mutations.collect() };
    client.call(write).await.unwrap();
}

async fn stored(client: &Client) -> Rows {
    let rows = client.scan(..).collect().await.unwrap();
    rows.into_iter().map(|row| (row.key, (row.value, row.expires_at.map(Timestamp::ms)))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_shell_writes_is_imported_elsewhere_to_the_same_rows() {
    let Some(scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    let rows = nasty();
    store(&client, &rows).await;
    for (keyspace, format) in [("commas", "csv"), ("tabs", "tsv")] {
        let select = "SELECT key, value, expires FROM default";
        let written = done(&scene.run(&["sql", "-e", select, "--format", format]).await);
        let file = scene.path(&format!("rows.{format}"));
        std::fs::write(&file, written).unwrap();
        let other = client.with_keyspace(client.admin().create_keyspace(keyspace).await.unwrap().id);
        let file = file.to_str().unwrap();
        let import = ["import", file, "--raw", "--base64", "--expires", "expires", "--keyspace", keyspace, "--strict"];
        done(&scene.run(&import).await);
        let elsewhere = stored(&other).await;
        for (key, row) in &rows {
            assert_eq!(elsewhere.get(key), Some(row), "{format}: {}", key.escape_ascii());
        }
        assert_eq!(elsewhere.len(), rows.len(), "{format}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_any_length_are_carried_out_whole() {
    let Some(mut scene) = Scene::start(1).await else { return };
    scene.split_at(&["row/03", "row/07"]).await;
    let rows: Vec<String> = (0..10_000).map(|row| format!("('row/{row:05}', 'v')")).collect();
    let mut script = format!("\u{feff}UPSERT INTO default VALUES {};\n", rows.join(", "));
    let keys: Vec<String> = (0..20_000).map(|key| format!("'row/{key:05}'")).collect();
    let _ = writeln!(script, "SELECT COUNT(*) FROM default WHERE key IN ({});", keys.join(","));
    let lines = "one; two\n".repeat(20_000);
    let _ = writeln!(script, "UPSERT INTO default VALUES ('text', '{lines}');");
    script.push_str("SELECT COUNT(*) FROM default; SELECT COUNT(*) FROM default WHERE key STARTS WITH 'row/05';");
    let file = scene.path("long.sql");
    std::fs::write(&file, script).unwrap();
    let said = done(&scene.run(&["sql", "-f", file.to_str().unwrap()]).await);
    assert_eq!(said, "count(*)\n10000\ncount(*)\n10001\ncount(*)\n1000\n");
    let text = scene.client().await.get("text").await.unwrap().expect("it was written");
    assert_eq!(text.value, lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_time_is_over_when_they_are_written_are_gone_at_once() {
    let Some(scene) = Scene::start(1).await else { return };
    let script = "
        UPSERT INTO default VALUES ('epoch', 'v', '1970-01-01'), ('before', 'v', '1600-02-29 12:00:00'), ('stays', 'v');
        UPSERT INTO default VALUES ('now', 'v', NOW()), ('long ago', 'v', NOW() - INTERVAL '100000 weeks');
        SELECT COUNT(*) FROM default; SELECT key FROM default;
        UPDATE default SET expires = '1969-07-20 20:17:40' WHERE key = 'stays';
        SELECT COUNT(*) FROM default";
    let said = done(&scene.run(&["sql", "-e", script]).await);
    assert_eq!(said, "count(*)\n1\nkey\nstays\ncount(*)\n0\n");
    assert_eq!(stored(&scene.client().await).await, Rows::new());
}

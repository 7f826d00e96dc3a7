//! What commands print for programs: its shape is documented in docs/machine-output.md, and stays.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use holdfast_tests::guarded::Guarded;
use holdfast_tests::scene::Scene;
use serde_json::Value;

/// A heading of the document, and the commands whose output it describes: several, where one does not show everything that may be there.
const SHAPES: &[(&str, &[&str])] = &[
    ("holdfast get", &["get k binary --json", "get none --json", "get short --json"]),
    (
        "holdfast put",
        &[
            "put k v --json",
            "put k v --if-absent --json",
            "put none v --if-version 7 --json",
            "put short v --ttl 1h --if-absent --json",
            "put short v --if-absent --json",
        ],
    ),
    ("holdfast delete", &["delete nothing --json"]),
    ("holdfast delete --prefix", &["delete --prefix nothing --yes --json"]),
    ("holdfast scan", &["scan --json"]),
    ("holdfast scan --keys-only", &["scan --json --keys-only"]),
    ("holdfast scan --count", &["scan --json --count"]),
    ("holdfast import", &["import {work}/rows.csv --json --restart"]),
    ("holdfast import --dry-run", &["import {work}/rows.csv --json --dry-run"]),
    ("holdfast export", &["export -o {work}/out.jsonl --json"]),
    ("holdfast status", &["status --json", "status --json --ranges"]),
    ("holdfast drain", &["drain s1 --cancel --json"]),
    ("holdfast forget", &["forget --never-started --json"]),
    ("holdfast load", &["load --site site-a --seconds 1 --rows 50 --clients 2 --json"]),
    ("holdfast token create", &["token create --site site-a --json"]),
    ("holdfast token list", &["token list --json"]),
    ("holdfast trust status", &["trust status --json"]),
    ("holdfast ca init", &["ca init --domain fleet.example {work}/root --json"]),
    ("holdfast ca people", &["ca people --root {work}/root --out {work}/people --json"]),
    ("holdfast ca request", &["ca request --client app --domain fleet.example --out {work}/asked --json"]),
    ("holdfast ca sign", &["ca sign --issuer {work}/people {work}/asked/request.csr --out {work}/app.crt --json"]),
    ("holdfast ca leaf", &["ca leaf --issuer {work}/people --client app --out {work}/app --json"]),
    ("holdfast ca bundle add", &["ca bundle add --root {work}/root/root.crt {work}/people --json"]),
    ("holdfast ca show", &["ca show {work}/root --json", "ca show {work}/asked --json"]),
    ("holdfast config show", &["config show --site site-a --data-dir data --insecure --json"]),
    ("holdfast fleet validate", &["fleet validate {example} --json"]),
];

/// What may stand at a place.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Kinds {
    kinds: BTreeSet<String>,
    may_be_missing: bool,
}

type Places = BTreeMap<String, Kinds>;

/// What is at each place of some JSON.
#[derive(Default)]
struct Shape {
    places: BTreeMap<String, (BTreeSet<String>, usize)>,
    objects: BTreeMap<String, usize>,
}

impl Shape {
    fn add(&mut self, place: &str, value: &Value) {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "number",
            Value::String(_) => "text",
            Value::Array(_) => "list",
            Value::Object(_) => "object",
        };
        let (kinds, times) = self.places.entry(place.to_owned()).or_default();
        kinds.insert(kind.to_owned());
        *times += 1;
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.add(&format!("{place}[]"), item)),
            Value::Object(fields) => {
                *self.objects.entry(place.to_owned()).or_default() += 1;
                let dot = if place.is_empty() { "" } else { "." };
                fields.iter().for_each(|(name, field)| self.add(&format!("{place}{dot}{name}"), field));
            }
            _ => {}
        }
    }

    fn places(&self) -> Places {
        let one = |(place, (kinds, times)): (&String, &(BTreeSet<String>, usize))| {
            let many = self.objects.get(around(place)).copied().unwrap_or_default();
            let may_be_missing = !place.ends_with("[]") && many > *times;
            (place.clone(), Kinds { kinds: kinds.clone(), may_be_missing })
        };
        self.places.iter().filter(|(place, _)| !place.is_empty()).map(one).collect()
    }
}

/// The object or list that a place lies in.
fn around(place: &str) -> &str {
    match place.strip_suffix("[]") {
        Some(list) => list,
        None => place.rsplit_once('.').map_or("", |(around, _)| around),
    }
}

/// The lines of a block.
fn lines(places: &Places) -> String {
    let line = |(place, kinds): (&String, &Kinds)| {
        let or_missing = if kinds.may_be_missing { ", may be missing" } else { "" };
        format!("{place}: {}{or_missing}\n", kinds.kinds.iter().cloned().collect::<Vec<_>>().join(", "))
    };
    places.iter().map(line).collect()
}

fn read(block: &str) -> Places {
    let line = |line: &str| {
        let (place, kinds) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no line of a shape"));
        let (kinds, may_be_missing) = match kinds.strip_suffix(", may be missing") {
            Some(kinds) => (kinds, true),
            None => (kinds, false),
        };
        (place.to_owned(), Kinds { kinds: kinds.split(", ").map(str::to_owned).collect(), may_be_missing })
    };
    block.lines().map(line).collect()
}

/// What was found and is not documented, or the other way round. Not every run shows everything that may be there.
fn differences(documented: &Places, found: &Places) -> Vec<String> {
    let mut wrong = Vec::new();
    for (place, kinds) in found {
        match documented.get(place) {
            None => wrong.push(format!("{place} is not documented")),
            Some(known) => {
                wrong.extend(kinds.kinds.difference(&known.kinds).map(|kind| format!("{place} is {kind}")));
                if kinds.may_be_missing && !known.may_be_missing {
                    wrong.push(format!("{place} is missing sometimes"));
                }
            }
        }
    }
    for (place, known) in documented {
        let around = around(place);
        // Of an empty list there are no items.
        let may_show = !place.ends_with("[]") && (around.is_empty() || found.contains_key(around));
        let is_object = around.is_empty() || found.get(around).is_some_and(|found| found.kinds.contains("object"));
        if may_show && is_object && !known.may_be_missing && !found.contains_key(place) {
            wrong.push(format!("{place} is gone"));
        }
    }
    wrong
}

/// Everything that is in one of the two.
fn united(documented: &Places, found: &Places) -> Places {
    let mut all = documented.clone();
    for (place, kinds) in found {
        let known = all.entry(place.clone()).or_insert_with(|| kinds.clone());
        known.kinds.extend(kinds.kinds.iter().cloned());
        known.may_be_missing |= kinds.may_be_missing;
    }
    all
}

async fn shape(scene: &Scene, commands: &[&str]) -> Places {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/examples/flat-mirror/fleet.yaml");
    let work = scene.path("inputs").display().to_string();
    let mut shape = Shape::default();
    for command in commands {
        let command = command.replace("{work}", &work).replace("{example}", example);
        let words: Vec<&str> = command.split_whitespace().collect();
        let mut running = scene.command(&words);
        if words[0] == "config" {
            running.env_remove("HOLDFAST_TLS");
        }
        let output = running.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let values: Vec<Value> = serde_json::Deserializer::from_slice(&output.stdout)
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("{command}: {error}: {said}"));
        assert!(!values.is_empty(), "{command} prints nothing: {said}");
        values.iter().for_each(|value| shape.add("", value));
    }
    shape.places()
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/machine-output.md")
}

/// Where the block below this heading begins and ends. `None`: there is no such heading, or no block.
fn block_of(document: &str, heading: &str) -> Option<std::ops::Range<usize>> {
    const FENCE: &str = "```text\n";
    let heading = format!("\n## `{heading}`\n");
    let after = document.find(&heading)? + heading.len();
    let next = document[after..].find("\n## ").map_or(document.len(), |at| after + at);
    let begins = after + document[after..next].find(FENCE)? + FENCE.len();
    let ends = begins + document[begins..next].find("```")?;
    Some(begins..ends)
}

#[test]
fn what_is_documented_is_compared_with_what_is_printed() {
    let text = "# T\n\n## `a`\nwords\n```text\nx: text\n```\n\n## `b`\n```text\n```\n";
    assert_eq!(block_of(text, "a").map(|block| &text[block]), Some("x: text\n"));
    assert_eq!(block_of(text, "b").map(|block| &text[block]), Some(""));
    assert_eq!(block_of(text, "c"), None);
    let mut shape = Shape::default();
    for value in [serde_json::json!({"a": 1, "b": [{"c": null}, {"c": "x", "d": true}]}), serde_json::json!({"b": []})]
    {
        shape.add("", &value);
    }
    let found = shape.places();
    let written =
        "a: number, may be missing\nb: list\nb[]: object\nb[].c: null, text\nb[].d: true or false, may be missing\n";
    assert_eq!((lines(&found).as_str(), &read(written)), (written, &found));
    assert_eq!(differences(&found, &found), Vec::<String>::new());
    for (documented, wrong) in [
        (
            "a: number\nb: list\nb[]: object\nb[].c: null, text\nb[].d: true or false, may be missing\n",
            "a is missing sometimes",
        ),
        (
            "a: number, may be missing\nb: list\nb[]: object\nb[].c: text\nb[].d: true or false, may be missing\n",
            "b[].c is null",
        ),
        ("a: number, may be missing\nb: list\nb[]: object\nb[].c: null, text\n", "b[].d is not documented"),
        (&format!("{written}e: text\n"), "e is gone"),
        (&format!("{written}b[].e: text\n"), "b[].e is gone"),
    ] {
        assert_eq!(differences(&read(documented), &found), [wrong]);
        assert_eq!(
            differences(&united(&read(documented), &found), &united(&read(documented), &found)),
            Vec::<String>::new()
        );
    }
    let more = format!("{written}b[].f: text, may be missing\ng: null, may be missing\n");
    assert_eq!(differences(&read(&more), &found), Vec::<String>::new(), "not every run shows everything");
}

/// With `UPDATE_GOLDENFILES=1` the document is written anew. Read the difference: programs of other people stand on it.
#[tokio::test(flavor = "multi_thread")]
async fn the_machine_output_of_every_command_is_as_documented() {
    let Some(guarded) = Guarded::start().await else { return };
    let scene = &guarded.scene;
    let work = scene.path("inputs");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::write(work.join("rows.csv"), "id,text\nk,v\n,w\n").unwrap();
    let client = scene.client().await;
    client.put("binary", b"\xff\0".to_vec()).await.unwrap();
    client.put(b"\xfe".to_vec(), "v").await.unwrap();
    client.put("k", "v").await.unwrap();
    client.put_for("short", "v", std::time::Duration::from_secs(3_600)).await.unwrap();
    let mut document = std::fs::read_to_string(path()).unwrap();
    let mut wrong = Vec::new();
    for (heading, commands) in SHAPES {
        let found = shape(scene, commands).await;
        let Some(block) = block_of(&document, heading) else {
            wrong.push(format!("## `{heading}`: there is no such block; it is\n```text\n{}```", lines(&found)));
            continue;
        };
        let documented = read(&document[block.clone()]);
        wrong.extend(differences(&documented, &found).into_iter().map(|what| format!("## `{heading}`: {what}")));
        document.replace_range(block, &lines(&united(&documented, &found)));
    }
    if std::env::var("UPDATE_GOLDENFILES").as_deref() == Ok("1") {
        std::fs::write(path(), &document).unwrap();
        return;
    }
    assert!(wrong.is_empty(), "docs/machine-output.md says otherwise:\n{}", wrong.join("\n"));
}

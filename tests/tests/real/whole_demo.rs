//! `holdfast demo` as a script runs it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tokio::process::Child;

/// Far beyond six seconds of load, the start and the reading back.
const WITHIN: Duration = Duration::from_secs(120);
const FIELDS: [&str; 11] = [
    "acknowledged",
    "lost",
    "duplicated",
    "errors",
    "ambiguous",
    "max_stall_ms",
    "p50_ms",
    "p99_ms",
    "throughput_before",
    "throughput_during",
    "throughput_after",
];

/// Processes that were started with a path below `folder`.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(folder) {
            found.push(line);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_prints_one_json_object_keeps_its_promises_and_leaves_nothing_behind() {
    let Some(scene) = Scene::prepare(3, 1).await else { return };
    let folder = scene.path("demo");
    std::fs::create_dir(&folder).unwrap();
    let mut command = scene.command(&["demo", "--json", "--seconds", "6", "--clients", "16"]);
    command.env("TMPDIR", &folder);
    let ended = tokio::time::timeout(WITHIN, command.output()).await.expect("the demo ends").unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{}: {said}", ended.status);
    let summary: Value = serde_json::from_slice(&ended.stdout).expect("one JSON object and nothing else");
    for field in FIELDS {
        assert!(summary[field].is_number(), "{field}: {summary}");
    }
    for promise in ["lost", "duplicated", "errors"] {
        assert_eq!(summary[promise], 0, "{summary}");
    }
    assert!(summary["acknowledged"].as_u64().unwrap() > 0);
    nothing_is_left(&folder);
}

fn nothing_is_left(folder: &Path) {
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(processes_of(folder), Vec::<String>::new());
}

/// A demo whose stores run, and the folder of its data.
async fn running_demo(scene: &Scene) -> (Child, PathBuf) {
    let folder = scene.path("demo");
    std::fs::create_dir(&folder).unwrap();
    let mut command = scene.command(&["demo", "--json", "--seconds", "60"]);
    command.env("TMPDIR", &folder).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let demo = command.spawn().unwrap();
    wait::until_true("its stores run", || processes_of(&folder).len() >= 3).await;
    (demo, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_is_interrupted_leaves_nothing_behind() {
    for signal in [Signal::INT, Signal::TERM] {
        let Some(scene) = Scene::prepare(3, 1).await else { return };
        let (mut demo, folder) = running_demo(&scene).await;
        let pid = Pid::from_raw(demo.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        let ended = tokio::time::timeout(WITHIN, demo.wait()).await.expect("the demo ends").unwrap();
        assert_eq!(ended.code(), Some(1), "{ended}");
        nothing_is_left(&folder);
    }
}

/// Whoever kills the demo kills its stores too.
#[tokio::test(flavor = "multi_thread")]
async fn stores_of_a_killed_demo_end_by_themselves() {
    let Some(scene) = Scene::prepare(3, 1).await else { return };
    let (mut demo, folder) = running_demo(&scene).await;
    demo.kill().await.unwrap();
    wait::until_true("its stores end", || processes_of(&folder).is_empty()).await;
}

//! `holdfast-bench` as a script runs it: what it prints, never how fast it was.

use std::process::{Output, Stdio};
use std::time::Duration;

use holdfast_benches::contest::etcd;
use holdfast_tests::scene::{Scene, program, skip};
use serde_json::Value;
use tokio::process::Command;

/// Far beyond the start of all stores and some seconds of load.
const WITHIN: Duration = Duration::from_secs(180);

/// Runs `holdfast-bench` below the scene's folder to its end. `None`: skipped.
async fn bench(scene: &Scene, arguments: &[&str]) -> Option<Output> {
    let binary = program()?.with_file_name("holdfast-bench");
    if !binary.is_file() {
        skip("build the workspace first");
        return None;
    }
    let folder = scene.path("bench");
    std::fs::create_dir(&folder).unwrap();
    let mut command = Command::new(binary);
    command.args(arguments).arg("--dir").arg(&folder).stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(WITHIN, command.output()).await.expect("the measurement ends").unwrap();
    assert!(ended.status.success(), "{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
    Some(ended)
}

fn json(ended: &Output) -> Value {
    serde_json::from_slice(&ended.stdout).expect("one JSON object and nothing else")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_at_a_fixed_rate_through_the_loss_of_a_site_measures_all_kinds_and_marks_the_plot() {
    let Some(scene) = Scene::prepare(3, 1).await else { return };
    let plot = scene.path("plot.svg");
    let mut arguments = vec!["run", "--json", "--work", "ycsb-f", "--clients", "8", "--keys", "500", "--rate", "200"];
    arguments.extend(["--seconds", "2", "--warm-up", "0", "--fault", "kill-site@500ms,return@1s", "--plot"]);
    arguments.push(plot.to_str().unwrap());
    let Some(ended) = bench(&scene, &arguments).await else { return };
    let found = json(&ended);
    let run = &found["runs"][0];
    assert!(run["latency"]["operations"].as_u64().unwrap() > 0, "{found}");
    for kind in ["read", "read_modify_write"] {
        assert!(run["kinds"][kind]["operations"].as_u64().unwrap() > 0, "{kind}: {found}");
    }
    assert_eq!(run["faults"].as_array().unwrap().len(), 2, "{found}");
    assert!(found["machine"]["fdatasync_ms"].is_number(), "{found}");
    let drawn = std::fs::read_to_string(plot).unwrap();
    assert!(drawn.contains("site-c killed at") && drawn.matches("class=\"fault\"").count() == 2, "{drawn}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_prints_one_json_object_with_a_row_for_each_metric() {
    if !etcd::is_installed() {
        return skip(&format!("etcd is missing: {}", etcd::INSTALL_LINE));
    }
    let Some(scene) = Scene::prepare(3, 1).await else { return };
    let arguments = ["compare", "--peer", "etcd", "--short", "--json", "--works", "mixed,scan", "--clients", "8"];
    let brief = ["--rounds", "1", "--seconds", "1", "--warm-up", "0", "--keys", "500"];
    let Some(ended) = bench(&scene, &[&arguments[..], &brief].concat()).await else { return };
    let found = json(&ended);
    let rows = found["results"].as_array().unwrap();
    assert_eq!(rows.len(), 6, "{found}");
    for row in rows {
        assert!(row["work"].is_string() && row["metric"].is_string(), "{row}");
        for key in ["clients", "holdfast", "peer", "ratio", "floor"] {
            assert!(row[key].is_number(), "{key}: {row}");
        }
    }
    for store in ["holdfast", "etcd", "floor"] {
        assert!(found["versions"][store].as_str().is_some_and(|version| !version.is_empty()), "{found}");
        for series in found["rounds"].as_array().unwrap() {
            let key = if store == "etcd" { "peer" } else { store };
            assert_eq!(series[key][0]["errors"], 0, "{store}: {series}");
        }
    }
}

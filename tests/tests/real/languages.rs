//! Clients in other languages, made from our `.proto` files, against a whole fleet.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use holdfast_tests::scene::{Scene, skip};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Packages are fetched the first time.
const PATIENCE: Duration = Duration::from_secs(600);
/// What `tests/clients/run` ends with when its tools or packages cannot be had.
const CANNOT_RUN: i32 = 77;

/// A program of a client, told where the fleet is.
fn program(scene: &Scene, language: &str, what: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let mut command = Command::new(root.join("tests/clients/run"));
    command
        .args([language, what])
        .env("HOLDFAST_AT", scene.fleet.addresses().join(","))
        .env("HOLDFAST_PROTO", root.join("proto/proto"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs the checks of one client against a fleet of three sites.
async fn check_with(language: &str) {
    let Some(scene) = Scene::start(1).await else { return };
    let mut command = program(&scene, language, "check");
    let ended = tokio::time::timeout(PATIENCE, command.output()).await.expect("the checks end").unwrap();
    let [said, complained] = [&ended.stdout, &ended.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    if ended.status.code() == Some(CANNOT_RUN) {
        return skip(complained.lines().last().unwrap_or("no reason was given"));
    }
    assert!(ended.status.success(), "{}\n{said}\n{complained}", ended.status);
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() > 50, "too few checks were made:\n{said}");
}

/// Counts with the thin client of one language, which has a certificate, while each site is killed in turn.
async fn count_with(language: &str) {
    let Some(mut scene) = Scene::start_with_certificates().await else { return };
    let mut command = program(&scene, language, "count");
    command.env("HOLDFAST_TLS", scene.fleet.client_folder(language).unwrap().expect("it has certificates"));
    let mut counting = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(counting.stdout.take().unwrap()).lines();
    let mut next = async || tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it goes on").unwrap();
    let mut said = next().await;
    // Nothing is said when it could not begin.
    let sites = if said.is_some() { 0..3 } else { 0..0 };
    for store in sites {
        scene.fleet.kill(store).unwrap();
        for _ in 0..3 {
            said = said.and(next().await);
        }
        scene.fleet.start_store(store).unwrap();
        scene.fleet.wait_listening(store).await.expect("the site comes back");
    }
    drop(counting.stdin.take());
    while let Some(line) = next().await {
        said = said.and(Some(line));
    }
    let ended = counting.wait_with_output().await.unwrap();
    let complained = String::from_utf8_lossy(&ended.stderr);
    if ended.status.code() == Some(CANNOT_RUN) {
        return skip(complained.lines().last().unwrap_or("no reason was given"));
    }
    assert!(ended.status.success(), "{}\n{complained}", ended.status);
    let totals: Value = serde_json::from_str(&said.expect("totals")).unwrap();
    let total = |name: &str| totals[name].as_u64().unwrap();
    let (counted, acknowledged) = (total("counted"), total("acknowledged"));
    assert!(acknowledged >= 1_000, "{totals}");
    assert!((acknowledged..=acknowledged + total("ambiguous")).contains(&counted), "{totals}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thin_client_in_python_counts_each_success_once_while_sites_are_killed() {
    count_with("python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thin_client_in_javascript_counts_each_success_once_while_sites_are_killed() {
    count_with("node").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_does_every_operation() {
    check_with("python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_javascript_client_does_every_operation() {
    check_with("node").await;
}

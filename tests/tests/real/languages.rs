//! Clients in other languages, made from our `.proto` files, against a whole fleet.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use holdfast_tests::scene::{Scene, skip};
use tokio::process::Command;

/// Packages are fetched the first time.
const PATIENCE: Duration = Duration::from_secs(600);
/// What `tests/clients/run` ends with when its tools or packages cannot be had.
const CANNOT_RUN: i32 = 77;

/// Runs the checks of one client against a fleet of three sites.
async fn check_with(language: &str) {
    let Some(scene) = Scene::start(1).await else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let mut command = Command::new(root.join("tests/clients/run"));
    command
        .arg(language)
        .env("HOLDFAST_AT", scene.fleet.addresses().join(","))
        .env("HOLDFAST_PROTO", root.join("proto/proto"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, command.output()).await.expect("the checks end").unwrap();
    let [said, complained] = [&ended.stdout, &ended.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    if ended.status.code() == Some(CANNOT_RUN) {
        return skip(complained.lines().last().unwrap_or("no reason was given"));
    }
    assert!(ended.status.success(), "{}\n{said}\n{complained}", ended.status);
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() > 50, "too few checks were made:\n{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_does_every_operation() {
    check_with("python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_javascript_client_does_every_operation() {
    check_with("node").await;
}

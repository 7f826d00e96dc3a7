//! Output that nobody reads: pipes whose reader went away, disks without room.

use std::process::Stdio;

use holdfast_tests::scene::Scene;
use holdfast_tests::wait;

/// The writing end of a pipe that nobody reads, from the first byte on.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Runs a command; its exit code and what it said on standard error.
async fn run(scene: &Scene, arguments: &[&str], output: Stdio, errors: Stdio) -> (Option<i32>, String) {
    let child = scene.command(arguments).stdout(output).stderr(errors).spawn().unwrap();
    let ended = tokio::time::timeout(wait::PATIENCE, child.wait_with_output()).await;
    let ended = ended.unwrap_or_else(|_| panic!("{arguments:?} does not end")).unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_every_command_quietly() {
    let Some(scene) = Scene::start(1).await else { return };
    scene.client().await.put("k", "v").await.unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/examples/flat-mirror/fleet.yaml");
    let rendered = scene.path("rendered");
    let commands: &[&[&str]] = &[
        &["status"],
        &["status", "--ranges", "--json"],
        &["get", "k"],
        &["get", "none", "--json"],
        &["put", "k", "w"],
        &["scan"],
        &["scan", "--json"],
        &["delete", "k"],
        &["drain", "s1", "--cancel"],
        &["sql", "-e", "SHOW STORES"],
        &["config", "show", "--site", "site-a", "--data-dir", "data", "--insecure"],
        &["config", "show", "--site", "site-a", "--data-dir", "data", "--insecure", "--json"],
        &["completions", "bash"],
        &["man"],
        &["demo", "--seconds", "3"],
        &["dev", "--first-port", "0"],
        &["fleet", "validate", example],
        &["fleet", "validate", example, "--json"],
        &["fleet", "explain", example],
        &["fleet", "schema"],
        &["fleet", "render", example, "--out", rendered.to_str().unwrap()],
    ];
    for arguments in commands {
        let (code, said) = run(&scene, arguments, unread(), Stdio::piped()).await;
        assert_eq!(code, Some(141), "{arguments:?}: {said}");
        // Commands that tell of their work on standard error still may.
        assert!(!said.contains("error") && !said.contains("panicked"), "{arguments:?}: {said}");
        let (code, _) = run(&scene, arguments, unread(), unread()).await;
        assert_eq!(code, Some(141), "{arguments:?}, standard error unread too");
    }
    // What was said before to nobody is no reason to end otherwise than it would have.
    assert_eq!(run(&scene, &["get", "none"], Stdio::null(), unread()).await.0, Some(1));
    assert_eq!(run(&scene, &["fleet", "explain", "/dev/null"], Stdio::null(), unread()).await.0, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_finds_no_room_is_an_error_that_is_said() {
    let Some(scene) = Scene::prepare(1, 1).await else { return };
    for arguments in [
        &["config", "show", "--site", "site-a", "--data-dir", "data", "--insecure"][..],
        &["fleet", "schema"],
        &["man"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let (code, said) = run(&scene, arguments, full.into(), Stdio::piped()).await;
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        assert!(said.starts_with("error: writing to standard output: No space left"), "{arguments:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_log_nobody_reads_serves_all_the_same() {
    let Some(scene) = Scene::prepare(1, 1).await else { return };
    let store = &scene.fleet.stores()[0];
    let [client, streams, http] = [store.client, store.store, store.http].map(|address| address.to_string());
    let data = scene.path("unread").display().to_string();
    let mut child = scene
        .command(&["--log", "debug", "start", "--insecure", "--site", "site-a", "--data-dir", &data])
        .args(["--listen", &client, "--listen-store", &streams, "--listen-http", &http])
        .env_remove("KUBERNETES_SERVICE_HOST")
        .stdout(unread())
        .stderr(unread())
        .spawn()
        .unwrap();
    let mut founder = wait::until("the store listens", async || {
        assert_eq!(child.try_wait().unwrap(), None, "it ended");
        scene.fleet.fleet_client(0).await.ok()
    })
    .await;
    founder.init(holdfast_proto::v1::InitRequest::default()).await.unwrap();
    scene.client().await.put("k", "v").await.unwrap();
    assert_eq!(child.try_wait().unwrap(), None, "it serves");
}

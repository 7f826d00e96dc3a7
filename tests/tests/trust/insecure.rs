//! What a store without TLS must be told.

use std::process::{Output, Stdio};

use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use tokio::io::{AsyncBufReadExt, BufReader};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_told_neither_starts_not_at_all_and_says_what_to_do() {
    let Some(scene) = Scene::prepare(1, 1).await else { return };
    let folder = scene.path("data");
    let start = ["start", "--site", "a", "--data-dir", folder.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let refused = scene.run(&start).await;
    let said = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("--tls") && said.contains("--insecure") && said.contains("holdfast ca"), "{said}");
    assert!(!folder.exists(), "nothing was made");
}

/// A store that listens on this address and says that it is insecure so often, until it ends or says that it listens.
async fn started_on(scene: &Scene, address: &str, times: usize) -> (bool, String) {
    let store = &scene.fleet.stores()[0];
    let (listen, streams) = (format!("{address}:{}", store.client.port()), format!("{address}:{}", store.store.port()));
    let [advertise, advertise_store, http] = [store.client, store.store, store.http].map(|address| address.to_string());
    let folder = scene.path(&format!("data-{address}-{times}"));
    let mut arguments = vec!["start", "--site", "a", "--data-dir", folder.to_str().unwrap(), "--listen-http", &http];
    arguments.extend(["--listen", &listen, "--listen-store", &streams]);
    arguments.extend(["--advertise", &advertise, "--advertise-store", &advertise_store]);
    arguments.extend(std::iter::repeat_n("--insecure", times));
    let mut child = scene.command(&arguments).env("HOLDFAST_LOG", "info").stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut log = String::new();
    while let Some(line) = tokio::time::timeout(wait::PATIENCE, lines.next_line()).await.expect("it goes on").unwrap() {
        log.push_str(&line);
        log.push('\n');
        if line.contains("listening") {
            child.kill().await.unwrap();
            return (true, log);
        }
    }
    (false, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_other_machines_are_let_in_by_who_says_it_twice() {
    let Some(scene) = Scene::prepare(1, 1).await else { return };
    let (listens, log) = started_on(&scene, "0.0.0.0", 1).await;
    assert!(!listens && log.contains("0.0.0.0") && log.contains("twice"), "{log}");
    for (address, times) in [("0.0.0.0", 2), ("127.0.0.1", 1)] {
        let (listens, log) = started_on(&scene, address, times).await;
        assert!(listens, "{log}");
        let is_loud = log.lines().any(|line| line.contains("WARN") && line.contains("WITHOUT TLS"));
        assert!(is_loud, "at every start: {log}");
    }
}

//! A store's output that nobody reads. Of commands: `data/outputs.rs`.

use std::process::Stdio;

use holdfast_tests::scene::Scene;
use holdfast_tests::wait;

/// The writing end of a pipe that nobody reads, from the first byte on.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
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

//! Data in, data out: files, pipes and what commands print, with a fleet behind them.

use std::process::Stdio;

use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use tokio::process::Child;

mod commands;
mod export;
mod import;
mod machine;
mod outputs;
mod shell;

/// Starts the store of this index, which waits for somebody to found a fleet on it. It ends when it is dropped.
async fn start_unfounded(scene: &Scene, index: usize) -> Child {
    let store = &scene.fleet.stores()[index];
    let [client, streams, http] = [store.client, store.store, store.http].map(|address| address.to_string());
    let data = scene.path(&format!("unfounded-{index}")).display().to_string();
    let child = scene
        .command(&["start", "--insecure", "--site", "site-a", "--data-dir", &data])
        .args(["--listen", &client, "--listen-store", &streams, "--listen-http", &http])
        .env_remove("KUBERNETES_SERVICE_HOST")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait::until("the store listens", async || scene.fleet.fleet_client(index).await.ok()).await;
    child
}

//! Stores that are asked to stop.

use holdfast_tests::load::Background;
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use rustix::process::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_every_store_under_load_shows_no_client_an_error() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let load = Background::start(&mut scene, 6).await;
    for store in 0..3 {
        scene.fleet.signal(store, Signal::TERM).unwrap();
        let status = scene.fleet.wait_ended(store, wait::PATIENCE).await.unwrap();
        assert!(status.success(), "store {store} ended with {status}");
        let log = scene.fleet.log(store);
        // Its leaders were handed over: it saw the others lead everything, and nobody had to notice a loss.
        let last = log.lines().last().unwrap_or_default();
        assert!(last.contains("stopped") && last.contains("without_leader=0"), "store {store} ended with {last:?}");
        load.progress().await;
        scene.fleet.start_store(store).unwrap();
        scene.fleet.wait_listening(store).await.unwrap();
        wait_caught_up(&mut scene, store).await;
        load.progress().await;
    }
    assert_eq!(load.finish().await, 0, "a client saw an error");
}

/// Waits until a store knows a leader of every range that it holds, and is healthy.
async fn wait_caught_up(scene: &mut Scene, store: usize) {
    wait::until(&format!("store {store} is back"), async || {
        let ranges = scene.fleet.ranges(store).await.ok()?;
        let led = !ranges.is_empty() && ranges.iter().all(|range| range.leader.is_some());
        led.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_waits_for_init_stops_when_it_is_told() {
    let Some(mut scene) = Scene::prepare(3, 1).await else { return };
    scene.fleet.start_store(0).unwrap();
    scene.fleet.wait_listening(0).await.unwrap();
    scene.fleet.signal(0, Signal::TERM).unwrap();
    let status = scene.fleet.wait_ended(0, wait::PATIENCE).await.unwrap();
    assert!(status.success(), "{status}");
}

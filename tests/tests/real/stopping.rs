//! Stores that are asked to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use holdfast_proto::convert::status::from_status;
use holdfast_tests::load::Background;
use holdfast_tests::raw;
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use rustix::process::Signal;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

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

/// What gRPC's health says of a store, and whether `/readyz` says that it is ready.
async fn health(client: SocketAddr, http: SocketAddr) -> (ServingStatus, bool) {
    let mut health = HealthClient::new(raw::channel(client).await);
    let mut said = Vec::new();
    for service in ["", "holdfast.v1.Kv"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner();
        said.push(answer.status());
    }
    assert_eq!(said[0], said[1], "the server and its service");
    let probe = raw::http_get(http, "/readyz").await.unwrap();
    (said[0], probe.starts_with("HTTP/1.1 200"))
}

/// Long enough that the test sees it, too long to be waited for.
const PAUSE: &str = "60s";

#[tokio::test(flavor = "multi_thread")]
async fn a_store_says_that_it_stops_while_it_still_serves_whoever_comes() {
    let Some(mut scene) = Scene::prepare(3, 1).await else { return };
    scene.fleet.add_args(&["--ready-pause", PAUSE]);
    scene.fleet.start_store(0).unwrap();
    scene.fleet.wait_listening(0).await.unwrap();
    let (client, http) = (scene.fleet.stores()[0].client, scene.fleet.stores()[0].http);
    assert_eq!(health(client, http).await, (ServingStatus::NotServing, false), "it is no member");
    for store in [1, 2] {
        scene.fleet.start_store(store).unwrap();
    }
    scene.fleet.found().await.unwrap();
    wait::until("it serves", async || (health(client, http).await == (ServingStatus::Serving, true)).then_some(()))
        .await;
    scene.fleet.signal(0, Signal::TERM).unwrap();
    wait::until("it says that it stops", async || {
        (health(client, http).await == (ServingStatus::NotServing, false)).then_some(())
    })
    .await;
    // Whoever has not heard of it connects and is served.
    let mut late = raw::kv(client).await;
    late.put(raw::put("late", "v", None)).await.unwrap();
    assert_eq!(late.get(raw::get("late")).await.unwrap().into_inner().value.unwrap().value, "v");
    assert!(scene.fleet.is_running(0));
    // Told again, it does not pause any longer.
    scene.fleet.signal(0, Signal::TERM).unwrap();
    let status = scene.fleet.wait_ended(0, Duration::from_secs(40)).await.unwrap();
    assert!(status.success(), "{status}");
    // Nobody waits for the others' pauses.
    scene.fleet.kill_running();
}

/// Writers that are too many to be answered at one moment.
const WRITERS: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_told_to_stop_answers_the_writes_that_it_has_taken_in() {
    let Some(mut scene) = Scene::start(1).await else { return };
    for store in 0..3 {
        let written = Arc::new(AtomicUsize::new(0));
        // Thin clients without request ids, which know no other store: of each write they hear how it ended.
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (address, written) = (scene.fleet.stores()[store].client, Arc::clone(&written));
                tokio::spawn(async move {
                    let mut kv = raw::kv(address).await;
                    loop {
                        match kv.put(raw::put(&format!("{store}/{writer}"), "x", None)).await {
                            Ok(_) => written.fetch_add(1, Ordering::Relaxed),
                            Err(status) => return status,
                        };
                    }
                })
            })
            .collect();
        wait::until_true("writes", || written.load(Ordering::Relaxed) > 20 * WRITERS).await;
        scene.fleet.signal(store, Signal::TERM).unwrap();
        let status = scene.fleet.wait_ended(store, wait::PATIENCE).await.unwrap();
        assert!(status.success(), "store {store} ended with {status}");
        for writer in writers {
            let status = writer.await.unwrap();
            // A slow disk may cost another store its leaders meanwhile, which is told as such; to stop costs no answer.
            let rejected = from_status(&status).map(|rejected| rejected.to_string()).unwrap_or_default();
            assert!(!rejected.contains("the store stopped"), "store {store}: {status}");
        }
        let log = scene.fleet.log(store);
        let last = log.lines().last().unwrap_or_default();
        assert!(last.contains("unanswered=0"), "store {store} ended with {last:?}");
        scene.fleet.start_store(store).unwrap();
        scene.fleet.wait_listening(store).await.unwrap();
        wait_caught_up(&mut scene, store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_store_does_not_wait_for_a_quorum_to_stop() {
    let Some(mut scene) = Scene::start(1).await else { return };
    for store in 0..3 {
        scene.fleet.signal(store, Signal::TERM).unwrap();
        let status = scene.fleet.wait_ended(store, wait::PATIENCE).await.unwrap();
        assert!(status.success(), "store {store} ended with {status}");
    }
    // It gave its leaderships up without waiting until somebody took them: nobody is left who could.
    let log = scene.fleet.log(2);
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("stopped") && last.contains("still_leading=false"), "it ended with {last:?}");
}

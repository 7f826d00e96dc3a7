//! Stores that are killed.

use holdfast_tests::load::Background;
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;

/// Kills stores under load, lets the load go on without them, brings them back, and judges everything.
async fn kill_under_load(mut scene: Scene, victims: &[usize]) {
    let load = Background::start(&mut scene, 6).await;
    scene.fleet.kill_all(victims).unwrap();
    load.progress().await;
    for victim in victims {
        scene.fleet.start_store(*victim).unwrap();
    }
    for victim in victims {
        scene.fleet.wait_listening(*victim).await.unwrap();
    }
    load.progress().await;
    scene.fleet.wait_spread(wait::PATIENCE).await.unwrap();
    assert_eq!(load.finish().await, 0, "a client saw an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_killed_store_of_three_costs_no_write_and_no_error() {
    let Some(scene) = Scene::start(1).await else { return };
    kill_under_load(scene, &[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_killed_store_of_six_costs_no_write_and_no_error() {
    let Some(scene) = Scene::start(2).await else { return };
    kill_under_load(scene, &[4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_site_with_two_stores_costs_no_write_and_no_error() {
    let Some(scene) = Scene::start(2).await else { return };
    let site = scene.fleet.stores_of_site(2);
    assert_eq!(site.len(), 2);
    kill_under_load(scene, &site).await;
}

async fn kill_everything_under_load(mut scene: Scene) {
    let load = Background::start(&mut scene, 6).await;
    let all: Vec<_> = (0..scene.fleet.stores().len()).collect();
    scene.fleet.kill_all(&all).unwrap();
    for store in &all {
        scene.fleet.start_store(*store).unwrap();
    }
    scene.fleet.wait_spread(wait::PATIENCE).await.unwrap();
    load.progress().await;
    // Clients may have given up while nothing ran; what was acknowledged is judged all the same.
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_write_is_there_after_all_three_stores_were_killed_at_once() {
    let Some(scene) = Scene::start(1).await else { return };
    kill_everything_under_load(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_write_is_there_after_all_six_stores_were_killed_at_once() {
    let Some(scene) = Scene::start(2).await else { return };
    kill_everything_under_load(scene).await;
}

/// Where there are two sites no range can have three voters: the fleet is ready with two.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_of_two_sites_gets_ready_and_serves() {
    let Some(mut scene) = Scene::prepare(2, 1).await else { return };
    scene.fleet.start().await.unwrap();
    let client = scene.client().await;
    client.put("two", "sites").await.unwrap();
    assert_eq!(client.get("two").await.unwrap().unwrap().value, "sites");
}

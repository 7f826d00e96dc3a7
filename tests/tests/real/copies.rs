//! Copies of a disk: one that runs beside its original, and one that takes its place.

use std::path::Path;

use holdfast_proto::v1;
use holdfast_tests::load::Background;
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn has_alarm(scene: &Scene, store: usize, words: &str) -> bool {
    let Ok(mut admin) = scene.fleet.admin_client(store).await else { return false };
    let Ok(events) = admin.list_events(v1::ListEventsRequest::default()).await else { return false };
    events.into_inner().events.iter().any(|event| event.kind() == v1::EventKind::Alarm && event.message.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_of_a_disk_is_refused_beside_its_original_and_in_its_place() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let mut copy = scene.another(1);
    let client = scene.client().await;
    client.put("kept", "from the beginning").await.unwrap();
    scene.fleet.kill(0).unwrap();
    copy_folder(&scene.fleet.stores()[0].data_dir, &copy.fleet.stores()[0].data_dir);
    scene.fleet.start_store(0).unwrap();
    scene.fleet.wait_listening(0).await.unwrap();
    scene.fleet.wait_spread(wait::PATIENCE).await.unwrap();
    let load = Background::start(&mut scene, 6).await;
    load.progress().await;

    // It repeats the incarnation of its original, and after another start it says a later one.
    for _ in 0..2 {
        copy.fleet.start_joining(0, &scene.fleet.addresses()).unwrap();
        copy.fleet.wait_listening(0).await.unwrap();
        wait::until_true("the copy is refused", || copy.fleet.log(0).contains("runs as another process already")).await;
        load.progress().await;
        wait::until("an alarm tells of the copy", async || {
            has_alarm(&scene, 1, "a copy of its disk").await.then_some(())
        })
        .await;
        assert!((0..3).all(|store| scene.fleet.is_running(store)), "nobody else is harmed");
        for store in 0..3 {
            let alive = scene.describe(store).await.stores.iter().filter(|store| store.alive).count();
            assert_eq!(alive, 3, "as store {store} sees it");
        }
        copy.fleet.kill(0).unwrap();
    }

    // In the place of its original it has forgotten what others have seen of it.
    scene.fleet.kill(0).unwrap();
    copy.fleet.start_joining(0, &scene.fleet.addresses()).unwrap();
    let ended = copy.fleet.wait_ended(0, wait::PATIENCE).await.unwrap();
    assert!(!ended.success());
    assert!(copy.fleet.log(0).contains("which this disk does not know"), "it says why");
    wait::until("an alarm tells of the old disk", async || {
        has_alarm(&scene, 1, "put back in time").await.then_some(())
    })
    .await;
    load.progress().await;
    // The original, which knows everything, may come back.
    scene.fleet.start_store(0).unwrap();
    scene.fleet.wait_spread(wait::PATIENCE).await.unwrap();
    wait::until("the original is one of them again", async || {
        scene.describe(1).await.stores.iter().all(|store| store.alive).then_some(())
    })
    .await;
    load.progress().await;
    assert_eq!(load.finish().await, 0, "a client saw an error");
    assert_eq!(client.get("kept").await.unwrap().unwrap().value, "from the beginning");
}

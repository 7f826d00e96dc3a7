//! Stores that prove their sites: what becomes of one that starts with another proof than it joined with.

use holdfast_tests::scene::Scene;
use holdfast_tests::wait;

const PROOFS: [&str; 3] = ["uid-a", "uid-b", "uid-c"];

/// A fleet of three sites, each proved.
async fn proved() -> Option<Scene> {
    let mut scene = Scene::prepare(3, 1).await?;
    for (store, proof) in PROOFS.iter().enumerate() {
        scene.fleet.give(store, &["--site-id", proof]);
    }
    scene.fleet.start().await.unwrap();
    Some(scene)
}

/// Starts a store with these arguments; its exit code and log once it has ended.
async fn ends(scene: &mut Scene, store: usize, arguments: &[&str]) -> (Option<i32>, String) {
    scene.fleet.give(store, arguments);
    let before = scene.fleet.log(store).len();
    scene.fleet.start_store(store).unwrap();
    let status = scene.fleet.wait_ended(store, wait::PATIENCE).await.unwrap();
    (status.code(), scene.fleet.log(store)[before..].to_owned())
}

/// Starts a store with these arguments and waits until it serves.
async fn serves(scene: &mut Scene, store: usize, arguments: &[&str]) {
    scene.fleet.give(store, arguments);
    scene.fleet.start_store(store).unwrap();
    scene.fleet.wait_listening(store).await.unwrap();
    scene.fleet.wait_spread(wait::PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_starts_with_the_proof_that_it_joined_with_and_no_other() {
    let Some(mut scene) = proved().await else { return };
    scene.client().await.put("k", "v").await.unwrap();
    for store in [2, 0] {
        scene.fleet.kill(store).unwrap();
        let proof = PROOFS[store];
        // Another Kubernetes cluster; that of another site; none at all.
        for (other, why) in [
            (&["--site-id", "uid-x"][..], format!("is bound to identity {proof}, and this store proves uid-x")),
            (&["--site-id", "uid-b"], "this Kubernetes cluster (uid-b) is site site-b".to_owned()),
            (&[], format!("it joined with the proof {proof}")),
        ] {
            let (code, log) = ends(&mut scene, store, other).await;
            assert_eq!(code, Some(6), "{log}");
            assert!(log.contains(&why) && log.contains("docs/runbooks/moved-site.md"), "{log}");
            assert!(!log.contains("the store runs"), "it takes part in nothing: {log}");
        }
        serves(&mut scene, store, &["--site-id", proof]).await;
    }
    assert_eq!(scene.client().await.get("k").await.unwrap().unwrap().value, "v");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_joined_without_a_proof_keeps_the_first_one() {
    let Some(mut scene) = Scene::start(1).await else { return };
    scene.fleet.kill(2).unwrap();
    serves(&mut scene, 2, &["--site-id", "uid-c"]).await;
    scene.fleet.kill(2).unwrap();
    // Alone it would not hear what the fleet has to say: its own disk remembers.
    let (code, log) = ends(&mut scene, 2, &[]).await;
    assert_eq!(code, Some(6), "{log}");
    serves(&mut scene, 2, &["--site-id", "uid-c"]).await;
}

//! Stores that prove their sites: what becomes of one that starts with another proof than it joined with.

use holdfast_client::admin::{Admin, AdminError, SiteName};
use holdfast_proto::v1;
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use rustix::process::Signal;

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

/// The id of a store that may be starting still.
async fn id_of(scene: &Scene, store: usize) -> u64 {
    let described = wait::until("it is a member", async || {
        let mut fleet = scene.fleet.fleet_client(store).await.ok()?;
        let described = fleet.describe(v1::DescribeRequest {}).await.ok()?.into_inner();
        Some(described.store_id).filter(|id| *id != 0)
    });
    described.await
}

/// Moves the site of a store as soon as its stores have been silent for long enough.
async fn moves(scene: &Scene, store: usize, to: &str) -> String {
    let site = scene.fleet.stores()[store].site.clone();
    let asked = scene.fleet.stores()[(store + 1) % 3].client.to_string();
    let said = wait::until("the site may be moved", async || {
        let output = scene.run(&["site", "move", &site, "--to", to, "--at", &asked]).await;
        // Until then it is refused because a store lives, or fails because ranges are without a leader for a moment.
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    });
    said.await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_moved_only_when_it_is_dead_and_only_to_where_no_other_is() {
    let Some(mut scene) = proved().await else { return };
    let admin = Admin::new(scene.fleet.addresses());
    let site = |name: &str| SiteName::new(name).unwrap();
    let refused = async |name: &str, to: &str| admin.move_site(&site(name), to).await.unwrap_err();
    assert!(matches!(refused("site-x", "uid-x").await, AdminError::NotFound(_)));
    assert!(matches!(refused("site-c", "").await, AdminError::Rejected(_)));
    assert!(matches!(refused("site-c", &"u".repeat(10_000)).await, AdminError::Rejected(_)));
    let taken = refused("site-c", "uid-a").await;
    assert!(matches!(&taken, AdminError::FailedPrecondition(why) if why.contains("uid-a is site site-a")), "{taken:?}");
    let alive = refused("site-c", "uid-x").await;
    assert!(matches!(&alive, AdminError::FailedPrecondition(why) if why.contains("of it is alive")), "{alive:?}");
    let same = admin.move_site(&site("site-c"), "uid-c").await.unwrap();
    assert!(!same.changed && same.former.is_empty(), "{same:?}");

    scene.fleet.kill(2).unwrap();
    let said = moves(&scene, 2, "uid-x").await;
    assert!(said.contains("bound to uid-x, no longer to uid-c"), "{said}");
    assert!(moves(&scene, 2, "uid-x").await.contains("nothing has changed"));
    let sites = Admin::new(&scene.fleet.addresses()[..2]).sites().await.unwrap().sites;
    let moved = sites.iter().find(|one| one.name == site("site-c")).unwrap();
    let former: Vec<_> = moved.former.iter().map(|was| was.identity.as_str()).collect();
    assert_eq!((moved.identity.as_deref(), former), (Some("uid-x"), vec!["uid-c"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_of_a_moved_site_come_back_with_their_disks_or_join_anew_and_those_of_the_old_one_end() {
    let Some(mut scene) = proved().await else { return };
    let client = scene.client().await;
    client.put("k", "before").await.unwrap();
    let same = id_of(&scene, 2).await;
    scene.fleet.kill(2).unwrap();
    moves(&scene, 2, "uid-x").await;
    client.put("k", "meanwhile").await.unwrap();
    // Its disk moved with it: it is the same store under the new proof, and not under the old one.
    serves(&mut scene, 2, &["--site-id", "uid-x"]).await;
    assert_eq!(id_of(&scene, 2).await, same);
    scene.fleet.kill(2).unwrap();
    let (code, log) = ends(&mut scene, 2, &["--site-id", "uid-c"]).await;
    assert_eq!(code, Some(6), "{log}");
    serves(&mut scene, 2, &["--site-id", "uid-x"]).await;

    // Another site loses its disk with its Kubernetes cluster.
    scene.fleet.kill(1).unwrap();
    moves(&scene, 1, "uid-y").await;
    std::fs::remove_dir_all(&scene.fleet.stores()[1].data_dir).unwrap();
    scene.fleet.give(1, &["--site-id", "uid-y"]);
    scene.fleet.start_store(1).unwrap();
    scene.fleet.wait_listening(1).await.unwrap();
    assert_eq!(id_of(&scene, 1).await, 4, "a new store of the old site");
    assert_eq!(client.get("k").await.unwrap().unwrap().value, "meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_away_while_its_site_moved_ends_when_it_is_back() {
    let Some(mut scene) = proved().await else { return };
    scene.fleet.signal(2, Signal::STOP).unwrap();
    moves(&scene, 2, "uid-x").await;
    scene.fleet.signal(2, Signal::CONT).unwrap();
    // It looks every half minute.
    let status = scene.fleet.wait_ended(2, wait::PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(6), "{}", scene.fleet.log(2));
    assert!(scene.fleet.log(2).contains("site-c is bound to identity uid-x"), "{}", scene.fleet.log(2));
}

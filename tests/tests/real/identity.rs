//! Who is who: founding, joining, data that belongs elsewhere.

use holdfast_proto::v1;
use holdfast_tests::load::Background;
use holdfast_tests::raw;
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use tonic::Code;

fn joining(store: u64, site: &str, fleet: Option<v1::Id128>) -> v1::JoinRequest {
    v1::JoinRequest {
        store_id: store,
        site: site.into(),
        client_address: "127.0.0.1:9".into(),
        store_address: "127.0.0.1:9".into(),
        version: "0.1.0".into(),
        fleet,
        ..v1::JoinRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_founded_once_only() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let fleet = scene.describe(0).await.fleet;
    assert!(fleet.is_some());
    for store in 0..3 {
        let mut client = scene.fleet.fleet_client(store).await.unwrap();
        let refused = client.init(v1::InitRequest::default()).await.expect_err("the second init");
        assert_eq!(refused.code(), Code::AlreadyExists, "{refused:?}");
    }
    let again = scene.run(&["init"]).await;
    assert!(!again.status.success());
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.contains("already"), "{said}");

    scene.fleet.kill_all(&[0, 1, 2]).unwrap();
    scene.fleet.start_store(0).unwrap();
    scene.fleet.wait_listening(0).await.unwrap();
    // Alone, without a quorum, the store still knows that it belongs to a fleet.
    let refused = wait::until("init is refused after a restart", async || {
        let mut client = scene.fleet.fleet_client(0).await.ok()?;
        client.init(v1::InitRequest::default()).await.err()
    })
    .await;
    assert_eq!(refused.code(), Code::AlreadyExists, "{refused:?}");
    wait::until("the store runs", async || scene.describe(0).await.fleet).await;
    assert_eq!(scene.describe(0).await.fleet, fleet);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_the_data_of_another_fleet_is_kept_out() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    client.put("whose", "of the first fleet").await.unwrap();
    let own = scene.describe(0).await.fleet;

    // A join that names another fleet, a wrong secret, an unknown id.
    let mut service = scene.fleet.fleet_client(0).await.unwrap();
    let other_fleet = Some(v1::Id128 { high: 1, low: 2 });
    let refused = service.join(joining(0, "site-a", other_fleet)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    let request = v1::JoinRequest { fleet_token: "guessed".into(), ..joining(0, "site-a", own) };
    assert_eq!(service.join(request).await.unwrap_err().code(), Code::PermissionDenied);
    let refused = service.join(joining(99, "site-a", own)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let refused = service.join(joining(1, "site-b", own)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "a store keeps its site: {refused:?}");
    // A client that means another fleet.
    let mut kv = raw::kv(scene.fleet.stores()[0].client).await;
    let hello = Some(v1::StreamHello { fleet: other_fleet, site: String::new() });
    let hello = tokio_stream::once(v1::StreamRequest { hello, ..v1::StreamRequest::default() });
    let mut answers = kv.stream(hello).await.unwrap().into_inner();
    let refused = loop {
        match answers.message().await {
            Ok(message) => assert!(message.is_some(), "the stream ends with a refusal"),
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");

    // A whole disk of another fleet, mounted where a store of this one lived.
    let mut stranger = scene.another(1);
    stranger.fleet.start_store(0).unwrap();
    stranger.fleet.wait_listening(0).await.unwrap();
    stranger.fleet.fleet_client(0).await.unwrap().init(v1::InitRequest::default()).await.unwrap();
    let theirs = wait::until("the other fleet runs", async || stranger.describe(0).await.fleet).await;
    assert_ne!(Some(theirs), own);
    let foreign = stranger.client().await;
    foreign.put("whose", "of the second fleet").await.unwrap();
    stranger.fleet.kill(0).unwrap();
    scene.fleet.kill(2).unwrap();
    let (home, away) = (scene.fleet.stores()[2].data_dir.clone(), scene.path("set-aside"));
    std::fs::rename(&home, &away).unwrap();
    std::fs::rename(&stranger.fleet.stores()[0].data_dir, &home).unwrap();
    scene.fleet.start_store(2).unwrap();
    // Its site is another than the one that it is started for now.
    let status = scene.fleet.wait_ended(2, wait::PATIENCE).await.unwrap();
    assert!(!status.success());
    assert!(scene.fleet.log(2).contains("site-a"), "it says whose data it found");

    std::fs::remove_dir_all(&home).unwrap();
    std::fs::rename(&away, &home).unwrap();
    scene.fleet.start_store(2).unwrap();
    scene.fleet.wait_listening(2).await.unwrap();
    scene.fleet.wait_spread(wait::PATIENCE).await.unwrap();
    for store in 0..3 {
        let mut kv = raw::kv(scene.fleet.stores()[store].client).await;
        let value = wait::until("the store serves", async || kv.get(raw::get("whose")).await.ok()).await;
        assert_eq!(value.into_inner().value.unwrap().value, "of the first fleet");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_the_same_site_with_the_data_of_another_fleet_never_serves_this_one() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    client.put("whose", "of the first fleet").await.unwrap();
    let own = scene.describe(1).await.fleet;
    let mut stranger = scene.another(1);
    stranger.fleet.start_store(0).unwrap();
    stranger.fleet.wait_listening(0).await.unwrap();
    stranger.fleet.fleet_client(0).await.unwrap().init(v1::InitRequest::default()).await.unwrap();
    stranger.client().await.put("whose", "of the second fleet").await.unwrap();
    stranger.fleet.kill(0).unwrap();
    // Both are store 1 of site-a: only the fleet's id tells them apart.
    scene.fleet.kill(0).unwrap();
    let (home, away) = (scene.fleet.stores()[0].data_dir.clone(), scene.path("set-aside"));
    std::fs::rename(&home, &away).unwrap();
    std::fs::rename(&stranger.fleet.stores()[0].data_dir, &home).unwrap();
    scene.fleet.start_store(0).unwrap();
    scene.fleet.wait_listening(0).await.unwrap();
    wait::until_true("the stores of the fleet and the stranger refuse each other", || {
        (1..3).all(|store| scene.fleet.log(store).contains("the store there belongs to fleet"))
    })
    .await;
    assert_ne!(scene.describe(0).await.fleet, own);
    for i in 0..20 {
        client.put(format!("after/{i}"), "v").await.unwrap();
        assert_eq!(client.get("whose").await.unwrap().unwrap().value, "of the first fleet");
    }
    wait::until("nobody supports the stranger", async || {
        let gone = !scene.describe(1).await.stores.iter().any(|store| store.store_id == 1 && store.alive);
        gone.then_some(())
    })
    .await;
    scene.fleet.kill(0).unwrap();
    std::fs::remove_dir_all(&home).unwrap();
    std::fs::rename(&away, &home).unwrap();
    scene.fleet.start_store(0).unwrap();
    wait::until("the right store is back", async || {
        scene.describe(1).await.stores.iter().any(|store| store.store_id == 1 && store.alive).then_some(())
    })
    .await;
    assert_eq!(client.get("whose").await.unwrap().unwrap().value, "of the first fleet");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_disk_was_wiped_comes_back_as_another_and_nothing_is_lost() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let load = Background::start(&mut scene, 6).await;
    let before = scene.describe(0).await;
    let lost = scene.describe(2).await.store_id;
    scene.fleet.kill(2).unwrap();
    std::fs::remove_dir_all(&scene.fleet.stores()[2].data_dir).unwrap();
    load.progress().await;
    scene.fleet.start_store(2).unwrap();
    scene.fleet.wait_listening(2).await.unwrap();
    let now = wait::until("the wiped store is let in", async || {
        let described = scene.describe(2).await;
        (described.store_id != 0).then_some(described)
    })
    .await;
    assert_eq!(now.fleet, before.fleet);
    assert!(before.stores.iter().all(|store| store.store_id != now.store_id), "an id is given once only");
    load.progress().await;
    // The old id stands for a store that is gone; nobody takes the new one for it.
    wait::until("the fleet knows both", async || {
        let stores = scene.describe(0).await.stores;
        let find = |id| stores.iter().find(|store| store.store_id == id);
        let old_is_gone = find(lost).is_some_and(|store| !store.alive);
        (old_is_gone && find(now.store_id).is_some()).then_some(())
    })
    .await;
    load.progress().await;
    assert_eq!(load.finish().await, 0, "a client saw an error");
}

//! Who is who: founding, joining, data that belongs elsewhere, stores whose identity is over.

use holdfast_client::admin::{Admin, AdminError, Ranges, ReplicaChange, Role, StoreId};
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

/// Takes the next step that brings a dead store's replicas to others; true when none is left.
async fn move_away(admin: &Admin, dead: StoreId, living: &[StoreId]) -> bool {
    let ranges = admin.all_ranges(Ranges::All).await.unwrap().ranges;
    let mut is_done = true;
    for descriptor in ranges.into_iter().map(|range| range.descriptor) {
        let Some(there) = descriptor.replica_on(dead) else { continue };
        is_done = false;
        let heir = descriptor.replicas.iter().find(|replica| replica.role == Role::Learner && replica.store != dead);
        let change = match (there.role, heir) {
            (Role::Learner, _) => ReplicaChange::RemoveLearner(there.replica),
            (_, Some(heir)) => ReplicaChange::Reconfigure { promote: vec![heir.replica], demote: vec![there.replica] },
            (_, None) => {
                let spare = living.iter().find(|store| descriptor.replica_on(**store).is_none());
                ReplicaChange::AddLearner(*spare.expect("three of four stores have replicas"))
            }
        };
        // Refused while the learner has to catch up, or placement does something else: the next look decides anew.
        let _ = admin.change_replicas(descriptor.range, Some(descriptor.epoch), change).await;
    }
    is_done
}

/// Why the fleet does not forget a store.
async fn refusal_to_forget(admin: &Admin, store: StoreId) -> String {
    match admin.forget_store(store).await {
        Err(AdminError::FailedPrecondition(why)) => why,
        other => panic!("a refusal was expected: {other:?}"),
    }
}

async fn is_listed(scene: &Scene, by: usize, store: StoreId) -> bool {
    scene.describe(by).await.stores.iter().any(|known| known.store_id == store.0)
}

async fn status_shows_only(scene: &Scene, stores: &[StoreId]) {
    let status = scene.run(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let listed: Vec<_> = status["stores"].as_array().unwrap().iter().map(|store| store["store"].as_u64()).collect();
    let mut expected: Vec<_> = stores.iter().map(|store| Some(store.0)).collect();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    assert_eq!(status["sites"].as_array().unwrap().len(), stores.len(), "each was alone in its site");
    assert!(!status["warnings"].to_string().contains("answer"), "nobody is missed: {status}");
}

/// A forgotten store is started on its data; its process says what to do and ends.
async fn ends_as_forgotten(scene: &mut Scene, index: usize, store: StoreId) {
    scene.fleet.start_store(index).unwrap();
    let status = scene.fleet.wait_ended(index, wait::PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(4), "an exit code of its own");
    let log = scene.fleet.log(index);
    let last = log.lines().rfind(|line| line.starts_with("error: ")).expect("it says why");
    assert!(last.contains(&format!("{store} was forgotten")) && last.contains("empty data directory"), "{last}");
}

/// The same process on an empty data directory is another store.
async fn joins_anew(scene: &mut Scene, index: usize, known: &[StoreId]) {
    std::fs::remove_dir_all(&scene.fleet.stores()[index].data_dir).unwrap();
    scene.fleet.start_store(index).unwrap();
    wait::until("it joins as a new store", async || {
        let mut fleet = scene.fleet.fleet_client(index).await.ok()?;
        let described = fleet.describe(v1::DescribeRequest {}).await.ok()?.into_inner();
        (described.store_id != 0 && !known.contains(&StoreId(described.store_id))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_forgotten_is_refused_by_everybody_and_ends() {
    let Some(mut scene) = Scene::prepare(4, 1).await else { return };
    scene.fleet.start().await.unwrap();
    let load = Background::start_uncut(&scene).await;
    let mut ids = Vec::new();
    for index in 0..4 {
        ids.push(StoreId(scene.describe(index).await.store_id));
    }
    let holders = scene.range_of(0, "row/00001").await.unwrap().descriptor.unwrap().replicas;
    // The first one waits for `init` where it finds no data, and is asked here.
    let victim = (1..4).find(|index| holders.iter().any(|holder| holder.store_id == ids[*index].0)).unwrap();
    let (dead, name) = (ids[victim], ids[victim].to_string());
    let others: Vec<_> = (0..4).filter(|index| *index != victim).collect();
    let living: Vec<_> = others.iter().map(|index| ids[*index]).collect();
    let admin = Admin::connect([scene.fleet.stores()[0].client.to_string()]).await.unwrap();

    let why = refusal_to_forget(&admin, dead).await;
    assert!(why.contains("is alive"), "{why}");
    let why = refusal_to_forget(&admin, ids[0]).await;
    assert!(why.contains("answers this call"), "{why}");
    scene.fleet.kill(victim).unwrap();
    wait::until("it is refused for its replicas alone", async || {
        let refused = scene.run(&["forget", &name]).await;
        assert_eq!(refused.status.code(), Some(1));
        String::from_utf8(refused.stderr).unwrap().contains("holds replicas that count").then_some(())
    })
    .await;
    wait::until("its replicas are elsewhere", async || move_away(&admin, dead, &living).await.then_some(())).await;

    let forgotten = scene.run(&["forget", &name]).await;
    assert!(forgotten.status.success(), "{}", String::from_utf8_lossy(&forgotten.stderr));
    let again = admin.forget_store(dead).await.unwrap();
    assert!(!again.changed && again.store == dead && again.site.as_str() == scene.fleet.stores()[victim].site);
    for index in &others {
        wait::until("nobody lists it", async || (!is_listed(&scene, *index, dead).await).then_some(())).await;
    }
    status_shows_only(&scene, &living).await;
    load.progress().await;

    // The second time its own disk knows it, too.
    for _ in 0..2 {
        ends_as_forgotten(&mut scene, victim, dead).await;
        load.progress().await;
    }
    let mut service = scene.fleet.fleet_client(0).await.unwrap();
    let fleet = scene.describe(0).await.fleet;
    let request = joining(dead.0, &scene.fleet.stores()[victim].site, fleet);
    let refused = service.join(request).await.unwrap_err();
    assert!(refused.code() == Code::InvalidArgument && refused.message().contains("forgotten"), "{refused:?}");
    for index in &others {
        assert!(scene.fleet.is_running(*index), "store {index} took the refusal for a word about itself");
        assert!(!is_listed(&scene, *index, dead).await);
    }

    joins_anew(&mut scene, victim, &ids).await;
    load.progress().await;
    assert_eq!(load.finish().await, 0, "a client saw an error");
}

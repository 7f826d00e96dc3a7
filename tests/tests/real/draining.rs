//! Stores that leave the fleet, stores that get ready to be stopped, and the exit codes of those that may not run.

use std::process::Output;
use std::time::Duration;

use holdfast_client::admin::{Admin, AdminError, CannotLeaveReason, StoreId};
use holdfast_tests::load::Background;
use holdfast_tests::raw;
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;

/// A fleet of a few ranges is emptied of one store in seconds; on a busy machine it may take longer.
const DRAINED_WITHIN: Duration = Duration::from_secs(180);
/// The exit code of a store that the fleet has forgotten.
const FORGOTTEN: i32 = 4;
/// The exit code of a pod without the proof of its site.
const NO_PROOF: i32 = 5;

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

async fn status_of(scene: &Scene, store: StoreId) -> serde_json::Value {
    let (status, error) = said(&scene.run(&["status", "--json"]).await);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_else(|_| panic!("{status}\n{error}"));
    let stores = status["stores"].as_array().unwrap();
    stores.iter().find(|known| known["store"] == store.0).cloned().unwrap_or_default()
}

async fn admin_of(scene: &Scene) -> Admin {
    Admin::connect([scene.fleet.stores()[0].client.to_string()]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_drained_under_load_and_forgotten_and_no_client_sees_an_error() {
    let Some(mut scene) = Scene::prepare(4, 1).await else { return };
    scene.fleet.start().await.unwrap();
    let load = Background::start(&mut scene, 6).await;
    let victim = 3;
    let store = StoreId(scene.describe(victim).await.store_id);
    let name = store.to_string();
    let admin = admin_of(&scene).await;
    wait::until("it holds something", async || (status_of(&scene, store).await["replicas"] != 0).then_some(())).await;

    let (done, told) = said(&scene.run(&["drain", &name, "--no-wait"]).await);
    assert!(done.contains(&format!("{store} (site-d) leaves")), "{done}{told}");
    // Each store tells what it has heard, which may be a moment later.
    wait::until("its mark is known", async || (status_of(&scene, store).await["leaving"] == true).then_some(())).await;
    // It is on record: asked for again it is as it was, and now waited for.
    let drained = scene.run_for(&["drain", &name], DRAINED_WITHIN).await;
    let (done, told) = said(&drained);
    assert!(drained.status.success() && done.contains("is empty"), "{done}{told}");
    let ranges = admin.all_ranges(holdfast_client::admin::Ranges::All).await.unwrap().ranges;
    for range in &ranges {
        let descriptor = &range.descriptor;
        assert!(descriptor.replica_on(store).is_none() && descriptor.voters().count() == 3, "{descriptor:?}");
    }
    let known = status_of(&scene, store).await;
    assert!(known["ranges_left"] == 0 && known["replicas"] == 0 && known["leaders"] == 0, "{known}");
    load.progress().await;

    let forgotten = scene.run(&["forget", &name]).await;
    assert!(forgotten.status.success(), "{:?}", said(&forgotten));
    let ended = scene.fleet.wait_ended(victim, wait::PATIENCE).await.unwrap();
    assert_eq!(ended.code(), Some(FORGOTTEN), "{}", scene.fleet.log(victim));
    load.progress().await;
    assert_eq!(load.finish().await, 0, "a client saw an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_without_is_not_drained_and_nothing_moves() {
    let Some(mut scene) = Scene::start(1).await else { return };
    scene.fleet.wait_spread(wait::PATIENCE).await.unwrap();
    let admin = admin_of(&scene).await;
    let store = StoreId(scene.describe(2).await.store_id);
    let refused = scene.run(&["drain", &store.to_string()]).await;
    let (done, told) = said(&refused);
    assert!(refused.status.code() == Some(1) && done.is_empty(), "{done}{told}");
    assert!(told.contains("cannot leave, nothing was moved") && told.contains("add a store beside"), "{told}");
    match admin.drain_stores([store]).await {
        Err(AdminError::CannotLeave { reason: CannotLeaveReason::Places, .. }) => {}
        other => panic!("too few sites: {other:?}"),
    }
    assert_eq!(status_of(&scene, store).await["leaving"], false);
    assert!(matches!(admin.drain_stores([StoreId(99)]).await, Err(AdminError::NotFound(_))));
    let same = admin.cancel_drain([store]).await.unwrap();
    assert!(!same.stores[0].changed && same.stores[0].leaving_at.is_none(), "{same:?}");

    // Of a store that is dead nothing can be moved.
    scene.fleet.kill(2).unwrap();
    wait::until("nobody hears it any more", async || match admin.drain_stores([store]).await {
        Err(AdminError::CannotLeave { reason: CannotLeaveReason::Dead, message }) => {
            assert!(message.contains("is dead") && message.contains("holdfast forget"), "{message}");
            Some(())
        }
        _ => None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_gets_ready_to_be_stopped_leads_nothing_and_goes_on_when_it_is_not() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let load = Background::start(&mut scene, 6).await;
    let (client, http) = (scene.fleet.stores()[1].client.to_string(), scene.fleet.stores()[1].http);
    let store = StoreId(scene.describe(1).await.store_id);
    let local = async |arguments: &[&str]| {
        let mut command = scene.command(&[&["drain", "--local"][..], arguments].concat());
        command.env("HOLDFAST_LISTEN", &client).env_remove("HOLDFAST_AT").output().await.unwrap()
    };
    let ready = local(&["--within", "60s"]).await;
    let (done, told) = said(&ready);
    assert!(ready.status.success() && done.contains("leads nothing and may be stopped"), "{done}{told}");
    assert_eq!(status_of(&scene, store).await["leaders"], 0);
    let probe = raw::http_get(http, "/readyz").await.unwrap();
    assert!(probe.starts_with("HTTP/1.1 503") && probe.contains("preparing to stop"), "{probe}");
    load.progress().await;
    assert_eq!(status_of(&scene, store).await["leaders"], 0, "it takes none");

    let (done, told) = said(&local(&["--cancel"]).await);
    assert!(done.contains("goes on"), "{done}{told}");
    let probe = raw::http_get(http, "/readyz").await.unwrap();
    assert!(probe.starts_with("HTTP/1.1 200"), "{probe}");
    wait::until("it leads again", async || (status_of(&scene, store).await["leaders"] != 0).then_some(())).await;
    assert_eq!(load.finish().await, 0, "a client saw an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_hand_over_is_no_failure() {
    let Some(mut scene) = Scene::prepare(1, 1).await else { return };
    let listen = scene.fleet.stores()[0].client.to_string();
    let local = async |scene: &Scene| {
        let command = &mut scene.command(&["drain", "--local", "--within", "1s"]);
        command.env("HOLDFAST_LISTEN", &listen).output().await.unwrap()
    };
    assert_eq!(local(&scene).await.status.code(), Some(1), "nobody listens there");
    scene.fleet.start_store(0).unwrap();
    scene.fleet.wait_listening(0).await.unwrap();
    let waits = local(&scene).await;
    assert!(waits.status.success() && said(&waits).0.contains("nothing to hand over"), "{:?}", said(&waits));
    scene.fleet.fleet_client(0).await.unwrap().init(holdfast_proto::v1::InitRequest::default()).await.unwrap();
    let alone = wait::until("it leads what nobody else could", async || {
        let (done, _) = said(&local(&scene).await);
        done.contains("still leads").then_some(done)
    })
    .await;
    assert!(alone.contains("may be stopped all the same"), "{alone}");
    // It serves all the same.
    scene.client().await.put("greeting", "hello").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_the_proof_of_its_site_does_not_start() {
    let Some(scene) = Scene::prepare(1, 1).await else { return };
    let data = scene.path("pod").display().to_string();
    let mut command = scene.command(&["start", "--insecure", "--site", "a", "--data-dir", &data]);
    let ended =
        command.env("KUBERNETES_SERVICE_HOST", "10.96.0.1").env_remove("HOLDFAST_SITE_ID").output().await.unwrap();
    let (_, told) = said(&ended);
    assert!(ended.status.code() == Some(NO_PROOF) && told.contains("HOLDFAST_SITE_ID"), "{told}");
    assert!(!std::path::Path::new(&data).exists(), "it touched nothing");
}

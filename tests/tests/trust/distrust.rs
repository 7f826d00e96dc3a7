//! A site that is not believed any more.

use std::time::{Duration, Instant};

use holdfast_proto::v1;
use holdfast_tests::guarded::Guarded;
use holdfast_tests::load::Background;
use holdfast_tests::raw::put;
use holdfast_tests::{tls, wait};
use tonic::Code;

/// It is a second by the limits (`types/src/limits.rs` has the sum). This bounds only how long a machine is waited for that does much besides.
const SOON: Duration = Duration::from_secs(10);

fn request(site: &str) -> v1::DistrustSiteRequest {
    v1::DistrustSiteRequest { site: site.into(), ..v1::DistrustSiteRequest::default() }
}

async fn is_alive(guarded: &Guarded, by: usize, store: u64) -> bool {
    let stores = guarded.scene.describe(by).await.stores;
    stores.iter().any(|known| known.store_id == store && known.alive)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_distrusted_under_load_and_only_its_own_stores_are_missed() {
    let Some(mut guarded) = Guarded::start().await else { return };
    let stores = guarded.scene.fleet.stores();
    let others = [0, 2].map(|store| stores[store].client.to_string());
    let (streams, distrusted) = (stores[0].store, stores[1].client);
    let lost = guarded.scene.describe(1).await.store_id;
    guarded.scene.split_at(&holdfast_tests::load::cuts(6)).await;
    let load = Background::start_from(&guarded.scene, others.to_vec(), vec!["site-a".into(), "site-c".into()]).await;
    let [theirs, ours] = ["site/site-b/store", "site/site-c/store"].map(|who| guarded.authority.issue(who));
    let mut their_connection = tls::idle_http2(streams, Some(&theirs)).await;
    let mut our_connection = tls::idle_http2(streams, Some(&ours)).await;

    let mut admin = guarded.scene.fleet.admin_client(0).await.unwrap();
    let judged = v1::DistrustSiteRequest { only_judge: true, ..request("site-b") };
    let judged = admin.distrust_site(judged).await.unwrap().into_inner();
    assert!(
        !judged.changed && judged.meaning.as_ref().is_some_and(|meaning| meaning.ranges_losing_a_voter > 0),
        "{judged:?}"
    );
    assert!(is_alive(&guarded, 0, lost).await, "nothing happens before it is confirmed");
    let done = admin.distrust_site(request("site-b")).await.unwrap().into_inner();
    let confirmed = Instant::now();
    assert!(done.changed && done.untold.is_empty(), "{done:?}");
    assert_eq!(done.told.len(), 2, "both others knew it before the command returned: {done:?}");
    tls::until_ended(&mut their_connection, SOON, "live connections of the site end").await;
    eprintln!("its connection ended {} ms after the command", confirmed.elapsed().as_millis());
    let still =
        tokio::time::timeout(Duration::from_millis(100), tls::until_ended(&mut our_connection, wait::PATIENCE, ""))
            .await;
    assert!(still.is_err(), "a connection of another site was ended");
    assert!(tls::heard_http2(streams, Some(&theirs)).await.is_err(), "new ones are refused");
    assert!(tls::heard_http2(streams, Some(&ours)).await.is_ok());
    for by in [0, 2] {
        wait::until("its store counts as lost", async || (!is_alive(&guarded, by, lost).await).then_some(())).await;
    }

    // Who asks its store and no other is served no more: it has nobody to pass anything on to.
    let client = guarded.authority.issue("client/x");
    // None of the load's rows, since what comes in the first moment is written.
    let row = put("theirs", "1", None);
    let since = Instant::now();
    while tls::call(distrusted, Some(&client), "/holdfast.v1.Kv/Put", None, &row).await == Ok(0) {
        assert!(since.elapsed() < SOON, "a distrusted store serves nothing");
    }
    // Nobody talks to it, and it says why: in what it tells probes, which still find it, in its metrics and in its log.
    let said = guarded.until_readyz_says(1, "the fleet distrusts the site of this store").await;
    assert!(said.contains("HTTP/1.1 200") && said.contains("distrust-site.md"), "{said}");
    wait::until("its metrics say so", async || {
        guarded.metric(1, "holdfast_distrusted_by_stores").await.filter(|stores| *stores >= 1.0)
    })
    .await;
    wait::until("its log says so", async || {
        guarded.scene.fleet.log(1).contains("the fleet distrusts the site of this store").then_some(())
    })
    .await;
    assert_eq!(guarded.metric(0, "holdfast_distrusted_by_stores").await, Some(0.0), "nobody says so of the others");
    load.progress().await;
    let refused = admin.distrust_site(request("site-c")).await.expect_err("ranges would stop");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");

    let restored = v1::DistrustSiteRequest { restore: true, ..request("site-b") };
    assert!(admin.distrust_site(restored).await.unwrap().into_inner().changed);
    wait::until("it is back", async || is_alive(&guarded, 0, lost).await.then_some(())).await;
    guarded.scene.fleet.wait_spread(wait::PATIENCE).await.unwrap();
    wait::until("it says so no more", async || {
        (guarded.metric(1, "holdfast_distrusted_by_stores").await == Some(0.0)).then_some(())
    })
    .await;
    load.progress().await;
    assert_eq!(load.finish().await, 0, "a client of another site saw an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_away_learns_whom_not_to_believe() {
    let Some(mut guarded) = Guarded::start().await else { return };
    guarded.scene.fleet.kill(2).unwrap();
    let mut admin = guarded.scene.fleet.admin_client(0).await.unwrap();
    // With one store away, nothing is left of a majority without the other.
    let anyway = v1::DistrustSiteRequest { even_if_ranges_stop: true, ..request("site-b") };
    let refused = admin.distrust_site(request("site-b")).await.expect_err("ranges would stop");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(admin.distrust_site(anyway).await.unwrap().into_inner().changed);
    guarded.scene.fleet.start_store(2).unwrap();
    guarded.scene.fleet.wait_listening(2).await.unwrap();
    let theirs = guarded.authority.issue("site/site-b/store");
    let streams = guarded.scene.fleet.stores()[2].store;
    wait::until("it refuses the site too", async || tls::heard_http2(streams, Some(&theirs)).await.err()).await;
    let own = guarded.authority.issue("site/site-a/store");
    assert!(tls::heard_http2(streams, Some(&own)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_run_the_fleet_may_distrust() {
    let Some(guarded) = Guarded::start().await else { return };
    let to = guarded.scene.fleet.stores()[0].client.to_string();
    for who in ["client/x", "site/site-c/store"] {
        let dialer = holdfast_client::channel::Dialer::new(guarded.security(who), wait::PATIENCE);
        let mut admin = v1::admin_client::AdminClient::new(dialer.connect(&to).await.unwrap());
        let refused = admin.distrust_site(request("site-b")).await.expect_err(who);
        assert_eq!(refused.code(), Code::PermissionDenied, "{who}: {refused:?}");
    }
    let trusted = guarded.authority.issue("site/site-b/store");
    assert!(tls::heard_http2(guarded.scene.fleet.stores()[0].store, Some(&trusted)).await.is_ok());
}

//! Who a store is: what its certificate says, wherever it says something else.

use holdfast_client::channel::Dialer;
use holdfast_proto::v1;
use holdfast_proto::v1::fleet_client::FleetClient;
use holdfast_proto::v1::link_frame::Body;
use holdfast_proto::v1::store_transport_client::StoreTransportClient;
use holdfast_tests::guarded::Guarded;
use holdfast_tests::links::{frame, framed, hello};
use holdfast_tests::tls;
use holdfast_tests::wait;
use prost::Message as _;
use tonic::Code;

/// The ids of the stores of the fleet, by site.
async fn ids(guarded: &Guarded) -> Vec<(String, u64)> {
    let described = guarded.scene.describe(0).await;
    described.stores.into_iter().map(|store| (store.site, store.store_id)).collect()
}

fn id_of(ids: &[(String, u64)], site: &str) -> u64 {
    ids.iter().find(|(of, _)| of == site).unwrap().1
}

fn dialer(guarded: &Guarded, who: &str) -> Dialer {
    Dialer::new(guarded.security(who), wait::PATIENCE).answered_within(wait::PATIENCE)
}

/// What store 0 answers to a hello on the port for streams, from whoever this is.
async fn greeted(guarded: &Guarded, who: &str, hello: v1::LinkHello) -> Body {
    let to = guarded.scene.fleet.stores()[0].store.to_string();
    let channel = dialer(guarded, who).connect(&to).await.unwrap();
    // The stream stays open until the answer is there.
    let (say, said) = tokio::sync::mpsc::channel(1);
    say.send(frame(Body::Hello(hello))).await.unwrap();
    let hears = tokio_stream::wrappers::ReceiverStream::new(said);
    let mut answers = StoreTransportClient::new(channel).open(hears).await.unwrap().into_inner();
    let answer = tokio::time::timeout(wait::PATIENCE, answers.message()).await.expect("it answers");
    answer.unwrap().and_then(|frame| frame.body).expect("a frame with something in it")
}

fn refusal(body: Body) -> v1::LinkRefusal {
    match body {
        Body::Refused(refused) => refused.reason(),
        other => panic!("a refusal was expected: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_says_the_site_of_another_is_refused() {
    let Some(guarded) = Guarded::start().await else { return };
    let fleet = guarded.scene.describe(0).await.fleet.unwrap();
    let ids = ids(&guarded).await;
    let (own, to) = (id_of(&ids, "site-b"), id_of(&ids, "site-a"));
    let says = |class| v1::LinkHello { site: "site-b".into(), ..hello(fleet, own, to, class) };
    let to_log = || says(v1::LinkClass::Log);
    assert_eq!(refusal(greeted(&guarded, "site/site-c/store", to_log()).await), v1::LinkRefusal::NotItsSite);
    // It is not refused for that where the certificate says the same. That the store runs elsewhere, it may be.
    let taken = greeted(&guarded, "site/site-b/store", to_log()).await;
    assert!(!matches!(&taken, Body::Refused(refused) if refused.reason() == v1::LinkRefusal::NotItsSite), "{taken:?}");
    // A site that is its own, with the id of a store that is on record elsewhere.
    let moved = v1::LinkHello { site: "site-c".into(), ..to_log() };
    let refused = greeted(&guarded, "site/site-c/store", moved).await;
    assert_eq!(refusal(refused), v1::LinkRefusal::NotItsSite, "the directory says site-b");

    let heartbeats = {
        let mut port = guarded.scene.fleet.stores()[0].store;
        port.set_port(port.port() + 1);
        port
    };
    let said = framed(&frame(Body::Hello(says(v1::LinkClass::Support))).encode_to_vec());
    let shown = guarded.authority.issue("site/site-c/store");
    let heard = tls::heard(heartbeats, Some(&shown), &said).await;
    let answer = heard.map(|bytes| v1::LinkFrame::decode(&bytes[4..]).unwrap().body.unwrap());
    // It is refused in words, or at once.
    assert!(
        answer.as_ref().map_or(
            true,
            |body| matches!(body, Body::Refused(refused) if refused.reason() == v1::LinkRefusal::NotItsSite)
        ),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_fleet_with_certificates_of_the_same_authority_is_refused() {
    let Some(guarded) = Guarded::start().await else { return };
    let ids = ids(&guarded).await;
    let other = v1::Id128 { high: 1, low: 2 };
    let says = v1::LinkHello {
        site: "site-b".into(),
        ..hello(other, id_of(&ids, "site-b"), id_of(&ids, "site-a"), v1::LinkClass::Log)
    };
    let refused = greeted(&guarded, "site/site-b/store", says).await;
    assert_eq!(refusal(refused), v1::LinkRefusal::WrongFleet);
}

fn joining(site: &str, fleet: Option<v1::Id128>) -> v1::JoinRequest {
    v1::JoinRequest {
        site: site.into(),
        client_address: "127.0.0.1:9".into(),
        store_address: "127.0.0.1:9".into(),
        version: "0.1.0".into(),
        fleet,
        application: Some(v1::Id128 { high: 3, low: 4 }),
        ..v1::JoinRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_joins_for_the_site_of_its_certificate_alone() {
    let Some(guarded) = Guarded::start().await else { return };
    let to = guarded.scene.fleet.stores()[0].client.to_string();
    let join = async |who: &str, request: v1::JoinRequest| {
        let channel = dialer(&guarded, who).connect(&to).await.unwrap();
        FleetClient::new(channel).join(request).await.map(tonic::Response::into_inner)
    };
    for (who, site) in [("site/site-c/store", "site-b"), ("client/x", "site-b"), ("client/x", "site-d")] {
        let refused = join(who, joining(site, None)).await.expect_err(who);
        assert_eq!(refused.code(), Code::PermissionDenied, "{who}: {refused:?}");
    }
    let foreign = join("site/site-b/store", joining("site-b", Some(v1::Id128 { high: 1, low: 2 }))).await.unwrap_err();
    assert_eq!(foreign.code(), Code::PermissionDenied, "of another fleet: {foreign:?}");
    let taken = join("site/site-b/store", joining("site-b", None)).await.expect("its own site");
    assert!(taken.store_id > 3, "a new store: {taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_does_not_start_under_the_name_of_another_site() {
    let Some(mut guarded) = Guarded::prepare(3, 1).await else { return };
    let folder = guarded.folder_with(&guarded.authority.issue("site/site-b/store"));
    guarded.scene.fleet.give(0, &["--tls", folder.to_str().unwrap()]);
    guarded.scene.fleet.start_store(0).unwrap();
    let ended = guarded.scene.fleet.wait_ended(0, wait::PATIENCE).await.unwrap();
    let log = guarded.scene.fleet.log(0);
    assert!(!ended.success() && log.contains("site-a") && log.contains("site-b"), "{log}");
}

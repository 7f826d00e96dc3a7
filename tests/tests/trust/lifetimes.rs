//! Certificates end, and connections before them.

use std::time::{Duration, SystemTime};

use holdfast_client::Security;
use holdfast_client::channel::{Dialer, StoreChannel};
use holdfast_proto::v1;
use holdfast_proto::v1::kv_client::KvClient;
use holdfast_tests::guarded::Guarded;
use holdfast_tests::load::Background;
use holdfast_tests::raw::put;
use holdfast_tests::{tls, wait};
use holdfast_trust::authority::Issued;
use holdfast_trust::{Party, fingerprint};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// A life that leaves time to connect, though a connection ends by a tenth of it, or a fifth, before it is over.
const LIVES: Duration = Duration::from_secs(10);
/// Certificates of stores that are replaced under load: how long they live, and how many there are.
const SHORT: Duration = Duration::from_secs(20);
const RENEWALS: u64 = 3;

fn leaf(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap()
}

/// A stream that stays open for as long as both ends like; the sender keeps it.
struct Open {
    answers: Streaming<v1::StreamResponse>,
    _say: mpsc::Sender<v1::StreamRequest>,
}

async fn open(channel: StoreChannel, fleet: v1::Id128) -> Open {
    let (say, said) = mpsc::channel(1);
    let hello = v1::StreamHello { fleet: Some(fleet), site: String::new() };
    say.send(v1::StreamRequest { hello: Some(hello), ..v1::StreamRequest::default() }).await.unwrap();
    let answers = KvClient::new(channel).stream(ReceiverStream::new(said)).await.unwrap().into_inner();
    Open { answers, _say: say }
}

/// Waits until the stream ends, however it does.
async fn ended(open: &mut Open) {
    while let Ok(Some(_)) = open.answers.message().await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_stream_ends_before_the_certificate_that_it_was_opened_with() {
    let Some(guarded) = Guarded::start().await else { return };
    let fleet = guarded.scene.describe(0).await.fleet.unwrap();
    let to = guarded.scene.fleet.stores()[0].client.to_string();
    let connect = async |issued: &Issued| {
        let dialer = Dialer::new(Security::tls(guarded.trust(issued)), wait::PATIENCE);
        dialer.connect(&to).await.unwrap()
    };
    let short = guarded.authority.issue_for("operator/ann", LIVES);
    let expires_at = Party::of(&[leaf(&short)]).unwrap().expires_at;
    let lasting = connect(&guarded.authority.issue("operator/ann")).await;
    let mut of_short = open(connect(&short).await, fleet).await;
    let mut of_lasting = open(lasting.clone(), fleet).await;
    assert!(of_short.answers.message().await.unwrap().is_some(), "it is told of ranges");

    let within = expires_at.duration_since(SystemTime::now()).unwrap();
    tokio::time::timeout(within, ended(&mut of_short)).await.expect("the stream ends before the certificate does");
    // It was not ended for anything else.
    let still = tokio::time::timeout(Duration::from_millis(100), ended(&mut of_lasting)).await;
    assert!(still.is_err(), "a stream with a certificate that lives on has ended");
    let mut kv = KvClient::new(lasting);
    kv.put(put("lives", "on", None)).await.expect("the connection goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_own_certificate_is_about_to_end_ends_its_connections_too() {
    let Some(mut guarded) = Guarded::prepare(3, 1).await else { return };
    guarded.run().await;
    let fleet = guarded.scene.describe(0).await.fleet.unwrap();
    let to = guarded.scene.fleet.stores()[0].client;
    // The store of site-a has one that ends soon, and then one that does not: what was begun with the first is not saved by the second.
    let short = guarded.authority.issue_for("site/site-a/store", LIVES);
    guarded.renew("site-a", &short);
    let operator = guarded.authority.issue("operator/ann");
    wait::until("the store shows it", async || {
        (tls::chain_of(to, Some(&operator)).await[0] == leaf(&short)).then_some(())
    })
    .await;
    let dialer = Dialer::new(Security::tls(guarded.trust(&operator)), wait::PATIENCE);
    let mut begun = open(dialer.connect(&to.to_string()).await.unwrap(), fleet).await;
    guarded.renew("site-a", &guarded.authority.issue("site/site-a/store"));
    let expires_at = Party::of(&[leaf(&short)]).unwrap().expires_at;
    let within = expires_at.duration_since(SystemTime::now()).unwrap();
    tokio::time::timeout(within, ended(&mut begun)).await.expect("it ends before either certificate does");
    wait::until("the next connection is taken", async || dialer.connect(&to.to_string()).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_live_for_seconds_are_replaced_under_load_and_nobody_notices() {
    let Some(mut guarded) = Guarded::start().await else { return };
    let load = Background::start(&mut guarded.scene, 6).await;
    let before = fingerprint(
        &tls::chain_of(guarded.scene.fleet.stores()[1].client, Some(&guarded.authority.issue("client/x"))).await[0],
    );
    for _ in 0..RENEWALS {
        let renewed = SystemTime::now();
        for site in guarded.sites() {
            guarded.renew(&site, &guarded.authority.issue_for(&format!("site/{site}/store"), SHORT));
        }
        load.progress().await;
        // The next comes when two thirds of a life are over, as whoever renews certificates has it.
        wait::until_true("two thirds of its life are over", || renewed.elapsed().unwrap_or_default() > SHORT * 2 / 3)
            .await;
    }
    let after = fingerprint(
        &tls::chain_of(guarded.scene.fleet.stores()[1].client, Some(&guarded.authority.issue("client/x"))).await[0],
    );
    assert_ne!(before, after, "the store shows what it was given");
    assert_eq!(load.finish().await, 0, "a client saw an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_whose_certificate_expires_is_left_and_comes_back_with_a_new_one() {
    let Some(mut guarded) = Guarded::prepare(3, 1).await else { return };
    // Long enough for the fleet to come up, and for a load to begin.
    guarded.renew("site-c", &guarded.authority.issue_for("site/site-c/store", 2 * SHORT));
    guarded.run().await;
    let addresses = [0, 1].map(|store| guarded.scene.fleet.stores()[store].client.to_string());
    let load = Background::start_from(&guarded.scene, addresses.to_vec(), vec!["site-a".into(), "site-b".into()]).await;
    let lost = guarded.scene.describe(2).await.store_id;
    let is_alive = async || {
        let stores = guarded.scene.describe(0).await.stores;
        stores.iter().any(|store| store.store_id == lost && store.alive)
    };
    wait::until("nobody counts on it any more", async || (!is_alive().await).then_some(())).await;
    load.progress().await;
    guarded.until_readyz_says(2, "expired").await;
    guarded.renew("site-c", &guarded.authority.issue("site/site-c/store"));
    wait::until("it is back", async || is_alive().await.then_some(())).await;
    guarded.scene.fleet.wait_spread(wait::PATIENCE).await.unwrap();
    load.progress().await;
    assert_eq!(load.finish().await, 0, "a client saw an error");
    let kv = guarded.client("operator/ann").await;
    assert!(kv.get("nothing").await.unwrap().is_none());
}

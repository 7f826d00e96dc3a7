//! A root is replaced while everybody works.

use holdfast_proto::v1;
use holdfast_proto::v1::RotationStep;
use holdfast_tests::guarded::{Authority, DOMAIN, Guarded, install_files};
use holdfast_tests::load::Background;
use holdfast_tests::{tls, wait};
use holdfast_trust::authority::Issued;
use holdfast_trust::fingerprint;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tonic::{Code, Status};

async fn step(guarded: &Guarded, step: RotationStep, new_root: &[u8]) -> Result<v1::RotateRootResponse, Status> {
    let mut admin = guarded.scene.fleet.admin_client(0).await.unwrap();
    let request = v1::RotateRootRequest { step: step.into(), new_root: new_root.to_vec().into() };
    admin.rotate_root(request).await.map(tonic::Response::into_inner)
}

/// Waits until every store has shown the phase.
async fn shown(guarded: &Guarded) {
    let mut admin = guarded.scene.fleet.admin_client(0).await.unwrap();
    wait::until("every store shows the phase", async || {
        let standing = admin.show_trust(v1::ShowTrustRequest {}).await.ok()?.into_inner();
        standing.behind.is_empty().then_some(())
    })
    .await;
}

async fn is_too_early(guarded: &Guarded, next: RotationStep) {
    let refused = step(guarded, next, &[]).await.expect_err("stores are behind");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("s1"), "it says who is behind: {}", refused.message());
}

/// Gives everybody, stores and operator, a certificate of this authority and this bundle.
fn give(guarded: &Guarded, authority: &Authority, bundle: &str) {
    let mut all: Vec<_> = guarded
        .sites()
        .into_iter()
        .map(|site| (guarded.folder_of(&site), authority.issue(&format!("site/{site}/store"))))
        .collect();
    all.push((guarded.scene.path("tls-operator"), authority.issue("operator/ann")));
    for (folder, issued) in all {
        let Issued { certificate_pem, key_pem, .. } = issued;
        let files = [("tls.crt", certificate_pem.as_str()), ("tls.key", &key_pem), ("ca.crt", bundle)];
        install_files(&folder, &files.map(|(name, text)| (name, text.as_bytes())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_is_replaced_under_load_and_no_client_sees_an_error() {
    let Some(mut guarded) = Guarded::start().await else { return };
    let load = Background::start(&mut guarded.scene, 6).await;
    let next = Authority::new(DOMAIN);
    let root = CertificateDer::from_pem_slice(next.root_pem().as_bytes()).unwrap();
    let print = fingerprint(&root).0;
    let both = guarded.authority.root_pem() + &next.root_pem();
    let port = guarded.scene.fleet.stores()[0].client;
    let [of_old, of_new] = [&guarded.authority, &next].map(|authority| authority.issue("client/x"));

    is_too_early_without_a_rotation(&guarded).await;
    let added = step(&guarded, RotationStep::Add, &print).await.unwrap();
    assert_eq!(added.behind.len(), 3, "nobody trusts it yet: {added:?}");
    is_too_early(&guarded, RotationStep::Switch).await;
    give(&guarded, &guarded.authority, &both);
    shown(&guarded).await;
    load.progress().await;

    step(&guarded, RotationStep::Switch, &[]).await.unwrap();
    is_too_early(&guarded, RotationStep::Remove).await;
    assert!(tls::heard_http2(port, Some(&of_new)).await.is_ok(), "both roots are believed meanwhile");
    assert!(tls::heard_http2(port, Some(&of_old)).await.is_ok(), "both roots are believed meanwhile");
    give(&guarded, &next, &both);
    shown(&guarded).await;
    load.progress().await;

    step(&guarded, RotationStep::Remove, &[]).await.unwrap();
    give(&guarded, &next, &next.root_pem());
    shown(&guarded).await;
    load.progress().await;
    assert!(tls::heard_http2(port, Some(&of_new)).await.is_ok());
    assert!(tls::heard_http2(port, Some(&of_old)).await.is_err(), "the old root is believed no more");
    assert_eq!(load.finish().await, 0, "a client saw an error");
}

async fn is_too_early_without_a_rotation(guarded: &Guarded) {
    for next in [RotationStep::Switch, RotationStep::Remove] {
        let refused = step(guarded, next, &[]).await.expect_err("there is none to take on");
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_restarted_goes_on_with_the_rotation() {
    let Some(mut guarded) = Guarded::start().await else { return };
    let next = Authority::new(DOMAIN);
    let root = CertificateDer::from_pem_slice(next.root_pem().as_bytes()).unwrap();
    step(&guarded, RotationStep::Add, &fingerprint(&root).0).await.unwrap();
    guarded.scene.fleet.kill(1).unwrap();
    give(&guarded, &guarded.authority, &(guarded.authority.root_pem() + &next.root_pem()));
    wait::until("the others have shown it", async || {
        let mut admin = guarded.scene.fleet.admin_client(0).await.ok()?;
        let standing = admin.show_trust(v1::ShowTrustRequest {}).await.ok()?.into_inner();
        let behind: Vec<_> = standing.behind.iter().map(|behind| behind.site.as_str()).collect();
        (behind == ["site-b"]).then_some(())
    })
    .await;
    let refused = step(&guarded, RotationStep::Switch, &[]).await.expect_err("a store is away");
    assert!(refused.message().contains("site-b"), "{refused:?}");
    guarded.scene.fleet.start_store(1).unwrap();
    guarded.scene.fleet.wait_listening(1).await.unwrap();
    shown(&guarded).await;
    assert!(step(&guarded, RotationStep::Switch, &[]).await.unwrap().changed);
}

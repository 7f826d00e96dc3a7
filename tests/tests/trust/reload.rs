//! Certificates are replaced while a store runs, and what cannot be used is not used.

use std::os::unix::fs::symlink;

use holdfast_tests::guarded::{Guarded, install_files};
use holdfast_tests::{tls, wait};
use holdfast_trust::authority::Issued;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// How often a store has refused what is in its folder, and how often it has taken it.
const REFUSALS: &str = "holdfast_trust_reload_refusals_total";
const RELOADS: &str = "holdfast_trust_reloads_total";

fn leaf(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap()
}

/// What store 0 shows now.
async fn shown(guarded: &Guarded) -> CertificateDer<'static> {
    let to = guarded.scene.fleet.stores()[0].client;
    tls::chain_of(to, Some(&guarded.authority.issue("client/x"))).await.remove(0)
}

async fn until_shown(guarded: &Guarded, issued: &Issued) {
    wait::until("the store shows what it was given", async || (shown(guarded).await == leaf(issued)).then_some(()))
        .await;
}

/// The store was given these files, and goes on with the certificate that it had. Everybody who looks is told.
async fn is_refused(guarded: &Guarded, files: &[(&str, &[u8])], had: &Issued, why: &str) {
    let before = guarded.metric(0, REFUSALS).await.unwrap();
    install_files(&guarded.folder_of("site-a"), files);
    let answer = guarded.until_readyz_says(0, why).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "it serves on: {answer}");
    // The page is made once a second.
    wait::until("it is counted", async || (guarded.metric(0, REFUSALS).await? > before).then_some(())).await;
    let log = guarded.scene.fleet.log(0);
    assert!(log.lines().any(|line| line.contains("ERROR") && line.contains(why)), "it is in the log: {why}");
    assert_eq!(shown(guarded).await, leaf(had), "the old one is kept");
    guarded.client("operator/ann").await.put("still", "served").await.expect("new connections are taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_refused_aloud_and_the_old_certificate_is_kept() {
    let Some(guarded) = Guarded::start().await else { return };
    let first = guarded.authority.issue("site/site-a/store");
    guarded.renew("site-a", &first);
    until_shown(&guarded, &first).await;
    let (next, other) = (guarded.authority.issue("site/site-a/store"), guarded.authority.issue("site/site-a/store"));
    let [certificate, roots] = [&next.certificate_pem, &next.bundle_pem].map(|text| text.as_bytes());
    // A key that is not there: Kubernetes shows a Secret that was half made so.
    is_refused(&guarded, &[("tls.crt", certificate), ("ca.crt", roots)], &first, "tls.key").await;
    let noise: [(&str, &[u8]); 3] = [("tls.crt", certificate), ("tls.key", b"no key at all"), ("ca.crt", roots)];
    is_refused(&guarded, &noise, &first, "the key cannot be read").await;
    let pair = [("tls.crt", certificate), ("tls.key", other.key_pem.as_bytes()), ("ca.crt", roots)];
    is_refused(&guarded, &pair, &first, "the key is not the one").await;
    let expired = guarded.authority.issue("site/site-b/store");
    let elsewhere = [&expired.certificate_pem, &expired.key_pem, &expired.bundle_pem].map(|text| text.as_bytes());
    let elsewhere = [("tls.crt", elsewhere[0]), ("tls.key", elsewhere[1]), ("ca.crt", elsewhere[2])];
    is_refused(&guarded, &elsewhere, &first, "site-b").await;

    // And what can be used is used, after all of that.
    let before = guarded.metric(0, RELOADS).await.unwrap();
    guarded.renew("site-a", &next);
    until_shown(&guarded, &next).await;
    wait::until("it is counted", async || (guarded.metric(0, RELOADS).await? > before).then_some(())).await;
    wait::until("nothing is refused any more", async || {
        let said = holdfast_tests::raw::http_get(guarded.scene.fleet.stores()[0].http, "/readyz").await?;
        (!said.contains("site-b")).then_some(())
    })
    .await;
}

/// Other programs write files one after the other, in place.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_replaced_one_by_one_are_taken_once_they_fit() {
    let Some(guarded) = Guarded::start().await else { return };
    let folder = guarded.folder_of("site-a");
    let first = guarded.authority.issue("site/site-a/store");
    std::fs::remove_dir_all(&folder).unwrap();
    first.write(&folder).unwrap();
    until_shown(&guarded, &first).await;
    let next = guarded.authority.issue("site/site-a/store");
    for (name, text) in [("tls.key", &next.key_pem), ("ca.crt", &next.bundle_pem), ("tls.crt", &next.certificate_pem)] {
        let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::rename(&new, &path).unwrap();
    }
    until_shown(&guarded, &next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_gone_for_a_while_takes_nothing_away() {
    let Some(guarded) = Guarded::start().await else { return };
    let first = guarded.authority.issue("site/site-a/store");
    guarded.renew("site-a", &first);
    until_shown(&guarded, &first).await;
    let (folder, away) = (guarded.folder_of("site-a"), guarded.scene.path("away"));
    std::fs::rename(&folder, &away).unwrap();
    guarded.until_readyz_says(0, "tls-site-a").await;
    assert_eq!(shown(&guarded).await, leaf(&first));
    symlink(&away, &folder).unwrap();
    let next = guarded.authority.issue("site/site-a/store");
    guarded.renew("site-a", &next);
    until_shown(&guarded, &next).await;
}

//! A pod is stopped by a hook that has the certificate of its store and no other.

use holdfast_tests::guarded::Guarded;
use holdfast_tests::wait;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_got_ready_to_be_stopped_by_the_certificate_of_its_site() {
    let Some(guarded) = Guarded::start().await else { return };
    let listen = guarded.scene.fleet.stores()[0].client.to_string();
    let drain = async |who: &str| {
        let folder = guarded.folder_with(&guarded.authority.issue(who));
        let mut command = guarded.scene.command(&["drain", "--local", "--within", "5s"]);
        command.env("HOLDFAST_TLS", folder).env("HOLDFAST_LISTEN", &listen);
        tokio::time::timeout(wait::PATIENCE, command.output()).await.expect("it ends").unwrap()
    };
    for who in ["site/site-b/store", "client/x"] {
        let refused = drain(who).await;
        assert!(!refused.status.success(), "{who}: {}", String::from_utf8_lossy(&refused.stderr));
    }
    guarded.until_readyz_says(0, "HTTP/1.1 200").await;
    let done = drain("site/site-a/store").await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    guarded.until_readyz_says(0, "HTTP/1.1 503").await;
}

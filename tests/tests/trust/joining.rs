//! One-time tokens: each lets one store in, once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use holdfast_proto::v1;
use holdfast_tests::guarded::Guarded;
use holdfast_tests::secrets::assert_no_secrets;
use holdfast_tests::{tls, wait};
use holdfast_trust::authority::Issued;
use ring::digest::{SHA256, digest};
use tonic::Code;

const JOIN: &str = "/holdfast.v1.Fleet/Join";
const OK: u32 = 0;
const DENIED: u32 = Code::PermissionDenied as u32;
const HOUR_MS: u64 = 3_600_000;
/// No token is good for less.
const SHORTEST_MS: u64 = 10_000;

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A token as an operator has it made; `secret`: what it is drawn to be.
async fn token(guarded: &Guarded, site: &str, ttl_ms: u64, secret: u8) -> (u64, String) {
    let secret = [secret; 32];
    let secret_sha256 = digest(&SHA256, &secret).as_ref().to_vec().into();
    let mut admin = guarded.scene.fleet.admin_client(0).await.unwrap();
    let made = admin.create_join_token(v1::CreateJoinTokenRequest { site: site.into(), ttl_ms, secret_sha256 }).await;
    let id = made.expect("an operator may").into_inner().token.unwrap().id;
    (id, format!("holdfast-join-{id:016x}-{}", hexadecimal(&secret)))
}

/// Asks store 0 to let a new store in, as this process.
async fn join(to: SocketAddr, shown: &Issued, site: &str, token: &str, application: u64) -> u32 {
    let request = v1::JoinRequest {
        site: site.into(),
        client_address: format!("127.0.0.1:{}", 20_000 + application),
        store_address: format!("127.0.0.1:{}", 30_000 + application),
        version: "0.1.0".into(),
        application: Some(v1::Id128 { high: 9, low: application }),
        join_token: token.into(),
        ..v1::JoinRequest::default()
    };
    tls::call(to, Some(shown), JOIN, None, &request).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_token_is_worth_nothing_once_it_was_used() {
    let Some(guarded) = Guarded::start().await else { return };
    let to = guarded.scene.fleet.stores()[0].client;
    let of_site = guarded.authority.issue("site/site-d/store");
    let (_, used) = token(&guarded, "site-d", HOUR_MS, 1).await;
    let (made_at, (_, expired)) = (Instant::now(), token(&guarded, "site-d", SHORTEST_MS, 4).await);
    let before = guarded.scene.describe(0).await.stores.len();
    assert_eq!(join(to, &of_site, "site-d", &used, 1).await, OK);
    assert_eq!(join(to, &of_site, "site-d", &used, 1).await, OK, "the answer may have been lost");
    // The thief has the certificate of a client; nor does one of the site help where a token is shown that is no good.
    let client = guarded.authority.issue("client/x");
    for (application, thief) in [(2, &client), (3, &of_site)] {
        assert_eq!(join(to, thief, "site-d", &used, application).await, DENIED);
    }
    assert_eq!(guarded.scene.describe(0).await.stores.len(), before + 1, "one token is one store");

    // Not used yet, and still no good to a thief who knows less than all of it.
    let (id, good) = token(&guarded, "site-d", HOUR_MS, 2).await;
    let other = good.replace("02", "03");
    // It is not shown before: it would be good for somebody.
    wait::until_true("it expires", || made_at.elapsed() > Duration::from_millis(SHORTEST_MS) + Duration::from_secs(1))
        .await;
    for (what, site, shown) in
        [("guessed", "site-d", &other), ("expired", "site-d", &expired), ("another site's", "site-e", &good)]
    {
        assert_eq!(join(to, &client, site, shown, 5).await, DENIED, "a token that is {what}");
    }
    let mut admin = guarded.scene.fleet.admin_client(0).await.unwrap();
    admin.revoke_join_token(v1::RevokeJoinTokenRequest { id }).await.unwrap();
    assert_eq!(join(to, &client, "site-d", &good, 6).await, DENIED, "it was revoked");
    let (_, last) = token(&guarded, "site-d", HOUR_MS, 5).await;
    assert_eq!(join(to, &client, "site-d", &last, 7).await, OK, "a token stands for a certificate of the site");
    let secrets = [1_u8, 2, 4, 5].map(|secret| [secret; 32]);
    assert_no_secrets(&guarded.scene.path(""), &secrets.each_ref().map(|secret| ("a token", &secret[..])));
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_alone_have_tokens_made() {
    let Some(guarded) = Guarded::start().await else { return };
    let to = guarded.scene.fleet.stores()[0].client;
    let request =
        v1::CreateJoinTokenRequest { site: "site-d".into(), ttl_ms: HOUR_MS, secret_sha256: vec![7; 32].into() };
    for who in ["client/x", "site/site-a/store"] {
        let shown = guarded.authority.issue(who);
        let ended = tls::call(to, Some(&shown), "/holdfast.v1.Admin/CreateJoinToken", None, &request).await;
        assert_eq!(ended, Ok(DENIED), "{who}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_joins_with_a_token_that_was_made_on_the_command_line() {
    let Some(mut guarded) = Guarded::prepare(4, 1).await else { return };
    for index in 0..3 {
        guarded.scene.fleet.give(index, &["--fleet-token", "the shared secret"]);
        guarded.scene.fleet.start_store(index).unwrap();
    }
    guarded.scene.fleet.wait_listening(0).await.unwrap();
    let founded =
        guarded.scene.command(&["init"]).env("HOLDFAST_FLEET_TOKEN", "the shared secret").output().await.unwrap();
    assert!(founded.status.success(), "{}", String::from_utf8_lossy(&founded.stderr));
    guarded.scene.fleet.wait_spread(wait::PATIENCE).await.unwrap();

    let made = guarded.scene.run(&["token", "create", "--site", "site-d", "--ttl", "1h"]).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = String::from_utf8(made.stdout).unwrap();
    let token =
        said.split_whitespace().find(|word| word.starts_with("holdfast-join-")).expect("it is printed").to_owned();
    // Of the shared secret it knows nothing.
    guarded.scene.fleet.give(3, &["--join-token", &token]);
    guarded.scene.fleet.start_store(3).unwrap();
    guarded.scene.fleet.wait_listening(3).await.unwrap();
    let joined = wait::until("it is let in", async || {
        let described = guarded.scene.describe(3).await;
        (described.store_id != 0).then_some(described.store_id)
    })
    .await;
    assert_eq!(joined, 4);
    let secrets = [("the token", token.as_bytes()), ("the shared secret", b"the shared secret".as_slice())];
    assert_no_secrets(&guarded.scene.path(""), &secrets);
}

//! What no log says, however much it is told to say.

use holdfast_client::Batch;
use holdfast_tests::guarded::Guarded;
use holdfast_tests::raw::put;
use holdfast_tests::secrets::{Planted, assert_no_secrets, lines_of_key};
use holdfast_tests::{tls, wait};

/// Found nowhere but where it was put.
const VALUE: &str = "value-5b1f0c77e2";
const FLEET_TOKEN: &str = "secret-8d3aa94e10";
const BEARER: &str = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ3ZWIifQ.c2lnbmF0dXJl";

#[tokio::test(flavor = "multi_thread")]
async fn no_value_no_key_and_no_token_is_in_any_log() {
    let Some(mut guarded) = Guarded::prepare(3, 1).await else { return };
    guarded.scene.fleet.add_args(&["--fleet-token", FLEET_TOKEN, "--log", "trace"]);
    let keys: Vec<_> = ["site-a", "site-b", "site-c"]
        .map(|site| guarded.authority.issue(&format!("site/{site}/store")))
        .into_iter()
        .zip(guarded.sites())
        .map(|(issued, site)| {
            guarded.renew(&site, &issued);
            issued.key_pem
        })
        .collect();
    for index in 0..3 {
        guarded.scene.fleet.start_store(index).unwrap();
    }
    guarded.scene.fleet.wait_listening(0).await.unwrap();
    let founded = guarded.scene.command(&["init"]).env("HOLDFAST_FLEET_TOKEN", FLEET_TOKEN).output().await.unwrap();
    assert!(founded.status.success(), "{}", String::from_utf8_lossy(&founded.stderr));
    guarded.scene.fleet.wait_spread(wait::PATIENCE).await.unwrap();

    let client = guarded.client("client/x").await;
    client.put("key", VALUE).await.unwrap();
    client.batch(Batch::new().put("other", VALUE).delete("gone")).await.unwrap();
    assert_eq!(client.get("key").await.unwrap().unwrap().value, VALUE);
    client.scan("a".."z").collect().await.unwrap();
    // Refused: what is told of a refusal is where secrets slip out.
    let to = guarded.scene.fleet.stores()[0].client;
    let refused = tls::call(to, None, "/holdfast.v1.Kv/Put", Some(BEARER), &put("key", VALUE, None)).await;
    assert_ne!(refused, Ok(0));
    let system = guarded.client("operator/ann").await;
    assert!(system.put("x".repeat(8_192), VALUE).await.is_err(), "too long a key");
    let audit = guarded.scene.run(&["sql", "-e", "SHOW AUDIT"]).await;
    let audit = String::from_utf8(audit.stdout).unwrap();
    assert!(audit.contains("init"), "something is on record: {audit}");

    assert!(guarded.scene.fleet.log(0).contains("TRACE"), "it was told to say everything");
    let mut secrets: Vec<Planted<'_>> = vec![
        ("a value", VALUE.as_bytes()),
        ("the fleet token", FLEET_TOKEN.as_bytes()),
        ("a bearer token", BEARER.as_bytes()),
    ];
    secrets.extend(keys.iter().flat_map(|key| lines_of_key(key)));
    assert_no_secrets(&guarded.scene.path(""), &secrets);
    assert!(!audit.contains(VALUE) && !audit.contains(FLEET_TOKEN) && !audit.contains(BEARER), "{audit}");
}

//! Clients without a certificate come with a token, signed by somebody whom the stores were told of.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_client::{BearerFile, Client, ClientError, Doubt, Options, Security};
use holdfast_tests::guarded::Guarded;
use holdfast_tests::raw::{get, put};
use holdfast_tests::secrets::assert_no_secrets;
use holdfast_tests::{tls, wait};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tonic::Code;

const PUT: &str = "/holdfast.v1.Kv/Put";
const GET: &str = "/holdfast.v1.Kv/Get";
const STORES: &str = "/holdfast.v1.Admin/ListStores";
const OK: u32 = 0;
const UNAUTHENTICATED: u32 = Code::Unauthenticated as u32;
const PERMISSION_DENIED: u32 = Code::PermissionDenied as u32;

fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(LETTERS[bits >> (18 - 6 * place) & 63]));
        }
    }
    text
}

/// Whoever signs tokens.
struct Signer {
    name: &'static str,
    key: Ed25519KeyPair,
}

impl Signer {
    fn new(name: &'static str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { name, key: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap() }
    }

    /// Its public key, as a key set has it.
    fn public(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.name, "use": "sig", "x": base64url(self.key.public_key().as_ref())})
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": self.name});
        let signed = [&header, claims].map(|part| base64url(part.to_string().as_bytes())).join(".");
        format!("{signed}.{}", base64url(self.key.sign(signed.as_bytes()).as_ref()))
    }
}

/// Seconds since 1970, so far from now.
fn at(from_now: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + from_now
}

fn claims(sub: &str, aud: &str, exp: i64) -> Value {
    json!({"sub": sub, "aud": aud, "exp": exp, "iat": at(0)})
}

async fn put_with(to: SocketAddr, token: Option<&str>) -> Result<u32, String> {
    tls::call(to, None, PUT, token, &put("bearer/key", "value", None)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_in_whom_it_names_and_nobody_else() {
    let Some(mut guarded) = Guarded::prepare(3, 1).await else { return };
    let (signer, stranger) = (Signer::new("tokens"), Signer::new("tokens"));
    let keys = guarded.scene.path("keys.json");
    std::fs::write(&keys, json!({"keys": [signer.public()]}).to_string()).unwrap();
    guarded.scene.fleet.add_args(&["--bearer-keys", keys.to_str().unwrap()]);
    guarded.run().await;
    let to = guarded.scene.fleet.stores()[0].client;
    let good = signer.sign(&claims("web", "holdfast", at(600)));
    assert_eq!(put_with(to, Some(&good)).await, Ok(OK));
    assert_eq!(tls::call(to, None, GET, Some(&good), &get("bearer/key")).await, Ok(OK));

    let far = at(600);
    let refused = [
        ("none", None),
        ("expired", Some(signer.sign(&claims("web", "holdfast", at(-600))))),
        ("for somebody else", Some(signer.sign(&claims("web", "another", far)))),
        ("of another signer", Some(stranger.sign(&claims("web", "holdfast", far)))),
        ("for an operator", Some(signer.sign(&claims("spiffe://fleet.test/operator/ann", "holdfast", far)))),
        ("for a store", Some(signer.sign(&claims("spiffe://fleet.test/site/site-b/store", "holdfast", far)))),
        ("of another trust domain", Some(signer.sign(&claims("spiffe://other.test/client/web", "holdfast", far)))),
        ("without an end", Some(signer.sign(&json!({"sub": "web", "aud": "holdfast"})))),
        ("changed", Some(format!("{}x", &good[..good.len() - 1]))),
        ("none at all", Some("not.a.token".to_owned())),
    ];
    for (what, token) in refused {
        assert_eq!(put_with(to, token.as_deref()).await, Ok(UNAUTHENTICATED), "a token {what}");
    }
    assert_eq!(
        tls::call(to, None, STORES, Some(&good), &holdfast_proto::v1::ListStoresRequest::default()).await,
        Ok(PERMISSION_DENIED),
        "a token stands for a client, who does not run the fleet"
    );

    // On other ports a certificate is wanted, whatever else there is.
    let store = &guarded.scene.fleet.stores()[0];
    assert!(tls::call(store.store, None, PUT, Some(&good), &put("k", "v", None)).await.is_err());
    assert!(tls::https_get(store.metrics, None, "/metrics").await.is_err());

    // A key that is taken out of the set has signed nothing any more.
    let next = Signer::new("next");
    std::fs::write(&keys, json!({"keys": [next.public()]}).to_string()).unwrap();
    let renewed = next.sign(&claims("web", "holdfast", far));
    wait::until("the new keys are taken", async || (put_with(to, Some(&renewed)).await == Ok(OK)).then_some(())).await;
    assert_eq!(put_with(to, Some(&good)).await, Ok(UNAUTHENTICATED));
    assert_no_secrets(&guarded.scene.path(""), &[("a token", good.as_bytes()), ("a token", renewed.as_bytes())]);
}

/// A folder with the roots of the fleet and nothing else, and a file with a token.
fn roots_and_token(guarded: &Guarded, token: &str) -> (PathBuf, PathBuf) {
    let (folder, file) = (guarded.scene.path("roots-alone"), guarded.scene.path("token"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("ca.crt"), guarded.authority.root_pem()).unwrap();
    std::fs::write(&file, format!("{token}\n")).unwrap();
    (folder, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_and_its_commands_come_with_a_token_and_no_certificate() {
    let Some(mut guarded) = Guarded::prepare(3, 1).await else { return };
    let (signer, stranger) = (Signer::new("tokens"), Signer::new("tokens"));
    let keys = guarded.scene.path("keys.json");
    std::fs::write(&keys, json!({"keys": [signer.public()]}).to_string()).unwrap();
    guarded.scene.fleet.add_args(&["--bearer-keys", keys.to_str().unwrap()]);
    guarded.run().await;
    let good = signer.sign(&claims("web", "holdfast", at(600)));
    let (folder, file) = roots_and_token(&guarded, &good);
    let security = Security::open_bearer_alone(&folder, None, BearerFile::new(&file)).unwrap();
    let client = Client::connect(guarded.scene.fleet.addresses(), Options::new().security(security.clone())).await;
    let client = client.expect("a token is enough");
    client.put("alone", "by the client").await.unwrap();
    assert_eq!(client.scan("a".."b").collect().await.unwrap().len(), 1, "over streams and beside them");

    let [tls, token] = [&folder, &file].map(|path| path.to_str().unwrap());
    let run = async |arguments: &[&str]| {
        let output = guarded.scene.run(arguments).await;
        let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        (output.status.success(), said)
    };
    let (ended_well, said) = run(&["put", "alone", "by a command", "--tls", tls, "--token-file", token]).await;
    assert!(ended_well, "{said}");
    let (ended_well, said) = run(&["get", "alone", "--tls", tls, "--token-file", token]).await;
    assert!(ended_well && said.contains("by a command"), "{said}");
    let (ended_well, said) = run(&["get", "alone", "--tls", tls]).await;
    assert!(!ended_well && said.contains("--token-file FILE"), "{said}");
    // Whom the roots do not name is not believed, and never hears the token.
    let (ended_well, said) =
        run(&["get", "alone", "--tls", tls, "--token-file", token, "--trust-domain", "other.test"]).await;
    assert!(!ended_well && said.contains("another trust domain"), "{said}");

    std::fs::write(&file, stranger.sign(&claims("web", "holdfast", at(600)))).unwrap();
    let refused = Client::connect(guarded.scene.fleet.addresses(), Options::new().security(security)).await;
    assert!(matches!(&refused, Err(ClientError::Untrusted(why)) if why.doubt() == Doubt::Token), "{:?}", refused.err());
    assert_no_secrets(&guarded.scene.path(""), &[("a token", good.as_bytes())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_nobody_comes_by_a_token() {
    let Some(guarded) = Guarded::start().await else { return };
    let token = Signer::new("tokens").sign(&claims("web", "holdfast", at(600)));
    let (folder, file) = roots_and_token(&guarded, &token);
    let security = Security::open_bearer_alone(&folder, None, BearerFile::new(&file)).unwrap();
    let refused = Client::connect(guarded.scene.fleet.addresses(), Options::new().security(security)).await;
    let Err(ClientError::Untrusted(why)) = refused else { panic!("a certificate is wanted: {:?}", refused.err()) };
    assert!(why.doubt() == Doubt::OwnMissing && why.to_string().contains("--bearer-keys"), "{why}");
    let to = guarded.scene.fleet.stores()[0].client;
    assert!(put_with(to, Some(&token)).await.is_err(), "a certificate is wanted");
    let shown = guarded.authority.issue("client/web");
    assert_eq!(tls::call(to, Some(&shown), PUT, None, &put("k", "v", None)).await, Ok(OK));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_token_that_it_was_opened_with() {
    let Some(mut guarded) = Guarded::prepare(1, 1).await else { return };
    let signer = Signer::new("tokens");
    let keys = guarded.scene.path("keys.json");
    std::fs::write(&keys, json!({"keys": [signer.public()]}).to_string()).unwrap();
    guarded.scene.fleet.add_args(&["--bearer-keys", keys.to_str().unwrap()]);
    guarded.run().await;
    let to = guarded.scene.fleet.stores()[0].client;
    // As late as it can be, with what clocks may differ.
    let exp = at(2) - i64::try_from(holdfast_types::limits::BEARER_LEEWAY.as_secs()).unwrap();
    let token = signer.sign(&claims("web", "holdfast", exp));
    let hello = holdfast_proto::v1::StreamRequest::default();
    let opened = tokio::time::timeout(wait::PATIENCE, tls::held_stream(to, "/holdfast.v1.Kv/Stream", &token, &hello));
    let lasted = opened.await.expect("it ends with its token").expect("it was opened");
    assert!(lasted < Duration::from_secs(30), "it lasted {lasted:?}");
}

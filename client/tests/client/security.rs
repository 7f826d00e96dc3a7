//! Who is at either end: what is believed, what is refused, and how that is said.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use holdfast_client::admin::{Admin, AdminError};
use holdfast_client::mock::Mock;
use holdfast_client::{BearerFile, Client, ClientError, Doubt, Options, RetryPolicy, Security, Trust};
use holdfast_trust::authority::{Issued, Root, Scope, Validity};
use holdfast_trust::{Material, Place, Reloaded};
use holdfast_types::principal::Kind;
use holdfast_types::{PrincipalName, Rejected, SiteName, TrustDomain};

const VALID: Duration = Duration::from_secs(3_600);

fn root_of(domain: &str) -> Root {
    Root::new(&TrustDomain::new(domain).unwrap(), VALID).unwrap()
}

/// A certificate of this kind, valid from so long ago on for an hour.
fn issued(root: &Root, kind: &Kind, begun: Duration) -> Issued {
    let scope = match kind {
        Kind::Store(site) => Scope::Site(site.clone()),
        Kind::Client(_) | Kind::Operator(_) => Scope::People,
    };
    let now = SystemTime::now();
    let whole = Validity::between(now - begun - VALID, now + VALID);
    let from = now - begun;
    root.issuer_within(scope, &[], whole)
        .unwrap()
        .leaf_within(kind, &[], Validity::between(from, from + VALID))
        .unwrap()
}

/// As a process has it that took it when it was valid.
fn trust(root: &Root, kind: &Kind, begun: Duration) -> Arc<Trust> {
    let issued = issued(root, kind, begun);
    let (certificate, key, bundle) = (&issued.certificate_pem, &issued.key_pem, &issued.bundle_pem);
    let then = SystemTime::now() - begun + Duration::from_secs(1);
    Trust::from_material(
        Material::from_pem_at(certificate.as_bytes(), key.as_bytes(), bundle.as_bytes(), then).unwrap(),
    )
}

fn store() -> Kind {
    Kind::Store(SiteName::new("local").unwrap())
}

fn client() -> Kind {
    Kind::Client(PrincipalName::new("billing").unwrap())
}

const FRESH: Duration = Duration::from_secs(60);
const EXPIRED: Duration = Duration::from_secs(2 * 3_600);

/// What connecting fails with. Not the deadline: certificates are not waited for.
async fn doubt(addresses: Vec<String>, security: Security) -> (Doubt, String) {
    let asked = Admin::connect_with(addresses.clone(), security.clone()).await;
    let Err(AdminError::Untrusted(of_admin)) = asked else { panic!("{:?}", asked.err()) };
    let patient = Options::new().security(security).deadline(Duration::from_secs(3_600));
    let refused = Client::connect(addresses.clone(), patient).await;
    let Err(ClientError::Untrusted(why)) = refused else { panic!("{refused:?}") };
    assert_eq!(of_admin, why, "both say the same");
    let said = ClientError::from(why.clone()).to_string();
    assert!(said.contains(&addresses[0]) && said.contains(why.doubt().advice()), "{said}");
    (why.doubt(), said)
}

async fn doubt_between(of_store: Arc<Trust>, of_client: Arc<Trust>) -> (Doubt, String) {
    let mock = Mock::builder().trust(of_store).start().unwrap();
    let doubted = doubt(mock.addresses(), Security::tls(of_client)).await;
    assert_eq!(mock.stats().calls, 0);
    doubted
}

#[tokio::test]
async fn everything_goes_over_tls_and_the_store_hears_who_calls() {
    let mock = Mock::builder().sites(["a", "b"]).split_at("m").tls().start().unwrap();
    let client = mock.client().await.unwrap();
    client.put("b", "1").await.unwrap();
    client.put("x", "2").await.unwrap();
    assert_eq!(client.batch_get(["b", "x"]).await.unwrap().iter().flatten().count(), 2);
    assert_eq!(client.scan(..).collect().await.unwrap().len(), 2);
    client.admin().create_keyspace("orders").await.unwrap();
    client.keyspace("orders").await.unwrap().put("k", "v").await.unwrap();
    mock.stop_store(0);
    assert!(client.get("b").await.unwrap().is_some(), "the other site proves itself as well");
    let callers: Vec<_> = mock.callers().iter().map(|party| party.principal.to_string()).collect();
    assert_eq!(callers, ["spiffe://mock/client/mock"]);
}

#[test]
fn the_blocking_client_speaks_tls_too() {
    let mock = Mock::builder().tls().start().unwrap();
    let client = mock.blocking_client().unwrap();
    client.put("k", "v").unwrap();
    assert_eq!(mock.callers().len(), 1);
}

#[tokio::test]
async fn roots_that_are_not_ours_and_ours_that_are_not_theirs_are_told_apart() {
    let (ours, theirs) = (root_of("f.example"), root_of("f.example"));
    let (doubted, said) = doubt_between(trust(&theirs, &store(), FRESH), trust(&ours, &client(), FRESH)).await;
    assert_eq!(doubted, Doubt::StoreUnknown, "{said}");
    // The client believes the store, and not the other way round.
    let of_client = issued(&theirs, &client(), FRESH);
    let mixed = Material::from_pem(
        of_client.certificate_pem.as_bytes(),
        of_client.key_pem.as_bytes(),
        format!("{}{}", of_client.bundle_pem, ours.certificate_pem()).as_bytes(),
    );
    let (doubted, said) = doubt_between(trust(&ours, &store(), FRESH), Trust::from_material(mixed.unwrap())).await;
    assert_eq!(doubted, Doubt::OwnUnknown, "{said}");
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_named_with_its_owner() {
    let root = root_of("f.example");
    let (doubted, said) = doubt_between(trust(&root, &store(), EXPIRED), trust(&root, &client(), FRESH)).await;
    assert_eq!(doubted, Doubt::StoreExpired, "{said}");
    assert!(said.contains("expired at"), "{said}");
    let (doubted, said) = doubt_between(trust(&root, &store(), FRESH), trust(&root, &client(), EXPIRED)).await;
    assert_eq!(doubted, Doubt::OwnExpired, "{said}");
}

#[tokio::test]
async fn whoever_is_no_store_of_our_domain_is_not_talked_to() {
    let root = root_of("f.example");
    // Another client that got hold of the address of a store.
    let (doubted, said) = doubt_between(trust(&root, &client(), FRESH), trust(&root, &client(), FRESH)).await;
    assert_eq!(doubted, Doubt::StoreUnfit, "{said}");
    // A store of another domain, whose root we happen to believe.
    let other = root_of("g.example");
    let of_client = issued(&root, &client(), FRESH);
    let both = format!("{}{}", of_client.bundle_pem, other.certificate_pem());
    let ours = Material::from_pem(of_client.certificate_pem.as_bytes(), of_client.key_pem.as_bytes(), both.as_bytes())
        .unwrap();
    let (doubted, said) = doubt_between(trust(&other, &store(), FRESH), Trust::from_material(ours)).await;
    assert_eq!(doubted, Doubt::StoreUnfit, "{said}");
    assert!(said.contains("another trust domain"), "{said}");
    // A store of a site that is distrusted.
    let wary = trust(&root, &client(), FRESH);
    wary.distrust([SiteName::new("local").unwrap()].into());
    let (doubted, said) = doubt_between(trust(&root, &store(), FRESH), wary).await;
    assert_eq!(doubted, Doubt::StoreUnfit, "{said}");
}

#[tokio::test]
async fn plain_text_and_tls_do_not_meet() {
    let root = root_of("f.example");
    let plain = Mock::start().unwrap();
    let (doubted, said) = doubt(plain.addresses(), Security::tls(trust(&root, &client(), FRESH))).await;
    assert_eq!(doubted, Doubt::NoTls, "{said}");
    let tls = Mock::builder().tls().start().unwrap();
    let (doubted, said) = doubt(tls.addresses(), Security::Plain).await;
    assert_eq!(doubted, Doubt::NoTls, "{said}");
}

#[tokio::test]
async fn a_store_of_another_fleet_of_the_same_domain_is_refused_whatever_it_is_asked() {
    let root = root_of("f.example");
    let security = Security::tls(trust(&root, &client(), FRESH));
    let ours = Mock::builder().sites(["a", "b"]).trust(trust(&root, &store(), FRESH)).start().unwrap();
    let hasty = RetryPolicy::new().attempts(3).backoff(Duration::from_millis(5), Duration::from_millis(5));
    let options = Options::new().security(security.clone());
    let client = Client::connect(ours.addresses(), options).await.unwrap();
    client.put("k", "v").await.unwrap();
    client.admin().create_keyspace("orders").await.unwrap();
    // All addresses change hands.
    let addresses = ours.addresses();
    ours.stop_store(0);
    ours.stop_store(1);
    let taken = Mock::builder().sites(["a", "b"]).listen_at(&addresses).trust(trust(&root, &store(), FRESH));
    let theirs = taken.start().unwrap();
    let error = client.with_retry(hasty).put("k", "w").await.unwrap_err();
    let Err(AdminError::FailedPrecondition(said)) = client.keyspace("orders").await else { panic!("not ours") };
    assert!(said.contains("another fleet"), "{said}");
    assert_eq!((theirs.stats().calls, theirs.versions("k").len()), (0, 0), "{error}");
    // Whoever asks for nobody in particular gets what is there.
    let stranger = Client::connect(theirs.addresses(), Options::new().security(security)).await.unwrap();
    stranger.put("k", "theirs").await.unwrap();
}

#[tokio::test]
async fn a_client_with_a_token_alone_is_who_the_token_says_and_gives_it_to_no_stranger() {
    let root = root_of("f.example");
    let mock = Mock::builder().trust(trust(&root, &store(), FRESH)).start().unwrap();
    mock.take_token("good");
    let folder = tempfile::tempdir().unwrap();
    let (bundle, file) = (folder.path().join("ca.crt"), folder.path().join("token"));
    std::fs::write(&bundle, root.certificate_pem()).unwrap();
    let security = || Security::open_bearer_alone(folder.path(), None, BearerFile::new(&file)).unwrap();
    let (doubted, said) = doubt(mock.addresses(), security()).await;
    assert!(doubted == Doubt::Token && said.contains("there is no file"), "{said}");
    std::fs::write(&file, "good\n").unwrap();
    let client = Client::connect(mock.addresses(), Options::new().security(security())).await.unwrap();
    client.put("k", "1").await.unwrap();
    assert_eq!(client.get("k").await.unwrap().unwrap().value, "1");
    assert!(mock.callers().is_empty(), "nobody showed a certificate");
    let shown = format!("{:?}", security());
    assert!(shown.contains("f.example") && !shown.contains("good"), "{shown}");
    std::fs::write(&bundle, root_of("f.example").certificate_pem()).unwrap();
    let (doubted, said) = doubt(mock.addresses(), security()).await;
    assert_eq!(doubted, Doubt::StoreUnknown, "{said}");
}

#[tokio::test]
async fn a_token_is_read_anew_when_it_changes() {
    let root = root_of("f.example");
    let mock = Mock::builder().trust(trust(&root, &store(), FRESH)).start().unwrap();
    mock.take_token("first");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let security = || Security::tls_with_bearer(trust(&root, &client(), FRESH), BearerFile::new(&file));
    let (doubted, said) = doubt(mock.addresses(), security()).await;
    assert_eq!(doubted, Doubt::Token);
    assert!(said.contains("there is no file"), "{said}");
    std::fs::write(&file, "wrong\n").unwrap();
    let (doubted, said) = doubt(mock.addresses(), security()).await;
    assert!(doubted == Doubt::Token && !said.contains("wrong"), "{said}");
    std::fs::write(&file, "first\n").unwrap();
    let client = Client::connect(mock.addresses(), Options::new().security(security())).await.unwrap();
    client.put("k", "1").await.unwrap();
    // The fleet takes another one from now on, and the connection ends, as it does when a token expires.
    mock.take_token("second");
    mock.stop_store(0);
    mock.start_store(0).unwrap();
    let hasty = client.with_deadline(Duration::from_millis(300));
    let error = hasty.put("k", "2").await.unwrap_err();
    assert!(error.to_string().contains("bearer token"), "{error}");
    std::fs::write(&file, "second\n").unwrap();
    client.put("k", "3").await.unwrap();
    assert_eq!(mock.versions("k").len(), 2);
}

#[tokio::test]
async fn a_connection_that_is_made_after_a_renewal_shows_the_new_certificate() {
    let root = root_of("f.example");
    let mock = Mock::builder().trust(trust(&root, &store(), FRESH)).start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    issued(&root, &client(), FRESH).write(folder.path()).unwrap();
    let ours = Trust::open(Place::folder(folder.path())).unwrap();
    let client_of = Client::connect(mock.addresses(), Options::new().security(Arc::clone(&ours))).await.unwrap();
    client_of.put("k", "1").await.unwrap();
    let before = ours.own().fingerprint;
    issued(&root, &client(), Duration::from_secs(30)).write(folder.path()).unwrap();
    assert_eq!(ours.reload(), Ok(Reloaded::Taken));
    client_of.put("k", "2").await.unwrap();
    let seen = || mock.callers().iter().map(|party| party.fingerprint).collect::<Vec<_>>();
    assert_eq!(seen(), [before], "connections that stand are left alone");
    mock.stop_store(0);
    mock.start_store(0).unwrap();
    client_of.put("k", "3").await.unwrap();
    assert!(seen().contains(&ours.own().fingerprint) && seen().len() == 2);
}

#[tokio::test]
async fn a_client_that_is_not_believed_any_more_says_so_in_each_call() {
    let (root, new) = (root_of("f.example"), root_of("f.example"));
    let mock = Mock::builder().trust(trust(&root, &store(), FRESH)).start().unwrap();
    let options = Options::new().security(trust(&root, &client(), FRESH)).deadline(Duration::from_millis(400));
    let client = Client::connect(mock.addresses(), options).await.unwrap();
    client.put("k", "1").await.unwrap();
    let addresses = mock.addresses();
    drop(mock);
    let _other = Mock::builder().listen_at(&addresses).trust(trust(&new, &store(), FRESH)).start().unwrap();
    let error = client.get("k").await.unwrap_err();
    let ClientError::DeadlineExceeded { last: Some(last) } = &error else { panic!("{error:?}") };
    assert!(matches!(&**last, Rejected::Unavailable(said) if said.contains("no root of our bundle")), "{error}");
    assert!(error.is_temporary(), "a renewal may help");
}

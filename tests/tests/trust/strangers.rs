//! Whom each port believes.

use std::fmt::Write as _;
use std::net::SocketAddr;

use holdfast_proto::v1;
use holdfast_proto::v1::link_frame::Body;
use holdfast_tests::guarded::{Authority, DOMAIN, Guarded, install_files};
use holdfast_tests::links::{frame, framed, hello};
use holdfast_tests::raw;
use holdfast_tests::tls::{self, Offers};
use holdfast_trust::authority::Issued;
use prost::Message as _;
use tonic::Code;

/// The ports of a store that want a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Port {
    Clients,
    Stores,
    Heartbeats,
    Metrics,
}

const ALL: [Port; 4] = [Port::Clients, Port::Stores, Port::Heartbeats, Port::Metrics];
/// Those on which stores talk to each other.
const OF_STORES: [Port; 2] = [Port::Stores, Port::Heartbeats];

fn address(guarded: &Guarded, store: usize, port: Port) -> SocketAddr {
    let store = &guarded.scene.fleet.stores()[store];
    match port {
        Port::Clients => store.client,
        Port::Stores => store.store,
        Port::Heartbeats => SocketAddr::new(store.store.ip(), store.store.port() + 1),
        Port::Metrics => store.metrics,
    }
}

/// What a port of store 0 says to whoever shows this, or why it says nothing.
async fn heard(guarded: &Guarded, port: Port, shown: Option<&Issued>) -> Result<Vec<u8>, String> {
    let to = address(guarded, 0, port);
    match port {
        // Who shows nothing may still ask for health, or to join by a token, and is told so by each call.
        Port::Clients => match tls::call(to, shown, "/holdfast.v1.Kv/Get", None, &raw::get("nothing")).await {
            Ok(status) if status != Code::Unauthenticated as u32 => Ok(status.to_string().into_bytes()),
            Ok(status) => Err(status.to_string()),
            Err(why) => Err(why),
        },
        Port::Stores => tls::heard_http2(to, shown).await,
        Port::Heartbeats => {
            // An answer is heard whatever it says: that this one names no fleet is refused in words.
            let hello = hello(v1::Id128::default(), 77, 1, v1::LinkClass::Support);
            tls::heard(to, shown, &framed(&frame(Body::Hello(hello)).encode_to_vec())).await
        }
        Port::Metrics => tls::https_get(to, shown, "/metrics")
            .await
            .and_then(|page| if page.starts_with("HTTP/1.1 200") { Ok(page.into_bytes()) } else { Err(page) }),
    }
}

/// Tries everybody on every port; says what is not as it should be.
async fn faults(guarded: &Guarded, who: &[(&str, Option<&Issued>, &[Port])]) -> String {
    let mut faults = String::new();
    for (name, shown, taken_on) in who {
        for port in ALL {
            match (heard(guarded, port, *shown).await, taken_on.contains(&port)) {
                (Ok(_), true) | (Err(_), false) => {}
                (Ok(said), false) => writeln!(faults, "{name} is let in on {port:?}: {}", said.escape_ascii()).unwrap(),
                (Err(why), true) => writeln!(faults, "{name} is kept out of {port:?}: {why}").unwrap(),
            }
        }
    }
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn each_port_believes_whom_it_must_and_nobody_else() {
    let Some(guarded) = Guarded::start().await else { return };
    let (own, same_domain, other) = (&guarded.authority, Authority::new(DOMAIN), Authority::new("other.test"));
    let [store, client, operator] = ["site/site-b/store", "client/x", "operator/ann"].map(|who| own.issue(who));
    let [forged_store, forged_operator] = ["site/site-b/store", "operator/ann"].map(|who| same_domain.issue(who));
    let [other_store, other_operator] = ["site/site-b/store", "operator/ann"].map(|who| other.issue(who));
    let [late_store, late_operator] = ["site/site-b/store", "operator/ann"].map(|who| own.issue_expired(who));
    let of_people: &[Port] = &[Port::Clients, Port::Metrics];
    let faults = faults(
        &guarded,
        &[
            ("a store", Some(&store), &ALL),
            ("a client", Some(&client), of_people),
            ("an operator", Some(&operator), of_people),
            ("nobody", None, &[]),
            ("a store of another authority", Some(&forged_store), &[]),
            ("an operator of another authority", Some(&forged_operator), &[]),
            ("a store of another trust domain", Some(&other_store), &[]),
            ("an operator of another trust domain", Some(&other_operator), &[]),
            ("a store that has expired", Some(&late_store), &[]),
            ("an operator who has expired", Some(&late_operator), &[]),
        ],
    )
    .await;
    assert!(faults.is_empty(), "{faults}");
    assert_eq!(OF_STORES.len(), ALL.len() - of_people.len());
}

/// Two fleets may have one root, or have each other's roots in their bundles: it is the trust domain that tells them apart.
#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_believed_speaks_for_no_other_trust_domain() {
    let Some(mut guarded) = Guarded::prepare(3, 1).await else { return };
    let other = Authority::new("other.test");
    for site in guarded.sites() {
        let own = guarded.authority.issue(&format!("site/{site}/store"));
        let both = own.bundle_pem.clone() + &other.root_pem();
        let files = [("tls.crt", &own.certificate_pem), ("tls.key", &own.key_pem), ("ca.crt", &both)];
        install_files(&guarded.folder_of(&site), &files.map(|(name, text)| (name, text.as_bytes())));
    }
    guarded.run().await;
    let [theirs, operator] = ["site/site-b/store", "operator/ann"].map(|who| other.issue(who));
    let own = guarded.authority.issue("site/site-b/store");
    let who: [(&str, Option<&Issued>, &[Port]); 3] = [
        ("a store", Some(&own), &ALL),
        ("a foreign store", Some(&theirs), &[]),
        ("a foreign operator", Some(&operator), &[]),
    ];
    let faults = faults(&guarded, &who).await;
    assert!(faults.is_empty(), "{faults}");
}

/// By hand, because this program's own TLS may not know TLS 1.2 at all.
#[tokio::test(flavor = "multi_thread")]
async fn tls_1_2_is_refused_on_every_port() {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    const PROTOCOL_VERSION: u8 = 70;
    let Some(guarded) = Guarded::start().await else { return };
    for port in ALL {
        let to = address(&guarded, 0, port);
        let refused = tls::raw_answer(to, &tls::hello_of(Offers::Tls12)).await;
        let is_alert = refused.first() == Some(&ALERT) && refused.get(5..7) == Some(&[2, PROTOCOL_VERSION]);
        assert!(is_alert, "{port:?}: {}", refused.escape_ascii());
        // The same by TLS 1.3 is answered.
        let asked = tls::raw_answer(to, &tls::hello_of(Offers::Tls13)).await;
        assert_eq!(asked.first(), Some(&HANDSHAKE), "{port:?}: {}", asked.escape_ascii());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_is_answered_by_no_port_but_that_of_probes() {
    let Some(guarded) = Guarded::start().await else { return };
    for port in ALL {
        for said in [&b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"[..], holdfast_tests::attacker::PREFACE] {
            let answer = tls::raw_answer(address(&guarded, 0, port), said).await;
            let is_alert_or_nothing = answer.first().is_none_or(|first| *first == 21);
            assert!(is_alert_or_nothing, "{port:?}: {}", answer.escape_ascii());
        }
    }
}

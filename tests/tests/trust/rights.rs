//! What clients may do, and what a store looks at once more when another one passes it on.

use std::time::Instant;

use bytes::Bytes;
use holdfast_client::channel::Dialer;
use holdfast_client::{Client, ClientError, KeyspaceId, Rejected};
use holdfast_proto::v1;
use holdfast_proto::v1::change_rights_request::Change;
use holdfast_proto::v1::grantee::Who;
use holdfast_proto::v1::link_frame::Body;
use holdfast_proto::v1::store_message::Body as Told;
use holdfast_proto::v1::store_transport_client::StoreTransportClient;
use holdfast_tests::guarded::Guarded;
use holdfast_tests::links::{frame, hello};
use holdfast_tests::raw::{self, raw_key};
use holdfast_tests::{tls, wait};
use holdfast_types::limits;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

fn grant(right: v1::Right, prefix: &str) -> v1::Grant {
    v1::Grant {
        right: right.into(),
        keyspace: "default".into(),
        prefix: Bytes::copy_from_slice(prefix.as_bytes()),
        ..v1::Grant::default()
    }
}

fn to(client: &str, grants: &[v1::Grant]) -> v1::GrantChange {
    let grantee = Some(v1::Grantee { who: Some(Who::Client(client.into())) });
    v1::GrantChange { grants: grants.to_vec(), grantee }
}

async fn change(guarded: &Guarded, change: Change) -> v1::ChangeRightsResponse {
    let mut admin = guarded.scene.fleet.admin_client(0).await.unwrap();
    let changed = admin.change_rights(v1::ChangeRightsRequest { change: Some(change) }).await;
    changed.expect("an operator may").into_inner()
}

/// Billing reads and writes below `a/`.
async fn grant_to_billing(guarded: &Guarded) {
    let grants = [grant(v1::Right::Read, "a/"), grant(v1::Right::Write, "a/")];
    let changed = change(guarded, Change::Grant(to("billing", &grants))).await;
    assert!(changed.enforced && changed.closes && changed.silent.is_empty(), "{changed:?}");
}

fn is_forbidden<T: std::fmt::Debug>(ended: &Result<T, ClientError>) -> bool {
    matches!(ended, Err(ClientError::Rejected(Rejected::Forbidden(_))))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_grant_is_kept_out_from_the_first_grant_on() {
    let Some(guarded) = Guarded::start().await else { return };
    let stranger = guarded.client("client/stranger").await;
    stranger.put("a/1", "before").await.expect("nothing was granted so far, and everybody may");
    grant_to_billing(&guarded).await;
    let billing = guarded.client("client/billing").await;
    billing.put("a/1", "of billing").await.expect("it was granted");
    assert_eq!(billing.get("a/1").await.unwrap().unwrap().value, "of billing");
    for (what, ended) in [
        ("a read", stranger.get("a/1").await.map(drop)),
        ("a write", stranger.put("a/1", "of a stranger").await.map(drop)),
        ("a write elsewhere", billing.put("b/1", "beyond").await.map(drop)),
        ("a read elsewhere", billing.get("b/1").await.map(drop)),
        ("a scan that goes beyond", billing.scan("a/".."c/").collect().await.map(drop)),
        ("a count that goes beyond", billing.scan("a/".."c/").count().await.map(drop)),
        ("a count of a stranger", stranger.scan("a/".."a0").count().await.map(drop)),
        ("the keys alone", stranger.scan("a/".."a0").keys_only().collect().await.map(drop)),
    ] {
        assert!(is_forbidden(&ended), "{what}: {ended:?}");
    }
    assert_eq!(billing.scan("a/".."a0").collect().await.unwrap().len(), 1);
    assert_eq!(billing.scan("a/".."a0").count().await.unwrap(), 1, "whoever may read may count");
    let operator = guarded.client("operator/ann").await;
    operator.put("b/1", "an operator may").await.unwrap();
    assert_eq!(operator.get("a/1").await.unwrap().unwrap().value, "of billing", "nothing of what was refused was done");

    // Every store goes by it, whichever is asked.
    for store in 0..3 {
        let (port, shown) = (guarded.scene.fleet.stores()[store].client, guarded.authority.issue("client/stranger"));
        let ended = tls::call(port, Some(&shown), "/holdfast.v1.Kv/Get", None, &raw::get("a/1")).await;
        assert_eq!(ended, Ok(Code::PermissionDenied as u32), "store {store}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_is_gone_for_who_is_connected_too() {
    let Some(guarded) = Guarded::start().await else { return };
    grant_to_billing(&guarded).await;
    let billing = guarded.client("client/billing").await;
    billing.put("a/1", "granted").await.unwrap();
    let taken = change(&guarded, Change::Revoke(to("billing", &[grant(v1::Right::Write, "a/")]))).await;
    assert!(taken.changed, "{taken:?}");
    wait::until("it may not write any more", async || is_forbidden(&billing.put("a/1", "late").await).then_some(()))
        .await;
    assert!(billing.get("a/1").await.is_ok(), "it still may read");
}

/// How often each store has asked the system range what was granted, and compiled it.
async fn looks_and_compiled(guarded: &Guarded) -> Vec<[u64; 2]> {
    let mut counts = Vec::new();
    for store in 0..3 {
        let mut of_store = [0; 2];
        for (count, name) in of_store.iter_mut().zip(["holdfast_rights_looks_total", "holdfast_rights_compiled_total"])
        {
            let value = guarded.metric(store, name).await.unwrap_or_else(|| panic!("no {name}"));
            *count = format!("{value:.0}").parse().unwrap();
        }
        counts.push(of_store);
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_asks_the_system_range_what_was_granted() {
    const REQUESTS: usize = 10_000;
    const AT_A_TIME: usize = 100;
    let Some(guarded) = Guarded::start().await else { return };
    grant_to_billing(&guarded).await;
    let billing = guarded.client("client/billing").await;
    billing.put("a/1", "granted").await.unwrap();
    let before = wait::until("every store has compiled the grant", async || {
        let counts = looks_and_compiled(&guarded).await;
        // Once when it started.
        counts.iter().all(|[_, compiled]| *compiled >= 2).then_some(counts)
    })
    .await;
    let begun = Instant::now();
    for _ in 0..REQUESTS / AT_A_TIME {
        let mut asked = tokio::task::JoinSet::new();
        for at in 0..AT_A_TIME {
            let billing = billing.clone();
            // The last of them is refused: that is judged alike.
            let key = if at + 1 == AT_A_TIME { "b/1" } else { "a/1" };
            asked.spawn(async move { billing.get(key).await });
        }
        let refused = asked.join_all().await.iter().filter(|ended| is_forbidden(ended)).count();
        assert_eq!(refused, 1);
    }
    // A page of metrics is as old as this at most.
    tokio::time::sleep(limits::METRICS_PAGE_EVERY).await;
    let after = looks_and_compiled(&guarded).await;
    // Each looks once a second, whatever is asked.
    let lasted = begun.elapsed() + limits::METRICS_PAGE_EVERY;
    let most = lasted.as_secs() / limits::RIGHTS_LOOK_EVERY.as_secs() + 2;
    assert!(most < REQUESTS as u64 / 10, "a machine that is too slow for this to show anything");
    for (store, ([looks, compiled], [looks_before, compiled_before])) in after.iter().zip(&before).enumerate() {
        assert_eq!(compiled, compiled_before, "store {store} compiled what had not changed");
        assert!(looks - looks_before <= most, "store {store} looked {} times, {most} at most", looks - looks_before);
    }

    let changed = change(&guarded, Change::Grant(to("billing", &[grant(v1::Right::Read, "b/")]))).await;
    assert!(changed.changed, "{changed:?}");
    wait::until("every store has compiled it", async || {
        let now = looks_and_compiled(&guarded).await;
        now.iter().zip(&after).all(|([_, now], [_, before])| *now > *before).then_some(())
    })
    .await;
    billing.get("b/1").await.expect("it was granted");
    let last = looks_and_compiled(&guarded).await;
    for (store, ([_, now], [_, before])) in last.iter().zip(&after).enumerate() {
        assert_eq!(now - before, 1, "store {store}: one change, compiled once");
    }
    assert!(guarded.metric(0, "holdfast_rights_age_seconds").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reverse_scan_that_begins_in_a_hidden_range_is_refused_as_a_forward_one_is() {
    let Some(mut guarded) = Guarded::start().await else { return };
    guarded.scene.split_at(&["b/"]).await;
    grant_to_billing(&guarded).await;
    let billing = guarded.client("client/billing").await;
    billing.put("a/1", "granted").await.unwrap();
    for (what, ended) in [
        ("forward", billing.scan("a/".."c/").collect().await),
        ("reverse", billing.scan("a/".."c/").reverse().collect().await),
        ("reverse from the end", billing.scan("a/"..).reverse().limit(1).collect().await),
        ("all in reverse", billing.scan(..).reverse().collect().await),
    ] {
        assert!(is_forbidden(&ended), "{what}: {ended:?}");
    }
    let Err(refused) = billing.scan("a/".."c/").reverse().collect().await else { panic!("that is hidden") };
    assert!(refused.to_string().contains("GRANT read ON KEYSPACE"), "{refused}");
    assert_eq!(billing.scan("a/".."a0").reverse().collect().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleets_own_keyspace_is_for_those_who_run_it() {
    let Some(guarded) = Guarded::start().await else { return };
    let system = |who: &'static str| {
        let options = holdfast_client::Options::new().security(guarded.security(who)).keyspace(KeyspaceId::SYSTEM);
        let addresses = guarded.scene.fleet.addresses();
        async move { Client::connect(addresses, options).await.unwrap() }
    };
    let (client, operator) = (system("client/x").await, system("operator/ann").await);
    assert!(is_forbidden(&client.get("s/1").await), "reads included");
    operator.get("s/1").await.expect("an operator looks");
    assert!(operator.put("s/1", "by hand").await.is_err(), "nobody writes it by hand");
}

/// A stream from a store of site-b, which is down, to store 0: messages of the class of requests.
struct Intruder {
    say: mpsc::Sender<v1::LinkFrame>,
}

impl Intruder {
    async fn enter(guarded: &mut Guarded) -> Self {
        let described = guarded.scene.describe(0).await;
        let (fleet, to) = (described.fleet.unwrap(), described.store_id);
        let from = guarded.scene.describe(1).await.store_id;
        guarded.scene.fleet.kill(1).unwrap();
        let dialer = Dialer::new(guarded.security("site/site-b/store"), wait::PATIENCE);
        let address = guarded.scene.fleet.stores()[0].store.to_string();
        let hello = v1::LinkHello {
            site: "site-b".into(),
            // Later than any start of the true one.
            incarnation: 1_000,
            ..hello(fleet, from, to, v1::LinkClass::Control)
        };
        let say = wait::until("the store of site-b is missed, and another process is believed", async || {
            let channel = dialer.connect(&address).await.ok()?;
            let (say, said) = mpsc::channel(16);
            say.send(frame(Body::Hello(hello.clone()))).await.ok()?;
            let mut answers =
                StoreTransportClient::new(channel).open(ReceiverStream::new(said)).await.ok()?.into_inner();
            match answers.message().await.ok()??.body? {
                Body::Welcome(_) => {
                    // Read on, so that it stays open.
                    tokio::spawn(async move { while let Ok(Some(_)) = answers.message().await {} });
                    Some(say)
                }
                _ => None,
            }
        })
        .await;
        Self { say }
    }

    /// Passes a write on, as if somebody had asked the store of site-b for it.
    async fn pass_on(&self, number: u64, author: v1::Author, principal: &str, key: &str) {
        let value = Some(Bytes::from_static(b"passed on"));
        let mutation = v1::Mutation { key: raw_key(key), value, ..v1::Mutation::default() };
        let change = v1::RangeWrite { mutations: vec![mutation], ..v1::RangeWrite::default() };
        let body = Some(v1::range_request::Body::Change(change));
        let request = v1::RangeRequest { body, ..v1::RangeRequest::default() };
        let forward = v1::Forward {
            forward_id: number,
            request: Some(request),
            timeout_ms: 5_000,
            hops: 1,
            author: author.into(),
            principal: principal.into(),
        };
        let message = v1::StoreMessage { version: 1, body: Some(Told::Forward(forward)) };
        let payload = message.encode_to_vec().into();
        let message = v1::LinkMessage { payload, ..v1::LinkMessage::default() };
        let batch = v1::LinkBatch { messages: vec![message] };
        self.say.send(frame(Body::Batch(batch))).await.expect("the stream is open");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_principal_may_no_more_than_whom_it_names_and_names_nobody_else() {
    let Some(mut guarded) = Guarded::start().await else { return };
    grant_to_billing(&guarded).await;
    let operator = guarded.client("operator/ann").await;
    operator.put("a/settled", "yes").await.unwrap();
    let intruder = Intruder::enter(&mut guarded).await;
    let forged = [
        ("client/stranger, who was granted nothing", v1::Author::Client, "spiffe://fleet.test/client/stranger", "a/1"),
        ("client/billing, beyond its grant", v1::Author::Client, "spiffe://fleet.test/client/billing", "b/1"),
        ("nobody", v1::Author::Client, "", "a/2"),
        ("an operator of another trust domain", v1::Author::Client, "spiffe://other.test/operator/ann", "a/3"),
        ("a store of another site", v1::Author::Client, "spiffe://fleet.test/site/site-c/store", "a/4"),
        ("what is no identity", v1::Author::Client, "operator/ann", "a/5"),
        ("the fleet, on keys of clients", v1::Author::Fleet, "", "a/6"),
        ("an older program, which names nobody", v1::Author::Unspecified, "", "a/7"),
    ];
    for (number, (_, author, principal, key)) in (1..).zip(forged) {
        intruder.pass_on(number, author, principal, key).await;
    }
    // Streams keep their order: once this is there, all of the above was looked at.
    intruder.pass_on(100, v1::Author::Client, "spiffe://fleet.test/client/billing", "a/last").await;
    let last = wait::until("what billing may is done", async || operator.get("a/last").await.ok()?).await;
    assert_eq!(last.value, "passed on");
    for (what, _, _, key) in forged {
        let found = operator.get(key).await.unwrap();
        assert!(found.is_none(), "in the name of {what}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_at_the_fleet_and_changes_it_must_be_allowed_to() {
    let Some(guarded) = Guarded::start().await else { return };
    grant_to_billing(&guarded).await;
    let address = guarded.scene.fleet.stores()[0].client.to_string();
    let dialer = Dialer::new(guarded.security("client/billing"), wait::PATIENCE);
    let mut admin = v1::admin_client::AdminClient::new(dialer.connect(&address).await.unwrap());
    let asked = [
        ("stores", admin.list_stores(v1::ListStoresRequest::default()).await.map(drop)),
        ("settings", admin.list_settings(v1::ListSettingsRequest::default()).await.map(drop)),
        (
            "a split",
            admin.split_range(v1::SplitRangeRequest { key: raw_key("a/5"), expected_epoch: None }).await.map(drop),
        ),
        ("the audit", admin.list_audit(v1::ListAuditRequest::default()).await.map(drop)),
        (
            "a grant to itself",
            admin
                .change_rights(v1::ChangeRightsRequest {
                    change: Some(Change::Grant(to("billing", &[grant(v1::Right::Write, "")]))),
                })
                .await
                .map(drop),
        ),
    ];
    for (what, ended) in asked {
        assert!(matches!(raw::refusal(ended), Rejected::Forbidden(_)), "{what}");
    }
}

//! The control plane against API servers in this process: slow and dead ones, conflicts, wrong ones, and what must never be deleted. Time is
//! virtual.

#![allow(clippy::unwrap_used)]

mod fake;

use std::sync::Mutex;
use std::time::Duration;

use fake::{FakeStores, Mood, World};
use holdfast_control::apply::{self, Applied, Ended, Options, Run};
use holdfast_control::audit::{self, Finding};
use holdfast_control::failure::Failure;
use holdfast_control::plan::{self, SitePlan, Verdict};
use holdfast_control::stores::{StoreView, Stores, Trouble};
use holdfast_control::{access, report, status, sync};
use serde_json::json;

const NAMESPACE: &str = "/api/v1/namespaces/holdfast";
const PRIORITY: &str = "/apis/scheduling.k8s.io/v1/priorityclasses/prod-store";

async fn applied(world: &World, stores: &dyn Stores, options: Options) -> (Vec<Applied>, Vec<String>) {
    let lines = Mutex::new(Vec::new());
    let say = |site: &str, line: &str| lines.lock().unwrap().push(format!("{site}: {line}"));
    let (fleet, reaches, limits) = (&world.fleet, world.reaches.as_slice(), world.limits);
    let applied = apply::apply(&Run { fleet, reaches, stores, limits, options, say: &say }).await;
    (applied, lines.into_inner().unwrap())
}

/// A world in which everything was applied and the fleet was founded.
async fn settled() -> (World, FakeStores) {
    let world = World::new();
    let (sites, _) = applied(&world, &FakeStores::not_founded(), Options::default()).await;
    assert!(sites.iter().all(|site| site.ended == Ended::Done), "{}", report::applied_text(&sites));
    world.servers.iter().for_each(|server| server.with(|state| state.writes.clear()));
    let stores = FakeStores::well(&world.fleet, 3);
    (world, stores)
}

async fn planned(world: &World) -> Vec<SitePlan> {
    plan::plan(&world.fleet, &world.reaches, &world.limits).await
}

fn verdicts(plan: &SitePlan) -> Vec<&Verdict> {
    plan.looked.as_ref().unwrap().objects.iter().map(|plan| &plan.verdict).collect()
}

fn set(world: &World, site: &str) -> String {
    world.path("apis/apps/v1", "statefulsets", &format!("prod-{site}"))
}

#[tokio::test(start_paused = true)]
async fn an_empty_site_would_get_everything_and_a_plan_writes_nothing() {
    let world = World::new();
    let plans = planned(&world).await;
    assert!(verdicts(&plans[0]).iter().all(|verdict| matches!(verdict, Verdict::Create { .. })));
    assert!(world.servers.iter().all(|server| server.real_writes().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn what_was_applied_is_unchanged_and_is_not_written_again() {
    let (world, stores) = settled().await;
    for plan in planned(&world).await {
        let looked = plan.looked.unwrap();
        assert!(looked.objects.iter().all(|plan| plan.verdict == Verdict::Unchanged), "{:#?}", looked.objects);
        assert_eq!(looked.orphans, []);
    }
    let (sites, _) = applied(&world, &stores, Options::default()).await;
    assert!(sites.iter().all(|site| site.ended == Ended::Done && site.written.is_empty()));
    assert!(world.servers.iter().all(|server| server.real_writes().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_site_with_another_uid_is_not_written_to_and_keeps_nobody_waiting() {
    let world = World::new();
    world.server("east").with(|state| {
        state.objects.get_mut("/api/v1/namespaces/kube-system").unwrap()["metadata"]["uid"] = json!("another");
    });
    let (sites, _) = applied(&world, &FakeStores::not_founded(), Options::default()).await;
    let Ended::Failed(failure @ Failure::WrongUid { .. }) = &sites[0].ended else { panic!("{:?}", sites[0]) };
    assert!(failure.to_string().contains("another") && failure.to_string().contains("nothing was written"));
    assert!(world.server("east").with(|state| state.writes.is_empty()), "not even tried");
    assert!(sites[1..].iter().all(|site| site.ended == Ended::Done));
    let plans = planned(&world).await;
    assert!(matches!(plans[0].looked, Err(Failure::WrongUid { .. })) && plans[1].looked.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_never_answers_costs_its_deadline_and_no_other_site() {
    for mood in [Mood::Hangs, Mood::Gone] {
        let world = World::new();
        world.server("east").set_mood(mood);
        let began = tokio::time::Instant::now();
        let plans = planned(&world).await;
        assert!(began.elapsed() <= world.limits.site, "{:?}", began.elapsed());
        let failure = plans[0].looked.as_ref().unwrap_err();
        assert!(failure.is_blind(), "{failure}");
        assert!(plans[1].looked.is_ok() && plans[2].looked.is_ok());
        let (sites, _) = applied(&world, &FakeStores::not_founded(), Options::default()).await;
        assert!(matches!(&sites[0].ended, Ended::Failed(failure) if failure.is_blind()), "{:?}", sites[0]);
        assert!(sites[1..].iter().all(|site| site.ended == Ended::Done), "{}", report::applied_text(&sites));
        let seen = status::status(&world.fleet, &world.reaches, &world.limits).await;
        assert!(seen[0].seen.is_err() && seen[1].seen.as_ref().unwrap().pods.len() == 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_site_without_a_context_keeps_no_other_from_being_applied() {
    let mut world = World::new();
    world.lose_link("north", Failure::NoContext("x".into()));
    let (sites, _) = applied(&world, &FakeStores::not_founded(), Options::default()).await;
    assert_eq!(sites[2].ended, Ended::Failed(Failure::NoContext("x".into())));
    assert!(sites[..2].iter().all(|site| site.ended == Ended::Done));
}

#[tokio::test(start_paused = true)]
async fn a_field_of_somebody_else_is_told_and_stays_until_it_is_taken_over() {
    let (world, stores) = settled().await;
    let path = set(&world, "east");
    world.server("east").with(|state| {
        state.objects.get_mut(&path).unwrap()["spec"]["minReadySeconds"] = json!(1);
        state.owned.insert(path.clone(), (".spec.minReadySeconds".into(), "kubectl-edit".into()));
    });
    let plans = planned(&world).await;
    let text = report::plan_text(&plans, false);
    assert!(text.contains("conflict: StatefulSet prod-east") && text.contains("kubectl-edit"), "{text}");
    assert!(text.contains(".spec.minReadySeconds: 1 -> 30"), "{text}");
    let (sites, _) = applied(&world, &stores, Options::default()).await;
    let Ended::Refused(refused) = &sites[0].ended else { panic!("{:?}", sites[0]) };
    assert_eq!(refused.len(), 1);
    assert!(world.server("east").real_writes().is_empty());
    let (sites, _) = applied(&world, &stores, Options { takes_over: true, ..Options::default() }).await;
    assert_eq!(sites[0].ended, Ended::Done);
    assert_eq!(world.server("east").object(&path).unwrap()["spec"]["minReadySeconds"], 30);
}

#[tokio::test(start_paused = true)]
async fn what_is_rendered_no_more_is_told_and_never_deleted() {
    let (mut world, stores) = settled().await;
    world.fleet.sites.pop();
    world.servers.pop();
    world.reaches.pop();
    let plans = planned(&world).await;
    let orphans: Vec<_> = plans[0].looked.as_ref().unwrap().orphans.iter().map(ToString::to_string).collect();
    for gone in ["Service prod-north-0", "EndpointSlice prod-north-0-ipv4"] {
        assert!(orphans.iter().any(|orphan| orphan == gone), "{gone}: {orphans:?}");
    }
    let (sites, _) = applied(&world, &stores, Options::default()).await;
    assert_eq!(sites[0].ended, Ended::Done);
    let deletes =
        |server: &fake::Server| server.real_writes().into_iter().filter(|write| write.method == "DELETE").count();
    assert!(world.servers.iter().all(|server| deletes(server) == 0));
}

#[tokio::test(start_paused = true)]
async fn a_site_that_lost_everything_takes_nothing_from_the_others() {
    let (world, stores) = settled().await;
    let slices = |site: &str| {
        world.server(site).with(|state| {
            let all = state.objects.iter().filter(|(path, _)| path.contains("/endpointslices/"));
            all.map(|(path, slice)| (path.clone(), slice["endpoints"].clone())).collect::<Vec<_>>()
        })
    };
    let before = slices("east");
    assert_eq!(before.len(), 4);
    world.server("west").with(|state| state.objects.retain(|path, _| path.ends_with("kube-system")));
    sync::once(&world.fleet, &world.reaches, None).await;
    assert_eq!(slices("east"), before);
    world.server("west").set_mood(Mood::Gone);
    let synced = sync::once(&world.fleet, &world.reaches, None).await;
    assert!(synced[1].found.is_err() && synced[0].written == Ok(Vec::new()));
    applied(&world, &stores, Options { prunes: true, ..Options::default() }).await;
    assert_eq!(slices("east"), before);
}

#[tokio::test(start_paused = true)]
async fn fewer_stores_are_refused_while_those_that_would_go_hold_data() {
    let (mut world, stores) = settled().await;
    world.fleet.stores = 1.try_into().unwrap();
    let (sites, _) = applied(&world, &stores, Options::default()).await;
    let text = report::applied_text(&sites);
    assert!(text.contains("s2 (prod-east-1) holds 3 replicas: `holdfast drain s2` first"), "{text}");
    assert!(world.servers.iter().all(|server| server.real_writes().is_empty()));
    // Nobody to ask is no yes.
    *stores.0.lock().unwrap() = StoreView::Unknown("no answer".into());
    let (sites, _) = applied(&world, &stores, Options::default()).await;
    assert!(matches!(sites[0].ended, Ended::Kept(_)));
    let drained = FakeStores::well(&world.fleet, 0);
    let (sites, _) = applied(&world, &drained, Options::default()).await;
    assert!(sites.iter().all(|site| site.ended == Ended::Done), "{}", report::applied_text(&sites));
    let live = world.server("east").object(&set(&world, "east")).unwrap();
    assert_eq!(
        (&live["spec"]["replicas"], &live["metadata"]["annotations"]["holdfast.dev/drained-to"]),
        (&json!(1), &json!("1"))
    );
}

fn with_another_image(world: &mut World) {
    world.fleet.image = format!("registry.example/holdfast@sha256:{}", "1".repeat(64));
}

#[tokio::test(start_paused = true)]
async fn a_changed_template_replaces_pods_one_by_one_and_site_by_site() {
    let (mut world, stores) = settled().await;
    with_another_image(&mut world);
    let (sites, lines) = applied(&world, &stores, Options::default()).await;
    assert!(sites.iter().all(|site| site.ended == Ended::Done), "{}", report::applied_text(&sites));
    assert!(sites.iter().all(|site| site.replaced == [1, 0]));
    let replaced: Vec<_> = lines.iter().filter_map(|line| line.split_once("replacing ")).map(|(_, pod)| pod).collect();
    let wanted = ["prod-east-1", "prod-east-0", "prod-west-1", "prod-west-0", "prod-north-1", "prod-north-0"];
    assert_eq!(replaced, wanted);
    for site in ["east", "west", "north"] {
        let live = world.server(site).object(&set(&world, site)).unwrap();
        assert_eq!(live["spec"]["updateStrategy"]["rollingUpdate"]["partition"], 2, "at rest again");
        assert_eq!(live["status"]["currentRevision"], live["status"]["updateRevision"]);
    }
    // The others learned the new addresses on the way.
    let pod = world.server("east").object(&world.path("api/v1", "pods", "prod-east-0")).unwrap();
    let slice = world.path("apis/discovery.k8s.io/v1", "endpointslices", "prod-east-0-ipv4");
    assert_eq!(world.server("north").object(&slice).unwrap()["endpoints"][0]["addresses"][0], pod["status"]["podIP"]);
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_stays_shut_ends_the_apply_before_the_next_site() {
    let (mut world, stores) = settled().await;
    with_another_image(&mut world);
    let trouble = Trouble { pod: None, what: "3 ranges are led by no store".into() };
    if let StoreView::Known(view) = &mut *stores.0.lock().unwrap() {
        view.troubles.push(trouble);
    }
    let (sites, lines) = applied(&world, &stores, Options::default()).await;
    assert_eq!(sites[0].ended, Ended::Shut(vec!["3 ranges are led by no store".into()]));
    assert!(sites[1..].iter().all(|site| site.ended == Ended::NotReached));
    assert!(sites.iter().all(|site| site.replaced.is_empty()), "no pod was touched");
    assert!(world.server("west").real_writes().is_empty());
    assert!(lines.iter().any(|line| line == "east: waiting: 3 ranges are led by no store"), "{lines:?}");
    let plans = planned(&world).await;
    let text = report::plan_text(&plans, false);
    assert!(text.contains("  rollout: not begun: none of 2 pods has the newest template; `holdfast fleet apply` begins with prod-east-1\n"), "{text}");
    assert!(
        text.contains("between sites: ") && text.contains("east not on all pods, west, north not at all"),
        "{text}"
    );
    assert_eq!(report::plan_json(&plans)["between"]["left"], json!(["west", "north"]));
    // Well again, the next apply goes on with it.
    let (sites, _) = applied(&world, &FakeStores::well(&world.fleet, 3), Options::default()).await;
    assert!(sites.iter().all(|site| site.ended == Ended::Done && site.replaced == [1, 0]));
    assert!(planned(&world).await.iter().all(|plan| plan.looked.as_ref().unwrap().is_as_wanted()));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_was_broken_off_keeps_its_partition() {
    let (mut world, stores) = settled().await;
    with_another_image(&mut world);
    *stores.0.lock().unwrap() = StoreView::NotFounded;
    applied(&world, &stores, Options { only: Some("east".into()), ..Options::default() }).await;
    // As if it had ended after the first pod.
    let path = set(&world, "east");
    world.server("east").with(|state| {
        let live = state.objects.get_mut(&path).unwrap();
        live["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(1);
        live["status"]["currentRevision"] = json!("old");
        let pod = state.objects.get_mut("/api/v1/namespaces/holdfast/pods/prod-east-0").unwrap();
        pod["metadata"]["labels"]["controller-revision-hash"] = json!("old");
        state.writes.clear();
    });
    let plans = planned(&world).await;
    let looked = plans[0].looked.as_ref().unwrap();
    assert!(
        looked.objects.iter().all(|plan| plan.verdict == Verdict::Unchanged),
        "an apply keeps the partition, and so does a plan"
    );
    assert!(!looked.is_as_wanted(), "there is something to go on with");
    let told = report::plan_json(&plans);
    let rollout = &told["sites"][0]["rollout"];
    assert_eq!((&rollout["state"], &rollout["left"]), (&json!("half-done"), &json!(["prod-east-0"])), "{rollout}");
    let stores = FakeStores::well(&world.fleet, 3);
    let (sites, _) = applied(&world, &stores, Options { only: Some("east".into()), ..Options::default() }).await;
    assert_eq!((&sites[0].ended, sites[0].replaced.as_slice()), (&Ended::Done, &[0][..]));
    assert_eq!(sites[0].written, [], "it was not reset first");
}

#[tokio::test(start_paused = true)]
async fn old_configurations_of_the_site_go_when_that_is_asked_for_and_nothing_else_does() {
    let (mut world, stores) = settled().await;
    let configs = |world: &World, site: &str| {
        let path = world.path("api/v1", "configmaps", &format!("prod-{site}-config-"));
        world.server(site).with(|state| state.objects.keys().filter(|key| key.starts_with(&path)).count())
    };
    world.fleet.ports.http = 7501;
    let (sites, _) = applied(&world, &stores, Options::default()).await;
    assert!(sites.iter().all(|site| site.ended == Ended::Done && site.pruned.is_empty()));
    assert_eq!((configs(&world, "east"), configs(&world, "west")), (2, 2));
    let options = Options { only: Some("east".into()), prunes: true, ..Options::default() };
    let (sites, _) = applied(&world, &stores, options).await;
    assert_eq!(sites[0].pruned.len(), 1);
    assert_eq!((configs(&world, "east"), configs(&world, "west")), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn what_lies_outside_of_the_namespace_may_be_looked_at_only() {
    let (mut world, stores) = settled().await;
    for server in &world.servers {
        server.with(|state| state.read_only = [PRIORITY, NAMESPACE].map(ToOwned::to_owned).into());
    }
    assert!(
        planned(&world).await.iter().all(|plan| verdicts(plan).iter().all(|verdict| **verdict == Verdict::Unchanged))
    );
    world.fleet.priority = 5;
    let plans = planned(&world).await;
    assert!(
        report::plan_text(&plans, false).contains("not allowed: PriorityClass prod-store\n    .value: 900000000 -> 5")
    );
    let (sites, _) = applied(&world, &stores, Options::default()).await;
    assert!(sites.iter().all(|site| matches!(site.ended, Ended::Refused(_))));
}

#[tokio::test(start_paused = true)]
async fn an_audit_names_drift_its_writer_and_what_it_could_not_see() {
    let (world, _) = settled().await;
    let audited = audit::audit(&world.fleet, &world.reaches, &world.limits).await;
    assert!(audited.has_seen_all() && audited.is_clean(), "{audited}");
    let path = set(&world, "east");
    world.server("east").with(|state| {
        let live = state.objects.get_mut(&path).unwrap();
        live["spec"]["minReadySeconds"] = json!(1);
        let entry = json!({"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T03:04:05Z", "fieldsV1": {"f:spec": {"f:minReadySeconds": {}}}});
        live["metadata"]["managedFields"].as_array_mut().unwrap().push(entry);
        let extra = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "open", "namespace": "holdfast"}, "spec": {}});
        state.objects.insert("/apis/networking.k8s.io/v1/namespaces/holdfast/networkpolicies/open".into(), extra);
        state.stores_may_all = true;
    });
    world.server("north").set_mood(Mood::Hangs);
    let audited = audit::audit(&world.fleet, &world.reaches, &world.limits).await;
    assert!(!audited.has_seen_all() && !audited.is_clean());
    let east = &audited.sites[0].findings;
    let drift = east.iter().find(|finding| matches!(finding, Finding::Drift(..))).unwrap().to_string();
    assert!(
        drift.contains(".spec.minReadySeconds: 1 -> 30: written by ")
            && drift.contains("kubectl-edit at 2026-01-02T03:04:05Z"),
        "{drift}"
    );
    assert!(east.iter().any(|finding| matches!(finding, Finding::Foreign(..))));
    assert!(east.iter().any(|finding| matches!(finding, Finding::TooMuch(_))));
    assert_eq!(audited.sites[1].findings, []);
    assert!(matches!(audited.sites[2].unseen.as_slice(), [Failure::TimedOut { .. }]), "{:?}", audited.sites[2]);
    assert!(audited.between.iter().any(|finding| finding.to_string().contains("NetworkPolicy open")), "{audited}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_carries_new_addresses_on_while_a_site_is_away() {
    let (world, _) = settled().await;
    world.server("north").set_mood(Mood::Hangs);
    let slice = world.path("apis/discovery.k8s.io/v1", "endpointslices", "prod-east-0-ipv4");
    let address = |site: &str| world.server(site).object(&slice).unwrap()["endpoints"][0]["addresses"][0].clone();
    let before = address("north");
    let said = Mutex::new(Vec::new());
    let say = |site: &str, line: &str| said.lock().unwrap().push(format!("{site}: {line}"));
    let script = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.server("east").with(|state| {
            state.objects.get_mut("/api/v1/namespaces/holdfast/pods/prod-east-0").unwrap()["status"]["podIP"] =
                json!("10.9.9.9");
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!((address("west"), address("north")), (json!("10.9.9.9"), before));
        world.server("north").set_mood(Mood::Well);
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(address("north"), json!("10.9.9.9"));
    };
    tokio::select! {
        () = sync::watch(&world.fleet, &world.reaches, None, &say) => panic!("it ends when it is told to"),
        () = script => {}
    }
    let said = said.into_inner().unwrap();
    assert!(said.iter().any(|line| line == "west: wrote prod-east-0-ipv4"), "{said:?}");
    let told = said.iter().filter(|line| line.starts_with("north: it is not written to")).count();
    assert_eq!(told, 1, "a failure that lasts is told once: {said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_when_it_was_asked_to() {
    let (world, _) = settled().await;
    let link = world.reaches[0].link.as_ref().unwrap();
    let account = access::account(&world.fleet.name);
    let token = access::token(link, "holdfast", &account, 8 * 3600).await.unwrap();
    assert_eq!(token.expires, "2030-01-01T00:00:00Z");
    world.server("east").set_mood(Mood::Hangs);
    assert!(matches!(access::token(link, "holdfast", &account, 60).await, Err(Failure::TimedOut { .. })));
}

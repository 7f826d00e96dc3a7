//! The admin API: any store answers for the fleet, whoever else is dead.

use bytes::Bytes;
use holdfast_client::admin::{
    Admin, AdminError, EventKind, LeaderGoesTo, RangeStatus, Ranges, ReplicaChange, SettingSource, StoreId,
};
use holdfast_client::{ClientError, KeyspaceId};
use holdfast_proto::v1;
use holdfast_tests::raw::{self, raw_key, refusal};
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use holdfast_types::{Key, Rejected, Timestamp};
use rustix::process::Signal;
use tonic::Code;

async fn admin_of(scene: &Scene, store: usize) -> Admin {
    Admin::connect([scene.fleet.stores()[store].client.to_string()]).await.expect("the store listens")
}

async fn range_of(admin: &Admin, key: &str) -> RangeStatus {
    let start = Key::bound(KeyspaceId::DEFAULT, key.as_bytes());
    let bounds = holdfast_types::KeyRange { end: Some(start.next()), start };
    admin.ranges(Ranges::Within(bounds), None, 1).await.unwrap().ranges.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_store_lists_sites_stores_ranges_events_and_settings_of_the_whole_fleet() {
    let Some(mut scene) = Scene::start(1).await else { return };
    scene.split_at(&["b", "d"]).await;
    for store in 0..3 {
        let admin = admin_of(&scene, store).await;
        let stores = admin.stores().await.unwrap();
        assert!(stores.silent.is_empty(), "{stores:?}");
        assert_eq!(stores.stores.iter().map(|store| store.store.0).collect::<Vec<_>>(), [1, 2, 3]);
        for status in &stores.stores {
            assert!(status.alive && !status.draining && status.quarantined.is_empty(), "{status:?}");
            assert_eq!((status.version.is_empty(), status.replicas), (false, 4), "{status:?}");
            assert!(!status.client_address.is_empty() && !status.store_address.is_empty(), "{status:?}");
        }
        assert_eq!(stores.stores.iter().map(|store| store.leaders).sum::<u64>(), 4, "{stores:?}");
        let sites = admin.sites().await.unwrap();
        let names: Vec<_> = sites.sites.iter().map(|site| (site.name.as_str(), site.alive, site.replicas)).collect();
        assert_eq!(names, [("site-a", 1, 4), ("site-b", 1, 4), ("site-c", 1, 4)]);
        let ranges = admin.all_ranges(Ranges::All).await.unwrap().ranges;
        assert_eq!(ranges.len(), 4);
        for range in &ranges {
            assert!(range.confirmed && range.leader_site.is_some(), "{range:?}");
            assert_eq!(range.descriptor.replicas.len(), 3);
        }
        assert_eq!(ranges[0].keyspace.as_deref(), Some("system"));
        // Page by page it is the same.
        let (mut paged, mut resume) = (Vec::new(), None);
        loop {
            let page = admin.ranges(Ranges::All, resume, 1).await.unwrap();
            assert_eq!(page.ranges.len(), 1);
            paged.extend(page.ranges);
            resume = page.resume;
            if resume.is_none() {
                break;
            }
        }
        let ids = |ranges: &[RangeStatus]| ranges.iter().map(|range| range.descriptor.range).collect::<Vec<_>>();
        assert_eq!(ids(&paged), ids(&ranges));
        let of_default = admin.all_ranges(Ranges::Keyspace("default".into())).await.unwrap().ranges;
        assert_eq!(of_default.len(), 3, "the system range is another keyspace's");
        assert_eq!(admin.range(ranges[1].descriptor.range).await.unwrap().unwrap().descriptor.range, ids(&ranges)[1]);
        let events = admin.events(1_000, None).await.unwrap();
        assert!(events.events.is_sorted_by(|newer, older| newer.at >= older.at));
        for kind in
            [EventKind::StoreStarted, EventKind::LeaderElected, EventKind::RangeSplit, EventKind::ReplicasChanged]
        {
            assert!(events.events.iter().any(|event| event.kind == kind), "{kind:?} is not among {events:#?}");
        }
        let newest = admin.events(2, None).await.unwrap();
        assert!(newest.more && newest.events.len() == 2);
        for other in 1..=3 {
            let settings = admin.settings(Some(StoreId(other))).await.unwrap();
            assert_eq!(settings.store, StoreId(other));
            let site = settings.settings.iter().find(|setting| setting.name == "site").unwrap();
            assert_eq!((site.value.as_str(), site.source), (settings.site.as_str(), SettingSource::Flag));
        }
        assert!(matches!(admin.settings(Some(StoreId(99))).await, Err(AdminError::NotFound(_))));
        let unknown = admin.all_ranges(Ranges::Keyspace("nowhere".into())).await;
        assert!(matches!(unknown, Err(AdminError::NotFound(_))), "{unknown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_split_by_key_and_its_leader_goes_to_the_site_that_is_named() {
    let Some(scene) = Scene::start(1).await else { return };
    let admin = admin_of(&scene, 1).await;
    let split = admin.split(KeyspaceId::DEFAULT, "m").await.unwrap();
    let (left, right) = (split.left.unwrap(), split.right.unwrap());
    assert!(split.changed && left.bounds.end.as_ref() == Some(&right.bounds.start));
    let again = admin.split(KeyspaceId::DEFAULT, "m").await.unwrap();
    assert!(!again.changed && again.right.unwrap().range == right.range);
    let stale = admin.split_at(Key::bound(KeyspaceId::DEFAULT, b"x"), Some(left.epoch)).await;
    assert_eq!(stale.is_ok(), left.epoch == right.epoch, "{stale:?}");
    for site in ["site-a", "site-b", "site-c", "site-a"] {
        // Whichever store is asked.
        for store in [0, 2] {
            let admin = admin_of(&scene, store).await;
            let moved = admin.transfer_leader(right.range, None, LeaderGoesTo::site(site).unwrap()).await.unwrap();
            assert_eq!(moved.range.leader_site.as_ref().map(|site| site.as_str()), Some(site));
        }
    }
    let held = admin.range(right.range).await.unwrap().unwrap();
    let voter = held.descriptor.replicas.iter().find(|replica| replica.site.as_str() == "site-b").unwrap().store;
    let moved = admin.transfer_leader(right.range, Some(held.descriptor.epoch), LeaderGoesTo::Store(voter)).await;
    assert_eq!(moved.unwrap().range.leader, Some(voter));
    let nowhere = admin.transfer_leader(right.range, None, LeaderGoesTo::site("site-z").unwrap()).await;
    assert!(matches!(nowhere, Err(AdminError::FailedPrecondition(_))), "{nowhere:?}");
    // A second voter in a site is refused, and the range stays as it is.
    let removed = admin.change_replicas(right.range, None, ReplicaChange::RemoveLearner(voter_id(&held))).await;
    assert!(matches!(removed, Err(AdminError::Rejected(Rejected::Invalid(_)))), "{removed:?}");
    let unchanged = admin.range(right.range).await.unwrap().unwrap();
    assert_eq!(unchanged.descriptor, held.descriptor);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thin_client_hears_nothing_of_splits_and_moved_leaders() {
    const KEYS: [&str; 4] = ["b", "d", "f", "h"];
    let Some(scene) = Scene::start(1).await else { return };
    let (over, is_over) = tokio::sync::watch::channel(false);
    let mut clients = tokio::task::JoinSet::new();
    for store in 0..3 {
        // It asks one store, and makes each call once.
        let mut kv = raw::kv(scene.fleet.stores()[store].client).await;
        let is_over = is_over.clone();
        clients.spawn(async move {
            let mut rounds = 0;
            while !*is_over.borrow() {
                rounds += 1;
                for key in KEYS {
                    let (key, value) = (format!("{key}{store}"), format!("{rounds}"));
                    let version = raw::written(kv.put(raw::put(&key, &value, None)).await.unwrap().into_inner());
                    let found = kv.get(raw::get(&key)).await.unwrap().into_inner().value.unwrap();
                    assert_eq!((Timestamp(found.timestamp), &found.value[..]), (version, value.as_bytes()));
                }
            }
            rounds
        });
    }
    let admin = admin_of(&scene, 0).await;
    for key in KEYS {
        let split = admin.split(KeyspaceId::DEFAULT, key).await.unwrap();
        for site in ["site-a", "site-b", "site-c"] {
            let to = LeaderGoesTo::site(site).unwrap();
            admin.transfer_leader(split.right.as_ref().unwrap().range, None, to).await.unwrap();
        }
    }
    over.send_replace(true);
    let rounds = clients.join_all().await;
    assert!(rounds.iter().all(|rounds| *rounds > 0), "{rounds:?}");
}

fn voter_id(range: &RangeStatus) -> holdfast_client::admin::ReplicaId {
    range.descriptor.replicas[0].replica
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyspace_gets_an_id_once_and_holds_rows_of_its_own() {
    let Some(scene) = Scene::start(1).await else { return };
    let admin = admin_of(&scene, 0).await;
    let names = async |admin: &Admin| {
        let known = admin.keyspaces().await.unwrap();
        known.into_iter().map(|keyspace| (keyspace.name, keyspace.id.0)).collect::<Vec<_>>()
    };
    assert_eq!(names(&admin).await, [("default".into(), 1), ("system".into(), 0)]);
    let orders = admin.create_keyspace("orders").await.unwrap();
    assert!(orders.writable && orders.id == KeyspaceId::FIRST_NAMED && orders.created_at.is_some());
    let other = admin_of(&scene, 2).await;
    let again = other.create_keyspace("orders").await;
    assert!(matches!(&again, Err(AdminError::AlreadyExists(said)) if said.contains("256")), "{again:?}");
    let (left, right) = tokio::join!(admin.create_keyspace("left"), other.create_keyspace("right"));
    assert_ne!(left.unwrap().id, right.unwrap().id);
    let known = names(&other).await;
    assert_eq!(
        known.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["default", "left", "orders", "right", "system"]
    );
    for taken in ["default", "system"] {
        assert!(matches!(admin.create_keyspace(taken).await, Err(AdminError::AlreadyExists(_))));
    }
    for bad in ["", "Orders", "1st", "a-b", "ö", &"x".repeat(64)] {
        let refused = admin.create_keyspace(bad).await;
        assert!(matches!(refused, Err(AdminError::Rejected(Rejected::Invalid(_)))), "{bad}: {refused:?}");
    }
    let client = scene.client().await.with_keyspace(orders.id);
    client.put("one", "1").await.unwrap();
    assert!(scene.client().await.get("one").await.unwrap().is_none(), "the default keyspace is another");
    admin.split(orders.id, "k").await.unwrap();
    let ranges = other.all_ranges(Ranges::Keyspace("orders".into())).await.unwrap().ranges;
    assert_eq!(ranges.len(), 2);
    let named = wait::until("the range has its keyspace's name", async || {
        let ranges = other.all_ranges(Ranges::Keyspace("orders".into())).await.ok()?.ranges;
        ranges.into_iter().find_map(|range| range.keyspace.filter(|name| name == "orders"))
    });
    named.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_read_the_system_keyspace_and_never_write_it() {
    let Some(scene) = Scene::start(1).await else { return };
    let system = scene.client().await.with_keyspace(KeyspaceId::SYSTEM);
    assert!(!system.scan("store/".."store0").collect().await.unwrap().is_empty());
    let forbidden = |error: ClientError| matches!(error, ClientError::Rejected(Rejected::Forbidden(_)));
    assert!(forbidden(system.put("store/0000000000000001", "mine").await.unwrap_err()));
    assert!(forbidden(system.delete("id/next-store").await.unwrap_err()));
    assert!(forbidden(system.delete_range(..).await.unwrap_err()));
    // As raw keys on a stream, with the end of the bounds elsewhere.
    let raw = holdfast_types::Request::DeleteRange { bounds: holdfast_types::KeyRange::all(), max_keys: 1 };
    assert!(forbidden(system.call(raw).await.unwrap_err()));
    assert_eq!(admin_of(&scene, 1).await.stores().await.unwrap().stores.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_are_dead_or_paused_are_named_and_break_no_list() {
    let Some(mut scene) = Scene::start(1).await else { return };
    scene.split_at(&["b", "d"]).await;
    // Ids are given in the order in which stores join.
    let third = scene.describe(2).await.store_id;
    // Paused, it takes connections and says nothing.
    scene.fleet.signal(2, Signal::STOP).unwrap();
    let admin =
        Admin::connect([1, 2].map(|store: usize| scene.fleet.stores()[store].client.to_string())).await.unwrap();
    check_without(&admin, third).await;
    scene.fleet.signal(2, Signal::CONT).unwrap();
    wait::until("the store answers again", async || {
        admin.stores().await.ok().filter(|stores| stores.silent.is_empty())
    })
    .await;
    scene.fleet.kill(2).unwrap();
    check_without(&admin, third).await;
    let lost = wait::until("its loss is an event", async || {
        let events = admin.events(1_000, None).await.ok()?.events;
        events.into_iter().find(|event| event.kind == EventKind::StoreLost && event.other_store == Some(StoreId(third)))
    })
    .await;
    assert!(lost.store != StoreId(third) && lost.at > Timestamp::ZERO, "{lost:?}");
    let range = range_of(&admin, "c").await;
    let to_the_dead = admin.transfer_leader(range.descriptor.range, None, LeaderGoesTo::site("site-c").unwrap()).await;
    assert!(matches!(to_the_dead, Err(AdminError::FailedPrecondition(_))), "{to_the_dead:?}");
    // The first address is dead: the next one is asked.
    let addresses = [2, 0].map(|store: usize| scene.fleet.stores()[store].client.to_string());
    assert_eq!(Admin::connect(addresses).await.unwrap().stores().await.unwrap().stores.len(), 3);
    // Without a quorum the system range is silent, and what stores know by themselves is still told.
    scene.fleet.kill(1).unwrap();
    let alone = admin_of(&scene, 0).await;
    assert_eq!(alone.stores().await.unwrap().silent.len(), 2);
    assert_eq!(alone.sites().await.unwrap().sites.len(), 3);
    assert_eq!(alone.all_ranges(Ranges::All).await.unwrap().ranges.len(), 4);
    assert!(!alone.events(10, None).await.unwrap().events.is_empty());
}

async fn check_without(admin: &Admin, silent: u64) {
    let stores = admin.stores().await.unwrap();
    assert_eq!(stores.silent.iter().map(|store| store.store.0).collect::<Vec<_>>(), [silent], "{stores:?}");
    let dead = stores.stores.iter().find(|store| store.store.0 == silent).unwrap();
    assert!(!dead.alive && !dead.client_address.is_empty(), "{dead:?}");
    let sites = admin.sites().await.unwrap();
    assert!(sites.warnings.iter().any(|warning| warning.contains(&format!("s{silent}"))), "{sites:?}");
    assert_eq!(admin.events(10, None).await.unwrap().silent.len(), 1);
    assert_eq!(admin.keyspaces().await.unwrap().len(), 2);
    wait::until("the others lead all ranges", async || {
        let page = admin.all_ranges(Ranges::All).await.ok()?;
        assert_eq!((page.ranges.len(), page.silent.len()), (4, 1), "{page:?}");
        page.ranges.iter().all(|range| range.confirmed && range.leader != Some(StoreId(silent))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_questions_get_refusals() {
    let Some(scene) = Scene::start(1).await else { return };
    let mut admin = scene.fleet.admin_client(1).await.unwrap();
    let which = |which| v1::ListRangesRequest { which: Some(which), ..v1::ListRangesRequest::default() };
    let bounds = |start: Bytes, end: Option<Bytes>| v1::list_ranges_request::Which::Bounds(v1::KeyRange { start, end });
    for (place, question) in [
        which(bounds(raw_key("b"), Some(raw_key("a")))),
        which(bounds(Bytes::from_static(b"\x01"), None)),
        which(bounds(raw_key("a"), Some(Bytes::from_static(b"\0\0")))),
        v1::ListRangesRequest { resume: Some(Bytes::from_static(b"\0")), ..v1::ListRangesRequest::default() },
    ]
    .into_iter()
    .enumerate()
    {
        let refused = refusal(admin.list_ranges(question).await);
        assert!(matches!(refused, Rejected::Invalid(_)), "{place}: {refused:?}");
    }
    let nobody = admin.list_ranges(which(v1::list_ranges_request::Which::Keyspace("'; DROP".into()))).await;
    assert_eq!(nobody.unwrap_err().code(), Code::NotFound);
    let none = admin.list_ranges(which(v1::list_ranges_request::Which::RangeId(1 << 40))).await.unwrap();
    assert!(none.into_inner().ranges.is_empty());
    let impossible = admin.list_ranges(which(v1::list_ranges_request::Which::RangeId(u64::MAX)));
    assert!(matches!(refusal(impossible.await), Rejected::Invalid(_)));
    let all = v1::ListRangesRequest { limit: u32::MAX, ..v1::ListRangesRequest::default() };
    assert_eq!(admin.list_ranges(all).await.unwrap().into_inner().ranges.len(), 2);
    let beyond =
        v1::ListRangesRequest { resume: Some(Bytes::from_static(&[0xff; 64])), ..v1::ListRangesRequest::default() };
    assert!(admin.list_ranges(beyond).await.unwrap().into_inner().ranges.len() <= 1);
    let future = v1::ListEventsRequest { limit: u32::MAX, since: u64::MAX, only_this_store: false };
    assert!(admin.list_events(future).await.unwrap().into_inner().events.is_empty());
    let store = v1::ListSettingsRequest { store_id: 1 << 20 };
    assert_eq!(admin.list_settings(store).await.unwrap_err().code(), Code::NotFound);
    // A store that is no member says so.
    let mut lonely = scene.another(1);
    lonely.fleet.start_store(0).unwrap();
    lonely.fleet.wait_listening(0).await.unwrap();
    let mut alone = lonely.fleet.admin_client(0).await.unwrap();
    let refused = alone.list_stores(v1::ListStoresRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("holdfast init"), "{refused:?}");
    let lonely = lonely.fleet.stores()[0].client.to_string();
    let Err(AdminError::Rejected(Rejected::Unavailable(why))) = Admin::connect([lonely.clone()]).await else {
        panic!()
    };
    assert!(why.contains("holdfast init"), "{why}");
    // Named beside a member it is passed over, for looks and for changes.
    let both = Admin::connect([lonely, scene.fleet.stores()[1].client.to_string()]).await.unwrap();
    assert_eq!(both.stores().await.unwrap().stores.len(), 3);
    // The connection is still good.
    assert!(admin.list_stores(v1::ListStoresRequest::default()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_expiry_are_told_as_they_were_written() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let mut kv = raw::kv(scene.fleet.stores()[0].client).await;
    let now = Timestamp(scene.describe(0).await.now);
    let expires_at_ms = now.ms() + 3_600_000;
    kv.put(v1::PutRequest { expires_at_ms, ..raw::put("short", "lived", None) }).await.unwrap();
    kv.put(raw::put("for", "ever", None)).await.unwrap();
    let client = scene.client().await;
    assert_eq!(client.get("short").await.unwrap().unwrap().expires_at.map(Timestamp::ms), Some(expires_at_ms));
    assert_eq!(client.get("for").await.unwrap().unwrap().expires_at, None);
    let rows = client.scan(..).collect().await.unwrap();
    assert_eq!(
        rows.iter().map(|row| row.expires_at.map(Timestamp::ms)).collect::<Vec<_>>(),
        [None, Some(expires_at_ms)]
    );
    let got = kv.get(raw::get("short")).await.unwrap().into_inner().value.unwrap();
    assert_eq!(Timestamp(got.expires_at).ms(), expires_at_ms);
    // A store that stopped in order still shows it after its next start.
    let third = scene.describe(2).await.store_id;
    scene.fleet.stop(2, wait::PATIENCE).await.unwrap();
    scene.fleet.start_store(2).unwrap();
    scene.fleet.wait_listening(2).await.unwrap();
    let admin = admin_of(&scene, 0).await;
    let stopped = wait::until("its own last word is told", async || {
        let events = admin.events(1_000, None).await.ok()?.events;
        events.into_iter().find(|event| event.kind == EventKind::StoreStopped)
    })
    .await;
    assert_eq!((stopped.store, stopped.incarnation.0), (StoreId(third), 1));
}

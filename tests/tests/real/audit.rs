//! The audit: on record by the fleet, whoever asked whichever store, and whatever becomes of stores.

use std::time::Duration;

use holdfast_client::admin::{
    Admin, AdminError, AuditCondition, AuditEntry, AuditField, AuditKind, AuditQuery, AuditResult, StoreId,
};
use holdfast_client::{ClientError, KeyspaceId};
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use holdfast_types::Rejected;

fn admin_of(scene: &Scene, store: usize) -> Admin {
    Admin::new([scene.fleet.stores()[store].client.to_string()])
}

/// What is on record of one kind of act, the newest first.
async fn entries_of(admin: &Admin, what: &str) -> Option<Vec<AuditEntry>> {
    let asked = AuditCondition { field: AuditField::What, value: what.into(), prefix: false, negated: false };
    let page = admin.audit(AuditQuery { conditions: vec![asked], ..AuditQuery::default() }).await.ok()?;
    Some(page.entries)
}

/// Waits until so many are.
async fn until_on_record(admin: &Admin, what: &str, count: usize) -> Vec<AuditEntry> {
    wait::until(&format!("{what} is on record"), async || {
        entries_of(admin, what).await.filter(|entries| entries.len() >= count)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_by_hand_is_on_record_with_its_origin_and_its_result_and_every_store_tells_of_it() {
    let Some(scene) = Scene::start(1).await else { return };
    let (asked, other) = (admin_of(&scene, 0), admin_of(&scene, 2));
    asked.create_keyspace("orders").await.unwrap();
    let again = asked.create_keyspace("orders").await;
    assert!(matches!(again, Err(AdminError::AlreadyExists(_))), "{again:?}");
    let entries = until_on_record(&other, "create-keyspace", 2).await;
    let results: Vec<_> = entries.iter().map(|entry| entry.result).collect();
    assert_eq!(results, [AuditResult::Refused, AuditResult::Done], "{entries:?}");
    for entry in &entries {
        assert_eq!((entry.kind, entry.store, entry.times), (AuditKind::Act, StoreId(1), 1), "{entry:?}");
        assert_eq!((entry.site.as_str(), &entry.who), ("site-a", &None), "nobody proves anything here");
        assert!(entry.origin.as_ref().is_some_and(|origin| origin.starts_with("127.0.0.1:")), "{entry:?}");
        assert_eq!(entry.arguments, [("name".to_owned(), "orders".to_owned())]);
    }
    assert!(entries[0].why.as_ref().is_some_and(|why| why.contains("already")), "{entries:?}");
    assert_eq!(until_on_record(&other, "init", 1).await[0].result, AuditResult::Done);
    until_on_record(&other, "join", 2).await;
    let shown = scene.run(&["sql", "-e", "SHOW AUDIT WHERE what = 'create-keyspace' AND result = 'done'"]).await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("name=orders") && shown.lines().count() == 2, "{shown}");
    let line = scene.fleet.log(0).lines().any(|line| line.contains(" audit: ") && line.contains("create-keyspace"));
    assert!(line, "{}", scene.fleet.log(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_into_the_audit_and_pages_of_it_go_on_where_they_ended() {
    let Some(scene) = Scene::start(1).await else { return };
    let admin = admin_of(&scene, 0);
    for number in 0..12 {
        admin.create_keyspace(&format!("k{number}")).await.unwrap();
    }
    let all = until_on_record(&admin, "create-keyspace", 12).await;
    let audit = scene.client().await.with_keyspace(KeyspaceId::AUDIT);
    let put = audit.put("x", "forged").await;
    assert!(matches!(put, Err(ClientError::Rejected(Rejected::Forbidden(_)))), "{put:?}");
    let (mut paged, mut resume) = (Vec::new(), None);
    loop {
        let asked = AuditCondition { field: AuditField::What, value: "create-".into(), prefix: true, negated: false };
        let page = admin.audit(AuditQuery { limit: 5, conditions: vec![asked], resume, ..AuditQuery::default() });
        let page = page.await.unwrap();
        assert!(page.entries.len() <= 5);
        paged.extend(page.entries);
        resume = page.resume;
        if resume.is_none() {
            break;
        }
    }
    assert_eq!(paged, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_without_a_quorum_is_on_record_once_there_is_one_though_the_store_was_killed_meanwhile() {
    let Some(mut scene) = Scene::start(1).await else { return };
    until_on_record(&admin_of(&scene, 0), "join", 2).await;
    scene.fleet.kill_all(&[1, 2]).unwrap();
    let alone = admin_of(&scene, 0);
    alone.prepare_to_stop(Duration::ZERO).await.unwrap();
    alone.cancel_stop().await.unwrap();
    let waiting = scene.fleet.stores()[0].data_dir.join("audit.bin");
    wait::until_true("what waits is kept on disk", || waiting.exists()).await;
    scene.fleet.kill(0).unwrap();
    for store in 0..3 {
        scene.fleet.start_store(store).unwrap();
    }
    for store in 0..3 {
        scene.fleet.wait_listening(store).await.unwrap();
    }
    let entries = until_on_record(&admin_of(&scene, 1), "prepare-to-stop", 1).await;
    assert_eq!((entries[0].store, entries[0].result), (StoreId(1), AuditResult::Done), "{entries:?}");
    wait::until_true("nothing waits any more", || !waiting.exists()).await;
}

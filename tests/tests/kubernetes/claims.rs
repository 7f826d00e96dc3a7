//! Volumes that are lost.

use holdfast_stage::Stage;

/// A store with an empty volume is another store: it joins as such, gets the replicas, and the old one is forgotten.
pub fn lost(stage: &mut Stage) {
    let pod = stage.pod("north", 0);
    let before = stage.settled("east", 3).unwrap();
    let old = before.stores_of("north").next().unwrap().store;
    // The claim goes once nobody uses it.
    stage.kubectl("north", &["delete", "pvc", &pod.claim(), "--wait=false"]).unwrap();
    stage.kubectl("north", &["delete", "pod", &pod.name]).unwrap();
    let asked = stage.pod("east", 0);
    let new = stage
        .until("another store joins", || {
            let status = stage.status(&asked).ok()?;
            status.stores_of("north").map(|store| store.store).find(|store| *store != old)
        })
        .unwrap();
    stage.settled("east", 3).unwrap();
    assert_ne!(new, old);
    let forgotten = stage
        .until("the old store may be forgotten", || stage.in_pod(&asked, &["forget", &format!("s{old}")]).ok())
        .unwrap();
    assert!(!forgotten.is_empty());
    let after = stage.settled("east", 3).unwrap();
    assert!(after.stores.iter().all(|store| store.store != old), "{after:?}");
    stage.ready(&pod).unwrap();
}

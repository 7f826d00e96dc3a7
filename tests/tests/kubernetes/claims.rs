//! Volumes that are lost.

use holdfast_stage::Stage;

/// A store with an empty volume is another store: it joins as such, the fleet serves on, and the old one is not forgotten while ranges count on it.
pub fn lost(stage: &mut Stage) {
    let pod = stage.pod("north", 0);
    let before = stage.settled("east", 3).unwrap();
    let old = before.stores_of("north").next().unwrap().store;
    // The claim goes once nobody uses it.
    stage.kubectl("north", &["delete", "pvc", &pod.claim(), "--wait=false"]).unwrap();
    stage.kubectl("north", &["delete", "pod", &pod.name]).unwrap();
    let asked = stage.pod("east", 0);
    let joined = || {
        let status = stage.status(&asked).ok()?;
        status.stores_of("north").map(|store| store.store).find(|store| *store != old)
    };
    stage.until("another store joins", joined).unwrap();
    stage.ready(&pod).unwrap();
    let after = stage.status(&asked).unwrap();
    assert!(after.stores.iter().any(|store| store.store == old && !store.alive), "{after:?}");
    stage.client("east", &["put", "volume", "lost"]).unwrap();
    assert!(stage.client("north", &["get", "volume"]).unwrap().contains("lost"));
    let refused = stage.operate(&asked, &["forget", &format!("s{old}")]).unwrap_err().to_string();
    assert!(refused.contains("replicas"), "{refused}");
}

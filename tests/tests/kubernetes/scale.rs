//! More stores, fewer stores.

use holdfast_stage::Stage;

/// The store of east's second pod.
fn second(stage: &Stage) -> Option<u64> {
    let address = stage.address(&stage.pod("east", 1))?;
    let status = stage.status(&stage.pod("west", 0)).ok()?;
    let stores: Vec<_> = status.stores_of("east").collect();
    stores.iter().find(|store| store.client_address.starts_with(&address)).map(|store| store.store)
}

/// Each store hears by and by that one was forgotten.
fn three_are_left(stage: &Stage) {
    let pod = stage.pod("west", 0);
    let is_so = || stage.status(&pod).ok().filter(|status| status.stores.len() == 3).map(drop);
    stage.until("three stores are left", is_so).unwrap();
    stage.settled("west", 3).unwrap();
}

fn set_stores(stage: &mut Stage, stores: u32) {
    stage.fleet.set_stores("east", stores);
    stage.write().unwrap();
}

pub fn up_and_down(stage: &mut Stage) {
    set_stores(stage, 2);
    stage.fleet("apply", &["--site", "east"]).unwrap();
    let pod = stage.pod("east", 1);
    stage.ready(&pod).unwrap();
    let store = stage.until("the store joins", || second(stage)).unwrap();
    stage.settled("east", 4).unwrap();
    stage
        .until("it gets a replica", || {
            let status = stage.status(&stage.pod("east", 0)).ok()?;
            status.stores.iter().any(|found| found.store == store && found.replicas > 0).then_some(())
        })
        .unwrap();
    refused(stage);
    let asked = stage.pod("west", 0);
    stage.operate(&asked, &["drain", &format!("s{store}")]).unwrap();
    let drained = stage.settled("west", 4).unwrap();
    assert!(drained.stores.iter().any(|found| found.store == store && found.replicas == 0), "{drained:?}");
    stage.fleet("apply", &["--site", "east"]).unwrap();
    stage.until("the pod goes", || stage.seen(&pod).is_none().then_some(())).unwrap();
    stage.until("it may be forgotten", || stage.operate(&asked, &["forget", &format!("s{store}")]).ok()).unwrap();
    three_are_left(stage);
    returns(stage);
}

/// Fewer replicas are refused while the store holds something: by the API server, whoever asks, and by `apply`.
fn refused(stage: &mut Stage) {
    let set = format!("statefulset/{}-east", stage.fleet.name);
    let by_hand = stage.kubectl("east", &["scale", &set, "--replicas", "1"]).unwrap_err().to_string();
    assert!(by_hand.contains("holdfast drain"), "{by_hand}");
    set_stores(stage, 1);
    let applied = stage.fleet("apply", &["--site", "east"]).unwrap_err().to_string();
    assert!(applied.contains("holdfast drain"), "{applied}");
    assert!(stage.is_ready(&stage.pod("east", 1)));
}

/// A store that was forgotten comes back with its volume: it says so and ends with a code of its own. With an empty one it would join.
fn returns(stage: &mut Stage) {
    set_stores(stage, 2);
    // It never gets ready, which `apply` would wait for.
    let tree = stage.render().unwrap().join("east").join("stateful-set.yaml").display().to_string();
    stage
        .clusters
        .kubectl("east", ["apply", "--server-side", "--field-manager", "holdfast", "--filename", tree.as_str()])
        .unwrap();
    let pod = stage.pod("east", 1);
    let code = stage
        .until("it ends", || {
            let seen = stage.seen(&pod)?;
            let status = &seen["status"]["containerStatuses"][0];
            let ended = [&status["state"]["terminated"], &status["lastState"]["terminated"]];
            ended.into_iter().find_map(|state| state["exitCode"].as_i64())
        })
        .unwrap();
    let said = stage
        .until("it says why", || {
            let said = stage.log(&pod, true).or_else(|_| stage.log(&pod, false)).ok()?;
            said.contains("forgotten").then_some(said)
        })
        .unwrap();
    assert!(code > 1, "a code of its own, not {code}: {said}");
    set_stores(stage, 1);
    stage.fleet("apply", &["--site", "east"]).unwrap();
    stage.until("the pod goes", || stage.seen(&pod).is_none().then_some(())).unwrap();
    stage.kubectl("east", &["delete", "pvc", &pod.claim()]).unwrap();
    three_are_left(stage);
}

/// Of two stores of a site, one may be evicted at a time.
pub fn evictions(stage: &mut Stage) {
    set_stores(stage, 2);
    stage.fleet("apply", &["--site", "east"]).unwrap();
    stage.settled("west", 4).unwrap();
    let pods = [stage.pod("east", 0), stage.pod("east", 1)];
    for pod in &pods {
        stage.ready(pod).unwrap();
    }
    let evict = |stage: &Stage, pod: &str| {
        let namespace = &stage.fleet.namespace;
        let eviction = serde_json::json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace},
        });
        let path = stage.clusters.folder().join("eviction.json");
        std::fs::write(&path, eviction.to_string()).unwrap();
        let url = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
        stage.clusters.kubectl("east", ["create", "--raw", url.as_str(), "--filename", &path.display().to_string()])
    };
    evict(stage, &pods[0].name).unwrap();
    let refused = evict(stage, &pods[1].name).unwrap_err().to_string();
    assert!(refused.contains("disruption budget"), "{refused}");
    stage.ready(&pods[0]).unwrap();
    stage.settled("west", 4).unwrap();
    let store = stage.until("the second store is known", || second(stage)).unwrap();
    let asked = stage.pod("west", 0);
    stage.operate(&asked, &["drain", &format!("s{store}")]).unwrap();
    set_stores(stage, 1);
    stage.fleet("apply", &["--site", "east"]).unwrap();
    stage.until("the pod goes", || stage.seen(&pods[1]).is_none().then_some(())).unwrap();
    stage.until("it may be forgotten", || stage.operate(&asked, &["forget", &format!("s{store}")]).ok()).unwrap();
    stage.kubectl("east", &["delete", "pvc", &pods[1].claim()]).unwrap();
    three_are_left(stage);
}

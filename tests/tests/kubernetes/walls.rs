//! The NetworkPolicy, in force.

use holdfast_stage::Stage;
use serde_json::json;

/// What a pod outside the fleet that runs the program once comes to.
fn outcome(stage: &Stage, site: &str, name: &str, labels: &serde_json::Value, at: &str) -> (i64, String) {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "enableServiceLinks": false,
            "containers": [{"name": "get", "image": stage.fleet.image, "args": ["get", "--at", at, "wall"]}],
        },
    });
    stage.clusters.apply(site, &pod.to_string()).unwrap();
    let ended = stage
        .until("it ends", || {
            let told = stage.clusters.kubectl(site, ["get", "pod", name, "--output", "json"]).ok()?;
            let seen: serde_json::Value = serde_json::from_str(&told).ok()?;
            let code = seen["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64()?;
            Some((code, stage.clusters.kubectl(site, ["logs", name]).ok()?))
        })
        .unwrap();
    stage.clusters.kubectl(site, ["delete", "pod", name, "--force"]).unwrap();
    ended
}

pub fn in_force(stage: &mut Stage) {
    stage.in_pod(&stage.pod("east", 0), &["put", "wall", "seen"]).unwrap();
    let client = json!({"holdfast.dev/client": stage.fleet.name});
    let foreign = json!({"app": "foreign"});
    let service = format!("{}.{}.svc:7300", stage.fleet.name, stage.fleet.namespace);
    for site in ["east", "north"] {
        let (code, said) = outcome(stage, site, "program", &client, &service);
        assert!(code == 0 && said.contains("seen"), "{site}: {code}: {said}");
        let (code, said) = outcome(stage, site, "foreign", &foreign, &service);
        assert!(code != 0 && !said.contains("seen"), "{site}: {code}: {said}");
    }
    // Not the ports of stores either, which even a client has no business with.
    let address = stage.address(&stage.pod("east", 0)).unwrap();
    let (code, said) = outcome(stage, "east", "program", &client, &format!("{address}:7400"));
    assert!(code != 0, "{said}");
}

//! From nothing to a fleet, and what must not become one.

use holdfast_stage::{FleetFile, Stage};
use serde_json::{Value, json};

/// What a store ends with that runs in a pod and is not told the proof of its site.
const WITHOUT_PROOF: i64 = 5;

/// Brings the fleet up if no case has yet.
pub fn is_up(stage: &mut Stage) {
    if stage.seen(&stage.pod("east", 0)).is_none() {
        comes_up(stage);
    }
}

pub fn comes_up(stage: &mut Stage) {
    for site in ["west", "east"] {
        stage.apply_tree(site).unwrap();
    }
    for site in ["west", "east"] {
        ready_to_be_founded(stage, site);
    }
    stage.found("west").unwrap();
    stage.keep_synced().unwrap();
    stage
        .until("two sites are one fleet", || (stage.status(&stage.pod("west", 0)).ok()?.alive() == 2).then_some(()))
        .unwrap();
    stage.apply_tree("north").unwrap();
    stage.settled("east", 3).unwrap();
    for site in stage.sites() {
        stage.ready(&stage.pod(&site, 0)).unwrap();
    }
    stage.split(&stage.pod("east", 0)).unwrap();
}

pub fn is_founded_once(stage: &mut Stage) {
    let refused = stage.found("east").unwrap_err().to_string();
    assert!(refused.contains("already"), "{refused}");
    stage.settled("east", 3).unwrap();
}

/// The folder of east in the Kubernetes cluster of west.
pub fn wrong_folder(stage: &mut Stage) {
    let tree = stage.render().unwrap().join("east");
    let apply = |file: &str| {
        let path = tree.join(file).display().to_string();
        let owner = ["--server-side", "--force-conflicts", "--field-manager", "holdfast"];
        stage.clusters.kubectl("west", ["apply", "--filename", path.as_str()].into_iter().chain(owner)).unwrap();
    };
    for file in ["admission.yaml", "service-accounts.yaml", "config-map.yaml"] {
        apply(file);
    }
    let set = format!("{}-east", stage.fleet.name);
    // The API server takes a moment to know a policy: a pod by hand tells when it does.
    let mut probe = pod_like(stage, "east", &format!("{set}-probe"));
    probe["metadata"]["labels"] = labels_of_store(&stage.fleet, "east");
    let refused = stage
        .until("the policy is in force", || {
            let refused = stage.clusters.apply("west", &probe.to_string()).err().map(|error| error.to_string());
            if refused.is_none() {
                stage.kubectl("west", &["delete", "pod", &format!("{set}-probe"), "--force"]).ok()?;
            }
            refused
        })
        .unwrap();
    assert!(refused.contains("this is not the Kubernetes cluster of site east"), "{refused}");
    apply("stateful-set.yaml");
    let said = stage
        .until("the controller is refused", || {
            let events = stage.kubectl("west", &["get", "events", "--output", "json"]).ok()?;
            events.contains("this is not the Kubernetes cluster of site east").then_some(events)
        })
        .unwrap();
    assert!(said.contains(&set));
    assert!(stage.object("west", "pod", &format!("{set}-0")).unwrap().is_none());
    let objects = tree.join("stateful-set.yaml").display().to_string();
    stage.clusters.kubectl("west", ["delete", "--filename", objects.as_str()]).unwrap();
    for file in ["admission.yaml", "config-map.yaml"] {
        let path = tree.join(file).display().to_string();
        stage.clusters.kubectl("west", ["delete", "--filename", path.as_str()]).unwrap();
    }
}

/// A store beside the fleet's, in west, that says it is of another site, and has a certificate that says so too. It goes on asking: what it is
/// refused for may be mended elsewhere.
pub fn wrong_proof(stage: &mut Stage) {
    let uid = |site: &str| stage.fleet.sites.iter().find(|found| found.name == site).unwrap().uid.clone();
    is_refused(stage, "double", "other", &uid("west"), "is site west, not other");
    is_refused(stage, "imposter", "east", "00000000-0000-4000-8000-000000000000", "site east");
    assert_eq!(stage.settled("east", 3).unwrap().stores.len(), 3);
}

/// It ends: nothing but another pod can mend that.
pub fn no_proof(stage: &mut Stage) {
    start(stage, "unproven", "west", None);
    let code = || {
        let seen = stage.object("west", "pod", "unproven").ok()??;
        seen["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64()
    };
    assert_eq!(stage.until("it ends", code).unwrap(), WITHOUT_PROOF);
    let said = stage.kubectl("west", &["logs", "unproven"]).unwrap();
    assert!(said.contains("kube-system"), "{said}");
    remove(stage, "unproven");
}

/// Starts a store of this site with this proof and waits until it says why it is refused.
fn is_refused(stage: &Stage, name: &str, site: &str, proof: &str, why: &str) {
    start(stage, name, site, Some(proof));
    let is_said = || stage.kubectl("west", &["logs", name]).ok().filter(|said| said.contains(why)).map(drop);
    stage.until(&format!("{name} is told: {why}"), is_said).unwrap();
    remove(stage, name);
}

/// Starts a store in west, without a configuration file, that says it is of this site and has the certificate for that.
fn start(stage: &Stage, name: &str, site: &str, proof: Option<&str>) {
    stage.certify("west", &secret_of(name), site).unwrap();
    let mut pod = pod_like(stage, "west", name);
    let join = format!("{0}-west-0.{1}.svc:7300", stage.fleet.name, stage.fleet.namespace);
    let mut all = vec![
        ("HOLDFAST_JOIN", join.as_str()),
        ("HOLDFAST_DATA_DIR", "/data/store"),
        ("HOLDFAST_TLS", "/tls"),
        ("HOLDFAST_SITE", site),
    ];
    all.extend(proof.map(|proof| ("HOLDFAST_SITE_ID", proof)));
    let listen = [("HOLDFAST_LISTEN", "0.0.0.0:7300"), ("HOLDFAST_LISTEN_STORE", "0.0.0.0:7400")];
    let advertise = [("HOLDFAST_ADVERTISE", "$(POD_IP):7300"), ("HOLDFAST_ADVERTISE_STORE", "$(POD_IP):7400")];
    all.extend(listen.into_iter().chain(advertise));
    let mut variables = vec![json!({"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})];
    variables.extend(all.iter().map(|(name, value)| json!({"name": name, "value": value})));
    let container = &mut pod["spec"]["containers"][0];
    container["env"] = json!(variables);
    let mount = json!({"name": "tls", "mountPath": "/tls", "readOnly": true});
    container["volumeMounts"].as_array_mut().unwrap().push(mount);
    // Nobody but the store's own user and group reads the key, as in the fleet's pods.
    let volume = json!({"name": "tls", "secret": {"secretName": secret_of(name), "defaultMode": 0o440}});
    pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
    // It is of the same walls as a store, but no Service and no StatefulSet takes it for one of theirs.
    pod["metadata"]["labels"] = labels_of_store(&stage.fleet, "west");
    stage.clusters.apply("west", &pod.to_string()).unwrap();
}

/// Removes a store that [`start`] has started.
fn remove(stage: &Stage, name: &str) {
    stage.kubectl("west", &["delete", "pod", name, "--force"]).unwrap();
    stage.kubectl("west", &["delete", "secret", &secret_of(name)]).unwrap();
}

fn secret_of(name: &str) -> String {
    format!("{name}-tls")
}

fn labels_of_store(fleet: &FleetFile, site: &str) -> Value {
    json!({"app.kubernetes.io/component": "store", "holdfast.dev/fleet": fleet.name, "holdfast.dev/site": site})
}

/// A pod that runs a store once.
fn pod_like(stage: &Stage, site: &str, name: &str) -> Value {
    let user = 65_532;
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": stage.fleet.namespace},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "enableServiceLinks": false,
            "serviceAccountName": format!("{}-store", stage.fleet.name),
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": user, "runAsGroup": user, "fsGroup": user, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "nodeSelector": {"topology.kubernetes.io/region": if site == "east" { "west" } else { site }},
            "containers": [{
                "name": "holdfast", "image": stage.fleet.image, "args": ["start"],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    })
}

/// Waits until the first store of a site can be founded: its container runs and answers.
fn ready_to_be_founded(stage: &Stage, site: &str) {
    let pod = stage.pod(site, 0);
    let started = || {
        let seen = stage.seen(&pod)?;
        seen["status"]["containerStatuses"][0]["started"].as_bool().filter(|started| *started).map(drop)
    };
    stage.until(&format!("{} runs", pod.name), started).unwrap();
}

/// Prints what is known of a fleet in which a case failed.
pub fn describe(stage: &Stage) {
    for site in stage.sites() {
        for arguments in [&["get", "pods", "--all-namespaces", "--output", "wide"][..], &["get", "nodes"]] {
            let told = stage.clusters.kubectl(&site, arguments.iter().copied());
            eprintln!("{site}: {}", told.unwrap_or_else(|error| error.to_string()));
        }
        let log = stage.log(&stage.pod(&site, 0), false).unwrap_or_else(|error| error.to_string());
        let lines: Vec<_> = log.lines().collect();
        eprintln!("{site}: {}", lines[lines.len().saturating_sub(15)..].join("\n"));
    }
    match stage.status(&stage.pod("east", 0)) {
        Ok(status) => eprintln!("{status:#?}"),
        Err(error) => eprintln!("no status: {error}"),
    }
}

//! Renders every example and compares byte for byte. `UPDATE_GOLDENFILES=1` writes what it finds.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use holdfast_k8s::{Fleet, SiteTree, render, schema, validate};
use serde_json::{Value, json};

const MODES: [&str; 8] =
    ["calico-bgp", "cilium-global", "flat-dns", "flat-mirror", "istio", "loadbalancer", "mcs", "skupper"];

fn example(mode: &str) -> Fleet {
    let text = std::fs::read_to_string(format!("examples/{mode}/fleet.yaml")).unwrap();
    let report = validate(&text);
    assert!(report.findings.is_empty(), "{mode}: {:#?}", report.findings);
    report.fleet.unwrap()
}

/// All objects of a file or of a site.
fn objects(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

fn all_objects(tree: &SiteTree) -> Vec<Value> {
    tree.files.values().flat_map(|text| objects(text)).collect()
}

/// The one object of a file.
fn object(tree: &SiteTree, file: &str) -> Value {
    objects(&tree.files[file]).remove(0)
}

fn pod(tree: &SiteTree) -> Value {
    object(tree, "stateful-set.yaml")["spec"]["template"]["spec"].clone()
}

fn files_below(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.insert(path.clone(), std::fs::read_to_string(&path).unwrap());
        }
    }
    found
}

#[test]
fn every_example_renders_the_bytes_that_are_kept() {
    let kept: BTreeSet<_> = std::fs::read_dir("examples").unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(kept, MODES.map(Into::into).into(), "each mode has an example");
    for mode in MODES {
        let folder = PathBuf::from(format!("examples/{mode}/rendered"));
        let mut rendered = BTreeMap::new();
        for tree in render(&example(mode)) {
            rendered.extend(tree.files.into_iter().map(|(file, text)| (folder.join(&tree.site).join(file), text)));
        }
        if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
            std::fs::remove_dir_all(&folder).ok();
            for (path, text) in &rendered {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
        }
        let kept = files_below(&folder);
        assert_eq!(kept.keys().collect::<Vec<_>>(), rendered.keys().collect::<Vec<_>>(), "{mode}");
        for (path, text) in &rendered {
            assert!(
                kept[path] == *text,
                "{} differs: UPDATE_GOLDENFILES=1 writes what is rendered now",
                path.display()
            );
        }
    }
}

#[test]
fn every_object_has_a_kind_and_a_name_of_its_own() {
    for mode in MODES {
        for tree in render(&example(mode)) {
            let mut seen = BTreeSet::new();
            for object in all_objects(&tree) {
                assert!(object["apiVersion"].is_string(), "{mode}: {object}");
                let name = (object["kind"].to_string(), object["metadata"]["name"].to_string());
                assert!(seen.insert(name.clone()), "{mode}: {name:?} twice in {}", tree.site);
            }
            let list = &objects(&tree.files["kustomization.yaml"])[0]["resources"];
            assert_eq!(list.as_array().unwrap().len() + 1, tree.files.len(), "{mode}: the list names every file");
        }
    }
}

#[test]
fn stores_have_no_right_that_they_do_not_need() {
    for mode in MODES {
        for tree in render(&example(mode)) {
            let pod = pod(&tree);
            assert_eq!(
                (&pod["automountServiceAccountToken"], &pod["enableServiceLinks"]),
                (&json!(false), &json!(false))
            );
            let security = &pod["securityContext"];
            assert_eq!(
                (&security["runAsNonRoot"], &security["seccompProfile"]),
                (&json!(true), &json!({"type": "RuntimeDefault"}))
            );
            let container = &pod["containers"][0];
            let wanted = json!({
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true
            });
            assert_eq!(container["securityContext"], wanted);
            let resources = &container["resources"];
            assert!(resources["requests"] == resources["limits"] && resources["limits"]["cpu"] == "4", "guaranteed");
            // Nobody is bound to the account of the stores.
            let bound = all_objects(&tree).into_iter().filter(|object| object["kind"] == "RoleBinding");
            assert!(bound.flat_map(|b| b["subjects"].as_array().unwrap().clone()).all(|s| s["name"] != "prod-store"));
        }
    }
}

#[test]
fn nothing_rolls_by_itself_and_no_volume_is_deleted() {
    for tree in render(&example("flat-mirror")) {
        let spec = &object(&tree, "stateful-set.yaml")["spec"];
        assert_eq!((&spec["updateStrategy"]["rollingUpdate"]["partition"], &spec["replicas"]), (&json!(2), &json!(2)));
        assert_eq!(spec["podManagementPolicy"], "Parallel");
        let kept = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
        assert_eq!(spec["persistentVolumeClaimRetentionPolicy"], kept);
        assert_eq!(spec["volumeClaimTemplates"][0]["spec"]["accessModes"], json!(["ReadWriteOncePod"]));
    }
}

#[test]
fn another_configuration_has_another_name() {
    let fleet = example("flat-mirror");
    let mut other = fleet.clone();
    other.sites[0].uid = "00000000-0000-4000-8000-000000000000".to_owned();
    let name = |fleet: &Fleet| {
        let tree = &render(fleet)[0];
        let map = object(tree, "config-map.yaml");
        assert_eq!(map["immutable"], true);
        let mounted = pod(tree)["volumes"][0]["configMap"]["name"].clone();
        assert_eq!(map["metadata"]["name"], mounted);
        mounted
    };
    assert_ne!(name(&fleet), name(&other));
    assert_eq!(name(&fleet), name(&fleet.clone()));
}

#[test]
fn every_store_has_a_service_of_its_name_in_every_site() {
    for mode in ["flat-mirror", "cilium-global", "calico-bgp", "istio"] {
        let fleet = example(mode);
        let wanted: BTreeSet<_> = fleet
            .sites
            .iter()
            .flat_map(|site| fleet.ordinals(site).map(|ordinal| fleet.pod_name(site, ordinal)))
            .collect();
        for tree in render(&fleet) {
            let services = all_objects(&tree).into_iter().filter(|object| object["kind"] == "Service");
            let names: BTreeSet<_> = services.map(|s| s["metadata"]["name"].as_str().unwrap().to_owned()).collect();
            assert!(wanted.is_subset(&names), "{mode}, {}: {names:?}", tree.site);
        }
    }
}

#[test]
fn only_what_is_ready_takes_clients_and_all_find_each_other() {
    for tree in render(&example("flat-mirror")) {
        let spec = |file: &str| object(&tree, file)["spec"].clone();
        for file in ["service-stores.yaml", "services-store.yaml"] {
            assert_eq!(
                (&spec(file)["publishNotReadyAddresses"], &spec(file)["clusterIP"]),
                (&json!(true), &json!("None"))
            );
        }
        let clients = spec("service-clients.yaml");
        assert_eq!(
            (&clients["publishNotReadyAddresses"], &clients["trafficDistribution"]),
            (&Value::Null, &json!("PreferClose"))
        );
    }
}

#[test]
fn each_store_advertises_the_name_that_others_join_by_or_where_names_are_mirrored_its_own_address() {
    for mode in MODES {
        let fleet = example(mode);
        for (tree, site) in render(&fleet).iter().zip(&fleet.sites) {
            let environment = pod(tree)["containers"][0]["env"].clone();
            let value = |name: &str| {
                let found = environment.as_array().unwrap().iter().find(|variable| variable["name"] == name);
                found.unwrap()["value"].as_str().unwrap().to_owned()
            };
            let pod_name = fleet.pod_name(site, fleet.ordinals(site).next().unwrap());
            let advertised = value("HOLDFAST_ADVERTISE");
            let first = advertised.replace("$(POD_NAME)", &pod_name);
            if ["flat-mirror", "calico-bgp"].contains(&mode) {
                assert_eq!(advertised, "$(POD_IP):7300");
                continue;
            }
            assert!(fleet.join_addresses().contains(&first), "{mode}: {first}");
            assert!(value("HOLDFAST_ADVERTISE_STORE").ends_with(":7400"));
        }
    }
}

#[test]
fn every_version_of_external_dns_finds_the_name_that_a_store_advertises() {
    let fleet = example("loadbalancer");
    for (tree, site) in render(&fleet).iter().zip(&fleet.sites) {
        let services = objects(&tree.files["services-store.yaml"]);
        assert_eq!(services.len(), fleet.ordinals(site).count());
        for (service, ordinal) in services.iter().zip(fleet.ordinals(site)) {
            let name = json!(fleet.host(site, ordinal));
            // Up to 0.21, and from 0.22 on.
            for prefix in ["external-dns.alpha.kubernetes.io", "external-dns.kubernetes.io"] {
                assert_eq!(service["metadata"]["annotations"][format!("{prefix}/hostname")], name);
            }
        }
    }
}

/// The example of `flat-mirror`, whose stores have certificates of cert-manager, with another choice.
fn with_trust(trust: &str) -> Fleet {
    let text = std::fs::read_to_string("examples/flat-mirror/fleet.yaml").unwrap();
    let begin = text.find("trust:\n").unwrap();
    let end = begin + text[begin..].find("\nstores:").unwrap();
    let text = text.replace(&text[begin..end], &format!("trust: {trust}"));
    let text = if trust.contains("insecure") { text.replace(", certificate: prod-prometheus", "") } else { text };
    let report = validate(&text);
    report.fleet.unwrap_or_else(|| panic!("{:#?}", report.findings))
}

fn environment(pod: &Value, name: &str) -> Option<String> {
    let all = pod["containers"][0]["env"].as_array().unwrap();
    Some(all.iter().find(|variable| variable["name"] == name)?["value"].as_str()?.to_owned())
}

#[test]
fn a_fleet_that_trusts_everybody_says_so_twice_and_has_no_certificate() {
    for tree in render(&with_trust("{mode: insecure}")) {
        let pod = pod(&tree);
        assert_eq!(pod["containers"][0]["args"], json!(["start", "--insecure", "--insecure"]));
        assert_eq!(environment(&pod, "HOLDFAST_TLS"), None);
        assert_eq!(pod["volumes"].as_array().unwrap().len(), 1);
        let endpoint = &object(&tree, "service-monitor.yaml")["spec"]["endpoints"][0];
        assert_eq!((&endpoint["port"], &endpoint["tlsConfig"]), (&json!("http"), &Value::Null));
        assert!(!tree.files.contains_key("certificate.yaml"));
        assert!(!tree.files["config-map.yaml"].contains("listen-metrics"));
    }
}

#[test]
fn certificate_key_and_roots_lie_in_one_folder_that_nobody_else_reads() {
    let fleet = with_trust("{mode: secret, domain: kv.example}");
    for (tree, site) in render(&fleet).iter().zip(&fleet.sites) {
        let pod = pod(tree);
        assert_eq!(pod["containers"][0]["args"], json!(["start"]), "nothing is said to be insecure");
        let folder = environment(&pod, "HOLDFAST_TLS").unwrap();
        let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
        let mount = mounts.iter().find(|mount| mount["mountPath"] == folder).unwrap();
        assert_eq!((&mount["name"], &mount["readOnly"]), (&json!("tls"), &json!(true)));
        let volume = &pod["volumes"][1];
        assert_eq!((&volume["name"], &volume["projected"]["defaultMode"]), (&json!("tls"), &json!(0o440)));
        assert!(pod["securityContext"]["fsGroup"].is_number(), "its group reads them");
        let item = |key: &str| json!({"key": key, "path": key});
        let secret = json!({
            "name": format!("prod-{}-tls", site.name), "items": [item("tls.crt"), item("tls.key"), item("ca.crt")]
        });
        assert_eq!(volume["projected"]["sources"], json!([{"secret": secret}]));
        assert!(!tree.files.contains_key("certificate.yaml"), "whoever made the Secret looks after it");
    }
    let named = render(&with_trust("{mode: secret, domain: kv.example, secret: mine}"));
    assert_eq!(pod(&named[0])["volumes"][1]["projected"]["sources"][0]["secret"]["name"], "mine");
}

#[test]
fn each_site_asks_cert_manager_for_what_its_stores_are() {
    let fleet = example("flat-mirror");
    for (tree, site) in render(&fleet).iter().zip(&fleet.sites) {
        let certificate = object(tree, "certificate.yaml");
        let spec = &certificate["spec"];
        assert_eq!(spec["uris"], json!([format!("spiffe://kv.example/site/{}/store", site.name)]));
        assert_eq!(spec["issuerRef"], json!({"group": "cert-manager.io", "kind": "Issuer", "name": "prod"}));
        assert_eq!((&spec["duration"], &spec["renewBefore"]), (&json!("720h0m0s"), &json!("240h0m0s")));
        for usage in ["server auth", "client auth"] {
            assert!(spec["usages"].as_array().unwrap().contains(&json!(usage)), "each store is at both ends");
        }
        // What is issued is what is mounted, with the roots from elsewhere.
        let sources = pod(tree)["volumes"][1]["projected"]["sources"].clone();
        assert_eq!(sources[0]["secret"]["name"], spec["secretName"]);
        assert_eq!(sources[0]["secret"]["items"].as_array().unwrap().len(), 2);
        let roots = json!({"name": "prod-roots", "items": [{"key": "ca.crt", "path": "ca.crt"}]});
        assert_eq!(sources[1], json!({"configMap": roots}));
    }
}

#[test]
fn prometheus_shows_a_certificate_and_looks_for_the_name_that_the_stores_have() {
    let fleet = example("flat-mirror");
    for (tree, site) in render(&fleet).iter().zip(&fleet.sites) {
        let endpoint = object(tree, "service-monitor.yaml")["spec"]["endpoints"][0].clone();
        let certificate = object(tree, "certificate.yaml");
        assert_eq!((&endpoint["port"], &endpoint["scheme"]), (&json!("metrics"), &json!("https")));
        let tls = &endpoint["tlsConfig"];
        assert_eq!(tls["serverName"], format!("{}.kv.example", site.name));
        assert_eq!(certificate["spec"]["dnsNames"], json!([tls["serverName"]]));
        for (reference, key) in
            [(&tls["ca"]["secret"], "ca.crt"), (&tls["cert"]["secret"], "tls.crt"), (&tls["keySecret"], "tls.key")]
        {
            assert_eq!(reference, &json!({"name": "prod-prometheus", "key": key}));
        }
        // The port that it names is there, stores listen on it, and it alone is open to Prometheus.
        let service = object(tree, "service-stores.yaml");
        let port = service["spec"]["ports"].as_array().unwrap().iter().find(|port| port["name"] == "metrics").unwrap();
        assert_eq!(port["port"], 7600);
        assert!(tree.files["config-map.yaml"].contains(r#"listen-metrics = "0.0.0.0:7600""#));
        let ingress = objects(&tree.files["network-policy.yaml"])[1]["spec"]["ingress"].clone();
        let is_prometheus = |rule: &&Value| rule.to_string().contains("monitoring");
        let open = ingress.as_array().unwrap().iter().find(is_prometheus).unwrap();
        assert_eq!(open["ports"], json!([{"port": 7600, "protocol": "TCP"}]));
    }
}

#[test]
fn the_schema_has_every_key_of_the_examples() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    for mode in MODES {
        let text = std::fs::read_to_string(format!("examples/{mode}/fleet.yaml")).unwrap();
        let file: Value = serde_saphyr::from_str(&text).unwrap();
        for key in file.as_object().unwrap().keys() {
            assert!(schema["properties"][key].is_object(), "{mode}: {key}");
        }
    }
}

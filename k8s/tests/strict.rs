//! Every rendered object, strictly: a field that a version of Kubernetes does not know is an error, and so is one that the makers of another kind do
//! not know, and a label or annotation that nobody reads.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use holdfast_k8s::{SiteTree, render, validate};
use serde::Deserialize;
use serde_json::{Value, json};

/// The versions that the trees must suit.
const VERSIONS: [&str; 5] = ["1.33", "1.34", "1.35", "1.36", "1.37"];
const NEWEST: &str = VERSIONS[4];
/// What `tests/strict/run` ends with when what it needs cannot be had.
const CANNOT_RUN: i32 = 77;
/// No object, but what `kubectl apply -k` reads: it never comes to an API server, and is judged here.
const KUSTOMIZATION: &str = "kustomization.yaml";

/// Judges all objects of files; `None` when that cannot be done here, which is told.
fn judge(version: &str, files: &[PathBuf]) -> Option<Output> {
    ran(Command::new("tests/strict/run").arg(version).args(files))
}

fn ran(command: &mut Command) -> Option<Output> {
    let output = command.output().unwrap();
    if output.status.code() != Some(CANNOT_RUN) {
        return Some(output);
    }
    let complained = String::from_utf8_lossy(&output.stderr);
    let reason = complained.lines().last().unwrap_or("no reason was given");
    println!("SKIPPED: {reason}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI runs every test: {reason}");
    None
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

/// The lines that begin with a word.
fn lines<'a>(said: &'a str, verdict: &str) -> Vec<&'a str> {
    said.lines().filter(|line| line.split(':').next() == Some(verdict)).collect()
}

/// All files with objects below a folder.
fn rendered(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rendered(&path));
        } else if path.file_name().is_some_and(|name| name != "fleet.yaml" && name != KUSTOMIZATION) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn objects(file: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&fs::read_to_string(file).unwrap()).unwrap()
}

/// All objects of the examples.
fn all_objects() -> Vec<Value> {
    rendered(Path::new("examples")).iter().flat_map(|file| objects(file)).collect()
}

/// The first object of each kind, by its version and kind.
fn one_of_each_kind() -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for object in all_objects() {
        let kind = format!("{} {}", object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        found.entry(kind).or_insert(object);
    }
    found
}

/// Sees that each object of the files is judged, and valid.
fn assert_valid(version: &str, files: &[PathBuf]) -> Option<()> {
    let output = judge(version, files)?;
    let said = said(&output);
    assert!(output.status.success(), "{version}: {:#?}\n{said}", lines(&said, "wrong"));
    let count: usize = files.iter().map(|file| objects(file).len()).sum();
    assert!(count > 0, "there are objects");
    assert_eq!(lines(&said, "valid").len(), count, "{version}: a line for each object:\n{said}");
    Some(())
}

#[test]
fn every_tree_is_valid_in_every_version() {
    let files = rendered(Path::new("examples"));
    for version in VERSIONS {
        if assert_valid(version, &files).is_none() {
            return;
        }
    }
}

#[test]
fn an_export_is_valid_in_each_version_of_its_kind() {
    let text = fs::read_to_string("examples/mcs/fleet.yaml").unwrap();
    for version in ["multicluster.x-k8s.io/v1alpha1", "multicluster.x-k8s.io/v1beta1", "net.gke.io/v1"] {
        let fleet = validate(&text.replace("multicluster.x-k8s.io/v1alpha1", version)).fleet.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("other-sites.yaml");
        fs::write(&file, &render(&fleet)[0].files["other-sites.yaml"]).unwrap();
        assert_eq!(objects(&file)[0]["apiVersion"], version);
        if assert_valid(NEWEST, &[file]).is_none() {
            return;
        }
    }
}

/// Everything that is one step from right: each value with one of another type in its place, and each object with a field that no kind has. In a map
/// of texts the latter is no text.
fn one_step_wrong(value: &Value) -> Vec<(String, Value)> {
    let planted = json!({"planted": true});
    let mut wrong = Vec::new();
    match value {
        Value::Object(fields) => {
            let mut more = fields.clone();
            more.insert("planted".to_owned(), planted);
            wrong.push((" with a field more".to_owned(), Value::Object(more)));
            for (name, field) in fields {
                for (what, instead) in one_step_wrong(field) {
                    let mut changed = fields.clone();
                    changed.insert(name.clone(), instead);
                    wrong.push((format!(".{name}{what}"), Value::Object(changed)));
                }
            }
            wrong.push((" as a text".to_owned(), json!("planted")));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                for (what, instead) in one_step_wrong(item) {
                    let mut changed = items.clone();
                    changed[index] = instead;
                    wrong.push((format!("[{index}]{what}"), Value::Array(changed)));
                }
            }
            wrong.push((" as a text".to_owned(), json!("planted")));
        }
        _ => wrong.push((" as an object".to_owned(), planted)),
    }
    wrong
}

/// Writes objects into one file.
fn written(folder: &Path, name: &str, objects: &[Value]) -> PathBuf {
    let path = folder.join(name);
    let texts: Vec<_> = objects.iter().map(ToString::to_string).collect();
    fs::write(&path, texts.join("\n---\n")).unwrap();
    path
}

#[test]
fn no_value_of_any_kind_goes_unjudged() {
    let folder = tempfile::tempdir().unwrap();
    let (mut files, mut what) = (Vec::new(), BTreeMap::new());
    for (number, (kind, object)) in one_of_each_kind().into_iter().enumerate() {
        let wrong = one_step_wrong(&object);
        assert!(wrong.len() > 10, "{kind}");
        let path =
            written(folder.path(), &format!("{number}.yaml"), &wrong.iter().map(|w| w.1.clone()).collect::<Vec<_>>());
        let place = |index| format!("{}#{index} ", path.display());
        what.extend(wrong.iter().enumerate().map(|(index, (what, _))| (place(index), format!("{kind}{what}"))));
        files.push(path);
    }
    let Some(output) = judge(NEWEST, &files) else { return };
    let said = said(&output);
    let passed: Vec<_> = what.iter().filter(|(place, _)| said.contains(&format!("valid: {place}"))).collect();
    assert!(passed.is_empty(), "taken for valid: {passed:#?}");
    assert_eq!(lines(&said, "wrong").len(), what.len(), "{said}");
}

/// An object of the examples with one thing changed, and what is said of it.
fn changed(kind: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut object = one_of_each_kind().remove(kind).unwrap();
    let before = object.clone();
    change(&mut object);
    assert_ne!(object, before, "{kind}: nothing is changed");
    object
}

#[test]
fn what_an_api_server_refuses_is_refused() {
    const RULE: &str = "monitoring.coreos.com/v1 PrometheusRule";
    const POLICY: &str = "cilium.io/v2 CiliumNetworkPolicy";
    const EXPORT: &str = "multicluster.x-k8s.io/v1alpha1 ServiceExport";
    const POOL: &str = "projectcalico.org/v3 IPPool";
    const CERTIFICATE: &str = "cert-manager.io/v1 Certificate";
    let without = |object: &mut Value, field: &str| drop(object["spec"].as_object_mut().unwrap().remove(field));
    let cases: [(Value, &str); 17] = [
        (changed("apps/v1 StatefulSet", |o| o["spec"]["serviceNames"] = json!("x")), "serviceNames"),
        (changed("monitoring.coreos.com/v1 ServiceMonitor", |o| without(o, "selector")), "'selector' is a required"),
        (changed(POOL, |o| without(o, "cidr")), "'cidr' is a required"),
        (changed(CERTIFICATE, |o| o["spec"]["usages"][1] = json!("server")), "'server' is not one of"),
        (changed(CERTIFICATE, |o| without(o, "issuerRef")), "'issuerRef' is a required"),
        (changed("skupper.io/v2alpha1 Listener", |o| without(o, "host")), "'host' is a required"),
        (changed(RULE, |o| o["spec"]["groups"][0]["rules"][0]["for"] = json!("30 s")), "'30 s' does not match"),
        (changed(RULE, |o| o["spec"]["groups"][0]["partial_response_strategy"] = json!("warn")), "must be translated"),
        (
            changed(RULE, |o| {
                let group = o["spec"]["groups"][0].clone();
                o["spec"]["groups"].as_array_mut().unwrap().push(group);
            }),
            "is there twice",
        ),
        (
            changed(POLICY, |o| o["spec"]["egress"][0]["toPorts"][0]["ports"][0]["protocol"] = json!("TPC")),
            "'TPC' is not one of",
        ),
        (changed(POLICY, |o| without(o, "endpointSelector")), "is not valid under any of the given schemas"),
        (changed(POOL, |o| o["metadata"]["namespace"] = json!("holdfast")), "it lies in no namespace"),
        (
            changed(EXPORT, |o| drop(o["metadata"].as_object_mut().unwrap().remove("namespace"))),
            "a namespace is wanted",
        ),
        (changed(EXPORT, |o| o["apiVersion"] = json!("multicluster.x-k8s.io/v1")), "no schema knows ServiceExport"),
        (changed(EXPORT, |o| o["kind"] = json!("ServiceExports")), "no schema knows ServiceExports"),
        (changed(EXPORT, |o| o["metadata"]["lables"] = json!({})), "'lables' was unexpected"),
        (
            changed("v1 Service", |o| o["metadata"]["labels"]["istio.io/globl"] = json!("true")),
            "istio.io/globl: nobody",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let objects: Vec<_> = cases.iter().map(|(object, _)| object.clone()).collect();
    let Some(output) = judge(NEWEST, &[written(folder.path(), "wrong.yaml", &objects)]) else { return };
    let said = said(&output);
    let wrong = lines(&said, "wrong");
    assert_eq!(wrong.len(), cases.len(), "{said}");
    for (line, (_, reason)) in wrong.iter().zip(&cases) {
        assert!(line.contains(reason), "not for {reason:?}: {line}");
    }
}

#[test]
fn a_field_that_is_there_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("twice.yaml");
    fs::write(&file, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nmetadata: {name: x}\n").unwrap();
    let Some(output) = judge(NEWEST, &[file]) else { return };
    assert!(!output.status.success() && said(&output).contains("the key metadata is there twice"), "{}", said(&output));
}

#[test]
fn a_module_that_is_not_the_one_that_was_read_is_refused() {
    let cases = [
        ("hash: h1:", "hash: h1:0", "has the hash"),
        (r#"ServicePrefix + "/global""#, r#"ServicePrefix + "/globl""#, "service.cilium.io/global is not what it was"),
    ];
    for (from, to, reason) in cases {
        let folder = tempfile::tempdir().unwrap();
        fs::copy("tests/strict/own.yaml", folder.path().join("own.yaml")).unwrap();
        let text = fs::read_to_string("tests/strict/sources.yaml").unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(folder.path().join("sources.yaml"), text.replace(from, to)).unwrap();
        let mut command = Command::new("tests/strict/run");
        let Some(output) = ran(command.arg(NEWEST).env("STRICT_SOURCES", folder.path())) else { return };
        assert!(!output.status.success() && said(&output).contains(reason), "{}", said(&output));
    }
}

/// The fields of a Kustomization that are rendered.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kustomization {
    api_version: String,
    kind: String,
    resources: Vec<String>,
}

/// What is wrong with the list of a folder: kustomize reads it, and takes each file that it names once.
fn fault_of_list(tree: &SiteTree) -> Option<String> {
    let list: Kustomization = match serde_saphyr::from_str(&tree.files[KUSTOMIZATION]) {
        Ok(list) => list,
        Err(error) => return Some(error.to_string()),
    };
    if (list.api_version.as_str(), list.kind.as_str()) != ("kustomize.config.k8s.io/v1beta1", "Kustomization") {
        return Some(format!("{} {}", list.api_version, list.kind));
    }
    let listed: BTreeSet<_> = list.resources.iter().collect();
    if listed.len() != list.resources.len() {
        return Some(format!("a file twice: {:?}", list.resources));
    }
    let present: BTreeSet<_> = tree.files.keys().filter(|file| *file != KUSTOMIZATION).collect();
    (listed != present).then(|| format!("listed {listed:?}, present {present:?}"))
}

/// The folders of all sites, as they are kept.
fn kept_trees() -> Vec<SiteTree> {
    let folders = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let sites = folders("examples".into()).flat_map(|mode| folders(mode.join("rendered")));
    let tree = |site: PathBuf| {
        let files = folders(site.clone())
            .map(|file| (file.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&file).unwrap()));
        SiteTree { site: site.display().to_string(), files: files.collect() }
    };
    sites.map(tree).collect()
}

#[test]
fn every_list_names_every_file_once() {
    let trees = kept_trees();
    assert_eq!(trees.len(), 24, "eight examples with three sites");
    for tree in &trees {
        assert_eq!(fault_of_list(tree), None, "{}", tree.site);
    }
}

#[test]
fn a_wrong_list_is_found() {
    let tree = kept_trees().remove(0);
    let edits = [
        ("- namespace.yaml\n", "", "listed"),
        ("- namespace.yaml\n", "- namespaces.yaml\n", "listed"),
        ("- namespace.yaml\n", "- namespace.yaml\n- namespace.yaml\n", "a file twice"),
        ("resources:", "resource:", "unknown field"),
        ("v1beta1", "v1", "kustomize.config.k8s.io/v1 "),
    ];
    for (from, to, reason) in edits {
        let mut wrong = tree.clone();
        let list = wrong.files.get_mut(KUSTOMIZATION).unwrap();
        assert!(list.contains(from), "{from}");
        *list = list.replace(from, to);
        let fault = fault_of_list(&wrong).unwrap();
        assert!(fault.contains(reason), "{reason}: {fault}");
    }
    let mut more = tree;
    more.files.insert("more.yaml".to_owned(), String::new());
    assert!(fault_of_list(&more).is_some(), "a file that is not on the list");
}

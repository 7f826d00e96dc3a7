//! What the clusters offer to those who use them, on two real ones: certificates from cert-manager, and names. One boot for all cases, which run
//! one after the other; half a minute together.
//!
//! They run where the clusters can be had and their programs are built already, those of cert-manager too; elsewhere every case is skipped and says
//! why. Nothing is built here: that takes far longer than all other tests.

#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_image::{File, Image, Recipe, archive};
use holdfast_testkit::{Clusters, Error, Extra, Options, Tools, requirements};
use lddtree::DependencyAnalyzer;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};

const SITES: [&str; 2] = ["east", "west"];
const EXTRAS: &[Extra] = &[Extra::CertManager];
/// Where the certificates are.
const NAMESPACE: &str = "certificates";
/// The C library's way of asking for a name, as a program.
const RESOLVER: &str = "/usr/bin/getent";
/// The image with it.
const IMAGE: &str = "holdfast.test/getent:1";
/// Far beyond what anything here takes, even on a busy machine.
const PATIENCE: &str = "--timeout=60s";

type Case = (&'static str, fn(&Clusters));

/// In the order in which they run.
const CASES: &[Case] = &[
    ("a_certificate_of_a_ca_issuer_becomes_ready_in_every_cluster", becomes_ready),
    ("pods_resolve_names_from_their_own_network_and_from_the_nodes", resolve_names),
    // Last: it ends the pods of the others.
    ("cert_manager_comes_back_with_its_cluster", comes_back),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(None)).exit_code();
    }
    if let Err(reason) = possible() {
        println!("SKIPPED: {reason}");
        return libtest_mimic::run(&arguments, trials(None)).exit_code();
    }
    let place = Arc::new(Mutex::new(None));
    let conclusion = libtest_mimic::run(&arguments, trials(Some(&place)));
    if let Some(clusters) = place.lock().unwrap_or_else(PoisonError::into_inner).take()
        && let Err(error) = Clusters::down(clusters)
    {
        eprintln!("the clusters do not go: {error}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// Whether the clusters can be had here without building anything.
fn possible() -> Result<(), String> {
    let missing = requirements::missing();
    if !missing.is_empty() {
        return Err(missing.join("; "));
    }
    if !Tools::are_built(EXTRAS) {
        return Err("programs are not built yet; this builds them: holdfast-clusters tools --cert-manager".to_owned());
    }
    Ok(())
}

/// The cases; ignored without a place for the clusters.
fn trials(place: Option<&Arc<Mutex<Option<Clusters>>>>) -> Vec<Trial> {
    let trial = |(name, case): &Case| {
        let (case, shared) = (*case, place.map(Arc::clone));
        let run = move || shared.map_or(Ok(()), |place| on_clusters(&place, case));
        Trial::test(*name, run).with_ignored_flag(place.is_none())
    };
    CASES.iter().map(trial).collect()
}

/// Runs a case on the clusters, which the first one boots.
fn on_clusters(place: &Mutex<Option<Clusters>>, case: fn(&Clusters)) -> Result<(), Failed> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    if place.is_none() {
        *place = Some(boot()?);
    }
    let clusters = place.as_ref().expect("it was set just now");
    catch_unwind(AssertUnwindSafe(|| case(clusters))).map_err(|_| Failed::without_message())
}

fn boot() -> Result<Clusters, Error> {
    let sites = SITES.map(str::to_owned).to_vec();
    let options = Options { name: "testkit".to_owned(), sites, extras: EXTRAS.to_vec(), ..Options::default() };
    Clusters::up(&options)
}

/// One of cert-manager's objects.
fn item(kind: &str, name: &str, spec: Value) -> Value {
    let metadata = json!({"name": name, "namespace": NAMESPACE});
    json!({"apiVersion": "cert-manager.io/v1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn becomes_ready(clusters: &Clusters) {
    let authority = json!({
        "isCA": true,
        "commonName": "an authority",
        "secretName": "authority",
        "privateKey": {"algorithm": "ECDSA"},
        "issuerRef": {"name": "itself"},
    });
    let items = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        item("Issuer", "itself", json!({"selfSigned": {}})),
        item("Certificate", "authority", authority),
        item("Issuer", "authority", json!({"ca": {"secretName": "authority"}})),
        item("Certificate", "server", server("server")),
    ];
    let manifest = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    SITES.iter().for_each(|site| drop(clusters.apply(site, &manifest).unwrap()));
    let authorities = SITES.map(|site| {
        issued(clusters, site, "server");
        secret(clusters, site, "authority", "tls.crt")
    });
    // Each cluster has made its own.
    assert_ne!(authorities[0], authorities[1]);
}

/// A certificate from the authority of `becomes_ready`.
fn server(name: &str) -> Value {
    json!({
        "secretName": name,
        "privateKey": {"algorithm": "ECDSA"},
        "usages": ["server auth", "client auth"],
        "dnsNames": [format!("{name}.test")],
        "issuerRef": {"name": "authority"},
    })
}

/// Waits until a certificate is ready, and looks at what is in its Secret.
fn issued(clusters: &Clusters, site: &str, name: &str) {
    let what = format!("certificate/{name}");
    let wait = ["wait", "--namespace", NAMESPACE, "--for=condition=Ready", PATIENCE, &what];
    if let Err(error) = clusters.kubectl(site, wait) {
        let log = clusters.folder().join(site).join("0/logs/cert-manager.log");
        panic!("{site}: {error}; its log: {}", std::fs::read_to_string(log).unwrap_or_default());
    }
    let of = |key: &str| secret(clusters, site, name, key);
    assert!(of("tls.crt").starts_with("-----BEGIN CERTIFICATE-----"), "{site}");
    assert!(of("tls.key").contains("PRIVATE KEY-----"), "{site}");
    assert_eq!(of("ca.crt"), secret(clusters, site, "authority", "tls.crt"), "{site}");
}

/// One entry of a Secret.
fn secret(clusters: &Clusters, site: &str, name: &str, key: &str) -> String {
    let template = format!("go-template={{{{index .data \"{key}\" | base64decode}}}}");
    clusters.kubectl(site, ["get", "secret", "--namespace", NAMESPACE, name, "--output", &template]).unwrap()
}

fn comes_back(clusters: &Clusters) {
    clusters.kill("east").unwrap();
    clusters.bring_back("east").unwrap();
    clusters.apply("east", &item("Certificate", "late", server("late")).to_string()).unwrap();
    issued(clusters, "east", "late");
}

fn resolve_names(clusters: &Clusters) {
    let archive = clusters.folder().join("getent.tar");
    pack_resolver(&archive);
    clusters.load_image(&archive).unwrap();
    let pods =
        [("own-network", json!({})), ("of-node", json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}))];
    for (name, network) in &pods {
        // The first name is short: it needs the search list too. The second one is answered by the other site.
        let command = [RESOLVER, "ahostsv4", "kubernetes.default.svc", "kubernetes.default.svc.west.test"];
        let mut spec = json!({
            "restartPolicy": "Never",
            "containers": [{"name": "ask", "image": IMAGE, "imagePullPolicy": "Never", "command": command}],
        });
        spec.as_object_mut().unwrap().extend(network.as_object().unwrap().clone());
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
        clusters.apply("east", &pod.to_string()).unwrap();
    }
    for (name, _) in &pods {
        let pod = format!("pod/{name}");
        // It ends in either case: no need to wait in vain for one of two.
        let is_over = "--for=jsonpath={.status.containerStatuses[0].state.terminated}";
        let ended = clusters.kubectl("east", ["wait", is_over, PATIENCE, &pod]);
        let said = clusters.kubectl("east", ["logs", &pod]).unwrap_or_default();
        let phase = clusters.kubectl("east", ["get", &pod, "--output=jsonpath={.status.phase}"]).unwrap();
        assert!(ended.is_ok() && phase == "Succeeded", "{name} is {phase}, and said: {said}");
        // The address of the service in the own site, and that in the other one.
        assert!(said.contains("10.101.0.1 ") && said.contains("10.102.0.1 "), "{name}: {said}");
    }
}

/// Packs the program with the libraries that it names.
fn pack_resolver(to: &Path) {
    let tree = DependencyAnalyzer::new("/".into()).analyze(RESOLVER).unwrap();
    let mut paths: Vec<_> = tree.libraries.values().map(|library| library.path.to_str().unwrap().to_owned()).collect();
    // The loader, by the path that the program names it by.
    paths.retain(|path| {
        tree.interpreter.as_ref().is_none_or(|loader| Path::new(path).file_name() != Path::new(loader).file_name())
    });
    paths.extend(tree.interpreter.clone());
    paths.push(RESOLVER.to_owned());
    paths.sort();
    let contents: Vec<_> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let file = |(path, bytes)| File { path, bytes, executable: true };
    let files = paths.iter().map(String::as_str).zip(contents.iter().map(Vec::as_slice)).map(file).collect();
    let recipe = Recipe { name: IMAGE, entrypoint: RESOLVER, layers: vec![("getent", files)], ..Recipe::default() };
    archive::write(to, &Image::build(&recipe).unwrap()).unwrap();
}

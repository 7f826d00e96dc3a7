//! A fleet from nothing, as its first operator makes it: an authority, a store, and the operator himself.

use std::path::Path;

use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use tokio::process::Child;

async fn done(scene: &Scene, arguments: &[&str]) -> String {
    let output = scene.run(arguments).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "holdfast {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned() + &said
}

async fn refused(scene: &Scene, arguments: &[&str]) -> String {
    let output = scene.run(arguments).await;
    assert_eq!(output.status.code(), Some(1), "holdfast {arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Two authorities, and a store that waits to be founded. It ends when it is dropped.
struct Unfounded {
    running: Child,
    scene: Scene,
    /// The authority of people.
    people: String,
    /// That of the store's site.
    issuer: String,
}

impl Unfounded {
    async fn prepare() -> Option<Self> {
        let scene = Scene::prepare(1, 1).await?;
        let path = |name: &str| scene.path(name).to_str().unwrap().to_owned();
        let [root, people, issuer, tls, data] = ["ca-root", "ca-people", "ca-a", "tls-a", "data"].map(path);
        done(&scene, &["ca", "init", "--domain", "founded.example", &root]).await;
        done(&scene, &["ca", "people", "--root", &root, "-o", &people]).await;
        done(&scene, &["ca", "site", "a", "--root", &root, "-o", &issuer]).await;
        done(&scene, &["ca", "leaf", "--issuer", &issuer, "--site", "a", "-o", &tls]).await;
        let store = &scene.fleet.stores()[0];
        let [client, streams, http, metrics] =
            [store.client, store.store, store.http, store.metrics].map(|address| address.to_string());
        let mut start = vec!["start", "--data-dir", &data, "--tls", &tls, "--listen", &client];
        start.extend(["--listen-store", &streams, "--listen-http", &http, "--listen-metrics", &metrics]);
        let running = scene.command(&start).spawn().unwrap();
        Some(Self { running, scene, people, issuer })
    }

    fn path(&self, name: &str) -> String {
        self.scene.path(name).to_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn init_makes_the_first_operator_and_founds_the_fleet_as_him() {
    let Some(unfounded) = Unfounded::prepare().await else { return };
    let [ann, bob] = ["ann", "bob"].map(|name| unfounded.path(name));
    let Unfounded { mut running, scene, people, issuer } = unfounded;
    let http = scene.fleet.stores()[0].http.to_string();

    // The authority alone is nobody, and an operator without a folder has nowhere to be.
    let said = refused(&scene, &["init", "--operator", "ann", "--issuer", &people]).await;
    assert!(said.contains("--tls DIR"), "{said}");
    let said = refused(&scene, &["init", "--operator", "ann", "--issuer", &issuer, "--tls", &bob]).await;
    assert!(said.contains("speaks for the stores of site a"), "{said}");
    assert!(!Path::new(&bob).exists(), "nobody was signed");

    let init = ["init", "--operator", "ann", "--issuer", &people, "--tls", &ann];
    let founded = wait::until("the store waits to be founded", async || {
        let output = scene.run(&init).await;
        output.status.success().then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    });
    let said = founded.await;
    assert!(said.contains("spiffe://founded.example/operator/ann"), "{said}");
    let again = refused(&scene, &init).await;
    assert!(again.contains("exists") || again.contains("already"), "{again}");
    // Who comes second, or reaches nobody, is left with no certificate.
    let second = refused(&scene, &["init", "--operator", "bob", "--issuer", &people, "--tls", &bob]).await;
    assert!(second.contains("already"), "{second}");
    let silent = ["init", "--operator", "bob", "--issuer", &people, "--tls", &bob, "--at", &http];
    refused(&scene, &silent).await;
    assert!(!Path::new(&bob).exists());

    // He is an operator from then on, on record as who founded the fleet; nobody without a certificate is told anything.
    wait::until("the fleet says how its trust stands", async || {
        scene.run(&["trust", "status", "--tls", &ann]).await.status.success().then_some(())
    })
    .await;
    let audit = done(&scene, &["sql", "--tls", &ann, "-e", "SHOW AUDIT"]).await;
    assert!(audit.contains("init") && audit.contains("operator/ann"), "{audit}");
    assert!(!scene.run(&["status"]).await.status.success());
    running.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_whose_certificate_cannot_be_kept_is_told_how_to_get_another() {
    let Some(unfounded) = Unfounded::prepare().await else { return };
    let (scene, people) = (&unfounded.scene, &unfounded.people);
    // Where a file is, no folder can be.
    std::fs::write(scene.path("file"), "").unwrap();
    let (nowhere, ann) = (unfounded.path("file/ann"), unfounded.path("ann"));
    let said = wait::until("the fleet is founded, and nobody gets a certificate", async || {
        let output = scene.run(&["init", "--operator", "ann", "--issuer", people, "--tls", &nowhere]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        said.contains("could not be kept").then_some(said)
    });
    let said = said.await;
    let again = format!("holdfast ca leaf --issuer {people} --operator ann -o ");
    assert!(said.contains("exists") && said.contains(&again), "{said}");
    // What it names makes the same operator.
    done(scene, &["ca", "leaf", "--issuer", people, "--operator", "ann", "-o", &ann]).await;
    wait::until("the fleet says how its trust stands", async || {
        scene.run(&["trust", "status", "--tls", &ann]).await.status.success().then_some(())
    })
    .await;
}

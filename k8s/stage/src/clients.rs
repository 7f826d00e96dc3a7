//! Programs as a user has them: each in a pod of its own, outside of the fleet's namespace, with the label that lets it through and the certificate
//! of a client.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::Stage;
use crate::authority::PROGRAM_SECRET;

/// Where the pods are.
pub(crate) const NAMESPACE: &str = "default";
/// The pod of a program that runs once.
const ONCE: &str = "program";
/// Where its certificate is in a pod.
const TLS_FOLDER: &str = "/etc/holdfast-tls";
/// The group of the image's user.
const GROUP: u32 = 65_532;
/// The owner and the group read the key, and nobody else: the program refuses one that others can read.
const FILE_MODE: u32 = 0o440;

/// What a program came to that ran in a pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// What it ended with.
    pub code: i64,
    /// What it said, errors too.
    pub said: String,
}

impl Stage {
    /// The address at which programs find the stores of their own site.
    pub fn service(&self) -> String {
        format!("{}.{}.svc:7300", self.fleet.name, self.fleet.namespace)
    }

    /// The labels of a program that the stores' walls let through.
    pub fn labels_of_client(&self) -> Value {
        json!({"holdfast.dev/client": self.fleet.name})
    }

    /// Runs a command of the program once as a client in a site, and gives what it said.
    pub fn client(&self, site: &str, arguments: &[&str]) -> Result<String> {
        let service = self.service();
        let all: Vec<_> = arguments.iter().copied().chain(["--at", &service]).collect();
        let Ended { code, said } = self.run_once(site, ONCE, &self.labels_of_client(), &all)?;
        if code != 0 {
            bail!("{} in a pod of {site}: {code}: {said}", all.join(" "));
        }
        Ok(said)
    }

    /// Runs a command of the program once in a pod with these labels. It has a certificate whatever they are.
    pub fn run_once(&self, site: &str, name: &str, labels: &Value, arguments: &[&str]) -> Result<Ended> {
        self.clusters.apply(site, &self.program_pod(name, labels, arguments).to_string())?;
        let ended = self.until(&format!("{name} ends in {site}"), || {
            let get = ["get", "pod", "--namespace", NAMESPACE, name, "--output", "json"];
            let seen: Value = serde_json::from_str(&self.clusters.kubectl(site, get).ok()?).ok()?;
            let code = seen["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64()?;
            let said = self.clusters.kubectl(site, ["logs", "--namespace", NAMESPACE, name]).ok()?;
            Some(Ended { code, said })
        });
        // Otherwise the next one of this name could not be applied.
        self.remove_program(site, name);
        ended
    }

    /// Removes the pod of a program.
    pub(crate) fn remove_program(&self, site: &str, name: &str) {
        let delete = ["delete", "pod", "--namespace", NAMESPACE, name, "--force", "--ignore-not-found"];
        // It is in nobody's way when it stays.
        let _ = self.clusters.kubectl(site, delete);
    }

    /// The pod of a program.
    pub(crate) fn program_pod(&self, name: &str, labels: &Value, arguments: &[&str]) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "enableServiceLinks": false,
                "securityContext": {"fsGroup": GROUP},
                "containers": [{
                    "name": "program",
                    "image": self.fleet.image,
                    "args": arguments,
                    "env": [{"name": "HOLDFAST_TLS", "value": TLS_FOLDER}],
                    "volumeMounts": [{"name": "tls", "mountPath": TLS_FOLDER, "readOnly": true}],
                }],
                "volumes": [{"name": "tls", "secret": {"secretName": PROGRAM_SECRET, "defaultMode": FILE_MODE}}],
            },
        })
    }
}

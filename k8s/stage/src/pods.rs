//! Pods of stores, and what Kubernetes says of them.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{FleetFile, Stage};

/// The pod of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its site.
    pub site: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Pod {
    pub(crate) fn new(fleet: &FleetFile, site: &str, ordinal: u32) -> Pod {
        let name = format!("{}-{site}-{ordinal}", fleet.name);
        Pod { site: site.to_owned(), namespace: fleet.namespace.clone(), name }
    }

    /// The claim of its volume.
    pub fn claim(&self) -> String {
        format!("data-{}", self.name)
    }
}

impl Stage {
    /// kubectl in the fleet's namespace of a site.
    pub fn kubectl(&self, site: &str, arguments: &[&str]) -> Result<String> {
        let all = ["--namespace", &self.fleet.namespace].into_iter().chain(arguments.iter().copied());
        Ok(self.clusters.kubectl(site, all)?)
    }

    /// An object as the API server has it. `None`: it is not there.
    pub fn object(&self, site: &str, kind: &str, name: &str) -> Result<Option<Value>> {
        let told = self.kubectl(site, &["get", kind, name, "--output", "json", "--ignore-not-found"])?;
        if told.is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&told).map(Some).with_context(|| format!("{kind} {name} is not JSON"))
    }

    /// A pod as the API server has it. `None`: it is not there, or nobody answers.
    pub fn seen(&self, pod: &Pod) -> Option<Value> {
        self.object(&pod.site, "pod", &pod.name).ok().flatten()
    }

    /// Whether a pod is ready, and stays: one that was told to go is ready on until its probe is asked the next time.
    pub fn is_ready(&self, pod: &Pod) -> bool {
        let Some(seen) = self.seen(pod).filter(|seen| seen["metadata"]["deletionTimestamp"].is_null()) else {
            return false;
        };
        let conditions = seen["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    }

    /// Waits until a pod is ready.
    pub fn ready(&self, pod: &Pod) -> Result<()> {
        self.until(&format!("{} is ready", pod.name), || self.is_ready(pod).then_some(()))
    }

    /// How often its container was started anew.
    pub fn restarts(&self, pod: &Pod) -> Option<u64> {
        self.seen(pod)?["status"]["containerStatuses"][0]["restartCount"].as_u64()
    }

    /// Its address.
    pub fn address(&self, pod: &Pod) -> Option<String> {
        Some(self.seen(pod)?["status"]["podIP"].as_str()?.to_owned())
    }

    /// What its container said, with what it said before it was started anew when `previous`.
    pub fn log(&self, pod: &Pod, previous: bool) -> Result<String> {
        let mut arguments = vec!["logs", pod.name.as_str()];
        if previous {
            arguments.push("--previous");
        }
        self.kubectl(&pod.site, &arguments)
    }
}

//! A load from a pod of a site: a program as a user's, which works for a while and then reads back what it wrote.

use anyhow::{Context, Result};
use holdfast_benches::workload::Totals;
use serde::Deserialize;

use crate::Stage;
use crate::clients::NAMESPACE;

/// Clients of each load.
const CLIENTS: u32 = 8;
/// Rows of each load.
const ROWS: u32 = 400;

/// A load that runs.
pub struct Drill {
    site: String,
    name: String,
}

/// What `holdfast load --json` says.
#[derive(Clone, Debug, Deserialize)]
pub struct Found {
    /// The site that the load ran in.
    pub site: String,
    /// Operations a second.
    pub operations_per_second: f64,
    /// What it came to.
    #[serde(flatten)]
    pub totals: Totals,
}

impl Found {
    /// Something was done, and no client saw anything.
    pub fn is_clean(&self) -> bool {
        self.totals.is_clean() && self.totals.acknowledged > 0
    }
}

impl Stage {
    /// Starts a load in a pod of a site, and waits until it works.
    pub fn start_load(&self, site: &str, name: &str, seconds: u32) -> Result<Drill> {
        let pod = self.load_pod(site, name, seconds);
        self.clusters.apply(site, &pod.to_string())?;
        let drill = Drill { site: site.to_owned(), name: name.to_owned() };
        self.until(&format!("the load of {site} works"), || {
            let said = self.clusters.kubectl(site, ["logs", "--namespace", NAMESPACE, name]).ok()?;
            said.contains("the load runs").then_some(())
        })?;
        Ok(drill)
    }

    /// Waits for the end of a load and gives what it found.
    pub fn end_load(&self, drill: &Drill) -> Result<Found> {
        let Drill { site, name } = drill;
        self.until(&format!("the load of {site} ends"), || {
            let phase = ["get", "pod", "--namespace", NAMESPACE, name, "--output", "jsonpath={.status.phase}"];
            matches!(self.clusters.kubectl(site, phase).ok()?.as_str(), "Succeeded" | "Failed").then_some(())
        })?;
        let said = self.clusters.kubectl(site, ["logs", "--namespace", NAMESPACE, name])?;
        let told = said.lines().rfind(|line| line.starts_with('{'));
        let told = told.with_context(|| format!("the load of {site} failed: {said}"))?;
        self.forget_load(drill);
        serde_json::from_str(told).context("holdfast load says something else than expected")
    }

    /// Removes the pod of a load.
    pub fn forget_load(&self, drill: &Drill) {
        self.remove_program(&drill.site, &drill.name);
    }

    fn load_pod(&self, site: &str, name: &str, seconds: u32) -> serde_json::Value {
        let at = self.service();
        let prefix = format!("{name}/{site}/");
        let arguments = [
            "load",
            "--json",
            "--at",
            &at,
            "--site",
            site,
            "--prefix",
            &prefix,
            "--seconds",
            &seconds.to_string(),
            "--clients",
            &CLIENTS.to_string(),
            "--rows",
            &ROWS.to_string(),
        ];
        self.program_pod(name, &self.labels_of_client(), &arguments)
    }
}

//! A fleet of Holdfast on the clusters: what the demo and the tests of pods' lives share.
//!
//! Everything is done as a user would: the program makes certificates and renders, kubectl and `holdfast fleet` apply, an operator asks and changes
//! the fleet over a forwarded port, and programs read and write in pods of their own.
//!
//! - `authority`: certificates, and the Secrets with them
//! - `file`: the fleet file
//! - `operator`: commands for the fleet
//! - `clients`, `load`: programs in pods
//! - `pods`: what Kubernetes says of the stores' pods
//! - `status`: what the program says of the fleet

mod authority;
mod clients;
mod command;
pub mod demo;
mod file;
mod load;
mod operator;
mod pods;
mod programs;
mod status;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

pub use clients::Ended;
pub use file::FleetFile;
pub use load::{Drill, Found};
pub use pods::Pod;
pub use programs::Programs;
pub use status::{RangeStatus, ReplicaStatus, ShownTrust, SiteStatus, Status, StoreStatus, StoreTrust, TrustStatus};

use anyhow::{Context, Result, bail};
use holdfast_testkit::{Clusters, Options};

use authority::Authority;
use command::Beside;
use operator::Forward;

/// How often a state is asked for.
const POLL_EVERY: Duration = Duration::from_millis(200);
/// Far beyond what any state takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The clusters with the image on them, and the file of a fleet.
pub struct Stage {
    /// The clusters.
    pub clusters: Clusters,
    /// The fleet file; written again by [`Stage::write`] after a change.
    pub fleet: FleetFile,
    programs: Programs,
    authority: Authority,
    sync: Option<Beside>,
    /// Ways to pods, by the pods' names.
    ways: RefCell<BTreeMap<String, Forward>>,
}

impl Stage {
    /// Boots the clusters, packs the image and loads it into every node, and gives every site its certificates.
    pub fn up(options: &Options, programs: Programs, fleet: &str) -> Result<Stage> {
        let clusters = Clusters::up(options)?;
        let image = programs.image(&clusters.folder().join("image"))?;
        clusters.load_image(&image.archive)?;
        let mut file = FleetFile::new(fleet, &image.reference);
        for site in clusters.sites() {
            let jsonpath = "jsonpath={.metadata.uid}";
            let uid = clusters.kubectl(&site.name, ["get", "namespace", "kube-system", "--output", jsonpath])?;
            file.add_site(&site.name, &uid, &site.pod_cidr());
        }
        let authority = Authority::new(&programs, clusters.folder().join("authority"), &file.domain())?;
        let stage = Stage { clusters, fleet: file, programs, authority, sync: None, ways: RefCell::default() };
        stage.write()?;
        stage.hand_out_certificates()?;
        Ok(stage)
    }

    /// The fleet file.
    pub fn path(&self) -> PathBuf {
        self.clusters.folder().join("fleet.yaml")
    }

    /// Writes the fleet file as it now is.
    pub fn write(&self) -> Result<()> {
        std::fs::write(self.path(), self.fleet.text())
            .with_context(|| format!("cannot write {}", self.path().display()))
    }

    /// Names of the sites.
    pub fn sites(&self) -> Vec<String> {
        self.clusters.sites().iter().map(|site| site.name.clone()).collect()
    }

    /// `holdfast fleet VERB FILE ARGUMENTS` of an operator, where API servers are reached; not started yet.
    pub fn fleet_command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = self.as_operator();
        command.args(["fleet", verb]).arg(self.path()).args(arguments);
        command
    }

    /// The same, run to its end.
    pub fn fleet(&self, verb: &str, arguments: &[&str]) -> Result<String> {
        command::output(&mut self.fleet_command(verb, arguments))
    }

    /// Renders the trees of all sites; gives the folder.
    pub fn render(&self) -> Result<PathBuf> {
        let out = self.clusters.folder().join("rendered");
        self.fleet("render", &["--out", &out.display().to_string()])?;
        Ok(out)
    }

    /// Applies the rendered tree of a site with kubectl alone.
    pub fn apply_tree(&self, site: &str) -> Result<()> {
        let tree = self.render()?.join(site);
        let tree = tree.display().to_string();
        // As the owner that `holdfast fleet apply` is: it takes over nothing that somebody else wrote.
        self.clusters.kubectl(site, ["apply", "--server-side", "--field-manager", "holdfast", "--kustomize", &tree])?;
        Ok(())
    }

    /// Keeps the mirrored addresses up to date from now on, as a fleet's operators do.
    pub fn keep_synced(&mut self) -> Result<()> {
        let log = self.clusters.folder().join("sync.log");
        self.sync = Some(Beside::start(&mut self.fleet_command("sync", &["--watch"]), &log)?);
        Ok(())
    }

    /// Founds the fleet on the first store of a site.
    pub fn found(&self, site: &str) -> Result<String> {
        self.operate(&self.pod(site, 0), &["init"])
    }

    /// Cuts the ranges so that every site can lead some: the loads' keys begin with their names, and what is written by hand lies among them.
    pub fn split(&self, pod: &Pod) -> Result<()> {
        let cuts: Vec<_> = ["d", "h", "l", "p", "t"].iter().map(|key| format!("SPLIT AT '{key}';")).collect();
        self.operate(pod, &["sql", "--quiet", "--execute", &cuts.concat()])?;
        self.until("every site leads a range", || {
            let led = self.status(pod).ok()?.sites;
            (led.len() == self.sites().len() && led.iter().all(|site| site.leaders > 0)).then_some(())
        })
    }

    /// The pod of a store.
    pub fn pod(&self, site: &str, ordinal: u32) -> Pod {
        Pod::new(&self.fleet, site, ordinal)
    }

    /// What the fleet says of itself, asked of the store in this pod.
    pub fn status(&self, pod: &Pod) -> Result<Status> {
        let told = self.operate(pod, &["status", "--ranges", "--json"])?;
        serde_json::from_str(&told).context("holdfast status says something else than expected")
    }

    /// Which certificates its stores have, asked of the store in this pod. An error also while something is amiss with any of them.
    pub fn trust(&self, pod: &Pod) -> Result<TrustStatus> {
        let told = self.operate(pod, &["trust", "status", "--json"])?;
        serde_json::from_str(&told).context("holdfast trust status says something else than expected")
    }

    /// Waits until the fleet, asked in the first pod of a site, has so many live stores, and every range is led and has a caught-up replica in
    /// three sites.
    pub fn settled(&self, site: &str, stores: usize) -> Result<Status> {
        let pod = self.pod(site, 0);
        self.until("the fleet is whole", || {
            let status = self.status(&pod).ok()?;
            (status.alive() == stores && status.is_whole()).then_some(status)
        })
    }

    /// Waits for a state, with a bound that only something broken reaches.
    pub fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(value) = ask() {
                return Ok(value);
            }
            if begun.elapsed() > PATIENCE {
                bail!("not within {} s: {what}; logs are in {}", PATIENCE.as_secs(), self.clusters.folder().display());
            }
            thread::sleep(POLL_EVERY);
        }
    }

    /// Ends everything.
    pub fn down(self) -> Result<()> {
        // What talks to the clusters goes before them.
        drop((self.sync, self.ways));
        Ok(self.clusters.down()?)
    }

    /// Where the program is.
    pub fn holdfast(&self) -> &Path {
        &self.programs.holdfast
    }
}

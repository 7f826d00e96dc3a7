//! Booting sites and nodes, for the first time and again.

use super::{Clusters, in_parallel};
use crate::cert_manager;
use crate::command::output;
use crate::config::{Context, write_kubeconfigs, write_node};
use crate::error::{At, Error, Result};
use crate::objects;
use crate::pki::Pki;
use crate::plan::{Node, Site};
use crate::ready::{self, Awaited};
use crate::requirements;
use crate::sandbox;
use crate::state::{self, make_folder};
use crate::tools::Extra;
use std::ffi::OsStr;
use std::fs;
use std::time::{Duration, Instant, SystemTime};

/// How long nodes may take until they are ready. On an idle machine it is 15 s.
const READY_LIMIT: Duration = Duration::from_secs(240);
/// How long the API server may take to serve kinds that are new to it. On an idle machine it is a second.
const KINDS_LIMIT: Duration = Duration::from_secs(60);
/// How often a node is asked whether it has started its programs.
const POLL: Duration = Duration::from_millis(50);
/// How many lines of a log an error repeats.
const LOG_LINES: usize = 10;

impl Clusters {
    pub(super) fn boot(&self) -> Result<()> {
        make_folder(&self.state.images())?;
        self.instance.tools.write_pause_image(&self.state.images().join("pause.tar"))?;
        write_kubeconfigs(&self.state, &self.sites)?;
        requirements::room_for(self.all_nodes().count())?;
        self.fabric().make()?;
        in_parallel(self.sites.iter().collect(), |site| {
            Pki::of(&self.state.site(site)).complete(site)?;
            self.start_nodes(site, &site.nodes)?;
            self.apply(&site.name, &objects::manifest(&self.state, site, &site.nodes)?)?;
            if self.instance.has(Extra::CertManager) {
                self.install_cert_manager(&site.name)?;
            }
            Ok(())
        })
    }

    /// Gives a site cert-manager's kinds of objects, and its process the rights to work on them; returns when the API server serves them.
    fn install_cert_manager(&self, site: &str) -> Result<()> {
        // The rights come first: the process waits for the kinds and begins as soon as it sees them.
        self.apply(site, &cert_manager::rights())?;
        let kinds = self.instance.tools.certificate_kinds();
        self.kubectl(site, [OsStr::new("apply"), "--server-side".as_ref(), "--filename".as_ref(), kinds.as_ref()])?;
        let limit = format!("--timeout={}s", KINDS_LIMIT.as_secs());
        let mut wait = self.kubectl_command(site)?;
        wait.args(["wait", "--for=condition=Established", &limit, "--filename"]).arg(&kinds);
        output(&mut wait).map(drop)
    }

    /// Gives a site back its power: boots all its nodes that are without, and returns when they are ready.
    pub fn bring_back(&self, site: &str) -> Result<()> {
        let site = self.site(site)?;
        let dead = site.nodes.iter().filter(|node| !self.cgroup(node).is_alive());
        let dead: Vec<_> = dead.cloned().collect();
        self.start_nodes(site, &dead)
    }

    /// Gives one node back its power.
    pub fn bring_back_node(&self, site: &str, number: u8) -> Result<()> {
        let (site, node) = self.node(site, number)?;
        if self.cgroup(node).is_alive() {
            return Err(Error::Invalid(format!("{} is running already", node.name)));
        }
        self.start_nodes(site, std::slice::from_ref(node))
    }

    /// Adds a node to a site and returns its number.
    pub fn add_node(&mut self, site: &str) -> Result<u8> {
        requirements::room_for(1)?;
        self.instance.add_node(site)?;
        state::write_json(&self.state.instance_file(), &self.instance)?;
        self.sites = self.instance.sites();
        let site = self.site(site)?;
        let new = site.nodes.last().expect("one was added").clone();
        Pki::of(&self.state.site(site)).complete(site)?;
        self.start_nodes(site, std::slice::from_ref(&new))?;
        self.apply(&site.name, &objects::manifest(&self.state, site, std::slice::from_ref(&new))?)?;
        Ok(new.number)
    }

    /// Starts nodes that do not run, and waits until they are ready.
    fn start_nodes(&self, site: &Site, nodes: &[Node]) -> Result<()> {
        let since = SystemTime::now();
        // A kubelet tells whole seconds, and may be ready again within the one in which it was started: what it says then would count as said
        // before, and it says nothing more for minutes.
        std::thread::sleep(ready::until_next_second(since));
        for node in nodes {
            let folder = self.state.node(site, node);
            state::remove_file(&folder.started_marker())?;
            let spec = write_node(&Context { state: &self.state, instance: &self.instance, site, node })?;
            self.fabric().connect(&self.instance, site, node)?;
            sandbox::start(&self.instance, node, &folder, &spec)?;
        }
        nodes.iter().try_for_each(|node| self.wait_for_start(site, node))?;
        let hint = |name: &str| {
            let node = nodes.iter().find(|node| node.name == name);
            let last = node.and_then(|node| self.last_words(site, node, 1).ok()).filter(|last| !last.is_empty());
            last.map(|last| format!(" ({last})")).unwrap_or_default()
        };
        let awaited = Awaited {
            nodes: nodes.iter().map(|node| node.name.clone()).collect(),
            since,
            limit: READY_LIMIT,
            hint: &hint,
            logs: self.state.root().join(&site.name),
        };
        let watch = || {
            let mut command = self.kubectl_command(&site.name).expect("the site is one of this instance's");
            command.args(["get", "nodes", "--watch", "--output=json"]);
            command
        };
        awaited.wait(watch)
    }

    /// Waits until a node has started its last programs; they need a moment then.
    fn wait_for_start(&self, site: &Site, node: &Node) -> Result<()> {
        let (folder, begin) = (self.state.node(site, node), Instant::now());
        while !folder.started_marker().exists() {
            if !self.cgroup(node).is_alive() {
                let output = self.last_words(site, node, LOG_LINES)?;
                return Err(Error::Program { program: format!("the sandbox of {}", node.name), output });
            }
            if begin.elapsed() > READY_LIMIT {
                let what = format!("the start of {}", node.name);
                return Err(Error::Timeout { what, limit: READY_LIMIT, logs: folder.logs() });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// The last lines of what a node's first process said: which programs ended, and how.
    fn last_words(&self, site: &Site, node: &Node, lines: usize) -> Result<String> {
        let log = self.state.node(site, node).logs().join("init.log");
        let text = fs::read_to_string(&log).at(&log)?;
        let last: Vec<_> = text.lines().rev().take(lines).collect();
        Ok(last.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}

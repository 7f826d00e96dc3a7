//! The whole of an instance: booting it, talking to it, ending it.

mod boot;
mod faults;
mod status;

pub use status::NodeState;

use crate::command::{output, output_of_input};
use crate::error::{At, Error, Result};
use crate::network::{Fabric, remove_namespace, remove_namespaces};
use crate::plan::{Instance, Node, Options, Site, unknown_site, validate_instance_name};
use crate::requirements;
use crate::sandbox::{self, Cgroup};
use crate::state::{self, State, make_folder};
use crate::tools::Tools;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An instance: some Kubernetes clusters on this machine.
///
/// - One that `up` returned is ended when it is dropped, unless `leave` is called. One that `open` returned is not.
pub struct Clusters {
    instance: Instance,
    state: State,
    sites: Vec<Site>,
    kubeconfig: PathBuf,
    ends_when_dropped: bool,
}

impl Clusters {
    /// Boots an instance and returns when all nodes are ready. Remains of one that crashed are cleared away first.
    pub fn up(options: &Options) -> Result<Clusters> {
        let missing = requirements::missing();
        if !missing.is_empty() {
            return Err(Error::Requirements(missing));
        }
        let program = options.program.clone().map_or_else(sandbox::find_program, Ok)?;
        validate_instance_name(&options.name)?;
        if !options.replace && Clusters::is_alive(&options.name)? {
            let down = format!("`holdfast-clusters down --name {}` ends it", options.name);
            return Err(Error::Invalid(format!("the instance {} is running already: {down}", options.name)));
        }
        let instance = Instance::new(options, program, Tools::build(&options.extras)?)?;
        Clusters::end(&options.name)?;
        let state = State::of(&options.name);
        make_folder(state.root())?;
        state::write_json(&state.instance_file(), &instance)?;
        let mut clusters = Clusters::of(instance, state);
        if let Err(error) = clusters.boot() {
            // The logs stay, until the next `up` or `down`.
            Clusters::end_processes(&options.name)?;
            return Err(error);
        }
        clusters.ends_when_dropped = true;
        Ok(clusters)
    }

    /// Finds a running instance by its name.
    pub fn open(name: &str) -> Result<Clusters> {
        validate_instance_name(name)?;
        let state = State::of(name);
        Ok(Clusters::of(state.instance()?, state))
    }

    fn of(instance: Instance, state: State) -> Clusters {
        let (sites, kubeconfig) = (instance.sites(), state.kubeconfig());
        Clusters { instance, state, sites, kubeconfig, ends_when_dropped: false }
    }

    /// The names of all instances that have a folder, running or not.
    pub fn instances() -> Vec<String> {
        State::instances()
    }

    /// Lets the instance run on when this value is dropped.
    pub fn leave(mut self) {
        self.ends_when_dropped = false;
    }

    /// Ends the instance: nothing of it is left.
    pub fn down(mut self) -> Result<()> {
        self.ends_when_dropped = false;
        Clusters::end(&self.instance.name)
    }

    /// Ends whatever there is of an instance of this name, found by name alone: its state may be broken, or gone.
    pub fn end(name: &str) -> Result<()> {
        validate_instance_name(name)?;
        Clusters::end_processes(name)?;
        let state = State::of(name);
        if state.root().exists() {
            fs::remove_dir_all(state.root()).at(state.root())?;
        }
        Ok(())
    }

    fn end_processes(name: &str) -> Result<()> {
        let prefix = Instance::prefix(name);
        let cgroups: Vec<_> = sandbox::names_with_prefix(&prefix)?.into_iter().map(Cgroup::new).collect();
        in_parallel(cgroups.iter().collect(), Cgroup::kill)?;
        in_parallel(cgroups.iter().collect(), Cgroup::remove)?;
        remove_namespaces(&prefix)
    }

    fn is_alive(name: &str) -> Result<bool> {
        let names = sandbox::names_with_prefix(&Instance::prefix(name))?;
        Ok(names.into_iter().any(|cgroup| Cgroup::new(cgroup).is_alive()))
    }

    /// The sites, in the order of their numbers.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// The site of a name.
    pub fn site(&self, name: &str) -> Result<&Site> {
        self.sites.iter().find(|site| site.name == name).ok_or_else(|| unknown_site(name))
    }

    /// The kubeconfig with a context for each site. Its servers are reachable from within the fabric only.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The instance's folder: state, volumes and logs.
    pub fn folder(&self) -> &Path {
        self.state.root()
    }

    /// A command of this machine that will run in the fabric's network namespace, where all nodes and pods are reachable, with
    /// KUBECONFIG set and kubectl in its PATH.
    pub fn command_in_fabric(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.fabric().command(program);
        let mut path = OsString::from(self.instance.tools.client_folder());
        if let Some(before) = std::env::var_os("PATH") {
            path.push(":");
            path.push(before);
        }
        command.env("KUBECONFIG", &self.kubeconfig).env("PATH", path);
        command
    }

    /// kubectl for one site, ready for arguments.
    pub fn kubectl_command(&self, site: &str) -> Result<Command> {
        let site = self.site(site)?;
        let mut command = self.command_in_fabric(self.instance.tools.program("kubectl"));
        command.arg("--context").arg(&site.name);
        Ok(command)
    }

    /// Runs kubectl for one site and returns its output.
    pub fn kubectl<A: AsRef<OsStr>>(&self, site: &str, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        output(self.kubectl_command(site)?.args(arguments))
    }

    /// Applies manifests (YAML or JSON) to one site.
    pub fn apply(&self, site: &str, manifests: &str) -> Result<String> {
        let mut command = self.kubectl_command(site)?;
        output_of_input(command.args(["apply", "--server-side", "-f", "-"]), manifests)
    }

    /// Imports an image (an OCI archive) into every node, also into those that are without power or not there yet, once they start.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        let name = sandbox::name_of(archive)?;
        let file = name.replace(['/', ':'], "_");
        let kept = self.state.images().join(file).with_extension("tar");
        let next = kept.with_extension("next");
        fs::copy(archive, &next).at(archive)?;
        fs::rename(&next, &kept).at(&kept)?;
        let running = self.all_nodes().filter(|(_, node)| self.cgroup(node).is_alive());
        in_parallel(running.collect(), |(site, node)| {
            let folder = self.state.node(site, node);
            sandbox::import(&folder.containerd_socket(), &self.state.images(), &folder.imported())
        })
    }

    fn all_nodes(&self) -> impl Iterator<Item = (&Site, &Node)> {
        self.sites.iter().flat_map(|site| site.nodes.iter().map(move |node| (site, node)))
    }

    fn node(&self, site: &str, number: u8) -> Result<(&Site, &Node)> {
        let site = self.site(site)?;
        let node = site.nodes.iter().find(|node| node.number == number);
        let last = site.nodes.len() - 1;
        let node = node.ok_or_else(|| Error::Invalid(format!("{} has nodes 0 to {last}, not {number}", site.name)))?;
        Ok((site, node))
    }

    fn fabric(&self) -> Fabric {
        Fabric::of(&self.instance)
    }

    fn cgroup(&self, node: &Node) -> Cgroup {
        Cgroup::new(self.instance.node(node))
    }
}

impl Drop for Clusters {
    fn drop(&mut self) {
        if self.ends_when_dropped
            && let Err(error) = Clusters::end(&self.instance.name)
        {
            eprintln!("{error}");
        }
    }
}

/// Does something with all items at once; returns the first error.
fn in_parallel<T: Send>(items: Vec<T>, job: impl Fn(T) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(|| job(item))).collect();
        // All of them are waited for before the first error counts.
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        results.into_iter().try_for_each(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

//! The instance: its options, and the names of what it makes on the machine.

use super::{Node, Site};
use crate::error::{Error, Result};
use crate::tools::{Extra, Tools};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The most nodes of one site: their zones are letters, and the machine is one.
const MAX_NODES: u8 = 9;
/// The most sites: their numbers are parts of addresses.
const MAX_SITES: usize = 9;
/// A site's name and a node's number must fit the name of a network device (15 bytes).
const MAX_SITE_NAME: usize = 12;
/// An instance's name is part of paths of sockets (107 bytes).
const MAX_INSTANCE_NAME: usize = 24;

/// What to boot.
#[derive(Clone, Debug)]
pub struct Options {
    /// The instance's name: several of them run side by side without touching each other.
    pub name: String,
    /// The names of the sites, each a Kubernetes cluster of its own.
    pub sites: Vec<String>,
    /// Nodes of each site at the beginning.
    pub nodes: u8,
    /// Whether network policies are enforced (kube-router on each node).
    pub policies: bool,
    /// What each site has beyond Kubernetes.
    pub extras: Vec<Extra>,
    /// Whether a running instance of this name is ended first; otherwise it is an error.
    pub replace: bool,
    /// The binary `holdfast-clusters`; by default the one beside the running program.
    pub program: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            name: "default".to_owned(),
            sites: ["east", "west", "north"].map(str::to_owned).to_vec(),
            nodes: 1,
            policies: true,
            extras: Vec::new(),
            replace: false,
            program: None,
        }
    }
}

/// What is kept of an instance: enough to find everything of it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// Its name.
    pub(crate) name: String,
    /// Whether network policies are enforced.
    pub(crate) policies: bool,
    /// What each site has beyond Kubernetes.
    pub(crate) extras: Vec<Extra>,
    /// The binary that is pid 1 of each node.
    pub(crate) program: PathBuf,
    /// The Kubernetes programs.
    pub(crate) tools: Tools,
    /// Each site's name and number of nodes, in the order of their numbers.
    pub(crate) sites: Vec<(String, u8)>,
}

impl Instance {
    pub(crate) fn new(options: &Options, program: PathBuf, tools: Tools) -> Result<Instance> {
        validate_instance_name(&options.name)?;
        for site in &options.sites {
            validate_name(site, MAX_SITE_NAME, "a site")?;
        }
        let mut names = options.sites.clone();
        names.sort();
        names.dedup();
        if names.is_empty() || names.len() != options.sites.len() || names.len() > MAX_SITES {
            return Err(Error::Invalid(format!("give 1 to {MAX_SITES} sites, each with a name of its own")));
        }
        if options.nodes == 0 || options.nodes > MAX_NODES {
            return Err(Error::Invalid(format!("a site has 1 to {MAX_NODES} nodes, not {}", options.nodes)));
        }
        let sites = options.sites.iter().map(|site| (site.clone(), options.nodes)).collect();
        let (name, extras) = (options.name.clone(), options.extras.clone());
        Ok(Instance { name, policies: options.policies, extras, program, tools, sites })
    }

    /// Whether each site has this.
    pub(crate) fn has(&self, extra: Extra) -> bool {
        self.extras.contains(&extra)
    }

    /// Its sites with their names and addresses.
    pub(crate) fn sites(&self) -> Vec<Site> {
        (1..).zip(&self.sites).map(|(number, (name, nodes))| Site::new(name, number, *nodes)).collect()
    }

    /// Counts one more node of a site.
    pub(crate) fn add_node(&mut self, site: &str) -> Result<()> {
        let (_, nodes) = self.sites.iter_mut().find(|(name, _)| name == site).ok_or_else(|| unknown_site(site))?;
        if *nodes == MAX_NODES {
            return Err(Error::Invalid(format!("{site} has {MAX_NODES} nodes already, the most that there can be")));
        }
        *nodes += 1;
        Ok(())
    }

    /// What the names of its network namespaces and cgroups begin with. The dot ends the instance's name, which has none.
    pub(crate) fn prefix(name: &str) -> String {
        format!("hfc-{name}.")
    }

    /// The network namespace that connects all nodes.
    pub(crate) fn fabric(&self) -> String {
        format!("{}fabric", Instance::prefix(&self.name))
    }

    /// The network namespace and the cgroups of a node.
    pub(crate) fn node(&self, node: &Node) -> String {
        format!("{}{}", Instance::prefix(&self.name), node.name)
    }
}

/// The error of a name that no site has.
pub(crate) fn unknown_site(site: &str) -> Error {
    Error::Invalid(format!("there is no site {site}"))
}

/// Whether an instance may be called so.
pub(crate) fn validate_instance_name(name: &str) -> Result<()> {
    validate_name(name, MAX_INSTANCE_NAME, "an instance")
}

/// Whether a name fits what is made of it: paths, network devices, names in Kubernetes.
fn validate_name(name: &str, most: usize, what: &str) -> Result<()> {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let begins = name.starts_with(|letter: char| letter.is_ascii_lowercase()) && !name.ends_with('-');
    if name.len() <= most && begins && name.chars().all(is_letter) && name != "fabric" {
        return Ok(());
    }
    let rule = format!("1 to {most} lowercase letters, digits and hyphens, a letter first");
    Err(Error::Invalid(format!("\"{name}\" is no name for {what}: {rule}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(options: &Options) -> Result<Instance> {
        Instance::new(options, PathBuf::from("/bin/true"), Tools::default())
    }

    #[test]
    fn names_of_one_instance_never_begin_like_those_of_another() {
        let first = instance(&Options { name: "a".to_owned(), ..Options::default() }).unwrap();
        let second = instance(&Options { name: "a-east".to_owned(), ..Options::default() }).unwrap();
        let node = &first.sites()[0].nodes[0];
        assert_eq!(first.node(node), "hfc-a.east-0");
        assert!(!second.node(node).starts_with(&Instance::prefix("a")));
    }

    #[test]
    fn names_that_fit_no_path_or_device_are_refused() {
        for bad in ["", "A", "a.b", "-a", "a-", "a/b", "thirteen-long"] {
            let options = Options { sites: vec![bad.to_owned()], ..Options::default() };
            assert!(instance(&options).is_err(), "{bad}");
        }
        let twice = Options { sites: vec!["a".to_owned(), "a".to_owned()], ..Options::default() };
        assert!(instance(&twice).is_err());
        assert!(instance(&Options { nodes: 0, ..Options::default() }).is_err());
    }

    #[test]
    fn a_node_more_gets_the_next_number() {
        let mut instance = instance(&Options::default()).unwrap();
        instance.add_node("west").unwrap();
        assert_eq!(instance.sites()[1].nodes.last().unwrap().name, "west-1");
        assert_eq!(instance.sites()[0].nodes.len(), 1);
        assert!(instance.add_node("south").is_err());
    }
}

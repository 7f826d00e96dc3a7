//! The command line.

use clap::{Args, Parser, Subcommand};
use holdfast_testkit::Extra;
use std::ffi::OsString;
use std::path::PathBuf;

/// Three real Kubernetes clusters side by side on this machine, for development.
#[derive(Parser)]
#[command(name = "holdfast-clusters", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which instance is meant.
#[derive(Args)]
pub(crate) struct Instance {
    /// The instance; several run side by side
    #[arg(long, default_value = "default", env = "HOLDFAST_CLUSTERS")]
    pub(crate) name: String,
}

/// What there is beyond Kubernetes.
#[derive(Args)]
pub(crate) struct Extras {
    /// With cert-manager's controllers for CA and self-signed issuers (4 minutes of building the first time)
    #[arg(long)]
    cert_manager: bool,
}

impl Extras {
    /// Those that were asked for.
    pub(crate) fn list(&self) -> Vec<Extra> {
        self.cert_manager.then_some(Extra::CertManager).into_iter().collect()
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Boot three clusters: east, west and north
    Up {
        #[command(flatten)]
        instance: Instance,
        /// Nodes of each cluster
        #[arg(long, default_value_t = 1)]
        nodes: u8,
        /// Do not enforce network policies
        #[arg(long)]
        without_policies: bool,
        #[command(flatten)]
        extras: Extras,
    },
    /// End the clusters and remove everything of them
    Down {
        #[command(flatten)]
        instance: Instance,
    },
    /// Take the power from a cluster, or from one of its nodes
    Kill {
        #[command(flatten)]
        instance: Instance,
        site: String,
        node: Option<u8>,
    },
    /// Give a cluster its power back, or one of its nodes, and wait until it is ready
    Return {
        #[command(flatten)]
        instance: Instance,
        site: String,
        node: Option<u8>,
    },
    /// Let nothing pass between two sites
    Cut {
        #[command(flatten)]
        instance: Instance,
        first: String,
        second: String,
        /// Only from the first to the second
        #[arg(long)]
        one_way: bool,
    },
    /// Undo cuts, delays and losses between two sites, or all of them
    Heal {
        #[command(flatten)]
        instance: Instance,
        #[arg(num_args = 2, value_names = ["FIRST", "SECOND"])]
        sites: Vec<String>,
    },
    /// Make everything between two sites late
    Delay {
        #[command(flatten)]
        instance: Instance,
        first: String,
        second: String,
        /// One way: `25ms`
        latency: humantime::Duration,
        /// At most so much earlier or later
        #[arg(long, default_value = "0ms")]
        jitter: humantime::Duration,
    },
    /// Lose some of the packets between two sites
    Loss {
        #[command(flatten)]
        instance: Instance,
        first: String,
        second: String,
        /// `30%`
        #[arg(value_parser = percent)]
        percent: f64,
    },
    /// Stop every process of a cluster where it is
    Freeze {
        #[command(flatten)]
        instance: Instance,
        site: String,
    },
    /// Let a frozen cluster run on
    Thaw {
        #[command(flatten)]
        instance: Instance,
        site: String,
    },
    /// Show nodes, addresses and what is wrong with links
    Status {
        #[command(flatten)]
        instance: Instance,
    },
    /// Run kubectl for one cluster
    Kubectl {
        #[command(flatten)]
        instance: Instance,
        site: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Import an image (an OCI archive) into every node
    Load {
        #[command(flatten)]
        instance: Instance,
        archive: PathBuf,
    },
    /// Print the path of the kubeconfig with a context for each cluster; use it within `run`
    Kubeconfig {
        #[command(flatten)]
        instance: Instance,
    },
    /// Run a program of this machine where API servers and pods are reachable, with KUBECONFIG set
    Run {
        #[command(flatten)]
        instance: Instance,
        #[arg(last = true, required = true, value_name = "COMMAND")]
        words: Vec<OsString>,
    },
    /// Only build the Kubernetes programs
    Tools {
        #[command(flatten)]
        extras: Extras,
    },
    /// Add a node to a cluster
    AddNode {
        #[command(flatten)]
        instance: Instance,
        site: String,
    },
    #[command(flatten)]
    Inside(Inside),
}

/// What the command starts itself, inside of namespaces.
#[derive(Subcommand)]
pub(crate) enum Inside {
    #[command(hide = true)]
    NodeLaunch { cgroup: String, spec: PathBuf },
    #[command(hide = true)]
    NodeEnter { cgroup: String, spec: PathBuf },
    #[command(hide = true)]
    NodeInit { spec: PathBuf },
    #[command(hide = true)]
    NodeRun { spec: PathBuf },
    #[command(hide = true)]
    FabricInit,
    #[command(hide = true)]
    DelayLines {
        #[arg(long)]
        cgroup: String,
        #[arg(long)]
        listen: PathBuf,
        #[arg(long)]
        detached: bool,
    },
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    number.parse().map_err(|_| format!("{text} is no percentage, such as 30%"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
        assert!(Arguments::try_parse_from(["holdfast-clusters", "heal", "east"]).is_err());
        assert_eq!((percent("30%"), percent("0.5")), (Ok(30.0), Ok(0.5)));
    }

    #[test]
    fn cert_manager_is_there_when_it_is_asked_for() {
        let extras = |words: &[&str]| match Arguments::try_parse_from(words).unwrap().command {
            Command::Up { extras, .. } | Command::Tools { extras } => extras.list(),
            _ => panic!("{words:?} is another command"),
        };
        assert_eq!(extras(&["holdfast-clusters", "up"]), []);
        assert_eq!(extras(&["holdfast-clusters", "tools"]), []);
        assert_eq!(extras(&["holdfast-clusters", "up", "--cert-manager"]), [Extra::CertManager]);
        assert_eq!(extras(&["holdfast-clusters", "tools", "--cert-manager"]), [Extra::CertManager]);
    }
}

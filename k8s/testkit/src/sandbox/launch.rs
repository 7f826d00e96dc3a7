//! From the caller's process into a node's sandbox, by way of util-linux: namespaces are entered by its programs, not by unsafe code.

use super::Cgroup;
use crate::command;
use crate::error::{At, Error, Result};
use crate::plan::{Instance, Node};
use crate::state::NodeFolder;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Starts a node's sandbox, whose network namespace must exist, and returns at once. It belongs to no one: it lives on when the caller ends.
pub(crate) fn start(instance: &Instance, node: &Node, folder: &NodeFolder, spec: &Path) -> Result<()> {
    let log_path = folder.logs().join("init.log");
    let log = File::options().create(true).append(true).open(&log_path).at(&log_path)?;
    let errors = log.try_clone().at(&log_path)?;
    let mut launch = Command::new(&instance.program);
    launch.arg("node-launch").arg(instance.node(node)).arg(spec);
    launch.stdin(Stdio::null()).stdout(log).stderr(errors);
    let status = launch.status().map_err(|e| command::failed(&launch, &e.to_string()))?;
    if status.success() {
        return Ok(());
    }
    Err(command::failed(&launch, &format!("{status}; see {}", log_path.display())))
}

/// The hidden subcommand that joins the node's cgroups, enters its network namespace and leaves everything else of the caller behind.
pub fn node_launch(name: &str, spec: &Path) -> Result<()> {
    let own = std::env::current_exe().at(Path::new("/proc/self/exe"))?;
    // A session of its own: no terminal's signals reach the node, and nobody waits for it.
    rustix::process::setsid().map_err(std::io::Error::from).at(&own)?;
    let cgroup = Cgroup::new(name.to_owned());
    cgroup.remove()?;
    cgroup.join()?;
    let mut enter = Command::new("nsenter");
    enter.arg(format!("--net=/run/netns/{name}")).args(["--", "unshare", "--cgroup", "--"]);
    enter.arg(own).arg("node-enter").arg(name).arg(spec);
    enter.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
    enter.spawn().map(drop).map_err(|e| command::failed(&enter, &e.to_string()))
}

/// The hidden subcommand between: the cgroup namespace has the node's cgroup as its root, the other namespaces follow. Returns only an error.
pub fn node_enter(name: &str, spec: &Path) -> Result<()> {
    let own = std::env::current_exe().at(Path::new("/proc/self/exe"))?;
    Cgroup::new(name.to_owned()).hand_down_controllers()?;
    let mut enter = Command::new("unshare");
    enter.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "--ipc", "--"]);
    enter.arg(own).arg("node-init").arg(spec);
    let error = enter.exec();
    Err(command::failed(&enter, &error.to_string()))
}

/// The binary that runs as pid 1 of each node: the running program, or the one of that name beside it or above it.
pub(crate) fn find_program() -> Result<PathBuf> {
    let own = std::env::current_exe().at(Path::new("/proc/self/exe"))?;
    let found =
        own.ancestors().skip(1).take(3).map(|folder| folder.join("holdfast-clusters")).find(|path| path.is_file());
    found.ok_or_else(|| {
        let build = "build it: cargo build --release -p holdfast-testkit";
        Error::Invalid(format!("holdfast-clusters is not beside {} nor above it; {build}", own.display()))
    })
}

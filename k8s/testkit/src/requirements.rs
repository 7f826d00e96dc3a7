//! What the machine must have.

use crate::command::is_installed;
use crate::config::CNI_PLUGINS;
use crate::error::{At, Error, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A program that is needed, and Debian's package of it.
const PROGRAMS: [(&str, &str); 15] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("containerd-shim-runc-v2", "containerd"),
    ("runc", "runc"),
    ("conntrack", "conntrack"),
    ("iptables", "iptables"),
    ("ipset", "ipset"),
    ("nft", "nftables"),
    ("ethtool", "ethtool"),
    ("socat", "socat"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("mount", "mount"),
];

/// inotify instances that the programs of one node open as root; the machine limits them for each user.
const INOTIFY_OF_NODE: usize = 8;
const INOTIFY_LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";

/// An error when so many more nodes would run into the machine's limit of inotify instances: kubelets would end again and again.
pub(crate) fn room_for(nodes: usize) -> Result<()> {
    let path = Path::new(INOTIFY_LIMIT);
    let text = fs::read_to_string(path).at(path)?;
    let Ok(limit) = text.trim().parse::<usize>() else { return Ok(()) };
    let (used, wanted) = (inotify_in_use(), nodes * INOTIFY_OF_NODE);
    if used + wanted <= limit {
        return Ok(());
    }
    let say =
        format!("{nodes} more nodes open {wanted} inotify instances; root has {used} of the {limit} that it may have");
    let raised = limit.max(used + wanted).next_multiple_of(256);
    let raise = format!("end another instance, or raise the limit: sysctl fs.inotify.max_user_instances={raised}");
    Err(Error::Invalid(format!("{say}; {raise}")))
}

/// The inotify instances of root's processes.
fn inotify_in_use() -> usize {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let roots = processes.filter(|entry| entry.metadata().is_ok_and(|data| data.uid() == 0));
    let files = roots.flat_map(|entry| fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten());
    files.filter(|file| fs::read_link(file.path()).is_ok_and(|to| to == Path::new("anon_inode:inotify"))).count()
}

/// What this machine lacks, a line each that says what to do; empty: nothing.
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("this needs root: it makes network namespaces, mounts and cgroups".to_owned());
    }
    if !is_installed("go") {
        missing.push("go is missing (1.26 or newer): see https://go.dev/dl".to_owned());
    }
    if !Path::new("/dev/net/tun").exists() {
        missing.push("/dev/net/tun is missing: without it there is no delay between sites".to_owned());
    }
    let lacking: Vec<_> = PROGRAMS.iter().filter(|(program, _)| !is_installed(program)).collect();
    let mut packages: Vec<_> = lacking.iter().map(|(_, package)| *package).collect();
    if !Path::new(CNI_PLUGINS).join("bridge").exists() {
        packages.push("containernetworking-plugins");
    }
    packages.sort_unstable();
    packages.dedup();
    if !packages.is_empty() {
        let line = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
        missing.push(format!("programs are missing; run this line and try again: {line}"));
    }
    missing.extend(crate::sandbox::missing_cgroups());
    missing
}

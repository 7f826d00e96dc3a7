//! What the machine must have.

use crate::command::is_installed;
use crate::config::CNI_PLUGINS;
use std::path::Path;

/// A program that is needed, and Debian's package of it.
const PROGRAMS: [(&str, &str); 14] = [
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
    ("mount", "mount"),
];

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
    packages.dedup();
    if !packages.is_empty() {
        let line = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
        missing.push(format!("programs are missing; run this line and try again: {line}"));
    }
    missing.extend(crate::sandbox::missing_cgroups());
    missing
}

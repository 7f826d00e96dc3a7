//! Network namespaces and the links between them. Made with `ip`; all devices are made inside namespaces, never in the machine's own.

use super::links::{Links, rules};
use crate::command::{output, output_of_input};
use crate::error::{At, Result};
use crate::plan::{ALL_ADDRESSES, GATEWAY, Instance, Node, Site};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The device whose packets a process of ours delays.
pub(super) const DELAY_DEVICE: &str = "delay0";
/// The routing table that leads into it.
const DELAY_TABLE: &str = "100";
/// The mark of the packets that take it.
pub(super) const DELAY_MARK: &str = "1";

/// The namespace that connects all nodes of an instance.
pub(crate) struct Fabric {
    name: String,
    program: PathBuf,
}

impl Fabric {
    pub(crate) fn of(instance: &Instance) -> Fabric {
        Fabric { name: instance.fabric(), program: instance.program.clone() }
    }

    /// Makes the namespace with its rules and routes.
    pub(crate) fn make(&self) -> Result<()> {
        remove_namespace(&self.name)?;
        ip(&["netns", "add", &self.name])?;
        output(self.command(&self.program).arg("fabric-init"))?;
        self.ip(&["link", "set", "lo", "up"])?;
        self.ip(&["address", "add", &format!("{GATEWAY}/32"), "dev", "lo"])?;
        // What has lost its power answers nothing, not even that it cannot be reached.
        self.ip(&["route", "add", "blackhole", ALL_ADDRESSES])?;
        self.ip(&["rule", "add", "fwmark", DELAY_MARK, "table", DELAY_TABLE])
    }

    /// A command that runs inside.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        within(&self.name, program)
    }

    /// Gives a node a namespace of its own, connected to the fabric.
    pub(crate) fn connect(&self, instance: &Instance, site: &Site, node: &Node) -> Result<()> {
        let (name, link, address) = (instance.node(node), node.name.as_str(), node.address.to_string());
        self.disconnect(node);
        remove_namespace(&name)?;
        ip(&["netns", "add", &name])?;
        let gateway = format!("{GATEWAY}/32");
        self.ip(&["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        self.ip(&["link", "set", link, "up"])?;
        self.ip(&["address", "add", &gateway, "dev", link])?;
        self.ip(&["route", "add", &format!("{address}/32"), "dev", link])?;
        self.ip(&["route", "add", &node.pod_cidr, "via", &address, "dev", link, "onlink"])?;
        let inside = |arguments: &[&str]| ip(&[&["-n", &name], arguments].concat());
        inside(&["link", "set", "lo", "up"])?;
        inside(&["address", "add", &format!("{}/32", site.dns_address()), "dev", "lo"])?;
        inside(&["address", "add", &format!("{address}/32"), "dev", "eth0"])?;
        inside(&["link", "set", "eth0", "up"])?;
        inside(&["route", "add", GATEWAY, "dev", "eth0", "scope", "link"])?;
        inside(&["route", "add", "default", "via", GATEWAY])?;
        output_of_input(within(&name, "nft").args(["-f", "-"]), &names_rules(site)).map(drop)
    }

    /// Takes a node off the fabric: nothing comes from it any more, and nothing reaches it.
    pub(crate) fn disconnect(&self, node: &Node) {
        // It may have gone with its namespace, which takes it along when it likes.
        self.ip(&["link", "delete", &node.name]).ok();
    }

    /// Makes the rules between sites those of `links`, all at once.
    pub(crate) fn apply(&self, sites: &[Site], links: &Links) -> Result<()> {
        output_of_input(self.command("nft").args(["-f", "-"]), &rules(sites, links)).map(drop)
    }

    /// Routes marked packets into the device of the process that delays them.
    pub(crate) fn route_delayed(&self) -> Result<()> {
        self.ip(&["route", "replace", "default", "dev", DELAY_DEVICE, "table", DELAY_TABLE])
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        ip(&[&["-n", &self.name], arguments].concat())
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    output(Command::new("ip").args(arguments)).map(drop)
}

/// A command that runs in a network namespace.
fn within(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", namespace_file(namespace).display())).arg("--").arg(program);
    command
}

/// The input of `nft -f` in a node's namespace that lets what runs in the node's own network ask for names, as pods with `hostNetwork` do.
///
/// CoreDNS listens at an address of the range of services, and no service has it: node-local, it answers before kube-proxy runs, and is no
/// endpoint that network policies count. kube-proxy drops what the node itself sends to such an address (its chain `cluster-ips-check` in the
/// output hook; what pods send takes the input hook, and passes). It looks at new connections only, so those to this address are not tracked:
/// the question, and the answer too, whose two addresses are the same one. NodeLocal DNSCache does it this way.
fn names_rules(site: &Site) -> String {
    let hook = "type filter hook output priority raw; policy accept;";
    let rule = format!("oifname \"lo\" ip daddr {} notrack", site.dns_address());
    format!("table ip names {{\n    chain asked-by-the-node {{\n        {hook}\n        {rule}\n    }}\n}}\n")
}

fn namespace_file(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// Removes a network namespace, if there is one of this name.
pub(crate) fn remove_namespace(name: &str) -> Result<()> {
    if namespace_file(name).exists() {
        ip(&["netns", "delete", name])?;
    }
    Ok(())
}

/// Removes all network namespaces of an instance by their names.
pub(crate) fn remove_namespaces(prefix: &str) -> Result<()> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(prefix)).try_for_each(|name| remove_namespace(&name))
}

/// Sysctls of the fabric's namespace: it forwards, and does not mind on which link a packet comes.
const SYSCTLS: [(&str, &str); 5] = [
    ("ip_forward", "1"),
    ("conf/all/rp_filter", "0"),
    ("conf/default/rp_filter", "0"),
    ("conf/all/send_redirects", "0"),
    ("conf/default/send_redirects", "0"),
];

/// The hidden subcommand that runs inside the fabric's namespace once.
pub fn fabric_init() -> Result<()> {
    for (name, value) in SYSCTLS {
        let path = Path::new("/proc/sys/net/ipv4").join(name);
        fs::write(&path, value).at(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_node_itself_asks_is_not_tracked() {
        // Replies to pods leave through their bridge, and network policies let them in as parts of tracked connections.
        let rule = "oifname \"lo\" ip daddr 10.102.0.10 notrack";
        let text = names_rules(&Site::new("west", 2, 1));
        assert!(text.contains(rule) && text.matches("notrack").count() == 1, "{text}");
    }
}

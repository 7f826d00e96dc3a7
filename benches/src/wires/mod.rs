//! Sites as network namespaces of this machine, so that what lies between them can be cut. Linux, root, `ip` and `nft` only.
//!
//! ```text
//!   outside, 10.99.0.254: the bridge, who drives the fleet, clients that are in no site
//!      |           |           |
//!   site 0      site 1      site 2       10.99.0.1, 10.99.0.2, ...: a store each, and clients beside it
//! ```
//!
//! The machine's own network is not touched: every interface is made inside a namespace, and there is no way out. Names bear this
//! process's id; what a killed process left behind is removed by the next one.
//!
//! - [`cut`]: what is cut, as rules of nftables
//! - [`inside`]: threads within a namespace

pub mod cut;
pub mod inside;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, ensure};
use parking_lot::Mutex;

use self::cut::{Cut, End};

/// What all names of namespaces begin with.
const PREFIX: &str = "hf";
/// Names are distinct within a process, too.
static LAID: AtomicU32 = AtomicU32::new(0);
/// The network of the namespaces; it is theirs alone.
const NETWORK: [u8; 3] = [10, 99, 0];
/// The outside's part of the address.
const OUTSIDE: u8 = 254;
/// The most sites: as many as a fleet on this machine has.
const MAX_SITES: usize = 26;

/// Where a program can run: a namespace and its address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The namespace's name.
    pub namespace: String,
    /// Its address.
    pub address: IpAddr,
}

/// Namespaces, joined. Dropping them removes them.
#[derive(Debug)]
pub struct Wires {
    outside: Place,
    sites: Vec<Place>,
    /// What is loaded in each namespace, the outside last.
    rules: Mutex<Vec<String>>,
}

/// Why there can be no namespaces here; `None`: there can.
#[must_use]
pub fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        if Command::new(program).arg("-V").output().is_err() {
            return Some(format!("there is no program `{program}` (Debian's package {package})"));
        }
    }
    Wires::lay(1).err().map(|error| format!("no network namespaces: {error:#}"))
}

impl Wires {
    /// Makes namespaces for so many sites, and the outside.
    pub fn lay(sites: usize) -> anyhow::Result<Self> {
        ensure!((1..=MAX_SITES).contains(&sites), "there are 1 to {MAX_SITES} sites");
        remove_left_behind()?;
        let name = format!("{PREFIX}-{}-{}", std::process::id(), LAID.fetch_add(1, Ordering::Relaxed));
        let place = |end: &str, last: u8| {
            let [a, b, c] = NETWORK;
            Place { namespace: format!("{name}-{end}"), address: Ipv4Addr::new(a, b, c, last).into() }
        };
        let numbers = 1..=u8::try_from(sites).expect("at most 26 sites");
        let places = numbers.map(|number| place(&(number - 1).to_string(), number)).collect();
        let rules = Mutex::new(vec![String::new(); sites + 1]);
        // Made first: what is laid half is removed, too.
        let wires = Self { outside: place("out", OUTSIDE), sites: places, rules };
        wires.join()?;
        Ok(wires)
    }

    fn join(&self) -> anyhow::Result<()> {
        let outside = &self.outside.namespace;
        make(&self.outside)?;
        // Without the delay of a bridge that looks for loops first.
        ip(&["-n", outside, "link", "add", "bridge", "type", "bridge", "forward_delay", "0"])?;
        up(&self.outside, "bridge")?;
        for (number, site) in self.sites.iter().enumerate() {
            make(site)?;
            let end = format!("site{number}");
            let pair = ["type", "veth", "peer", "name", "uplink", "netns", &site.namespace];
            ip(&[&["-n", outside, "link", "add", &end][..], &pair].concat())?;
            ip(&["-n", outside, "link", "set", &end, "master", "bridge", "up"])?;
            up(site, "uplink")?;
        }
        Ok(())
    }

    /// Where the stores of a site run.
    #[must_use]
    pub fn site(&self, site: usize) -> &Place {
        &self.sites[site % self.sites.len()]
    }

    /// Where everything is in reach that no rule cuts off.
    #[must_use]
    pub fn outside(&self) -> &Place {
        &self.outside
    }

    fn place(&self, end: End) -> &Place {
        match end {
            End::Site(site) => self.site(site),
            End::Outside => &self.outside,
        }
    }

    /// Cuts this and nothing else: what was cut before and is not named again is whole again.
    pub fn cut(&self, cuts: &[Cut]) -> anyhow::Result<()> {
        let mut loaded = self.rules.lock();
        for (place, loaded) in self.sites.iter().chain([&self.outside]).zip(loaded.iter_mut()) {
            let here = cuts.iter().filter(|cut| self.place(cut.to) == place);
            let rules: String = here.flat_map(|cut| cut.rules(self.place(cut.from).address)).collect();
            if rules == *loaded {
                continue;
            }
            load(&place.namespace, &rules)?;
            *loaded = rules;
        }
        Ok(())
    }

    /// Everything is whole again.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.cut(&[])
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for place in self.sites.iter().chain([&self.outside]) {
            // Some may not have been made.
            let _ = ip(&["netns", "del", &place.namespace]);
        }
    }
}

/// A command that runs a program in a namespace; the process that it starts becomes the program.
#[must_use]
pub fn program_in(namespace: &str, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

fn make(place: &Place) -> anyhow::Result<()> {
    ip(&["netns", "add", &place.namespace])?;
    ip(&["-n", &place.namespace, "link", "set", "lo", "up"])?;
    let mut chain = String::from("add table ip cuts\n");
    chain.push_str("add chain ip cuts arriving { type filter hook input priority 0; policy accept; }\n");
    nft(&place.namespace, &chain)
}

fn up(place: &Place, interface: &str) -> anyhow::Result<()> {
    let address = format!("{}/24", place.address);
    ip(&["-n", &place.namespace, "address", "add", &address, "dev", interface])?;
    ip(&["-n", &place.namespace, "link", "set", interface, "up"])
}

/// Replaces the rules of a namespace in one step.
fn load(namespace: &str, rules: &str) -> anyhow::Result<()> {
    nft(namespace, &format!("flush chain ip cuts arriving\n{rules}"))
}

fn nft(namespace: &str, script: &str) -> anyhow::Result<()> {
    let mut command = program_in(namespace, Path::new("nft"));
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("starting nft")?;
    child.stdin.take().context("the input is a pipe")?.write_all(script.as_bytes())?;
    let ended = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "nft: {}", said.trim());
    Ok(())
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let ended = Command::new("ip").args(arguments).stdin(Stdio::null()).output().context("starting ip")?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "ip {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

/// Removes the namespaces of processes that are gone.
fn remove_left_behind() -> anyhow::Result<()> {
    // The folder is made with the first namespace.
    let Ok(entries) = std::fs::read_dir(inside::NAMESPACES) else { return Ok(()) };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let mut words = name.split('-');
        let (Some(PREFIX), Some(Ok(pid))) = (words.next(), words.next().map(str::parse::<u32>)) else { continue };
        if !Path::new("/proc").join(pid.to_string()).exists() {
            // Another process may be faster.
            let _ = ip(&["netns", "del", &name]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_that_is_healed_leaves_no_rule_and_dropped_wires_leave_no_namespace() {
        if let Some(reason) = why_not() {
            println!("SKIPPED: {reason}");
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI runs every test: {reason}");
            return;
        }
        let wires = Wires::lay(2).unwrap();
        let site = wires.site(0).namespace.clone();
        let listed = || {
            let listed = program_in(&site, Path::new("nft")).args(["list", "ruleset"]).output().unwrap();
            String::from_utf8(listed.stdout).unwrap()
        };
        let whole = listed();
        wires.cut(&cut::link(End::Site(0), End::Site(1), cut::Traffic::Port(7400), cut::How::Reject)).unwrap();
        let cut = listed();
        assert!(cut.contains("ip saddr 10.99.0.2 tcp dport 7400 reject with tcp reset"), "{cut}");
        wires.heal().unwrap();
        assert_eq!(listed(), whole);
        drop(wires);
        assert!(!Path::new(inside::NAMESPACES).join(site).exists());
    }
}

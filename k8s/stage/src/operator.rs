//! What an operator does: the program on his own machine, with his certificate, over a forwarded port of a store's pod. What runs in the pod itself
//! has the certificate of a store, which may not change the fleet.
//!
//! A way to a pod is kept, since states are asked for again and again. Before each use Kubernetes is asked whether the pod is still the one that the
//! way leads to: kubectl goes on forwarding to a pod that was deleted for as long as its processes live, and to one that lost its power for ever. When
//! a command fails, the way goes with it: it may have been the reason, and another one takes a moment.
//!
//! This is for what any store answers for the whole fleet. A client that reads and writes keys goes to the stores at the addresses that they say,
//! which are in the pods' network: it runs in a pod ([`Stage::client`]).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::Beside;
use crate::{Pod, Stage, command};

/// Far beyond what kubectl takes; to an API server that stands still it would wait for ever.
const OPENS_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether the way is open.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a look at the pod may take: the API server may stand still too.
const ANSWERS_WITHIN: &str = "--request-timeout=5s";
/// Where kubectl listens, in the network namespace in which it and the program run.
const LOOPBACK: &str = "127.0.0.1";

/// A way to a pod.
pub(crate) struct Forward {
    /// The pod and the life of it that the way leads to.
    pod: String,
    /// Where it begins.
    address: String,
    kubectl: Beside,
}

impl Forward {
    fn open(kubectl: &mut Command, pod: String, log: &Path) -> Result<Forward> {
        let name = command::name(kubectl);
        let begun = Instant::now();
        let mut kubectl = Beside::start(kubectl, log)?;
        loop {
            let ended = kubectl.ended()?;
            let said = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
            if let Some(status) = ended {
                bail!("{name}: {status}: {said}");
            }
            if let Some(address) = address(&said) {
                return Ok(Forward { pod, address, kubectl });
            }
            if begun.elapsed() > OPENS_WITHIN {
                bail!("{name}: not within {} s: {said}", OPENS_WITHIN.as_secs());
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn leads_to(&mut self, pod: &str) -> bool {
        self.pod == pod && matches!(self.kubectl.ended(), Ok(None))
    }
}

/// Where kubectl forwards from, once it has said so.
fn address(said: &str) -> Option<String> {
    let from = said.lines().find_map(|line| line.strip_prefix("Forwarding from "))?;
    // Without the arrow behind it the number may not be written to its end.
    let (address, _) = from.split_once(" -> ")?;
    Some(address.to_owned())
}

impl Stage {
    /// Runs a command of the program as an operator does who has forwarded a port of a store's pod.
    pub fn operate(&self, pod: &Pod, arguments: &[&str]) -> Result<String> {
        let address = self.way_to(pod)?;
        let done = command::output(self.as_operator().args(arguments).env("HOLDFAST_AT", address));
        if done.is_err() {
            self.ways.borrow_mut().remove(&pod.name);
        }
        done
    }

    /// The program with the certificate of an operator, where API servers are reached and ways begin.
    pub(crate) fn as_operator(&self) -> Command {
        let mut command = self.clusters.command_in_fabric(&self.programs.holdfast);
        command.env("HOLDFAST_TLS", self.authority.operator());
        command
    }

    fn way_to(&self, pod: &Pod) -> Result<String> {
        // A pod that comes back after its machine lost its power is the same to Kubernetes, but for its address.
        let life = "jsonpath={.metadata.uid} {.status.podIP}";
        let life = self.kubectl(&pod.site, &["get", "pod", &pod.name, "--output", life, ANSWERS_WITHIN])?;
        let mut ways = self.ways.borrow_mut();
        if let Some(way) = ways.get_mut(&pod.name)
            && way.leads_to(&life)
        {
            return Ok(way.address.clone());
        }
        // Two ways to one pod would write into one log.
        ways.remove(&pod.name);
        let mut kubectl = self.clusters.kubectl_command(&pod.site)?;
        kubectl.args(["port-forward", "--namespace", &pod.namespace, "--address", LOOPBACK, &pod.name, ":7300"]);
        let log = self.clusters.folder().join(format!("forward-{}.log", pod.name));
        let way = Forward::open(&mut kubectl, life, &log)?;
        let address = way.address.clone();
        ways.insert(pod.name.clone(), way);
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_open_once_kubectl_has_said_its_whole_address() {
        assert_eq!(address(""), None);
        assert_eq!(address("Forwarding from 127.0.0.1:37"), None);
        let said = "Forwarding from 127.0.0.1:37871 -> 7300\nHandling connection for 37871\n";
        assert_eq!(address(said).as_deref(), Some("127.0.0.1:37871"));
        assert_eq!(address("error: unable to forward port because pod is not running. Current status=Pending\n"), None);
    }
}

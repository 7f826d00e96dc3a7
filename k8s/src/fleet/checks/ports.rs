//! Every store listens on four ports, and on one more for metrics where they are encrypted.

use crate::fleet::at;
use crate::fleet::finding::Findings;
use crate::fleet::model::Fleet;

/// Two things would listen on one port.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum PortsProblem {
    /// The same port twice.
    #[error("port {port} is for {left} and for {right}{}: choose different ones", if *.left == "heartbeats" || *.right == "heartbeats" { " (heartbeats use the port after the one for stores)" } else { "" })]
    Collision {
        /// The port.
        port: u16,
        /// What it is for.
        left: &'static str,
        /// And what else.
        right: &'static str,
    },
    /// No port.
    #[error("0 is not a port that others can find: choose 1 to 65535")]
    Zero,
    /// No port after the last.
    #[error("heartbeats use the port after the one for stores, and there is none after 65535: choose a lower one")]
    NoHeartbeats,
}

/// Checks the ports.
pub fn check(fleet: &Fleet, findings: &mut Findings<'_>) {
    let ports = fleet.ports;
    let path = |key: &str| at("ports").key(key);
    if ports.stores == u16::MAX {
        return findings.error(path("stores"), PortsProblem::NoHeartbeats);
    }
    let used = [
        ("clients", ports.clients),
        ("stores", ports.stores),
        ("heartbeats", ports.heartbeats()),
        ("http", ports.http),
        ("metrics", ports.metrics),
    ];
    let in_use = if fleet.trust.is_in_force() { used.len() } else { used.len() - 1 };
    for (index, (right, port)) in used.into_iter().take(in_use).enumerate() {
        let key = if right == "heartbeats" { "stores" } else { right };
        if port == 0 {
            findings.error(path(key), PortsProblem::Zero);
        }
        if let Some((left, _)) = used[..index].iter().find(|(_, earlier)| *earlier == port) {
            findings.error(path(key), PortsProblem::Collision { port, left, right });
        }
    }
}

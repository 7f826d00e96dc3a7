//! How an instance is.

use super::Clusters;
use crate::error::Result;
use std::fmt::{self, Display};

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Its processes run.
    Running,
    /// Its processes stand still.
    Frozen,
    /// It has no power.
    Off,
}

impl Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NodeState::Running => "running",
            NodeState::Frozen => "frozen",
            NodeState::Off => "off",
        })
    }
}

impl Clusters {
    /// The state of each node, by its name.
    pub fn node_states(&self) -> Vec<(String, NodeState)> {
        let state = |node| {
            let cgroup = self.cgroup(node);
            match (cgroup.is_alive(), cgroup.is_frozen()) {
                (false, _) => NodeState::Off,
                (true, true) => NodeState::Frozen,
                (true, false) => NodeState::Running,
            }
        };
        self.all_nodes().map(|(_, node)| (node.name.clone(), state(node))).collect()
    }

    /// What is wrong on purpose between sites, a line each.
    pub fn link_states(&self) -> Result<Vec<String>> {
        let links = self.links()?;
        let describe = |(from, to, link): (&str, &str, &crate::network::Link)| {
            let mut parts = vec![format!("{from} to {to}:")];
            if link.is_cut {
                parts.push("cut".to_owned());
            }
            if link.loss > 0 {
                parts.push(format!("loses {}%", link.loss_percent()));
            }
            if let Some(delay) = link.delay {
                let (latency, jitter) = (humantime::format_duration(delay.latency), delay.jitter);
                parts.push(format!("late by {latency}, jitter {}", humantime::format_duration(jitter)));
            }
            parts.join(" ")
        };
        Ok(links.iter().map(describe).collect())
    }
}

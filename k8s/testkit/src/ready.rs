//! Waiting until nodes are ready: by what the API server says as soon as it says it.

use crate::error::{Error, Result};
use k8s_openapi::api::core::v1::Node;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a watch that ended is left alone.
const AGAIN: Duration = Duration::from_millis(300);

/// What is awaited.
pub(crate) struct Awaited<'a> {
    /// The names of the nodes.
    pub(crate) nodes: BTreeSet<String>,
    /// Their kubelets must have said so after this moment: what they said before they were killed stands in the API server for long.
    pub(crate) since: SystemTime,
    /// How long it may take.
    pub(crate) limit: Duration,
    /// What may be wrong with a node of this name, for the error.
    pub(crate) hint: &'a dyn Fn(&str) -> String,
    /// Where to look when it did not happen.
    pub(crate) logs: PathBuf,
}

impl Awaited<'_> {
    /// Waits with the help of a command that watches nodes and writes each as JSON.
    pub(crate) fn wait(&self, watch: impl Fn() -> Command) -> Result<()> {
        let deadline = Instant::now() + self.limit;
        let mut missing = self.nodes.clone();
        while !missing.is_empty() {
            let (mut child, nodes) = self.spawn(watch())?;
            let ended = self.follow(&nodes, deadline, &mut missing);
            // It watches for ever, unless it has lost the API server and is gone.
            child.kill().ok();
            child.wait().ok();
            if ended == Ended::Deadline {
                let names: Vec<_> = missing.iter().map(|name| format!("{name}{}", (self.hint)(name))).collect();
                let what = format!("readiness of {}", names.join(", "));
                return Err(Error::Timeout { what, limit: self.limit, logs: self.logs.clone() });
            }
            if !missing.is_empty() {
                std::thread::sleep(AGAIN);
            }
        }
        Ok(())
    }

    fn spawn(&self, mut command: Command) -> Result<(Child, Receiver<Node>)> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| crate::command::failed(&command, &e.to_string()))?;
        let output = child.stdout.take().expect("output is piped");
        Ok((child, read_nodes(output)))
    }

    fn follow(&self, nodes: &Receiver<Node>, deadline: Instant, missing: &mut BTreeSet<String>) -> Ended {
        while !missing.is_empty() {
            match nodes.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(node) if is_ready(&node, self.since) => {
                    missing.remove(node.metadata.name.as_deref().unwrap_or_default());
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Ended::Deadline,
                Err(RecvTimeoutError::Disconnected) => return Ended::Watch,
            }
        }
        Ended::Watch
    }
}

#[derive(PartialEq, Eq)]
enum Ended {
    Watch,
    Deadline,
}

fn read_nodes(output: ChildStdout) -> Receiver<Node> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let nodes = serde_json::Deserializer::from_reader(output).into_iter::<Node>();
        for node in nodes.map_while(|node| node.ok()) {
            if sender.send(node).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Whether a node's kubelet said after a moment that it is ready. Its clock has whole seconds.
pub(crate) fn is_ready(node: &Node, since: SystemTime) -> bool {
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|condition| condition.type_ == "Ready" && condition.status == "True").any(|condition| {
        condition
            .last_heartbeat_time
            .as_ref()
            .is_some_and(|time| u64::try_from(time.0.as_second()).is_ok_and(|at| at > since))
    })
}

/// How long it is until a clock of whole seconds shows another one.
pub(crate) fn until_next_second(now: SystemTime) -> Duration {
    let past = now.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    Duration::from_secs(1).saturating_sub(Duration::from_nanos(past.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kubelet_said_before_it_was_killed_does_not_count() {
        let text = r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "east-0"}, "status": {"conditions":
            [{"type": "Ready", "status": "True", "lastHeartbeatTime": "1970-01-01T00:00:10Z"}]}}"#;
        let node: Node = serde_json::from_str(text).unwrap();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(is_ready(&node, at(9)) && !is_ready(&node, at(10)));
    }

    #[test]
    fn what_is_started_after_the_wait_says_a_later_second() {
        let now = UNIX_EPOCH + Duration::from_millis(9_700);
        assert_eq!(now + until_next_second(now), UNIX_EPOCH + Duration::from_secs(10));
        let now = UNIX_EPOCH + Duration::from_secs(9);
        assert_eq!(now + until_next_second(now), UNIX_EPOCH + Duration::from_secs(10));
    }
}

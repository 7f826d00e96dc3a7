//! What of StatefulSets and pods a gate looks at.

use serde_json::Value;

/// The label with the revision of a pod's template.
const REVISION: &str = "controller-revision-hash";

/// A StatefulSet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SetView {
    /// Counts changes of what is asked for.
    pub generation: i64,
    /// The last one that its controller has seen.
    pub observed: i64,
    /// Pods that are asked for.
    pub replicas: u32,
    /// Pods that are there.
    pub present: u32,
    /// Pods that were ready for `minReadySeconds`.
    pub available: u32,
    /// Pods from this number on are replaced when the template changes.
    pub partition: u32,
    /// The template of pods below the partition.
    pub current_revision: String,
    /// The newest template.
    pub update_revision: String,
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl SetView {
    /// Reads a live StatefulSet.
    #[must_use]
    pub fn of(live: &Value) -> Self {
        let (spec, status) = (&live["spec"], &live["status"]);
        Self {
            generation: live["metadata"]["generation"].as_i64().unwrap_or(0),
            observed: status["observedGeneration"].as_i64().unwrap_or(0),
            replicas: spec["replicas"].as_u64().map_or(1, |_| number(&spec["replicas"])),
            present: number(&status["replicas"]),
            available: number(&status["availableReplicas"]),
            partition: number(&spec["updateStrategy"]["rollingUpdate"]["partition"]),
            current_revision: text(&status["currentRevision"]),
            update_revision: text(&status["updateRevision"]),
        }
    }
}

/// A pod of a store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Its number.
    pub ordinal: u32,
    /// Its process runs: a store that waits to be let in has started and is not ready.
    pub is_started: bool,
    /// It serves.
    pub is_ready: bool,
    /// It is being deleted.
    pub is_leaving: bool,
    /// How far it has come: Pending, Running, Failed, Succeeded.
    pub phase: String,
    /// Why it waits or ended, in Kubernetes' word.
    pub reason: Option<String>,
    /// How often its container was started again.
    pub restarts: u32,
    /// Where it runs.
    pub machine: Option<String>,
    /// The image that it runs, as its template says.
    pub image: String,
    /// The template that it was made from.
    pub revision: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// ConfigMaps that it mounts.
    pub config_maps: Vec<String>,
}

impl PodView {
    /// Reads a live pod of the StatefulSet `set`; `None`: it is another's.
    #[must_use]
    pub fn of(live: &Value, set: &str) -> Option<Self> {
        let name = text(&live["metadata"]["name"]);
        let ordinal = name.strip_prefix(set)?.strip_prefix('-')?.parse().ok()?;
        let (metadata, spec, status) = (&live["metadata"], &live["spec"], &live["status"]);
        let container = &status["containerStatuses"][0];
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
        let volumes = spec["volumes"].as_array().into_iter().flatten();
        Some(Self {
            ordinal,
            is_started: container["started"] == true,
            is_ready: ready.any(|condition| condition["status"] == "True"),
            is_leaving: metadata["deletionTimestamp"].is_string(),
            phase: text(&status["phase"]),
            reason: reason(status, container),
            restarts: number(&container["restartCount"]),
            machine: spec["nodeName"].as_str().map(ToOwned::to_owned),
            image: text(&spec["containers"][0]["image"]),
            revision: text(&metadata["labels"][REVISION]),
            addresses: addresses(status),
            config_maps: volumes.filter_map(|volume| volume["configMap"]["name"].as_str()).map(str::to_owned).collect(),
            name,
        })
    }
}

fn addresses(status: &Value) -> Vec<String> {
    let all = status["podIPs"].as_array().into_iter().flatten();
    let all: Vec<_> = all.filter_map(|entry| entry["ip"].as_str()).map(str::to_owned).collect();
    if all.is_empty() { status["podIP"].as_str().map(str::to_owned).into_iter().collect() } else { all }
}

fn reason(status: &Value, container: &Value) -> Option<String> {
    let unscheduled = status["conditions"].as_array().into_iter().flatten();
    let unscheduled = unscheduled.filter(|one| one["type"] == "PodScheduled" && one["status"] == "False");
    let candidates =
        [&container["state"]["waiting"]["reason"], &container["state"]["terminated"]["reason"], &status["reason"]];
    let all = candidates.into_iter().chain(unscheduled.map(|one| &one["reason"]));
    all.filter_map(Value::as_str).next().map(str::to_owned)
}

/// The pods of a StatefulSet by their numbers.
#[must_use]
pub fn pods(live: &[Value], set: &str) -> Vec<PodView> {
    let mut pods: Vec<_> = live.iter().filter_map(|pod| PodView::of(pod, set)).collect();
    pods.sort_by_key(|pod| pod.ordinal);
    pods
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_tells_how_it_is() {
        let live = json!({
            "metadata": {"name": "prod-a-10", "labels": {REVISION: "r2"}},
            "spec": {"nodeName": "m1", "containers": [{"image": "x@sha256:1"}], "volumes": [{"configMap": {"name": "c1"}}, {"name": "data"}]},
            "status": {
                "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [{"started": true, "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            },
        });
        let pod = PodView::of(&live, "prod-a").unwrap();
        assert_eq!(
            (pod.ordinal, pod.restarts, pod.is_started, pod.is_ready, pod.is_leaving),
            (10, 2, true, false, false)
        );
        assert_eq!(pod.addresses, ["10.0.0.1", "fd00::1"]);
        assert_eq!((pod.reason.as_deref(), pod.machine.as_deref()), (Some("CrashLoopBackOff"), Some("m1")));
        assert_eq!((pod.revision.as_str(), pod.config_maps.as_slice()), ("r2", &["c1".to_owned()][..]));
        // A site whose name begins like this one's.
        assert_eq!(PodView::of(&live, "prod"), None);
    }

    #[test]
    fn a_set_tells_what_is_asked_for_and_what_is_there() {
        let live = json!({
            "metadata": {"generation": 4},
            "spec": {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 3}}},
            "status": {"observedGeneration": 3, "replicas": 2, "availableReplicas": 1, "currentRevision": "a", "updateRevision": "b"},
        });
        let set = SetView::of(&live);
        assert_eq!(
            (set.generation, set.observed, set.replicas, set.present, set.available, set.partition),
            (4, 3, 3, 2, 1, 3)
        );
        assert_eq!((set.current_revision.as_str(), set.update_revision.as_str()), ("a", "b"));
    }
}

//! The pod of a store: what it may not do, what it is told, and how Kubernetes asks for its health.

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource, ExecAction,
    HTTPGetAction, Lifecycle, LifecycleHandler, ObjectFieldSelector, PodAffinityTerm, PodAntiAffinity,
    PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretKeySelector,
    SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Scene, accounts, certificates, config, connectivity, priority};

/// The volume with the data.
pub(super) const VOLUME: &str = "data";
const CONFIG_VOLUME: &str = "config";
const CONFIG_DIR: &str = "/etc/holdfast";
/// The user `nonroot` of images without a system.
const USER: i64 = 65_532;
/// A store gives up its leaders within [`DRAIN_SECONDS`], then serves on for 5 s (its `ready-pause` in a pod), stops within 2 s more, and
/// flushes; a slow disk gets time for that. A kill is safe, only slower to come back from.
const GRACE_SECONDS: i64 = 60;
/// How long a store that is to be stopped may hand its leaders over before it is told to stop.
const DRAIN_SECONDS: u32 = 20;
/// Opening a store replays its log: half an hour at most, asked for every 5 s.
const STARTUP: Asked = Asked { every_seconds: 5, timeout_seconds: 2, failures: 360 };
/// A store that is not ready gets no new connections; it is asked often, since it costs nothing.
const READINESS: Asked = Asked { every_seconds: 5, timeout_seconds: 2, failures: 2 };
/// A store one of whose threads stands still fails after 30 s, and is started anew a minute later. A disk that stands still fails nothing here.
const LIVENESS: Asked = Asked { every_seconds: 10, timeout_seconds: 5, failures: 6 };

struct Asked {
    every_seconds: i32,
    timeout_seconds: i32,
    failures: i32,
}

/// The template of the pods of a site.
pub(super) fn template(scene: &Scene<'_>, config_name: &str) -> PodTemplateSpec {
    let spec = PodSpec {
        affinity: Some(apart(scene)),
        automount_service_account_token: Some(false),
        containers: vec![container(scene)],
        enable_service_links: Some(false),
        priority_class_name: Some(priority::name(scene)),
        security_context: Some(pod_security()),
        service_account_name: Some(accounts::store(scene)),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        topology_spread_constraints: spread(scene),
        volumes: Some(volumes(scene, config_name)),
        ..PodSpec::default()
    };
    let metadata = ObjectMeta { labels: Some(scene.store_labels()), ..ObjectMeta::default() };
    PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) }
}

fn volumes(scene: &Scene<'_>, config_name: &str) -> Vec<Volume> {
    let config = Volume {
        config_map: Some(ConfigMapVolumeSource { name: config_name.to_owned(), ..ConfigMapVolumeSource::default() }),
        name: CONFIG_VOLUME.to_owned(),
        ..Volume::default()
    };
    [config].into_iter().chain(certificates::volume(scene)).collect()
}

fn mounts(scene: &Scene<'_>) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, is_read_only: bool| VolumeMount {
        mount_path: path.to_owned(),
        name: name.to_owned(),
        read_only: is_read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut all = vec![mount(VOLUME, config::VOLUME_DIR, false), mount(CONFIG_VOLUME, CONFIG_DIR, true)];
    if scene.fleet.trust.is_in_force() {
        all.push(mount(certificates::VOLUME, certificates::DIR, true));
    }
    all
}

fn ports(scene: &Scene<'_>) -> Vec<ContainerPort> {
    let ports = scene.fleet.ports;
    let mut all = vec![
        ("clients", ports.clients),
        ("stores", ports.stores),
        ("heartbeats", ports.heartbeats()),
        ("http", ports.http),
    ];
    if scene.fleet.trust.is_in_force() {
        all.push(("metrics", ports.metrics));
    }
    let port = |(name, number): (&str, u16)| ContainerPort {
        container_port: number.into(),
        name: Some(name.to_owned()),
        ..ContainerPort::default()
    };
    all.into_iter().map(port).collect()
}

/// That nothing is encrypted is said twice, since pods listen on more than their own machine; and where everybody sees it who looks at a pod.
fn arguments(scene: &Scene<'_>) -> Vec<String> {
    let all: &[&str] =
        if scene.fleet.trust.is_in_force() { &["start"] } else { &["start", "--insecure", "--insecure"] };
    all.iter().map(ToString::to_string).collect()
}

fn container(scene: &Scene<'_>) -> Container {
    Container {
        args: Some(arguments(scene)),
        env: Some(environment(scene)),
        image: Some(scene.fleet.image.clone()),
        lifecycle: Some(Lifecycle { pre_stop: Some(before_stopping()), ..Lifecycle::default() }),
        liveness_probe: Some(probe("/livez", &LIVENESS)),
        name: "holdfast".to_owned(),
        ports: Some(ports(scene)),
        readiness_probe: Some(probe("/readyz", &READINESS)),
        resources: Some(resources(scene)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        startup_probe: Some(probe("/startz", &STARTUP)),
        // What it said last is what `kubectl describe` shows.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts(scene)),
        ..Container::default()
    }
}

/// Leaders move away, and Services let go of the pod, while it still serves.
fn before_stopping() -> LifecycleHandler {
    let within = format!("{DRAIN_SECONDS}s");
    let command = ["/holdfast", "drain", "--local", "--within", &within];
    let exec = ExecAction { command: Some(command.map(str::to_owned).into()) };
    LifecycleHandler { exec: Some(exec), ..LifecycleHandler::default() }
}

/// What differs from store to store, and what is secret. Everything else is in the configuration file.
fn environment(scene: &Scene<'_>) -> Vec<EnvVar> {
    let value = |name: &str, value: String| EnvVar { name: name.to_owned(), value: Some(value), value_from: None };
    let from = |name: &str, source| EnvVar { name: name.to_owned(), value: None, value_from: Some(source) };
    let field = |name: &str, path: &str| {
        let field = ObjectFieldSelector { field_path: path.to_owned(), ..ObjectFieldSelector::default() };
        from(name, EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() })
    };
    let host = connectivity::advertised_host(scene);
    let ports = scene.fleet.ports;
    let mut all = vec![
        field("POD_NAME", "metadata.name"),
        field("POD_IP", "status.podIP"),
        // Kubernetes gives pods the labels of the machine that they run on since 1.35; before, the zone is empty, which is as good as none.
        field("HOLDFAST_ZONE", "metadata.labels['topology.kubernetes.io/zone']"),
        value("HOLDFAST_CONFIG", format!("{CONFIG_DIR}/{}", config::FILE)),
        value("HOLDFAST_ADVERTISE", format!("{host}:{}", ports.clients)),
        value("HOLDFAST_ADVERTISE_STORE", format!("{host}:{}", ports.stores)),
        value("HOLDFAST_LOG_JSON", true.to_string()),
    ];
    if scene.fleet.trust.is_in_force() {
        // Here rather than in the file, for commands that are run in the pod too.
        all.push(value("HOLDFAST_TLS", certificates::DIR.to_owned()));
    }
    if let Some(token) = &scene.fleet.fleet_token {
        let key = SecretKeySelector { key: token.key.clone(), name: token.secret.clone(), optional: None };
        let source = EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() };
        all.push(from("HOLDFAST_FLEET_TOKEN", source));
    }
    all
}

/// Requests are limits: the pod has what it needs, and is the last to be evicted.
fn resources(scene: &Scene<'_>) -> ResourceRequirements {
    let resources = &scene.shape.resources;
    let all =
        [("cpu", &resources.cpu), ("memory", &resources.memory), ("ephemeral-storage", &resources.ephemeral_storage)];
    let amounts: std::collections::BTreeMap<_, _> =
        all.into_iter().map(|(name, amount)| (name.to_owned(), Quantity(amount.text().to_owned()))).collect();
    ResourceRequirements { limits: Some(amounts.clone()), requests: Some(amounts), ..ResourceRequirements::default() }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        fs_group: Some(USER),
        // Otherwise each start goes through all files of the volume.
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        run_as_group: Some(USER),
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
        ..PodSecurityContext::default()
    }
}

/// Health is local: none of these asks for a quorum, which would take all stores out of service at once.
fn probe(path: &str, asked: &Asked) -> Probe {
    Probe {
        failure_threshold: Some(asked.failures),
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("http".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(asked.every_seconds),
        timeout_seconds: Some(asked.timeout_seconds),
        ..Probe::default()
    }
}

/// Never two stores on one machine.
fn apart(scene: &Scene<'_>) -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(scene.stores()),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![term]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// Stores go over the zones of the site evenly: strictly when each can have a zone of its own.
fn spread(scene: &Scene<'_>) -> Option<Vec<TopologySpreadConstraint>> {
    let zones = u32::try_from(scene.site.zones.len()).unwrap_or(u32::MAX);
    if zones < 2 {
        return None;
    }
    let otherwise = if zones >= scene.shape.stores { "DoNotSchedule" } else { "ScheduleAnyway" };
    Some(vec![TopologySpreadConstraint {
        label_selector: Some(scene.stores()),
        max_skew: 1,
        topology_key: "topology.kubernetes.io/zone".to_owned(),
        when_unsatisfiable: otherwise.to_owned(),
        ..TopologySpreadConstraint::default()
    }])
}

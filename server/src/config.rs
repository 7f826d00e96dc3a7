//! The configuration of a store: defaults, then the file, then the environment, then flags.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

mod explain;
mod security;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_placement::check_identity;
use holdfast_proto::v1;
use holdfast_types::{Principal, SiteName, limits};
use serde::Deserialize;

use crate::cli::StartArgs;

pub use self::security::{Insecure, Security};

/// Clients reach a store here by default.
pub const CLIENT_PORT: u16 = holdfast_types::address::CLIENT_PORT;
/// Other stores reach it here; support heartbeats use the port after it.
pub const STORE_PORT: u16 = 7400;
/// Probes reach it here, and Prometheus where there is no TLS.
pub const HTTP_PORT: u16 = 7500;
/// Prometheus reaches it here where there is.
pub const METRICS_PORT: u16 = 7600;

/// Service endpoints are usually taken out within a second or two; a busy Kubernetes cluster takes longer.
const READY_PAUSE_IN_POD: Duration = Duration::from_secs(5);
/// As long as the values of Kubernetes' labels.
pub const MAX_ZONE_BYTES: usize = 63;

/// The configuration file. Unknown keys are refused.
#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    site: Option<String>,
    site_id: Option<String>,
    zone: Option<String>,
    data_dir: Option<PathBuf>,
    tls: Option<PathBuf>,
    insecure: Option<u8>,
    #[serde(default)]
    join: Vec<String>,
    listen: Option<String>,
    listen_store: Option<String>,
    listen_http: Option<String>,
    listen_metrics: Option<String>,
    advertise: Option<String>,
    advertise_store: Option<String>,
    reads: Option<String>,
    fleet_token: Option<String>,
    join_token: Option<String>,
    bearer_keys: Option<PathBuf>,
    workers: Option<usize>,
    ready_pause: Option<String>,
    audit_retention: Option<String>,
}

impl File {
    fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let bytes = holdfast_files::read(path, limits::CONFIG_FILE_BYTES);
        let bytes = bytes.with_context(|| format!("reading {}", path.display()))?;
        let bytes = bytes.with_context(|| format!("reading {}: there is no such file", path.display()))?;
        Self::decode(&bytes).with_context(|| format!("{} is not a valid configuration", path.display()))
    }

    fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        Ok(toml::from_str(std::str::from_utf8(bytes)?)?)
    }
}

/// Where the store on this machine listens for clients, by the same file and value as [`Config::load`].
pub fn listen_of(config: Option<&Path>, listen: Option<&str>) -> anyhow::Result<SocketAddr> {
    let file = File::read(config)?;
    address(listen.map(str::to_owned).or(file.listen), CLIENT_PORT, "listen")
}

/// Where the certificate of the store on this machine is, by the same file as [`Config::load`]; `given`: what the command line says.
pub fn tls_of(config: Option<&Path>, given: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    Ok(given.map(Path::to_owned).or(File::read(config)?.tls))
}

/// How a store with these arguments is protected, by the same file and values as [`Config::load`].
pub fn security_of(args: &StartArgs) -> anyhow::Result<Security> {
    security(args, &File::read(args.config.as_deref())?)
}

fn security(args: &StartArgs, file: &File) -> anyhow::Result<Security> {
    let insecure = if args.insecure > 0 { args.insecure } else { file.insecure.unwrap_or(0) };
    Security::of(args.tls.clone().or_else(|| file.tls.clone()), insecure)
}

/// A zone is called by letters, digits, dots, dashes and underscores, as Kubernetes' labels are.
pub fn check_zone(name: &str) -> anyhow::Result<()> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.len() > MAX_ZONE_BYTES || !name.chars().all(is_legal) {
        let shown = name.get(..name.floor_char_boundary(2 * MAX_ZONE_BYTES)).unwrap_or_default();
        bail!(
            "zone {shown:?} is no name of a zone: use 1 to {MAX_ZONE_BYTES} letters, digits, dots, dashes and underscores"
        );
    }
    Ok(())
}

/// Everything that `start` needs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The site's label.
    pub site: SiteName,
    /// The site's proof.
    pub site_id: Option<String>,
    /// Where in its site the store is.
    pub zone: Option<String>,
    /// Where the data lives.
    pub data_dir: PathBuf,
    /// Who may reach the ports.
    pub security: Security,
    /// Stores to join by.
    pub join: Vec<String>,
    /// Client gRPC.
    pub listen: SocketAddr,
    /// Store-to-store streams; support heartbeats on the next port (or a free one, when the port is 0).
    pub listen_store: SocketAddr,
    /// HTTP.
    pub listen_http: SocketAddr,
    /// Metrics, with TLS; without it they are where probes are.
    pub listen_metrics: Option<SocketAddr>,
    /// How clients reach this store.
    pub advertise: Option<String>,
    /// How stores reach this store.
    pub advertise_store: Option<String>,
    /// Reads ask a quorum instead of trusting the lease.
    pub quorum_reads: bool,
    /// The shared secret of the fleet; empty: none.
    pub fleet_token: String,
    /// The one-time token to join with; empty: none.
    pub join_token: String,
    /// The keys by which bearer tokens are judged.
    pub bearer_keys: Option<PathBuf>,
    /// Worker threads.
    pub workers: usize,
    /// How long a store that was told to stop serves on, once it says that it is not ready.
    pub ready_pause: Duration,
    /// How long entries of the audit are kept.
    pub audit_retention: Duration,
    /// End when standard input ends.
    pub end_with_stdin: bool,
    /// Where values come from that are not defaults, by key.
    sources: BTreeMap<&'static str, v1::SettingSource>,
}

impl Config {
    /// Puts flags and environment (clap has merged those) over the file over the defaults. `own`: who its certificate says that the store is.
    pub fn load(args: &StartArgs, own: Option<&Principal>) -> anyhow::Result<Self> {
        Self::of(args, File::read(args.config.as_deref())?, own)
    }

    fn of(args: &StartArgs, file: File, own: Option<&Principal>) -> anyhow::Result<Self> {
        let sources = sources(args, &file);
        let security = security(args, &file)?;
        let site = security::site(args.site.as_deref().or(file.site.as_deref()), own, security.folder())?;
        let Some(data_dir) = args.data_dir.clone().or(file.data_dir) else {
            bail!(
                "no data directory given: pass --data-dir PATH, set HOLDFAST_DATA_DIR, or put `data-dir` into the file"
            );
        };
        let bearer_keys = args.bearer_keys.clone().or(file.bearer_keys);
        let listen_metrics = args.listen_metrics.clone().or(file.listen_metrics);
        security.check_only_with_tls(&[
            ("listen-metrics", listen_metrics.is_some()),
            ("bearer-keys", bearer_keys.is_some()),
        ])?;
        let with_tls = security.folder().is_some();
        let listen_metrics = with_tls.then(|| address(listen_metrics, METRICS_PORT, "listen-metrics")).transpose()?;
        let listen = address(args.listen.clone().or(file.listen), CLIENT_PORT, "listen")?;
        let listen_store = address(args.listen_store.clone().or(file.listen_store), STORE_PORT, "listen-store")?;
        let listen_http = address(args.listen_http.clone().or(file.listen_http), HTTP_PORT, "listen-http")?;
        check_ports(listen_store, [listen, listen_store, listen_http].into_iter().chain(listen_metrics))?;
        let advertise = args.advertise.clone().or(file.advertise);
        let advertise_store = args.advertise_store.clone().or(file.advertise_store);
        check_reachable("advertise", advertise.as_deref(), listen)?;
        check_reachable("advertise-store", advertise_store.as_deref(), listen_store)?;
        let told = [("advertise", &advertise), ("advertise-store", &advertise_store)];
        let told = told.into_iter().filter_map(|(key, address)| Some((key, address.clone()?)));
        let own = [("listen", listen), ("listen-store", listen_store), ("listen-http", listen_http)];
        security.check_addresses(own.map(|(key, address)| (key, address.to_string())).into_iter().chain(told))?;
        let quorum_reads = match args.reads.clone().or(file.reads).as_deref() {
            None | Some("lease") => false,
            Some("quorum") => true,
            Some(other) => bail!("reads = {other:?} is not known: use \"lease\" or \"quorum\""),
        };
        let workers = workers(args.workers.or(file.workers))?;
        let ready_pause = ready_pause(args.ready_pause, file.ready_pause.as_deref())?;
        let audit_retention = audit_retention(args.audit_retention, file.audit_retention.as_deref())?;
        let zone = args.zone.clone().or(file.zone);
        if let Some(zone) = &zone {
            check_zone(zone)?;
        }
        let site_id = args.site_id.clone().or(file.site_id);
        if let Some(site_id) = site_id.as_deref().filter(|site_id| !site_id.is_empty()) {
            check_identity(site_id).context("site-id")?;
        }
        Ok(Self {
            zone,
            site,
            site_id: site_id.filter(|site_id| !site_id.is_empty()),
            data_dir,
            security,
            join: if args.join.is_empty() { file.join } else { args.join.clone() },
            listen,
            listen_store,
            listen_http,
            listen_metrics,
            advertise,
            advertise_store,
            quorum_reads,
            fleet_token: args.fleet_token.clone().or(file.fleet_token).unwrap_or_default(),
            join_token: args.join_token.clone().or(file.join_token).unwrap_or_default(),
            bearer_keys,
            workers,
            ready_pause,
            audit_retention,
            end_with_stdin: args.end_with_stdin,
            sources,
        })
    }
}

fn workers(given: Option<usize>) -> anyhow::Result<usize> {
    let workers = given.unwrap_or_else(default_workers);
    let most = usize::from(limits::MAX_WORKERS);
    if !(1..=most).contains(&workers) {
        bail!("workers = {workers} is out of bounds: use 1 to {most}");
    }
    Ok(workers)
}

fn default_workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores / 4).clamp(1, 8)
}

/// True in a pod.
pub fn in_kubernetes() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some_and(|host| !host.is_empty())
}

/// In a pod: what it takes until the machines of a Kubernetes cluster have heard that a pod is leaving, which they are told while it is told to
/// stop. Elsewhere whoever sends clients here is not known, and mostly there is nobody.
fn default_ready_pause(in_kubernetes: bool) -> Duration {
    if in_kubernetes { READY_PAUSE_IN_POD } else { Duration::ZERO }
}

fn ready_pause(given: Option<Duration>, in_file: Option<&str>) -> anyhow::Result<Duration> {
    let read = |text: &str| {
        humantime::parse_duration(text).with_context(|| format!("ready-pause = {text:?} is not a duration like \"5s\""))
    };
    let pause = match (given, in_file) {
        (Some(given), _) => given,
        (None, Some(text)) => read(text)?,
        (None, None) => default_ready_pause(in_kubernetes()),
    };
    let most = limits::MAX_READY_PAUSE;
    if pause > most {
        let (pause, most) = (humantime::format_duration(pause), humantime::format_duration(most));
        bail!("ready-pause = {pause} is too long: use {most} at most, and less than what stops the store allows it");
    }
    Ok(pause)
}

fn audit_retention(given: Option<Duration>, in_file: Option<&str>) -> anyhow::Result<Duration> {
    let read = |text: &str| {
        humantime::parse_duration(text)
            .with_context(|| format!("audit-retention = {text:?} is not a duration like \"90days\""))
    };
    let kept = given.map_or_else(|| in_file.map_or(Ok(limits::AUDIT_RETENTION), read), Ok)?;
    let (least, most) = (limits::AUDIT_RETENTION_MIN, limits::AUDIT_RETENTION_MAX);
    if kept < least || kept > most {
        let [kept, least, most] = [kept, least, most].map(humantime::format_duration);
        bail!("audit-retention = {kept} is out of bounds: use {least} to {most}");
    }
    Ok(kept)
}

/// Where each value comes from that somebody gave.
fn sources(args: &StartArgs, file: &File) -> BTreeMap<&'static str, v1::SettingSource> {
    // clap has merged flags and environment; a flag wins, so the command line tells them apart.
    let on_command_line = |key: &str| {
        let flag = format!("--{key}");
        std::env::args().any(|arg| arg.strip_prefix(&flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
    };
    let given = [
        ("site", args.site.is_some(), file.site.is_some()),
        ("site-id", args.site_id.is_some(), file.site_id.is_some()),
        ("zone", args.zone.is_some(), file.zone.is_some()),
        ("data-dir", args.data_dir.is_some(), file.data_dir.is_some()),
        ("tls", args.tls.is_some(), file.tls.is_some()),
        ("insecure", args.insecure > 0, file.insecure.is_some()),
        ("join", !args.join.is_empty(), !file.join.is_empty()),
        ("listen", args.listen.is_some(), file.listen.is_some()),
        ("listen-store", args.listen_store.is_some(), file.listen_store.is_some()),
        ("listen-http", args.listen_http.is_some(), file.listen_http.is_some()),
        ("listen-metrics", args.listen_metrics.is_some(), file.listen_metrics.is_some()),
        ("advertise", args.advertise.is_some(), file.advertise.is_some()),
        ("advertise-store", args.advertise_store.is_some(), file.advertise_store.is_some()),
        ("reads", args.reads.is_some(), file.reads.is_some()),
        ("fleet-token", args.fleet_token.is_some(), file.fleet_token.is_some()),
        ("join-token", args.join_token.is_some(), file.join_token.is_some()),
        ("bearer-keys", args.bearer_keys.is_some(), file.bearer_keys.is_some()),
        ("workers", args.workers.is_some(), file.workers.is_some()),
        ("ready-pause", args.ready_pause.is_some(), file.ready_pause.is_some()),
        ("audit-retention", args.audit_retention.is_some(), file.audit_retention.is_some()),
    ];
    let source = |(key, by_caller, by_file)| match (by_caller, by_file) {
        (true, _) if on_command_line(key) => Some((key, v1::SettingSource::Flag)),
        (true, _) => Some((key, v1::SettingSource::Environment)),
        (false, true) => Some((key, v1::SettingSource::File)),
        (false, false) => None,
    };
    given.into_iter().filter_map(source).collect()
}

/// Refuses one port for two purposes, and one for stores that has no next.
fn check_ports(stores: SocketAddr, mut addresses: impl Iterator<Item = SocketAddr>) -> anyhow::Result<()> {
    if stores.port() == u16::MAX {
        bail!("listen-store = {stores}: heartbeats are heard on the next port, and there is none; choose a lower one");
    }
    let mut seen = BTreeSet::new();
    match addresses.find(|address| address.port() != 0 && !seen.insert(*address)) {
        Some(twice) => bail!("{twice} is given for two purposes: choose different ports"),
        None => Ok(()),
    }
}

/// Others are told this address: it must lead here from elsewhere.
fn check_reachable(key: &str, given: Option<&str>, listen: SocketAddr) -> anyhow::Result<()> {
    let text = given.map_or_else(|| listen.to_string(), str::to_owned);
    let (host, port) = text.rsplit_once(':').unwrap_or((&text, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_everywhere = host.is_empty() || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    // Heartbeats go to the port after the one for stores.
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0 && (port < u16::MAX || key == "advertise"));
    if is_everywhere || !is_port || text.len() > limits::MAX_ADDRESS_BYTES {
        bail!(
            "other stores and clients would be told to find this store at {text}, which leads nowhere: pass --{key} HOST:PORT, with \
             a name or an address of this machine and a port, for instance --{key} store-0.example:{}",
            if key == "advertise" { CLIENT_PORT } else { STORE_PORT }
        );
    }
    Ok(())
}

fn address(given: Option<String>, port: u16, name: &str) -> anyhow::Result<SocketAddr> {
    let text = given.unwrap_or_else(|| format!("127.0.0.1:{port}"));
    text.parse().with_context(|| format!("{name} = {text:?} is not an address like 0.0.0.0:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(config: Option<PathBuf>) -> StartArgs {
        StartArgs {
            config,
            site: Some("a".into()),
            data_dir: Some("/tmp/x".into()),
            insecure: 2,
            ..StartArgs::default()
        }
    }

    #[test]
    fn flags_win_over_the_file_and_unknown_keys_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holdfast.toml");
        std::fs::write(&path, "site = \"b\"\nlisten = \"127.0.0.1:1\"\n").unwrap();
        let config = Config::load(&args(Some(path.clone())), None).unwrap();
        assert_eq!((config.site.as_str(), config.listen.port()), ("a", 1));
        std::fs::write(&path, "sight = \"b\"\n").unwrap();
        let error = format!("{:#}", Config::load(&args(Some(path)), None).unwrap_err());
        assert!(error.contains("sight"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_refused_or_gives_a_configuration_that_can_be_shown() {
        let whole = "site = \"b\"\ndata-dir = \"/d\"\nworkers = 3\nready-pause = \"5s\"\njoin = [\"h:7300\"]\n\
             listen = \"127.0.0.1:7300\"\nadvertise-store = \"h:7400\"\nzone = \"z\"\n";
        let load =
            |bytes: &[u8]| Config::of(&StartArgs { insecure: 2, ..StartArgs::default() }, File::decode(bytes)?, None);
        assert!(load(whole.as_bytes()).is_ok());
        let read = crate::damage::versions_of(whole.as_bytes()).iter().filter_map(|damaged| load(damaged).ok()).count();
        assert!(read > 0, "a letter in a name harms nobody");
        for (hostile, said) in [
            ("workers = 9223372036854775807", "workers = 9223372036854775807 is out of bounds"),
            ("workers = 18446744073709551615", "workers"),
            ("workers = -1", "workers"),
            ("ready-pause = \"99999999999999999999999s\"", "ready-pause"),
            ("ready-pause = \"18446744073709551615s 18446744073709551615s\"", "ready-pause"),
            ("listen = \"h:99999\"", "listen"),
        ] {
            let text = format!("site = \"b\"\ndata-dir = \"/d\"\n{hostile}\n");
            let error = format!("{:#}", load(text.as_bytes()).unwrap_err());
            assert!(error.contains(said), "{hostile}: {error}");
        }
        assert!(load("join = ".repeat(1_000).as_bytes()).is_err());
        assert!(load(format!("join = {}", "[".repeat(100_000)).as_bytes()).is_err(), "it may lie as deep as it likes");
    }

    #[test]
    fn each_setting_says_where_it_comes_from() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holdfast.toml");
        std::fs::write(&path, "workers = 3\nfleet-token = \"hush\"\njoin-token = \"hush\"\n").unwrap();
        let settings = Config::load(&args(Some(path)), None).unwrap().settings();
        let of = |name: &str| settings.iter().find(|setting| setting.name == name).unwrap();
        assert_eq!((of("workers").source(), &of("workers").value[..]), (v1::SettingSource::File, "3"));
        // Given, and not on the command line of this test.
        assert_eq!(of("site").source(), v1::SettingSource::Environment);
        assert_eq!((of("reads").source(), &of("reads").default_value[..]), (v1::SettingSource::Default, "lease"));
        assert_eq!(of("limit.key-bytes").source(), v1::SettingSource::BuiltIn);
        assert!(settings.iter().all(|setting| !setting.value.contains("hush")), "secrets are not shown");
    }

    #[test]
    fn more_workers_than_a_store_can_have_are_refused() {
        let with = |workers| Config::load(&StartArgs { workers: Some(workers), ..args(None) }, None);
        let error = with(17).unwrap_err().to_string();
        assert!(error.contains("17") && error.contains("1 to 16"), "{error}");
        assert!(with(0).is_err());
        assert_eq!(with(16).unwrap().workers, 16);
    }

    #[test]
    fn the_pause_before_a_stop_is_read_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holdfast.toml");
        let load = |file: &str, flag: Option<u64>| {
            std::fs::write(&path, file).unwrap();
            let ready_pause = flag.map(Duration::from_secs);
            Config::load(&StartArgs { ready_pause, ..args(Some(path.clone())) }, None).map(|config| config.ready_pause)
        };
        let seconds = Duration::from_secs;
        assert_eq!(load("ready-pause = \"1500ms\"", None).unwrap(), Duration::from_millis(1_500));
        assert_eq!(load("ready-pause = \"1500ms\"", Some(3)).unwrap(), seconds(3));
        assert_eq!(load("", None).unwrap(), default_ready_pause(in_kubernetes()));
        assert_eq!((default_ready_pause(true), default_ready_pause(false)), (seconds(5), seconds(0)));
        let error = format!("{:#}", load("ready-pause = \"soon\"", None).unwrap_err());
        assert!(error.contains("soon") && error.contains("5s"), "{error}");
        let error = load("", Some(61)).unwrap_err().to_string();
        assert!(error.contains("1m 1s") && error.contains("1m at most"), "{error}");
    }

    #[test]
    fn the_last_port_has_no_next_one_for_heartbeats() {
        let load = |listen: &str| Config::load(&StartArgs { listen_store: Some(listen.into()), ..args(None) }, None);
        let error = format!("{:#}", load("127.0.0.1:65535").unwrap_err());
        assert!(error.contains("heartbeats") && error.contains("65535"), "{error}");
        assert!(load("127.0.0.1:65534").is_ok());
    }

    #[test]
    fn an_address_that_leads_nowhere_is_not_advertised() {
        let load = |listen: &str, advertise: Option<&str>, advertise_store: Option<&str>| {
            let (advertise, advertise_store) = (advertise.map(Into::into), advertise_store.map(Into::into));
            Config::load(&StartArgs { listen: Some(listen.into()), advertise, advertise_store, ..args(None) }, None)
        };
        for listen in ["0.0.0.0:7300", "[::]:7300", "127.0.0.1:0"] {
            let error = load(listen, None, None).unwrap_err().to_string();
            assert!(error.contains(listen) && error.contains("--advertise HOST:PORT"), "{error}");
            assert!(load(listen, Some("store-0.site-a:7300"), None).is_ok(), "{listen}");
        }
        for nowhere in ["0.0.0.0:7400", "[::]:7400", ":7400", "host", "host:0", "host:65535", "host:http"] {
            let error = load("127.0.0.1:7300", None, Some(nowhere)).unwrap_err().to_string();
            assert!(error.contains("--advertise-store HOST:PORT"), "{error}");
        }
        assert!(load("127.0.0.1:7300", Some("[fd00::1]:7300"), Some("[fd00::1]:7400")).is_ok());
    }

    #[test]
    fn one_port_for_two_purposes_is_refused() {
        let mut args = args(None);
        args.listen = Some("127.0.0.1:9".into());
        args.listen_http = Some("127.0.0.1:9".into());
        assert!(Config::load(&args, None).is_err());
    }

    #[test]
    fn metrics_have_a_port_of_their_own_with_tls_alone() {
        let own = "spiffe://f/site/a/store".parse().unwrap();
        let load = |listen_metrics: Option<&str>, tls: Option<&str>| {
            let (listen_metrics, tls) = (listen_metrics.map(Into::into), tls.map(Into::into));
            let insecure = if tls.is_some() { 0 } else { 1 };
            Config::load(&StartArgs { listen_metrics, tls, insecure, site: None, ..args(None) }, Some(&own))
        };
        let shown = |config: &Config, key: &str| config.explain().into_iter().find(|row| row.key == key).unwrap().value;
        let secure = load(None, Some("/etc/tls")).unwrap();
        assert_eq!((secure.site.as_str(), secure.listen_metrics.unwrap().port()), ("a", METRICS_PORT));
        assert_eq!((shown(&secure, "tls"), shown(&secure, "insecure")), ("/etc/tls".into(), "-".into()));
        let plain = load(None, None).unwrap();
        assert_eq!(
            (plain.listen_metrics, shown(&plain, "listen-metrics"), shown(&plain, "insecure")),
            (None, "-".into(), "1".into())
        );
        assert!(
            load(Some("127.0.0.1:7601"), None)
                .unwrap_err()
                .to_string()
                .contains("--listen-metrics is for stores with TLS")
        );
        assert!(load(Some("127.0.0.1:7500"), Some("/etc/tls")).unwrap_err().to_string().contains("two purposes"));
    }

    #[test]
    fn neither_a_file_nor_the_environment_takes_tls_away_in_passing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holdfast.toml");
        std::fs::write(&path, "tls = \"/etc/tls\"\n").unwrap();
        let error = Config::load(&args(Some(path.clone())), None).unwrap_err().to_string();
        assert!(error.contains("leave one out"), "{error}");
        assert_eq!(
            security_of(&StartArgs { insecure: 0, ..args(Some(path.clone())) }).unwrap(),
            Security::Tls("/etc/tls".into())
        );
        std::fs::write(&path, "insecure = 1\nadvertise = \"store-0:7300\"\n").unwrap();
        let error = Config::load(&StartArgs { insecure: 0, ..args(Some(path.clone())) }, None).unwrap_err().to_string();
        assert!(error.starts_with("advertise = store-0:7300 can be reached from other machines"), "{error}");
        // Said once more, by who starts it.
        assert!(Config::load(&args(Some(path)), None).is_ok());
    }
}

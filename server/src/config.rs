//! The configuration of a store: defaults, then the file, then the environment, then flags.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_placement::check_identity;
use holdfast_proto::v1;
use holdfast_types::{SiteName, limits};
use serde::Deserialize;

use crate::cli::StartArgs;

/// Clients reach a store here by default.
pub const CLIENT_PORT: u16 = 7300;
/// Other stores reach it here; support heartbeats use the port after it.
pub const STORE_PORT: u16 = 7400;
/// Probes and Prometheus reach it here.
pub const HTTP_PORT: u16 = 7500;

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
    #[serde(default)]
    join: Vec<String>,
    listen: Option<String>,
    listen_store: Option<String>,
    listen_http: Option<String>,
    advertise: Option<String>,
    advertise_store: Option<String>,
    reads: Option<String>,
    fleet_token: Option<String>,
    workers: Option<usize>,
    ready_pause: Option<String>,
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
    /// Stores to join by.
    pub join: Vec<String>,
    /// Client gRPC.
    pub listen: SocketAddr,
    /// Store-to-store streams; support heartbeats on the next port (or a free one, when the port is 0).
    pub listen_store: SocketAddr,
    /// HTTP.
    pub listen_http: SocketAddr,
    /// How clients reach this store.
    pub advertise: Option<String>,
    /// How stores reach this store.
    pub advertise_store: Option<String>,
    /// Reads ask a quorum instead of trusting the lease.
    pub quorum_reads: bool,
    /// The shared secret of the fleet; empty: none.
    pub fleet_token: String,
    /// Worker threads.
    pub workers: usize,
    /// How long a store that was told to stop serves on, once it says that it is not ready.
    pub ready_pause: Duration,
    /// End when standard input ends.
    pub end_with_stdin: bool,
    /// Where values come from that are not defaults, by key.
    sources: BTreeMap<&'static str, v1::SettingSource>,
}

/// One value, for `config show`.
pub struct Explained {
    /// Its key in the file.
    pub key: &'static str,
    /// What `start` would use.
    pub value: String,
    /// What it would be if nobody said anything; empty: there is no default.
    pub default: String,
    /// What it means.
    pub meaning: &'static str,
}

impl Config {
    /// Puts flags and environment (clap has merged those) over the file over the defaults.
    pub fn load(args: &StartArgs) -> anyhow::Result<Self> {
        Self::of(args, File::read(args.config.as_deref())?)
    }

    fn of(args: &StartArgs, file: File) -> anyhow::Result<Self> {
        let sources = sources(args, &file);
        let Some(site) = args.site.clone().or(file.site) else {
            bail!("no site given: pass --site NAME, set HOLDFAST_SITE, or put `site = \"NAME\"` into the file");
        };
        let Some(data_dir) = args.data_dir.clone().or(file.data_dir) else {
            bail!(
                "no data directory given: pass --data-dir PATH, set HOLDFAST_DATA_DIR, or put `data-dir` into the file"
            );
        };
        let listen = address(args.listen.clone().or(file.listen), CLIENT_PORT, "listen")?;
        let listen_store = address(args.listen_store.clone().or(file.listen_store), STORE_PORT, "listen-store")?;
        if listen_store.port() == u16::MAX {
            bail!(
                "listen-store = {listen_store}: heartbeats are heard on the next port, and there is none; choose a lower one"
            );
        }
        let listen_http = address(args.listen_http.clone().or(file.listen_http), HTTP_PORT, "listen-http")?;
        for (left, right) in [(listen, listen_store), (listen, listen_http), (listen_store, listen_http)] {
            if left == right && left.port() != 0 {
                bail!("{left} is given for two purposes: choose different ports");
            }
        }
        let quorum_reads = match args.reads.clone().or(file.reads).as_deref() {
            None | Some("lease") => false,
            Some("quorum") => true,
            Some(other) => bail!("reads = {other:?} is not known: use \"lease\" or \"quorum\""),
        };
        let workers = args.workers.or(file.workers).unwrap_or_else(default_workers);
        let most = usize::from(limits::MAX_WORKERS);
        if !(1..=most).contains(&workers) {
            bail!("workers = {workers} is out of bounds: use 1 to {most}");
        }
        let ready_pause = ready_pause(args.ready_pause, file.ready_pause.as_deref())?;
        let advertise = args.advertise.clone().or(file.advertise);
        let advertise_store = args.advertise_store.clone().or(file.advertise_store);
        check_reachable("advertise", advertise.as_deref(), listen)?;
        check_reachable("advertise-store", advertise_store.as_deref(), listen_store)?;
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
            site: SiteName::new(&site).map_err(anyhow::Error::msg)?,
            site_id: site_id.filter(|site_id| !site_id.is_empty()),
            data_dir,
            join: if args.join.is_empty() { file.join } else { args.join.clone() },
            listen,
            listen_store,
            listen_http,
            advertise,
            advertise_store,
            quorum_reads,
            fleet_token: args.fleet_token.clone().or(file.fleet_token).unwrap_or_default(),
            workers,
            ready_pause,
            end_with_stdin: args.end_with_stdin,
            sources,
        })
    }

    /// Every value as the admin API shows it, and the limits of the program.
    pub fn settings(&self) -> Vec<v1::Setting> {
        let values = self.explain().into_iter().map(|row| v1::Setting {
            name: row.key.to_owned(),
            value: if row.value == "-" { String::new() } else { row.value },
            default_value: row.default,
            source: self.sources.get(row.key).copied().unwrap_or(v1::SettingSource::Default).into(),
            description: row.meaning.to_owned(),
        });
        values.chain(built_in()).collect()
    }

    /// Every value and its meaning.
    pub fn explain(&self) -> Vec<Explained> {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        let row = |key, value, default: &str, meaning| Explained { key, value, default: default.to_owned(), meaning };
        let port = |port: u16| format!("127.0.0.1:{port}");
        let reads = if self.quorum_reads { "quorum" } else { "lease" };
        let token = if self.fleet_token.is_empty() { "-" } else { "(set)" };
        vec![
            row("site", self.site.to_string(), "", "label of the Kubernetes cluster this store runs in"),
            row("site-id", text(&self.site_id), "", "proof of the site: UID of its kube-system namespace"),
            row("zone", text(&self.zone), "", "where in its site the store is: shown by `holdfast status`"),
            row("data-dir", self.data_dir.display().to_string(), "", "where the data lives"),
            row("join", self.join.join(","), "", "client addresses of stores of the fleet to join"),
            row("listen", self.listen.to_string(), &port(CLIENT_PORT), "client gRPC"),
            row(
                "listen-store",
                self.listen_store.to_string(),
                &port(STORE_PORT),
                "store-to-store streams; heartbeats on the next port",
            ),
            row("listen-http", self.listen_http.to_string(), &port(HTTP_PORT), "health and metrics"),
            row("advertise", text(&self.advertise), "", "client address that others reach this store by"),
            row("advertise-store", text(&self.advertise_store), "", "store-to-store address that others reach it by"),
            row("reads", reads.into(), "lease", "how reads are made linearizable"),
            row("fleet-token", token.into(), "", "shared secret of the fleet"),
            row(
                "workers",
                self.workers.to_string(),
                &default_workers().to_string(),
                "worker threads that own the replicas",
            ),
            row(
                "ready-pause",
                humantime::format_duration(self.ready_pause).to_string(),
                &humantime::format_duration(default_ready_pause(in_kubernetes())).to_string(),
                "how long a store that was told to stop serves on, once `/readyz` fails",
            ),
        ]
    }
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
        ("join", !args.join.is_empty(), !file.join.is_empty()),
        ("listen", args.listen.is_some(), file.listen.is_some()),
        ("listen-store", args.listen_store.is_some(), file.listen_store.is_some()),
        ("listen-http", args.listen_http.is_some(), file.listen_http.is_some()),
        ("advertise", args.advertise.is_some(), file.advertise.is_some()),
        ("advertise-store", args.advertise_store.is_some(), file.advertise_store.is_some()),
        ("reads", args.reads.is_some(), file.reads.is_some()),
        ("fleet-token", args.fleet_token.is_some(), file.fleet_token.is_some()),
        ("workers", args.workers.is_some(), file.workers.is_some()),
        ("ready-pause", args.ready_pause.is_some(), file.ready_pause.is_some()),
    ];
    let source = |(key, by_caller, by_file)| match (by_caller, by_file) {
        (true, _) if on_command_line(key) => Some((key, v1::SettingSource::Flag)),
        (true, _) => Some((key, v1::SettingSource::Environment)),
        (false, true) => Some((key, v1::SettingSource::File)),
        (false, false) => None,
    };
    given.into_iter().filter_map(source).collect()
}

/// What cannot be configured, but is good to know.
fn built_in() -> impl Iterator<Item = v1::Setting> {
    let ms = |duration: Duration| format!("{} ms", duration.as_millis());
    let bytes = |bytes: usize| format!("{bytes} B");
    let split_bytes = usize::try_from(limits::SPLIT_RANGE_BYTES).unwrap_or(usize::MAX);
    [
        ("limit.key-bytes", bytes(limits::MAX_KEY_BYTES), "a key is at most this long"),
        ("limit.value-bytes", bytes(limits::MAX_VALUE_BYTES), "a value is at most this long"),
        ("limit.batch-keys", limits::MAX_BATCH_KEYS.to_string(), "keys of one batch"),
        ("limit.batch-bytes", bytes(limits::MAX_BATCH_BYTES), "bytes of one atomic batch"),
        ("limit.deadline", ms(limits::MAX_DEADLINE), "a longer deadline of a request is cut to this"),
        (
            "limit.support-interval",
            ms(limits::SUPPORT_INTERVAL),
            "a store that is silent for this long loses its leaders",
        ),
        ("limit.clock-offset", ms(limits::MAX_CLOCK_OFFSET), "a store whose clock is further off does not lead"),
        ("limit.split-bytes", bytes(split_bytes), "a larger range is split"),
        ("limit.gc-retention", ms(limits::GC_RETENTION), "how long old versions can be read"),
        ("limit.disk-full-percent", limits::DISK_FULL_PERCENT.to_string(), "writes are refused with less free disk"),
        ("limit.events-kept", limits::EVENTS_KEPT.to_string(), "events that a store remembers"),
    ]
    .into_iter()
    .map(|(name, value, description)| v1::Setting {
        name: name.to_owned(),
        default_value: value.clone(),
        value,
        source: v1::SettingSource::BuiltIn.into(),
        description: description.to_owned(),
    })
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
        StartArgs { config, site: Some("a".into()), data_dir: Some("/tmp/x".into()), ..StartArgs::default() }
    }

    #[test]
    fn flags_win_over_the_file_and_unknown_keys_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holdfast.toml");
        std::fs::write(&path, "site = \"b\"\nlisten = \"127.0.0.1:1\"\n").unwrap();
        let config = Config::load(&args(Some(path.clone()))).unwrap();
        assert_eq!((config.site.as_str(), config.listen.port()), ("a", 1));
        std::fs::write(&path, "sight = \"b\"\n").unwrap();
        let error = format!("{:#}", Config::load(&args(Some(path))).unwrap_err());
        assert!(error.contains("sight"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_refused_or_gives_a_configuration_that_can_be_shown() {
        let whole = "site = \"b\"\ndata-dir = \"/d\"\nworkers = 3\nready-pause = \"5s\"\njoin = [\"h:7300\"]\n\
             listen = \"127.0.0.1:7300\"\nadvertise-store = \"h:7400\"\nzone = \"z\"\n";
        let load = |bytes: &[u8]| Config::of(&StartArgs::default(), File::decode(bytes)?);
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
        std::fs::write(&path, "workers = 3\nfleet-token = \"hush\"\n").unwrap();
        let settings = Config::load(&args(Some(path))).unwrap().settings();
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
        let with = |workers| Config::load(&StartArgs { workers: Some(workers), ..args(None) });
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
            Config::load(&StartArgs { ready_pause, ..args(Some(path.clone())) }).map(|config| config.ready_pause)
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
        let load = |listen: &str| Config::load(&StartArgs { listen_store: Some(listen.into()), ..args(None) });
        let error = format!("{:#}", load("127.0.0.1:65535").unwrap_err());
        assert!(error.contains("heartbeats") && error.contains("65535"), "{error}");
        assert!(load("127.0.0.1:65534").is_ok());
    }

    #[test]
    fn an_address_that_leads_nowhere_is_not_advertised() {
        let load = |listen: &str, advertise: Option<&str>, advertise_store: Option<&str>| {
            let (advertise, advertise_store) = (advertise.map(Into::into), advertise_store.map(Into::into));
            Config::load(&StartArgs { listen: Some(listen.into()), advertise, advertise_store, ..args(None) })
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
        assert!(Config::load(&args).is_err());
    }
}

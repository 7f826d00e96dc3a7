//! The configuration of a store: defaults, then the file, then the environment, then flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use holdfast_types::{SiteName, limits};
use serde::Deserialize;

use crate::cli::StartArgs;

/// Clients reach a store here by default.
pub const CLIENT_PORT: u16 = 7300;
/// Other stores reach it here; support heartbeats use the port after it.
pub const STORE_PORT: u16 = 7400;
/// Probes and Prometheus reach it here.
pub const HTTP_PORT: u16 = 7500;

/// The configuration file. Unknown keys are refused.
#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    site: Option<String>,
    site_id: Option<String>,
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
}

/// Everything that `start` needs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The site's label.
    pub site: SiteName,
    /// The site's proof.
    pub site_id: Option<String>,
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
    /// End when standard input ends.
    pub end_with_stdin: bool,
}

/// One value, for `config show`.
pub struct Explained {
    /// Its key in the file.
    pub key: &'static str,
    /// What `start` would use.
    pub value: String,
    /// What it means.
    pub meaning: &'static str,
}

impl Config {
    /// Puts flags and environment (clap has merged those) over the file over the defaults.
    pub fn load(args: &StartArgs) -> anyhow::Result<Self> {
        let file = match &args.config {
            None => File::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("{} is not a valid configuration", path.display()))?
            }
        };
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
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = args.workers.or(file.workers).unwrap_or((cores / 4).clamp(1, 8));
        let most = usize::from(limits::MAX_WORKERS);
        if !(1..=most).contains(&workers) {
            bail!("workers = {workers} is out of bounds: use 1 to {most}");
        }
        Ok(Self {
            site: SiteName::new(&site).map_err(anyhow::Error::msg)?,
            site_id: args.site_id.clone().or(file.site_id),
            data_dir,
            join: if args.join.is_empty() { file.join } else { args.join.clone() },
            listen,
            listen_store,
            listen_http,
            advertise: args.advertise.clone().or(file.advertise),
            advertise_store: args.advertise_store.clone().or(file.advertise_store),
            quorum_reads,
            fleet_token: args.fleet_token.clone().or(file.fleet_token).unwrap_or_default(),
            workers,
            end_with_stdin: args.end_with_stdin,
        })
    }

    /// Every value and its meaning.
    pub fn explain(&self) -> Vec<Explained> {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        let row = |key, value, meaning| Explained { key, value, meaning };
        vec![
            row("site", self.site.to_string(), "label of the Kubernetes cluster this store runs in"),
            row("site-id", text(&self.site_id), "proof of the site: UID of its kube-system namespace"),
            row("data-dir", self.data_dir.display().to_string(), "where the data lives"),
            row("join", self.join.join(","), "client addresses of stores of the fleet to join"),
            row("listen", self.listen.to_string(), "client gRPC"),
            row("listen-store", self.listen_store.to_string(), "store-to-store streams; heartbeats on the next port"),
            row("listen-http", self.listen_http.to_string(), "health and metrics"),
            row("advertise", text(&self.advertise), "client address that others reach this store by"),
            row("advertise-store", text(&self.advertise_store), "store-to-store address that others reach it by"),
            row("reads", if self.quorum_reads { "quorum" } else { "lease" }.into(), "how reads are made linearizable"),
            row(
                "fleet-token",
                if self.fleet_token.is_empty() { "-" } else { "(set)" }.into(),
                "shared secret of the fleet",
            ),
            row("workers", self.workers.to_string(), "worker threads that own the replicas"),
        ]
    }
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
    fn one_port_for_two_purposes_is_refused() {
        let mut args = args(None);
        args.listen = Some("127.0.0.1:9".into());
        args.listen_http = Some("127.0.0.1:9".into());
        assert!(Config::load(&args).is_err());
    }
}

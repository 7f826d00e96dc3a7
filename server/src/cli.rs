//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Holdfast: an ordered, replicated key-value store that survives the loss of a whole Kubernetes cluster.
#[derive(Parser, Debug)]
#[command(name = "holdfast", version, max_term_width = 110)]
pub struct Cli {
    /// What to log, as `level` or `target=level,...`
    #[arg(long, env = "HOLDFAST_LOG", default_value = "info", global = true)]
    pub log: String,
    /// Write log lines as JSON
    #[arg(long, env = "HOLDFAST_LOG_JSON", global = true)]
    pub log_json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a store
    Start(Box<StartArgs>),
    /// Found a fleet on one store that waits; once only
    Init(InitArgs),
    /// Show the fleet: sites, stores, ranges
    Status(StatusArgs),
    /// Run the main job on this machine: several sites, a real load, one site killed, every write read back
    Demo(crate::demo::DemoArgs),
    /// Run sites x stores as child processes on loopback, for application developers; stays up
    Dev(crate::dev::DevArgs),
    /// Load CSV, TSV or JSON lines
    Import(crate::import::ImportArgs),
    /// Read one key
    Get(crate::oneshot::GetArgs),
    /// Write one key
    Put(crate::oneshot::PutArgs),
    /// Delete one key
    Delete(crate::oneshot::DeleteArgs),
    /// List keys in order
    Scan(crate::oneshot::ScanArgs),
    /// Explain or show the configuration
    Config(ConfigArgs),
}

/// `holdfast start`. Every value can come from the file, the environment or a flag; the later wins.
#[derive(Args, Debug, Clone, Default)]
pub struct StartArgs {
    /// Configuration file (TOML); unknown keys are refused
    #[arg(long, env = "HOLDFAST_CONFIG")]
    pub config: Option<PathBuf>,
    /// The site this store belongs to: the label of its Kubernetes cluster
    #[arg(long, env = "HOLDFAST_SITE")]
    pub site: Option<String>,
    /// The proof of the site: UID of the kube-system namespace
    #[arg(long, env = "HOLDFAST_SITE_ID")]
    pub site_id: Option<String>,
    /// Where the data lives
    #[arg(long, env = "HOLDFAST_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Client addresses of stores of the fleet to join, comma-separated. Without one the store waits for `init`
    #[arg(long, env = "HOLDFAST_JOIN", value_delimiter = ',')]
    pub join: Vec<String>,
    /// Where to listen for clients (gRPC)
    #[arg(long, env = "HOLDFAST_LISTEN")]
    pub listen: Option<String>,
    /// Where to listen for other stores: streams here, support heartbeats on the next port
    #[arg(long, env = "HOLDFAST_LISTEN_STORE")]
    pub listen_store: Option<String>,
    /// Where to listen for HTTP: health and metrics
    #[arg(long, env = "HOLDFAST_LISTEN_HTTP")]
    pub listen_http: Option<String>,
    /// The client address that others reach this store by, if not the listen address
    #[arg(long, env = "HOLDFAST_ADVERTISE")]
    pub advertise: Option<String>,
    /// The store-to-store address that others reach this store by, if not the listen address
    #[arg(long, env = "HOLDFAST_ADVERTISE_STORE")]
    pub advertise_store: Option<String>,
    /// `lease` reads from the leader's memory of its lease, `quorum` asks a quorum for each batch of reads
    #[arg(long, env = "HOLDFAST_READS")]
    pub reads: Option<String>,
    /// The shared secret of the fleet: a store joins only with the same one
    #[arg(long, env = "HOLDFAST_FLEET_TOKEN", hide_env_values = true)]
    pub fleet_token: Option<String>,
    /// Worker threads
    #[arg(long, env = "HOLDFAST_WORKERS")]
    pub workers: Option<usize>,
    /// End when standard input ends: for stores that run as children of another program
    #[arg(long, hide = true)]
    pub end_with_stdin: bool,
}

/// `holdfast init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// Client address of the store to found the fleet on
    #[arg(long, env = "HOLDFAST_AT", default_value = "127.0.0.1:7300")]
    pub at: String,
    /// The shared secret that the store was started with
    #[arg(long, env = "HOLDFAST_FLEET_TOKEN", hide_env_values = true, default_value = "")]
    pub fleet_token: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `holdfast status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Client address of any store
    #[arg(long, env = "HOLDFAST_AT", default_value = "127.0.0.1:7300")]
    pub at: String,
    /// Show every range too
    #[arg(long)]
    pub ranges: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `holdfast config`.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// What to do
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// `holdfast config show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// As for `start`
    #[command(flatten)]
    pub start: StartArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `holdfast config ...`.
#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    /// Show every value that `start` would use, and what it means
    Show(Box<ShowArgs>),
}

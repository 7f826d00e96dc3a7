//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};
use holdfast_types::PrincipalName;

use crate::connecting::{Connecting, Through};
use crate::help;

/// An ordered, replicated key-value store that survives the loss of a whole Kubernetes cluster.
#[derive(Parser, Debug)]
#[command(name = "holdfast", version, max_term_width = 110, after_help = help::MAIN)]
pub struct Cli {
    /// What is logged to standard error, as `level` or `target=level,...`; when not said, a store logs `info` and other commands warnings
    #[arg(long, value_name = "FILTER", env = "HOLDFAST_LOG", global = true, help_heading = "Logging")]
    pub log: Option<String>,
    /// Write log lines as JSON
    #[arg(long, env = "HOLDFAST_LOG_JSON", global = true, help_heading = "Logging")]
    pub log_json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// See it work on this machine: several sites, a load, one site killed, every acknowledged write read back
    #[command(after_help = help::DEMO)]
    Demo(crate::demo::DemoArgs),
    /// Load a running fleet, for drills: at the end every acknowledged write is read back
    #[command(after_help = help::LOAD)]
    Load(crate::load::LoadArgs),
    /// Keep a fleet of several sites up on this machine, to develop and to try things on
    #[command(after_help = help::DEV)]
    Dev(crate::dev::DevArgs),
    /// Run a store
    #[command(after_help = help::START)]
    Start(Box<StartArgs>),
    /// Found a fleet on one store that waits; once in the life of the fleet
    #[command(after_help = help::INIT)]
    Init(InitArgs),
    /// Show the fleet: sites, stores, ranges
    #[command(after_help = help::STATUS)]
    Status(StatusArgs),
    /// Empty stores that are to leave the fleet; or get the store on this machine ready to be stopped
    #[command(after_help = help::DRAIN)]
    Drain(crate::drain::DrainArgs),
    /// Take a store that is dead for good, or was drained, out of the fleet's list
    #[command(after_help = help::FORGET)]
    Forget(crate::forget::ForgetArgs),
    /// Change what the fleet keeps of a site: bind it to another Kubernetes cluster
    #[command(after_help = help::SITE)]
    Site(crate::site::SiteArgs),
    /// Make, list and revoke one-time tokens, by which new stores join
    #[command(after_help = help::TOKEN)]
    Token(crate::token::TokenArgs),
    /// Make certificates for stores, clients and operators, where there is neither cert-manager nor SPIRE
    #[command(after_help = crate::ca::help::CA)]
    Ca(crate::ca::CaArgs),
    /// See how the fleet's trust stands, replace its root, distrust a site
    #[command(after_help = crate::trust::help::TRUST)]
    Trust(crate::trust::command::TrustArgs),
    /// Show the configuration that a store would have
    #[command(after_help = help::CONFIG)]
    Config(ConfigArgs),
    /// Query and change data, look at the fleet: a shell that speaks SQL
    #[command(after_help = crate::sql::HELP)]
    Sql(Box<crate::sql::SqlArgs>),
    /// Load a file: CSV, TSV, JSON lines, or what `export` wrote
    #[command(after_help = help::IMPORT)]
    Import(Box<crate::import::ImportArgs>),
    /// Write the rows of a keyspace to a file that `import` reads back to the same rows: JSON lines, CSV or TSV
    #[command(after_help = help::EXPORT)]
    Export(Box<crate::export::ExportArgs>),
    /// Read one key
    #[command(after_help = help::GET)]
    Get(crate::oneshot::GetArgs),
    /// Write one key
    #[command(after_help = help::PUT)]
    Put(crate::oneshot::PutArgs),
    /// Delete one key
    #[command(after_help = help::DELETE)]
    Delete(crate::oneshot::DeleteArgs),
    /// List keys and values in the order of the keys
    #[command(after_help = help::SCAN)]
    Scan(crate::oneshot::ScanArgs),
    /// Describe a fleet over several Kubernetes clusters in one file: check it, explain it, render it
    #[command(after_help = help::FLEET)]
    Fleet(crate::fleet::FleetArgs),
    /// Print what a shell needs to complete this command line
    #[command(after_help = help::COMPLETIONS)]
    Completions(crate::completions::CompletionsArgs),
    /// Print the manual, or write all its pages
    #[command(after_help = help::MAN)]
    Man(crate::man::ManArgs),
}

/// `holdfast start`. Every value can come from its default, the file, the environment or a flag; the later wins.
#[derive(Args, Debug, Clone, Default)]
pub struct StartArgs {
    /// Configuration file (TOML); unknown keys are refused
    #[arg(long, value_name = "FILE", env = "HOLDFAST_CONFIG", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// The site that the store belongs to: the label of its Kubernetes cluster [default: the site of its certificate]
    #[arg(long, value_name = "NAME", env = "HOLDFAST_SITE")]
    pub site: Option<String>,
    /// The proof of the site: UID of its kube-system namespace [default: none]
    #[arg(long, value_name = "UID", env = "HOLDFAST_SITE_ID")]
    pub site_id: Option<String>,
    /// Where in its site the store is: the zone of its provider [default: none]
    #[arg(long, value_name = "NAME", env = "HOLDFAST_ZONE")]
    pub zone: Option<String>,
    /// Where the data lives. Must be given here or in the file
    #[arg(long, value_name = "DIR", env = "HOLDFAST_DATA_DIR", value_hint = ValueHint::DirPath)]
    pub data_dir: Option<PathBuf>,
    /// The folder with the store's certificate, its key and the bundle of roots, as `holdfast ca`, cert-manager or SPIRE write it. Either this or
    /// --insecure must be given
    #[arg(long, value_name = "DIR", env = "HOLDFAST_TLS", value_hint = ValueHint::DirPath)]
    pub tls: Option<PathBuf>,
    /// Run without TLS: whoever reaches a port owns the fleet. Once, on addresses of this machine alone; twice, on any
    #[arg(long, env = "HOLDFAST_INSECURE", action = ArgAction::Count)]
    pub insecure: u8,
    /// Client addresses of stores of the fleet to join, separated by commas. Without one the store waits for `holdfast init`
    #[arg(long, value_name = "ADDRESS", env = "HOLDFAST_JOIN", value_delimiter = ',')]
    pub join: Vec<String>,
    /// Where to listen for clients (gRPC) [default: 127.0.0.1:7300]
    #[arg(long, value_name = "ADDRESS", env = "HOLDFAST_LISTEN")]
    pub listen: Option<String>,
    /// Where to listen for other stores: streams here, heartbeats on the next port [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDRESS", env = "HOLDFAST_LISTEN_STORE")]
    pub listen_store: Option<String>,
    /// Where to listen for HTTP, in plain text: health, and without TLS metrics [default: 127.0.0.1:7500]
    #[arg(long, value_name = "ADDRESS", env = "HOLDFAST_LISTEN_HTTP")]
    pub listen_http: Option<String>,
    /// With --tls: where to listen for those who read metrics, and show a certificate of the trust domain [default: 127.0.0.1:7600]
    #[arg(long, value_name = "ADDRESS", env = "HOLDFAST_LISTEN_METRICS")]
    pub listen_metrics: Option<String>,
    /// The client address that others reach this store by [default: that of --listen]
    #[arg(long, value_name = "HOST:PORT", env = "HOLDFAST_ADVERTISE")]
    pub advertise: Option<String>,
    /// The store-to-store address that others reach this store by [default: that of --listen-store]
    #[arg(long, value_name = "HOST:PORT", env = "HOLDFAST_ADVERTISE_STORE")]
    pub advertise_store: Option<String>,
    /// How reads are made linearizable: by the leader's lease, or by asking a quorum for each batch of them [default: lease]
    #[arg(long, value_name = "HOW", env = "HOLDFAST_READS", value_parser = ["lease", "quorum"])]
    pub reads: Option<String>,
    /// The shared secret of the fleet: a store joins only with the same one [default: none]
    #[arg(long, value_name = "SECRET", env = "HOLDFAST_FLEET_TOKEN", hide_env_values = true)]
    pub fleet_token: Option<String>,
    /// The one-time token to join with, as `holdfast token create` printed it; a member needs it no more [default: none]
    #[arg(long, value_name = "TOKEN", env = "HOLDFAST_JOIN_TOKEN", hide_env_values = true)]
    pub join_token: Option<String>,
    /// With --tls: the public keys of those who sign bearer tokens (a JSON Web Key Set), for clients without a certificate [default: none]
    #[arg(long, value_name = "FILE", env = "HOLDFAST_BEARER_KEYS", value_hint = ValueHint::FilePath)]
    pub bearer_keys: Option<PathBuf>,
    /// How long entries of the audit are kept, a day at least [default: 90days]
    #[arg(long, value_name = "DURATION", env = "HOLDFAST_AUDIT_RETENTION", value_parser = crate::durations::duration)]
    pub audit_retention: Option<std::time::Duration>,
    /// Threads that own the replicas, 1 to 16 [default: a quarter of the cores, 1 to 8]
    #[arg(long, value_name = "COUNT", env = "HOLDFAST_WORKERS")]
    pub workers: Option<usize>,
    /// How long the store serves on when it was told to stop, once /readyz fails: until nobody is sent here any more [default: 5s in a pod,
    /// 0s elsewhere]
    #[arg(long, value_name = "DURATION", env = "HOLDFAST_READY_PAUSE", value_parser = crate::durations::duration)]
    pub ready_pause: Option<std::time::Duration>,
    /// End when standard input ends: for stores that run as children of another program
    #[arg(long, hide = true)]
    pub end_with_stdin: bool,
}

/// `holdfast init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// Client address of the one store to found the fleet on
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "HOLDFAST_AT",
        default_value = "127.0.0.1:7300",
        value_parser = holdfast_types::address::parse_address
    )]
    pub at: String,
    /// Return once the store serves: its fleet is there, and all of its ranges are led
    #[arg(long)]
    pub wait: bool,
    /// With --wait: how long at most, such as 30s or 5m [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = crate::durations::duration, requires = "wait")]
    pub timeout: Option<std::time::Duration>,
    /// The shared secret that the store was started with
    #[arg(long, value_name = "SECRET", env = "HOLDFAST_FLEET_TOKEN", hide_env_values = true, default_value = "")]
    pub fleet_token: String,
    /// With --tls: make the first operator first, who founds the fleet: his key and certificate go into the folder that --tls names
    #[arg(long, value_name = "NAME", requires = "issuer", value_parser = crate::ca::name, help_heading = "Security")]
    pub operator: Option<PrincipalName>,
    /// The folder of the authority that signs the first operator, as `holdfast ca people` made it
    #[arg(long, value_name = "DIR", requires = "operator", value_hint = ValueHint::DirPath, help_heading = "Security")]
    pub issuer: Option<PathBuf>,
    /// How it connects
    #[command(flatten)]
    pub connecting: Connecting,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `holdfast status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Where it goes
    #[command(flatten)]
    pub through: Through,
    /// Show every range too
    #[arg(long)]
    pub ranges: bool,
    /// First wait until every store answers and every range is led; or until placement has nothing left to do as well
    #[arg(long, value_name = "WHAT", value_enum)]
    pub wait: Option<crate::readiness::Wanted>,
    /// With --wait: how long at most, such as 30s or 5m [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = crate::durations::duration, requires = "wait")]
    pub timeout: Option<std::time::Duration>,
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
    #[command(after_help = help::CONFIG)]
    Show(Box<ShowArgs>),
}

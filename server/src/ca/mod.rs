//! `holdfast ca`: a certificate authority for those who have none. What it signs, and what it does not, is in `holdfast-trust`; here are the
//! command line and the folders.
//!
//! ```text
//! init ─▶ root/            root.key, root.crt           offline
//! site ─▶ site-b/          issuer.key, issuer.crt, ca.crt
//! request ─▶ store/        tls.key, request.csr ──▶ sign (where site-b/ is) ──▶ tls.crt, and ca.crt beside it
//! leaf ─▶ store/           tls.key, tls.crt, ca.crt     where both are on one machine
//! ```
//!
//! - [`authorities`]: init, site, people
//! - [`leaves`]: request, sign, leaf
//! - [`bundle`]: which roots a folder believes
//! - [`show`]: what lies in a file or a folder
//! - [`help`]: what stands below the options

mod authorities;
mod bundle;
pub mod help;
mod leaves;
mod show;
#[cfg(test)]
mod tests;

pub use self::leaves::FirstOperator;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::{ArgGroup, Args, Subcommand, ValueHint};
use holdfast_trust::authority::Scope;
use holdfast_types::principal::Kind;
use holdfast_types::{PrincipalName, SiteName, TrustDomain, limits};

/// How long certificates of stores, clients and operators are valid unless it is said.
const LEAF_VALID: &str = "90days";

/// `holdfast ca`.
#[derive(Args, Debug)]
pub struct CaArgs {
    /// What to do
    #[command(subcommand)]
    command: CaCommand,
}

/// `holdfast ca ...`.
#[derive(Subcommand, Debug)]
enum CaCommand {
    /// Make the root of a trust domain: it signs authorities of sites, and stays offline otherwise
    #[command(after_help = help::INIT)]
    Init(InitArgs),
    /// Make the authority of a site: it can speak for the stores of that site, and for nobody else
    #[command(after_help = help::SITE)]
    Site(SiteArgs),
    /// Make the authority of people: it can speak for clients and operators, and for no store
    #[command(after_help = help::PEOPLE)]
    People(AuthorityArgs),
    /// Make a key, and a request for its certificate, on the machine that will use them
    #[command(after_help = help::REQUEST)]
    Request(RequestArgs),
    /// Sign a request, and show what was signed
    #[command(after_help = help::SIGN)]
    Sign(SignArgs),
    /// Make a key and sign its certificate in one, where the authority is on the same machine
    #[command(after_help = help::LEAF)]
    Leaf(LeafArgs),
    /// Change which roots a folder believes: while one root takes the place of another, both are
    #[command(after_help = help::BUNDLE)]
    Bundle(BundleArgs),
    /// Show what certificates and requests say: who, signed by whom, until when, for whom
    #[command(after_help = help::SHOW)]
    Show(ShowArgs),
}

/// `holdfast ca init`.
#[derive(Args, Debug)]
struct InitArgs {
    /// The trust domain of the fleet: what its identities begin with
    #[arg(long, value_name = "DOMAIN", value_parser = domain)]
    domain: TrustDomain,
    /// How long the root is valid
    #[arg(long, value_name = "DURATION", default_value = "10years", value_parser = valid)]
    valid: Duration,
    /// The folder to make
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `holdfast ca site`.
#[derive(Args, Debug)]
struct SiteArgs {
    /// The site
    #[arg(value_name = "SITE", value_parser = SiteName::new)]
    site: SiteName,
    /// What its stores may be called by clients of other makes, beside SITE.DOMAIN, what lies below it, and the machine itself: a name and what lies
    /// below it, or a network like 10.1.0.0/16
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    names: Vec<String>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// What all authorities below the root are made with.
#[derive(Args, Debug)]
struct AuthorityArgs {
    /// The folder of the root
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    root: PathBuf,
    /// Sign this request, made by `holdfast ca request --authority` on the machine of the authority, rather than make a key here
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    csr: Option<PathBuf>,
    /// The folder to make
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: PathBuf,
    /// How long it is valid, and no longer than the root
    #[arg(long, value_name = "DURATION", default_value = "2years", value_parser = valid)]
    valid: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Who a certificate is for.
#[derive(Args, Debug)]
#[group(skip)]
struct PartyArgs {
    /// A store of this site
    #[arg(long, value_name = "SITE", value_parser = SiteName::new)]
    site: Option<SiteName>,
    /// A client: a program that reads and writes
    #[arg(long, value_name = "NAME", value_parser = name)]
    client: Option<PrincipalName>,
    /// An operator: somebody who runs the fleet
    #[arg(long, value_name = "NAME", value_parser = name)]
    operator: Option<PrincipalName>,
}

impl PartyArgs {
    fn kind(&self) -> Option<Kind> {
        let site = self.site.clone().map(Kind::Store);
        let client = || self.client.clone().map(Kind::Client);
        site.or_else(client).or_else(|| self.operator.clone().map(Kind::Operator))
    }
}

/// `holdfast ca request`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("asker").required(true).args(["site", "client", "operator", "authority"])))]
struct RequestArgs {
    #[command(flatten)]
    party: PartyArgs,
    /// An authority that the root is to sign: `site SITE`, or `people`
    #[arg(long, value_name = "SCOPE", num_args = 1..=2)]
    authority: Vec<String>,
    /// The trust domain of the fleet
    #[arg(long, value_name = "DOMAIN", value_parser = domain)]
    domain: TrustDomain,
    /// What the store is called by clients of other makes: names of hosts and addresses, separated by commas
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    names: Vec<String>,
    /// The folder to put key and request into
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `holdfast ca sign`.
#[derive(Args, Debug)]
struct SignArgs {
    /// The folder of the authority
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    issuer: PathBuf,
    /// The request
    #[arg(value_name = "CSR", value_hint = ValueHint::FilePath)]
    csr: PathBuf,
    /// Where to put the certificate
    #[arg(short, long, value_name = "CERT", value_hint = ValueHint::FilePath)]
    out: PathBuf,
    /// How long it is valid, and no longer than the authority
    #[arg(long, value_name = "DURATION", default_value = LEAF_VALID, value_parser = valid)]
    valid: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `holdfast ca leaf`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("owner").required(true).args(["site", "client", "operator"])))]
struct LeafArgs {
    /// The folder of the authority
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    issuer: PathBuf,
    #[command(flatten)]
    party: PartyArgs,
    /// What the store is called by clients of other makes: names of hosts and addresses, separated by commas
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    names: Vec<String>,
    /// The folder to put key, certificate and root into; what is there of the same party is replaced
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: PathBuf,
    /// How long it is valid, and no longer than the authority
    #[arg(long, value_name = "DURATION", default_value = LEAF_VALID, value_parser = valid)]
    valid: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `holdfast ca show`.
#[derive(Args, Debug)]
struct ShowArgs {
    /// A file with certificates or a request, or a folder with such files
    #[arg(value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `holdfast ca bundle`.
#[derive(Args, Debug)]
struct BundleArgs {
    #[command(subcommand)]
    command: BundleChange,
}

/// `holdfast ca bundle ...`.
#[derive(Subcommand, Debug)]
enum BundleChange {
    /// Believe a root, beside those that are believed
    #[command(after_help = help::BUNDLE_ADD)]
    Add(BundleChangeArgs),
    /// Believe a root no more
    #[command(after_help = help::BUNDLE_REMOVE)]
    Remove(BundleChangeArgs),
}

/// `holdfast ca bundle add` and `remove`.
#[derive(Args, Debug)]
struct BundleChangeArgs {
    /// The file with the root
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    root: PathBuf,
    /// Folders with a bundle (of stores, clients, operators, authorities), or bundles
    #[arg(value_name = "DIR|FILE", required = true, value_hint = ValueHint::AnyPath)]
    places: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl RequestArgs {
    /// The authority that asks, if it is one.
    fn scope(&self) -> anyhow::Result<Option<Scope>> {
        match self.authority.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => Ok(None),
            ["people"] => Ok(Some(Scope::People)),
            ["site", site] => Ok(Some(Scope::Site(SiteName::new(site).map_err(anyhow::Error::msg)?))),
            _ => bail!("--authority is followed by `site SITE`, or by `people`"),
        }
    }
}

fn domain(text: &str) -> Result<TrustDomain, String> {
    TrustDomain::new(text).map_err(|why| why.to_string())
}

/// The name of a client or an operator, on a command line.
pub fn name(text: &str) -> Result<PrincipalName, String> {
    PrincipalName::new(text).map_err(|why| why.to_string())
}

/// A certificate that is valid for no time is a mistake, and so is one for centuries.
fn valid(text: &str) -> Result<Duration, String> {
    let valid = humantime::parse_duration(text).map_err(|why| why.to_string())?;
    if valid < Duration::from_secs(1) || valid > limits::TRUST_LONGEST {
        let most = humantime::format_duration(limits::TRUST_LONGEST);
        return Err(format!("a certificate is valid for a second at least, and for {most} at most"));
    }
    Ok(valid)
}

/// Runs a subcommand.
pub fn run(args: &CaArgs) -> anyhow::Result<()> {
    match &args.command {
        CaCommand::Init(args) => authorities::init(args),
        CaCommand::Site(args) => authorities::below(&Scope::Site(args.site.clone()), &args.names, &args.authority),
        CaCommand::People(args) => authorities::below(&Scope::People, &[], args),
        CaCommand::Request(args) => leaves::request(args),
        CaCommand::Sign(args) => leaves::sign(args),
        CaCommand::Leaf(args) => leaves::leaf(args),
        CaCommand::Bundle(args) => bundle::change(args),
        CaCommand::Show(args) => show::show(args),
    }
}

/// The text of a file, which has a bound.
fn read(path: &Path) -> anyhow::Result<String> {
    let read = holdfast_files::read(path, limits::TRUST_FILE_BYTES);
    let bytes = read.with_context(|| format!("cannot read {}", path.display()))?;
    let bytes = bytes.with_context(|| format!("there is no {}", path.display()))?;
    String::from_utf8(bytes).with_context(|| format!("{} is no text", path.display()))
}

/// A time as it is printed.
fn at(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

//! The subcommands of `holdfast fleet` that talk to the sites.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueHint};
use holdfast_client::Security;
use holdfast_control::access::{self, Access};
use holdfast_control::apply::{self, Ended, Options, Run};
use holdfast_control::connect::{self, Limits, Reach};
use holdfast_control::stores::{StoreView, Stores};
use holdfast_control::sync::{self, Synced};
use holdfast_control::{audit, plan, report, status};
use holdfast_k8s::Fleet;
use holdfast_output::{Lines, Unwritten, errln, out, outln, visible};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::stores::FleetStores;
use super::{FileArgs, INVALID, fleet_of};
use crate::connecting::{ADDRESSES, Through, saying};
use crate::table::Table;

/// There is something to do, or something was found: as for a file that is invalid.
const FOUND: u8 = INVALID;
/// Not everything could be looked at.
const UNSEEN: u8 = 3;

/// The file, and the way to its sites.
#[derive(Args, Debug)]
pub struct LiveArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The kubeconfig with the contexts of the sites [default: that of KUBECONFIG, or ~/.kube/config]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    kubeconfig: Option<PathBuf>,
    /// Seconds that an API server may take for one answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

/// `holdfast fleet plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    live: LiveArgs,
    /// This site alone
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Show what is unchanged too
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `holdfast fleet apply`.
#[derive(Args, Debug)]
pub struct ApplyArgs {
    #[command(flatten)]
    live: LiveArgs,
    #[command(flatten)]
    stores: StoresArgs,
    /// This site alone
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Take fields over that others own
    #[arg(long)]
    take_over: bool,
    /// Delete configurations of the site that no pod uses any more
    #[arg(long)]
    prune: bool,
    /// Seconds that a pod or a site may take to be well again
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wait: u64,
}

/// Where the stores are asked.
#[derive(Args, Debug)]
#[command(mut_arg(ADDRESSES, |at| {
    saying("Client addresses of stores, separated by commas [default: through the API servers]")(at).default_value(None::<&str>)
}))]
pub struct StoresArgs {
    /// Where it goes
    #[command(flatten)]
    through: Through,
}

/// `holdfast fleet status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    live: LiveArgs,
    #[command(flatten)]
    stores: StoresArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `holdfast fleet audit`.
#[derive(Args, Debug)]
pub struct AuditArgs {
    #[command(flatten)]
    live: LiveArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `holdfast fleet sync`.
#[derive(Args, Debug)]
pub struct SyncArgs {
    #[command(flatten)]
    live: LiveArgs,
    /// Write into this site alone; addresses are taken from all
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Keep on until it is stopped
    #[arg(long)]
    watch: bool,
}

/// `holdfast fleet access`.
#[derive(Args, Debug)]
pub struct AccessArgs {
    #[command(flatten)]
    live: LiveArgs,
    /// This site alone
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Hours that the access lasts; an API server may grant fewer
    #[arg(long, value_name = "HOURS", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=720))]
    hours: u64,
    /// Write it here, readable by you alone [default: standard output]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: Option<PathBuf>,
}

/// A valid fleet, and the ways to its sites.
struct Live {
    fleet: Fleet,
    kubeconfig: connect::Kubeconfig,
    reaches: Vec<Reach>,
    limits: Limits,
}

impl Live {
    /// `None`: the file is invalid, which was told.
    async fn open(args: &LiveArgs) -> anyhow::Result<Option<Self>> {
        let Some(fleet) = fleet_of(&args.file)? else { return Ok(None) };
        let call = Duration::from_secs(args.timeout);
        let limits = Limits { call, site: call * 6, ..Limits::default() };
        let kubeconfig = connect::kubeconfig(args.kubeconfig.as_deref())?;
        let reaches = connect::reach(&fleet, &kubeconfig, &limits).await;
        Ok(Some(Self { fleet, kubeconfig, reaches, limits }))
    }

    fn check_site(&self, site: Option<&str>) -> anyhow::Result<()> {
        let names: Vec<_> = self.fleet.sites.iter().map(|site| site.name.as_str()).collect();
        if let Some(site) = site.filter(|site| !names.contains(site)) {
            anyhow::bail!("the fleet has no site {site:?}; it has {}", names.join(", "));
        }
        Ok(())
    }

    /// Leaves one site.
    fn only(&mut self, site: Option<&str>) -> anyhow::Result<()> {
        self.check_site(site)?;
        self.reaches.retain(|reach| site.is_none_or(|site| reach.site.name == site));
        Ok(())
    }

    async fn stores(&self, at: &[String], security: Security) -> StoreView {
        let stores = FleetStores { fleet: &self.fleet, reaches: &self.reaches, at: at.to_vec(), security };
        let late = |_| StoreView::Unknown(format!("no answer within {:?}", self.limits.site));
        timeout(self.limits.site, stores.view()).await.unwrap_or_else(late)
    }
}

/// Opens, or ends with the exit code of an invalid file.
macro_rules! open {
    ($args:expr) => {
        match Live::open($args).await? {
            Some(live) => live,
            None => return Ok(ExitCode::from(INVALID)),
        }
    };
}

/// `holdfast fleet plan`.
pub async fn plan(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let mut live = open!(&args.live);
    live.only(args.site.as_deref())?;
    let plans = plan::plan(&live.fleet, &live.reaches, &live.limits).await;
    if args.json {
        outln!("{}", serde_json::to_string_pretty(&report::plan_json(&plans))?)?;
    } else {
        out!("{}", report::plan_text(&plans, args.all))?;
    }
    let looked: Vec<_> = plans.iter().filter_map(|plan| plan.looked.as_ref().ok()).collect();
    Ok(code(looked.len() == plans.len(), looked.iter().all(|looked| looked.is_as_wanted())))
}

fn code(has_seen_all: bool, is_clean: bool) -> ExitCode {
    match (has_seen_all, is_clean) {
        (false, _) => ExitCode::from(UNSEEN),
        (true, false) => ExitCode::from(FOUND),
        (true, true) => ExitCode::SUCCESS,
    }
}

/// What is said of the sites while something goes on.
#[derive(Default)]
struct Speech {
    lines: Lines,
    unheard: Notify,
}

impl Speech {
    fn say(&self, site: &str, line: &str) {
        if !self.lines.say(&format!("{site}: {line}")) {
            self.unheard.notify_one();
        }
    }

    /// Does something that speaks, or ends it when nobody listens any more: as by Ctrl-C, after which the next one goes on.
    async fn during<T>(&self, work: impl Future<Output = T>) -> anyhow::Result<T> {
        let done = tokio::select! {
            done = work => Some(done),
            () = self.unheard.notified() => None,
        };
        self.lines.end()?;
        done.context("nobody listens")
    }
}

/// `holdfast fleet apply`.
pub async fn apply(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    let security = args.stores.through.security()?;
    let mut live = open!(&args.live);
    live.check_site(args.site.as_deref())?;
    live.limits.gate = Duration::from_secs(args.wait);
    let stores =
        FleetStores { fleet: &live.fleet, reaches: &live.reaches, at: args.stores.through.at.clone(), security };
    let options = Options { only: args.site.clone(), takes_over: args.take_over, prunes: args.prune };
    let (fleet, reaches, limits) = (&live.fleet, live.reaches.as_slice(), live.limits);
    let speech = Speech::default();
    let say = |site: &str, line: &str| speech.say(site, line);
    let run = Run { fleet, reaches, stores: &stores, limits, options, say: &say };
    let applied = speech.during(apply::apply(&run)).await?;
    out!("{}", report::applied_text(&applied))?;
    let is_unseen = |ended: &Ended| matches!(ended, Ended::Failed(failure) if failure.is_blind());
    let is_done = |ended: &Ended| *ended == Ended::Done;
    Ok(if applied.iter().any(|site| !is_done(&site.ended) && !is_unseen(&site.ended)) {
        ExitCode::FAILURE
    } else {
        code(applied.iter().all(|site| is_done(&site.ended)), true)
    })
}

/// `holdfast fleet status`.
pub async fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let security = args.stores.through.security()?;
    let live = open!(&args.live);
    let stores = live.stores(&args.stores.through.at, security);
    let (sites, stores) = tokio::join!(status::status(&live.fleet, &live.reaches, &live.limits), stores);
    if args.json {
        outln!("{}", serde_json::to_string_pretty(&status::as_json(&live.fleet, &sites, &stores))?)?;
    } else {
        print_status(&live.fleet, &sites, &stores)?;
    }
    let is_known = !matches!(stores, StoreView::Unknown(_));
    Ok(code(is_known && sites.iter().all(|site| site.seen.is_ok()), true))
}

fn print_status(fleet: &Fleet, sites: &[status::SiteStatus], stores: &StoreView) -> Result<(), Unwritten> {
    match stores {
        StoreView::NotFounded => outln!("Fleet {}: not founded yet: `holdfast init` on one store, once", fleet.name)?,
        StoreView::Unknown(why) => outln!("Fleet {}: its stores could not be asked: {why}", fleet.name)?,
        StoreView::Known(known) => outln!(
            "Fleet {}: {} stores, {} ranges ({} led)",
            fleet.name,
            known.stores.len(),
            known.ranges,
            known.ranges_led
        )?,
    }
    let mut table = Table::new(&status::HEADING);
    status::rows(fleet, sites, stores).into_iter().for_each(|row| table.row(row));
    out!("{table}")?;
    for (site, rollout) in status::rollouts(fleet, sites) {
        outln!("rollout: {site}: {rollout}")?;
    }
    for site in sites {
        if let Err(failure) = &site.seen {
            outln!("not seen: {}: {failure}", site.site)?;
        }
    }
    if let StoreView::Known(known) = stores {
        known.troubles.iter().try_for_each(|trouble| outln!("warning: {}", visible(&trouble.what)))?;
    }
    Ok(())
}

/// `holdfast fleet audit`.
pub async fn audit(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    let live = open!(&args.live);
    let audit = audit::audit(&live.fleet, &live.reaches, &live.limits).await;
    if args.json {
        outln!("{}", serde_json::to_string_pretty(&audit.as_json())?)?;
    } else {
        out!("{audit}")?;
    }
    Ok(code(audit.has_seen_all(), audit.is_clean()))
}

/// `holdfast fleet sync`.
pub async fn sync(args: &SyncArgs) -> anyhow::Result<ExitCode> {
    let live = open!(&args.live);
    live.check_site(args.site.as_deref())?;
    if !live.fleet.is_mirrored() {
        outln!("nothing to do: in this mode the stores of other sites are found by other means")?;
        return Ok(ExitCode::SUCCESS);
    }
    let only = args.site.as_deref();
    if args.watch {
        let speech = Speech::default();
        let say = |site: &str, line: &str| speech.say(site, line);
        tokio::select! {
            watched = speech.during(sync::watch(&live.fleet, &live.reaches, only, &say)) => watched?,
            ended = crate::fleet::stopped() => ended?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let synced = sync::once(&live.fleet, &live.reaches, only).await;
    synced.iter().try_for_each(|one| out!("{}", synced_text(one)))?;
    // Addresses of a site that is not written to are needed too, but it is told above whose are missing.
    Ok(code(synced.iter().all(|one| one.found.is_ok() && one.written.is_ok()), true))
}

fn synced_text(synced: &Synced) -> String {
    let site = &synced.site;
    let found = match &synced.found {
        Ok(count) => format!("{site}: {count} addresses found\n"),
        Err(failure) => format!("{site}: addresses not found, those in the other sites stay: {failure}\n"),
    };
    let written = match &synced.written {
        Ok(slices) if slices.is_empty() => format!("{site}: has the addresses of the others\n"),
        Ok(slices) => format!("{site}: wrote {}\n", slices.join(", ")),
        // The same sentence twice helps nobody.
        Err(failure) if synced.found.as_ref().err() == Some(failure) => String::new(),
        Err(failure) => format!("{site}: not written to: {failure}\n"),
    };
    found + &written
}

/// `holdfast fleet access`.
pub async fn access(args: &AccessArgs) -> anyhow::Result<ExitCode> {
    let mut live = open!(&args.live);
    live.only(args.site.as_deref())?;
    let account = access::account(&live.fleet.name);
    let (mut accesses, mut has_all) = (Vec::new(), true);
    for reach in &live.reaches {
        match token(&live, reach, &account, args.hours).await {
            Ok(access) => {
                errln!("{}: {account} until {}", reach.site.name, access.token.expires);
                accesses.push(access);
            }
            Err(error) => {
                errln!("{}: {error:#}", reach.site.name);
                has_all = false;
            }
        }
    }
    if !accesses.is_empty() {
        let text = access::kubeconfig(&live.kubeconfig, &live.fleet.namespace, &accesses)?;
        match &args.out {
            // Nobody else can read it, from its first byte on.
            Some(out) => {
                holdfast_files::replace(out, text.as_bytes()).with_context(|| format!("writing {}", out.display()))?
            }
            None => out!("{text}")?,
        }
    }
    Ok(code(has_all, true))
}

async fn token(live: &Live, reach: &Reach, account: &str, hours: u64) -> anyhow::Result<Access> {
    let link = reach.link.as_ref().map_err(Clone::clone)?;
    link.check_uid().await?;
    let token = access::token(link, &live.fleet.namespace, account, hours * 3600).await;
    let token = token.context("no token; has the fleet been applied to the site, and may you hand out tokens?")?;
    Ok(Access { context: reach.site.context.clone(), token })
}

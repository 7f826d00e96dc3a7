//! `holdfast trust`: how the fleet's trust stands, rotations of the root, and sites that are distrusted.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueHint};
use holdfast_client::admin::{
    Admin, Anyway, DistrustMeaning, Distrusted, Fingerprint, FleetTrust, Rotated, Rotation, RotationStep, SiteName,
    StoreStanding, StoreTrust, Timestamp,
};
use holdfast_output::{errln, out, outln, visible};
use holdfast_trust::RootInfo;
use holdfast_types::limits;
use serde_json::json;

use super::due::moment;
use super::help;
use super::shown::since_1970;
use crate::connecting::Through;
use crate::table::Table;

/// Something is due: what the command was asked for was done, and somebody has something to do.
const DUE: u8 = 2;

/// `holdfast trust`.
#[derive(Args, Debug)]
pub struct TrustArgs {
    #[command(subcommand)]
    command: TrustCommand,
}

#[derive(Subcommand, Debug)]
enum TrustCommand {
    /// Show every store's certificate and roots, how far a rotation is, and what is due
    #[command(after_help = help::STATUS)]
    Status(StatusArgs),
    /// Replace the root: in three phases, each when every store has shown the one before
    #[command(after_help = help::ROTATE)]
    Rotate(RotateArgs),
    /// Stop believing somebody
    #[command(after_help = help::REVOKE)]
    Revoke(RevokeArgs),
    /// Believe somebody again
    #[command(after_help = help::RESTORE)]
    Restore(RestoreArgs),
}

/// Where a command goes.
#[derive(Args, Debug)]
struct Target {
    /// Where it goes
    #[command(flatten)]
    through: Through,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Target {
    fn admin(&self) -> anyhow::Result<Admin> {
        self.through.admin()
    }
}

/// `holdfast trust status`.
#[derive(Args, Debug)]
struct StatusArgs {
    #[command(flatten)]
    target: Target,
}

/// `holdfast trust rotate`.
#[derive(Args, Debug)]
struct RotateArgs {
    #[command(subcommand)]
    step: RotateStep,
}

#[derive(Subcommand, Debug)]
enum RotateStep {
    /// Begin: the new root is to go into every bundle
    #[command(after_help = help::ROTATE_ADD)]
    Add(AddArgs),
    /// Every bundle has it: certificates may be made below the new root
    #[command(after_help = help::ROTATE_SWITCH)]
    Switch(StepArgs),
    /// Every certificate is: the old root may go
    #[command(after_help = help::ROTATE_REMOVE)]
    Remove(StepArgs),
    /// Give it up, and stay with the old root
    #[command(after_help = help::ROTATE_ABORT)]
    Abort(StepArgs),
}

/// `holdfast trust rotate add`.
#[derive(Args, Debug)]
struct AddArgs {
    /// The certificate of the new root (PEM). It is not sent anywhere: it is only put on record which root is to come
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    root: PathBuf,
    #[command(flatten)]
    target: Target,
}

/// `holdfast trust rotate switch`, `remove` and `abort`.
#[derive(Args, Debug)]
struct StepArgs {
    #[command(flatten)]
    target: Target,
}

/// `holdfast trust revoke`.
#[derive(Args, Debug)]
struct RevokeArgs {
    #[command(subcommand)]
    what: Revoked,
}

#[derive(Subcommand, Debug)]
enum Revoked {
    /// Distrust a site: all stores end their connections with its stores, which count as lost
    #[command(after_help = help::REVOKE_SITE)]
    Site(RevokeSiteArgs),
}

/// `holdfast trust revoke site`.
#[derive(Args, Debug)]
struct RevokeSiteArgs {
    /// The site
    #[arg(value_name = "SITE", value_parser = site_name)]
    site: SiteName,
    /// Do not ask; also when it is the last site that is trusted, or that of the store that is asked
    #[arg(long)]
    yes: bool,
    /// Also when ranges are left without a quorum, and stand still until the site is trusted again
    #[arg(long)]
    even_if_ranges_stop: bool,
    #[command(flatten)]
    target: Target,
}

/// `holdfast trust restore`.
#[derive(Args, Debug)]
struct RestoreArgs {
    #[command(subcommand)]
    what: Restored,
}

#[derive(Subcommand, Debug)]
enum Restored {
    /// Trust a site again that was distrusted
    #[command(after_help = help::RESTORE_SITE)]
    Site(RestoreSiteArgs),
}

/// `holdfast trust restore site`.
#[derive(Args, Debug)]
struct RestoreSiteArgs {
    /// The site
    #[arg(value_name = "SITE", value_parser = site_name)]
    site: SiteName,
    #[command(flatten)]
    target: Target,
}

fn site_name(text: &str) -> Result<SiteName, String> {
    SiteName::new(text)
}

/// Does what was asked for.
pub async fn run(args: &TrustArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        TrustCommand::Status(args) => status(&args.target).await,
        TrustCommand::Rotate(args) => match &args.step {
            RotateStep::Add(args) => {
                let root = new_root(&args.root)?;
                rotate(&args.target, RotationStep::Add(root)).await
            }
            RotateStep::Switch(args) => rotate(&args.target, RotationStep::Switch).await,
            RotateStep::Remove(args) => rotate(&args.target, RotationStep::Remove).await,
            RotateStep::Abort(args) => rotate(&args.target, RotationStep::Abort).await,
        },
        TrustCommand::Revoke(RevokeArgs { what: Revoked::Site(args) }) => revoke(args).await,
        TrustCommand::Restore(RestoreArgs { what: Restored::Site(args) }) => restore(args).await,
    }
}

fn code(is_due: bool) -> ExitCode {
    if is_due { ExitCode::from(DUE) } else { ExitCode::SUCCESS }
}

async fn status(target: &Target) -> anyhow::Result<ExitCode> {
    let trust = target.admin()?.trust().await?;
    if target.json {
        outln!("{}", serde_json::to_string_pretty(&as_json(&trust))?)?;
    } else {
        out!("{}", in_words(&trust))?;
    }
    Ok(code(!trust.due.is_empty()))
}

fn in_words(trust: &FleetTrust) -> String {
    let mut words = store_table(&trust.stores).to_string();
    words.push_str(&root_table(&trust.stores).to_string());
    if let Some(rotation) = &trust.rotation {
        words.push_str(&format!("{}\n", rotation_in_words(rotation, trust.behind.is_empty())));
    }
    for behind in &trust.behind {
        words.push_str(&format!("  {} ({}): {}\n", behind.store, behind.site, visible(&behind.what)));
    }
    for due in &trust.due {
        words.push_str(&format!("due: {}\n", visible(due)));
    }
    if trust.due.is_empty() {
        words.push_str("All is in order.\n");
    }
    words
}

fn store_table(stores: &[StoreStanding]) -> Table {
    let mut table = Table::new(&["store", "site", "certificate ends", "root in use", "roots", "reloads", "refused"]);
    for standing in stores {
        let (store, site) = (standing.store.to_string(), standing.site.to_string());
        let row = match (&standing.trust, &standing.silent) {
            (Some(trust), _) => vec![
                store,
                site,
                moment(since_1970(trust.expires_at)),
                trust.root_in_use.map_or_else(|| "-".into(), |root| root.short()),
                shown_roots(trust),
                trust.reloads.to_string(),
                trust.refusals.to_string(),
            ],
            (None, Some(_)) => vec![store, site, "no answer".into(), "-".into(), "-".into(), "-".into(), "-".into()],
            (None, None) => vec![store, site, "no TLS".into(), "-".into(), "-".into(), "-".into(), "-".into()],
        };
        table.row(row);
    }
    table
}

fn shown_roots(trust: &StoreTrust) -> String {
    trust.roots.iter().map(|root| root.fingerprint.short()).collect::<Vec<_>>().join(" ")
}

/// Each root once, however many bundles have it.
fn root_table(stores: &[StoreStanding]) -> Table {
    let mut table = Table::new(&["root", "ends", "subject", "fingerprint"]);
    let mut seen = std::collections::BTreeMap::new();
    for root in stores.iter().filter_map(|standing| standing.trust.as_ref()).flat_map(|trust| &trust.roots) {
        seen.entry(root.fingerprint).or_insert(root);
    }
    for (print, root) in seen {
        table.row(vec![print.short(), moment(since_1970(root.expires_at)), root.subject.clone(), print.to_string()]);
    }
    table
}

fn rotation_in_words(rotation: &Rotation, all_have_shown: bool) -> String {
    let (phase, new) = (rotation.phase, rotation.new_root.short());
    let old: Vec<_> = rotation.old_roots.iter().map(Fingerprint::short).collect();
    let shown = if all_have_shown { "every store has shown it" } else { "not every store has shown it" };
    format!(
        "Rotation of the root from {} to {new}: phase `{}` since {}, {shown}",
        old.join(", "),
        phase.as_str(),
        at(rotation.phase_at)
    )
}

fn at(stamp: Timestamp) -> String {
    moment(stamp.ms() / 1_000)
}

fn as_json(trust: &FleetTrust) -> serde_json::Value {
    json!({
        "stores": trust.stores.iter().map(store_json).collect::<Vec<_>>(),
        "rotation": trust.rotation.as_ref().map(rotation_json),
        "behind": trust.behind.iter().map(behind_json).collect::<Vec<_>>(),
        "distrusted": trust.distrusted.iter().map(|said| said.site.as_str()).collect::<Vec<_>>(),
        "due": trust.due,
        "in_order": trust.due.is_empty(),
    })
}

fn store_json(standing: &StoreStanding) -> serde_json::Value {
    let shown = standing.trust.as_ref().map(|trust| {
        let roots = trust.roots.iter().map(|root| {
            let ends = moment(since_1970(root.expires_at));
            json!({ "fingerprint": root.fingerprint.to_string(), "subject": root.subject, "ends": ends })
        });
        json!({
            "identity": trust.identity,
            "certificate": trust.certificate.map(|print| print.to_string()),
            "begins": moment(since_1970(trust.issued_at)),
            "ends": moment(since_1970(trust.expires_at)),
            "root_in_use": trust.root_in_use.map(|print| print.to_string()),
            "roots": roots.collect::<Vec<_>>(),
            "refused": trust.refused,
            "reloads": trust.reloads,
            "refusals": trust.refusals,
            "distrusted": trust.distrusted.iter().map(SiteName::as_str).collect::<Vec<_>>(),
        })
    });
    json!({ "store": standing.store.0, "site": standing.site.as_str(), "silent": standing.silent, "trust": shown })
}

fn rotation_json(rotation: &Rotation) -> serde_json::Value {
    json!({
        "phase": rotation.phase.as_str(),
        "new_root": rotation.new_root.to_string(),
        "old_roots": rotation.old_roots.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "begun_at": at(rotation.begun_at),
        "phase_at": at(rotation.phase_at),
    })
}

fn behind_json(behind: &holdfast_client::admin::BehindStore) -> serde_json::Value {
    json!({ "store": behind.store.0, "site": behind.site.as_str(), "what": behind.what })
}

/// The one root of a file.
fn new_root(path: &std::path::Path) -> anyhow::Result<Fingerprint> {
    let shown = || format!("reading {}", path.display());
    let text = holdfast_files::read(path, limits::TRUST_FILE_BYTES).with_context(shown)?;
    let text = text.with_context(|| format!("{} is not there", path.display()))?;
    let roots = RootInfo::of_pem(&text).with_context(shown)?;
    match roots.as_slice() {
        [root] => {
            anyhow::ensure!(
                root.expires_at > std::time::SystemTime::now(),
                "the root in {} ended at {}: make a new one",
                path.display(),
                moment(since_1970(root.expires_at))
            );
            Ok(root.fingerprint)
        }
        roots => anyhow::bail!(
            "{} has {} certificates: name the file with the one root that is to come, not a bundle",
            path.display(),
            roots.len()
        ),
    }
}

async fn rotate(target: &Target, step: RotationStep) -> anyhow::Result<ExitCode> {
    let rotated = target.admin()?.rotate_root(step).await?;
    if target.json {
        outln!(
            "{}",
            json!({
                "rotation": rotation_json(&rotated.rotation),
                "changed": rotated.changed,
                "behind": rotated.behind.iter().map(behind_json).collect::<Vec<_>>(),
            })
        )?;
    } else {
        out!("{}", rotated_in_words(&rotated))?;
    }
    Ok(code(!rotated.behind.is_empty()))
}

fn rotated_in_words(rotated: &Rotated) -> String {
    use holdfast_client::admin::RotationPhase as Phase;
    let Rotated { rotation, changed, behind } = rotated;
    let new = rotation.new_root.short();
    let old: Vec<_> = rotation.old_roots.iter().map(Fingerprint::short).collect();
    let old = old.join(", ");
    let mut words = rotation_in_words(rotation, behind.is_empty());
    if !changed {
        words.push_str(" (it was there before)");
    }
    words.push('\n');
    for behind in behind {
        words.push_str(&format!("  {} ({}): {}\n", behind.store, behind.site, visible(&behind.what)));
    }
    let others =
        "Stores do not see the folders of clients and operators: see to those too (docs/runbooks/rotate-root.md).";
    let next = match (rotation.phase, behind.is_empty()) {
        (Phase::Add, false) => format!(
            "Put the new root {new} into every bundle, beside {old}; then `holdfast trust rotate switch`. {others}"
        ),
        (Phase::Add, true) => format!(
            "Every bundle of a store has both: `holdfast trust rotate switch`, when those of clients have, too. {others}"
        ),
        (Phase::Switch, false) => {
            format!("Have every certificate made anew below {new}; then `holdfast trust rotate remove`. {others}")
        }
        (Phase::Switch, true) => {
            format!(
                "Every certificate of a store leads to {new}: `holdfast trust rotate remove`, when those of clients do, too. {others}"
            )
        }
        (Phase::Remove, false) => format!("Take {old} out of every bundle. {others}"),
        (Phase::Remove, true) => format!("The rotation is over: nobody trusts {old} any more."),
        (Phase::Aborted, false) => format!("Take {new} out of every bundle again."),
        (Phase::Aborted, true) => format!("It is given up, and no bundle of a store has {new}."),
    };
    words.push_str(&format!("{next}\n"));
    words
}

async fn revoke(args: &RevokeSiteArgs) -> anyhow::Result<ExitCode> {
    let (admin, site) = (args.target.admin()?, &args.site);
    let judged = admin.judge_distrust(site).await?;
    if let Some(meaning) = &judged.meaning
        && !judged.site.distrusted_at.gt(&judged.site.restored_at)
    {
        // Standard output belongs to the result.
        for line in meaning_in_words(site, meaning) {
            errln!("{}", visible(&line));
        }
    }
    if !args.yes {
        anyhow::ensure!(
            judged.asked_site != *site,
            "the store that answers is of {site} itself: ask a store of another site (--at), or do it all the same with --yes"
        );
        anyhow::ensure!(
            judged.meaning.as_ref().is_none_or(|meaning| !meaning.is_last),
            "{site} is the last site that is trusted: --yes does it all the same"
        );
        confirm(site)?;
    }
    let anyway = Anyway { ranges_stop: args.even_if_ranges_stop, last_or_asked: args.yes };
    let distrusted = admin.distrust_site(site, anyway).await?;
    told(&args.target, &distrusted)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks a person; a program says --yes.
fn confirm(site: &SiteName) -> anyhow::Result<()> {
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "nothing was done: read what it means, and say --yes (standard input is no terminal, so nobody can be asked)"
    );
    errln!("Type the name of the site to distrust it:");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("reading the answer")?;
    anyhow::ensure!(answer.trim() == site.as_str(), "nothing was done");
    Ok(())
}

fn meaning_in_words(site: &SiteName, meaning: &DistrustMeaning) -> Vec<String> {
    let names: Vec<_> = meaning.stores.iter().map(ToString::to_string).collect();
    let mut words = vec![format!(
        "To distrust {site} means: {} count as lost, and no other store takes a connection from them or makes one to them.",
        if names.is_empty() { "stores that join from there".to_owned() } else { names.join(", ") }
    )];
    let (led, losing) = (meaning.ranges_led, meaning.ranges_losing_a_voter);
    words.push(format!(
        "  {} led there now: others take over. {} a voter.",
        ranges(led, "is", "are"),
        ranges(losing, "loses", "lose")
    ));
    match meaning.ranges_without_replacement {
        0 => {}
        n => words.push(format!(
            "  {} no other place for it, and one voter less until there is: add a site.",
            ranges(n, "has", "have")
        )),
    }
    if meaning.ranges_stopped > 0 {
        let named: Vec<_> = meaning.stopped.iter().map(ToString::to_string).collect();
        words.push(format!(
            "  {} WITHOUT A QUORUM, and stand still until it is trusted again: {}",
            ranges(meaning.ranges_stopped, "is left", "are left"),
            named.join(", ")
        ));
    }
    match &meaning.headroom {
        Some(headroom) if meaning.enough => words.push(format!("  The others bear the load: {headroom}")),
        Some(headroom) => words.push(format!("  The others DO NOT bear the load: {headroom}")),
        None => {}
    }
    words
}

fn ranges(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 range {one}") } else { format!("{n} ranges {many}") }
}

async fn restore(args: &RestoreSiteArgs) -> anyhow::Result<ExitCode> {
    let restored = args.target.admin()?.trust_site(&args.site).await?;
    told(&args.target, &restored)?;
    Ok(ExitCode::SUCCESS)
}

fn told(target: &Target, distrusted: &Distrusted) -> anyhow::Result<()> {
    for untold in &distrusted.untold {
        errln!(
            "warning: {} ({}) could not be told: {}. It hears of it from the first store that it reaches",
            untold.store,
            untold.site,
            visible(&untold.what)
        );
    }
    if target.json {
        outln!("{}", distrusted_json(distrusted))?;
    } else {
        outln!("{}", distrusted_in_words(distrusted))?;
    }
    Ok(())
}

fn distrusted_in_words(distrusted: &Distrusted) -> String {
    let site = &distrusted.site.site;
    let told = distrusted.told.len();
    let all = told + distrusted.untold.len();
    let known = format!("{told} of {all} stores of other sites know it");
    match (distrusted.site.distrusted_at > distrusted.site.restored_at, distrusted.changed) {
        (true, true) => format!(
            "{site} is distrusted, and its stores count as lost. {known}. `holdfast trust restore site {site}` takes it back."
        ),
        (true, false) => format!("{site} was distrusted before: nothing has changed. {known}."),
        (false, true) => format!("{site} is trusted again. Its stores come back as after any absence."),
        (false, false) => format!("{site} was trusted: nothing has changed."),
    }
}

fn distrusted_json(distrusted: &Distrusted) -> serde_json::Value {
    // Strings, as with versions: they have 64 bits.
    let stamp = |at: Option<Timestamp>| at.map(|at| at.0.to_string());
    let meaning = distrusted.meaning.as_ref().map(|meaning| {
        json!({
            "stores": meaning.stores.iter().map(|store| store.0).collect::<Vec<_>>(),
            "ranges_led": meaning.ranges_led,
            "ranges_losing_a_voter": meaning.ranges_losing_a_voter,
            "ranges_without_replacement": meaning.ranges_without_replacement,
            "ranges_stopped": meaning.ranges_stopped,
            "headroom": meaning.headroom,
            "enough": meaning.enough,
        })
    });
    json!({
        "site": distrusted.site.site.as_str(),
        "distrusted_at": stamp(distrusted.site.distrusted_at),
        "restored_at": stamp(distrusted.site.restored_at),
        "changed": distrusted.changed,
        "meaning": meaning,
        "told": distrusted.told.iter().map(|store| store.0).collect::<Vec<_>>(),
        "untold": distrusted.untold.iter().map(behind_json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;

//! `holdfast fleet`: one file for all sites. What it means is in `holdfast-k8s`, what is done with it to the sites in `holdfast-control`; here are
//! the files and the terminal.
//!
//! - [`live`]: the subcommands that talk to the sites
//! - [`stores`]: what the stores of a fleet say to its control plane

mod live;
mod stores;

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand, ValueHint};
use holdfast_k8s::fleet::{Finding, Report, Severity};
use holdfast_k8s::render::written::{self, Change};
use holdfast_k8s::{Fleet, explain, render, schema, validate};
use holdfast_output::{errln, out, outln};
use tokio::signal::unix::{SignalKind, signal};

use crate::help;

/// The fleet file is invalid.
const INVALID: u8 = 2;

/// `holdfast fleet`.
#[derive(Args, Debug)]
pub struct FleetArgs {
    /// What to do
    #[command(subcommand)]
    command: FleetCommand,
}

/// `holdfast fleet ...`.
#[derive(Subcommand, Debug)]
enum FleetCommand {
    /// Check the file: every error and warning with its line and column
    #[command(after_help = help::FLEET_VALIDATE)]
    Validate(ValidateArgs),
    /// Say in sentences what the fleet survives, what it costs and who is reached where
    #[command(after_help = help::FLEET_EXPLAIN)]
    Explain(FileArgs),
    /// Write the Kubernetes objects of each site
    #[command(after_help = help::FLEET_RENDER)]
    Render(RenderArgs),
    /// Say what an apply would change in each site, and write nothing
    #[command(after_help = help::FLEET_PLAN)]
    Plan(Box<live::PlanArgs>),
    /// Write the objects of each site, one site and one pod at a time, with a look at the stores in between
    #[command(after_help = help::FLEET_APPLY)]
    Apply(Box<live::ApplyArgs>),
    /// Show what Kubernetes and what the stores say, side by side
    #[command(after_help = help::FLEET_STATUS)]
    Status(Box<live::StatusArgs>),
    /// Find what is not as the file says, and who made it so
    #[command(after_help = help::FLEET_AUDIT)]
    Audit(Box<live::AuditArgs>),
    /// Mirror the addresses of each site's stores into the other sites
    #[command(after_help = help::FLEET_SYNC)]
    Sync(Box<live::SyncArgs>),
    /// Make a kubeconfig that expires, for the account that operates the fleet
    #[command(after_help = help::FLEET_ACCESS)]
    Access(Box<live::AccessArgs>),
    /// Print the JSON schema of the file
    #[command(after_help = help::FLEET_SCHEMA)]
    Schema,
}

/// The file.
#[derive(Args, Debug)]
struct FileArgs {
    /// The fleet file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

/// `holdfast fleet validate`.
#[derive(Args, Debug)]
struct ValidateArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `holdfast fleet render`.
#[derive(Args, Debug)]
struct RenderArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Where to write: a folder of its own
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: PathBuf,
}

/// Runs the subcommand.
pub async fn run(args: &FleetArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        FleetCommand::Validate(args) => run_validate(args),
        FleetCommand::Explain(args) => with_fleet(args, |fleet| {
            out!("{}", explain(fleet))?;
            Ok(())
        }),
        FleetCommand::Render(args) => with_fleet(&args.file, |fleet| write(fleet, &args.out)),
        FleetCommand::Plan(args) => Box::pin(live::plan(args)).await,
        FleetCommand::Apply(args) => Box::pin(live::apply(args)).await,
        FleetCommand::Status(args) => Box::pin(live::status(args)).await,
        FleetCommand::Audit(args) => Box::pin(live::audit(args)).await,
        FleetCommand::Sync(args) => Box::pin(live::sync(args)).await,
        FleetCommand::Access(args) => Box::pin(live::access(args)).await,
        FleetCommand::Schema => {
            out!("{}", schema())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Report> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(validate(&text))
}

fn line(file: &Path, finding: &Finding) -> String {
    format!("{}:{finding}", file.display())
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn verdict(file: &Path, report: &Report) -> String {
    let errors = counted(report.count(Severity::Error), "error");
    let warnings = counted(report.count(Severity::Warning), "warning");
    let verdict = if report.fleet.is_some() { "a valid fleet" } else { "no valid fleet" };
    format!("{}: {verdict}, {errors}, {warnings}", file.display())
}

fn code(report: &Report) -> ExitCode {
    if report.fleet.is_some() { ExitCode::SUCCESS } else { ExitCode::from(INVALID) }
}

fn run_validate(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    let file = &args.file.file;
    let report = read(file)?;
    if args.json {
        outln!("{}", as_json(&report))?;
    } else {
        report.findings.iter().try_for_each(|finding| outln!("{}", line(file, finding)))?;
        outln!("{}", verdict(file, &report))?;
    }
    Ok(code(&report))
}

fn as_json(report: &Report) -> serde_json::Value {
    let findings = report.findings.iter().map(|finding| {
        serde_json::json!({
            "severity": if finding.severity == Severity::Error { "error" } else { "warning" },
            "line": finding.place.line,
            "column": finding.place.column,
            "path": finding.path.to_string(),
            "message": finding.problem.to_string(),
        })
    });
    serde_json::json!({ "valid": report.fleet.is_some(), "findings": findings.collect::<Vec<_>>() })
}

/// Reads a fleet; findings go to standard error, since the result is another. `None`: it is not valid.
fn fleet_of(args: &FileArgs) -> anyhow::Result<Option<Fleet>> {
    let file = &args.file;
    let report = read(file)?;
    report.findings.iter().for_each(|finding| errln!("{}", line(file, finding)));
    if report.fleet.is_none() {
        errln!("{}", verdict(file, &report));
    }
    Ok(report.fleet)
}

/// Does something with a valid fleet.
fn with_fleet(args: &FileArgs, act: impl FnOnce(&Fleet) -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    let Some(fleet) = fleet_of(args)? else { return Ok(ExitCode::from(INVALID)) };
    act(&fleet)?;
    Ok(ExitCode::SUCCESS)
}

/// Waits until somebody asks the process to end.
async fn stopped() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("waiting for Ctrl-C"),
    }
}

/// Writes the trees of a fleet and says what has changed.
fn write(fleet: &Fleet, out: &Path) -> anyhow::Result<()> {
    let present = if out.exists() { files_below(out, out)? } else { BTreeSet::new() };
    let list = read_if_there(&out.join(written::LIST))?;
    let change = written::plan(&render(fleet), &present, list.as_deref())
        .with_context(|| format!("{} was left as it is", out.display()))?;
    let changed = carry_out(&change, out)?;
    for path in &change.remove {
        outln!("removed {}", out.join(path).display())?;
    }
    for path in &changed {
        outln!("wrote {}", out.join(path).display())?;
    }
    let unchanged = change.write.len() - 1 - changed.len();
    outln!(
        "{}: {}, {} written, {} removed, {unchanged} as before",
        out.display(),
        counted(fleet.sites.len(), "site"),
        changed.len(),
        change.remove.len()
    )?;
    Ok(())
}

/// Returns the files whose text was another before. The list comes first, so that whatever is broken off can be done again.
fn carry_out(change: &Change, out: &Path) -> anyhow::Result<Vec<String>> {
    put(&out.join(written::LIST), &change.list_meanwhile())?;
    let mut changed = Vec::new();
    for (path, text) in change.write.iter().filter(|(path, _)| *path != written::LIST) {
        let file = out.join(path);
        if read_if_there(&file)?.as_ref() != Some(text) {
            put(&file, text)?;
            changed.push(path.clone());
        }
    }
    for path in &change.remove {
        let file = out.join(path);
        fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
        // A site that is rendered no more leaves no folder behind; one with files in it stays.
        let _ = file.parent().filter(|folder| *folder != out).map(fs::remove_dir);
    }
    put(&out.join(written::LIST), &change.write[written::LIST])?;
    Ok(changed)
}

fn put(file: &Path, text: &str) -> anyhow::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

fn read_if_there(file: &Path) -> anyhow::Result<Option<String>> {
    match fs::read(file) {
        // What is no text was not written by us, and differs from whatever is.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
    }
}

/// Paths below `out` of everything that is no folder. Links are not followed.
fn files_below(out: &Path, folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let reading = || format!("reading {}", folder.display());
    for entry in fs::read_dir(folder).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let path = entry.path();
        if entry.file_type().with_context(reading)?.is_dir() {
            found.extend(files_below(out, &path)?);
        } else {
            let below = path.strip_prefix(out).expect("the walk began there");
            found.insert(below.to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::{Cli, StartArgs};
    use crate::config::Config;

    const MODES: [&str; 8] =
        ["calico-bgp", "cilium-global", "flat-dns", "flat-mirror", "istio", "loadbalancer", "mcs", "skupper"];

    fn example(mode: &str) -> Fleet {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../k8s/examples/{mode}/fleet.yaml"));
        read(&file).unwrap().fleet.unwrap()
    }

    fn object(text: &str) -> serde_json::Value {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn a_store_can_be_configured_by_what_is_rendered() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("holdfast.toml");
        for mode in MODES {
            let fleet = example(mode);
            for (tree, site) in render(&fleet).iter().zip(&fleet.sites) {
                let map = object(&tree.files["config-map.yaml"]);
                fs::write(&config, map["data"]["holdfast.toml"].as_str().unwrap()).unwrap();
                let set = object(&tree.files["stateful-set.yaml"]);
                let container = &set["spec"]["template"]["spec"]["containers"][0];
                let mut variables = container["env"].as_array().unwrap().iter();
                let tls = variables.find(|variable| variable["name"] == "HOLDFAST_TLS");
                let insecure = container["args"].as_array().unwrap().iter().filter(|arg| *arg == "--insecure").count();
                let host = fleet.host_of(site, "pod-0");
                let args = StartArgs {
                    config: Some(config.clone()),
                    tls: tls.map(|variable| variable["value"].as_str().unwrap().into()),
                    insecure: insecure.try_into().unwrap(),
                    advertise: Some(format!("{host}:{}", fleet.ports.clients)),
                    advertise_store: Some(format!("{host}:{}", fleet.ports.stores)),
                    ..StartArgs::default()
                };
                let loaded = Config::load(&args, None).unwrap();
                assert_eq!((loaded.site.as_str(), &loaded.site_id), (site.name.as_str(), &Some(site.uid.clone())));
                assert_eq!(loaded.join, fleet.join_addresses());
                assert_eq!(loaded.listen.port(), fleet.ports.clients);
            }
        }
    }

    #[test]
    fn pods_are_given_only_variables_that_the_program_reads() {
        let cli = Cli::command();
        let start = cli.find_subcommand("start").unwrap();
        let known: BTreeSet<_> =
            cli.get_arguments().chain(start.get_arguments()).filter_map(|arg| arg.get_env()).collect();
        for mode in MODES {
            let set = object(&render(&example(mode))[0].files["stateful-set.yaml"]);
            let environment = &set["spec"]["template"]["spec"]["containers"][0]["env"];
            let names = environment.as_array().unwrap().iter().map(|variable| variable["name"].as_str().unwrap());
            let ours: Vec<_> = names.filter(|name| name.starts_with("HOLDFAST_")).collect();
            assert!(ours.len() >= 4 && ours.iter().all(|name| known.contains(std::ffi::OsStr::new(name))), "{ours:?}");
        }
    }

    #[test]
    fn the_defaults_of_the_file_are_those_of_the_program() {
        let ports = holdfast_k8s::fleet::Ports::default();
        let own = [
            crate::config::CLIENT_PORT,
            crate::config::STORE_PORT,
            crate::config::HTTP_PORT,
            crate::config::METRICS_PORT,
        ];
        assert_eq!([ports.clients, ports.stores, ports.http, ports.metrics], own);
    }

    #[test]
    fn rendering_again_changes_nothing_and_a_site_that_is_gone_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("rendered");
        let mut fleet = example("flat-mirror");
        write(&fleet, &out).unwrap();
        let before = files_below(&out, &out).unwrap();
        write(&fleet, &out).unwrap();
        assert_eq!(files_below(&out, &out).unwrap(), before);
        let gone = fleet.sites.pop().unwrap().name;
        write(&fleet, &out).unwrap();
        assert!(!out.join(gone).exists() && out.join("east/kustomization.yaml").exists());
    }

    #[test]
    fn a_folder_with_files_of_somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine.txt"), "mine").unwrap();
        let error = format!("{:#}", write(&example("mcs"), dir.path()).unwrap_err());
        assert!(error.contains("mine.txt"), "{error}");
        assert_eq!(files_below(dir.path(), dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn what_was_broken_off_can_be_done_again() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path();
        let mut fleet = example("flat-mirror");
        write(&fleet, out).unwrap();
        fleet.sites.pop();
        let list = read_if_there(&out.join(written::LIST)).unwrap();
        let present = files_below(out, out).unwrap();
        let change = written::plan(&render(&fleet), &present, list.as_deref()).unwrap();
        // The list is written, and then nothing more.
        put(&out.join(written::LIST), &change.list_meanwhile()).unwrap();
        write(&fleet, out).unwrap();
        assert!(!out.join("north").exists());
    }
}

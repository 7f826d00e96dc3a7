//! `holdfast demo`: the main job on this machine. Several sites as real processes, real data, a mixed load, one site killed with
//! SIGKILL and brought back; then every acknowledged write is read back and compared.

pub mod data;
mod screen;
mod summary;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, ValueHint};
use holdfast_benches::fleet::{FleetOptions, LocalFleet, interrupted, scratch};
use holdfast_benches::workload::{Load, LoadOptions, Meter, Phase};

use self::screen::Screen;
use self::summary::Summary;

/// `holdfast demo`.
#[derive(Args, Debug, Clone)]
pub struct DemoArgs {
    /// Load this file (CSV, TSV or JSON lines) instead of generated data
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub input: Option<PathBuf>,
    /// The column that is the key. JSON lines need it [default: the first column]
    #[arg(long, value_name = "COLUMN", requires = "input")]
    pub key: Option<String>,
    /// Sites, 3 to 9
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=9))]
    pub sites: u8,
    /// Stores of each site, 1 to 4
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    pub stores_per_site: u8,
    /// Clients that load the fleet at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub clients: u16,
    /// How long the load runs; a site is gone for the second third of it
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(3..=3600))]
    pub seconds: u16,
    /// Everything by TLS, with certificates of an authority that is made for the occasion
    #[arg(long)]
    pub tls: bool,
    /// Print one JSON object and nothing else on standard output
    #[arg(long)]
    pub json: bool,
}

/// Runs the demo; true when nothing was lost, duplicated or refused.
pub async fn run(args: &DemoArgs) -> anyhow::Result<bool> {
    tokio::select! {
        done = run_to_the_end(args) => done,
        // What is dropped here stops the stores and removes their data.
        () = interrupted() => anyhow::bail!("interrupted: the stores are stopped and their data is removed"),
    }
}

async fn run_to_the_end(args: &DemoArgs) -> anyhow::Result<bool> {
    let screen = Screen::new(args.json);
    let rows = match &args.input {
        Some(path) => data::read(path, args.key.as_deref())?,
        None => data::generate("", data::GENERATED_ROWS),
    };
    let folder = scratch("holdfast-demo-")?;
    let mut fleet = LocalFleet::new(FleetOptions {
        binary: std::env::current_exe().context("finding this program")?,
        dir: folder.path().to_owned(),
        sites: args.sites.into(),
        stores_per_site: args.stores_per_site.into(),
        extra_args: Vec::new(),
        tls: args.tls,
    })?;
    let by_tls = if args.tls { ", by TLS" } else { "" };
    screen.say(&format!(
        "Starting {} sites with {} store(s) each on loopback{by_tls} ...",
        args.sites, args.stores_per_site
    ))?;
    let begun = Instant::now();
    fleet.start().await?;
    split_for_spread(&mut fleet, &rows, args).await?;
    screen.say(&format!(
        "The fleet is up after {:.1} s: every range has a voter in each of three sites.",
        begun.elapsed().as_secs_f64()
    ))?;
    let summary = drive(args, &screen, &mut fleet, rows).await?;
    drop(fleet);
    folder.close().context("removing the demo's data")?;
    screen.summary(&summary)?;
    Ok(summary.is_clean())
}

/// Cuts the key space into two ranges a store, so that every site leads some.
async fn split_for_spread(fleet: &mut LocalFleet, rows: &[data::Row], args: &DemoArgs) -> anyhow::Result<()> {
    let ranges = usize::from(args.sites) * usize::from(args.stores_per_site) * 2;
    let mut keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
    keys.sort_unstable();
    keys.dedup();
    let cuts: Vec<_> = (1..ranges).filter_map(|cut| keys.get(keys.len() * cut / ranges).cloned()).collect();
    fleet.split_at(&cuts).await?;
    fleet.wait_spread(Duration::from_secs(60)).await?;
    fleet.wait_leaders_balanced(Duration::from_secs(30)).await
}

/// Load, kill, return, read back.
async fn drive(
    args: &DemoArgs,
    screen: &Screen,
    fleet: &mut LocalFleet,
    rows: Vec<data::Row>,
) -> anyhow::Result<Summary> {
    let meter = Arc::new(Meter::new(args.sites.into()));
    let options = LoadOptions {
        addresses: fleet.addresses(),
        security: fleet.security_of_client("demo")?,
        sites: fleet.stores().iter().take(args.sites.into()).map(|store| store.site.clone()).collect(),
        clients: args.clients.into(),
        prefix: String::new(),
        rows: rows.into_iter().map(|row| (row.key, row.value)).collect(),
    };
    let load = Load::connect(options, Arc::clone(&meter)).await?;
    let begun = Instant::now();
    load.import(|done, all| screen.progress("Loading", done, all)).await?;
    screen.say(&format!("Loaded {} rows in {:.1} s.", load.rows(), begun.elapsed().as_secs_f64()))?;

    let third = Duration::from_secs(args.seconds.into()) / 3;
    let victim = usize::from(args.sites) - 1;
    let running = load.start()?;
    meter.enter(Phase::Before);
    screen.watch(fleet, &meter, third, "all sites up").await?;
    let killed = fleet.stores_of_site(victim);
    fleet.kill_all(&killed)?;
    meter.enter(Phase::During);
    screen.watch(fleet, &meter, third, "one site killed").await?;
    for store in &killed {
        fleet.start_store(*store)?;
    }
    meter.enter(Phase::After);
    screen.watch(fleet, &meter, third, "the site is back").await?;
    meter.enter(Phase::Done);
    let record = running.finish().await?;
    fleet.wait_spread(Duration::from_secs(60)).await?;
    screen.say("Reading back every acknowledged write ...")?;
    let verdict = load.verify(&record, |done, all| screen.progress("Verifying", done, all)).await?;
    Ok(Summary::new(args, &meter, &record, verdict))
}

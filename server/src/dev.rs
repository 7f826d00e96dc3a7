//! `holdfast dev`: sites x stores as child processes on loopback, for application developers. Stays up until interrupted.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use holdfast_benches::fleet::{FleetOptions, LocalFleet, scratch};
use serde_json::json;

use crate::table::Table;

/// `holdfast dev`.
#[derive(Args, Debug, Clone)]
pub struct DevArgs {
    /// Sites
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub sites: u8,
    /// Stores of each site
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    pub stores_per_site: u8,
    /// Keep the stores' logs and data here; by default they are removed at the end
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Print the addresses as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// How long a store may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// Starts the fleet, prints its addresses, waits for an interrupt.
pub async fn run(args: &DevArgs) -> anyhow::Result<()> {
    let folder = if args.dir.is_some() { None } else { Some(scratch("holdfast-dev-")?) };
    let dir = match (&args.dir, &folder) {
        (Some(dir), _) => dir.clone(),
        (None, Some(folder)) => folder.path().to_owned(),
        (None, None) => anyhow::bail!("no folder for the data"),
    };
    let mut fleet = LocalFleet::new(FleetOptions {
        binary: std::env::current_exe().context("finding this program")?,
        dir,
        sites: args.sites.into(),
        stores_per_site: args.stores_per_site.into(),
        extra_args: Vec::new(),
    })?;
    fleet.start().await?;
    print(args, &fleet);
    tokio::signal::ctrl_c().await?;
    eprintln!("Stopping ...");
    for index in 0..fleet.stores().len() {
        if let Err(error) = fleet.stop(index, STOP_WITHIN).await {
            eprintln!("store {index}: {error:#}");
        }
    }
    Ok(())
}

fn print(args: &DevArgs, fleet: &LocalFleet) {
    if args.json {
        let stores: Vec<_> = fleet
            .stores()
            .iter()
            .map(|store| json!({ "site": store.site, "client": store.client, "http": store.http }))
            .collect();
        println!("{}", json!({ "stores": stores }));
        return;
    }
    let mut table = Table::new(&["site", "clients connect to", "health and metrics"]);
    for store in fleet.stores() {
        table.row(vec![store.site.clone(), store.client.to_string(), format!("http://{}/metrics", store.http)]);
    }
    print!("{table}");
    println!("\nTry: holdfast put hello world --at {0} && holdfast get hello --at {0}", fleet.stores()[0].client);
    println!("Interrupt (Ctrl-C) ends it.");
}

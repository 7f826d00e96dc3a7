//! `holdfast load`: a load on a running fleet, for drills. Keep it running while you take things away; then it reads back what was acknowledged.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use holdfast_benches::fleet::interrupted;
use holdfast_benches::workload::totals::{line, rounded};
use holdfast_benches::workload::{Load, LoadOptions, Meter, Phase, Totals};
use holdfast_output::{errln, out, outln};
use serde::Serialize;

use crate::connecting::{ADDRESSES, Through, saying};
use crate::demo::data;
use crate::joining::random_128;

/// `holdfast load`.
#[derive(Args, Debug, Clone)]
#[command(mut_arg(ADDRESSES, saying("Client addresses of stores, separated by commas")))]
pub struct LoadArgs {
    /// Where it goes
    #[command(flatten)]
    pub through: Through,
    /// The site that the clients are in
    #[arg(long, value_name = "NAME", env = "HOLDFAST_SITE")]
    pub site: String,
    /// What all keys of this load begin with; a random part follows, so that no load meets what another one wrote
    #[arg(long, value_name = "TEXT", default_value = "load/")]
    pub prefix: String,
    /// Clients that work at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub clients: u16,
    /// Rows that are written first and then changed
    #[arg(long, value_name = "COUNT", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rows: u32,
    /// How long the load runs; Ctrl-C or SIGTERM ends it earlier, and it still reads back
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    /// Print one JSON object and nothing else on standard output
    #[arg(long)]
    pub json: bool,
}

/// What a load found.
#[derive(Serialize, Debug)]
struct Found {
    site: String,
    operations_per_second: f64,
    #[serde(flatten)]
    totals: Totals,
}

/// Runs the load; true when nothing was lost, duplicated or refused. What it wrote stays.
pub async fn run(args: &LoadArgs) -> anyhow::Result<bool> {
    let meter = Arc::new(Meter::new(1));
    let prefix = format!("{}{:08x}/", args.prefix, random_128()? & 0xffff_ffff);
    let options = LoadOptions {
        addresses: args.through.at.clone(),
        security: args.through.security()?,
        sites: vec![args.site.clone()],
        clients: args.clients.into(),
        rows: data::generate(&prefix, args.rows).into_iter().map(|row| (row.key, row.value)).collect(),
        prefix,
    };
    let load = Load::connect(options, Arc::clone(&meter)).await?;
    load.import(|_, _| {}).await?;
    errln!("Loaded {} rows; the load runs for {} s.", load.rows(), args.seconds);
    let running = load.start()?;
    meter.enter(Phase::Before);
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(args.seconds.into())) => {}
        () = interrupted() => errln!("Told to stop."),
    }
    meter.enter(Phase::Done);
    let record = running.finish().await?;
    errln!("Reading back every acknowledged write.");
    let verdict = load.verify(&record, |_, _| {}).await?;
    let found = Found {
        site: args.site.clone(),
        operations_per_second: rounded(meter.throughput(Phase::Before)),
        totals: Totals::new(&meter, &record, verdict),
    };
    if args.json {
        outln!("{}", serde_json::to_string(&found)?)?;
    } else {
        out!("{}", found.in_words())?;
    }
    Ok(found.totals.is_clean())
}

impl Found {
    fn in_words(&self) -> String {
        let stalled = format!("{:.1} s after the load began", self.totals.max_stall_began_ms / 1_000.0);
        let lines = self.totals.lines(&stalled).concat();
        lines + &line("throughput", &format!("{:.0}/s", self.operations_per_second))
    }
}

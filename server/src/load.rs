//! `holdfast load`: a load on a running fleet, for drills. Keep it running while you take things away; then it reads back what was acknowledged.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use holdfast_benches::fleet::interrupted;
use holdfast_benches::workload::{Load, LoadOptions, Meter, Phase};
use serde::Serialize;

use crate::demo::data;

/// `holdfast load`.
#[derive(Args, Debug, Clone)]
pub struct LoadArgs {
    /// Client addresses of stores, separated by commas
    #[arg(long, value_name = "ADDRESS", env = "HOLDFAST_AT", default_value = "127.0.0.1:7300", value_delimiter = ',')]
    pub at: Vec<String>,
    /// The site that the clients are in
    #[arg(long, value_name = "NAME", env = "HOLDFAST_SITE")]
    pub site: String,
    /// What all keys of this load begin with: give each load that runs at the same time another one
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
    acknowledged: u64,
    lost: u64,
    duplicated: u64,
    errors: u64,
    ambiguous: u64,
    stale_reads: u64,
    max_stall_ms: f64,
    max_stall_began_ms: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Runs the load; true when nothing was lost, duplicated or refused. What it wrote stays.
pub async fn run(args: &LoadArgs) -> anyhow::Result<bool> {
    let meter = Arc::new(Meter::new(1));
    let options = LoadOptions {
        addresses: args.at.clone(),
        sites: vec![args.site.clone()],
        clients: args.clients.into(),
        prefix: args.prefix.clone(),
        rows: data::generate(&args.prefix, args.rows).into_iter().map(|row| (row.key, row.value)).collect(),
    };
    let load = Load::connect(options, Arc::clone(&meter)).await?;
    load.import(|_, _| {}).await?;
    eprintln!("Loaded {} rows; the load runs for {} s.", load.rows(), args.seconds);
    let running = load.start()?;
    meter.enter(Phase::Before);
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(args.seconds.into())) => {}
        () = interrupted() => eprintln!("Told to stop."),
    }
    meter.enter(Phase::Done);
    let record = running.finish().await?;
    eprintln!("Reading back every acknowledged write.");
    let verdict = load.verify(&record, |_, _| {}).await?;
    let all = meter.latencies();
    let round = |value: f64| (value * 100.0).round() / 100.0;
    let found = Found {
        site: args.site.clone(),
        operations_per_second: round(meter.throughput(Phase::Before)),
        acknowledged: record.acknowledged(),
        lost: verdict.lost,
        duplicated: verdict.duplicated,
        errors: meter.errors(),
        ambiguous: meter.ambiguous(),
        stale_reads: meter.stale_reads(),
        max_stall_ms: round(all.max_ms()),
        max_stall_began_ms: round(meter.slowest().map_or(0.0, |slowest| slowest.began.as_secs_f64() * 1_000.0)),
        p50_ms: round(all.percentile_ms(50.0)),
        p99_ms: round(all.percentile_ms(99.0)),
    };
    if args.json {
        println!("{}", serde_json::to_string(&found)?);
    } else {
        print!("{}", found.in_words());
    }
    Ok(found.is_clean())
}

impl Found {
    fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.errors == 0 && self.stale_reads == 0
    }

    fn in_words(&self) -> String {
        format!(
            "acknowledged writes   {}\nlost                  {}\ndone more than once   {}\nerrors                {} (ambiguous: {})\n\
             stale reads           {}\nlongest stall         {:.0} ms, {:.1} s after the load began\nlatency               p50 {:.2} ms, p99 \
             {:.2} ms\nthroughput            {:.0}/s\n",
            self.acknowledged,
            self.lost,
            self.duplicated,
            self.errors,
            self.ambiguous,
            self.stale_reads,
            self.max_stall_ms,
            self.max_stall_began_ms / 1_000.0,
            self.p50_ms,
            self.p99_ms,
            self.operations_per_second,
        )
    }
}

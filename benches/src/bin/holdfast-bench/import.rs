//! `holdfast-bench import`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use holdfast_benches::fleet::{binary_beside, scratch_in};
use holdfast_benches::loading::{LoadOptions, measure, table};
use holdfast_output::{errln, outln};

/// Arguments of `import`.
#[derive(Args, Debug)]
pub struct ImportArguments {
    /// Rows of the file
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Bytes of a row
    #[arg(long, default_value_t = 100)]
    row_bytes: usize,
    /// Ranges that Holdfast's keys are cut into before; they are cut further as they grow
    #[arg(long, default_value_t = 1)]
    ranges: u64,
    /// How long puts are made one at a time
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    singles: u64,
    /// How often all of it is done, each time into stores that have nothing; medians count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// What all values come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object and nothing else on standard output
    #[arg(long)]
    json: bool,
    /// Where all stores keep their data, in a folder that is removed at the end; the system's temporary folder by default
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Measures, and prints the result.
pub async fn run(arguments: &ImportArguments) -> anyhow::Result<()> {
    let folder = scratch_in(arguments.dir.as_deref(), "holdfast-import-")?;
    let binary = binary_beside(&std::env::current_exe()?)?;
    let options = LoadOptions {
        rows: arguments.rows,
        row_bytes: arguments.row_bytes,
        ranges: arguments.ranges,
        singles: Duration::from_secs(arguments.singles),
        rounds: arguments.rounds,
        seed: arguments.seed,
    };
    let loading = measure(&binary, folder.path(), &options, &|text| errln!("{text}")).await?;
    folder.close()?;
    if arguments.json {
        outln!("{}", serde_json::to_string(&loading)?)?;
    } else {
        outln!("{}", table(&loading))?;
    }
    Ok(())
}

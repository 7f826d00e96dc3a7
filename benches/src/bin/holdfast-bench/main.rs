//! A development binary: measures a fleet, alone or beside another store.

mod compare;
mod cuts;
mod import;
mod run;
mod scripts;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use holdfast_benches::fleet::interrupted;
use holdfast_output::errln;

/// Measures Holdfast.
#[derive(Parser, Debug)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  holdfast-bench run --work put --value-bytes 128 --clients 64,256 --runs 3
  holdfast-bench run --work ycsb-a --rate 5000 --seconds 30
  holdfast-bench run --reads 80 --writes 15 --scans 5 --distribution latest
  holdfast-bench run --work mixed --seconds 30 --rate 2000 --fault kill-site@10s,return@20s --plot loss.svg
  holdfast-bench run --at 127.0.0.1:7001 --work get
  holdfast-bench run --tls --work put
  holdfast-bench compare --peer etcd --short --tls
  holdfast-bench scripts --rows 10000
  holdfast-bench cuts --only 'store port' --only flapping --seconds 5
  holdfast-bench import --rows 1000000";

#[derive(Subcommand, Debug)]
enum Command {
    /// Measure one work on a fleet: its own, started for this, or one that runs
    Run(Box<run::RunArguments>),
    /// Measure the same works on Holdfast, on another store and on the floor, in turns
    Compare(compare::CompareArguments),
    /// Measure how long the shell takes for long scripts, and how that grows with their length
    Scripts(scripts::ScriptsArguments),
    /// Measure how long clients wait while links between sites, in network namespaces, are cut: a table (needs root)
    Cuts(cuts::CutsArguments),
    /// Measure how fast a file of rows is loaded, beside single puts and beside COPY into PostgreSQL
    Import(import::ImportArguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let work = async {
        match arguments.command {
            Command::Run(arguments) => run::run(&arguments).await,
            Command::Compare(arguments) => compare::run(&arguments).await,
            Command::Scripts(arguments) => scripts::run(&arguments).await,
            Command::Cuts(arguments) => cuts::run(&arguments).await,
            Command::Import(arguments) => import::run(&arguments).await,
        }
    };
    // What is dropped when this ends stops the processes and removes their data.
    let ended = tokio::select! {
        ended = work => ended,
        () = interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    if let Err(error) = ended {
        if let Some(code) = holdfast_output::ending(error.as_ref()) {
            return ExitCode::from(code);
        }
        errln!("holdfast-bench: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

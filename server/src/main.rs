//! The one binary of Holdfast. Layer 4: wiring, configuration, services, subcommands.
//!
//! - [`start`]: runs a store; [`running`], [`wire`], [`services`]: what it is made of
//! - [`demo`], [`dev`], [`drain`], [`fleet`], [`forget`], [`import`], [`oneshot`], [`sql`], [`status`]: the other subcommands
//! - [`cli`], [`help`], [`completions`], [`man`]: the command line and what explains it

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod announcing;
mod cli;
mod completions;
mod config;
mod demo;
mod dev;
mod directory;
mod drain;
mod ending;
mod events;
#[cfg(test)]
mod examples;
mod fleet;
mod forget;
mod help;
mod history;
mod import;
mod joining;
mod load;
mod man;
mod membership;
mod metrics;
mod oneshot;
mod others;
mod ports;
mod requests;
mod retiring;
mod running;
mod services;
mod sql;
mod start;
mod status;
mod system;
mod table;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, ConfigCommand};

/// Requests are many small allocations that another thread frees: see the decision record on the allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    init_logging(&cli);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(cli.command));
    // What still runs serves nobody any more: there is nothing to wait for.
    runtime.shutdown_background();
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            error.downcast_ref::<ending::Ending>().map_or(ExitCode::FAILURE, ending::Ending::code)
        }
    }
}

/// Runs a subcommand.
async fn run(command: Command) -> anyhow::Result<ExitCode> {
    // False: it did its work and the answer is no.
    let is_yes = match command {
        // They have exit codes of their own.
        Command::Sql(args) => return Ok(sql::run(*args).await),
        Command::Fleet(args) => return fleet::run(&args).await,
        Command::Start(args) => start::run(config::Config::load(&args)?).await.map(|()| true),
        Command::Init(args) => status::init(&args).await.map(|()| true),
        Command::Status(args) => status::status(&args).await.map(|()| true),
        Command::Drain(args) => drain::run(&args).await,
        Command::Forget(args) => forget::run(&args).await.map(|()| true),
        Command::Demo(args) => demo::run(&args).await,
        Command::Load(args) => load::run(&args).await,
        Command::Dev(args) => dev::run(&args).await.map(|()| true),
        Command::Import(args) => import::run(&args).await,
        Command::Get(args) => oneshot::get(&args).await,
        Command::Put(args) => oneshot::put(&args).await.map(|()| true),
        Command::Delete(args) => oneshot::delete(&args).await.map(|()| true),
        Command::Scan(args) => oneshot::scan(&args).await.map(|()| true),
        Command::Config(args) => {
            let ConfigCommand::Show(args) = args.command;
            show_config(&args).map(|()| true)
        }
        Command::Completions(args) => completions::print(&args).map(|()| true),
        Command::Man(args) => man::run(&args).map(|()| true),
    }?;
    Ok(if is_yes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `holdfast config show`.
fn show_config(args: &cli::ShowArgs) -> anyhow::Result<()> {
    let values = config::Config::load(&args.start)?.explain();
    if args.json {
        let values: serde_json::Map<_, _> =
            values.into_iter().map(|value| (value.key.to_owned(), value.value.into())).collect();
        println!("{}", serde_json::Value::Object(values));
        return Ok(());
    }
    let mut shown = table::Table::new(&["key", "value", "meaning"]);
    for value in values {
        shown.row(vec![value.key.into(), value.value, value.meaning.into()]);
    }
    print!("{shown}");
    Ok(())
}

/// What commands log that are no store. The control plane says itself what becomes of its calls to API servers.
const OTHERS_LOG: &str = "warn,kube_client=off";

/// Log lines go to standard error: standard output belongs to results.
fn init_logging(cli: &Cli) {
    let default = if matches!(cli.command, Command::Start(_)) { cli.log.as_str() } else { OTHERS_LOG };
    let filter = tracing_subscriber::EnvFilter::try_new(default).unwrap_or_else(|error| {
        eprintln!("--log {default:?} cannot be read ({error}); using \"info\"");
        tracing_subscriber::EnvFilter::new("info")
    });
    let logging = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if cli.log_json {
        logging.json().init();
    } else {
        logging.init();
    }
}

//! The one binary of Holdfast. Layer 4: wiring, configuration, services, subcommands.
//!
//! - [`start`]: runs a store; [`running`], [`wire`], [`services`]: what it is made of
//! - [`ca`], [`demo`], [`dev`], [`drain`], [`export`], [`fleet`], [`forget`], [`import`], [`oneshot`], [`site`], [`sql`], [`status`], [`token`]: the other
//!   subcommands
//! - [`cli`], [`help`], [`completions`], [`man`]: the command line and what explains it

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod announcing;
mod audit;
mod bearer;
mod ca;
mod cli;
mod completions;
mod config;
mod connecting;
#[cfg(test)]
mod damage;
mod demo;
mod dev;
mod directory;
mod drain;
mod durations;
mod ending;
mod events;
#[cfg(test)]
mod examples;
mod export;
#[cfg(test)]
mod fixtures;
mod fleet;
mod forget;
mod help;
mod history;
mod import;
mod joining;
mod load;
mod log;
mod man;
mod membership;
mod metrics;
mod oneshot;
mod others;
mod ports;
mod private;
mod proof;
mod readiness;
mod requests;
mod retiring;
mod rights;
mod running;
mod services;
mod shunned;
mod site;
mod sql;
mod start;
mod status;
mod system;
mod table;
mod token;
mod trust;
mod trusting;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use holdfast_output::{errln, out, outln};
use holdfast_types::limits;

use crate::cli::{Cli, Command, ConfigCommand};

/// Requests are many small allocations that another thread frees: see the decision record on the allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_store = matches!(cli.command, Command::Start(_));
    // Whoever does not read must not keep a store from ending; of any other command the last words are the result.
    let end_within = if is_store { limits::LOG_LAST_WORDS_WITHIN } else { Duration::from_secs(3_600) };
    if is_store {
        log::tell_panics();
    }
    let default = if is_store { STORES_LOG } else { OTHERS_LOG };
    // Log lines go to standard error: standard output belongs to results.
    if let Err(error) = log::begin(cli.log.as_deref().unwrap_or(default), default, cli.log_json) {
        log::end(Some(&format!("error: the log cannot begin: {error}")), end_within);
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log::end(Some(&format!("error: the runtime cannot be started: {error}")), end_within);
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(cli.command));
    // What still runs serves nobody any more: there is nothing to wait for.
    runtime.shutdown_background();
    let (code, last_words) = match ended {
        Ok(code) => (code, None),
        Err(error) => match holdfast_output::ending(error.as_ref()) {
            Some(code) => (ExitCode::from(code), None),
            None => {
                let code = error.downcast_ref::<ending::Ending>().map_or(ExitCode::FAILURE, ending::Ending::code);
                (code, Some(format!("error: {error:#}")))
            }
        },
    };
    log::end(last_words.as_deref(), end_within);
    code
}

/// What a store logs.
const STORES_LOG: &str = "info";
/// What commands log that are no store. The control plane says itself what becomes of its calls to API servers.
const OTHERS_LOG: &str = "warn,kube_client=off";

/// Runs a subcommand.
async fn run(command: Command) -> anyhow::Result<ExitCode> {
    // False: it did its work and the answer is no.
    let is_yes = match command {
        // They have exit codes of their own.
        Command::Sql(args) => return Ok(sql::run(*args).await),
        Command::Fleet(args) => return fleet::run(&args).await,
        Command::Trust(args) => return trust::command::run(&args).await,
        Command::Start(args) => start::run(&args).await.map(|()| true),
        Command::Init(args) => status::init(&args).await.map(|()| true),
        Command::Ca(args) => ca::run(&args).map(|()| true),
        Command::Status(args) => status::status(&args).await.map(|()| true),
        Command::Drain(args) => drain::run(&args).await,
        Command::Forget(args) => forget::run(&args).await.map(|()| true),
        Command::Site(args) => site::run(&args).await.map(|()| true),
        Command::Token(args) => token::run(&args).await.map(|()| true),
        Command::Demo(args) => demo::run(&args).await,
        Command::Load(args) => load::run(&args).await,
        Command::Dev(args) => dev::run(&args).await.map(|()| true),
        Command::Import(args) => import::run(&args).await,
        Command::Export(args) => export::run(&args).await.map(|()| true),
        Command::Get(args) => oneshot::get(&args).await,
        Command::Put(args) => oneshot::put(&args).await,
        Command::Delete(args) => oneshot::delete(&args).await,
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
    let own = trusting::own(&config::security_of(&args.start)?).unwrap_or_else(|error| {
        // What else was given can be shown without it.
        errln!("warning: a store would not start with this certificate: {error}");
        None
    });
    let values = config::Config::load(&args.start, own.as_deref())?.explain();
    if args.json {
        let values: serde_json::Map<_, _> =
            values.into_iter().map(|value| (value.key.to_owned(), value.value.into())).collect();
        outln!("{}", serde_json::Value::Object(values))?;
        return Ok(());
    }
    let mut shown = table::Table::new(&["key", "value", "meaning"]);
    for value in values {
        shown.row(vec![value.key.into(), value.value, value.meaning.into()]);
    }
    out!("{shown}")?;
    Ok(())
}

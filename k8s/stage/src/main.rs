//! `make demo-kubernetes`: three Kubernetes clusters, one fleet over all of them, one killed under load and brought back.

use std::process::ExitCode;

use clap::Parser;
use holdfast_output::{Lines, errln, out, outln};
use holdfast_stage::demo;
use holdfast_testkit::Options;

/// The main job on real Kubernetes clusters of this machine.
#[derive(Parser, Debug)]
#[command(name = "holdfast-kubernetes-demo")]
struct Arguments {
    /// How long the load runs; a Kubernetes cluster is gone for the second third of it
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(15..=3600))]
    seconds: u32,
    /// Print one JSON object and nothing else on standard output
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            if let Some(code) = holdfast_output::ending(error.as_ref()) {
                return ExitCode::from(code);
            }
            errln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True when nothing was lost.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    // A demo that nobody follows goes on to its end, where its Kubernetes clusters are taken down.
    let lines = Lines::default();
    let say = |line: &str| {
        if arguments.json {
            errln!("{line}");
        } else {
            lines.say(line);
        }
    };
    let options = Options { name: "demo".to_owned(), ..Options::default() };
    let summary = demo::run(&options, arguments.seconds, say)?;
    lines.end()?;
    if arguments.json {
        outln!("{}", serde_json::json!(summary))?;
    } else {
        out!("{}", summary.in_words())?;
    }
    Ok(summary.is_clean())
}

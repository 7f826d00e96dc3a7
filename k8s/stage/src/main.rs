//! `make demo-kubernetes`: three Kubernetes clusters, one fleet over all of them, one killed under load and brought back.

use std::process::ExitCode;

use clap::Parser;
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
    let say = |line: &str| {
        if arguments.json { eprintln!("{line}") } else { println!("{line}") }
    };
    let options = Options { name: "demo".to_owned(), ..Options::default() };
    match demo::run(&options, arguments.seconds, say) {
        Ok(summary) => {
            if arguments.json {
                println!("{}", serde_json::json!(summary));
            } else {
                print!("{}", summary.in_words());
            }
            if summary.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

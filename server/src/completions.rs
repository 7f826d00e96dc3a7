//! `holdfast completions`: what a shell needs to complete this command line.

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use holdfast_output::out;

use crate::cli::Cli;

/// `holdfast completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the script.
pub fn print(args: &CompletionsArgs) -> anyhow::Result<()> {
    out!("{}", String::from_utf8(script(args.shell)).context("a script is text")?)?;
    Ok(())
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_gets_every_subcommand() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for subcommand in Cli::command().get_subcommands().filter(|one| !one.is_hide_set()) {
                assert!(script.contains(subcommand.get_name()), "{shell}: {}", subcommand.get_name());
            }
            assert!(script.contains("first-port") && script.contains("quorum"), "{shell}: options and their values");
        }
    }
}

//! Checks the rules of the house that neither rustc nor clippy knows, and never writes anything.
//!
//! - [`layers`]: which crate may depend on which, directly and resolved
//! - [`lints`]: every crate takes the workspace's lints, every pure crate bans what a pure crate may not use
//! - [`outside`]: numbers from a socket or a disk are bounded where they are decoded
//! - [`words`]: words that would mean two things, unfinished work
//! - [`dialing`]: whoever connects to a store proves who he is
//! - [`saying`]: what runs in a store says nothing beside its log
//! - [`sizes`]: files that grew too long
//! - [`documents`]: names in ARCHITECTURE.md that exist, shape of the decision records
//! - [`rules`]: `docs/replication.md` names what exists, and comments cite what can be looked up
//! - [`api`]: `docs/api.md` says what the `.proto` files say
//!
//! `make verify` runs it; with the argument `api` it prints what `docs/api.md` should be. Every problem is one line: `where: what, and what to do`.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api;
mod cargo;
mod dialing;
mod documents;
mod layers;
mod lints;
mod outside;
mod rules;
mod saying;
mod sizes;
mod tree;
mod words;

use holdfast_output::{Lines, errln, out};
use std::path::Path;
use std::process::ExitCode;

/// One broken rule, as a line for a person.
pub(crate) type Problem = String;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    if std::env::args().nth(1).as_deref() == Some("api") {
        return print(api::document(root));
    }
    // What nobody reads is the rest of a list: the exit code says all the same that there is one.
    let lines = Lines::default();
    match problems(root) {
        Ok(problems) if problems.is_empty() => {
            lines.say("tidy: layers, lints, numbers from outside, words, sizes and documents are in order");
            ExitCode::SUCCESS
        }
        Ok(problems) => {
            for problem in &problems {
                lines.say(problem);
            }
            lines.say(&format!("tidy: {} broken rules", problems.len()));
            ExitCode::FAILURE
        }
        Err(fault) => {
            lines.say(&format!("tidy: could not check: {fault}"));
            ExitCode::from(2)
        }
    }
}

fn print(document: Result<String, String>) -> ExitCode {
    match document {
        Ok(document) => match out!("{document}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(unwritten) => holdfast_output::ending(&unwritten).map_or(ExitCode::FAILURE, ExitCode::from),
        },
        Err(fault) => {
            errln!("tidy: could not write: {fault}");
            ExitCode::from(2)
        }
    }
}

/// Runs every check on the checkout at `root`.
fn problems(root: &Path) -> Result<Vec<Problem>, String> {
    let workspace = cargo::Workspace::load(root)?;
    let files = tree::read(root)?;
    let mut problems = Vec::new();
    problems.extend(layers::direct(&workspace));
    problems.extend(layers::resolved(root, &workspace)?);
    problems.extend(lints::check(&workspace, &files));
    problems.extend(outside::check(&files));
    problems.extend(words::check(&files));
    problems.extend(dialing::check(&files));
    problems.extend(saying::check(&files));
    problems.extend(sizes::check(&files));
    problems.extend(documents::check(root, &files));
    problems.extend(rules::check(root, &files)?);
    problems.extend(api::check(root)?);
    Ok(problems)
}

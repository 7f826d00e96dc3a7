//! Runs `tests/scripts`: one concern a file. `UPDATE_GOLDENFILES=1` writes what it finds.
//!
//! Each script changes the valid `tests/fleet.yaml`: `edit FROM TO` replaces a text that must be there, `site NAME CIDR [KEYS...]` adds a
//! site, `whole TEXT` is a file of its own. `validate` tells the findings and begins anew with the valid file; `explain` explains it.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::error::Error;
use std::fmt::Write as _;

use holdfast_k8s::{explain, validate};

const VALID: &str = include_str!("fleet.yaml");

struct Runner {
    text: String,
    sites: u32,
}

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _: &goldenscript::Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut next = || args.next_pos().map(ToString::to_string);
        let mut answer = String::new();
        match command.name.as_str() {
            "edit" => {
                let (from, to) = (next().ok_or("edit what?")?, next().ok_or("into what?")?);
                if !self.text.contains(&from) {
                    return Err(format!("{from:?} is not in the file").into());
                }
                self.text = self.text.replace(&from, &to);
            }
            "site" => {
                self.sites += 1;
                let (name, cidr) = (next().ok_or("which site?")?, next().ok_or("which network?")?);
                let uid = format!("00000000-0000-4000-8000-{:012}", self.sites);
                writeln!(self.text, "- {{name: {name}, context: c-{name}, uid: {uid}, podCidrs: [{cidr}]}}")?;
            }
            "whole" => self.text = next().ok_or("which text?")?,
            "validate" | "explain" => {
                let report = validate(&self.text);
                *self = Self::new();
                for finding in &report.findings {
                    writeln!(answer, "{finding}")?;
                }
                match report.fleet {
                    Some(fleet) if command.name == "explain" => answer.push_str(&explain(&fleet)),
                    Some(_) => answer.push_str("a fleet\n"),
                    None => answer.push_str("no fleet\n"),
                }
            }
            other => return Err(format!("no command {other}").into()),
        }
        Ok(answer)
    }
}

impl Runner {
    fn new() -> Self {
        Self { text: VALID.to_owned(), sites: 0 }
    }
}

#[test]
fn every_script_tells_the_truth() {
    let mut scripts: Vec<_> = std::fs::read_dir("tests/scripts").unwrap().map(|e| e.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        println!("{}", script.display());
        goldenscript::run(&mut Runner::new(), &script).unwrap();
    }
}

#[test]
fn a_valid_file_passes_without_findings() {
    let report = validate(VALID);
    assert!(report.fleet.is_some() && report.findings.is_empty(), "{:#?}", report.findings);
}

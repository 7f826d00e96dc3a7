//! Runs `scripts/*.txt` over a fleet in memory: each line `> ...` is a statement, or a command of the test that begins with a
//! backslash; ⏎ stands for the end of a line. `UPDATE_GOLDENFILES=1` writes the expected output anew.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

use holdfast_shell::{Backend, Cancel, Session, ShellError, Summary, Value};
use holdfast_types::KeyspaceId;

use crate::collected::Collected;
use crate::memory::MemoryFleet;

struct Script {
    fleet: Arc<MemoryFleet>,
    session: Session,
    runtime: tokio::runtime::Runtime,
}

impl Script {
    fn new() -> Self {
        let fleet = Arc::new(MemoryFleet::new().with_pages(4));
        let backend: Arc<dyn Backend> = fleet.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { fleet, session: Session::new(backend), runtime }
    }

    fn statement(&self, text: &str) -> String {
        let mut sink = Collected::default();
        let ended = self.runtime.block_on(self.session.execute(text, &mut sink, &Cancel::new()));
        let mut out = String::new();
        if !sink.columns.is_empty() {
            writeln!(out, "{}", sink.columns.join(" | ")).unwrap();
        }
        for row in &sink.rows {
            let cells: Vec<String> = row.iter().map(shown).collect();
            writeln!(out, "{}", cells.join(" | ")).unwrap();
        }
        out + &self.ending(text, ended)
    }

    fn ending(&self, text: &str, ended: Result<Summary, ShellError>) -> String {
        match ended {
            Ok(summary) => {
                let mut out = format!("{}:", summary.verb);
                let counts = [(summary.rows_returned, "out"), (summary.rows_affected, "changed")];
                for (count, what) in counts.iter().filter_map(|(count, what)| Some((count.as_ref()?, what))) {
                    write!(out, " {count} {what}").unwrap();
                }
                for part in summary.message.iter().chain(&summary.notes) {
                    write!(out, "\n  {part}").unwrap();
                }
                out
            }
            Err(error) => error.render(text).trim_end().to_owned(),
        }
    }

    fn command(&self, text: &str) -> Result<String, Box<dyn Error>> {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        match name {
            "\\pass" => self.fleet.pass(std::time::Duration::from_secs(rest.parse()?)),
            "\\calls" => return Ok(format!("{} calls", self.fleet.calls())),
            "\\interfere" => {
                let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
                self.fleet.interfere(KeyspaceId::DEFAULT, key, (!value.is_empty()).then_some(value));
            }
            _ => return Err(format!("no command {name}").into()),
        }
        Ok(String::new())
    }
}

/// Times that were measured are left out.
fn shown(value: &Value) -> String {
    match value {
        Value::Elapsed(_) => "...".into(),
        other => other.to_string().replace('\n', "\\n"),
    }
}

impl goldenscript::Runner for Script {
    type Command = goldenscript::Command;

    fn run(
        &mut self,
        command: &goldenscript::Command,
        _context: &goldenscript::Context,
    ) -> Result<String, Box<dyn Error>> {
        let text = command.name.replace('⏎', "\n");
        let text = text.trim();
        if text.starts_with('\\') { self.command(text) } else { Ok(self.statement(text)) }
    }
}

#[test]
fn scripts() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "txt"));
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        println!("{}", path.display());
        goldenscript::run(&mut Script::new(), &path).unwrap();
    }
}

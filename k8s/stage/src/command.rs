//! Running programs: to their end, or beside this one.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a command; gives its output, or an error with everything that it said.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = name(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{name} cannot be started"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        bail!("{name}: {}: {}\n{}", output.status, said(&output.stderr), said(&output.stdout));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command in words.
pub(crate) fn name(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A program that runs beside this one, until this value is dropped at the latest.
pub(crate) struct Beside(Child);

impl Beside {
    /// Starts it. What it says goes into a file, so that it never waits for somebody to read it.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Beside> {
        let cannot = || format!("cannot write {}", log.display());
        let file = File::create(log).with_context(cannot)?;
        let errors = file.try_clone().with_context(cannot)?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = command.spawn().with_context(|| format!("{} cannot be started", name(command)))?;
        Ok(Beside(child))
    }

    /// How it ended. `None`: it runs.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! Running the programs of others and keeping what they say when they fail.

use crate::error::{Error, Result};
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs a command to its end; returns its output, or an error with its error output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let result = command.stdin(Stdio::null()).output();
    let output = result.map_err(|e| failed(command, &e.to_string()))?;
    finished(command, &output)
}

/// The same with a text as its input.
pub(crate) fn output_of_input(command: &mut Command, input: &str) -> Result<String> {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|e| failed(command, &e.to_string()))?;
    let mut pipe = child.stdin.take().expect("input is piped");
    // A program that ends without reading everything tells by its own exit code why.
    std::thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(input.as_bytes()).ok());
        let output = child.wait_with_output().map_err(|e| failed(command, &e.to_string()))?;
        finished(command, &output)
    })
}

fn finished(command: &Command, output: &std::process::Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(command, &format!("{}: {}", output.status, said.trim())))
}

/// The error of a command.
pub(crate) fn failed(command: &Command, why: &str) -> Error {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let program: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    Error::Program { program: program.join(" "), output: why.to_owned() }
}

/// Whether a program of this name is found in PATH.
pub(crate) fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

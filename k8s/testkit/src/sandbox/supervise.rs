//! The supervisor of a node's programs: starts them in the order of their stages, and each again one second after it ended.

use super::stages;
use crate::config::{SandboxSpec, Service, Stage};
use crate::error::{At, Result};
use crate::state::{self, read_json};
use holdfast_output::errln;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a program that ended stays so.
const PAUSE: Duration = Duration::from_secs(1);

/// The hidden subcommand below pid 1 of a sandbox. It never ends by itself.
pub fn node_run(spec_path: &Path) -> Result<()> {
    let spec: SandboxSpec = read_json(spec_path)?;
    start(&spec, Stage::Begin);
    stages::wait_for_api_server(&spec);
    start(&spec, Stage::ApiServer);
    stages::wait_for_images(&spec)?;
    start(&spec, Stage::Images);
    state::write_file(&spec.started_marker, "")?;
    loop {
        std::thread::park();
    }
}

/// Starts all programs of a stage, a thread each.
fn start(spec: &SandboxSpec, stage: Stage) {
    for service in spec.services.iter().filter(|service| service.after == stage) {
        let (service, logs) = (service.clone(), spec.logs.clone());
        std::thread::spawn(move || {
            loop {
                match run_once(&service, &logs) {
                    Ok(how) => errln!("{} ended: {how}", service.name),
                    Err(error) => errln!("{} could not be started: {error}", service.name),
                }
                std::thread::sleep(PAUSE);
            }
        });
    }
}

fn run_once(service: &Service, logs: &Path) -> Result<String> {
    let log_path = logs.join(format!("{}.log", service.name));
    let log = File::options().create(true).append(true).open(&log_path).at(&log_path)?;
    let errors = log.try_clone().at(&log_path)?;
    let mut command = match service.user {
        Some(user) => as_user(user, &service.program),
        None => Command::new(&service.program),
    };
    command.args(&service.arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
    let status = command.status().at(&service.program)?;
    Ok(status.to_string())
}

/// A program run by another user, who may read and write root's files all the same.
fn as_user(user: u32, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--clear-groups");
    let rights = "+dac_override,+dac_read_search";
    command.arg(format!("--inh-caps={rights}")).arg(format!("--ambient-caps={rights}")).arg("--").arg(program);
    command
}

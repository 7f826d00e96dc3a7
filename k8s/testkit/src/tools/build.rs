//! Building one Go module.

use super::modules::Module;
use crate::command;
use crate::error::{At, Error, Result};
use holdfast_output::errln;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The environment of every build. Two packages at a time: linking Kubernetes takes 3.3 GB.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("GOFLAGS", "-mod=readonly -trimpath -buildvcs=false -p=2"),
    ("CGO_ENABLED", "0"),
    ("GOTOOLCHAIN", "local"),
    ("GOWORK", "off"),
];
/// How often a line says what is being built.
const PROGRESS: Duration = Duration::from_secs(30);
/// How often a build is asked whether it has ended.
const POLL: Duration = Duration::from_millis(100);

pub(super) struct Builder {
    go_version: String,
}

impl Builder {
    pub(super) fn new() -> Result<Builder> {
        let go_version = command::output(Command::new("go").arg("version").envs(ENVIRONMENT))?;
        Ok(Builder { go_version: go_version.trim().to_owned() })
    }

    /// Names what a module is built from: its files, the flags, and Go's version.
    pub(super) fn fingerprint(&self, module: &Module) -> String {
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            // With lengths, so that no two lists of parts hash alike.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(&self.go_version);
        ENVIRONMENT.iter().chain(module.files).chain(module.values).for_each(|(name, value)| {
            add(name);
            add(value);
        });
        add(module.package);
        module.programs.iter().for_each(|program| add(program));
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Builds a module beside its folder, and renames it when all of it is there.
    pub(super) fn build(&self, module: &Module, folder: &Path) -> Result<()> {
        let scratch = folder.with_extension("building");
        if scratch.exists() {
            fs::remove_dir_all(&scratch).at(&scratch)?;
        }
        let source = scratch.join("source");
        fs::create_dir_all(&source).at(&source)?;
        for (name, text) in module.files {
            fs::write(source.join(name), text).at(&source)?;
        }
        let program = scratch.join(module.name).with_extension("program");
        self.run(module, &source, &program)?;
        for name in module.programs {
            let link = scratch.join(name);
            symlink(program.file_name().expect("it was joined"), &link).at(&link)?;
        }
        if module.programs.contains(&"kubectl") {
            let client = scratch.join("client");
            fs::create_dir(&client).at(&client)?;
            symlink("../kubectl", client.join("kubectl")).at(&client)?;
        }
        fs::rename(&scratch, folder).at(folder)
    }

    fn run(&self, module: &Module, source: &Path, program: &Path) -> Result<()> {
        let log_path = source.with_file_name("log");
        let log = File::create(&log_path).at(&log_path)?;
        let values = module.values.iter().map(|(name, value)| format!(" -X {name}={value}"));
        let linking = values.fold("-s -w".to_owned(), |all, value| all + &value);
        let mut command = Command::new("go");
        command.args(["build", "-ldflags", &linking, "-o"]).arg(program).arg(module.package);
        command.current_dir(source).envs(ENVIRONMENT).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        errln!("building {}: {}", module.name, module.about);
        let begin = Instant::now();
        let child = command.spawn().map_err(|e| command::failed(&command, &e.to_string()))?;
        let status = wait(child, module, begin).at(&log_path)?;
        if !status.success() {
            let said = fs::read_to_string(&log_path).unwrap_or_default();
            return Err(Error::Program { program: format!("go build ({})", module.name), output: said });
        }
        errln!("built {} in {} s", module.name, begin.elapsed().as_secs());
        Ok(())
    }
}

fn wait(mut child: Child, module: &Module, begin: Instant) -> std::io::Result<ExitStatus> {
    let mut next = PROGRESS;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begin.elapsed() >= next {
            errln!("building {}: {} s so far", module.name, begin.elapsed().as_secs());
            next += PROGRESS;
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::modules::MODULES;

    #[test]
    fn the_fingerprint_follows_what_is_built_and_with_what() {
        let builder = Builder { go_version: "go1".to_owned() };
        let newer = Builder { go_version: "go2".to_owned() };
        let prints: Vec<_> = MODULES.iter().map(|module| builder.fingerprint(module)).collect();
        let mut distinct = prints.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), MODULES.len());
        assert_eq!(builder.fingerprint(&MODULES[0]), prints[0]);
        assert_ne!(newer.fingerprint(&MODULES[0]), prints[0]);
        assert!(prints.iter().all(|print| print.len() == 16));
    }
}

//! Building one Go module.

use super::modules::{Module, ModuleFolder};
use crate::command;
use crate::error::{At, Error, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
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
        module.folders.iter().flat_map(|folder| [folder.module, folder.path, folder.name]).for_each(add);
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
        for kept in module.folders {
            copy_files(&module_folder(kept, &source)?, &scratch.join(kept.name))?;
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
        eprintln!("building {}: {}", module.name, module.about);
        let begin = Instant::now();
        let child = command.spawn().map_err(|e| command::failed(&command, &e.to_string()))?;
        let status = wait(child, module, begin).at(&log_path)?;
        if !status.success() {
            let said = fs::read_to_string(&log_path).unwrap_or_default();
            // Killed from outside, it has said nothing itself.
            let output = format!("{status}: {}", said.trim());
            return Err(Error::Program { program: format!("go build ({})", module.name), output });
        }
        eprintln!("built {} in {} s", module.name, begin.elapsed().as_secs());
        Ok(())
    }
}

/// Where Go keeps a folder of a module that the one in `source` depends on.
fn module_folder(folder: &ModuleFolder, source: &Path) -> Result<PathBuf> {
    let mut list = Command::new("go");
    list.args(["list", "-m", "-f", "{{.Dir}}", folder.module]).current_dir(source).envs(ENVIRONMENT);
    Ok(Path::new(command::output(&mut list)?.trim()).join(folder.path))
}

/// Copies the files of a folder into a new one. None at all is an error: a newer version of the module has them elsewhere.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).at(to)?;
    let mut copied = 0;
    for entry in fs::read_dir(from).at(from)? {
        let entry = entry.at(from)?;
        if entry.file_type().at(&entry.path())?.is_file() {
            // Without its permissions: in Go's cache every file is read-only.
            let bytes = fs::read(entry.path()).at(&entry.path())?;
            fs::write(to.join(entry.file_name()), bytes).at(to)?;
            copied += 1;
        }
    }
    if copied == 0 {
        let where_now = "name the folder that has them in src/tools/modules.rs";
        return Err(Error::Invalid(format!("{} has no files: {where_now}", from.display())));
    }
    Ok(())
}

fn wait(mut child: Child, module: &Module, begin: Instant) -> std::io::Result<ExitStatus> {
    let mut next = PROGRESS;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begin.elapsed() >= next {
            eprintln!("building {}: {} s so far", module.name, begin.elapsed().as_secs());
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

    #[test]
    fn a_folder_that_is_kept_has_files_or_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let from = root.path().join("from");
        fs::create_dir_all(from.join("below")).unwrap();
        let error = copy_files(&from, &root.path().join("empty")).unwrap_err().to_string();
        assert!(error.contains("has no files: name the folder"), "{error}");
        fs::write(from.join("kind.yaml"), "kind: CustomResourceDefinition").unwrap();
        copy_files(&from, &root.path().join("full")).unwrap();
        let copied = fs::read_to_string(root.path().join("full").join("kind.yaml")).unwrap();
        assert_eq!(copied, "kind: CustomResourceDefinition");
        assert!(copy_files(&root.path().join("gone"), &root.path().join("never")).is_err());
    }
}

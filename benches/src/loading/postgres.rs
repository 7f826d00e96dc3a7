//! PostgreSQL with its defaults: one server on a socket of its own, with its data in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::Round;

/// What installs it where it is missing.
pub const INSTALL_LINE: &str = "apt-get install -y --no-install-recommends postgresql";
/// The user that Debian's package makes: the server refuses to run as root.
const USER: &str = "postgres";
const READY_WITHIN: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(50);

/// A server. Dropping it ends it; the data stays.
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    as_other: bool,
    server: Option<Child>,
}

impl Postgres {
    /// A server with its data below `folder`; starts nothing. An error says how to install it where it is missing.
    pub fn find(folder: PathBuf) -> anyhow::Result<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut folders: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
        folders.sort();
        folders.reverse();
        let on_path = std::env::var_os("PATH").unwrap_or_default();
        folders.extend(std::env::split_paths(&on_path));
        let programs = super::found(folders, "initdb")
            .with_context(|| format!("PostgreSQL is missing; install it: {INSTALL_LINE}"))?;
        Ok(Self { programs, folder, as_other: rustix::process::geteuid().is_root(), server: None })
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        if !self.as_other {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--pdeathsig", "KILL", "--"]).arg(program);
        command
    }

    fn psql(&self, statement: &str) -> anyhow::Result<Output> {
        let mut command = self.command("psql");
        command.arg("-h").arg(&self.folder).args([
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            USER,
            "-U",
            USER,
            "-c",
            statement,
        ]);
        command.current_dir("/").stdin(Stdio::null()).output().context("running psql")
    }

    /// Runs a statement.
    fn run(&self, statement: &str) -> anyhow::Result<()> {
        let ended = self.psql(statement)?;
        ensure!(ended.status.success(), "{statement}: {}", String::from_utf8_lossy(&ended.stderr));
        Ok(())
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        if self.as_other {
            // Every folder above it must let the server through.
            let above = self.folder.parent().context("the folder lies in another one")?;
            succeeds(Command::new("chmod").arg("a+x").arg(above))?;
            succeeds(Command::new("chown").arg(USER).arg(&self.folder))?;
        }
        let data = self.folder.join("data");
        let mut init = self.command("initdb");
        init.current_dir("/").arg("-D").arg(&data).args(["-U", USER, "-A", "trust", "--no-locale", "-E", "UTF8"]);
        succeeds(&mut init)?;
        let mut server = self.command("postgres");
        server.current_dir("/").arg("-D").arg(&data).arg("-k").arg(&self.folder).args(["-c", "listen_addresses="]);
        let log = std::fs::File::create(self.folder.with_extension("log"))?;
        self.server = Some(server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        let deadline = Instant::now() + READY_WITHIN;
        while !self.psql("SELECT 1")?.status.success() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.with_extension("log")).unwrap_or_default();
                bail!("PostgreSQL does not start: {log}");
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
        Ok(())
    }

    /// Starts it, and has it copy a file of two columns into a table with a key.
    pub async fn copy(&mut self, file: &Path, rows: u64) -> anyhow::Result<Round> {
        self.start().await?;
        self.run("CREATE TABLE rows (id text PRIMARY KEY, note text NOT NULL)")?;
        let begun = Instant::now();
        self.run(&format!("\\copy rows FROM '{}' WITH (FORMAT csv, HEADER)", file.display()))?;
        let took = begun.elapsed();
        let counted = self.psql("SELECT 'counted ' || count(*) FROM rows")?;
        let counted = String::from_utf8_lossy(&counted.stdout).into_owned();
        ensure!(counted.contains(&format!("counted {rows}")), "not all rows were copied: {counted}");
        self.stop();
        Ok(Round::new(rows, took))
    }

    fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let id = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
        // SIGINT ends it without waiting for those that are connected. It may have ended by itself.
        if let Some(id) = id {
            let _ = kill_process(id, Signal::INT);
        }
        let _ = server.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn succeeds(command: &mut Command) -> anyhow::Result<()> {
    let ended = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    ensure!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(())
}

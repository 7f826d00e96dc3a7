//! One fleet of real processes, alone on the machine.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use holdfast_benches::fleet::{FleetOptions, LocalFleet, binary_beside, scratch};
use holdfast_client::{Client, Options, Security};
use holdfast_proto::v1;
use holdfast_types::{Key, KeyspaceId};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard};
use tonic::Code;

use crate::wait;

/// One fleet at a time: two would only measure each other's load.
static TURN: Mutex<()> = Mutex::const_new(());
/// Lines of each store's log that a failed test shows.
const SHOWN_LINES: usize = 60;

/// Says that a test cannot run here; with CI=true that is a failure.
///
/// # Panics
/// With CI=true.
pub fn skip(reason: &str) {
    println!("SKIPPED: {reason}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI runs every test: {reason}");
}

/// The `holdfast` program that was built with the tests. `None`: skipped.
pub fn program() -> Option<PathBuf> {
    let found = std::env::current_exe().context("a test knows its own program").and_then(|own| binary_beside(&own));
    found.inspect_err(|_| skip("build the workspace first")).ok()
}

/// A fleet, and the only one that runs now. Dropping it ends all of its processes and removes their data.
pub struct Scene {
    /// The stores.
    pub fleet: LocalFleet,
    program: PathBuf,
    folder: TempDir,
    /// The folder that commands prove themselves with; `None`: the fleet asks for no proof.
    proof: Option<PathBuf>,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Scene {
    /// Waits for its turn and chooses ports; starts nothing. `None`: skipped.
    ///
    /// # Panics
    /// When the machine gives no folder or ports.
    pub async fn prepare(sites: usize, stores_per_site: usize) -> Option<Self> {
        let program = program()?;
        let turn = TURN.lock().await;
        Some(Self::build(program, sites, stores_per_site, false, Some(turn)))
    }

    /// Waits for its turn and starts a fleet of three sites with TLS, which makes its own certificates as `holdfast dev --tls` does. `None`: skipped.
    ///
    /// # Panics
    /// When the fleet does not start.
    pub async fn start_with_certificates() -> Option<Self> {
        let program = program()?;
        let turn = TURN.lock().await;
        let mut scene = Self::build(program, 3, 1, true, Some(turn));
        scene.proof = scene.fleet.operator_folder();
        scene.fleet.start().await.expect("the fleet starts");
        Some(scene)
    }

    /// Waits for its turn and starts a fleet of three sites. `None`: skipped.
    ///
    /// # Panics
    /// When the fleet does not start.
    pub async fn start(stores_per_site: usize) -> Option<Self> {
        let mut scene = Self::prepare(3, stores_per_site).await?;
        scene.fleet.start().await.expect("the fleet starts");
        Some(scene)
    }

    /// Another fleet beside this one, not started yet.
    #[must_use]
    pub fn another(&self, sites: usize) -> Self {
        Self::build(self.program.clone(), sites, 1, false, None)
    }

    /// Gives every store that starts from now on a limit of so many open files.
    ///
    /// # Panics
    /// When the folder of the scene takes no file.
    pub fn limit_files(&mut self, soft: usize, hard: usize) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path("limited");
        let program = self.program.display();
        let script = format!("#!/bin/sh\nulimit -Sn {soft} && ulimit -Hn {hard} && exec '{program}' \"$@\"\n");
        std::fs::write(&path, script).expect("a script is written");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("the script may be run");
        self.fleet.use_program(path);
    }

    fn build(
        program: PathBuf,
        sites: usize,
        stores_per_site: usize,
        tls: bool,
        turn: Option<MutexGuard<'static, ()>>,
    ) -> Self {
        let folder = scratch("holdfast-test-").expect("a folder for a test");
        let options = FleetOptions {
            binary: program.clone(),
            dir: folder.path().to_owned(),
            sites,
            stores_per_site,
            tls,
            extra_args: Vec::new(),
        };
        let fleet = LocalFleet::new(options).expect("there are free ports");
        Self { fleet, program, folder, proof: None, _turn: turn }
    }

    /// Has stores that start from now on prove who they are, by the folder of their site; and whoever asks them here, by `security` in this process and
    /// by a folder in others.
    pub fn guard(&mut self, security: Security, proof: PathBuf, folder_of: impl Fn(&str) -> PathBuf) {
        self.fleet.secure(security, folder_of);
        self.proof = Some(proof);
    }

    /// A path in the scene's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client of the fleet, outside of every site.
    ///
    /// # Panics
    /// When no store answers.
    pub async fn client(&self) -> Client {
        let options = Options::default().security(self.fleet.security().clone());
        Client::connect(self.fleet.addresses(), options).await.expect("the fleet answers")
    }

    /// Runs `holdfast` with these arguments to its end.
    ///
    /// # Panics
    /// When it cannot be started or does not end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        self.run_for(arguments, wait::PATIENCE).await
    }

    /// The same, with another bound on how long it may take.
    ///
    /// # Panics
    /// When it cannot be started or does not end.
    pub async fn run_for(&self, arguments: &[&str], within: Duration) -> Output {
        let ended = tokio::time::timeout(within, self.command(arguments).output()).await;
        ended.unwrap_or_else(|_| panic!("holdfast {arguments:?} does not end")).expect("the program starts")
    }

    /// `holdfast` with these arguments, told where the fleet is, killed when dropped.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("HOLDFAST_AT", self.fleet.stores()[0].client.to_string())
            .env("TMPDIR", self.folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(proof) = &self.proof {
            command.env("HOLDFAST_TLS", proof);
        }
        command
    }

    /// Cuts the default keyspace before these keys and waits until all ranges are spread and led by more than one site.
    ///
    /// # Panics
    /// When that does not happen.
    pub async fn split_at<K: AsRef<[u8]>>(&mut self, keys: &[K]) {
        let keys: Vec<_> = keys.iter().map(|key| Bytes::copy_from_slice(key.as_ref())).collect();
        self.fleet.split_at(&keys).await.expect("ranges can be cut");
        self.fleet.wait_spread(wait::PATIENCE).await.expect("ranges are spread");
        self.fleet.wait_leaders_balanced(wait::PATIENCE).await.expect("every site leads");
    }

    /// The range of a key, as store `index` knows it.
    pub async fn range_of(&self, index: usize, key: &str) -> Option<v1::LocatedRange> {
        let raw = Key::bound(KeyspaceId::DEFAULT, key.as_bytes());
        let bounds = Some(v1::KeyRange { start: raw.raw().clone(), end: None });
        let request = v1::LocateRequest { bounds, limit: 1, ..v1::LocateRequest::default() };
        let mut fleet = self.fleet.fleet_client(index).await.ok()?;
        fleet.locate(request).await.ok()?.into_inner().ranges.into_iter().next()
    }

    /// Waits until store `index` knows a leader of the range of a key, and gives its place among the stores.
    pub async fn leader_of(&self, index: usize, key: &str) -> usize {
        wait::until(&format!("the range of {key} is led"), async || {
            let leader = self.range_of(index, key).await?.leader?;
            self.fleet.stores().iter().position(|store| store.client.to_string() == leader.address)
        })
        .await
    }

    /// What store `index` says of itself and of the others, once it has started: it listens before.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn describe(&self, index: usize) -> v1::DescribeResponse {
        let mut fleet = self.fleet.fleet_client(index).await.expect("the store listens");
        wait::until("the store has started", async || match fleet.describe(v1::DescribeRequest {}).await {
            Err(status) if status.code() == Code::Unavailable => None,
            answered => Some(answered.expect("a description needs no quorum").into_inner()),
        })
        .await
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for (index, store) in self.fleet.stores().iter().enumerate() {
            let log = self.fleet.log(index);
            let lines: Vec<_> = log.lines().collect();
            let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
            eprintln!("---- store {index} of {} at {}\n{shown}", store.site, store.client);
        }
    }
}

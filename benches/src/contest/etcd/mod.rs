//! etcd: three members on loopback, each with a data folder of its own, with their defaults where these matter.

mod client;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures::future::{BoxFuture, FutureExt};

use self::client::EtcdSession;
use super::{Peer, Session};
use crate::fleet::FreePorts;

/// Members: as many as Holdfast has replicas of a range.
const MEMBERS: usize = 3;
/// Applications that the clients belong to, one beside each member, each with a connection to every member: as many
/// connections as Holdfast's clients make from three sites.
const APPLICATIONS: usize = 3;
/// How long the members may take to have a leader.
const READY_WITHIN: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(50);
/// Far more than any run writes: the default of 2 GiB could end a long one.
const QUOTA_BYTES: &str = "8589934592";
/// What installs it where it is missing.
pub const INSTALL_LINE: &str = "apt-get install -y --no-install-recommends etcd-server";

struct Member {
    name: String,
    client: SocketAddr,
    between: SocketAddr,
    child: Option<Child>,
}

/// Three members of etcd. Dropping it kills them; the data stays.
pub struct Etcd {
    dir: PathBuf,
    members: Vec<Member>,
}

/// True when the program `etcd` can be run.
#[must_use]
pub fn is_installed() -> bool {
    said_of_version().is_ok()
}

fn said_of_version() -> anyhow::Result<String> {
    let said = Command::new("etcd").arg("--version").stderr(Stdio::null()).output();
    let said = said.with_context(|| format!("etcd is missing; install it: {INSTALL_LINE}"))?;
    ensure!(said.status.success(), "`etcd --version` ended with {}", said.status);
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

impl Etcd {
    /// Members with their data below `dir`; starts nothing. An error says how to install etcd where it is missing.
    pub fn new(dir: PathBuf) -> anyhow::Result<Self> {
        said_of_version()?;
        Ok(Self { dir, members: Vec::new() })
    }

    /// Chooses ports that are free now: they are taken at once.
    fn choose_members(&mut self) -> anyhow::Result<()> {
        let mut ports = FreePorts::new();
        for number in 0..MEMBERS {
            let (client, between) = (ports.next()?, ports.next()?);
            self.members.push(Member { name: format!("etcd-{number}"), client, between, child: None });
        }
        Ok(())
    }

    fn start_member(&mut self, number: usize) -> anyhow::Result<()> {
        let all: Vec<_> = self.members.iter().map(|one| format!("{}=http://{}", one.name, one.between)).collect();
        let data_dir = self.dir.join(&self.members[number].name);
        let log = std::fs::File::create(data_dir.with_extension("log"))?;
        let member = &mut self.members[number];
        let (client, between) = (format!("http://{}", member.client), format!("http://{}", member.between));
        let mut command = ends_with_this_process("etcd");
        command
            .args(["--name", &member.name, "--logger", "zap", "--log-level", "warn", "--data-dir"])
            .arg(&data_dir)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &between, "--initial-advertise-peer-urls", &between])
            .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"])
            .args(["--quota-backend-bytes", QUOTA_BYTES])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        member.child = Some(command.spawn().context("starting etcd")?);
        Ok(())
    }

    async fn wait_led(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        for number in 0..self.members.len() {
            let channel = client::channel(&self.members[number].client.to_string())?;
            while !matches!(client::leader(channel.clone()).await, Ok(leader) if leader != 0) {
                let member = &mut self.members[number];
                let ended = member.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
                if ended || Instant::now() > deadline {
                    let log = std::fs::read_to_string(self.dir.join(format!("{}.log", member.name)));
                    bail!("{} has no leader: {}", member.name, log.unwrap_or_default());
                }
                tokio::time::sleep(POLL_EVERY).await;
            }
        }
        Ok(())
    }
}

impl Peer for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn version(&self) -> anyhow::Result<String> {
        let said = said_of_version()?;
        let line = said.lines().next().unwrap_or_default();
        Ok(format!("etcd {}", line.rsplit(' ').next().unwrap_or_default()))
    }

    fn start(&mut self) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            std::fs::create_dir_all(&self.dir)?;
            self.choose_members()?;
            for number in 0..self.members.len() {
                self.start_member(number)?;
            }
            self.wait_led().await
        }
        .boxed()
    }

    fn connect(&self, clients: usize) -> BoxFuture<'_, anyhow::Result<Vec<Arc<dyn Session>>>> {
        async move {
            let mut channels = Vec::new();
            for _ in 0..APPLICATIONS {
                for member in &self.members {
                    channels.push(client::channel(&member.client.to_string())?);
                }
            }
            // Every application spreads its clients over all members, and every connection carries as many as any other.
            let session = |number: usize| {
                let channel = channels[number % channels.len()].clone();
                Arc::new(EtcdSession::new(channel)) as Arc<dyn Session>
            };
            Ok((0..clients).map(session).collect())
        }
        .boxed()
    }

    fn process_ids(&self) -> Vec<u32> {
        self.members.iter().filter_map(|member| member.child.as_ref().map(Child::id)).collect()
    }

    fn stop(&mut self) {
        for member in &mut self.members {
            if let Some(mut child) = member.child.take() {
                // It may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A command whose process the kernel kills when this one ends, however it ends, where `setpriv` is there to ask for that.
fn ends_with_this_process(program: &str) -> Command {
    if !Path::new("/usr/bin/setpriv").exists() {
        return Command::new(program);
    }
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

//! Holdfast: one store in each of three sites, or any fleet that runs already.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use holdfast_client::{Client, Expected, Options, Security, SiteName};

use super::{Peer, Session};
use crate::fleet::{FleetOptions, LocalFleet};
use crate::work::cuts;

/// How long ranges may take to be spread over the sites.
const SPREAD_WITHIN: Duration = Duration::from_secs(60);
/// How long leaders may take to be.
const BALANCED_WITHIN: Duration = Duration::from_secs(30);
/// Who the clients are, where that is asked.
const CLIENT: &str = "bench";
/// An application of each of so many sites shares one client, where the sites are not known.
const APPLICATIONS: usize = 3;

/// One client of a fleet; many share a connection.
pub struct HoldfastSession(Client);

impl Session for HoldfastSession {
    fn get(&self, key: Bytes) -> BoxFuture<'_, anyhow::Result<Option<Bytes>>> {
        async move { Ok(self.0.get(key).await?.map(|found| found.value)) }.boxed()
    }

    fn put(&self, key: Bytes, value: Bytes) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            self.0.put(key, value).await?;
            Ok(())
        }
        .boxed()
    }

    fn scan(&self, start: Bytes, end: Bytes, rows: u32) -> BoxFuture<'_, anyhow::Result<usize>> {
        async move { Ok(self.0.scan(start..end).limit(rows.into()).collect().await?.len()) }.boxed()
    }

    fn replace(&self, key: Bytes, value: Bytes) -> BoxFuture<'_, anyhow::Result<bool>> {
        async move {
            let found = self.0.get(&key).await?;
            let expected = found.map_or(Expected::Absent, |found| Expected::Version(found.timestamp));
            Ok(self.0.compare_and_set(key, expected, Some(value)).await?.is_written())
        }
        .boxed()
    }
}

/// Sessions for so many clients: those of one site share a client, as the threads of an application do. `sites`: empty when
/// they are not known.
pub async fn connect(
    addresses: &[String],
    sites: &[String],
    clients: usize,
    security: Security,
) -> anyhow::Result<Vec<Arc<dyn Session>>> {
    let mut applications = Vec::new();
    for application in 0..if sites.is_empty() { APPLICATIONS } else { sites.len() } {
        let site = sites.get(application).map(|site| SiteName::new(site)).transpose().map_err(anyhow::Error::msg)?;
        applications
            .push(Client::connect(addresses.to_vec(), Options::new().site(site).security(security.clone())).await?);
    }
    let session = |number: usize| {
        let client = applications[number % applications.len()].clone();
        Arc::new(HoldfastSession(client)) as Arc<dyn Session>
    };
    Ok((0..clients).map(session).collect())
}

/// A fleet of real processes on loopback.
pub struct Holdfast {
    binary: PathBuf,
    sites: usize,
    ranges: u64,
    tls: bool,
    fleet: LocalFleet,
}

impl Holdfast {
    /// A fleet whose key space is cut into so many ranges, with its data below `dir`, with TLS or without; starts nothing.
    pub fn new(
        binary: PathBuf,
        dir: PathBuf,
        sites: usize,
        stores_per_site: usize,
        ranges: u64,
        tls: bool,
    ) -> anyhow::Result<Self> {
        let options = FleetOptions { binary: binary.clone(), dir, sites, stores_per_site, extra_args: Vec::new(), tls };
        Ok(Self { binary, sites, ranges, tls, fleet: LocalFleet::new(options)? })
    }

    /// The processes.
    pub fn fleet_mut(&mut self) -> &mut LocalFleet {
        &mut self.fleet
    }

    fn site_names(&self) -> Vec<String> {
        self.fleet.stores().iter().take(self.sites).map(|store| store.site.clone()).collect()
    }
}

impl Peer for Holdfast {
    fn name(&self) -> &'static str {
        if self.tls { "holdfast by TLS" } else { "holdfast" }
    }

    fn version(&self) -> anyhow::Result<String> {
        let said = Command::new(&self.binary).arg("--version").output()?;
        Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
    }

    fn start(&mut self) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            self.fleet.start().await.context("starting a fleet")?;
            self.fleet.split_at(&cuts(self.ranges)).await?;
            self.fleet.wait_spread(SPREAD_WITHIN).await?;
            if self.ranges > 1 {
                self.fleet.wait_leaders_balanced(BALANCED_WITHIN).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn connect(&self, clients: usize) -> BoxFuture<'_, anyhow::Result<Vec<Arc<dyn Session>>>> {
        let connected = async move {
            let security = self.fleet.security_of_client(CLIENT)?;
            connect(&self.fleet.addresses(), &self.site_names(), clients, security).await
        };
        connected.boxed()
    }

    fn process_ids(&self) -> Vec<u32> {
        self.fleet.process_ids()
    }

    fn stop(&mut self) {
        self.fleet.kill_running();
    }
}

//! Clients that load a fleet and keep a record of what was acknowledged.
//!
//! Clients are spread over the sites, as applications would be. Every key belongs to one client, which waits for each answer, so
//! that every read can be judged at once; counters belong to all of them.

mod client;
mod counter;
mod meter;
mod stores;
pub mod totals;
mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use holdfast_client::{Client, Options, Security, SiteName};
use holdfast_types::ClientId;
use tokio::task::JoinSet;

pub use self::client::count;
pub use self::meter::{Meter, Phase, SiteSample, Slowest};
pub use self::totals::Totals;
pub use self::verify::verify;
use crate::record::{Record, Verdict};

/// Counters that all clients increment.
const COUNTERS: usize = 32;
/// Operations in flight while rows are loaded and read back.
const BULK_IN_FLIGHT: usize = 128;

/// What is loaded, and by whom.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Client addresses of stores.
    pub addresses: Vec<String>,
    /// How clients and stores prove to each other who they are.
    pub security: Security,
    /// The sites that clients are spread over.
    pub sites: Vec<String>,
    /// How many clients.
    pub clients: usize,
    /// What the keys of the counters begin with: loads that run at the same time must not share them.
    pub prefix: String,
    /// What is in the fleet before the load begins; keys are distinct.
    pub rows: Vec<(Bytes, Bytes)>,
}

/// A load on a fleet.
pub struct Load {
    options: LoadOptions,
    meter: Arc<Meter>,
    /// One connection for each site; the clients of a site share it, as the threads of an application do.
    connections: Vec<Client>,
    stores: stores::Stores,
}

impl Load {
    /// Connects to the fleet from every site.
    pub async fn connect(options: LoadOptions, meter: Arc<Meter>) -> anyhow::Result<Self> {
        let mut connections = Vec::new();
        for site in &options.sites {
            let site = SiteName::new(site).map_err(anyhow::Error::msg)?;
            let client_options = Options::new().site(site).security(options.security.clone());
            connections.push(Client::connect(options.addresses.clone(), client_options).await?);
        }
        let stores = stores::Stores::follow(&options.addresses, options.security.clone()).await?;
        Ok(Self { options, meter, connections, stores })
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.options.rows.len()
    }

    fn connection(&self, client: usize) -> Client {
        self.connections[client % self.connections.len()].clone()
    }

    /// Writes all rows. An error ends it: nothing has been killed yet.
    pub async fn import(&self, progress: impl Fn(u64, u64)) -> anyhow::Result<()> {
        let all = self.options.rows.len();
        let mut tasks = JoinSet::new();
        let rows = Arc::new(self.options.rows.clone());
        for lane in 0..BULK_IN_FLIGHT {
            let (client, rows) = (self.connection(lane), Arc::clone(&rows));
            tasks.spawn(async move {
                let mut done = 0u64;
                for (key, value) in rows.iter().skip(lane).step_by(BULK_IN_FLIGHT) {
                    client.put(key.clone(), value.clone()).await?;
                    done += 1;
                }
                anyhow::Ok(done)
            });
        }
        let mut done = 0;
        while let Some(ended) = tasks.join_next().await {
            done += ended??;
            progress(done, u64::try_from(all).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// Starts the clients.
    pub fn start(&self) -> anyhow::Result<RunningLoad> {
        let stop = Arc::new(AtomicBool::new(false));
        let counters: Arc<[Bytes]> =
            (0..COUNTERS).map(|i| Bytes::from(format!("{}counter/{i:02}", self.options.prefix))).collect();
        let mut tasks = JoinSet::new();
        for number in 0..self.options.clients {
            let mine = self.options.rows.iter().skip(number).step_by(self.options.clients).cloned().collect();
            let client = client::LoadClient::new(
                number,
                self.connection(number),
                number % self.connections.len(),
                mine,
                Arc::clone(&counters),
                Arc::clone(&self.meter),
                counter::TwiceSender::new(self.stores.clone(), random_client()?, number),
            );
            tasks.spawn(client.run(Arc::clone(&stop)));
        }
        Ok(RunningLoad { stop, tasks })
    }

    /// Reads back everything that was acknowledged and compares: values, numbers of versions, counters.
    pub async fn verify(&self, record: &Record, progress: impl Fn(u64, u64)) -> anyhow::Result<Verdict> {
        verify(&self.connections, record, progress).await
    }
}

/// A client session of its own for whoever makes its own request ids.
pub(crate) fn random_client() -> anyhow::Result<ClientId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gives no random bits: {error}"))?;
    Ok(ClientId(u128::from_le_bytes(bytes)))
}

/// Clients at work.
pub struct RunningLoad {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Record>,
}

impl RunningLoad {
    /// Lets every client end its operation and gives what they know.
    pub async fn finish(mut self) -> anyhow::Result<Record> {
        self.stop.store(true, Ordering::Release);
        let mut all = Record::default();
        while let Some(record) = self.tasks.join_next().await {
            all.merge(record?);
        }
        Ok(all)
    }
}

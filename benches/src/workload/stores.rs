//! Where the stores of a fleet are, for a program that has no client of ours: it is given some addresses, which may all lead to one store, and
//! asks whoever answers for those of the others, again and again, because stores move.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_client::Security;
use holdfast_client::channel::{Dialer, StoreChannel};
use holdfast_proto::v1;
use holdfast_proto::v1::fleet_client::FleetClient;
use holdfast_proto::v1::kv_client::KvClient;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How often the stores are asked for.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// A store that takes longer to take a connection is passed over.
const CONNECT_WITHIN: Duration = Duration::from_millis(300);
/// And one that takes longer to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Connections to stores by their addresses; made when they are used first.
type Connections = BTreeMap<String, StoreChannel>;

/// The stores as they are known now.
#[derive(Clone)]
pub(super) struct Stores {
    known: watch::Receiver<Arc<Connections>>,
    _follower: Arc<Follower>,
}

/// Ends with the last of those who look.
struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Stores {
    /// Begins with these addresses and follows the stores from there.
    pub(super) async fn follow(seeds: &[String], security: Security) -> anyhow::Result<Self> {
        anyhow::ensure!(!seeds.is_empty(), "no store to send to");
        let dialer = Dialer::new(security, CONNECT_WITHIN);
        let seeds = seeds.iter().map(|seed| Ok((seed.clone(), dialer.lazily(seed)?))).collect::<anyhow::Result<_>>()?;
        let found = find(&dialer, &seeds, &Connections::new()).await;
        let (tell, known) = watch::channel(Arc::new(found.unwrap_or_else(|| seeds.clone())));
        let follower = tokio::spawn(async move {
            loop {
                sleep(ASK_EVERY).await;
                let last = Arc::clone(&tell.borrow());
                if let Some(found) = find(&dialer, &seeds, &last).await {
                    tell.send_replace(Arc::new(found));
                }
            }
        });
        Ok(Self { known, _follower: Arc::new(Follower(follower)) })
    }

    /// One of them, and the next one, as `number` goes on.
    pub(super) fn pair(&self, number: usize) -> [KvClient<StoreChannel>; 2] {
        let known = Arc::clone(&self.known.borrow());
        let nth = |number: usize| known.values().nth(number % known.len()).expect("never empty").clone();
        [number, number + 1].map(|number| KvClient::new(nth(number)))
    }
}

/// Asks the stores that are known, then the first addresses. `None`: nobody answers.
async fn find(dialer: &Dialer, seeds: &Connections, known: &Connections) -> Option<Connections> {
    for channel in known.values().chain(seeds.values()) {
        let mut fleet = FleetClient::new(channel.clone());
        let Ok(Ok(described)) = timeout(ANSWER_WITHIN, fleet.describe(v1::DescribeRequest {})).await else { continue };
        let kept = |address: String| {
            let channel = known.get(&address).cloned().map_or_else(|| dialer.lazily(&address), Ok).ok()?;
            Some((address, channel))
        };
        let stores: Connections =
            described.into_inner().stores.into_iter().filter_map(|store| kept(store.client_address)).collect();
        if !stores.is_empty() {
            return Some(stores);
        }
    }
    None
}

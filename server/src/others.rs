//! Asking the other stores of the fleet for their part of an answer, with a bound on how long that may take.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_client::Security;
use holdfast_client::channel::{Dialer, StoreChannel, reason};
use holdfast_placement::StoreRecord;
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_proto::v1::admin_client::AdminClient;
use holdfast_types::{Rejected, StoreId, limits};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tonic::{Response, Status};

use crate::running::Running;
use crate::services::fitting::short;

/// How long another store is waited for: an answer about the fleet takes no more than about a second, whoever is dead.
pub const OTHERS_WITHIN: Duration = limits::DISTRUST_TOLD_WITHIN;

/// Channels to the other stores' client ports, opened when they are first needed.
pub struct Others {
    channels: Mutex<BTreeMap<StoreId, (String, StoreChannel)>>,
    dialer: Dialer,
    /// Questions to all of them that are under way: what they answer is held here until all have.
    asking: Semaphore,
}

impl Others {
    /// Asks nobody yet; `security`: how this store and the others prove to each other who they are.
    pub fn new(security: Security) -> Self {
        let (channels, asking) = (Mutex::default(), Semaphore::new(limits::QUESTIONS_TO_ALL));
        Self { channels, dialer: Dialer::new(security, OTHERS_WITHIN), asking }
    }
}

/// What the stores answered, and who did not.
pub struct Gathered<A> {
    /// By store.
    pub answers: BTreeMap<StoreId, A>,
    /// Who did not answer in time.
    pub silent: Vec<v1::SilentStore>,
}

impl Others {
    /// Asks one store.
    pub async fn ask<A, F>(
        &self,
        record: &StoreRecord,
        call: impl FnOnce(AdminClient<StoreChannel>) -> F,
    ) -> Result<A, Status>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let channel = self.channel(record).map_err(Status::unavailable)?;
        let client = AdminClient::new(channel).max_decoding_message_size(limits::MAX_MESSAGE_BYTES);
        match tokio::time::timeout(OTHERS_WITHIN, call(client)).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::unavailable(format!("no answer within {} ms", OTHERS_WITHIN.as_millis()))),
        }
    }

    /// Asks all stores but this one, and those that are to be spared, at the same time. Refused when too many such questions are under way.
    pub async fn ask_all<A, F>(
        &self,
        running: &Running,
        spared: &BTreeSet<StoreId>,
        call: impl Fn(AdminClient<StoreChannel>) -> F + Send + Clone + 'static,
    ) -> Result<Gathered<A>, Status>
    where
        A: Send + 'static,
        F: Future<Output = Result<Response<A>, Status>> + Send + 'static,
    {
        let mut answers = BTreeMap::new();
        let silent = self.ask_each(running, spared, call, |store, answer| drop(answers.insert(store, answer))).await?;
        Ok(Gathered { answers, silent })
    }

    /// The same; answers are taken as they come, for those that are large. Returns who did not answer.
    pub async fn ask_each<A, F>(
        &self,
        running: &Running,
        spared: &BTreeSet<StoreId>,
        call: impl Fn(AdminClient<StoreChannel>) -> F + Send + Clone + 'static,
        take: impl FnMut(StoreId, A),
    ) -> Result<Vec<v1::SilentStore>, Status>
    where
        A: Send + 'static,
        F: Future<Output = Result<Response<A>, Status>> + Send + 'static,
    {
        let _asking = self.turn().await?;
        Ok(self.each(running, spared, call, take).await)
    }

    /// Tells them something whose answers are empty: at once, however many questions are under way, and within [`OTHERS_WITHIN`]. Returns who heard it,
    /// and who did not answer.
    pub async fn tell_all<A, F>(
        &self,
        running: &Running,
        spared: &BTreeSet<StoreId>,
        call: impl Fn(AdminClient<StoreChannel>) -> F + Send + Clone + 'static,
    ) -> (BTreeSet<StoreId>, Vec<v1::SilentStore>)
    where
        A: Send + 'static,
        F: Future<Output = Result<Response<A>, Status>> + Send + 'static,
    {
        let mut told = BTreeSet::new();
        let silent = self
            .each(running, spared, call, |store, _| {
                told.insert(store);
            })
            .await;
        (told, silent)
    }

    async fn each<A, F>(
        &self,
        running: &Running,
        spared: &BTreeSet<StoreId>,
        call: impl Fn(AdminClient<StoreChannel>) -> F + Send + Clone + 'static,
        mut take: impl FnMut(StoreId, A),
    ) -> Vec<v1::SilentStore>
    where
        A: Send + 'static,
        F: Future<Output = Result<Response<A>, Status>> + Send + 'static,
    {
        let mut asked = JoinSet::new();
        let mut silent = Vec::new();
        let known = running.directory.all();
        let distrusted = running.directory.distrusted();
        // Stores that were forgotten are asked no more, nor are those that nobody is to believe; what connections there are end here.
        let is_believed = |record: &StoreRecord| record.site == running.site || !distrusted.contains(&record.site);
        self.channels.lock().retain(|store, _| known.get(store).is_some_and(is_believed));
        let is_asked = |store: StoreId| store != running.store_id && !spared.contains(&store);
        for record in known.values().filter(|record| is_asked(record.store)) {
            if !is_believed(record) {
                silent.push(silent_store(record, format!("site {} is distrusted", record.site)));
                continue;
            }
            match self.channel(record) {
                Ok(channel) => {
                    let client = AdminClient::new(channel).max_decoding_message_size(limits::MAX_MESSAGE_BYTES);
                    let (record, call) = (record.clone(), call.clone());
                    asked.spawn(async move { (record, tokio::time::timeout(OTHERS_WITHIN, call(client)).await) });
                }
                Err(why) => silent.push(silent_store(record, why)),
            }
        }
        while let Some(ended) = asked.join_next().await {
            // A task of ours neither panics nor is cancelled.
            let Ok((record, answer)) = ended else { continue };
            match answer {
                Ok(Ok(answer)) => take(record.store, answer.into_inner()),
                Ok(Err(status)) => silent.push(silent_store(&record, reason(&status))),
                Err(_) => {
                    let why = format!("no answer within {} ms", OTHERS_WITHIN.as_millis());
                    silent.push(silent_store(&record, why));
                }
            }
        }
        silent.sort_by_key(|silent| silent.store_id);
        silent
    }

    /// Waits for those who asked before, as long as for an answer.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Status> {
        match tokio::time::timeout(OTHERS_WITHIN, self.asking.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER })),
        }
    }

    fn channel(&self, record: &StoreRecord) -> Result<StoreChannel, String> {
        let address = &record.addresses.client;
        let mut channels = self.channels.lock();
        if let Some((known, channel)) = channels.get(&record.store)
            && known == address
        {
            return Ok(channel.clone());
        }
        let channel = self.dialer.lazily(address).map_err(|unconnected| unconnected.to_string())?;
        channels.insert(record.store, (address.clone(), channel.clone()));
        Ok(channel)
    }
}

fn silent_store(record: &StoreRecord, reason: String) -> v1::SilentStore {
    v1::SilentStore { store_id: record.store.0, site: record.site.to_string(), reason: short(reason) }
}

//! Asking the other stores of the fleet for their part of an answer, with a bound on how long that may take.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_placement::StoreRecord;
use holdfast_proto::careful::{Careful, careful};
use holdfast_proto::v1;
use holdfast_proto::v1::admin_client::AdminClient;
use holdfast_types::{StoreId, limits};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;
use tonic::{Response, Status};

use crate::running::Running;
use crate::services::fitting::short;

/// How long another store is waited for: an answer about the fleet takes no more than about a second, whoever is dead.
pub const OTHERS_WITHIN: Duration = Duration::from_millis(800);

/// Channels to the other stores' client ports, opened when they are first needed.
#[derive(Default)]
pub struct Others {
    channels: Mutex<BTreeMap<StoreId, (String, Careful)>>,
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
        call: impl FnOnce(AdminClient<Careful>) -> F,
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

    /// Asks all stores but this one at the same time.
    pub async fn ask_all<A, F>(
        &self,
        running: &Running,
        call: impl Fn(AdminClient<Careful>) -> F + Send + Clone + 'static,
    ) -> Gathered<A>
    where
        A: Send + 'static,
        F: Future<Output = Result<Response<A>, Status>> + Send + 'static,
    {
        let mut asked = JoinSet::new();
        let mut gathered = Gathered { answers: BTreeMap::new(), silent: Vec::new() };
        for record in running.directory.all().values().filter(|record| record.store != running.store_id) {
            match self.channel(record) {
                Ok(channel) => {
                    let client = AdminClient::new(channel).max_decoding_message_size(limits::MAX_MESSAGE_BYTES);
                    let (record, call) = (record.clone(), call.clone());
                    asked.spawn(async move { (record, tokio::time::timeout(OTHERS_WITHIN, call(client)).await) });
                }
                Err(why) => gathered.silent.push(silent(record, why)),
            }
        }
        while let Some(ended) = asked.join_next().await {
            // A task of ours neither panics nor is cancelled.
            let Ok((record, answer)) = ended else { continue };
            match answer {
                Ok(Ok(answer)) => drop(gathered.answers.insert(record.store, answer.into_inner())),
                Ok(Err(status)) => gathered.silent.push(silent(&record, status.message().to_owned())),
                Err(_) => {
                    let why = format!("no answer within {} ms", OTHERS_WITHIN.as_millis());
                    gathered.silent.push(silent(&record, why));
                }
            }
        }
        gathered.silent.sort_by_key(|silent| silent.store_id);
        gathered
    }

    fn channel(&self, record: &StoreRecord) -> Result<Careful, String> {
        let address = &record.addresses.client;
        let mut channels = self.channels.lock();
        if let Some((known, channel)) = channels.get(&record.store)
            && known == address
        {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| format!("{address:?}: {e}"))?;
        let channel = careful(endpoint.connect_timeout(OTHERS_WITHIN).tcp_nodelay(true).connect_lazy());
        channels.insert(record.store, (address.clone(), channel.clone()));
        Ok(channel)
    }
}

fn silent(record: &StoreRecord, reason: String) -> v1::SilentStore {
    v1::SilentStore { store_id: record.store.0, site: record.site.to_string(), reason: short(reason) }
}

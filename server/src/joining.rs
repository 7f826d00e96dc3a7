//! Becoming a member of a fleet: by founding one, or by asking a store of one; and telling the system range of a new address.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

mod application;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use holdfast_client::Security;
use holdfast_client::channel::reason;
use holdfast_engine::Engines;
use holdfast_kv::core::recovery::{self, Founding};
use holdfast_kv::ports::Clock;
use holdfast_placement::{SiteRecord, StoreAddresses, StoreRecord};
use holdfast_proto::v1;
use holdfast_types::{FleetId, Rejected, StoreId, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::ending::Ending;
use crate::membership::{Applicant, Refusal, join};
use crate::running::Running;
use crate::services::fleet::InitCommand;

/// How often a store that is no member yet asks to become one.
const JOIN_EVERY: Duration = Duration::from_millis(500);
/// How often a member has the proof of its site judged again.
const PROVE_EVERY: Duration = Duration::from_secs(30);
/// A store named by `--join` that does not answer in this time is passed over.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// The store that founds a fleet.
const FIRST_STORE: StoreId = StoreId(1);

/// Waits until the store is founded upon, or another store lets it in. Gives the stores that are known then. `security`: how it asks them.
pub async fn become_member(
    config: &Config,
    engines: &Engines,
    mut inits: mpsc::Receiver<InitCommand>,
    clock: &dyn Clock,
    security: &Security,
) -> anyhow::Result<Vec<StoreRecord>> {
    let mut said = String::new();
    if config.join.is_empty() {
        tracing::info!("no fleet yet: waiting for `holdfast init --at {}`", config.listen);
    }
    loop {
        let asking = async { anyhow::Ok(ask_to_join(config, security, application::keep(&config.data_dir)?).await) };
        tokio::select! {
            Some(answer) = inits.recv() => {
                let outcome = found(config, engines, clock);
                let told = outcome.as_ref().map(|(fleet, _)| *fleet).map_err(|error| format!("{error:#}"));
                // The caller may have gone; the fleet exists all the same.
                let _ = answer.send(told);
                return outcome.map(|(_, record)| vec![record]);
            }
            asked = asking, if !config.join.is_empty() => match asked? {
                Ok((fleet, record, stores)) => {
                    recovery::join(engines, fleet, &record)?;
                    application::forget(&config.data_dir);
                    return Ok(stores);
                }
                Err(NotJoined { error, is_refused }) => {
                    if is_refused {
                        // As it is, this application leads nowhere; the next one may be for another site.
                        application::forget(&config.data_dir);
                    }
                    let text = format!("{error:#}");
                    if text != said {
                        tracing::info!("not a member yet: {text}");
                        said = text;
                    }
                    tokio::time::sleep(JOIN_EVERY).await;
                }
            },
        }
    }
}

fn found(config: &Config, engines: &Engines, clock: &dyn Clock) -> anyhow::Result<(FleetId, StoreRecord)> {
    let fleet = FleetId(random_128()?);
    let record = own_record(config, FIRST_STORE, Timestamp::from_ms(clock.wall_ms()));
    let site = SiteRecord::new(config.site.clone(), config.site_id.clone());
    recovery::init(engines, &Founding { fleet, store: record.clone(), site })?;
    Ok((fleet, record))
}

/// What a store says of itself to be let in; without an id it is new.
pub fn request(config: &Config) -> v1::JoinRequest {
    let addresses = own_addresses(config);
    v1::JoinRequest {
        site: config.site.to_string(),
        site_identity: config.site_id.clone().unwrap_or_default(),
        client_address: addresses.client,
        store_address: addresses.store_to_store,
        fleet_token: config.fleet_token.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        zone: config.zone.clone().unwrap_or_default(),
        ..v1::JoinRequest::default()
    }
}

/// Why a store was not let in.
struct NotJoined {
    error: anyhow::Error,
    /// The fleet has looked at the application, and says no.
    is_refused: bool,
}

impl From<anyhow::Error> for NotJoined {
    fn from(error: anyhow::Error) -> Self {
        Self { error, is_refused: false }
    }
}

/// Asks the stores named by `--join`: those that answer first, and only one at a time, since each would give this store an id.
async fn ask_to_join(
    config: &Config,
    security: &Security,
    application: u128,
) -> Result<(FleetId, StoreRecord, Vec<StoreRecord>), NotJoined> {
    let join_token = config.join_token.clone();
    let request = v1::JoinRequest { application: Some(application.into()), join_token, ..request(config) };
    let mut asked = JoinSet::new();
    for address in config.join.clone() {
        let security = security.clone();
        asked.spawn(async move {
            let answers = async {
                let mut fleet = crate::status::connect(&address, &security).await?;
                let described = fleet.describe(v1::DescribeRequest {}).await;
                described.map_err(|status| anyhow::anyhow!("{address}: {}", reason(&status)))?;
                Ok(fleet)
            };
            let answered = tokio::time::timeout(ANSWER_WITHIN, answers).await;
            let silent = |_| anyhow::bail!("{address}: no answer within {} ms", ANSWER_WITHIN.as_millis());
            (address.clone(), answered.unwrap_or_else(silent))
        });
    }
    let mut last = NotJoined::from(anyhow::anyhow!("no address to join by"));
    while let Some(answered) = asked.join_next().await {
        let (address, fleet) = answered.context("asking a store")?;
        let mut fleet = match fleet {
            Ok(fleet) => fleet,
            Err(error) => {
                last = error.into();
                continue;
            }
        };
        match fleet.join(request.clone()).await {
            Ok(answer) => return Ok(joined(config, answer.into_inner())?),
            Err(status) => {
                let is_refused = status.code() == tonic::Code::InvalidArgument;
                last = NotJoined { error: anyhow::anyhow!("{address}: {}", reason(&status)), is_refused };
            }
        }
    }
    Err(last)
}

fn joined(config: &Config, answer: v1::JoinResponse) -> anyhow::Result<(FleetId, StoreRecord, Vec<StoreRecord>)> {
    let fleet: FleetId = answer.fleet.context("the answer names no fleet")?.into();
    let store = StoreId::bounded(answer.store_id)?;
    anyhow::ensure!(store != StoreId::NONE, "the answer gives this store no id");
    let record = own_record(config, store, Timestamp::ZERO);
    let mut stores = Vec::new();
    for info in answer.stores {
        stores.push(StoreRecord {
            addresses: StoreAddresses {
                client: info.client_address,
                store_to_store: info.store_address,
                http: String::new(),
            },
            ..StoreRecord::new(
                StoreId::bounded(info.store_id)?,
                holdfast_types::SiteName::new(&info.site).map_err(anyhow::Error::msg)?,
            )
        });
    }
    Ok((fleet, record, stores))
}

fn own_addresses(config: &Config) -> StoreAddresses {
    StoreAddresses {
        client: config.advertise.clone().unwrap_or_else(|| config.listen.to_string()),
        store_to_store: config.advertise_store.clone().unwrap_or_else(|| config.listen_store.to_string()),
        http: config.listen_http.to_string(),
    }
}

pub fn own_record(config: &Config, store: StoreId, joined_at: Timestamp) -> StoreRecord {
    StoreRecord {
        site_identity: config.site_id.clone(),
        addresses: own_addresses(config),
        joined_at,
        zone: config.zone.clone(),
        ..StoreRecord::new(store, config.site.clone())
    }
}

/// Random bits of the system.
pub fn random_128() -> anyhow::Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gives no random bits: {error}"))?;
    Ok(u128::from_le_bytes(bytes))
}

/// Keeps in the system range where this store is now, behind the services, and has the fleet judge the proof of its site: at the start, and
/// now and then, because a site may have moved while this store was cut off. Returns when the proof is refused: then the store must end.
pub async fn stay_member(config: &Config, running: &Arc<Running>) -> Ending {
    let applicant = Applicant {
        store: running.store_id,
        site: config.site.clone(),
        site_identity: config.site_id.clone(),
        addresses: own_addresses(config),
        zone: config.zone.clone(),
        application: None,
        has_started: true,
    };
    let mut said = String::new();
    loop {
        match join(running, &applicant, None).await {
            Ok(_) => {
                said.clear();
                tokio::time::sleep(PROVE_EVERY).await;
                continue;
            }
            Err(Refusal::Site(why)) => {
                return Ending::other_proof(
                    running.store_id,
                    &config.site,
                    config.site_id.as_deref(),
                    &why.to_string(),
                );
            }
            Err(Refusal::Rejected(rejected)) if rejected.may_retry() || rejected == Rejected::DeadlineExceeded => {
                let text = rejected.to_string();
                if text != said {
                    tracing::info!("the system range is not told of this store yet: {text}");
                    said = text;
                }
            }
            Err(Refusal::Rejected(rejected)) => {
                tracing::error!(%rejected, "the fleet refuses this store");
                return std::future::pending().await;
            }
        }
        tokio::time::sleep(JOIN_EVERY).await;
    }
}

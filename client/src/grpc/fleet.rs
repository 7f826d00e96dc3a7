//! Learning the fleet: its stores and where they are, and which ranges hold what.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_proto::careful::Careful;
use holdfast_proto::v1;
use holdfast_proto::v1::fleet_client::FleetClient;
use holdfast_types::{FleetId, KeyRange, Located, SiteName, StoreId, Timestamp, limits};

use super::link;
use crate::ClientError;
use crate::core::KnownStore;

/// The fleet as some store describes it.
#[derive(Clone, Debug)]
pub(super) struct FleetPicture {
    pub(super) fleet: FleetId,
    /// The store that described it.
    pub(super) store: StoreId,
    pub(super) now: Timestamp,
    pub(super) stores: Vec<KnownStore>,
    pub(super) addresses: BTreeMap<StoreId, String>,
}

/// Asks the stores at `addresses` in turn, until one answers that belongs to a fleet.
pub(super) async fn describe_any(addresses: &[String]) -> Result<FleetPicture, String> {
    let mut tried = Vec::new();
    for address in addresses {
        match describe(address).await {
            Ok(picture) => return Ok(picture),
            Err(why) => tried.push(format!("{address}: {why}")),
        }
    }
    Err(if tried.is_empty() { "no address was given".to_owned() } else { tried.join("; ") })
}

/// The same, again and again for as long as `patience`: stores may be starting.
pub(super) async fn describe_patiently(addresses: &[String], patience: Duration) -> Result<FleetPicture, ClientError> {
    let give_up = tokio::time::Instant::now() + patience;
    let mut failures = 0_u32;
    loop {
        let error = match describe_any(addresses).await {
            Ok(picture) => return Ok(picture),
            Err(error) => error,
        };
        let next = tokio::time::Instant::now() + link::backoff(0, failures);
        if next >= give_up {
            return Err(ClientError::Unreachable(error));
        }
        failures = failures.saturating_add(1);
        tokio::time::sleep_until(next).await;
    }
}

async fn describe(address: &str) -> Result<FleetPicture, String> {
    let mut client = FleetClient::new(link::channel(address)?);
    let mut request = tonic::Request::new(v1::DescribeRequest {});
    request.set_timeout(limits::CLIENT_CONNECT_TIMEOUT * 2);
    let described = tokio::time::timeout(limits::CLIENT_CONNECT_TIMEOUT * 2, client.describe(request)).await;
    let described = described.map_err(|_| "no answer".to_owned())?.map_err(|status| link::reason(&status))?;
    let described = described.into_inner();
    let fleet = described.fleet.ok_or("the store belongs to no fleet yet")?;
    let mut stores = Vec::with_capacity(described.stores.len());
    let mut addresses = BTreeMap::new();
    for store in described.stores {
        let id = StoreId::bounded(store.store_id).map_err(|bad| bad.to_string())?;
        stores.push(KnownStore { store: id, site: SiteName::new(&store.site)? });
        addresses.insert(id, store.client_address);
    }
    let store = StoreId::bounded(described.store_id).map_err(|bad| bad.to_string())?;
    let now = Timestamp::bounded(described.now).map_err(|bad| bad.to_string())?;
    Ok(FleetPicture { fleet: fleet.into(), store, now, stores, addresses })
}

/// Asks one store where keys are.
pub(super) async fn locate(
    channel: Careful,
    bounds: KeyRange,
    reverse: bool,
) -> Result<(Vec<Located>, Timestamp), String> {
    let mut client = FleetClient::new(channel).max_decoding_message_size(limits::MAX_MESSAGE_BYTES);
    let request = v1::LocateRequest { bounds: Some(bounds.into()), reverse, limit: limits::CLIENT_LOCATE_RANGES };
    let located = tokio::time::timeout(limits::CLIENT_CONNECT_TIMEOUT, client.locate(request)).await;
    let located = located.map_err(|_| "no answer".to_owned())?.map_err(|status| link::reason(&status))?.into_inner();
    let ranges = located.ranges.into_iter().map(Located::try_from).collect::<Result<_, _>>();
    let now = Timestamp::bounded(located.now).map_err(|bad| bad.to_string())?;
    Ok((ranges.map_err(|bad| bad.to_string())?, now))
}

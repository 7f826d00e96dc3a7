//! Learning the fleet: its stores and where they are, and which ranges hold what.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use holdfast_proto::v1;
use holdfast_proto::v1::fleet_client::FleetClient;
use holdfast_types::{FleetId, KeyRange, Located, SiteName, StoreId, Timestamp, limits};

use super::channel::{Dialer, StoreChannel, Unconnected};
use super::link;
use super::why::{self, Why};
use crate::ClientError;
use crate::core::KnownStore;
use crate::untrusted::Untrusted;

/// The fleet as some store describes it.
#[derive(Clone, Debug)]
pub(super) struct FleetPicture {
    pub(super) fleet: FleetId,
    /// The store that described it, and the address at which it was asked.
    pub(super) store: StoreId,
    pub(super) asked_at: String,
    pub(super) now: Timestamp,
    pub(super) stores: Vec<KnownStore>,
    pub(super) addresses: BTreeMap<StoreId, String>,
}

/// Why nobody described the fleet.
#[derive(Debug, Default)]
pub(super) struct Undescribed {
    tried: Vec<(String, Why)>,
}

impl Undescribed {
    /// True when somebody answered at each address, and was not believed or did not believe us: waiting changes nothing.
    fn is_distrust(&self) -> bool {
        !self.tried.is_empty() && self.tried.iter().all(|(_, why)| why.doubt().is_some())
    }
}

impl fmt::Display for Undescribed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tried.is_empty() {
            return f.write_str("no address was given");
        }
        let tried: Vec<_> = self.tried.iter().map(|(address, why)| format!("{address}: {why}")).collect();
        f.write_str(&tried.join("; "))
    }
}

impl From<Undescribed> for ClientError {
    fn from(failed: Undescribed) -> Self {
        let said = failed.to_string();
        match failed.tried.iter().find_map(|(_, why)| why.doubt()) {
            Some(doubt) if failed.is_distrust() => Self::Untrusted(Untrusted::new(doubt, said)),
            _ => Self::Unreachable(said),
        }
    }
}

/// Asks the stores at `addresses` in turn, until one answers that belongs to a fleet: to that of the dialer, if it has one.
pub(super) async fn describe_any(addresses: &[String], dialer: &Dialer) -> Result<FleetPicture, Undescribed> {
    let mut failed = Undescribed::default();
    for address in addresses {
        match describe(address, dialer).await {
            Ok(picture) => return Ok(picture),
            Err(why) => failed.tried.push((address.clone(), why)),
        }
    }
    Err(failed)
}

/// The same, again and again for as long as `patience`: stores may be starting.
pub(super) async fn describe_patiently(
    addresses: &[String],
    dialer: &Dialer,
    patience: Duration,
) -> Result<FleetPicture, ClientError> {
    let give_up = tokio::time::Instant::now() + patience;
    let mut failures = 0_u32;
    loop {
        let failed = match describe_any(addresses, dialer).await {
            Ok(picture) => return Ok(picture),
            Err(failed) => failed,
        };
        let next = tokio::time::Instant::now() + link::backoff(0, failures);
        if next >= give_up || failed.is_distrust() {
            return Err(failed.into());
        }
        failures = failures.saturating_add(1);
        tokio::time::sleep_until(next).await;
    }
}

async fn describe(address: &str, dialer: &Dialer) -> Result<FleetPicture, Why> {
    let mut client = FleetClient::new(dialer.lazily(address).map_err(Unconnected::why)?);
    let mut request = tonic::Request::new(v1::DescribeRequest {});
    request.set_timeout(limits::CLIENT_CONNECT_TIMEOUT * 2);
    let described = tokio::time::timeout(limits::CLIENT_CONNECT_TIMEOUT * 2, client.describe(request)).await;
    let described = described.map_err(|_| Why::other("no answer"))?.map_err(|status| why::of_status(&status))?;
    let picture = picture(address, described.into_inner()).map_err(Why::other)?;
    // A store of an older version does not look at whom a call is meant for.
    if dialer.meant_for().is_some_and(|fleet| fleet != picture.fleet) {
        return Err(Why::other(format!("the store belongs to another fleet, {}", picture.fleet)));
    }
    Ok(picture)
}

fn picture(address: &str, described: v1::DescribeResponse) -> Result<FleetPicture, String> {
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
    Ok(FleetPicture { fleet: fleet.into(), store, asked_at: address.to_owned(), now, stores, addresses })
}

/// What a store says of where keys are.
pub(super) struct Place {
    pub(super) found: Vec<Located>,
    /// Why it does not tell of the first range.
    pub(super) hidden: Option<String>,
    pub(super) now: Timestamp,
}

/// Asks one store where keys are.
pub(super) async fn locate(channel: StoreChannel, bounds: KeyRange, reverse: bool) -> Result<Place, String> {
    let mut client = FleetClient::new(channel).max_decoding_message_size(limits::MAX_MESSAGE_BYTES);
    let request = v1::LocateRequest { bounds: Some(bounds.into()), reverse, limit: limits::CLIENT_LOCATE_RANGES };
    let located = tokio::time::timeout(limits::CLIENT_CONNECT_TIMEOUT, client.locate(request)).await;
    let located = located
        .map_err(|_| "no answer".to_owned())?
        .map_err(|status| why::of_status(&status).to_string())?
        .into_inner();
    let ranges = located.ranges.into_iter().map(Located::try_from).collect::<Result<_, _>>();
    let now = Timestamp::bounded(located.now).map_err(|bad| bad.to_string())?;
    let mut why = located.hidden;
    why.truncate(why.floor_char_boundary(limits::MAX_SENTENCE_BYTES));
    let hidden = Some(why).filter(|why| !why.is_empty());
    Ok(Place { found: ranges.map_err(|bad| bad.to_string())?, hidden, now })
}

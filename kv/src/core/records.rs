//! The values that placement keeps in the system range, encoded.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::Bytes;
use holdfast_placement::{
    FormerIdentity, KeyspaceRecord, Policy, SiteRecord, StoreAddresses, StoreRecord, SurvivalGoal,
};
use holdfast_proto::convert::BadMessage;
use holdfast_proto::v1;
use holdfast_types::bounds::{at_most, cut};
use holdfast_types::{KeyspaceId, KeyspaceName, RangeDescriptor, SiteName, StoreId, Timestamp, limits};
use prost::Message as _;

/// The version that this program writes.
const VERSION: u32 = 1;

fn known(what: &'static str, version: u32) -> Result<(), BadMessage> {
    if version == VERSION { Ok(()) } else { Err(BadMessage::UnknownVersion { what, found: version, known: VERSION }) }
}

fn site(name: &str) -> Result<SiteName, BadMessage> {
    SiteName::new(name).map_err(BadMessage::Malformed)
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn some_stamp(raw: u64) -> Result<Option<Timestamp>, BadMessage> {
    let stamp = Timestamp::bounded(raw)?;
    Ok((stamp != Timestamp::ZERO).then_some(stamp))
}

/// Encodes a store's record.
#[must_use]
pub fn encode_store(record: &StoreRecord) -> Bytes {
    let message = v1::StoreRecord {
        version: VERSION,
        store_id: record.store.0,
        site: record.site.to_string(),
        site_identity: record.site_identity.clone().unwrap_or_default(),
        client_address: record.addresses.client.clone(),
        store_address: record.addresses.store_to_store.clone(),
        http_address: record.addresses.http.clone(),
        joined_at: record.joined_at.0,
        forgotten_at: record.forgotten_at.unwrap_or(Timestamp::ZERO).0,
        leaving_at: record.leaving_at.unwrap_or(Timestamp::ZERO).0,
        zone: record.zone.clone().unwrap_or_default(),
        awaited: record.is_awaited,
        application: record.application.map(Into::into),
    };
    message.encode_to_vec().into()
}

/// Decodes a store's record.
pub fn decode_store(bytes: &[u8]) -> Result<StoreRecord, BadMessage> {
    let message = v1::StoreRecord::decode(bytes)?;
    known("a store's record", message.version)?;
    Ok(StoreRecord {
        store: StoreId::bounded(message.store_id)?,
        site: site(&message.site)?,
        site_identity: some(message.site_identity),
        addresses: StoreAddresses {
            client: message.client_address,
            store_to_store: message.store_address,
            http: message.http_address,
        },
        joined_at: Timestamp::bounded(message.joined_at)?,
        forgotten_at: some_stamp(message.forgotten_at)?,
        leaving_at: some_stamp(message.leaving_at)?,
        zone: some(message.zone),
        is_awaited: message.awaited,
        application: message.application.map(Into::into),
    })
}

/// Encodes a site's record.
#[must_use]
pub fn encode_site(record: &SiteRecord) -> Bytes {
    let identity = record.identity.clone().unwrap_or_default();
    let former = |was: &FormerIdentity| v1::FormerSiteIdentity { identity: was.identity.clone(), until: was.until.0 };
    let former = record.former.iter().map(former).collect();
    v1::SiteRecord { version: VERSION, label: record.label.to_string(), identity, former }.encode_to_vec().into()
}

/// Decodes a site's record.
pub fn decode_site(bytes: &[u8]) -> Result<SiteRecord, BadMessage> {
    let message = v1::SiteRecord::decode(bytes)?;
    known("a site's record", message.version)?;
    let former = |was: v1::FormerSiteIdentity| FormerIdentity {
        identity: was.identity,
        // It is only told to people.
        until: Timestamp::compared(was.until),
    };
    let former = message.former.into_iter().map(former).collect();
    Ok(SiteRecord { label: site(&message.label)?, identity: some(message.identity), former })
}

/// Encodes a range's record.
#[must_use]
pub fn encode_range(descriptor: &RangeDescriptor) -> Bytes {
    v1::RangeRecord { version: VERSION, descriptor: Some(descriptor.clone().into()) }.encode_to_vec().into()
}

/// Decodes a range's record.
pub fn decode_range(bytes: &[u8]) -> Result<RangeDescriptor, BadMessage> {
    let message = v1::RangeRecord::decode(bytes)?;
    known("a range's record", message.version)?;
    message.descriptor.ok_or_else(|| BadMessage::malformed("a range's record has no descriptor"))?.try_into()
}

/// Fewer bytes than this in a range are not worth one.
const POLICY_MIN_SPLIT_BYTES: u64 = 1 << 20;
/// More voters than this cost more than they save.
const POLICY_MAX_REPLICAS: u32 = 9;

/// Encodes the policy of a keyspace.
#[must_use]
pub fn encode_policy(policy: &Policy) -> Bytes {
    let record = v1::PolicyRecord {
        version: VERSION,
        replicas: u32::try_from(policy.replicas).unwrap_or(u32::MAX),
        survive_store_only: policy.goal == SurvivalGoal::Store,
        leader_preference: policy.leader_preference.iter().map(ToString::to_string).collect(),
        split_bytes: policy.split_bytes,
        split_requests_millis_per_second: policy.split_requests_millis_per_second,
    };
    record.encode_to_vec().into()
}

/// Decodes the policy of a keyspace; one that makes no sense is refused.
pub fn decode_policy(bytes: &[u8]) -> Result<Policy, BadMessage> {
    let message = v1::PolicyRecord::decode(bytes)?;
    known("a policy", message.version)?;
    let by_default = Policy::default();
    if message.replicas > POLICY_MAX_REPLICAS {
        return Err(BadMessage::Malformed(format!("{} replicas: use 1 to {POLICY_MAX_REPLICAS}", message.replicas)));
    }
    if (1..POLICY_MIN_SPLIT_BYTES).contains(&message.split_bytes) {
        return Err(BadMessage::Malformed(format!(
            "ranges of {} bytes: use at least {POLICY_MIN_SPLIT_BYTES}",
            message.split_bytes
        )));
    }
    let sites = message.leader_preference.iter().map(|site| SiteName::new(site));
    let or = |value: u64, default: u64| if value == 0 { default } else { value };
    Ok(Policy {
        replicas: match message.replicas {
            0 => by_default.replicas,
            replicas => usize::try_from(replicas).unwrap_or(by_default.replicas),
        },
        goal: if message.survive_store_only { SurvivalGoal::Store } else { SurvivalGoal::Site },
        leader_preference: sites.collect::<Result<_, _>>().map_err(BadMessage::Malformed)?,
        split_bytes: or(cut(message.split_bytes, limits::MAX_REPORTED_BYTES), by_default.split_bytes),
        split_requests_millis_per_second: or(
            cut(message.split_requests_millis_per_second, limits::MAX_REPORTED_BYTES),
            by_default.split_requests_millis_per_second,
        ),
    })
}

/// Encodes a keyspace's record.
#[must_use]
pub fn encode_keyspace(record: &KeyspaceRecord) -> Bytes {
    let (id, name) = (record.id.0, record.name.to_string());
    v1::KeyspaceRecord { version: VERSION, id, name, created_at: record.created_at.0 }.encode_to_vec().into()
}

/// Decodes a keyspace's record.
pub fn decode_keyspace(bytes: &[u8]) -> Result<KeyspaceRecord, BadMessage> {
    let message = v1::KeyspaceRecord::decode(bytes)?;
    known("a keyspace's record", message.version)?;
    let name = KeyspaceName::new(&message.name).map_err(BadMessage::Malformed)?;
    Ok(KeyspaceRecord {
        id: KeyspaceId::bounded(message.id)?,
        name,
        created_at: Timestamp::bounded(message.created_at)?,
    })
}

/// Encodes the next id of a kind.
#[must_use]
pub fn encode_next_id(next: u64) -> Bytes {
    v1::NextId { version: VERSION, next }.encode_to_vec().into()
}

/// Decodes the next id of a kind.
pub fn decode_next_id(bytes: &[u8]) -> Result<u64, BadMessage> {
    let message = v1::NextId::decode(bytes)?;
    known("a next id", message.version)?;
    // Of stores and keyspaces alike; the narrower bound of stores is looked at where one is given.
    Ok(at_most("a next id", message.next, u32::MAX.into())?)
}

#[cfg(test)]
mod tests {
    use holdfast_types::limits;

    use super::*;

    #[test]
    fn the_list_of_the_largest_fleet_fits_into_one_message() {
        let address = || "h".repeat(limits::MAX_ADDRESS_BYTES);
        let member = StoreRecord {
            site_identity: Some("i".repeat(limits::MAX_SITE_IDENTITY_BYTES)),
            addresses: StoreAddresses { client: address(), store_to_store: address(), http: address() },
            joined_at: Timestamp(u64::MAX),
            leaving_at: Some(Timestamp(u64::MAX)),
            zone: Some("z".repeat(63)),
            is_awaited: true,
            application: Some(u128::MAX),
            ..StoreRecord::new(StoreId(u64::MAX), SiteName::new(&"s".repeat(63)).unwrap())
        };
        assert!(encode_store(&member).len() + 4 <= limits::STORE_RECORD_BYTES);
        let forgotten = StoreRecord { forgotten_at: Some(Timestamp(u64::MAX)), ..member }.told();
        assert!(encode_store(&forgotten).len() + 4 <= limits::FORGOTTEN_STORE_BYTES);
    }

    #[test]
    fn records_round_trip_and_unknown_versions_are_refused() {
        let record = StoreRecord {
            addresses: StoreAddresses { client: "h:1".into(), store_to_store: "h:2".into(), http: "h:3".into() },
            joined_at: Timestamp(9),
            ..StoreRecord::new(StoreId(3), SiteName::new("b").unwrap())
        };
        let forgotten = StoreRecord { forgotten_at: Some(Timestamp(10)), ..record.clone() };
        let leaving = StoreRecord { leaving_at: Some(Timestamp(11)), zone: Some("b-1".into()), ..record.clone() };
        let awaited = StoreRecord { is_awaited: true, application: Some(1 << 100), ..record.clone() };
        for record in [record, forgotten, leaving, awaited] {
            assert_eq!(decode_store(&encode_store(&record)), Ok(record));
        }
        assert_eq!(decode_next_id(&encode_next_id(7)), Ok(7));
        let keyspace = KeyspaceRecord {
            id: KeyspaceId(256),
            name: KeyspaceName::new("orders").unwrap(),
            created_at: Timestamp(9),
        };
        assert_eq!(decode_keyspace(&encode_keyspace(&keyspace)), Ok(keyspace));
        let newer = v1::NextId { version: 2, next: 7 }.encode_to_vec();
        assert!(matches!(decode_next_id(&newer), Err(BadMessage::UnknownVersion { found: 2, .. })));
    }
}

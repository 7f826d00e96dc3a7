//! The values that placement keeps in the system range, encoded.

use bytes::Bytes;
use holdfast_placement::{KeyspaceRecord, SiteRecord, StoreAddresses, StoreRecord};
use holdfast_proto::convert::BadMessage;
use holdfast_proto::v1;
use holdfast_types::{KeyspaceId, KeyspaceName, RangeDescriptor, SiteName, StoreId, Timestamp};
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
    };
    message.encode_to_vec().into()
}

/// Decodes a store's record.
pub fn decode_store(bytes: &[u8]) -> Result<StoreRecord, BadMessage> {
    let message = v1::StoreRecord::decode(bytes)?;
    known("a store's record", message.version)?;
    Ok(StoreRecord {
        store: StoreId(message.store_id),
        site: site(&message.site)?,
        site_identity: some(message.site_identity),
        addresses: StoreAddresses {
            client: message.client_address,
            store_to_store: message.store_address,
            http: message.http_address,
        },
        joined_at: Timestamp(message.joined_at),
    })
}

/// Encodes a site's record.
#[must_use]
pub fn encode_site(record: &SiteRecord) -> Bytes {
    let identity = record.identity.clone().unwrap_or_default();
    v1::SiteRecord { version: VERSION, label: record.label.to_string(), identity }.encode_to_vec().into()
}

/// Decodes a site's record.
pub fn decode_site(bytes: &[u8]) -> Result<SiteRecord, BadMessage> {
    let message = v1::SiteRecord::decode(bytes)?;
    known("a site's record", message.version)?;
    Ok(SiteRecord { label: site(&message.label)?, identity: some(message.identity) })
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
    Ok(KeyspaceRecord { id: KeyspaceId(message.id), name, created_at: Timestamp(message.created_at) })
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
    Ok(message.next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_unknown_versions_are_refused() {
        let record = StoreRecord {
            store: StoreId(3),
            site: SiteName::new("b").unwrap(),
            site_identity: None,
            addresses: StoreAddresses { client: "h:1".into(), store_to_store: "h:2".into(), http: "h:3".into() },
            joined_at: Timestamp(9),
        };
        assert_eq!(decode_store(&encode_store(&record)), Ok(record));
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

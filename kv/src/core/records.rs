//! The values that placement keeps in the system range, encoded.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

mod tokens;

use bytes::Bytes;
use holdfast_placement::{
    FormerIdentity, KeyspaceRecord, Policy, Rotation, SiteRecord, SiteTrust, StoreAddresses, StoreRecord, SurvivalGoal,
};
use holdfast_proto::convert::BadMessage;
use holdfast_proto::convert::trust::{fingerprint, fingerprint_bytes};
use holdfast_proto::v1;
use holdfast_types::bounds::{at_most, cut};
use holdfast_types::{KeyspaceId, KeyspaceName, RangeDescriptor, SiteName, StoreId, Timestamp, limits};
use prost::Message as _;

pub use self::tokens::{decode_token, encode_token};

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

fn stamp(stamp: Option<Timestamp>) -> u64 {
    stamp.unwrap_or_default().0
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
    let (distrusted_at, restored_at) = (stamp(record.distrusted_at), stamp(record.restored_at));
    let label = record.label.to_string();
    v1::SiteRecord { version: VERSION, label, identity, former, distrusted_at, restored_at }.encode_to_vec().into()
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
    Ok(SiteRecord {
        label: site(&message.label)?,
        identity: some(message.identity),
        former,
        distrusted_at: some_stamp(message.distrusted_at)?,
        restored_at: some_stamp(message.restored_at)?,
    })
}

/// What was said of a site, as stores tell it each other.
#[must_use]
pub fn site_trust_of(said: &SiteTrust) -> v1::SiteTrust {
    let (distrusted_at, restored_at) = (stamp(said.distrusted_at), stamp(said.restored_at));
    v1::SiteTrust { site: said.site.to_string(), distrusted_at, restored_at }
}

/// What another store tells of a site.
pub fn site_trust(message: &v1::SiteTrust) -> Result<SiteTrust, BadMessage> {
    let told = |raw| {
        Timestamp::told(raw)?;
        some_stamp(raw)
    };
    Ok(SiteTrust {
        site: site(&message.site)?,
        distrusted_at: told(message.distrusted_at)?,
        restored_at: told(message.restored_at)?,
    })
}

/// A rotation of the root as it is told.
#[must_use]
pub fn rotation_of(rotation: &Rotation) -> v1::Rotation {
    v1::Rotation {
        phase: v1::RotationPhase::from(rotation.phase).into(),
        new_root: fingerprint_bytes(&rotation.new_root),
        old_roots: rotation.old_roots.iter().map(fingerprint_bytes).collect(),
        begun_at: rotation.begun_at.0,
        phase_at: rotation.phase_at.0,
    }
}

/// A rotation of the root that somebody tells.
pub fn rotation(message: &v1::Rotation) -> Result<Rotation, BadMessage> {
    if message.old_roots.len() > limits::ROTATION_OLD_ROOTS {
        return Err(BadMessage::malformed(format!("a rotation takes {} roots out", message.old_roots.len())));
    }
    let rotation = Rotation {
        phase: message.phase().try_into()?,
        new_root: fingerprint(&message.new_root)?,
        old_roots: message.old_roots.iter().map(|root| fingerprint(root)).collect::<Result<_, _>>()?,
        begun_at: Timestamp::bounded(message.begun_at)?,
        phase_at: Timestamp::bounded(message.phase_at)?,
    };
    rotation.check().map_err(BadMessage::malformed)?;
    Ok(rotation)
}

/// Encodes the record of a rotation.
#[must_use]
pub fn encode_rotation(rotation: &Rotation) -> Bytes {
    v1::RotationRecord { version: VERSION, rotation: Some(rotation_of(rotation)) }.encode_to_vec().into()
}

/// Decodes the record of a rotation.
pub fn decode_rotation(bytes: &[u8]) -> Result<Rotation, BadMessage> {
    let message = v1::RotationRecord::decode(bytes)?;
    known("a rotation's record", message.version)?;
    rotation(&message.rotation.ok_or_else(|| BadMessage::malformed("a rotation's record has none"))?)
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
    use holdfast_types::{Fingerprint, RotationPhase};

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
        let site = SiteRecord::new(SiteName::new("b").unwrap(), Some("uid".into()));
        let doubted = SiteRecord { distrusted_at: Some(Timestamp(12)), ..site.clone() };
        let restored = SiteRecord { restored_at: Some(Timestamp(13)), ..doubted.clone() };
        for record in [site, doubted, restored] {
            assert_eq!(decode_site(&encode_site(&record)), Ok(record));
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

    fn rotation_in(phase: RotationPhase) -> Rotation {
        Rotation {
            phase,
            new_root: Fingerprint([9; 32]),
            old_roots: [Fingerprint([1; 32]), Fingerprint([2; 32])].into(),
            begun_at: Timestamp(70),
            phase_at: Timestamp(80),
        }
    }

    #[test]
    fn a_rotation_round_trips_in_each_phase_and_nonsense_is_refused() {
        for phase in [RotationPhase::Add, RotationPhase::Switch, RotationPhase::Remove, RotationPhase::Aborted] {
            let rotation = rotation_in(phase);
            assert_eq!(decode_rotation(&encode_rotation(&rotation)), Ok(rotation));
        }
        let told = rotation_of(&rotation_in(RotationPhase::Add));
        let root = |byte| Bytes::from(vec![byte; 32]);
        let many = (0..=u8::try_from(limits::ROTATION_OLD_ROOTS).unwrap()).map(|byte| root(byte | 0x80)).collect();
        let default = || told.clone();
        for bad in [
            v1::Rotation { phase: 0, ..default() },
            v1::Rotation { phase: 99, ..default() },
            v1::Rotation { new_root: Bytes::from_static(b"short"), ..default() },
            v1::Rotation { new_root: root(1), ..default() },
            v1::Rotation { old_roots: vec![], ..default() },
            v1::Rotation { old_roots: vec![Bytes::new()], ..default() },
            v1::Rotation { old_roots: many, ..default() },
            v1::Rotation { phase_at: u64::MAX, ..default() },
        ] {
            assert!(rotation(&bad).is_err(), "{bad:?}");
        }
        let newer = v1::RotationRecord { version: 2, rotation: Some(told) }.encode_to_vec();
        assert!(matches!(decode_rotation(&newer), Err(BadMessage::UnknownVersion { found: 2, .. })));
        assert!(decode_rotation(&v1::RotationRecord { version: 1, rotation: None }.encode_to_vec()).is_err());
    }

    #[test]
    fn what_is_told_of_a_site_round_trips_and_the_end_of_time_is_refused() {
        let site = SiteName::new("b").unwrap();
        let said = SiteTrust { distrusted_at: Some(Timestamp(7)), ..SiteTrust::never_doubted(site) };
        assert_eq!(site_trust(&site_trust_of(&said)), Ok(said.clone()));
        let told = site_trust_of(&said);
        let late = v1::SiteTrust { distrusted_at: Timestamp::from_ms(limits::MAX_WALL_MS).0, ..told.clone() };
        assert!(site_trust(&late).is_err(), "no later word could take it back");
        assert!(site_trust(&v1::SiteTrust { site: "\u{1b}[2J".into(), ..told }).is_err());
    }
}

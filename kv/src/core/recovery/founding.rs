//! The first store of a new fleet, and every other one that joins it.

use holdfast_engine::{DataOp, Engines, Fault, LogOp, Version};
use holdfast_placement::{SiteRecord, StateKey, StoreRecord};
use holdfast_replica::{RangeState, bootstrap};
use holdfast_types::{
    FleetId, Incarnation, Key, KeyRange, KeyspaceId, RangeDescriptor, RangeEpoch, RangeId, ReplicaDescriptor,
    ReplicaId, Role, Timestamp,
};

use crate::core::identity::{Identity, counter_name, encode_counter};
use crate::core::records::{encode_next_id, encode_range, encode_site, encode_store};

/// What a new fleet begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Founding {
    /// Its id: 128 random bits.
    pub fleet: FleetId,
    /// The founding store; its id is 1 by custom.
    pub store: StoreRecord,
    /// Its site.
    pub site: SiteRecord,
}

/// Founds a fleet on an empty store: the system range, one range for everything else, and the records of store and site. Nothing
/// of it counts before the identity, which is written last.
pub fn init(engines: &Engines, founding: &Founding) -> Result<Identity, Fault> {
    refuse_member(engines)?;
    let store = founding.store.store;
    let at = founding.store.joined_at.max(Timestamp(1));
    let system_end = Key::keyspace_end(KeyspaceId::SYSTEM);
    let system = first_range(founding, RangeId::SYSTEM, KeyRange { start: Key::MIN, end: system_end.clone() });
    let rest = KeyRange { start: system_end.expect("keyspace 0 is not the last"), end: None };
    let rest = first_range(founding, RangeId::made_by(store, 1), rest);
    let facts = [
        (StateKey::NextStore, encode_next_id(store.0 + 1)),
        (StateKey::Store(store), encode_store(&founding.store)),
        (StateKey::Site(founding.site.label.clone()), encode_site(&founding.site)),
        (StateKey::Range(system.range), encode_range(&system)),
        (StateKey::Range(rest.range), encode_range(&rest)),
    ];
    let mut data: Vec<_> = facts
        .into_iter()
        .map(|(name, value)| DataOp::PutVersion {
            key: name.key(),
            timestamp: at,
            version: Version::Value { value, expires_at: None },
        })
        .collect();
    let mut log = Vec::new();
    for descriptor in [&system, &rest] {
        let (log_ops, data_ops) = bootstrap(descriptor, FIRST_REPLICA);
        log.extend(log_ops);
        data.extend(data_ops.into_iter().map(|op| with_clock_past(op, at)));
    }
    engines.data.write(&data)?;
    engines.data.flush()?;
    let identity = identity_of(founding.fleet, &founding.store);
    log.push(LogOp::SetStoreRecord { name: counter_name(0), value: encode_counter(1) });
    log.push(identity.op());
    engines.log.write_synced(&log)?;
    Ok(identity)
}

/// Makes an empty store a member under the id that the fleet gave it.
pub fn join(engines: &Engines, fleet: FleetId, record: &StoreRecord) -> Result<Identity, Fault> {
    refuse_member(engines)?;
    let identity = identity_of(fleet, record);
    engines.log.write_synced(&[identity.op()])?;
    Ok(identity)
}

const FIRST_REPLICA: ReplicaId = ReplicaId(1);

fn refuse_member(engines: &Engines) -> Result<(), Fault> {
    match Identity::read(&*engines.log)? {
        Some(known) => Err(Fault::Identity(format!("this is {} of fleet {} already", known.store, known.fleet))),
        None => Ok(()),
    }
}

fn identity_of(fleet: FleetId, record: &StoreRecord) -> Identity {
    Identity {
        fleet,
        store: record.store,
        site: record.site.clone(),
        site_identity: record.site_identity.clone(),
        incarnation: Incarnation(0),
        counter_offset: 0,
    }
}

fn first_range(founding: &Founding, range: RangeId, bounds: KeyRange) -> RangeDescriptor {
    let replica = ReplicaDescriptor {
        replica: FIRST_REPLICA,
        store: founding.store.store,
        site: founding.store.site.clone(),
        role: Role::Voter,
    };
    RangeDescriptor {
        range,
        bounds,
        epoch: RangeEpoch { membership: 1, bounds: 1 },
        replicas: vec![replica],
        next_replica: FIRST_REPLICA.next(),
    }
}

/// The range's clock starts past what was written into it.
fn with_clock_past(op: DataOp, at: Timestamp) -> DataOp {
    match op {
        DataOp::SetRangeState { range, state } => {
            let state = match RangeState::decode(state.clone()) {
                Ok(known) => RangeState { last_timestamp: known.last_timestamp.max(at), ..known }.encode(),
                Err(_) => state,
            };
            DataOp::SetRangeState { range, state }
        }
        other => other,
    }
}

//! Stores and ranges that are well, as a fleet tells of them: for tests, which change what they are about.

use std::time::Duration;

use holdfast_client::admin::{
    Incarnation, Key, KeyRange, LogIndex, RangeDescriptor, RangeEpoch, RangeId, RangeStatus, ReplicaDescriptor,
    ReplicaId, Role, SiteName, StoreId, StoreStatus, Term,
};

/// A site of this name.
pub fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

/// A store that lives and has nothing.
pub fn store(id: u64, at: &str) -> StoreStatus {
    StoreStatus {
        store: StoreId(id),
        site: site(at),
        client_address: String::new(),
        store_address: String::new(),
        http_address: String::new(),
        alive: true,
        version: "1".into(),
        incarnation: Incarnation(1),
        uptime: Duration::ZERO,
        replicas: 0,
        leaders: 0,
        draining: false,
        disk_total_bytes: 0,
        disk_free_bytes: 0,
        cores: 1,
        used_millicores: 0,
        quarantined: Vec::new(),
        quarantined_replicas: 0,
        complaints: Vec::new(),
        headroom: Vec::new(),
        leaving_at: None,
        zone: None,
        awaited_since: None,
    }
}

/// A range with a voter on each of these stores, all of which have all of its log; the one at index `leader` leads it.
pub fn range(id: u64, stores: &[(u64, &str)], leader: usize) -> RangeStatus {
    let replica = |(store, at): &(u64, &str)| ReplicaDescriptor {
        replica: ReplicaId(*store),
        store: StoreId(*store),
        site: site(at),
        role: Role::Voter,
    };
    RangeStatus {
        descriptor: RangeDescriptor {
            range: RangeId(id),
            bounds: KeyRange { start: Key::MIN, end: None },
            epoch: RangeEpoch { membership: 1, bounds: 1 },
            replicas: stores.iter().map(replica).collect(),
            next_replica: ReplicaId(9),
        },
        leader: Some(StoreId(stores[leader].0)),
        leader_site: Some(site(stores[leader].1)),
        term: Term(3),
        approximate_bytes: None,
        keyspace: None,
        confirmed: true,
        applied: stores.iter().map(|(store, _)| (StoreId(*store), LogIndex(100_000))).collect(),
    }
}

//! What clients may not do, whoever they are: write what the fleet keeps of itself.

use holdfast_types::{Key, KeyRange, KeyspaceId, RangeRequest, Rejected, Request};

/// Refuses writes into keyspace 0. Reads of it are fine.
pub fn permitted(request: &RangeRequest) -> Result<(), Rejected> {
    let touches_system = match &request.request {
        Request::Get { .. } | Request::Scan { .. } => false,
        Request::Write { mutations, .. } => mutations.iter().any(|mutation| is_system(&mutation.key)),
        Request::DeleteRange { bounds, .. } => {
            let system = KeyRange { start: Key::MIN, end: Key::keyspace_end(KeyspaceId::SYSTEM) };
            bounds.overlaps(&system)
        }
    };
    if touches_system {
        let why =
            "keyspace 0 is the fleet's own: clients read it, and change the fleet by its Admin and Fleet services";
        return Err(Rejected::Forbidden(why.into()));
    }
    Ok(())
}

/// An empty key lies nowhere, and is refused for that.
fn is_system(key: &Key) -> bool {
    key.keyspace() == KeyspaceId::SYSTEM && !key.user_key().is_empty()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_types::Mutation;

    use super::*;

    fn ask(request: Request) -> Result<(), Rejected> {
        permitted(&RangeRequest { range: None, write: None, request })
    }

    #[test]
    fn keyspace_zero_is_read_and_not_written() {
        let key = |keyspace| Key::bound(KeyspaceId(keyspace), b"k");
        let put = |keyspace| Mutation { key: key(keyspace), value: Some(Bytes::new()), expires_at: None };
        assert_eq!(ask(Request::Get { keys: vec![key(0)], at: None }), Ok(()));
        assert_eq!(ask(Request::Write { conditions: vec![], mutations: vec![put(1), put(256)] }), Ok(()));
        let refused = ask(Request::Write { conditions: vec![], mutations: vec![put(1), put(0)] });
        assert!(matches!(refused, Err(Rejected::Forbidden(_))));
        let delete = |bounds| ask(Request::DeleteRange { bounds, max_keys: 1 });
        assert!(delete(KeyRange::all()).is_err());
        assert!(delete(KeyRange { start: key(0), end: None }).is_err());
        let default = KeyRange { start: Key::bound(KeyspaceId::DEFAULT, b""), end: None };
        assert_eq!(delete(default), Ok(()));
    }
}

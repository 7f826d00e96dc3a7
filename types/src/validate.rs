//! What a well-formed request may still not ask. Checked once, where a request enters a store; the client's core checks too,
//! so that a caller hears of a mistake without a round trip.

use crate::ids::ClientId;
use crate::key::Key;
use crate::limits;
use crate::range::KeyRange;
use crate::rejected::Rejected;
use crate::request::{Condition, Expected, Mutation, RangeRequest, Request, WriteAttempt};
use crate::time::Timestamp;

/// Refuses a request that breaks a rule of its own, with a sentence that names the rule. `max_value_bytes` is what the store is
/// configured to, at most [`limits::HARD_MAX_VALUE_BYTES`].
pub fn validate(request: &RangeRequest, max_value_bytes: usize) -> Result<(), Rejected> {
    if let Some(write) = &request.write {
        check_attempt(write, &request.request)?;
    }
    match &request.request {
        Request::Get { keys, .. } => {
            check_count("keys", keys.len(), 1, limits::MAX_BATCH_KEYS)?;
            keys.iter().try_for_each(check_key)
        }
        Request::Scan { bounds, max_rows, max_bytes, .. } => {
            check_bounds(bounds)?;
            check_page("max_rows", *max_rows, limits::MAX_SCAN_ROWS)?;
            check_page("max_bytes", *max_bytes, limits::MAX_SCAN_BYTES)
        }
        Request::Write { conditions, mutations } => {
            check_write(conditions, mutations, max_value_bytes.min(limits::HARD_MAX_VALUE_BYTES))?;
            let size = request.request.size_bytes();
            if size > limits::MAX_BATCH_BYTES {
                let most = limits::MAX_BATCH_BYTES;
                return Err(Rejected::invalid(format!("the batch has {size} B: a batch is at most {most} B")));
            }
            Ok(())
        }
        Request::DeleteRange { bounds, max_keys } => {
            check_bounds(bounds)?;
            check_page("max_keys", *max_keys, limits::DELETE_RANGE_PAGE_KEYS)
        }
    }
}

/// Refuses a get whose values have more bytes together than one answer takes.
pub fn check_got(bytes: usize) -> Result<(), Rejected> {
    let most = limits::MAX_GET_BYTES;
    if bytes > most {
        return Err(Rejected::invalid(format!(
            "the values have more than {most} B together: read fewer keys at a time"
        )));
    }
    Ok(())
}

fn check_attempt(write: &WriteAttempt, request: &Request) -> Result<(), Rejected> {
    if !request.is_write() {
        return Err(Rejected::invalid("a read has no request id: leave it out"));
    }
    if write.id.client == ClientId::default() {
        return Err(Rejected::invalid("the client of the request id is 0: draw 128 random bits"));
    }
    if write.id.slot.0 >= limits::MAX_SLOTS {
        let slot = write.id.slot.0;
        return Err(Rejected::invalid(format!("slot {slot} is not below {}", limits::MAX_SLOTS)));
    }
    if write.id.sequence.0 == 0 || write.attempt == 0 {
        return Err(Rejected::invalid("the sequence and the attempt of a request id count from 1"));
    }
    if write.last_moment == Timestamp::ZERO {
        return Err(Rejected::invalid("a write with a request id needs a last moment"));
    }
    Ok(())
}

fn check_write(conditions: &[Condition], mutations: &[Mutation], max_value_bytes: usize) -> Result<(), Rejected> {
    check_count("mutations", mutations.len(), 1, limits::MAX_BATCH_KEYS)?;
    check_count("conditions", conditions.len(), 0, limits::MAX_BATCH_KEYS)?;
    for condition in conditions {
        check_key(&condition.key)?;
        if let Expected::Value(value) = &condition.expected {
            check_value("an expected value", value.len(), max_value_bytes)?;
        }
    }
    for mutation in mutations {
        check_key(&mutation.key)?;
        match &mutation.value {
            Some(value) => check_value("a value", value.len(), max_value_bytes)?,
            None if mutation.expires_at.is_some() => {
                return Err(Rejected::invalid(format!("{} is deleted: a deletion does not expire", mutation.key)));
            }
            None => {}
        }
    }
    match twice(mutations) {
        Some(key) => Err(Rejected::invalid(format!("{key} is changed twice in one batch: its keys must be distinct"))),
        None => Ok(()),
    }
}

fn twice(mutations: &[Mutation]) -> Option<&Key> {
    let mut keys: Vec<&Key> = mutations.iter().map(|m| &m.key).collect();
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

fn check_key(key: &Key) -> Result<(), Rejected> {
    match key.user_key().len() {
        0 => Err(Rejected::invalid("key is empty: a key is 1 B to 4 KiB")),
        len if len > limits::MAX_KEY_BYTES => {
            Err(Rejected::invalid(format!("key has {len} B: a key is at most {} B", limits::MAX_KEY_BYTES)))
        }
        _ => Ok(()),
    }
}

fn check_value(what: &str, len: usize, max: usize) -> Result<(), Rejected> {
    if len > max {
        return Err(Rejected::invalid(format!("{what} has {len} B: a value is at most {max} B here")));
    }
    Ok(())
}

fn check_count(what: &str, count: usize, least: usize, most: usize) -> Result<(), Rejected> {
    if count < least || count > most {
        return Err(Rejected::invalid(format!("{count} {what}: a request has {least} to {most}")));
    }
    Ok(())
}

fn check_page(what: &str, asked: u32, most: u32) -> Result<(), Rejected> {
    if asked == 0 || asked > most {
        return Err(Rejected::invalid(format!("{what} is {asked}: a page takes 1 to {most}")));
    }
    Ok(())
}

fn check_bounds(bounds: &KeyRange) -> Result<(), Rejected> {
    // One byte more than a key: the bound right after the longest key.
    let too_long = |bound: &Key| bound.user_key().len() > limits::MAX_KEY_BYTES + 1;
    if too_long(&bounds.start) || bounds.end.as_ref().is_some_and(too_long) {
        return Err(Rejected::invalid(format!("a bound is longer than {} B", limits::MAX_KEY_BYTES + 1)));
    }
    if bounds.is_empty() {
        return Err(Rejected::invalid(format!("no key lies in {bounds:?}: the start must lie before the end")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ids::{KeyspaceId, Sequence, Slot};
    use crate::request::{RequestId, ScanMode};

    fn key(user: &str) -> Key {
        Key::bound(KeyspaceId::DEFAULT, user.as_bytes())
    }

    fn put(user: &str) -> Mutation {
        Mutation { key: key(user), value: Some(Bytes::from_static(b"v")), expires_at: None }
    }

    fn check(request: Request) -> Result<(), Rejected> {
        validate(&RangeRequest { range: None, write: None, request }, limits::MAX_VALUE_BYTES)
    }

    fn write(mutations: Vec<Mutation>) -> Request {
        Request::Write { conditions: vec![], mutations }
    }

    fn scan(bounds: KeyRange, max_rows: u32) -> Request {
        Request::Scan { bounds, reverse: false, max_rows, max_bytes: 1, at: None, mode: ScanMode::Rows }
    }

    #[track_caller]
    fn refused(outcome: Result<(), Rejected>, word: &str) {
        match outcome {
            Err(Rejected::Invalid(text)) => assert!(text.contains(word), "{text}"),
            other => panic!("{other:?} is no refusal about {word:?}"),
        }
    }

    #[test]
    fn ordinary_requests_pass() {
        assert_eq!(check(write(vec![put("a"), put("b")])), Ok(()));
        assert_eq!(check(Request::Get { keys: vec![key("a")], at: None }), Ok(()));
        assert_eq!(check(scan(KeyRange::all(), limits::MAX_SCAN_ROWS)), Ok(()));
        assert_eq!(check(Request::DeleteRange { bounds: KeyRange::all(), max_keys: 1 }), Ok(()));
    }

    #[test]
    fn each_broken_rule_is_named() {
        refused(check(write(vec![])), "mutations");
        refused(check(write(vec![put("a"), put("b"), put("a")])), "twice");
        refused(check(write(vec![put("")])), "empty");
        refused(check(write(vec![Mutation { value: None, expires_at: Some(Timestamp(1)), ..put("a") }])), "expire");
        let large = Bytes::from(vec![0; limits::MAX_VALUE_BYTES + 1]);
        refused(check(write(vec![Mutation { value: Some(large), ..put("a") }])), "value");
        let many = vec![Bytes::from(vec![0; limits::MAX_VALUE_BYTES]); 5];
        let many = many.into_iter().zip("abcde".chars());
        let many = many.map(|(v, k)| Mutation { value: Some(v), ..put(&k.to_string()) }).collect();
        refused(check(write(many)), "batch");
        refused(check(Request::Get { keys: vec![], at: None }), "keys");
        refused(check(Request::Get { keys: vec![key("a"); limits::MAX_BATCH_KEYS + 1], at: None }), "keys");
        refused(check(Request::Get { keys: vec![Key::MIN], at: None }), "empty");
        refused(check(scan(KeyRange::all(), 0)), "max_rows");
        refused(check(scan(KeyRange { start: key("b"), end: Some(key("a")) }, 1)), "start");
        refused(check(Request::DeleteRange { bounds: KeyRange::all(), max_keys: 0 }), "max_keys");
    }

    #[test]
    fn broken_request_ids_are_refused() {
        let attempt = |client, slot, sequence, attempt, last| WriteAttempt {
            id: RequestId { client: ClientId(client), slot: Slot(slot), sequence: Sequence(sequence) },
            attempt,
            last_moment: Timestamp(last),
        };
        let check = |write, request| validate(&RangeRequest { range: None, write: Some(write), request }, 9);
        let good = attempt(1, 1_023, 1, 1, 1);
        assert_eq!(check(good, write(vec![put("a")])), Ok(()));
        refused(check(good, Request::Get { keys: vec![key("a")], at: None }), "read");
        refused(check(attempt(0, 0, 1, 1, 1), write(vec![put("a")])), "client");
        refused(check(attempt(1, 1_024, 1, 1, 1), write(vec![put("a")])), "slot");
        refused(check(attempt(1, 0, 0, 1, 1), write(vec![put("a")])), "sequence");
        refused(check(attempt(1, 0, 1, 0, 1), write(vec![put("a")])), "attempt");
        refused(check(attempt(1, 0, 1, 1, 0), write(vec![put("a")])), "last moment");
    }
}

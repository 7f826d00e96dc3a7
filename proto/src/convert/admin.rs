//! Conversions for `admin.proto`: the file of a store's events. Answers to operators become types in the client.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_types::{Incarnation, RangeId, SiteName, StoreId, Timestamp, limits};
use prost::Message;

use super::BadMessage;
use super::storage::expect_version;
use crate::{fields, v1};

/// The version of the file that this program writes.
const VERSION: u32 = 1;

/// The file with these events, the oldest first.
#[must_use]
pub fn encode_events(events: Vec<v1::Event>) -> Vec<u8> {
    v1::StoredEvents { version: VERSION, events }.encode_to_vec()
}

/// Reads what [`encode_events`] wrote: at most [`limits::EVENTS_KEPT`] events, the newest of them, and none that [`is_plausible`] refuses.
pub fn decode_events(bytes: &[u8]) -> Result<Vec<v1::Event>, BadMessage> {
    // An empty event takes two bytes here, and a hundred in memory.
    if !fields::are_within::<v1::StoredEvents>(bytes, limits::EVENTS_FILE_FIELDS) {
        return Err(BadMessage::malformed("a file of events has more fields than any store writes"));
    }
    let v1::StoredEvents { version, mut events } = v1::StoredEvents::decode(bytes)?;
    expect_version("a file of events", version, VERSION)?;
    events.retain(is_plausible);
    let old = events.len().saturating_sub(limits::EVENTS_KEPT);
    events.drain(..old);
    Ok(events)
}

/// True of an event that operators can be told: one with a number that nothing honest reaches would make the whole answer unreadable, that of
/// all stores.
#[must_use]
pub fn is_plausible(event: &v1::Event) -> bool {
    let stores = [event.store_id, event.other_store];
    stores.iter().all(|store| StoreId::bounded(*store).is_ok())
        && RangeId::bounded(event.range_id).is_ok()
        && Incarnation::bounded(event.incarnation).is_ok()
        && Timestamp::bounded(event.at).is_ok()
        && SiteName::new(&event.site).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> v1::Event {
        v1::Event { kind: 1, at: 7, store_id: 3, site: "a".into(), message: "it runs".into(), ..v1::Event::default() }
    }

    #[test]
    fn events_round_trip_and_only_the_newest_are_kept() {
        let events: Vec<_> = (0..2 + limits::EVENTS_KEPT as u64).map(|at| v1::Event { at, ..event() }).collect();
        let found = decode_events(&encode_events(events.clone())).unwrap();
        assert_eq!(found, events[2..]);
    }

    #[test]
    fn an_event_that_nobody_could_read_is_left_out() {
        type Change = fn(&mut v1::Event);
        let damaged: [Change; 6] = [
            |event| event.store_id = u64::MAX,
            |event| event.other_store = u64::MAX,
            |event| event.range_id = u64::MAX,
            |event| event.incarnation = u64::MAX,
            |event| event.at = u64::MAX,
            |event| event.site = "\u{1b}[2J".into(),
        ];
        let mut events: Vec<_> = damaged
            .map(|damage| {
                let mut event = event();
                damage(&mut event);
                event
            })
            .into();
        events.push(event());
        assert_eq!(decode_events(&encode_events(events)).unwrap(), [event()]);
    }

    #[test]
    fn another_version_is_named_and_made_up_events_are_counted_before_they_take_memory() {
        let stored = v1::StoredEvents { version: 9, events: vec![] }.encode_to_vec();
        let refused = decode_events(&stored).unwrap_err().to_string();
        assert!(refused.contains("version 9") && refused.contains("knows up to 1"), "{refused}");
        let many = [0x12, 0x00].repeat(limits::EVENTS_FILE_FIELDS + 1);
        assert!(decode_events(&many).unwrap_err().to_string().contains("more fields"));
        assert!(decode_events(b"").unwrap_err().to_string().contains("no version"));
    }
}

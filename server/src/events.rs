//! What happened at this store, kept in a bounded ring and, now and then, in a file, so that a start shows what came before it.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use holdfast_kv::ports::Clock;
use holdfast_proto::convert::admin::{decode_events, encode_events};
use holdfast_proto::v1::{self, EventKind};
use holdfast_types::{Incarnation, RangeId, SiteName, StoreId, Timestamp, limits};
use parking_lot::Mutex;

use crate::services::fitting::short;

/// How often what is new goes to the file.
pub const SAVE_EVERY: Duration = Duration::from_secs(5);

/// The events of one store.
pub struct EventLog {
    store: StoreId,
    site: SiteName,
    incarnation: Incarnation,
    clock: Arc<dyn Clock>,
    path: PathBuf,
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    /// The oldest first.
    events: VecDeque<v1::Event>,
    next_sequence: u64,
    /// The next sequence when the file was written.
    saved: u64,
}

impl Ring {
    fn push(&mut self, event: v1::Event) {
        while self.events.len() >= limits::EVENTS_KEPT {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

impl EventLog {
    /// Opens the log in a data directory. A file that cannot be read is only logged: events are no data.
    pub fn open(
        data_dir: &Path,
        store: StoreId,
        site: SiteName,
        incarnation: Incarnation,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let path = data_dir.join("events.bin");
        let mut ring = Ring { next_sequence: 1, saved: 1, ..Ring::default() };
        match read(&path) {
            Ok(events) => {
                let short = |event: v1::Event| v1::Event { message: short(event.message), ..event };
                events.into_iter().for_each(|event| ring.push(short(event)));
            }
            Err(error) => tracing::warn!(error = format!("{error:#}"), "events of earlier starts are not shown"),
        }
        Self { store, site, incarnation, clock, path, ring: Mutex::new(ring) }
    }

    /// Notes that something happened.
    pub fn note(&self, kind: EventKind, range: Option<RangeId>, other_store: Option<StoreId>, message: String) {
        let mut ring = self.ring.lock();
        let event = v1::Event {
            kind: kind.into(),
            at: Timestamp::from_ms(self.clock.wall_ms()).0,
            store_id: self.store.0,
            site: self.site.to_string(),
            range_id: range.map_or(0, |range| range.0),
            other_store: other_store.unwrap_or(StoreId::NONE).0,
            // It may quote what another process said, and people read it in terminals.
            message: short(holdfast_output::visible(&message).into_owned()),
            incarnation: self.incarnation.0,
            sequence: ring.next_sequence,
        };
        ring.next_sequence = ring.next_sequence.saturating_add(1);
        ring.push(event);
    }

    /// The newest first: at most `limit`, none older than `since`; and whether there are more.
    pub fn newest(&self, limit: usize, since: Timestamp) -> (Vec<v1::Event>, bool) {
        let ring = self.ring.lock();
        let mut fitting = ring.events.iter().rev().filter(|event| event.at >= since.0);
        let events: Vec<_> = fitting.by_ref().take(limit).cloned().collect();
        (events, fitting.next().is_some())
    }

    /// Writes the file, if there is something new. What a crash loses of it is only what was new.
    pub fn save(&self) {
        let (events, next) = {
            let ring = self.ring.lock();
            if ring.saved == ring.next_sequence {
                return;
            }
            (ring.events.iter().cloned().collect(), ring.next_sequence)
        };
        match holdfast_files::replace(&self.path, &encode_events(events)) {
            Ok(()) => self.ring.lock().saved = next,
            Err(error) => tracing::warn!(%error, "events could not be kept in {}", self.path.display()),
        }
    }
}

/// The newest of several stores' events, the newest first.
pub fn merge(mut events: Vec<v1::Event>, limit: usize) -> (Vec<v1::Event>, bool) {
    events.sort_by_key(|event| std::cmp::Reverse((event.at, event.store_id, event.incarnation, event.sequence)));
    let more = events.len() > limit;
    events.truncate(limit);
    (events, more)
}

fn read(path: &Path) -> anyhow::Result<Vec<v1::Event>> {
    let shown = || format!("reading {}", path.display());
    let bytes = holdfast_files::read(path, limits::EVENTS_FILE_BYTES).with_context(shown)?;
    bytes.map_or(Ok(Vec::new()), |bytes| decode_events(&bytes).with_context(shown))
}

#[cfg(test)]
mod tests {
    use holdfast_types::Moment;

    use super::*;

    struct Fixed(u64);

    impl Clock for Fixed {
        fn now(&self) -> Moment {
            Moment(1)
        }

        fn wall_ms(&self) -> u64 {
            self.0
        }
    }

    fn log(dir: &Path, incarnation: u64, wall_ms: u64) -> EventLog {
        let site = SiteName::new("a").unwrap();
        EventLog::open(dir, StoreId(3), site, Incarnation(incarnation), Arc::new(Fixed(wall_ms)))
    }

    #[test]
    fn the_ring_keeps_the_newest_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = log(dir.path(), 1, 1_000);
        for number in 0..limits::EVENTS_KEPT + 2 {
            first.note(EventKind::LeaderElected, Some(RangeId(9)), None, number.to_string());
        }
        let (newest, more) = first.newest(2, Timestamp::ZERO);
        assert_eq!(newest[0].message, (limits::EVENTS_KEPT + 1).to_string());
        assert!(more && newest[0].sequence == newest[1].sequence + 1);
        assert_eq!(first.newest(usize::MAX, Timestamp::ZERO).0.len(), limits::EVENTS_KEPT);
        assert!(first.newest(9, Timestamp::from_ms(1_001)).0.is_empty());
        first.save();
        let second = log(dir.path(), 2, 2_000);
        second.note(EventKind::StoreStarted, None, None, "again".into());
        let (all, _) = second.newest(usize::MAX, Timestamp::ZERO);
        assert_eq!((all.len(), all[0].incarnation, all[0].sequence), (limits::EVENTS_KEPT, 2, 1));
        std::fs::write(dir.path().join("events.bin"), b"\xff\xff").unwrap();
        assert!(log(dir.path(), 3, 3_000).newest(9, Timestamp::ZERO).0.is_empty(), "damage is no reason not to start");
    }

    #[test]
    fn what_others_said_moves_no_cursor_in_an_event() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path(), 1, 1_000);
        log.note(EventKind::Alarm, None, None, "s9 says: \u{1b}[2J\nall is well".into());
        assert_eq!(log.newest(1, Timestamp::ZERO).0[0].message, "s9 says: \\u001b[2J\\nall is well");
    }

    #[test]
    fn merged_events_are_ordered_by_fleet_time() {
        let event = |at, store_id| v1::Event { at, store_id, ..v1::Event::default() };
        let (merged, more) = merge(vec![event(5, 1), event(9, 2), event(7, 1)], 2);
        assert_eq!(merged.iter().map(|event| event.at).collect::<Vec<_>>(), [9, 7]);
        assert!(more);
    }
}

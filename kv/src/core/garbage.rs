//! Looking for garbage: tombstones and expired values with what lies below them, and completion records that nobody may ask for
//! any more. Runs off the workers, a page at a time; what it finds is proposed and removed by every replica.

use std::collections::VecDeque;

use holdfast_engine::{DataSnapshot, Fault, Version};
use holdfast_replica::RangeState;
use holdfast_replica::command::{Garbage, GarbageKey, GarbageRecord};
use holdfast_replica::slots::CompletionRecord;
use holdfast_types::{ClientId, Key, RangeId, Slot, Timestamp, limits};

/// Versions looked at in one read of a page, and the most that one key gives away at once.
const PAGE_VERSIONS: usize = 4_000;
/// A read stops after the version that reaches this many bytes of values.
const PAGE_BYTES: usize = 1 << 20;

/// Where a look for garbage goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GarbagePosition {
    /// Among versions, behind all those of this key.
    Versions(Option<Key>),
    /// Among completion records, behind this one.
    Records(Option<(ClientId, Slot)>),
}

/// One page of a look for garbage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GarbageSearch {
    /// The range.
    pub range: RangeId,
    /// Where to go on.
    pub position: GarbagePosition,
    /// Fleet time: completion records are judged by it.
    pub now: Timestamp,
}

/// What a page held.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GarbagePage {
    /// What may go.
    pub garbage: Garbage,
    /// Where to go on; `None`: this was the last page of its kind.
    pub next: Option<GarbagePosition>,
    /// The earliest end of a value that still lives: then it becomes garbage without being written.
    pub expires: Option<Timestamp>,
    /// Completion records that must stay for now.
    pub records_left: bool,
}

/// Looks through one page.
pub fn look(view: &dyn DataSnapshot, search: &GarbageSearch) -> Result<GarbagePage, Fault> {
    match &search.position {
        GarbagePosition::Versions(after) => look_for_versions(view, search.range, after.clone()),
        GarbagePosition::Records(after) => look_for_records(view, search, *after),
    }
}

fn look_for_versions(view: &dyn DataSnapshot, range: RangeId, after: Option<Key>) -> Result<GarbagePage, Fault> {
    let Some(state) = view.range_state(range)? else { return Ok(GarbagePage::default()) };
    let state = RangeState::decode(state).map_err(|bad| damage(range, &bad.to_string()))?;
    let mut walk = Walk {
        threshold: state.gc_threshold,
        page: GarbagePage::default(),
        size_bytes: 0,
        key: None,
        found: Found::Living,
    };
    let mut after = after.map(|key| (key, Timestamp::ZERO));
    loop {
        let position = after.as_ref().map(|(key, timestamp)| (key, *timestamp));
        let rows = view.versions_after(&state.descriptor.bounds, position, PAGE_VERSIONS, PAGE_BYTES)?;
        let Some((key, timestamp, _)) = rows.last() else {
            walk.finish_key();
            return Ok(walk.page);
        };
        after = Some((key.clone(), *timestamp));
        let mut complete = None;
        for (key, timestamp, version) in rows {
            if let Some(before) = walk.see(key, timestamp, &version) {
                complete = Some(before);
                if walk.size_bytes >= limits::ENTRY_TARGET_BYTES {
                    break;
                }
            }
        }
        // The last key may go on in the next read: it is looked at anew, unless it is all that there is.
        if let Some(key) = complete {
            walk.page.next = Some(GarbagePosition::Versions(Some(key)));
            return Ok(walk.page);
        }
    }
}

/// What is known of the key under the finder's eyes.
enum Found {
    /// Nothing of it may go.
    Living,
    /// It is gone for every reader, and so these versions, newest first, with all that lie below them.
    Dead(VecDeque<Timestamp>),
}

struct Walk {
    threshold: Timestamp,
    page: GarbagePage,
    /// Of what was found, as an entry.
    size_bytes: usize,
    /// The key under the eyes, and whether its newest version below the threshold has been seen.
    key: Option<(Key, bool)>,
    found: Found,
}

impl Walk {
    /// Looks at the next version; the key before, when that is complete now.
    fn see(&mut self, key: Key, timestamp: Timestamp, version: &Version) -> Option<Key> {
        let before =
            if self.key.as_ref().is_some_and(|(current, _)| *current == key) { None } else { self.finish_key() };
        let judged = matches!(self.key, Some((_, true)));
        if let Found::Dead(timestamps) = &mut self.found {
            timestamps.push_back(timestamp);
            // Only the oldest may go without those above them.
            if timestamps.len() > PAGE_VERSIONS {
                timestamps.pop_front();
            }
        } else if !judged {
            let old = timestamp < self.threshold;
            match version {
                // The newest version that readers can still come upon says that there is nothing.
                Version::Tombstone if old => self.found = Found::Dead(VecDeque::from([timestamp])),
                Version::Value { expires_at: Some(end), .. } if old && *end <= self.threshold => {
                    self.found = Found::Dead(VecDeque::from([timestamp]));
                }
                Version::Value { expires_at: Some(end), .. } => {
                    self.page.expires = Some(self.page.expires.map_or(*end, |known| known.min(*end)));
                }
                _ => {}
            }
            self.key = Some((key, old));
        }
        before
    }

    fn finish_key(&mut self) -> Option<Key> {
        let (key, _) = self.key.take()?;
        if let Found::Dead(timestamps) = std::mem::replace(&mut self.found, Found::Living) {
            let found = GarbageKey { key: key.clone(), timestamps: timestamps.into() };
            self.size_bytes += found.size_bytes();
            self.page.garbage.keys.push(found);
        }
        Some(key)
    }
}

fn look_for_records(
    view: &dyn DataSnapshot,
    search: &GarbageSearch,
    after: Option<(ClientId, Slot)>,
) -> Result<GarbagePage, Fault> {
    let rows = view.completions(search.range, after, limits::COMPLETIONS_PAGE)?;
    let mut page = GarbagePage::default();
    if rows.len() == limits::COMPLETIONS_PAGE {
        page.next = rows.last().map(|(client, slot, _)| GarbagePosition::Records(Some((*client, *slot))));
    }
    for (client, slot, record) in rows {
        let record = CompletionRecord::decode(record).map_err(|bad| damage(search.range, &bad.to_string()))?;
        if record.may_go(search.now) {
            page.garbage.records.push(GarbageRecord { client, slot, sequence: record.sequence });
        } else {
            page.records_left = true;
        }
    }
    Ok(page)
}

fn damage(range: RangeId, detail: &str) -> Fault {
    Fault::Damage { doing: format!("looking for garbage in {range}"), detail: detail.to_owned() }
}

#[cfg(test)]
#[path = "garbage_tests.rs"]
mod tests;

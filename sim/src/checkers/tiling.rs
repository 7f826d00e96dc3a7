//! The newest descriptors of all ranges tile the key space: no gap, no overlap. Epochs only grow.

use std::collections::BTreeMap;

use holdfast_types::{Key, RangeDescriptor, RangeId};

/// The newest descriptor of each range, and the one before.
#[derive(Default, Debug)]
pub struct Tiling {
    newest: BTreeMap<RangeId, RangeDescriptor>,
    before: BTreeMap<RangeId, RangeDescriptor>,
}

impl Tiling {
    /// A shape was applied somewhere. True when it is newer than all that were seen of its range.
    pub fn learn(&mut self, descriptor: &RangeDescriptor) -> bool {
        let range = descriptor.range;
        let newer = self.newest.get(&range).is_none_or(|known| descriptor.epoch.is_newer_than(&known.epoch));
        if newer && let Some(known) = self.newest.insert(range, descriptor.clone()) {
            self.before.insert(range, known);
        }
        newer
    }

    /// All ranges as they are now.
    pub fn ranges(&self) -> impl Iterator<Item = &RangeDescriptor> {
        self.newest.values()
    }

    /// The shape of a range before its last change.
    #[must_use]
    pub fn before(&self, range: RangeId) -> Option<&RangeDescriptor> {
        self.before.get(&range)
    }

    /// Checks the tiling.
    pub fn check(&self) -> Result<(), String> {
        let mut sorted: Vec<_> = self.newest.values().collect();
        sorted.sort_by(|a, b| a.bounds.start.cmp(&b.bounds.start));
        let mut next = Some(Key::MIN);
        for descriptor in sorted {
            if next.as_ref() != Some(&descriptor.bounds.start) {
                return Err(format!("the ranges before {descriptor:?} end at {next:?}"));
            }
            next.clone_from(&descriptor.bounds.end);
        }
        match next {
            None => Ok(()),
            Some(end) => Err(format!("the last range ends at {end}")),
        }
    }
}

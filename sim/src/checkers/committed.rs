//! Committed entries never change: whoever applies an index applies the same entry.

use std::collections::BTreeMap;

use holdfast_replica::apply::{CommittedEntry, EntryKind};
use holdfast_types::{LogIndex, RangeId, Term};

use crate::trace::hash_on;

/// What was applied first at each index.
#[derive(Default, Debug)]
pub struct Committed(BTreeMap<(RangeId, LogIndex), (Term, u64)>);

impl Committed {
    /// Somebody applies an entry. True when nobody did before.
    pub fn applies(&mut self, range: RangeId, entry: &CommittedEntry) -> Result<bool, String> {
        let found = (entry.term, hash_of(&entry.kind));
        match self.0.insert((range, entry.index), found) {
            None => Ok(true),
            Some(known) if known == found => Ok(false),
            Some((term, _)) => Err(format!(
                "{range} {} is applied from {} and was applied before from {term}, and they differ",
                entry.index, entry.term
            )),
        }
    }
}

fn hash_of(kind: &EntryKind) -> u64 {
    match kind {
        EntryKind::Empty => 0,
        EntryKind::Normal(command) => hash_on(1, command),
        EntryKind::Membership(command) => hash_on(2, &command.encode()),
    }
}

//! What a replica has applied never goes back while its process lives.

use std::collections::BTreeMap;

use holdfast_types::{LogIndex, RangeId, StoreId};

/// What every replica has applied.
#[derive(Default, Debug)]
pub struct AppliedIndexes(BTreeMap<(StoreId, RangeId), LogIndex>);

impl AppliedIndexes {
    /// A replica has applied up to there.
    pub fn applied(&mut self, store: StoreId, range: RangeId, index: LogIndex) -> Result<(), String> {
        match self.0.insert((store, range), index) {
            Some(before) if before >= index => {
                Err(format!("{store} has applied {range} up to {before}, and now up to {index}"))
            }
            _ => Ok(()),
        }
    }

    /// A store starts: what it had applied and not persisted is lost, and comes again.
    pub fn restarted(&mut self, store: StoreId) {
        self.0.retain(|(of, _), _| *of != store);
    }
}

//! At most one leader of a range in a term, ever.

use std::collections::BTreeMap;

use holdfast_replica::Standing;
use holdfast_types::{RangeId, ReplicaId, StoreId, Term};

/// Who led what and when.
#[derive(Default, Debug)]
pub struct Leaders(BTreeMap<(RangeId, Term), (ReplicaId, StoreId)>);

impl Leaders {
    /// A replica says how it looks; it may say that it leads.
    pub fn stands(&mut self, store: StoreId, standing: &Standing) -> Result<(), String> {
        let Some((replica, _)) = standing.leader.filter(|(_, leader)| *leader == store) else { return Ok(()) };
        let (range, term) = (standing.descriptor.range, standing.term);
        match self.0.insert((range, term), (replica, store)) {
            Some(other) if other != (replica, store) => {
                Err(format!("{range} has two leaders in {term}: {replica} on {store} and {} on {}", other.0, other.1))
            }
            _ => Ok(()),
        }
    }

    /// How many terms had a leader.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }
}

//! The stores that replicas here have for company, counted as replicas come, change and go: to look for them among all replicas takes long
//! where there are many, and a message of anybody may ask for it.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{RangeDescriptor, StoreId};

use super::{Held, Worker};
use crate::core::effect::Effect;

/// How many replicas each store has of ranges that are held here.
///
/// Invariant: a store is in it if and only if a range held here has a replica on it.
#[derive(Default, Debug)]
pub(super) struct Company {
    stores: BTreeMap<StoreId, Counts>,
    /// There are others than were told, or none were.
    is_news: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Counts {
    replicas: usize,
    /// Of ranges whose replica here is on record.
    recorded: usize,
}

impl Company {
    /// Of a worker that has told nobody of it.
    pub(super) fn new() -> Self {
        Self { is_news: true, ..Self::default() }
    }

    /// A replica comes to be held, whether it is on record or not.
    pub(super) fn join(&mut self, descriptor: &RangeDescriptor, recorded: bool) {
        for replica in &descriptor.replicas {
            let counts = self.stores.entry(replica.store).or_default();
            self.is_news |= counts.replicas == 0;
            counts.replicas += 1;
            counts.recorded += usize::from(recorded);
        }
    }

    /// A replica that is held is on record now.
    pub(super) fn record(&mut self, descriptor: &RangeDescriptor) {
        for replica in &descriptor.replicas {
            self.stores.entry(replica.store).or_default().recorded += 1;
        }
    }

    /// A replica that looked so is held no more.
    pub(super) fn leave(&mut self, descriptor: &RangeDescriptor, recorded: bool) {
        for replica in &descriptor.replicas {
            let Some(counts) = self.stores.get_mut(&replica.store) else { continue };
            counts.replicas -= 1;
            counts.recorded -= usize::from(recorded);
            if counts.replicas == 0 {
                self.stores.remove(&replica.store);
                self.is_news = true;
            }
        }
    }

    /// True when a replica here that is on record has one on that store for company.
    pub(super) fn has(&self, store: StoreId) -> bool {
        self.stores.get(&store).is_some_and(|counts| counts.recorded > 0)
    }

    /// Checks the counts against what is held.
    pub(super) fn check<'a>(&self, held: impl Iterator<Item = &'a Held>) -> Result<(), String> {
        let mut counted = Self::default();
        held.for_each(|held| counted.join(&held.standing.descriptor, held.recorded));
        if counted.stores != self.stores {
            return Err(format!("the company of replicas here is {:?}, not {:?}", counted.stores, self.stores));
        }
        Ok(())
    }
}

impl Worker {
    /// Tells the driver with which stores support is exchanged, when that changed.
    pub(super) fn tell_neighbours(&mut self) {
        if std::mem::replace(&mut self.company.is_news, false) {
            let stores = self.company.stores.keys().copied().filter(|store| *store != self.config.store);
            self.out.push(Effect::Neighbours(stores.collect::<BTreeSet<_>>()));
        }
    }
}

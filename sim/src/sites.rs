//! Whole sites: lost, cut off, back.

use std::collections::BTreeSet;

use holdfast_types::{SiteName, StoreId};

use crate::disk::Ending;
use crate::network::Place;
use crate::world::World;

impl World {
    /// The stores of a site that are not gone for good.
    pub fn stores_of(&self, site: &SiteName) -> Vec<StoreId> {
        self.living().filter(|store| self.site_of(*store) == *site).collect()
    }

    /// All machines of a site lose power at once.
    pub fn lose_site(&mut self, site: &SiteName) {
        self.hub.note(|| format!("{site} is lost"));
        for store in self.stores_of(site) {
            self.end_store(store, Ending::PowerLost);
        }
    }

    /// All stores of a site start.
    pub fn return_site(&mut self, site: &SiteName) {
        self.hub.note(|| format!("{site} returns"));
        for store in self.stores_of(site) {
            self.start_store(store);
        }
    }

    /// Every direction between a site, with its clients, and the rest of the world.
    #[must_use]
    pub fn around_site(&self, site: &SiteName) -> BTreeSet<(Place, Place)> {
        let (inside, outside): (Vec<_>, Vec<_>) = self.places().partition(|(_, of)| of == site);
        let mut pairs = BTreeSet::new();
        for (one, _) in &inside {
            for (two, _) in &outside {
                pairs.insert((*one, *two));
                pairs.insert((*two, *one));
            }
        }
        pairs
    }
}

//! Stores that get other addresses, as pods do.

use anyhow::ensure;

use super::{LocalFleet, StoreProcess};

impl LocalFleet {
    /// Gives stores that are down ports that no store of this fleet has had. Their data stays.
    pub fn move_stores(&mut self, indexes: &[usize]) -> anyhow::Result<()> {
        for index in indexes {
            let store = &mut self.stores[*index];
            ensure!(store.child.is_none(), "store {index} runs");
            let streams = self.ports.next_pair()?;
            (store.client, store.store) = (self.ports.next()?, streams);
            (store.http, store.metrics) = (self.ports.next()?, self.ports.next()?);
        }
        Ok(())
    }

    /// Hands the addresses of stores that are down round: store `i` gets those of store `from[i]`. Their data stays.
    pub fn hand_round(&mut self, from: &[usize]) -> anyhow::Result<()> {
        ensure!(from.len() == self.stores.len(), "one address for each store");
        ensure!(self.stores.iter().all(|store| store.child.is_none()), "a store runs");
        let places = |store: &StoreProcess| (store.client, store.store, store.http, store.metrics);
        let before: Vec<_> = self.stores.iter().map(places).collect();
        for (store, from) in self.stores.iter_mut().zip(from) {
            (store.client, store.store, store.http, store.metrics) = before[*from];
        }
        Ok(())
    }
}

//! An ordered map whose clone is one reference count. A write copies only what a clone still shares: the list of pages and
//! one page. So views cost nothing to take, and little afterwards.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

const PAGE_ENTRIES: usize = 64;

type Page<K, V> = Arc<BTreeMap<K, V>>;

/// Invariants:
/// - no page is empty; a page holds at most [`PAGE_ENTRIES`] entries
/// - keys of a page do not lie before its name, and lie before the name of the next page
#[derive(Debug)]
pub(crate) struct PagedMap<K, V> {
    pages: Arc<BTreeMap<K, Page<K, V>>>,
}

impl<K, V> Clone for PagedMap<K, V> {
    fn clone(&self) -> Self {
        Self { pages: Arc::clone(&self.pages) }
    }
}

impl<K: Ord + Clone, V: Clone> Default for PagedMap<K, V> {
    fn default() -> Self {
        Self { pages: Arc::new(BTreeMap::new()) }
    }
}

impl<K: Ord + Clone, V: Clone> PagedMap<K, V> {
    /// The name of the page where `key` is or would be.
    fn page_of(&self, key: &K) -> Option<&K> {
        let before = self.pages.range(..=key).next_back();
        before.or_else(|| self.pages.first_key_value()).map(|(name, _)| name)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.pages.get(self.page_of(key)?)?.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let Some(name) = self.page_of(&key).cloned() else {
            let page = Arc::new(BTreeMap::from([(key.clone(), value)]));
            Arc::make_mut(&mut self.pages).insert(key, page);
            return;
        };
        let pages = Arc::make_mut(&mut self.pages);
        let name = if key < name {
            let first = pages.remove(&name).expect("page_of names a page");
            pages.insert(key.clone(), first);
            key.clone()
        } else {
            name
        };
        let page = Arc::make_mut(pages.get_mut(&name).expect("page_of names a page"));
        page.insert(key, value);
        if page.len() > PAGE_ENTRIES {
            let middle = page.keys().nth(PAGE_ENTRIES / 2).expect("the page is longer than its half").clone();
            let right = page.split_off(&middle);
            pages.insert(middle, Arc::new(right));
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.get(key)?;
        let name = self.page_of(key)?.clone();
        let pages = Arc::make_mut(&mut self.pages);
        let page = Arc::make_mut(pages.get_mut(&name).expect("page_of names a page"));
        let removed = page.remove(key);
        if page.is_empty() {
            pages.remove(&name);
        }
        removed
    }

    /// Entries from `from` on, ascending.
    pub(crate) fn walk(&self, from: Bound<K>) -> impl Iterator<Item = (&K, &V)> {
        let name = match &from {
            Bound::Included(key) | Bound::Excluded(key) => self.page_of(key),
            Bound::Unbounded => self.pages.first_key_value().map(|(name, _)| name),
        };
        let pages = name.map(|name| self.pages.range(name..));
        pages
            .into_iter()
            .flatten()
            .flat_map(move |(_, page)| page.range((from.as_ref(), Bound::Unbounded)).collect::<Vec<_>>())
    }

    /// The first entry from `from` on.
    pub(crate) fn first_from(&self, from: Bound<&K>) -> Option<(&K, &V)> {
        let first = match from {
            Bound::Included(key) | Bound::Excluded(key) => self.page_of(key),
            Bound::Unbounded => self.pages.first_key_value().map(|(name, _)| name),
        };
        self.pages.range(first?..).find_map(|(_, page)| page.range((from, Bound::Unbounded)).next())
    }

    /// The last entry before `key`; `None`: the very last one.
    pub(crate) fn last_before(&self, key: Option<&K>) -> Option<(&K, &V)> {
        let Some(key) = key else {
            return self.pages.last_key_value().and_then(|(_, page)| page.last_key_value());
        };
        let name = self.page_of(key)?;
        self.pages.range(..=name).rev().find_map(|(_, page)| page.range(..key).next_back())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_map_and_clones_stay_as_they_were(
            ops in proptest::collection::vec((any::<bool>(), 0u32..600, any::<u8>()), 1..1500),
            probe in 0u32..600,
        ) {
            let (mut map, mut model) = (PagedMap::default(), BTreeMap::new());
            let mut clones = Vec::new();
            for (i, (put, key, value)) in ops.into_iter().enumerate() {
                if i % 200 == 0 {
                    clones.push((map.clone(), model.clone()));
                }
                if put || value < 64 {
                    map.insert(key, value);
                    model.insert(key, value);
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
            }
            clones.push((map, model));
            for (map, model) in &clones {
                prop_assert!(map.walk(Bound::Unbounded).eq(model.iter()));
                prop_assert!(map.walk(Bound::Included(probe)).eq(model.range(probe..)));
                prop_assert_eq!(map.last_before(Some(&probe)), model.range(..probe).next_back());
                prop_assert_eq!(map.last_before(None), model.iter().next_back());
                prop_assert_eq!(map.get(&probe), model.get(&probe));
            }
        }
    }
}

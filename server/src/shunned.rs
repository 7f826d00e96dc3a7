//! What a store is told of itself when its site is distrusted: nobody talks to it any more, and it would not know why.
//!
//! Each store that refuses it says so in the handshake, by an alert that means nothing else, and only once both ends have proved who they are: so it is
//! heard of stores of the fleet alone. It is told to whoever runs the store, and nothing is done by it. A single store that lies gains nothing by that.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Who said lately that the site of this store is distrusted.
///
/// - One entry for an address that this store asks; what is old counts no more, and goes with the next that is heard.
#[derive(Default, Debug)]
pub struct Shunned {
    by: Mutex<BTreeMap<String, Instant>>,
}

impl Shunned {
    /// The store at this address says so.
    pub fn heard(&self, address: &str, lasts: Duration) {
        let now = Instant::now();
        let mut by = self.by.lock();
        by.retain(|_, until| *until > now);
        by.insert(address.to_owned(), now.checked_add(lasts).unwrap_or(now));
    }

    /// The store at this address talks to this one.
    pub fn is_believed(&self, address: &str) {
        self.by.lock().remove(address);
    }

    /// Those who say so.
    pub fn by(&self) -> Vec<String> {
        let now = Instant::now();
        self.by.lock().iter().filter(|(_, until)| **until > now).map(|(address, _)| address.clone()).collect()
    }

    /// For whoever runs the store; `None`: nobody says so.
    pub fn sentence(&self) -> Option<String> {
        /// Named one by one.
        const NAMED: usize = 3;
        let by = self.by();
        let named = by.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let (others, verb) = match by.len() {
            0 => return None,
            1 => (String::new(), "says"),
            count if count > NAMED => (format!(" and {} more", count.saturating_sub(NAMED)), "say"),
            _ => (String::new(), "say"),
        };
        Some(format!(
            "the fleet distrusts the site of this store, {verb} {named}{others}: no store of another site talks to it (docs/runbooks/distrust-site.md)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_says_who_says_so_for_as_long_as_they_do() {
        let (shunned, lasts) = (Shunned::default(), Duration::from_secs(10));
        assert_eq!(shunned.sentence(), None);
        shunned.heard("a:7300", lasts);
        assert!(shunned.sentence().unwrap().contains("says a:7300:"), "{shunned:?}");
        tokio::time::advance(Duration::from_secs(6)).await;
        for other in ["b:7300", "c:7300", "d:7300"] {
            shunned.heard(other, lasts);
        }
        assert!(shunned.sentence().unwrap().contains("say a:7300, b:7300, c:7300 and 1 more:"), "{shunned:?}");
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(shunned.by(), ["b:7300", "c:7300", "d:7300"], "what is old counts no more");
        shunned.is_believed("c:7300");
        assert_eq!(shunned.by(), ["b:7300", "d:7300"]);
    }
}

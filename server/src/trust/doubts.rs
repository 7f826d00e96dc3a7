//! What was said of sites, put together from wherever it is heard.
//!
//! The records of the system range decide. But they may be slow to reach, and the site that is distrusted may be the one that would have to
//! be asked. So what another store says *against* a site is believed at once, and holds for a while whatever the records say: long enough
//! for the word to get there. What is said *for* a site is believed of the records alone: then nobody talks himself, or a friend, back in.
//!
//! A store that runs wild can have sites distrusted by that. It takes part in the fleet, and could write the record as well; both end when
//! its own site is distrusted.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_placement::SiteTrust;
use holdfast_types::{Moment, SiteName, limits};

/// The last word on each site that was ever distrusted.
///
/// - At most [`limits::SITES_DOUBTED`]; sites of which nothing was said are not among them.
/// - A site is trusted again by a record alone, and by none that was asked for before the last word was heard.
#[derive(Clone, Default, Debug)]
pub struct Doubts {
    known: BTreeMap<SiteName, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    said: SiteTrust,
    /// When it was heard, or asked for.
    at: Moment,
    is_hearsay: bool,
}

impl Known {
    /// True: a record that was asked for then says nothing of this word, because it is older.
    fn outlives(&self, record: &SiteTrust, asked_at: Moment) -> bool {
        let until = if self.is_hearsay { self.at.after(limits::SITE_HEARSAY_HOLDS) } else { self.at };
        asked_at < until && record.said_at() < self.said.said_at()
    }
}

/// What came of something that was heard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    /// Sites that are distrusted now and were not before.
    pub news: Vec<SiteTrust>,
    /// A site is said to be trusted again: the records tell whether it is.
    pub wants_look: bool,
}

impl Doubts {
    /// Takes in what was written down here before.
    pub fn remember(&mut self, kept: &[SiteTrust], now: Moment) {
        for said in kept.iter().filter(|said| !said.is_untouched()) {
            self.known.insert(said.site.clone(), Known { said: said.clone(), at: now, is_hearsay: true });
        }
        self.bound();
    }

    /// Takes in what another store said.
    pub fn hear(&mut self, said: &[SiteTrust], now: Moment) -> Heard {
        let mut heard = Heard::default();
        for said in said {
            let known = self.known.get(&said.site).map(|known| &known.said);
            if known.map_or_else(|| said.is_untouched(), |known| said.said_at() <= known.said_at()) {
                continue;
            }
            let was_distrusted = known.is_some_and(SiteTrust::is_distrusted);
            if said.is_distrusted() {
                self.known.insert(said.site.clone(), Known { said: said.clone(), at: now, is_hearsay: true });
                heard.news.extend((!was_distrusted).then(|| said.clone()));
            } else {
                heard.wants_look |= was_distrusted;
            }
        }
        self.bound();
        heard.news.retain(|said| self.doubts(&said.site));
        heard
    }

    /// Takes in the records of all sites, as they were when they were asked for. Returns the last words that are others than before.
    pub fn learn(&mut self, records: &[SiteTrust], asked_at: Moment) -> Vec<SiteTrust> {
        let known = self.known.values().map(|known| SiteTrust::never_doubted(known.said.site.clone()));
        let mut all: BTreeMap<SiteName, SiteTrust> = known.map(|said| (said.site.clone(), said)).collect();
        all.extend(records.iter().map(|said| (said.site.clone(), said.clone())));
        all.into_values().filter_map(|record| self.settle(record, asked_at)).collect()
    }

    /// A record of one site was written, or read by itself.
    pub fn confirm(&mut self, record: &SiteTrust, at: Moment) -> Option<SiteTrust> {
        self.settle(record.clone(), at)
    }

    fn settle(&mut self, record: SiteTrust, asked_at: Moment) -> Option<SiteTrust> {
        let known = self.known.get(&record.site);
        if known.is_some_and(|known| known.outlives(&record, asked_at)) {
            return None;
        }
        let was_distrusted = known.is_some_and(|known| known.said.is_distrusted());
        if record.is_untouched() {
            self.known.remove(&record.site);
        } else {
            let known = Known { said: record.clone(), at: asked_at, is_hearsay: false };
            self.known.insert(record.site.clone(), known);
            self.bound();
        }
        (self.doubts(&record.site) != was_distrusted).then_some(record)
    }

    /// The oldest go, and those that still hold last; of these, what is hearsay first.
    fn bound(&mut self) {
        while self.known.len() > limits::SITES_DOUBTED {
            let least = |known: &&Known| (known.said.is_distrusted(), !known.is_hearsay, known.said.said_at());
            let Some(site) = self.known.values().min_by_key(least).map(|known| known.said.site.clone()) else { return };
            self.known.remove(&site);
        }
    }

    /// All of it, by site.
    pub fn said(&self) -> Vec<SiteTrust> {
        self.known.values().map(|known| known.said.clone()).collect()
    }

    /// The sites that are distrusted.
    pub fn distrusted(&self) -> BTreeSet<SiteName> {
        holdfast_placement::trust::distrusted(self.known.values().map(|known| &known.said))
    }

    fn doubts(&self, site: &SiteName) -> bool {
        self.known.get(site).is_some_and(|known| known.said.is_distrusted())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use holdfast_types::Timestamp;

    use super::*;

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    fn said(name: &str, distrusted_at: u64, restored_at: u64) -> SiteTrust {
        let at = |at: u64| (at > 0).then_some(Timestamp(at));
        SiteTrust { site: site(name), distrusted_at: at(distrusted_at), restored_at: at(restored_at) }
    }

    fn second(seconds: u64) -> Moment {
        Moment::ZERO.after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_word_against_a_site_is_believed_at_once_and_is_news_once() {
        let mut doubts = Doubts::default();
        let heard = doubts.hear(&[said("b", 5, 0), said("a", 0, 0)], second(1));
        assert_eq!(heard, Heard { news: vec![said("b", 5, 0)], wants_look: false });
        assert_eq!(doubts.hear(&[said("b", 5, 0), said("b", 6, 0)], second(2)), Heard::default());
        assert_eq!(doubts.distrusted(), [site("b")].into());
    }

    #[test]
    fn a_word_for_a_site_is_believed_of_the_records_alone() {
        let mut doubts = Doubts::default();
        doubts.hear(&[said("b", 5, 0)], second(1));
        let restored = said("b", 5, 7);
        assert_eq!(doubts.hear(std::slice::from_ref(&restored), second(2)), Heard { news: vec![], wants_look: true });
        assert_eq!(doubts.distrusted(), [site("b")].into());
        assert_eq!(doubts.learn(std::slice::from_ref(&restored), second(3)), [restored]);
        assert!(doubts.distrusted().is_empty());
        assert_eq!(doubts.hear(&[said("b", 5, 0), said("b", 6, 0)], second(4)), Heard::default(), "that was before");
        assert_eq!(doubts.hear(&[said("b", 8, 7)], second(5)).news, [said("b", 8, 7)]);
    }

    #[test]
    fn what_was_written_down_holds_both_ways() {
        let mut doubts = Doubts::default();
        doubts.remember(&[said("b", 5, 7), said("c", 5, 0), said("d", 0, 0)], second(1));
        assert_eq!((doubts.distrusted(), doubts.said().len()), ([site("c")].into(), 2));
        assert_eq!(doubts.hear(&[said("b", 6, 0)], second(2)), Heard::default(), "it was taken back later");
    }

    #[test]
    fn who_lets_himself_be_trusted_beforehand_is_distrusted_all_the_same() {
        let mut doubts = Doubts::default();
        assert_eq!(doubts.hear(&[said("b", 0, 1 << 60)], second(1)), Heard::default());
        assert_eq!(doubts.hear(&[said("b", 5, 0)], second(2)).news, [said("b", 5, 0)]);
    }

    #[test]
    fn hearsay_holds_until_the_record_can_be_there_and_no_longer() {
        let hold = limits::SITE_HEARSAY_HOLDS.as_secs();
        let mut doubts = Doubts::default();
        doubts.hear(&[said("b", 5, 0)], second(10));
        for asked_at in [1, 9, 10, 10 + hold - 1] {
            assert_eq!(doubts.learn(&[], second(asked_at)), [], "asked for at {asked_at} s");
        }
        let undone = doubts.learn(&[], second(10 + hold));
        assert_eq!(undone, [said("b", 0, 0)], "nobody has put it on record");
        doubts.hear(&[said("b", 5, 0)], second(40));
        assert_eq!(doubts.learn(&[said("b", 5, 0)], second(41)), [], "it is on record");
        assert_eq!(doubts.learn(&[said("b", 5, 9)], second(42)), [said("b", 5, 9)], "and what is newer counts at once");
    }

    #[test]
    fn records_that_were_asked_for_before_one_was_written_undo_nothing() {
        let mut doubts = Doubts::default();
        assert_eq!(doubts.confirm(&said("b", 5, 0), second(10)), Some(said("b", 5, 0)));
        assert_eq!(doubts.learn(&[], second(9)), []);
        assert_eq!(doubts.confirm(&said("b", 5, 8), second(20)), Some(said("b", 5, 8)));
        assert_eq!(doubts.learn(&[said("b", 5, 0)], second(19)), []);
        assert!(doubts.distrusted().is_empty());
        assert_eq!(doubts.said(), [said("b", 5, 8)], "what was taken back is remembered, so that it stays so");
    }

    #[test]
    fn made_up_sites_take_no_memory_and_push_out_none_that_is_on_record() {
        let mut doubts = Doubts::default();
        doubts.confirm(&said("b", 1, 0), second(1));
        let many: Vec<_> = (0..limits::SITES_DOUBTED * 2).map(|n| said(&format!("made-up-{n}"), 9, 0)).collect();
        let heard = doubts.hear(&many, second(2));
        assert_eq!(doubts.said().len(), limits::SITES_DOUBTED);
        assert!(doubts.doubts(&site("b")));
        assert!(heard.news.iter().all(|said| doubts.doubts(&said.site)));
    }
}

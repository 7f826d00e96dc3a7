//! Whether a site is believed, and how far a rotation of the root is: what the fleet keeps of both.
//!
//! A site is distrusted when the last that was said of it is that. Each store hears of it by several ways, and some are slower than others,
//! so what was said carries its time, and the later word counts wherever it comes from ([`SiteTrust::merged`]).
//!
//! A rotation is only a record of how far people are. Roots and certificates are put where they belong by whoever owns the folders; what
//! stores show then decides whether the next phase may begin.

use std::collections::BTreeSet;

use holdfast_types::{Fingerprint, RotationPhase, SiteName, Timestamp};

use crate::state::SiteRecord;

/// What was last said of whether a site is believed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SiteTrust {
    /// The site.
    pub site: SiteName,
    /// When it was distrusted; `None`: never.
    pub distrusted_at: Option<Timestamp>,
    /// When it was trusted again; `None`: never.
    pub restored_at: Option<Timestamp>,
}

impl SiteTrust {
    /// Nothing was ever said against the site.
    #[must_use]
    pub fn never_doubted(site: SiteName) -> Self {
        Self { site, distrusted_at: None, restored_at: None }
    }

    /// True when the last that was said is that nobody is to believe it.
    #[must_use]
    pub fn is_distrusted(&self) -> bool {
        self.distrusted_at > self.restored_at
    }

    /// True when nothing was ever said against the site.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.distrusted_at.is_none() && self.restored_at.is_none()
    }

    /// When the last was said.
    #[must_use]
    pub fn said_at(&self) -> Timestamp {
        self.distrusted_at.max(self.restored_at).unwrap_or_default()
    }

    /// What both know together, in whatever order they are heard.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        Self {
            site: self.site.clone(),
            distrusted_at: self.distrusted_at.max(other.distrusted_at),
            restored_at: self.restored_at.max(other.restored_at),
        }
    }
}

/// The sites that are distrusted, by what was said.
#[must_use]
pub fn distrusted<'a>(said: impl IntoIterator<Item = &'a SiteTrust>) -> BTreeSet<SiteName> {
    said.into_iter().filter(|said| said.is_distrusted()).map(|said| said.site.clone()).collect()
}

/// Why the trust in a site is not changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CannotChangeTrust {
    /// It is no site of the fleet.
    #[error("{0} is no site of this fleet: `holdfast status` shows them")]
    Unknown(SiteName),
}

/// The record of a site that is distrusted from `now` on, or trusted again; `None` when it is so already. A clock that is behind the last word
/// does not take it back: the new one is later, whatever the clock says.
pub fn change_trust(
    sites: &[SiteRecord],
    label: &SiteName,
    is_trusted: bool,
    now: Timestamp,
) -> Result<Option<SiteRecord>, CannotChangeTrust> {
    let unknown = || CannotChangeTrust::Unknown(label.clone());
    let known = sites.iter().find(|site| site.label == *label).ok_or_else(unknown)?;
    if known.is_distrusted() != is_trusted {
        return Ok(None);
    }
    let at = Some(now.max(known.trust().said_at().next()));
    Ok(Some(match is_trusted {
        true => SiteRecord { restored_at: at, ..known.clone() },
        false => SiteRecord { distrusted_at: at, ..known.clone() },
    }))
}

/// A rotation of the root.
///
/// - `old_roots` does not name `new_root`, and is not empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// How far it is.
    pub phase: RotationPhase,
    /// The root that comes.
    pub new_root: Fingerprint,
    /// The roots that go: those that certificates of stores led to when it began.
    pub old_roots: BTreeSet<Fingerprint>,
    /// When it began.
    pub begun_at: Timestamp,
    /// When it came to this phase.
    pub phase_at: Timestamp,
}

impl Rotation {
    /// Sees that what is listed above is so.
    pub fn check(&self) -> Result<(), String> {
        if self.old_roots.is_empty() || self.old_roots.contains(&self.new_root) {
            return Err("a rotation takes one root in and other ones out".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    fn said(distrusted_at: u64, restored_at: u64) -> SiteTrust {
        let at = |at: u64| (at > 0).then_some(Timestamp(at));
        SiteTrust { site: site("b"), distrusted_at: at(distrusted_at), restored_at: at(restored_at) }
    }

    #[test]
    fn the_last_word_counts() {
        for (distrusted_at, restored_at, expected) in
            [(0, 0, false), (5, 0, true), (5, 7, false), (9, 7, true), (0, 7, false), (7, 7, false)]
        {
            assert_eq!(said(distrusted_at, restored_at).is_distrusted(), expected, "{distrusted_at} {restored_at}");
        }
        let all = [said(5, 0), SiteTrust { site: site("c"), ..said(5, 6) }];
        assert_eq!(distrusted(&all), BTreeSet::from([site("b")]));
    }

    #[test]
    fn a_site_is_distrusted_and_trusted_again_once_each_and_a_slow_clock_undoes_nothing() {
        let mut sites = vec![SiteRecord::new(site("a"), None), SiteRecord::new(site("b"), Some("uid".into()))];
        let mut change = |is_trusted, now| {
            let changed = change_trust(&sites, &site("b"), is_trusted, Timestamp(now)).unwrap();
            changed.inspect(|record| sites[1] = record.clone())
        };
        assert_eq!(change(true, 5), None, "nobody doubts it");
        let revoked = change(false, 10).unwrap();
        assert!(revoked.is_distrusted() && revoked.identity.as_deref() == Some("uid"));
        assert_eq!(change(false, 11), None);
        let restored = change(true, 3).unwrap();
        assert!(!restored.is_distrusted() && restored.restored_at == Some(Timestamp(11)), "{restored:?}");
        assert!(change(false, 4).unwrap().is_distrusted());
        let unknown = change_trust(&sites, &site("x"), false, Timestamp(1));
        assert_eq!(unknown, Err(CannotChangeTrust::Unknown(site("x"))));
    }

    fn any_word() -> impl Strategy<Value = SiteTrust> {
        (0u64..6, 0u64..6).prop_map(|(distrusted_at, restored_at)| said(distrusted_at, restored_at))
    }

    proptest! {
        #[test]
        fn words_are_merged_alike_in_any_order(a in any_word(), b in any_word(), c in any_word()) {
            prop_assert_eq!(a.merged(&b), b.merged(&a));
            prop_assert_eq!(a.merged(&b).merged(&c), a.merged(&b.merged(&c)));
            prop_assert_eq!(a.merged(&a), a.clone());
            let both = a.merged(&b);
            prop_assert_eq!(both.merged(&a), both);
        }
    }

    #[test]
    fn a_root_is_shown_as_the_tools_of_others_show_it() {
        let print = Fingerprint(std::array::from_fn(|at| u8::try_from(at * 3).unwrap()));
        assert_eq!(print.short(), "00030609");
        assert!(print.to_string().starts_with("000306090c0f1215") && print.to_string().len() == 64);
    }

    #[test]
    fn no_rotation_takes_a_root_in_that_goes_out() {
        let root = |byte| Fingerprint([byte; 32]);
        let of = |old: &[u8]| Rotation {
            phase: RotationPhase::Add,
            new_root: root(9),
            old_roots: old.iter().map(|byte| root(*byte)).collect(),
            begun_at: Timestamp(1),
            phase_at: Timestamp(1),
        };
        assert!(of(&[1, 2]).check().is_ok());
        assert!(of(&[]).check().is_err() && of(&[1, 9]).check().is_err());
    }
}

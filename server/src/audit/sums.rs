//! Refusals that come too fast are summed up. Whoever reaches a port can cause them, so neither their number nor that of those who cause them
//! may become memory, lines or rows.
//!
//! - A caller is his name, or where he has none his address. Of each a few refusals of a kind are told one by one, as long as all together are
//!   few; the rest is counted, and told every [`limits::AUDIT_SUM_EVERY`]: "and 812 more".
//! - Callers beyond [`limits::AUDIT_SUMMED_CALLERS`] share one sum for each kind of refusal.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use holdfast_edge::bucket::Bucket;
use holdfast_proto::v1;
use holdfast_types::limits;

use super::entry::{self, Refusal};

/// Refusals of a caller that are told one by one before the rest is summed up.
const TOLD_EACH: u32 = 4;

/// Whether a refusal is told by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// It is.
    Alone,
    /// It is counted.
    Summed,
}

/// The argument that tells refusals of one kind apart: nobody hides one behind many of another.
const REASON: &str = "reason";

/// What is summed up together: the kind of refusal, and whose.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    what: &'static str,
    reason: Option<String>,
    who: String,
    address: Option<IpAddr>,
}

#[derive(Default)]
struct Sum {
    told: u32,
    times: u64,
    /// The last one.
    why: String,
}

/// Refusals since sums were told last.
pub(super) struct Sums {
    all: Bucket,
    callers: BTreeMap<Subject, Sum>,
    others: BTreeMap<&'static str, Sum>,
    told_at: Instant,
    summed: u64,
}

impl Sums {
    pub(super) fn new(now: Instant) -> Self {
        Self { all: Bucket::new(now), callers: BTreeMap::new(), others: BTreeMap::new(), told_at: now, summed: 0 }
    }

    /// Takes a refusal.
    pub(super) fn take(&mut self, refusal: &Refusal, now: Instant) -> Told {
        let what = refusal.what;
        let subject = Subject {
            what,
            reason: refusal.arguments.iter().find(|(name, _)| *name == REASON).map(|(_, reason)| reason.clone()),
            who: entry::who(refusal.caller.principal.as_deref()),
            address: refusal.caller.from.map(|from| from.ip()),
        };
        let has_room = self.callers.len() < limits::AUDIT_SUMMED_CALLERS || self.callers.contains_key(&subject);
        let sum =
            if has_room { self.callers.entry(subject).or_default() } else { self.others.entry(what).or_default() };
        if sum.told < TOLD_EACH && self.all.admits(limits::AUDIT_REFUSALS_BURST, limits::AUDIT_REFUSAL_EVERY, now) {
            sum.told = sum.told.saturating_add(1);
            return Told::Alone;
        }
        sum.times = sum.times.saturating_add(1);
        sum.why.clone_from(&refusal.why);
        self.summed = self.summed.saturating_add(1);
        Told::Summed
    }

    /// The sums, when they are due, or now. Everybody is forgotten then.
    pub(super) fn due(&mut self, now: Instant, all: bool) -> Vec<v1::AuditEntry> {
        if !all && now.saturating_duration_since(self.told_at) < limits::AUDIT_SUM_EVERY {
            return Vec::new();
        }
        self.told_at = now;
        let nobody = |what| Subject { what, reason: None, who: String::new(), address: None };
        let others = std::mem::take(&mut self.others).into_iter().map(|(what, sum)| (nobody(what), sum));
        let sums = std::mem::take(&mut self.callers).into_iter().chain(others).filter(|(_, sum)| sum.times > 0);
        sums.map(|(Subject { what, reason, who, address }, sum)| {
            let arguments = reason.map(|reason| (REASON, reason)).into_iter().collect();
            entry::summed_up(what, who, address, arguments, &sum.why, sum.times)
        })
        .collect()
    }

    /// Refusals that were counted only, since the start.
    pub(super) fn summed(&self) -> u64 {
        self.summed
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::services::caller::Caller;

    fn refusal(what: &'static str, address: u32, number: u32) -> Refusal {
        let origin = SocketAddr::from((Ipv4Addr::from_bits(address), u16::try_from(number % 60_000).unwrap()));
        Refusal::new(what, Caller { principal: None, from: Some(origin) }, format!("number {number}"))
    }

    #[test]
    fn the_first_refusals_of_a_caller_are_told_and_the_others_summed_up() {
        let start = Instant::now();
        let mut sums = Sums::new(start);
        let told =
            |sums: &mut Sums| (0..816).filter(|n| sums.take(&refusal("right", 1, *n), start) == Told::Alone).count();
        assert_eq!(told(&mut sums), 4);
        assert_eq!(sums.due(start, false), []);
        let due = sums.due(start + limits::AUDIT_SUM_EVERY, false);
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].times, due[0].origin.as_str(), due[0].what.as_str()), (812, "0.0.0.1", "right"));
        assert_eq!(due[0].why, "and 812 more, the last one: number 815");
        assert_eq!(sums.due(start + limits::AUDIT_SUM_EVERY * 2, false), [], "what was told is told once");
        assert_eq!(sums.summed(), 812);
    }

    #[test]
    fn a_flood_from_everywhere_costs_a_bounded_number_of_entries_and_loses_no_count() {
        let start = Instant::now();
        let mut sums = Sums::new(start);
        let mut told = 0;
        for number in 0..100_000 {
            for what in ["handshake", "token"] {
                told += u64::from(sums.take(&refusal(what, number, number), start) == Told::Alone);
            }
        }
        assert!(sums.callers.len() <= limits::AUDIT_SUMMED_CALLERS);
        let due = sums.due(start, true);
        assert!(due.len() <= limits::AUDIT_SUMMED_CALLERS + 2, "{}", due.len());
        assert_eq!(told + due.iter().map(|sum| sum.times).sum::<u64>(), 200_000);
        assert!(told <= u64::from(limits::AUDIT_REFUSALS_BURST));
        let others = due.iter().find(|sum| sum.what == "token" && sum.origin.is_empty()).unwrap();
        assert!(others.times > 90_000, "{others:?}");
    }

    #[test]
    fn one_caller_that_floods_does_not_keep_another_from_being_told() {
        let start = Instant::now();
        let mut sums = Sums::new(start);
        for number in 0..10_000 {
            sums.take(&refusal("handshake", 1, number), start);
        }
        assert_eq!(sums.take(&refusal("handshake", 2, 1), start), Told::Alone);
        assert_eq!(sums.take(&refusal("right", 1, 1), start), Told::Alone, "another kind of refusal is another matter");
        let distrusted = Refusal { arguments: vec![(REASON, "distrusted".into())], ..refusal("handshake", 1, 1) };
        assert_eq!(sums.take(&distrusted, start), Told::Alone, "and so is another reason");
    }
}

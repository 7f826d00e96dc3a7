//! What `--wait` waits for: a fleet that is ready, or one that placement has nothing left to do for.
//!
//! *Ready*: every store that is to stay answers, and every range is led. *Balanced*: ready, and every range has its voters where they are to be,
//! every site leads something, nothing is on the move, and nothing has moved for a while. Whether placement is done is not asked of it: it plans
//! anew with each report, so what can be seen is that it leaves everything as it is.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use holdfast_client::Security;
use holdfast_client::admin::{Admin, RangeEpoch, RangeId, RangeStatus, Ranges, Role, StoreId, StoreStatus};
use holdfast_output::visible;
use holdfast_types::limits;

use crate::drain::{left_in_words, left_on};
use crate::status::describe_any;

/// What to wait for.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Every store answers, and every range is led
    Ready,
    /// And placement has nothing left to do
    Balanced,
}

impl Wanted {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Balanced => "balanced",
        }
    }
}

/// Waits until the fleet is as wanted, and for at most `within`: then the error says what is missing.
pub async fn wait(
    addresses: &[String],
    security: &Security,
    wanted: Wanted,
    within: Option<Duration>,
) -> anyhow::Result<()> {
    let within = within.unwrap_or(limits::COMMAND_WAITS);
    let mut missing = "no store has answered".to_owned();
    let waited = tokio::time::timeout(within, async {
        let mut stillness = Stillness::default();
        loop {
            match look(addresses, security).await {
                Ok(seen) => match seen.missing(wanted, &mut stillness) {
                    None => return,
                    Some(why) => missing = why,
                },
                Err(error) => missing = format!("{error:#}"),
            }
            tokio::time::sleep(limits::COMMAND_LOOKS_EVERY).await;
        }
    });
    if waited.await.is_ok() {
        return Ok(());
    }
    let (wanted, within) = (wanted.as_str(), humantime::format_duration(within));
    anyhow::bail!("the fleet is not {wanted} after {within}: {}", visible(&missing))
}

/// What was seen of a fleet.
struct Seen {
    stores: Vec<StoreStatus>,
    ranges: Vec<RangeStatus>,
}

async fn look(addresses: &[String], security: &Security) -> anyhow::Result<Seen> {
    let (described, addresses) = describe_any(addresses, security).await?;
    anyhow::ensure!(described.fleet.is_some(), "no fleet is there yet: `holdfast init` founds one");
    let admin = Admin::connect_with(addresses, security.clone()).await?;
    let (stores, ranges) = tokio::try_join!(admin.stores(), admin.all_ranges(Ranges::All))?;
    Ok(Seen { stores: stores.stores, ranges: ranges.ranges })
}

/// Since when nothing has moved.
#[derive(Default)]
struct Stillness {
    last: Vec<(RangeId, RangeEpoch, Option<StoreId>)>,
    since: Option<Instant>,
}

impl Stillness {
    /// How long everything has been where it is.
    fn lasts(&mut self, ranges: &[RangeStatus], now: Instant) -> Duration {
        let places: Vec<_> =
            ranges.iter().map(|range| (range.descriptor.range, range.descriptor.epoch, range.leader)).collect();
        if places != self.last {
            (self.last, self.since) = (places, None);
        }
        now.saturating_duration_since(*self.since.get_or_insert(now))
    }
}

impl Seen {
    /// What is missing; `None`: it is as wanted.
    fn missing(&self, wanted: Wanted, stillness: &mut Stillness) -> Option<String> {
        let lasts = stillness.lasts(&self.ranges, Instant::now());
        let missing = self.not_ready();
        if wanted == Wanted::Ready || missing.is_some() {
            return missing;
        }
        self.not_balanced().or_else(|| {
            let moves = "something has moved lately; placement may not be done".to_owned();
            (lasts < limits::BALANCED_WHEN_STILL_FOR).then_some(moves)
        })
    }

    fn not_ready(&self) -> Option<String> {
        let silent = self.stores.iter().find(|store| !store.alive && store.leaving_at.is_none());
        if let Some(store) = silent {
            let why = match store.awaited_since {
                Some(_) => "was let in and has not started yet",
                None => "does not answer",
            };
            return Some(format!("{} ({}) {why}", store.store, store.site));
        }
        if self.stores.is_empty() || self.ranges.is_empty() {
            return Some("no store tells of ranges yet".to_owned());
        }
        let unled = self.ranges.iter().filter(|range| range.leader.is_none() || !range.confirmed).count();
        (unled > 0).then(|| format!("{unled} of {} ranges have no leader", self.ranges.len()))
    }

    fn not_balanced(&self) -> Option<String> {
        if let Some(leaving) = self.stores.iter().find(|store| store.leaving_at.is_some()) {
            let (ranges, bytes) = left_on(leaving.store, &self.ranges);
            if ranges > 0 {
                return Some(format!("{} ({}): {}", leaving.store, leaving.site, left_in_words(ranges, bytes)));
            }
        }
        let stays = |store: &&StoreStatus| store.leaving_at.is_none();
        if let Some(lost) = self.stores.iter().flat_map(|store| &store.headroom).find(|lost| lost.spreading) {
            return Some(format!("voters are still spread over the sites: {}", lost.sentence));
        }
        if let Some(range) =
            self.ranges.iter().find(|range| range.descriptor.replicas.iter().any(|r| r.role != Role::Voter))
        {
            return Some(format!("{} changes its replicas", range.descriptor.range));
        }
        // What the policy wants is not told. Three, as far as there are stores for them, and all ranges alike.
        let voters = |range: &RangeStatus| range.descriptor.replicas.len();
        let most = self.ranges.iter().map(voters).max().unwrap_or_default();
        let wanted = self.stores.iter().filter(stays).count().min(limits::USUAL_VOTERS).max(most);
        if let Some(range) = self.ranges.iter().find(|range| voters(range) < wanted) {
            return Some(format!("{} has {} voters, of {wanted}", range.descriptor.range, voters(range)));
        }
        let sites: BTreeSet<_> = self.stores.iter().filter(stays).map(|store| &store.site).collect();
        let lead: BTreeSet<_> = self.ranges.iter().filter_map(|range| range.leader_site.as_ref()).collect();
        let idle = sites.difference(&lead).next().filter(|_| self.ranges.len() >= sites.len());
        idle.map(|site| format!("site {site} leads nothing yet"))
    }
}

#[cfg(test)]
mod tests {
    use holdfast_client::admin::{SiteHeadroom, Timestamp};

    use super::*;
    use crate::fixtures::{range, site, store};

    const ALL: [(u64, &str); 3] = [(1, "a"), (2, "b"), (3, "c")];

    fn balanced() -> Seen {
        let stores = ALL.map(|(id, site)| store(id, site)).to_vec();
        Seen { stores, ranges: (0..3).map(|at| range(at as u64 + 1, &ALL, at)).collect() }
    }

    fn changed(change: impl FnOnce(&mut Seen)) -> Seen {
        let mut seen = balanced();
        change(&mut seen);
        seen
    }

    #[test]
    fn a_fleet_is_ready_when_every_store_answers_and_every_range_is_led() {
        assert_eq!(balanced().not_ready(), None);
        for (seen, why) in [
            (changed(|seen| seen.stores[2].alive = false), "s3 (c) does not answer"),
            (
                changed(|seen| {
                    seen.stores[2].alive = false;
                    seen.stores[2].awaited_since = Some(Timestamp(1));
                }),
                "has not started yet",
            ),
            (changed(|seen| seen.ranges[1].leader = None), "1 of 3 ranges have no leader"),
            (changed(|seen| seen.ranges[1].confirmed = false), "1 of 3 ranges"),
            (changed(|seen| seen.ranges.clear()), "no store tells of ranges"),
        ] {
            let said = seen.not_ready().unwrap();
            assert!(said.contains(why), "{said}");
        }
        let gone = changed(|seen| {
            seen.stores[2].alive = false;
            seen.stores[2].leaving_at = Some(Timestamp(1));
        });
        assert_eq!(gone.not_ready(), None, "nobody waits for one that is to go");
    }

    #[test]
    fn a_fleet_is_balanced_when_placement_has_nothing_left_to_do() {
        assert_eq!(balanced().not_balanced(), None);
        let spreading = SiteHeadroom {
            lost_site: site("a"),
            sentence: "lose a".into(),
            enough: false,
            utilisation_permille: 0,
            spreading: true,
        };
        for (seen, why) in [
            (changed(|seen| seen.ranges[0].descriptor.replicas[1].role = Role::Learner), "r1 changes its replicas"),
            (changed(|seen| drop(seen.ranges[2].descriptor.replicas.pop())), "r3 has 2 voters, of 3"),
            (
                changed(|seen| seen.ranges[0].leader_site = seen.ranges[1].leader_site.clone()),
                "site a leads nothing yet",
            ),
            (changed(|seen| seen.stores[0].headroom = vec![spreading]), "lose a"),
            (changed(|seen| seen.stores[2].leaving_at = Some(Timestamp(1))), "s3 (c): 3 ranges"),
        ] {
            let said = seen.not_balanced().unwrap();
            assert!(said.contains(why), "{said}");
        }
        let small = changed(|seen| seen.ranges.truncate(1));
        assert_eq!(small.not_balanced(), None, "one range cannot be led by three sites");
        let alone = Seen { stores: vec![store(1, "a")], ranges: vec![range(1, &ALL[..1], 0)] };
        assert_eq!(alone.not_balanced(), None);
    }

    #[test]
    fn what_has_just_moved_may_move_again() {
        let (mut stillness, begun) = (Stillness::default(), Instant::now());
        let seen = balanced();
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(stillness.lasts(&seen.ranges, begun), Duration::ZERO);
        assert_eq!(stillness.lasts(&seen.ranges, after(9)), Duration::from_secs(9));
        let moved = changed(|seen| seen.ranges[0].leader = Some(StoreId(2)));
        assert_eq!(stillness.lasts(&moved.ranges, after(10)), Duration::ZERO);
        assert_eq!(stillness.lasts(&moved.ranges, after(25)), Duration::from_secs(15));
        let why = seen.missing(Wanted::Balanced, &mut Stillness::default()).unwrap();
        assert!(why.contains("moved lately"), "{why}");
        assert_eq!(seen.missing(Wanted::Ready, &mut Stillness::default()), None);
    }
}

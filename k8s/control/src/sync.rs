//! Mirrors the addresses of each site's stores into all other sites.
//!
//! It asks again and again instead of watching: one list of a handful of pods each second is cheap, ends within its deadline, and cannot hang on a
//! connection that died unnoticed. Each site has two tasks of its own, one that asks where its pods are and one that writes where those of
//! the others are, so that no site waits for another.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_k8s::Fleet;
use holdfast_k8s::fleet::Site;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::connect::Reach;
use crate::failure::Failure;
use crate::kinds::{POD, SLICE};
use crate::link::{Link, Mode};
use crate::objects::{self, MANAGER, Object};
use crate::slices;
use crate::views::{self, PodView};

/// Slices are ours alone: whoever else wrote into one is overwritten.
const WRITE: Mode = Mode { is_dry: false, takes_over: true, manager: MANAGER };
/// Between two looks at the pods of a site.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Slices are looked at so often even when no address has changed: somebody may have deleted one.
const WRITE_EVERY: Duration = Duration::from_secs(15);
/// The longest time between two attempts after failures.
const BACK_OFF: Duration = Duration::from_secs(30);

/// What came of one site in one pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synced {
    /// The site.
    pub site: String,
    /// Pods whose addresses were found there.
    pub found: Result<usize, Failure>,
    /// Slices of the others that were written there.
    pub written: Result<Vec<String>, Failure>,
}

/// The pods of a site.
pub async fn pods(fleet: &Fleet, site: &Site, link: &Link) -> Result<Vec<PodView>, Failure> {
    let selector = format!("{}={},{}={}", objects::FLEET, fleet.name, objects::SITE, site.name);
    let live = link.list(POD, POD.api_version, &fleet.namespace, &selector).await?;
    Ok(views::pods(&live.unwrap_or_default(), &fleet.set_name(site)))
}

/// Which pod of another site has which address, as it was mirrored last: what is left to know of a site that does not answer.
pub async fn mirrored(fleet: &Fleet, link: &Link) -> Result<Vec<(String, String)>, Failure> {
    if !fleet.is_mirrored() {
        return Ok(Vec::new());
    }
    let live = link.list(SLICE, SLICE.api_version, &fleet.namespace, &objects::owned_by(&fleet.name)).await?;
    Ok(live.unwrap_or_default().iter().flat_map(slices::leads_to).collect())
}

async fn slices_of(fleet: &Fleet, reach: &Reach) -> Result<Vec<Object>, Failure> {
    let link = reach.link.as_ref().map_err(Clone::clone)?;
    link.check_uid().await?;
    Ok(slices::wanted(fleet, &reach.site, &pods(fleet, &reach.site, link).await?))
}

/// Writes into one site what differs. `wanted`: slices of other sites only.
async fn write(fleet: &Fleet, reach: &Reach, wanted: &[Object]) -> Result<Vec<String>, Failure> {
    let link = reach.link.as_ref().map_err(Clone::clone)?;
    link.check_uid().await?;
    let live = link.list(SLICE, SLICE.api_version, &fleet.namespace, &objects::owned_by(&fleet.name)).await?;
    let live = live.unwrap_or_default();
    let mut written = Vec::new();
    for object in slices::outdated(wanted, &live) {
        let applied = link.apply(object, WRITE).await;
        applied.map_err(|failure| if failure.is_missing() { Failure::NotApplied } else { failure })?;
        written.push(object.address.name.clone());
    }
    Ok(written)
}

/// One pass over all sites. `only`: write into this site alone; addresses are taken from all.
pub async fn once(fleet: &Fleet, reaches: &[Reach], only: Option<&str>) -> Vec<Synced> {
    let known = futures::future::join_all(reaches.iter().map(|reach| slices_of(fleet, reach))).await;
    let targets = reaches.iter().enumerate().filter(|(_, reach)| only.is_none_or(|only| reach.site.name == only));
    let passes = targets.map(|(own, reach)| {
        let others = known.iter().enumerate().filter(move |(at, _)| *at != own);
        let wanted: Vec<Object> = others.filter_map(|(_, slices)| slices.as_ref().ok()).flatten().cloned().collect();
        let found = known[own].as_ref().map(Vec::len).map_err(Clone::clone);
        async move { Synced { site: reach.site.name.clone(), found, written: write(fleet, reach, &wanted).await } }
    });
    futures::future::join_all(passes).await
}

/// What is known of each site: the newest addresses that were seen.
type Known = BTreeMap<String, Vec<Object>>;

/// Takes what was seen of a site. What is known of a store stays when it is not seen.
fn learn(known: &mut Known, site: &str, seen: Vec<Object>) -> bool {
    let before = known.entry(site.to_owned()).or_default();
    let mut has_changed = false;
    for object in seen {
        match before.iter_mut().find(|old| old.address == object.address) {
            Some(old) if *old == object => {}
            Some(old) => (*old, has_changed) = (object, true),
            None => {
                before.push(object);
                has_changed = true;
            }
        }
    }
    has_changed
}

/// Says what happens: the site, and a line.
pub type Say<'a> = &'a (dyn Fn(&str, &str) + Sync);

/// Keeps the slices until it is dropped. `only`: write into this site alone.
pub async fn watch(fleet: &Fleet, reaches: &[Reach], only: Option<&str>, say: Say<'_>) {
    let (known, _) = watch::channel(Known::new());
    let sources = futures::future::join_all(reaches.iter().map(|reach| look(fleet, reach, &known, say)));
    let targets = reaches.iter().filter(|reach| only.is_none_or(|only| reach.site.name == only));
    let targets = futures::future::join_all(targets.map(|reach| keep(fleet, reach, known.subscribe(), say)));
    futures::future::join(sources, targets).await;
}

/// Asks one site for ever where its pods are.
async fn look(fleet: &Fleet, reach: &Reach, known: &watch::Sender<Known>, say: Say<'_>) {
    let mut pace = Pace::new(LOOK_EVERY);
    loop {
        match slices_of(fleet, reach).await {
            Ok(seen) => {
                known.send_if_modified(|known| learn(known, &reach.site.name, seen));
                pace.done(|| say(&reach.site.name, "its pods are seen again"));
            }
            Err(failure) => pace.failed(|| say(&reach.site.name, &format!("its pods are not seen: {failure}"))),
        }
        sleep(pace.pause).await;
    }
}

/// Writes for ever into one site where the pods of the others are.
async fn keep(fleet: &Fleet, reach: &Reach, mut known: watch::Receiver<Known>, say: Say<'_>) {
    let site = &reach.site.name;
    let mut pace = Pace::new(WRITE_EVERY);
    loop {
        let wanted = known.borrow_and_update().clone().into_iter().filter(|(other, _)| other != site);
        let wanted: Vec<Object> = wanted.flat_map(|(_, slices)| slices).collect();
        match write(fleet, reach, &wanted).await {
            Ok(written) => {
                written.iter().for_each(|slice| say(site, &format!("wrote {slice}")));
                pace.done(|| say(site, "it is written to again"));
                // A change elsewhere is written at once.
                tokio::select! { _ = known.changed() => {} () = sleep(pace.pause) => {} }
            }
            Err(failure) => {
                pace.failed(|| say(site, &format!("it is not written to: {failure}")));
                sleep(pace.pause).await;
            }
        }
    }
}

/// How often something is done, and less often while it fails.
struct Pace {
    usual: Duration,
    pause: Duration,
    is_failing: bool,
}

impl Pace {
    fn new(usual: Duration) -> Self {
        Self { usual, pause: usual, is_failing: false }
    }

    fn done(&mut self, say: impl FnOnce()) {
        if self.is_failing {
            say();
        }
        *self = Self::new(self.usual);
    }

    /// The first failure of a row is told.
    fn failed(&mut self, say: impl FnOnce()) {
        if self.is_failing {
            self.pause = (self.pause * 2).min(BACK_OFF);
        } else {
            say();
            (self.pause, self.is_failing) = (LOOK_EVERY, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slices::tests::fleet;

    fn seen(addresses: &[&str]) -> Vec<Object> {
        let pod = |(ordinal, address): (usize, &&str)| PodView {
            ordinal: u32::try_from(ordinal).unwrap(),
            addresses: vec![(*address).to_owned()],
            ..PodView::default()
        };
        let fleet = fleet();
        let pods: Vec<_> = addresses.iter().enumerate().map(pod).collect();
        slices::wanted(&fleet, &fleet.sites[1], &pods)
    }

    #[test]
    fn a_store_that_is_not_seen_keeps_its_last_address() {
        let mut known = Known::new();
        assert!(learn(&mut known, "west", seen(&["10.20.0.1", "10.20.0.2"])));
        assert!(!learn(&mut known, "west", seen(&["10.20.0.1"])));
        assert!(!learn(&mut known, "west", Vec::new()));
        assert_eq!(known["west"].len(), 2);
        assert!(learn(&mut known, "west", seen(&["10.20.0.9"])));
        assert_eq!(known["west"][0].body["endpoints"][0]["addresses"][0], "10.20.0.9");
        assert_eq!(known["west"].len(), 2);
    }

    #[test]
    fn failures_make_it_slower_up_to_a_limit_and_are_told_once() {
        let mut pace = Pace::new(LOOK_EVERY);
        let mut told = 0;
        for _ in 0..10 {
            pace.failed(|| told += 1);
        }
        assert_eq!((pace.pause, told), (BACK_OFF, 1));
        pace.done(|| told += 1);
        assert_eq!((pace.pause, told), (LOOK_EVERY, 2));
    }
}

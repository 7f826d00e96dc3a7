//! Faults at planned moments of a measurement: `kill-site@10s,return@20s`.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::Signal;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::fleet::LocalFleet;
use crate::report::rounded;

/// What happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Every store of a site is killed (SIGKILL); of the last site if none is named.
    KillSite(Option<String>),
    /// Every store of a site is stopped in mid-air (SIGSTOP), with its connections open.
    PauseSite(Option<String>),
    /// Everything that was killed or paused comes back.
    Return,
}

/// A fault and its moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedFault {
    /// What happens.
    pub fault: Fault,
    /// When, counted from the end of the warm-up.
    pub at: Duration,
}

/// A moment to be marked in a plot.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Mark {
    /// Seconds since the end of the warm-up.
    pub at_s: f64,
    /// What happened.
    pub what: String,
}

impl FromStr for PlannedFault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (what, when) = text.split_once('@').context("a fault looks like kill-site@10s")?;
        let (kind, site) = match what.split_once(':') {
            Some((kind, site)) => (kind, Some(site.to_owned())),
            None => (what, None),
        };
        let fault = match (kind, site) {
            ("kill-site", site) => Fault::KillSite(site),
            ("pause-site", site) => Fault::PauseSite(site),
            ("return", None) => Fault::Return,
            _ => bail!("\"{what}\" is no fault: say kill-site, kill-site:SITE, pause-site, pause-site:SITE or return"),
        };
        Ok(Self { fault, at: parse_moment(when)? })
    }
}

/// `10s`, `1.5s` or `1500ms`.
fn parse_moment(text: &str) -> anyhow::Result<Duration> {
    let bad = || format!("\"{text}\" is no moment: say 10s or 1500ms");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').with_context(bad)?, 1.0),
    };
    let number: f64 = number.parse().with_context(bad)?;
    ensure!((0.0..=86_400.0).contains(&number), bad());
    Ok(Duration::from_secs_f64(number * unit))
}

/// Lets every fault happen at its moment after `begun`; gives the moments at which they really did.
pub async fn play(planned: &[PlannedFault], fleet: &mut LocalFleet, begun: Instant) -> anyhow::Result<Vec<Mark>> {
    let mut planned = planned.to_vec();
    planned.sort_by_key(|planned| planned.at);
    let (mut killed, mut paused) = (Vec::new(), Vec::new());
    let mut marks = Vec::new();
    for PlannedFault { fault, at } in planned {
        sleep_until(begun + at).await;
        let at_s = rounded(begun.elapsed().as_secs_f64(), 3);
        let what = match fault {
            Fault::KillSite(site) => {
                let (name, stores) = stores_of(fleet, site.as_deref())?;
                fleet.kill_all(&stores).with_context(|| format!("killing {name}"))?;
                killed.extend(stores);
                format!("{name} killed")
            }
            Fault::PauseSite(site) => {
                let (name, stores) = stores_of(fleet, site.as_deref())?;
                for store in &stores {
                    fleet.signal(*store, Signal::STOP)?;
                }
                paused.extend(stores);
                format!("{name} paused")
            }
            Fault::Return => {
                for store in killed.drain(..) {
                    fleet.start_store(store)?;
                }
                for store in paused.drain(..) {
                    fleet.signal(store, Signal::CONT)?;
                }
                "back".to_owned()
            }
        };
        marks.push(Mark { at_s, what });
    }
    Ok(marks)
}

/// The name and the stores of a site; of the last one by default.
fn stores_of(fleet: &LocalFleet, site: Option<&str>) -> anyhow::Result<(String, Vec<usize>)> {
    let stores = fleet.stores();
    let last = stores.iter().map(|store| store.site.as_str()).max().context("a fleet has a store")?;
    let site = site.unwrap_or(last).to_owned();
    let of_site: Vec<_> = (0..stores.len()).filter(|index| stores[*index].site == site).collect();
    ensure!(!of_site.is_empty(), "the fleet has no site \"{site}\"");
    Ok((site, of_site))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_with_their_moments() {
        let parse = |text: &str| text.parse::<PlannedFault>();
        let at = |fault, ms| PlannedFault { fault, at: Duration::from_millis(ms) };
        assert_eq!(parse("kill-site@10s").unwrap(), at(Fault::KillSite(None), 10_000));
        assert_eq!(parse("pause-site:site-a@1.5s").unwrap(), at(Fault::PauseSite(Some("site-a".into())), 1_500));
        assert_eq!(parse("return@200ms").unwrap(), at(Fault::Return, 200));
    }

    #[test]
    fn a_fault_that_is_none_is_refused_with_an_example() {
        for text in ["kill-site", "kill@1s", "return:site-a@1s", "kill-site@1", "kill-site@-1s", "kill-site@s"] {
            let error = format!("{:#}", text.parse::<PlannedFault>().unwrap_err());
            assert!(error.contains("kill-site") || error.contains("10s"), "{error}");
        }
    }
}

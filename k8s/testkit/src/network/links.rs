//! What is wrong on purpose between sites, and the rules that make it so. Pure.

use super::fabric::{DELAY_DEVICE, DELAY_MARK};
use crate::plan::Site;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// The unit of loss: parts of so many.
const WHOLE: u32 = 10_000;

/// How late packets come. Packets of one pair of addresses keep their order, as on a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// The mean, one way.
    pub latency: Duration,
    /// The most that a packet is earlier or later than the mean.
    pub jitter: Duration,
}

/// The way from one site to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// Nothing passes.
    pub(crate) is_cut: bool,
    /// How many of 10,000 packets are lost.
    pub(crate) loss: u32,
    /// How late the others come.
    pub(crate) delay: Option<Delay>,
}

impl Link {
    /// Parts of the unit from per cent.
    pub(crate) fn loss_of(percent: f64) -> Option<u32> {
        let parts = percent * f64::from(WHOLE) / 100.0;
        (0..=WHOLE).find(|whole| (f64::from(*whole) - parts).abs() <= 0.5)
    }

    /// The loss, for people.
    pub(crate) fn loss_percent(&self) -> f64 {
        f64::from(self.loss) * 100.0 / f64::from(WHOLE)
    }
}

/// All ways that are not as they should be, by the names of the site that sends and the one that receives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Links(BTreeMap<String, BTreeMap<String, Link>>);

impl Links {
    #[cfg(test)]
    fn get(&self, from: &str, to: &str) -> Link {
        self.0.get(from).and_then(|ways| ways.get(to)).copied().unwrap_or_default()
    }

    /// Changes the way from one site to another.
    pub(crate) fn change(&mut self, from: &str, to: &str, change: impl FnOnce(&mut Link)) {
        let ways = self.0.entry(from.to_owned()).or_default();
        change(ways.entry(to.to_owned()).or_default());
        ways.retain(|_, link| *link != Link::default());
        self.0.retain(|_, ways| !ways.is_empty());
    }

    /// Every way that is not as it should be.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str, &Link)> {
        self.0.iter().flat_map(|(from, ways)| ways.iter().map(move |(to, link)| (from.as_str(), to.as_str(), link)))
    }
}

/// The input of `nft -f` that replaces all rules at once. Packets that come back from the delay pass: they were judged before.
pub(super) fn rules(sites: &[Site], links: &Links) -> String {
    let mut text = String::from("table ip links\ndelete table ip links\ntable ip links {\n    chain between {\n");
    text.push_str("        type filter hook prerouting priority mangle; policy accept;\n");
    let mut line = |rule: &str| writeln!(text, "        {rule}").expect("a String takes everything");
    line(&format!("iifname \"{DELAY_DEVICE}\" accept"));
    let site = |name: &str| sites.iter().find(|site| site.name == name);
    for (from, to, link) in links.iter() {
        let (Some(from), Some(to)) = (site(from), site(to)) else { continue };
        let way = format!("ip saddr {} ip daddr {}", addresses(from), addresses(to));
        // With nft there is no number below the whole that is always met.
        if link.is_cut || link.loss >= WHOLE {
            line(&format!("{way} counter drop"));
            continue;
        }
        if link.loss > 0 {
            line(&format!("{way} numgen random mod {WHOLE} < {} counter drop", link.loss));
        }
        if link.delay.is_some() {
            line(&format!("{way} counter meta mark set {DELAY_MARK}"));
        }
    }
    text.push_str("    }\n}\n");
    text
}

/// The addresses of a site's nodes and pods. Those of its services never leave its nodes.
fn addresses(site: &Site) -> String {
    format!("{{ {}, {} }}", site.node_cidr(), site.pod_cidr())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites() -> [Site; 2] {
        [Site::new("east", 1, 1), Site::new("west", 2, 1)]
    }

    #[test]
    fn a_cut_one_way_names_only_that_way() {
        let mut links = Links::default();
        links.change("east", "west", |link| link.is_cut = true);
        let text = rules(&sites(), &links);
        let way = "ip saddr { 10.80.1.0/24, 10.81.0.0/16 } ip daddr { 10.80.2.0/24, 10.82.0.0/16 } counter drop";
        assert!(text.contains(way), "{text}");
        assert_eq!(text.matches("drop").count(), 1);
    }

    #[test]
    fn loss_comes_before_the_delay_and_a_cut_before_both() {
        let delay = Delay { latency: Duration::from_millis(25), jitter: Duration::ZERO };
        let mut links = Links::default();
        links.change("east", "west", |link| (link.loss, link.delay) = (3_000, Some(delay)));
        let text = rules(&sites(), &links);
        assert!(text.find("numgen random mod 10000 < 3000").unwrap() < text.find("mark set 1").unwrap());
        links.change("east", "west", |link| link.is_cut = true);
        assert!(!rules(&sites(), &links).contains("mark set"));
    }

    #[test]
    fn a_loss_of_everything_is_a_cut() {
        let mut links = Links::default();
        links.change("east", "west", |link| link.loss = WHOLE);
        assert!(rules(&sites(), &links).contains("counter drop") && !rules(&sites(), &links).contains("numgen"));
    }

    #[test]
    fn what_is_healed_is_forgotten() {
        let mut links = Links::default();
        links.change("east", "west", |link| link.loss = 1);
        assert_eq!(links.get("east", "west").loss, 1);
        links.change("east", "west", |link| *link = Link::default());
        assert_eq!(links, Links::default());
    }

    #[test]
    fn loss_is_given_in_per_cent() {
        assert_eq!(Link::loss_of(30.0), Some(3_000));
        assert_eq!(Link::loss_of(0.01), Some(1));
        assert_eq!(Link::loss_of(101.0), None);
        assert_eq!(Link::loss_of(f64::NAN), None);
    }
}

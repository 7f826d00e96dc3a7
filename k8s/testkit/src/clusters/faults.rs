//! Doing damage: power, links, and processes that stand still.

use super::{Clusters, remove_namespace};
use crate::error::{At, Error, Result};
use crate::network::{self, Delay, Link, Links};
use crate::plan::Node;
use crate::state;
use std::fs::File;

impl Clusters {
    /// Takes the power from a whole site: every process of every node dies at once, without a word to anyone. Its state stays.
    pub fn kill(&self, site: &str) -> Result<()> {
        let site = self.site(site)?;
        // All are silent before the first one dies: power is lost at once.
        site.nodes.iter().for_each(|node| self.fabric().disconnect(node));
        site.nodes.iter().try_for_each(|node| self.kill_processes(node))
    }

    /// Takes the power from one node.
    pub fn kill_node(&self, site: &str, number: u8) -> Result<()> {
        let (_, node) = self.node(site, number)?;
        self.fabric().disconnect(node);
        self.kill_processes(node)
    }

    fn kill_processes(&self, node: &Node) -> Result<()> {
        self.cgroup(node).kill()?;
        remove_namespace(&self.instance.node(node))
    }

    /// Stops every process of a site where it is. The kernel still answers for them: connections stay open.
    pub fn freeze(&self, site: &str) -> Result<()> {
        self.site(site)?.nodes.iter().try_for_each(|node| self.cgroup(node).freeze(true))
    }

    /// Lets a frozen site run on.
    pub fn thaw(&self, site: &str) -> Result<()> {
        self.site(site)?.nodes.iter().try_for_each(|node| self.cgroup(node).freeze(false))
    }

    /// Lets nothing pass between two sites.
    pub fn cut(&self, first: &str, second: &str) -> Result<()> {
        self.change_both(first, second, |link| link.is_cut = true)
    }

    /// Lets nothing pass from one site to another; the other way stays open.
    pub fn cut_one_way(&self, from: &str, to: &str) -> Result<()> {
        self.change(&[(from, to)], |link| link.is_cut = true)
    }

    /// Makes everything between two sites late, one way each way: a round trip takes twice the latency more.
    pub fn delay(&self, first: &str, second: &str, delay: Delay) -> Result<()> {
        if delay.jitter > delay.latency {
            return Err(Error::Invalid("the jitter is at most the latency".to_owned()));
        }
        let delay = Some(delay).filter(|delay| *delay != Delay::default());
        self.change_both(first, second, |link| link.delay = delay)
    }

    /// Loses some of the packets between two sites, in per cent, each way.
    pub fn loss(&self, first: &str, second: &str, percent: f64) -> Result<()> {
        let loss = Link::loss_of(percent);
        let loss = loss.ok_or_else(|| Error::Invalid(format!("a loss is 0% to 100%, not {percent}%")))?;
        self.change_both(first, second, |link| link.loss = loss)
    }

    /// Makes the link between two sites a good one again.
    pub fn heal(&self, first: &str, second: &str) -> Result<()> {
        self.change_both(first, second, |link| *link = Link::default())
    }

    /// Makes all links good again.
    pub fn heal_all(&self) -> Result<()> {
        let names: Vec<_> = self.sites.iter().map(|site| site.name.as_str()).collect();
        let pairs = names.iter().flat_map(|from| names.iter().map(move |to| (*from, *to)));
        let pairs: Vec<_> = pairs.filter(|(from, to)| from != to).collect();
        self.change(&pairs, |link| *link = Link::default())
    }

    fn change_both(&self, first: &str, second: &str, change: impl Fn(&mut Link)) -> Result<()> {
        self.change(&[(first, second), (second, first)], change)
    }

    fn change(&self, ways: &[(&str, &str)], change: impl Fn(&mut Link)) -> Result<()> {
        for (from, to) in ways {
            self.site(from)?;
            self.site(to)?;
            if from == to {
                return Err(Error::Invalid(format!("give two sites: what is within {from} stays as it is")));
            }
        }
        // Held until the end: two changes at once must not undo each other.
        let lock_path = self.state.root().join("links.lock");
        let lock = File::create(&lock_path).at(&lock_path)?;
        lock.lock().at(&lock_path)?;
        let mut links = self.links()?;
        ways.iter().for_each(|(from, to)| links.change(from, to, &change));
        self.bring_about(&links)
    }

    /// Makes the links so, and writes them down.
    fn bring_about(&self, links: &Links) -> Result<()> {
        let fabric = self.fabric();
        if links.iter().any(|(_, _, link)| link.delay.is_some()) && !network::delay_is_running(&self.state) {
            network::start_delay_lines(&self.instance, &self.state, &fabric)?;
        }
        if network::delay_is_running(&self.state) {
            network::set_delays(&self.state, &self.sites, links)?;
        }
        fabric.apply(&self.sites, links)?;
        state::write_json(&self.state.links_file(), links)
    }

    pub(super) fn links(&self) -> Result<Links> {
        let path = self.state.links_file();
        if path.exists() { state::read_json(&path) } else { Ok(Links::default()) }
    }
}

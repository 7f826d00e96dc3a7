//! Metrics in the OpenMetrics text format.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use holdfast_raft_transport::{Direction, TrafficRow};
use holdfast_types::SiteName;

use crate::requests::{BUCKETS_US, ENDINGS, Kind};
use crate::running::{Running, ServerState};

/// The page that Prometheus reads.
pub fn page(state: &ServerState) -> String {
    let mut page = Page::default();
    page.family("holdfast_uptime_seconds", "gauge", "Time since the process started.");
    page.sample("holdfast_uptime_seconds", "", state.started.elapsed().as_secs_f64());
    page.family("holdfast_member", "gauge", "1 when the store is a member of a fleet.");
    let running = state.running();
    page.sample("holdfast_member", "", if running.is_some() { 1.0 } else { 0.0 });
    of_ports(&mut page, state);
    if let Some(running) = running {
        of_store(&mut page, &running);
        of_requests(&mut page, &running);
        of_traffic(&mut page, &running);
    }
    page.0.push_str("# EOF\n");
    page.0
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn of_ports(page: &mut Page, state: &ServerState) {
    let families = [
        ("holdfast_port_connections", "gauge", "Connections to a port now."),
        ("holdfast_port_held_bytes", "gauge", "Bytes that a port holds for those connected to it."),
        ("holdfast_port_turned_away", "counter", "Connections that were ended at once, or to make room."),
        ("holdfast_port_refused", "counter", "Messages and answers for which a connection had no room."),
    ];
    for (name, kind, help) in families {
        page.family(name, kind, help);
        for port in state.ports.all() {
            let (total, value) = match name {
                "holdfast_port_connections" => ("", port.connections() as f64),
                "holdfast_port_held_bytes" => ("", port.budget.held_bytes() as f64),
                "holdfast_port_turned_away" => ("_total", port.turned_away() as f64),
                _ => ("_total", port.budget.refused() as f64),
            };
            page.sample(&format!("{name}{total}"), &format!("{{port=\"{}\"}}", port.name), value);
        }
    }
}

/// The rows between sites that have a store: a site whose last store was forgotten is gone.
fn of_sites(mut rows: Vec<TrafficRow>, sites: &BTreeSet<&SiteName>) -> Vec<TrafficRow> {
    rows.retain(|row| sites.contains(&row.from_site) && sites.contains(&row.to_site));
    rows
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn of_store(page: &mut Page, running: &Running) {
    let ranges = running.store.ranges();
    let here = ranges.iter().filter(|found| found.own);
    let led = here.clone().filter(|found| found.leader == Some(running.store_id)).count();
    let unled = here.clone().filter(|found| found.leader.is_none()).count();
    let labels = format!("{{store=\"{}\",site=\"{}\"}}", running.store_id, running.site);
    let complaints = running.store.complaints().len();
    for (name, help, value) in [
        ("holdfast_replicas", "Replicas on this store.", here.count()),
        ("holdfast_leaders", "Ranges that this store leads.", led),
        ("holdfast_replicas_without_leader", "Replicas here that know of no leader.", unled),
        ("holdfast_complaints", "Threads or disks of this store that are late.", complaints),
        ("holdfast_mailbox_events", "Events that wait for the workers.", running.store.waiting()),
    ] {
        page.family(name, "gauge", help);
        page.sample(name, &labels, value as f64);
    }
}

#[expect(clippy::cast_precision_loss, reason = "an error below one in 2^52 does not matter in a graph")]
fn of_traffic(page: &mut Page, running: &Running) {
    let stores = running.directory.all();
    let sites: BTreeSet<_> = stores.values().map(|record| &record.site).collect();
    let rows = of_sites(running.transport.traffic(), &sites);
    let families = [
        ("holdfast_traffic_bytes", "Bytes between stores."),
        ("holdfast_traffic_messages", "Messages between stores."),
    ];
    for (family, help) in families {
        page.family(family, "counter", help);
        for row in &rows {
            let direction = match row.direction {
                Direction::Sent => "sent",
                Direction::Received => "received",
            };
            let labels = format!(
                "{{direction=\"{direction}\",from_site=\"{}\",to_site=\"{}\",cause=\"{}\"}}",
                row.from_site,
                row.to_site,
                row.cause.as_str()
            );
            let value = if family.ends_with("bytes") { row.bytes } else { row.messages };
            page.sample(&format!("{family}_total"), &labels, value as f64);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "an error below one in 2^52 does not matter in a graph")]
fn of_requests(page: &mut Page, running: &Running) {
    page.family("holdfast_requests", "counter", "Requests of clients, by kind and by how they ended.");
    for kind in Kind::ALL {
        for (ending, count) in ENDINGS.iter().zip(&running.requests.of(kind).endings) {
            let labels = format!("{{kind=\"{}\",ending=\"{ending}\"}}", kind.as_str());
            page.sample("holdfast_requests_total", &labels, count.load(Ordering::Relaxed) as f64);
        }
    }
    const SECONDS: &str = "holdfast_request_seconds";
    page.family(SECONDS, "histogram", "How long requests of clients took in this store.");
    for kind in Kind::ALL {
        let (counters, name) = (running.requests.of(kind), kind.as_str());
        let mut below = 0;
        for (bound, count) in BUCKETS_US.iter().zip(&counters.buckets) {
            below += count.load(Ordering::Relaxed);
            let labels = format!("{{kind=\"{name}\",le=\"{}\"}}", *bound as f64 / 1e6);
            page.sample(&format!("{SECONDS}_bucket"), &labels, below as f64);
        }
        let count: u64 = counters.endings.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        page.sample(&format!("{SECONDS}_bucket"), &format!("{{kind=\"{name}\",le=\"+Inf\"}}"), count as f64);
        let labels = format!("{{kind=\"{name}\"}}");
        page.sample(&format!("{SECONDS}_sum"), &labels, counters.sum_us.load(Ordering::Relaxed) as f64 / 1e6);
        page.sample(&format!("{SECONDS}_count"), &labels, count as f64);
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# TYPE {name} {kind}\n# HELP {name} {help}").expect("a string takes all");
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        writeln!(self.0, "{name}{labels} {value}").expect("a string takes all");
    }
}

#[cfg(test)]
mod tests {
    use holdfast_raft_transport::Cause;

    use super::*;

    #[test]
    fn series_of_a_site_go_with_its_last_store() {
        let site = |name| SiteName::new(name).unwrap();
        let row = |direction, from, to| TrafficRow {
            direction,
            from_site: site(from),
            to_site: site(to),
            cause: Cause::Append,
            bytes: 9,
            messages: 1,
        };
        let rows = vec![
            row(Direction::Sent, "a", "b"),
            row(Direction::Sent, "a", "gone"),
            row(Direction::Received, "gone", "a"),
            row(Direction::Received, "b", "a"),
        ];
        let (a, b) = (site("a"), site("b"));
        let left = of_sites(rows.clone(), &BTreeSet::from([&a, &b]));
        assert_eq!(left, [rows[0].clone(), rows[3].clone()]);
    }
}

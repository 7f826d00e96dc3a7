//! Metrics in the OpenMetrics text format.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

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
    if let Some(running) = running {
        of_store(&mut page, &running);
        of_requests(&mut page, &running);
        of_traffic(&mut page, &running);
    }
    page.0.push_str("# EOF\n");
    page.0
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
    let rows = running.transport.traffic();
    let families = [
        ("holdfast_traffic_bytes", "Bytes between stores."),
        ("holdfast_traffic_messages", "Messages between stores."),
    ];
    for (family, help) in families {
        page.family(family, "counter", help);
        for row in &rows {
            let direction = match row.direction {
                holdfast_raft_transport::Direction::Sent => "sent",
                holdfast_raft_transport::Direction::Received => "received",
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

//! Metrics in the OpenMetrics text format.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use holdfast_edge::handshake::Failure;
use holdfast_raft_transport::{Direction, Drops, TrafficRow};
use holdfast_trust::Standing;
use holdfast_types::{SiteName, StoreId, limits};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::audit;
use crate::log;
use crate::ports::Ports;
use crate::rights;
use crate::running::{Running, ServerState};

/// What stands for every site beyond [`limits::METRICS_SITES`]; no site can be called so.
const OTHER_SITES: &str = "(other)";

/// The page that Prometheus reads.
pub fn page(state: &ServerState) -> String {
    let running = state.running();
    let mut registry = registry(state.started.elapsed().as_secs_f64(), running.is_some());
    register_ports(&mut registry, &state.ports);
    if let Some(trust) = state.trust() {
        register_trust(&mut registry, &trust.standing());
        register_handshakes(&mut registry, &state.ports);
    }
    if let Some(running) = running {
        // Whoever is no member yet has nobody to ask, which is no fault.
        if let Some(figures) = state.rights.figures() {
            register_rights(&mut registry, figures, running.shunned.by().len());
        }
        Figures::of(&running).register(&mut registry);
        running.requests.register(&mut registry);
        register_traffic(&mut registry, &rows_of(&running));
        register_drops(&mut registry, running.transport.drops(), running.store.oversized_messages());
        register_strangers(&mut registry, running.store.messages_of_strangers());
    }
    register_audit(&mut registry, state.audit.counters());
    register_log(&mut registry, log::counters());
    let mut page = String::new();
    text::encode(&mut page, &registry).expect("a string takes all");
    page
}

/// What every process tells.
fn registry(uptime_seconds: f64, is_member: bool) -> Registry {
    let mut registry = Registry::with_prefix("holdfast");
    registry.register("uptime_seconds", "Time since the process started", ConstGauge::new(uptime_seconds));
    let member = ConstGauge::new(u64::from(is_member));
    registry.register("member", "1 when the store is a member of a fleet", member);
    registry
}

/// How a store is now.
struct Figures {
    store: StoreId,
    site: SiteName,
    replicas: usize,
    leaders: usize,
    replicas_without_leader: usize,
    complaints: usize,
    mailbox_events: usize,
}

impl Figures {
    fn of(running: &Running) -> Self {
        let ranges = running.store.counts(running.store_id);
        Self {
            store: running.store_id,
            site: running.site.clone(),
            replicas: ranges.own,
            leaders: ranges.led,
            replicas_without_leader: ranges.leaderless,
            complaints: running.store.complaints().len(),
            mailbox_events: running.store.waiting(),
        }
    }

    fn register(&self, registry: &mut Registry) {
        let label = |name: &'static str, value: String| (Cow::from(name), Cow::from(value));
        let labels = [label("store", self.store.to_string()), label("site", self.site.to_string())];
        let registry = registry.sub_registry_with_labels(labels.into_iter());
        for (name, help, value) in [
            ("replicas", "Replicas on this store", self.replicas),
            ("leaders", "Ranges that this store leads", self.leaders),
            ("replicas_without_leader", "Replicas here that know of no leader", self.replicas_without_leader),
            ("complaints", "Threads or disks of this store that are late", self.complaints),
            ("mailbox_events", "Events that wait for the workers", self.mailbox_events),
        ] {
            registry.register(name, help, ConstGauge::new(u64::try_from(value).unwrap_or(u64::MAX)));
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, EncodeLabelSet, Debug)]
struct OfTraffic {
    direction: &'static str,
    from_site: String,
    to_site: String,
    cause: &'static str,
}

fn rows_of(running: &Running) -> Vec<(OfTraffic, TrafficRow)> {
    let stores = running.directory.all();
    let sites: BTreeSet<_> = stores.values().map(|record| &record.site).collect();
    of_sites(running.transport.traffic(), &sites)
}

/// The rows between sites that have a store: a site whose last store was forgotten is gone. Of many sites, those beyond the first are
/// told as one.
fn of_sites(mut rows: Vec<TrafficRow>, sites: &BTreeSet<&SiteName>) -> Vec<(OfTraffic, TrafficRow)> {
    rows.retain(|row| sites.contains(&row.from_site) && sites.contains(&row.to_site));
    let named: BTreeSet<_> = sites.iter().copied().take(limits::METRICS_SITES).collect();
    let name = |site: &SiteName| if named.contains(&site) { site.to_string() } else { OTHER_SITES.to_owned() };
    let labelled = rows.into_iter().map(|row| {
        let direction = match row.direction {
            Direction::Sent => "sent",
            Direction::Received => "received",
        };
        let (from_site, to_site) = (name(&row.from_site), name(&row.to_site));
        (OfTraffic { direction, from_site, to_site, cause: row.cause.as_str() }, row)
    });
    labelled.collect()
}

fn register_traffic(registry: &mut Registry, rows: &[(OfTraffic, TrafficRow)]) {
    let (bytes, messages) = (Family::<OfTraffic, Counter>::default(), Family::<OfTraffic, Counter>::default());
    for (labels, row) in rows {
        bytes.get_or_create(labels).inc_by(row.bytes);
        messages.get_or_create(labels).inc_by(row.messages);
    }
    registry.register("traffic_bytes", "Bytes between stores", bytes);
    registry.register("traffic_messages", "Messages between stores", messages);
}

/// Something that did not happen, by why.
#[derive(Clone, PartialEq, Eq, Hash, EncodeLabelSet, Debug)]
struct ByReason {
    reason: &'static str,
}

/// Registers a counter of several reasons.
fn register_by_reason(registry: &mut Registry, name: &str, help: &str, counts: &[(&'static str, u64)]) {
    let family = Family::<ByReason, Counter>::default();
    for &(reason, count) in counts {
        family.get_or_create(&ByReason { reason }).inc_by(count);
    }
    registry.register(name, help, family);
}

/// Messages to other stores that were not sent. Those that were too large are counted where they are made, too.
fn register_drops(registry: &mut Registry, drops: Drops, oversized: u64) {
    let counts = [
        ("unknown_address", drops.unknown_address),
        ("queue_full", drops.queue_full),
        ("connection_lost", drops.connection_lost),
        ("too_large", drops.too_large.saturating_add(oversized)),
    ];
    register_by_reason(registry, "messages_dropped", "Messages to other stores that were not sent, by reason", &counts);
}

#[derive(Clone, PartialEq, Eq, Hash, EncodeLabelSet, Debug)]
struct OfPort {
    port: &'static str,
}

/// What strangers hold of the ports.
fn register_ports(registry: &mut Registry, ports: &Ports) {
    let (connections, held_bytes) = (Family::<OfPort, Gauge>::default(), Family::<OfPort, Gauge>::default());
    let (turned_away, refused) = (Family::<OfPort, Counter>::default(), Family::<OfPort, Counter>::default());
    for port in ports.all() {
        let label = OfPort { port: port.name };
        connections.get_or_create(&label).set(figure(port.connections()));
        held_bytes.get_or_create(&label).set(figure(port.budget.held_bytes()));
        turned_away.get_or_create(&label).inc_by(port.turned_away());
        refused.get_or_create(&label).inc_by(u64::try_from(port.budget.refused()).unwrap_or(u64::MAX));
    }
    registry.register("port_connections", "Connections to a port now", connections);
    registry.register("port_held_bytes", "Bytes that a port holds for those connected to it", held_bytes);
    registry.register("port_turned_away", "Connections that were ended at once, or to make room", turned_away);
    registry.register("port_refused", "Messages and answers for which a connection had no room", refused);
}

/// How long the certificate lasts, and whether it is renewed. Without TLS there is none.
fn register_trust(registry: &mut Registry, standing: &Standing) {
    let since_1970 = |time: std::time::SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let help = "When the certificate of this store ends, or one on its way to the root does, in seconds since 1970";
    registry.register("certificate_expires_seconds", help, ConstGauge::new(since_1970(standing.own.expires_at)));
    let first = standing.roots.iter().map(|root| since_1970(root.expires_at)).min().unwrap_or_default();
    let help = "When the first root of the bundle ends, in seconds since 1970";
    registry.register("root_expires_seconds", help, ConstGauge::new(first));
    let pending = ConstGauge::new(u64::from(standing.refused.is_some()));
    let help = "1 while what is in the folder of the certificate is not taken";
    registry.register("trust_reload_refused", help, pending);
    for (name, help, count) in [
        ("trust_reloads", "Certificates, keys or bundles that were taken since the start", standing.reloads),
        ("trust_reload_refusals", "Those that were not taken", standing.refusals),
    ] {
        let counter = Counter::<u64>::default();
        counter.inc_by(count);
        registry.register(name, help, counter);
    }
}

/// By what this store judges those who ask, and whether others believe it. Without TLS there is neither.
fn register_rights(registry: &mut Registry, figures: rights::Figures, shunned_by: usize) {
    let help = "Time since it was known last that what was granted, as this store knows it, is the newest";
    registry.register("rights_age_seconds", help, ConstGauge::new(figures.age.as_secs_f64()));
    let help = "Stores that refuse this one because its site is distrusted";
    registry.register("distrusted_by_stores", help, ConstGauge::new(u64::try_from(shunned_by).unwrap_or(u64::MAX)));
    for (name, help, count) in [
        ("rights_looks", "Questions of the system range whether what was granted has changed", figures.looks),
        ("rights_compiled", "Times that what was granted was read whole and compiled", figures.compiled),
    ] {
        let counter = Counter::<u64>::default();
        counter.inc_by(count);
        registry.register(name, help, counter);
    }
}

/// How a handshake ended, and at which port.
#[derive(Clone, PartialEq, Eq, Hash, EncodeLabelSet, Debug)]
struct OfHandshake {
    port: &'static str,
    ending: &'static str,
}

/// What became of those who had to prove who they are.
fn register_handshakes(registry: &mut Registry, ports: &Ports) {
    let handshakes = Family::<OfHandshake, Counter>::default();
    for (port, counts) in ports.handshakes() {
        let failed = Failure::ALL.into_iter().map(|why| (why.as_str(), counts.failed(why)));
        for (ending, count) in failed.chain([("done", counts.done())]) {
            handshakes.get_or_create(&OfHandshake { port, ending }).inc_by(count);
        }
    }
    registry.register("handshakes", "Handshakes of TLS, by how they ended", handshakes);
}

/// What is on record, and what waits to be.
fn register_audit(registry: &mut Registry, counters: audit::Counters) {
    let help = "Entries of the audit that are not written yet: they wait for a quorum";
    registry.register("audit_waiting", help, ConstGauge::new(counters.waiting));
    for (name, help, count) in [
        ("audit_entries", "Entries of the audit that were written", counters.written),
        ("audit_lost", "Entries of the audit that found no room; they are in the log", counters.lost),
        ("audit_summed", "Refusals that were summed up instead of told one by one", counters.summed),
    ] {
        let counter = Counter::<u64>::default();
        counter.inc_by(count);
        registry.register(name, help, counter);
    }
}

fn figure(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What nobody listens to: a store that is not on record, or somebody who calls himself one.
fn register_strangers(registry: &mut Registry, messages: u64) {
    let dropped = Counter::<u64>::default();
    dropped.inc_by(messages);
    let help = "Messages that were dropped because their sender is not known as a store of the fleet";
    registry.register("messages_of_strangers", help, dropped);
}

/// Lines that are not in the log.
fn register_log(registry: &mut Registry, counters: log::Counters) {
    let counts = [("full", counters.lost_full), ("unwritten", counters.lost_unwritten)];
    register_by_reason(registry, "log_lost_lines", "Lines of the log that were lost, by why", &counts);
    let held_back = Counter::<u64>::default();
    held_back.inc_by(counters.held_back);
    let help = "Lines of the log that were one of too many of their kind";
    registry.register("log_held_back_lines", help, held_back);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use holdfast_raft_transport::Cause;
    use holdfast_trust::{Party, RootInfo};
    use holdfast_types::Fingerprint;

    use super::*;
    use crate::requests::RequestCounters;

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    fn row(direction: Direction, from: &str, to: &str) -> TrafficRow {
        TrafficRow { direction, from_site: site(from), to_site: site(to), cause: Cause::Append, bytes: 9, messages: 1 }
    }

    fn standing() -> Standing {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let root = |seconds| RootInfo {
            fingerprint: Fingerprint([1; 32]),
            subject: "CN=root".into(),
            expires_at: at(seconds),
        };
        let own = Party {
            principal: Arc::new("spiffe://f/site/site-b/store".parse().unwrap()),
            issued_at: at(1_900_000_000),
            expires_at: at(2_000_000_000),
            fingerprint: Fingerprint([2; 32]),
        };
        let roots = vec![root(2_200_000_000), root(2_100_000_000)];
        let refused = Some("the key is not the one".into());
        Standing { own, own_root: Fingerprint([1; 32]), roots, refused, reloads: 3, refusals: 1 }
    }

    /// The page of a store, with one row of every kind.
    fn whole_page() -> String {
        let mut registry = registry(1.5, true);
        let figures = Figures {
            store: StoreId(3),
            site: site("site-b"),
            replicas: 5,
            leaders: 2,
            replicas_without_leader: 1,
            complaints: 0,
            mailbox_events: 7,
        };
        figures.register(&mut registry);
        RequestCounters::default().register(&mut registry);
        let (a, b) = (site("site-a"), site("site-b"));
        register_traffic(
            &mut registry,
            &of_sites(vec![row(Direction::Sent, "site-b", "site-a")], &BTreeSet::from([&a, &b])),
        );
        register_drops(&mut registry, Drops { queue_full: 3, too_large: 1, ..Drops::default() }, 1);
        register_strangers(&mut registry, 5);
        register_ports(&mut registry, &Ports::for_tests());
        register_trust(&mut registry, &standing());
        register_handshakes(&mut registry, &Ports::for_tests());
        let figures = rights::Figures { looks: 70, compiled: 2, age: Duration::from_millis(400) };
        register_rights(&mut registry, figures, 2);
        register_audit(&mut registry, audit::Counters { waiting: 2, written: 9, lost: 1, summed: 812 });
        register_log(&mut registry, log::Counters { lost_full: 4, lost_unwritten: 0, held_back: 2 });
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        page
    }

    #[test]
    fn the_page_is_that_of_the_openmetrics_format() {
        let page = whole_page();
        for line in [
            "# HELP holdfast_uptime_seconds Time since the process started.",
            "# TYPE holdfast_uptime_seconds gauge",
            "holdfast_uptime_seconds 1.5",
            "holdfast_member 1",
            "holdfast_replicas{store=\"s3\",site=\"site-b\"} 5",
            "holdfast_replicas_without_leader{store=\"s3\",site=\"site-b\"} 1",
            "# TYPE holdfast_requests counter",
            "holdfast_requests_total{kind=\"write\",ending=\"busy\"} 0",
            "# TYPE holdfast_request_seconds histogram",
            "holdfast_request_seconds_bucket{le=\"+Inf\",kind=\"get\"} 0",
            "holdfast_request_seconds_count{kind=\"get\"} 0",
            "holdfast_traffic_bytes_total{direction=\"sent\",from_site=\"site-b\",to_site=\"site-a\",cause=\"append\"} 9",
            "holdfast_traffic_messages_total{direction=\"sent\",from_site=\"site-b\",to_site=\"site-a\",cause=\"append\"} 1",
            "holdfast_messages_dropped_total{reason=\"queue_full\"} 3",
            "holdfast_messages_dropped_total{reason=\"too_large\"} 2",
            "holdfast_log_lost_lines_total{reason=\"full\"} 4",
            "holdfast_log_held_back_lines_total 2",
            "holdfast_messages_of_strangers_total 5",
            "holdfast_audit_waiting 2",
            "holdfast_audit_lost_total 1",
            "holdfast_port_connections{port=\"clients\"} 0",
            "holdfast_port_refused_total{port=\"http\"} 0",
            "# TYPE holdfast_certificate_expires_seconds gauge",
            "holdfast_certificate_expires_seconds 2000000000",
            "holdfast_root_expires_seconds 2100000000",
            "holdfast_trust_reloads_total 3",
            "holdfast_trust_reload_refusals_total 1",
            "holdfast_trust_reload_refused 1",
            "holdfast_rights_age_seconds 0.4",
            "holdfast_rights_looks_total 70",
            "holdfast_rights_compiled_total 2",
            "holdfast_distrusted_by_stores 2",
            "holdfast_handshakes_total{port=\"stores\",ending=\"expired\"} 0",
            "holdfast_handshakes_total{port=\"clients\",ending=\"done\"} 0",
        ] {
            assert!(page.lines().any(|found| found == line), "no line {line} in\n{page}");
        }
        assert!(page.ends_with("\n# EOF\n") && page.matches("# EOF").count() == 1);
        let mut families = BTreeMap::new();
        for line in page.lines().filter_map(|line| line.strip_prefix("# ")) {
            if let Some((what, name)) = line.split_once(' ').map(|(what, rest)| (what, rest.split(' ').next().unwrap()))
            {
                families.entry(name).or_insert_with(Vec::new).push(what);
            }
        }
        assert!(families.values().all(|said| said == &["HELP", "TYPE"]), "each family is told of once: {families:?}");
    }

    /// The names of metrics in a text, wherever they stand.
    fn named(text: &str) -> BTreeSet<&str> {
        let letters = |c: char| !(c.is_ascii_lowercase() || c == '_');
        text.split(letters).filter(|word| word.starts_with("holdfast_") && word.len() > "holdfast_".len()).collect()
    }

    #[test]
    fn what_documents_rules_and_dashboards_name_is_on_the_page() {
        let page = whole_page();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        let guide = read("docs/guide.md");
        let chapter = guide.split("\n## ").find(|chapter| chapter.starts_with("Metrics\n")).unwrap();
        let series: BTreeSet<_> = page
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(|line| named(line).into_iter().take(1))
            .collect();
        let rendered = ["prometheus-rule.yaml", "dashboard.yaml"]
            .map(|file| read(&format!("k8s/examples/flat-mirror/rendered/east/{file}")));
        for text in rendered.iter().map(String::as_str).chain([chapter]) {
            let names = named(text);
            assert!(names.len() >= 4, "{names:?}");
            for name in names {
                let is_there = series.contains(name) || series.contains(format!("{name}_bucket").as_str());
                assert!(is_there, "{name} is not on the page");
            }
        }
        for name in series {
            let base = name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
            assert!(named(chapter).contains(base), "the guide does not tell of {base}");
        }
    }

    #[test]
    fn series_of_a_site_go_with_its_last_store() {
        let rows = vec![
            row(Direction::Sent, "a", "b"),
            row(Direction::Sent, "a", "gone"),
            row(Direction::Received, "gone", "a"),
            row(Direction::Received, "b", "a"),
        ];
        let (a, b) = (site("a"), site("b"));
        let left: Vec<_> = of_sites(rows.clone(), &BTreeSet::from([&a, &b])).into_iter().map(|(_, row)| row).collect();
        assert_eq!(left, [rows[0].clone(), rows[3].clone()]);
    }

    #[test]
    fn sites_without_end_make_no_series_without_end() {
        let names: Vec<_> = (0..1_000).map(|n| site(&format!("site-{n:04}"))).collect();
        let rows = names.iter().map(|to| row(Direction::Sent, "site-0000", to.as_str())).collect();
        let mut registry = Registry::default();
        register_traffic(&mut registry, &of_sites(rows, &names.iter().collect()));
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        let series: Vec<_> = page.lines().filter(|line| line.starts_with("traffic_bytes_total")).collect();
        assert_eq!(series.len(), limits::METRICS_SITES + 1);
        let others = 9 * (1_000 - limits::METRICS_SITES);
        let line = format!("to_site=\"{OTHER_SITES}\",cause=\"append\"}} {others}");
        assert!(series.iter().any(|series| series.ends_with(&line)), "nothing is left out of the sum");
    }
}

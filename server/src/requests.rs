//! Counts and durations of the requests that clients send to this store.

use std::time::{Duration, Instant};

use holdfast_types::{Rejected, Request, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the buckets, in seconds. From a read in memory to a deadline.
const BUCKETS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0];

/// What was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Keys read.
    Get,
    /// A page of a scan.
    Scan,
    /// Keys written, with conditions or without.
    Write,
    /// A page deleted.
    DeleteRange,
}

impl Kind {
    /// All kinds.
    const ALL: [Kind; 4] = [Kind::Get, Kind::Scan, Kind::Write, Kind::DeleteRange];

    /// The kind of a request.
    pub fn of(request: &Request) -> Self {
        match request {
            Request::Get { .. } => Kind::Get,
            Request::Scan { .. } => Kind::Scan,
            Request::Write { .. } => Kind::Write,
            Request::DeleteRange { .. } => Kind::DeleteRange,
        }
    }

    /// As the label of a metric.
    fn as_str(self) -> &'static str {
        match self {
            Kind::Get => "get",
            Kind::Scan => "scan",
            Kind::Write => "write",
            Kind::DeleteRange => "delete_range",
        }
    }
}

/// How a request ended, as the label of a metric.
fn ending(outcome: &Result<Response, Rejected>) -> usize {
    match outcome {
        Ok(_) => 0,
        Err(Rejected::Busy { .. }) => 1,
        Err(Rejected::NotLeader { .. } | Rejected::WrongRange { .. }) => 2,
        Err(Rejected::Ambiguous(_)) => 3,
        Err(Rejected::Unavailable(_) | Rejected::DeadlineExceeded) => 4,
        Err(_) => 5,
    }
}

/// The names of the endings.
const ENDINGS: [&str; 6] = ["ok", "busy", "elsewhere", "ambiguous", "unavailable", "refused"];

#[derive(Clone, PartialEq, Eq, Hash, EncodeLabelSet, Debug)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, EncodeLabelSet, Debug)]
struct OfEnding {
    kind: &'static str,
    ending: &'static str,
}

/// What is counted of one kind: shares of the families, so that counting looks nothing up.
#[derive(Debug)]
struct OneKind {
    endings: [Counter; ENDINGS.len()],
    seconds: Histogram,
}

/// Counters of all kinds, since the store's start.
#[derive(Debug)]
pub struct RequestCounters {
    kinds: [OneKind; Kind::ALL.len()],
    requests: Family<OfEnding, Counter>,
    seconds: Family<OfKind, Histogram>,
}

impl Default for RequestCounters {
    fn default() -> Self {
        let requests = Family::<OfEnding, Counter>::default();
        let seconds = Family::<OfKind, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let kinds = Kind::ALL.map(|kind| {
            let kind = kind.as_str();
            OneKind {
                endings: ENDINGS.map(|ending| requests.get_or_create_owned(&OfEnding { kind, ending })),
                seconds: seconds.get_or_create_owned(&OfKind { kind }),
            }
        });
        Self { kinds, requests, seconds }
    }
}

impl RequestCounters {
    /// Counts a request that began at `begun` and ends now.
    pub fn ended(&self, kind: Kind, begun: Instant, outcome: &Result<Response, Rejected>) {
        self.count(kind, begun.elapsed(), outcome);
    }

    fn count(&self, kind: Kind, took: Duration, outcome: &Result<Response, Rejected>) {
        let counters = self.of(kind);
        counters.endings[ending(outcome)].inc();
        counters.seconds.observe(took.as_secs_f64());
    }

    fn of(&self, kind: Kind) -> &OneKind {
        let index = match kind {
            Kind::Get => 0,
            Kind::Scan => 1,
            Kind::Write => 2,
            Kind::DeleteRange => 3,
        };
        &self.kinds[index]
    }

    /// Adds them to a page of metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("requests", "Requests of clients, by kind and by how they ended", self.requests.clone());
        let help = "How long requests of clients took in this store";
        registry.register("request_seconds", help, self.seconds.clone());
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    #[test]
    fn a_request_is_counted_by_kind_ending_and_duration() {
        let counters = RequestCounters::default();
        counters.count(Kind::Write, Duration::from_micros(600), &Err(Rejected::StaleSequence));
        counters.count(Kind::Write, Duration::from_secs(60), &Err(Rejected::DeadlineExceeded));
        let mut registry = Registry::default();
        counters.register(&mut registry);
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        let value = |series: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {series} in\n{page}")).parse::<f64>().unwrap()
        };
        let endings = ENDINGS.map(|ending| value(&format!("requests_total{{kind=\"write\",ending=\"{ending}\"}}")));
        assert_eq!(endings, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
        let below = |bound: &str| value(&format!("request_seconds_bucket{{le=\"{bound}\",kind=\"write\"}}"));
        assert_eq!((below("0.0005"), below("0.001")), (0.0, 1.0), "0.6 ms is in the bucket up to 1 ms");
        assert_eq!((below("10.0"), below("+Inf")), (1.0, 2.0), "a minute is beyond every bucket");
        assert_eq!(value("request_seconds_sum{kind=\"write\"}"), 60.000_6);
        assert_eq!(value("requests_total{kind=\"get\",ending=\"ok\"}"), 0.0, "a series begins before it is needed");
    }
}

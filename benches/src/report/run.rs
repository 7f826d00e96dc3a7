//! The result of one measured run.

use serde::Serialize;
use std::collections::BTreeMap;

use super::Table;
use crate::drive::{Outcome, SecondSample};
use crate::fault::Mark;
use crate::latency::Latencies;

/// A number with so many digits after the point: more would only pretend to be known.
#[must_use]
pub fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

/// Latencies in milliseconds, as JSON shows them.
#[derive(Clone, Debug, Serialize)]
pub struct LatencyReport {
    /// How many operations.
    pub operations: u64,
    /// Their average.
    pub mean_ms: f64,
    /// Half were at least this fast.
    pub p50_ms: f64,
    /// Nine in ten.
    pub p90_ms: f64,
    /// All but one in a hundred.
    pub p99_ms: f64,
    /// All but one in a thousand.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl From<&Latencies> for LatencyReport {
    fn from(latencies: &Latencies) -> Self {
        let percentile = |percent| rounded(latencies.percentile_ms(percent), 3);
        Self {
            operations: latencies.count(),
            mean_ms: rounded(latencies.mean_ms(), 3),
            p50_ms: percentile(50.0),
            p90_ms: percentile(90.0),
            p99_ms: percentile(99.0),
            p999_ms: percentile(99.9),
            max_ms: rounded(latencies.max_ms(), 3),
        }
    }
}

/// One run, as `holdfast-bench run --json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// The work's name.
    pub work: String,
    /// How many clients.
    pub clients: usize,
    /// Operations a second that were asked for; none for a closed loop.
    pub rate: Option<f64>,
    /// How long was measured.
    pub seconds: f64,
    /// Operations that ended well, a second.
    pub per_second: f64,
    /// The throughput of every run of which this is the median.
    pub per_second_of_runs: Vec<f64>,
    /// Operations that ended with an error.
    pub errors: u64,
    /// The first of them.
    pub first_error: Option<String>,
    /// Open loop: operations that were due and never begun.
    pub unserved: u64,
    /// Read-modify-writes that began anew.
    pub conflicts: u64,
    /// Reads that found nothing.
    pub missing: u64,
    /// Latencies of all operations; open loop: from their intended start.
    pub latency: LatencyReport,
    /// Those of each kind.
    pub kinds: BTreeMap<&'static str, LatencyReport>,
    /// Faults that happened.
    pub faults: Vec<Mark>,
    /// Second by second.
    pub samples: Vec<SecondSample>,
}

impl RunReport {
    /// The report of a run.
    #[must_use]
    pub fn new(work: &str, clients: usize, rate: Option<f64>, outcome: &Outcome, faults: Vec<Mark>) -> Self {
        Self {
            work: work.to_owned(),
            clients,
            rate,
            seconds: rounded(outcome.lasted.as_secs_f64(), 3),
            per_second: rounded(outcome.per_second(), 1),
            per_second_of_runs: vec![rounded(outcome.per_second(), 1)],
            errors: outcome.errors,
            first_error: outcome.first_error.clone(),
            unserved: outcome.unserved,
            conflicts: outcome.conflicts,
            missing: outcome.missing,
            latency: LatencyReport::from(&outcome.all),
            kinds: outcome.kinds.iter().map(|(kind, latencies)| (kind.name(), latencies.into())).collect(),
            faults,
            samples: outcome.samples.clone(),
        }
    }

    /// Of several runs the one with the median throughput.
    #[must_use]
    pub fn median(mut runs: Vec<Self>) -> Option<Self> {
        runs.sort_by(|left, right| left.per_second.total_cmp(&right.per_second));
        let all = runs.iter().map(|run| run.per_second).collect();
        let mut median = if runs.is_empty() { return None } else { runs.swap_remove(runs.len() / 2) };
        median.per_second_of_runs = all;
        Some(median)
    }

    /// All runs in one table: a row for each, and one for each kind of operation where there are several.
    #[must_use]
    pub fn table(runs: &[Self]) -> Table {
        let mut table = Table::new(&[
            "work",
            "clients",
            "per second",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "errors",
        ]);
        for run in runs {
            let mut row = |name: String, per_second: String, latency: &LatencyReport, errors: String| {
                let ms = |value: f64| format!("{value:.2}");
                table.row(vec![
                    name,
                    run.clients.to_string(),
                    per_second,
                    ms(latency.p50_ms),
                    ms(latency.p90_ms),
                    ms(latency.p99_ms),
                    ms(latency.p999_ms),
                    ms(latency.max_ms),
                    errors,
                ]);
            };
            row(run.work.clone(), format!("{:.0}", run.per_second), &run.latency, run.errors.to_string());
            if run.kinds.len() > 1 {
                for (kind, latency) in &run.kinds {
                    row(format!("- {kind}"), String::new(), latency, String::new());
                }
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::work::Kind;

    fn report(well: u64) -> RunReport {
        let mut reads = Latencies::default();
        let mut writes = Latencies::default();
        reads.record(Duration::from_millis(1));
        writes.record(Duration::from_millis(4));
        let mut all = reads.clone();
        all.add(&writes);
        let outcome = Outcome {
            lasted: Duration::from_secs(2),
            well,
            errors: 0,
            unserved: 0,
            conflicts: 0,
            missing: 0,
            first_error: None,
            all,
            kinds: vec![(Kind::Read, reads), (Kind::Update, writes)],
            samples: vec![],
        };
        RunReport::new("mixed", 64, Some(100.0), &outcome, vec![Mark { at_s: 1.0, what: "x".into() }])
    }

    #[test]
    fn json_has_the_fields_that_scripts_read() {
        let json = serde_json::to_value(report(200)).unwrap();
        for field in ["per_second", "seconds", "rate", "errors", "unserved", "conflicts", "missing", "clients"] {
            assert!(json[field].is_number(), "{field}: {json}");
        }
        assert_eq!(json["per_second"], 100.0);
        assert!(json["latency"]["p99_ms"].is_number() && json["kinds"]["update"]["p50_ms"].is_number());
        assert_eq!(json["faults"][0]["at_s"], 1.0);
    }

    #[test]
    fn of_several_runs_the_median_counts_and_all_are_shown() {
        let median = RunReport::median(vec![report(600), report(200), report(400)]).unwrap();
        assert!((median.per_second - 200.0).abs() < 1e-9);
        assert_eq!(median.per_second_of_runs, [100.0, 200.0, 300.0]);
        assert!(RunReport::median(vec![]).is_none());
    }

    #[test]
    fn the_table_has_a_row_for_the_run_and_one_for_each_kind() {
        let text = RunReport::table(&[report(200)]).to_string();
        assert_eq!(text.lines().count(), 5, "{text}");
    }
}

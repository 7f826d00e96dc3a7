//! What a load came to: one list of figures for every demo and drill.

use serde::{Deserialize, Serialize};

use super::Meter;
use crate::record::{Record, Verdict};

/// What was done, and what was wrong with it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct Totals {
    /// Writes acknowledged, rows loaded included.
    pub acknowledged: u64,
    /// Acknowledged writes that were not found.
    pub lost: u64,
    /// Operations applied more than once.
    pub duplicated: u64,
    /// Operations that ended in anything but success within 10 s.
    pub errors: u64,
    /// Of these, writes of which the outcome stayed unknown.
    pub ambiguous: u64,
    /// Reads that gave what was not, or no longer, there.
    pub stale_reads: u64,
    /// The longest that any one operation took, retries included.
    pub max_stall_ms: f64,
    /// How long the part of the run in which it ended had lasted when it began.
    pub max_stall_began_ms: f64,
    /// Half of the operations were at least this fast.
    pub p50_ms: f64,
    /// All but one in a hundred were at least this fast.
    pub p99_ms: f64,
}

/// Figures for people have two digits behind the point.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

impl Totals {
    /// Puts together what was measured and what was read back.
    #[must_use]
    pub fn new(meter: &Meter, record: &Record, verdict: Verdict) -> Self {
        let all = meter.latencies();
        Self {
            acknowledged: record.acknowledged(),
            lost: verdict.lost,
            duplicated: verdict.duplicated,
            errors: meter.errors(),
            ambiguous: meter.ambiguous(),
            stale_reads: meter.stale_reads(),
            max_stall_ms: rounded(all.max_ms()),
            max_stall_began_ms: rounded(meter.slowest().map_or(0.0, |slowest| slowest.began.as_secs_f64() * 1_000.0)),
            p50_ms: rounded(all.percentile_ms(50.0)),
            p99_ms: rounded(all.percentile_ms(99.0)),
        }
    }

    /// Several loads at the same time as one: what was done adds up, of latencies the worst counts.
    #[must_use]
    pub fn together<'a>(loads: impl IntoIterator<Item = &'a Self>) -> Self {
        let add = |all: Self, load: &Self| {
            let slowest = if load.max_stall_ms > all.max_stall_ms { load } else { &all };
            Self {
                acknowledged: all.acknowledged + load.acknowledged,
                lost: all.lost + load.lost,
                duplicated: all.duplicated + load.duplicated,
                errors: all.errors + load.errors,
                ambiguous: all.ambiguous + load.ambiguous,
                stale_reads: all.stale_reads + load.stale_reads,
                max_stall_ms: slowest.max_stall_ms,
                max_stall_began_ms: slowest.max_stall_began_ms,
                p50_ms: all.p50_ms.max(load.p50_ms),
                p99_ms: all.p99_ms.max(load.p99_ms),
            }
        };
        loads.into_iter().fold(Self::default(), add)
    }

    /// True when the promises held.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.errors == 0 && self.stale_reads == 0
    }

    /// A line for each figure. `stalled`: when the longest stall was.
    #[must_use]
    pub fn lines(&self, stalled: &str) -> Vec<String> {
        let counts = [
            ("acknowledged writes", self.acknowledged.to_string()),
            ("lost", self.lost.to_string()),
            ("done more than once", self.duplicated.to_string()),
            ("errors", format!("{} (ambiguous: {})", self.errors, self.ambiguous)),
            ("stale reads", self.stale_reads.to_string()),
            ("longest stall", format!("{:.0} ms, {stalled}", self.max_stall_ms)),
            ("latency", format!("p50 {:.2} ms, p99 {:.2} ms", self.p50_ms, self.p99_ms)),
        ];
        counts.map(|(what, value)| line(what, &value)).into()
    }
}

/// A line of such a list.
#[must_use]
pub fn line(what: &str, value: &str) -> String {
    format!("  {what:<21} {value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_at_the_same_time_add_up_and_the_worst_latency_counts() {
        let one =
            Totals { acknowledged: 5, max_stall_ms: 9.0, max_stall_began_ms: 1.0, p99_ms: 2.0, ..Totals::default() };
        let two = Totals { acknowledged: 7, errors: 1, max_stall_ms: 4.0, p99_ms: 3.0, ..Totals::default() };
        let all = Totals::together([&one, &two]);
        assert_eq!((all.acknowledged, all.errors, all.p99_ms), (12, 1, 3.0));
        assert_eq!((all.max_stall_ms, all.max_stall_began_ms), (9.0, 1.0));
        assert!(one.is_clean() && !all.is_clean());
    }
}

//! What the demo found.

use holdfast_benches::record::{Record, Verdict};
use holdfast_benches::workload::{Meter, Phase};
use serde::Serialize;

use super::DemoArgs;

/// The result of one demo, as `--json` prints it.
#[derive(Serialize, Debug, Clone)]
pub struct Summary {
    /// Sites of the fleet.
    pub sites: u8,
    /// Stores of each.
    pub stores_per_site: u8,
    /// Clients that loaded it.
    pub clients: u16,
    /// How long the load ran.
    pub seconds: u16,
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
    /// The part of the run in which that operation ended.
    pub max_stall_phase: &'static str,
    /// How long that part had lasted when the operation began.
    pub max_stall_began_ms: f64,
    /// Half of the operations were at least this fast.
    pub p50_ms: f64,
    /// All but one in a hundred were at least this fast.
    pub p99_ms: f64,
    /// Operations a second with all sites up.
    pub throughput_before: f64,
    /// With one site killed.
    pub throughput_during: f64,
    /// With the site back.
    pub throughput_after: f64,
}

impl Summary {
    /// Puts together what was measured.
    pub fn new(args: &DemoArgs, meter: &Meter, record: &Record, verdict: Verdict) -> Self {
        let all = meter.latencies();
        let slowest = meter.slowest();
        let round = |value: f64| (value * 100.0).round() / 100.0;
        Self {
            sites: args.sites,
            stores_per_site: args.stores_per_site,
            clients: args.clients,
            seconds: args.seconds,
            acknowledged: record.acknowledged(),
            lost: verdict.lost,
            duplicated: verdict.duplicated,
            errors: meter.errors(),
            ambiguous: meter.ambiguous(),
            stale_reads: meter.stale_reads(),
            max_stall_ms: round(all.max_ms()),
            max_stall_phase: slowest.map_or("none", |s| phase_name(s.phase)),
            max_stall_began_ms: round(slowest.map_or(0.0, |s| s.began.as_secs_f64() * 1_000.0)),
            p50_ms: round(all.percentile_ms(50.0)),
            p99_ms: round(all.percentile_ms(99.0)),
            throughput_before: round(meter.throughput(Phase::Before)),
            throughput_during: round(meter.throughput(Phase::During)),
            throughput_after: round(meter.throughput(Phase::After)),
        }
    }

    /// True when the promises held.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.errors == 0 && self.stale_reads == 0
    }

    /// The result in words.
    pub fn in_words(&self) -> String {
        let verdict = if self.is_clean() {
            "One of the sites was killed and came back: nothing was lost, nothing was done twice, no client saw an error."
        } else {
            "A PROMISE WAS BROKEN: see the figures."
        };
        format!(
            "\n{verdict}\n\n  acknowledged writes   {}\n  lost                  {}\n  done more than once   {}\n  errors                {} \
             (ambiguous: {})\n  stale reads           {}\n  longest stall         {:.0} ms, {}\n  latency               p50 {:.2} ms, \
             p99 {:.2} ms\n  throughput            {:.0}/s before, {:.0}/s with the site gone, {:.0}/s with it back\n",
            self.acknowledged,
            self.lost,
            self.duplicated,
            self.errors,
            self.ambiguous,
            self.stale_reads,
            self.max_stall_ms,
            self.max_stall_phase,
            self.p50_ms,
            self.p99_ms,
            self.throughput_before,
            self.throughput_during,
            self.throughput_after,
        )
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Loading => "while loading",
        Phase::Before => "with all sites up",
        Phase::During => "with the site gone",
        Phase::After => "with the site back",
        Phase::Done => "at the end",
    }
}

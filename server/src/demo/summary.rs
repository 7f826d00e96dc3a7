//! What the demo found.

use holdfast_benches::record::{Record, Verdict};
use holdfast_benches::workload::totals::{line, rounded};
use holdfast_benches::workload::{Meter, Phase, Totals};
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
    /// What the load came to.
    #[serde(flatten)]
    pub totals: Totals,
    /// The part of the run in which the longest stall ended.
    pub max_stall_phase: &'static str,
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
        Self {
            sites: args.sites,
            stores_per_site: args.stores_per_site,
            clients: args.clients,
            seconds: args.seconds,
            totals: Totals::new(meter, record, verdict),
            max_stall_phase: meter.slowest().map_or("none", |slowest| phase_name(slowest.phase)),
            throughput_before: rounded(meter.throughput(Phase::Before)),
            throughput_during: rounded(meter.throughput(Phase::During)),
            throughput_after: rounded(meter.throughput(Phase::After)),
        }
    }

    /// True when the promises held.
    pub fn is_clean(&self) -> bool {
        self.totals.is_clean()
    }

    /// The result in words.
    pub fn in_words(&self) -> String {
        let verdict = if self.is_clean() {
            "One of the sites was killed and came back: nothing was lost, nothing was done twice, no client saw an error."
        } else {
            "A PROMISE WAS BROKEN: see the figures."
        };
        let throughput = format!(
            "{:.0}/s before, {:.0}/s with the site gone, {:.0}/s with it back",
            self.throughput_before, self.throughput_during, self.throughput_after
        );
        let lines = self.totals.lines(self.max_stall_phase).concat();
        format!("\n{verdict}\n\n{lines}{}", line("throughput", &throughput))
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

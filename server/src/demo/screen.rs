//! What the demo shows while it runs. With `--json` nothing goes to standard output but the result.

use std::time::{Duration, Instant};

use holdfast_benches::fleet::LocalFleet;
use holdfast_benches::workload::Meter;
use holdfast_output::{errln, outln};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::summary::Summary;
use crate::table::Table;

/// Where the demo speaks.
pub struct Screen {
    json: bool,
    bar: ProgressBar,
}

/// How often the live table is shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);

impl Screen {
    /// With `json`, words go to standard error and the result alone to standard output.
    pub fn new(json: bool) -> Self {
        let bar = ProgressBar::with_draw_target(
            None,
            if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() },
        );
        let style = ProgressStyle::with_template("{msg:>10} [{bar:40}] {pos}/{len}").expect("the template is legal");
        bar.set_style(style);
        Self { json, bar }
    }

    /// A sentence.
    pub fn say(&self, text: &str) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        if self.json {
            errln!("{text}");
        } else {
            outln!("{text}")?;
        }
        Ok(())
    }

    /// How far a long step is.
    pub fn progress(&self, what: &str, done: u64, all: u64) {
        self.bar.set_message(what.to_owned());
        self.bar.set_length(all);
        self.bar.set_position(done);
    }

    /// Shows the live table once a second for a while.
    pub async fn watch(
        &self,
        fleet: &mut LocalFleet,
        meter: &Meter,
        lasting: Duration,
        what: &str,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + lasting;
        while Instant::now() < end {
            let step = SHOW_EVERY.min(end.saturating_duration_since(Instant::now()));
            tokio::time::sleep(step).await;
            let sites = meter.sites_since_last();
            let leaders = fleet.leaders_by_site().await;
            let mut table = Table::new(&["site", "state", "leaders", "requests/s", "p50 ms", "p99 ms"]);
            for (index, site) in sites.iter().enumerate() {
                let stores = fleet.stores_of_site(index);
                let name = fleet.stores()[stores[0]].site.clone();
                let up = stores.iter().filter(|store| fleet.is_running(**store)).count();
                table.row(vec![
                    name.clone(),
                    if up == stores.len() { "up".into() } else { format!("{up} of {} up", stores.len()) },
                    leaders.get(&name).copied().unwrap_or(0).to_string(),
                    format!("{:.0}", site.per_second()),
                    format!("{:.2}", site.latencies.percentile_ms(50.0)),
                    format!("{:.2}", site.latencies.percentile_ms(99.0)),
                ]);
            }
            self.say(&format!("\n{what}\n{table}"))?;
        }
        Ok(())
    }

    /// The result.
    pub fn summary(&self, summary: &Summary) -> anyhow::Result<()> {
        if self.json {
            outln!("{}", serde_json::to_string(summary)?)?;
        } else {
            outln!("{}", summary.in_words())?;
        }
        Ok(())
    }
}

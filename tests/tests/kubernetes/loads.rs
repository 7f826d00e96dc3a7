//! Loads in several sites at once.

use holdfast_stage::{Drill, Found, Stage};

/// Loads that run, one in each of some sites.
pub struct Loads {
    drills: Vec<Drill>,
}

impl Loads {
    /// Starts them.
    pub fn start(stage: &Stage, name: &str, seconds: u32, sites: &[&str]) -> Loads {
        Loads { drills: sites.iter().map(|site| stage.start_load(site, name, seconds).unwrap()).collect() }
    }

    /// Waits for their end: nothing was lost, done twice or refused.
    pub fn end_clean(self, stage: &Stage) -> Vec<Found> {
        let found: Vec<_> = self.drills.iter().map(|drill| stage.end_load(drill).unwrap()).collect();
        for load in &found {
            println!(
                "{}: {:.0}/s, longest stall {:.0} ms",
                load.site, load.operations_per_second, load.totals.max_stall_ms
            );
            assert!(load.is_clean(), "{load:?}");
        }
        found
    }
}

//! Sites that are cut off and sites that die.

use std::thread;
use std::time::Duration;

use holdfast_stage::{Pod, Stage};

use crate::loads::Loads;

/// Longer than any of the probes gives a store before it is held for not ready, or not alive.
const OUTLASTS_PROBES: Duration = Duration::from_secs(75);

/// Two of three sites stand still: what is left serves nobody, and is neither taken out of service nor started anew for that. A certificate that is
/// renewed meanwhile is taken all the same, for which nobody else is needed.
pub fn majority_gone(stage: &mut Stage) {
    let pod = stage.pod("east", 0);
    let before = stage.restarts(&pod).unwrap();
    let renewed = stage.certify("east", &stage.fleet.secret("east"), "east").unwrap();
    for site in ["west", "north"] {
        stage.clusters.freeze(site).unwrap();
    }
    thread::sleep(OUTLASTS_PROBES);
    let (ready, after) = (stage.is_ready(&pod), stage.restarts(&pod));
    for site in ["west", "north"] {
        stage.clusters.thaw(site).unwrap();
    }
    assert!(ready, "a store without a majority is not ready");
    assert_eq!(after, Some(before));
    stage.settled("east", 3).unwrap();
    // The kubelet looks at a Secret about once a minute, which has nearly always passed by now.
    let is_shown = || stage.trust(&pod).ok()?.is_shown_by("east", &renewed).then_some(());
    stage.until("the store in east shows the renewed certificate", is_shown).unwrap();
    assert_eq!(stage.restarts(&pod), Some(before));
}

pub fn cut_off(stage: &mut Stage) {
    without_north(stage, "cut", |stage| {
        for site in ["east", "west"] {
            stage.clusters.cut(site, "north").unwrap();
        }
    });
}

/// What north says reaches nobody; it hears everything.
pub fn cut_off_one_way(stage: &mut Stage) {
    without_north(stage, "one-way", |stage| {
        for site in ["east", "west"] {
            stage.clusters.cut_one_way("north", site).unwrap();
        }
    });
}

fn without_north(stage: &mut Stage, name: &str, cut: impl Fn(&Stage)) {
    leads(stage, "north");
    let loads = Loads::start(stage, name, 25, &["east", "west"]);
    cut(stage);
    loads.end_clean(stage);
    stage.clusters.heal_all().unwrap();
    stage.settled("north", 3).unwrap();
}

pub fn dies(stage: &mut Stage) {
    leads(stage, "north");
    stage.client("north", &["put", "north", "lived"]).unwrap();
    let loads = Loads::start(stage, "death", 30, &["east", "west"]);
    stage.clusters.kill("north").unwrap();
    loads.end_clean(stage);
    // Nobody who looks notices more than that a site is gone.
    assert!(stage.client("east", &["get", "north"]).unwrap().contains("lived"));
    let loads = Loads::start(stage, "return", 60, &["east", "west"]);
    stage.clusters.bring_back("north").unwrap();
    stage.ready(&stage.pod("north", 0)).unwrap();
    stage.settled("north", 3).unwrap();
    leads(stage, "north");
    loads.end_clean(stage);
    let restarted: Vec<Pod> = ["east", "west"].map(|site| stage.pod(site, 0)).into();
    assert!(restarted.iter().all(|pod| stage.is_ready(pod)));
}

/// Waits until a site leads some range.
fn leads(stage: &Stage, site: &str) {
    let pod = stage.pod("east", 0);
    stage
        .until(&format!("{site} leads a range"), || {
            let status = stage.status(&pod).ok()?;
            status.sites.iter().any(|found| found.site == site && found.leaders > 0).then_some(())
        })
        .unwrap();
}

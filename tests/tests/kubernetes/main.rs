//! The life of a fleet on three real Kubernetes clusters. One boot for all cases, which run one after the other and leave the fleet as they found
//! it: three sites with a store each, all well.
//!
//! They need Linux, root, Go and a few Debian packages (`.ci/deps clusters`), and the first time 20 minutes to build Kubernetes itself. Where the
//! clusters cannot be had, or not in the time that is left (`HOLDFAST_TESTS_END`, seconds since 1970), every case is skipped and says why.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod bring_up;
mod claims;
mod loads;
mod nodes;
mod pods;
mod scale;
mod sites;
mod walls;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_stage::{Programs, Stage};
use holdfast_testkit::{Options, Tools, requirements};
use libtest_mimic::{Arguments, Failed, Trial};

/// The name of the fleet.
const FLEET: &str = "life";
/// How long the programs take to be built, on two cores with nothing in any cache.
const TO_BUILD: Duration = Duration::from_secs(25 * 60);
/// How long the cases take.
const TO_RUN: Duration = Duration::from_secs(20 * 60);

type Case = (&'static str, fn(&mut Stage));

/// In the order in which they run.
const CASES: &[Case] = &[
    ("a_fleet_comes_up_from_its_trees_in_any_order_with_one_site_late", bring_up::comes_up),
    ("a_second_founding_is_refused_in_another_site", bring_up::is_founded_once),
    ("a_folder_of_another_site_starts_no_pod", bring_up::wrong_folder),
    ("one_name_in_two_places_and_two_names_in_one_are_refused", bring_up::wrong_proof),
    ("a_store_without_a_proof_of_its_site_does_not_start_in_kubernetes", bring_up::no_proof),
    ("the_program_stops_as_pid_1_when_it_is_told", pods::stops_when_told),
    ("all_pods_of_all_sites_come_back_with_other_addresses", pods::all_move),
    ("a_pod_goes_to_another_node_with_its_volume", nodes::moves),
    ("a_node_that_is_lost_takes_nothing_and_comes_back", nodes::lost),
    ("a_store_that_is_killed_for_its_memory_comes_back", pods::out_of_memory),
    ("stores_that_are_added_get_ranges_and_leave_only_drained", scale::up_and_down),
    ("evictions_keep_to_the_budget", scale::evictions),
    ("a_foreign_pod_reaches_nothing_and_a_client_what_it_needs", walls::in_force),
    ("a_rollout_of_all_sites_under_load_shows_no_client_an_error", pods::rollout),
    ("probes_stand_and_a_renewed_certificate_is_taken_when_a_majority_is_gone", sites::majority_gone),
    ("a_site_that_is_cut_off_holds_nobody_up", sites::cut_off),
    ("a_site_that_is_cut_off_one_way_holds_nobody_up", sites::cut_off_one_way),
    ("a_whole_kubernetes_cluster_dies_and_nobody_notices", sites::dies),
    // The last one: what it takes away is made anew after ten minutes, which is longer than anybody wants to wait here.
    ("a_store_whose_volume_is_lost_joins_as_another_one", claims::lost),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(None)).exit_code();
    }
    if let Err(reason) = possible() {
        println!("SKIPPED: {reason}");
        return libtest_mimic::run(&arguments, trials(None)).exit_code();
    }
    let stage = Arc::new(Mutex::new(None));
    let conclusion = libtest_mimic::run(&arguments, trials(Some(&stage)));
    // What a failed case leaves may be in the way of `down`'s own order, but not of its end.
    if let Some(stage) = stage.lock().unwrap_or_else(PoisonError::into_inner).take()
        && let Err(error) = Stage::down(stage)
    {
        eprintln!("the clusters do not go: {error}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// The cases; ignored without a place for a stage.
fn trials(stage: Option<&Arc<Mutex<Option<Stage>>>>) -> Vec<Trial> {
    let trial = |(name, case): &Case| {
        let (case, place) = (*case, stage.map(Arc::clone));
        let run = move || place.map_or(Ok(()), |place| on_stage(&place, case));
        Trial::test(*name, run).with_ignored_flag(stage.is_none())
    };
    CASES.iter().map(trial).collect()
}

/// Runs a case on the stage, which is set by the first one.
fn on_stage(place: &Mutex<Option<Stage>>, case: fn(&mut Stage)) -> Result<(), Failed> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    if place.is_none() {
        let options = Options { name: "tests".to_owned(), nodes: 2, ..Options::default() };
        *place = Some(Programs::beside().and_then(|programs| Stage::up(&options, programs, FLEET))?);
    }
    let stage = place.as_mut().expect("it was set just now");
    let ended = catch_unwind(AssertUnwindSafe(|| {
        if !std::ptr::fn_addr_eq(case, bring_up::comes_up as fn(&mut Stage)) {
            bring_up::is_up(stage);
        }
        case(stage);
    }));
    ended.map_err(|_| {
        bring_up::describe(stage);
        Failed::without_message()
    })
}

/// Whether the clusters can be had here, and in time.
fn possible() -> Result<(), String> {
    let missing = requirements::missing();
    if !missing.is_empty() {
        return Err(missing.join("; "));
    }
    Programs::beside().map_err(|error| error.to_string())?;
    let needed = if Tools::are_built() { TO_RUN } else { TO_BUILD + TO_RUN };
    match left() {
        Some(left) if left < needed => Err(format!(
            "the clusters need {} min ({}), and {} min are left",
            needed.as_secs() / 60,
            if Tools::are_built() { "their programs are built" } else { "their programs are not built yet" },
            left.as_secs() / 60,
        )),
        _ => Ok(()),
    }
}

/// How much time whoever runs the tests has left. `None`: as much as it takes.
fn left() -> Option<Duration> {
    let end: u64 = std::env::var("HOLDFAST_TESTS_END").ok()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(Duration::from_secs(end).saturating_sub(now))
}

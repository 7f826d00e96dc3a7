//! `holdfast drain`: empties stores that are to leave the fleet, or gets the store on this machine ready to be stopped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueHint};
use holdfast_client::admin::{
    Admin, AdminError, Drained, DrainedStore, Prepared, RangeStatus, Ranges, StoreId, Stores,
};
use holdfast_output::{Unwritten, errln, outln, visible};
use holdfast_types::Rejected;
use serde_json::json;

use crate::config;
use crate::connecting::{Connecting, Through};
use crate::forget::store_id;

/// How often it is looked what is left.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Placement reads the marks anew every two seconds: until then an empty store may be given something.
const MARK_IS_KNOWN_AFTER: Duration = Duration::from_secs(4);
/// A fleet that cannot be asked for this long is given up on; the marks stand.
const PATIENCE: Duration = Duration::from_secs(30);
/// When nothing has moved for this long, it is said where to look.
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// What `--local` waits for by default: kubelet waits for 30 s, hook included.
const LOCAL_WITHIN: Duration = Duration::from_secs(20);

/// `holdfast drain`.
#[derive(Args, Debug)]
pub struct DrainArgs {
    /// The stores that are to leave, as `holdfast status` names them: s4, or 4
    #[arg(value_name = "STORE", value_parser = store_id, required_unless_present = "local", conflicts_with = "local")]
    pub stores: Vec<StoreId>,
    /// Get the store on this machine ready to be stopped instead: it hands its leaders over and is not ready any more
    #[arg(long)]
    pub local: bool,
    /// Take it back: the stores stay, and what has moved stays where it is
    #[arg(long)]
    pub cancel: bool,
    /// Return as soon as it is on record that the stores leave
    #[arg(long, conflicts_with_all = ["local", "cancel"])]
    pub no_wait: bool,
    /// With --local: how long to wait until the store leads nothing, such as 20s or 1m [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = crate::durations::duration, requires = "local")]
    pub within: Option<Duration>,
    /// With --local: the store's configuration file
    #[arg(long, value_name = "FILE", env = "HOLDFAST_CONFIG", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// With --local: where the store listens for clients [default: 127.0.0.1:7300]
    #[arg(long, value_name = "ADDRESS", env = "HOLDFAST_LISTEN")]
    pub listen: Option<String>,
    /// Where it goes
    #[command(flatten)]
    pub through: Through,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Drains, or takes it back. False: somebody else has taken it back meanwhile.
pub async fn run(args: &DrainArgs) -> anyhow::Result<bool> {
    if args.local {
        return local(args).await.map(|()| true);
    }
    let admin = args.through.admin()?;
    let stores = args.stores.iter().copied();
    let drained = if args.cancel { admin.cancel_drain(stores).await? } else { admin.drain_stores(stores).await? };
    for silent in &drained.silent {
        errln!(
            "warning: {} ({}) could not be asked what it holds: {}",
            silent.store,
            silent.site,
            visible(&silent.reason)
        );
    }
    if args.cancel || args.no_wait {
        print(args, &drained, false)?;
        return Ok(true);
    }
    let is_empty = wait(&admin, drained.clone()).await?;
    if is_empty {
        let empty = |store: DrainedStore| DrainedStore { ranges_left: 0, bytes_left: 0, ..store };
        let stores = drained.stores.into_iter().map(empty).collect();
        print(args, &Drained { stores, silent: drained.silent }, true)?;
    }
    Ok(is_empty)
}

fn print(args: &DrainArgs, drained: &Drained, is_empty: bool) -> Result<(), Unwritten> {
    if args.json {
        return outln!("{}", as_json(drained, is_empty));
    }
    drained.stores.iter().try_for_each(|store| outln!("{}", in_words(store, is_empty)))
}

fn in_words(drained: &DrainedStore, is_empty: bool) -> String {
    let DrainedStore { store, site, .. } = drained;
    match (drained.leaving_at, drained.changed) {
        (None, true) => format!("{store} ({site}) stays. What has moved from it stays where it is."),
        (None, false) => format!("{store} ({site}) was not leaving: nothing has changed."),
        (Some(_), _) if is_empty => format!(
            "{store} ({site}) is empty: it leads nothing and holds nothing. Stop it for good, and `holdfast forget {store}`."
        ),
        (Some(_), _) => {
            let left = left_in_words(drained.ranges_left, drained.bytes_left);
            format!("{store} ({site}) leaves: {left}. `holdfast status` shows how far it is.")
        }
    }
}

/// What is left on a store that leaves.
pub fn left_in_words(ranges: u64, bytes: u64) -> String {
    let what = if ranges == 1 { "range" } else { "ranges" };
    format!("{ranges} {what}, {} left", size(bytes))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        1_048_576..10_737_418_240 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

fn as_json(drained: &Drained, is_empty: bool) -> serde_json::Value {
    let store = |drained: &DrainedStore| {
        json!({
            "store": drained.store.0,
            "site": drained.site.as_str(),
            // A string, as with versions: it has 64 bits.
            "leaving_at": drained.leaving_at.map(|at| at.0.to_string()),
            "changed": drained.changed,
            "ranges_left": drained.ranges_left,
            "bytes_left": drained.bytes_left,
        })
    };
    json!({ "stores": drained.stores.iter().map(store).collect::<Vec<_>>(), "empty": is_empty })
}

/// Ranges that have a replica on a store, and roughly their bytes.
pub fn left_on(store: StoreId, ranges: &[RangeStatus]) -> (u64, u64) {
    let here = ranges.iter().filter(|range| range.descriptor.replica_on(store).is_some());
    here.fold((0, 0_u64), |(ranges, bytes), range| {
        (ranges + 1, bytes.saturating_add(range.approximate_bytes.unwrap_or(0)))
    })
}

/// How it is with a store that leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    Left {
        ranges: u64,
        bytes: u64,
        answers: bool,
    },
    Empty,
    /// Somebody has taken the mark back.
    Stays,
}

fn progress(store: StoreId, stores: &Stores, ranges: &[RangeStatus]) -> Progress {
    // One that is listed no more was forgotten, and so it was empty.
    let Some(status) = stores.stores.iter().find(|status| status.store == store) else { return Progress::Empty };
    if status.leaving_at.is_none() {
        return Progress::Stays;
    }
    let (ranges, bytes) = left_on(store, ranges);
    // What it has been relieved of it has yet to delete.
    let ranges = ranges.max(if status.alive { status.replicas } else { 0 });
    if ranges == 0 { Progress::Empty } else { Progress::Left { ranges, bytes, answers: status.alive } }
}

/// Waits until the stores are empty. False: one of them stays after all.
async fn wait(admin: &Admin, drained: Drained) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let is_new = drained.stores.iter().any(|store| store.changed);
    let (mut answered, mut moved, mut said) = (begun, begun, Vec::new());
    loop {
        let looked = tokio::try_join!(admin.stores(), admin.all_ranges(Ranges::All));
        match looked {
            Ok((stores, ranges)) => {
                answered = Instant::now();
                let now: Vec<_> =
                    drained.stores.iter().map(|d| (d.store, progress(d.store, &stores, &ranges.ranges))).collect();
                // Stores learn of a mark one after the other: one that has not heard of it yet has not seen it taken back.
                let known = begun.elapsed() >= MARK_IS_KNOWN_AFTER;
                let stays = now.iter().find(|(_, progress)| known && *progress == Progress::Stays);
                if let Some((store, _)) = stays {
                    errln!("{store} stays: somebody has taken that back meanwhile (`holdfast drain {store} --cancel`)");
                    return Ok(false);
                }
                let settled = !is_new || known;
                if settled && now.iter().all(|(_, progress)| *progress == Progress::Empty) {
                    return Ok(true);
                }
                if now != said {
                    (moved, said) = (Instant::now(), now);
                    said.iter().for_each(|(store, progress)| tell(*store, *progress));
                }
            }
            Err(error) if answered.elapsed() >= PATIENCE => {
                return Err(
                    anyhow::Error::from(error).context("the stores leave, but how far they are cannot be asked")
                );
            }
            Err(_) => {}
        }
        if moved.elapsed() >= STALLED_AFTER {
            moved = Instant::now();
            errln!(
                "nothing has moved for {} s: look at `holdfast status`; --cancel takes the drain back",
                STALLED_AFTER.as_secs()
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn tell(store: StoreId, progress: Progress) {
    match progress {
        Progress::Left { ranges, bytes, answers: true } => errln!("{store}: {}", left_in_words(ranges, bytes)),
        Progress::Left { ranges, bytes, answers: false } => {
            errln!("{store}: {}; it does not answer, so they are copied from the others", left_in_words(ranges, bytes));
        }
        Progress::Empty => errln!("{store}: nothing left"),
        Progress::Stays => {}
    }
}

/// `--local`. A hook that fails changes nothing about the end of its pod, so a store that could not hand everything over is no failure.
async fn local(args: &DrainArgs) -> anyhow::Result<()> {
    let listen = config::listen_of(args.config.as_deref(), args.listen.as_deref())?;
    // By the store's own certificate, unless there is another: the hook of a pod has no other.
    let tls = config::tls_of(args.config.as_deref(), args.through.connecting.tls.as_deref())?;
    let security = Connecting { tls, ..args.through.connecting.clone() }.security()?;
    let admin = Admin::with([from_here(listen).to_string()], security);
    let within = args.within.unwrap_or(LOCAL_WITHIN);
    let asked = if args.cancel { admin.cancel_stop().await } else { admin.prepare_to_stop(within).await };
    match asked {
        Ok(prepared) if args.json => outln!("{}", prepared_as_json(&prepared))?,
        Ok(prepared) => outln!("{}", prepared_in_words(&prepared, args.cancel, within))?,
        // It starts, stops, or has never been a member.
        Err(AdminError::Rejected(Rejected::Unavailable(why))) => outln!("nothing to hand over: {why}")?,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// A store that listens everywhere is found here, too.
fn from_here(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn prepared_in_words(prepared: &Prepared, cancel: bool, within: Duration) -> String {
    let Prepared { store, site, led_before, leads } = prepared;
    if cancel {
        return format!("{store} ({site}) goes on.");
    }
    if *leads == 0 {
        return format!("{store} ({site}) leads nothing and may be stopped: {led_before} ranges went to other stores.");
    }
    let within = humantime::format_duration(within);
    format!(
        "{store} ({site}) still leads {leads} of {led_before} ranges after {within}. It may be stopped all the same."
    )
}

fn prepared_as_json(prepared: &Prepared) -> serde_json::Value {
    json!({
        "store": prepared.store.0,
        "site": prepared.site.as_str(),
        "led_before": prepared.led_before,
        "leads": prepared.leads,
    })
}

#[cfg(test)]
mod tests {
    use holdfast_client::admin::{SiteName, Timestamp};

    use super::*;

    fn drained(leaving: bool, changed: bool) -> DrainedStore {
        DrainedStore {
            store: StoreId(4),
            site: SiteName::new("d").unwrap(),
            leaving_at: leaving.then_some(Timestamp(u64::MAX)),
            changed,
            ranges_left: 12,
            bytes_left: 340 << 20,
        }
    }

    #[test]
    fn what_was_done_and_what_to_do_next_is_said() {
        let begun = in_words(&drained(true, true), false);
        assert!(begun.starts_with("s4 (d) leaves: 12 ranges, 340 MiB left."), "{begun}");
        let empty = in_words(&drained(true, false), true);
        assert!(empty.contains("is empty") && empty.contains("`holdfast forget s4`"), "{empty}");
        assert!(in_words(&drained(false, true), false).contains("stays."));
        assert!(in_words(&drained(false, false), false).contains("nothing has changed"));
        let told = as_json(&Drained { stores: vec![drained(true, true)], silent: vec![] }, false);
        assert_eq!(told["stores"][0]["leaving_at"], json!(u64::MAX.to_string()));
        assert_eq!((size(1), size(5 << 20), size(20 << 30)), ("1 KiB".into(), "5 MiB".into(), "20 GiB".into()));
    }

    #[test]
    fn the_store_on_this_machine_is_found_wherever_it_listens() {
        let at = |listen: &str| from_here(listen.parse().unwrap()).to_string();
        assert_eq!((at("0.0.0.0:7300"), at("[::]:9")), ("127.0.0.1:7300".into(), "[::1]:9".into()));
        assert_eq!(at("10.0.0.7:7300"), "10.0.0.7:7300");
    }

    #[test]
    fn a_store_that_could_not_hand_everything_over_says_so_and_may_be_stopped() {
        let of = |leads| Prepared { store: StoreId(2), site: SiteName::new("b").unwrap(), led_before: 14, leads };
        let within = Duration::from_secs(20);
        assert_eq!(
            prepared_in_words(&of(0), false, within),
            "s2 (b) leads nothing and may be stopped: 14 ranges went to other stores."
        );
        let late = prepared_in_words(&of(3), false, within);
        assert!(late.contains("still leads 3 of 14 ranges after 20s"), "{late}");
    }
}

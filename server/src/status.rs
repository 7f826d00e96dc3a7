//! `holdfast status` and `holdfast init`: looking at a fleet from outside.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::time::Duration;

use anyhow::Context;
use holdfast_client::admin::{
    Admin, FleetId, Key, RangeStatus, Ranges, ReplicaDescriptor, Role, Sites, StoreId, StoreStatus,
};
use holdfast_client::channel::{StoreChannel, reason};
use holdfast_client::{BearerFile, Security};
use holdfast_output::{Unwritten, out, outln, visible};
use holdfast_proto::v1;
use holdfast_proto::v1::fleet_client::FleetClient;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;

use crate::ca::FirstOperator;
use crate::cli::{InitArgs, StatusArgs};
use crate::connecting;
use crate::drain::{left_in_words, left_on};
use crate::readiness::{self, Wanted};
use crate::table::Table;

/// How long to wait for a store.
const PATIENCE: Duration = Duration::from_secs(15);
/// When no store has answered for this long, the next one is asked too.
const NEXT_AFTER: Duration = Duration::from_millis(500);

/// Connects to the fleet service of a store.
pub async fn connect(address: &str, security: &Security) -> anyhow::Result<FleetClient<StoreChannel>> {
    connecting::fleet_of(address, security, PATIENCE).await
}

/// Asks the stores at these addresses what their fleet is: the first one, and as long as none has answered another one every
/// [`NEXT_AFTER`]. Returns the first answer of a member, and the addresses with its own in front; the answer of a store that is no
/// member only when nobody else answers.
pub async fn describe_any(
    addresses: &[String],
    security: &Security,
) -> anyhow::Result<(v1::DescribeResponse, Vec<String>)> {
    let mut asked = JoinSet::new();
    let (mut waiting, mut said, mut unfounded) = (addresses.iter().cloned(), Vec::new(), None);
    loop {
        let next = waiting.next();
        let is_last = next.is_none();
        if let Some(address) = next {
            let security = security.clone();
            asked.spawn(async move { (address.clone(), describe(&address, &security).await) });
        }
        loop {
            let ended = async {
                if is_last {
                    asked.join_next().await
                } else {
                    timeout(NEXT_AFTER, asked.join_next()).await.ok().flatten()
                }
            };
            let Some(ended) = ended.await else { break };
            match ended? {
                (_, Ok(answer)) if answer.fleet.is_none() => unfounded = Some(answer),
                (address, Ok(answer)) => {
                    let others = addresses.iter().filter(|other| **other != address);
                    let order = std::iter::once(&address).chain(others).cloned().collect();
                    return Ok((answer, order));
                }
                (_, Err(error)) => said.push(format!("{error:#}")),
            }
        }
        if is_last && let Some(answer) = unfounded {
            return Ok((answer, addresses.to_vec()));
        }
        if is_last {
            anyhow::bail!("{}; give the client address of a running store with --at", said.join("; "));
        }
    }
}

async fn describe(address: &str, security: &Security) -> anyhow::Result<v1::DescribeResponse> {
    let answer = connect(address, security).await?.describe(v1::DescribeRequest {}).await;
    Ok(answer.map_err(|status| anyhow::anyhow!("{address}: {}", reason(&status)))?.into_inner())
}

/// `holdfast init`. The first operator's certificate is written once there is a fleet: whoever is refused has nothing to clean up.
pub async fn init(args: &InitArgs) -> anyhow::Result<()> {
    let operator = first_operator(args)?;
    let security = match &operator {
        None => args.connecting.security()?,
        Some(operator) => match &args.connecting.bearer_file {
            None => Security::tls(operator.trust()?),
            Some(file) => Security::tls_with_bearer(operator.trust()?, BearerFile::new(file)),
        },
    };
    let fleet = found(args, &security).await.map_err(|refused| match &operator {
        Some(operator) if refused.is_in_doubt => {
            let made_again = operator.again();
            refused.why.context(format!(
                "it is not known whether the fleet was founded: run the same command again; if a fleet is said to exist, its operator gets a certificate by `{made_again}`"
            ))
        }
        _ => refused.why,
    })?;
    if let Some(operator) = &operator {
        operator.keep().with_context(|| {
            format!(
                "fleet {fleet} exists, and its operator's certificate could not be kept: make another by `{}`",
                operator.again()
            )
        })?;
    }
    if args.wait {
        let at = std::slice::from_ref(&args.at);
        readiness::wait(at, &security, Wanted::Ready, args.timeout)
            .await
            .with_context(|| format!("fleet {fleet} exists"))?;
    }
    if args.json {
        outln!("{}", json!({ "fleet": fleet }))?;
    } else {
        outln!("Fleet {fleet} exists. Start other stores with --join {}", args.at)?;
    }
    Ok(())
}

fn first_operator(args: &InitArgs) -> anyhow::Result<Option<FirstOperator>> {
    let (Some(name), Some(issuer)) = (&args.operator, &args.issuer) else { return Ok(None) };
    let folder = args.connecting.tls.as_deref();
    let folder = folder.context("an operator is known by a certificate: name the folder for it with --tls DIR")?;
    FirstOperator::new(issuer, name.clone(), folder).map(Some)
}

/// A fleet was not founded, or nobody knows.
struct Unfounded {
    why: anyhow::Error,
    /// The store was asked, and did not refuse.
    is_in_doubt: bool,
}

/// Asks the store to found the fleet; returns the fleet's id.
async fn found(args: &InitArgs, security: &Security) -> Result<String, Unfounded> {
    let connected = connect(&args.at, security).await;
    let mut store = connected.map_err(|why| Unfounded { why, is_in_doubt: false })?;
    let request = v1::InitRequest { sites: Vec::new(), fleet_token: args.fleet_token.clone() };
    let answer = store.init(request).await.map_err(|status| Unfounded {
        why: anyhow::anyhow!("{}", reason(&status)),
        is_in_doubt: matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
        ),
    })?;
    Ok(fleet_text(answer.into_inner().fleet))
}

/// `holdfast status`.
pub async fn status(args: &StatusArgs) -> anyhow::Result<()> {
    let security = args.through.security()?;
    if let Some(wanted) = args.wait {
        readiness::wait(&args.through.at, &security, wanted, args.timeout).await?;
    }
    let (described, addresses) = describe_any(&args.through.at, &security).await?;
    if described.fleet.is_none() {
        if args.json {
            outln!("{}", json!({ "fleet": null, "stores": [], "ranges": 0, "ranges_led": 0, "warnings": [] }))?;
        } else {
            outln!("This store is not a member of a fleet yet: run `holdfast init` once, or start it with --join.")?;
        }
        return Ok(());
    }
    let admin = Admin::connect_with(addresses, security).await?;
    let (sites, stores, ranges) = tokio::try_join!(admin.sites(), admin.stores(), admin.all_ranges(Ranges::All))?;
    if args.json {
        outln!("{}", serde_json::to_string_pretty(&as_json(&sites, &stores.stores, &ranges.ranges, args.ranges))?)?;
        return Ok(());
    }
    print_fleet(&sites, &stores.stores, &ranges.ranges)?;
    if args.ranges {
        print_ranges(&ranges.ranges)?;
    }
    Ok(())
}

fn fleet_text(fleet: Option<v1::Id128>) -> String {
    fleet.map_or_else(|| "-".into(), |id| FleetId::from(id).to_string())
}

fn led(ranges: &[RangeStatus]) -> usize {
    ranges.iter().filter(|range| range.leader.is_some()).count()
}

fn print_fleet(sites: &Sites, stores: &[StoreStatus], ranges: &[RangeStatus]) -> Result<(), Unwritten> {
    outln!(
        "Fleet {}: {} sites, {} stores, {} ranges ({} led)",
        sites.fleet,
        sites.sites.len(),
        stores.len(),
        ranges.len(),
        led(ranges)
    )?;
    if let Some(headroom) = &sites.headroom {
        outln!("Headroom: {}", visible(headroom))?;
    }
    let has_zones = stores.iter().any(|store| store.zone.is_some());
    let mut heading =
        vec!["store", "site", "alive", "replicas", "leaders", "disk free", "up", "clients at", "stores at"];
    heading.extend(has_zones.then_some("zone"));
    let mut table = Table::new(&heading);
    for store in stores {
        let alive = match (store.alive, store.leaving_at.is_some()) {
            (true, true) => "leaving",
            (true, false) if store.draining => "draining",
            (true, false) => "yes",
            (false, true) => "no, leaving",
            (false, false) if store.awaited_since.is_some() => "not started",
            (false, false) => "no",
        };
        let free = store.disk_free_bytes.saturating_mul(100).checked_div(store.disk_total_bytes);
        let mut row = vec![
            store.store.to_string(),
            store.site.to_string(),
            alive.into(),
            store.replicas.to_string(),
            store.leaders.to_string(),
            free.map_or_else(|| "-".into(), |percent| format!("{percent} %")),
            if store.alive { format!("{} s", store.uptime.as_secs()) } else { "-".into() },
            store.client_address.clone(),
            store.store_address.clone(),
        ];
        row.extend(has_zones.then(|| store.zone.clone().unwrap_or_else(|| "-".into())));
        table.row(row);
    }
    out!("{table}")?;
    for store in stores.iter().filter(|store| store.leaving_at.is_some()) {
        outln!("{}", leaving_in_words(store, ranges))?;
    }
    for warning in &sites.warnings {
        outln!("warning: {}", visible(warning))?;
    }
    Ok(())
}

/// What is left on a store that leaves, and what to do when nothing is.
fn leaving_in_words(store: &StoreStatus, ranges: &[RangeStatus]) -> String {
    let (id, site) = (store.store, &store.site);
    match left_on(id, ranges) {
        (0, _) => format!("{id} ({site}) is empty: stop it for good, and `holdfast forget {id}`"),
        (ranges, bytes) => format!("{id} ({site}) leaves the fleet: {}", left_in_words(ranges, bytes)),
    }
}

fn print_ranges(ranges: &[RangeStatus]) -> Result<(), Unwritten> {
    out!("{}", range_table(ranges))
}

/// A row for each replica: a site may be called like a store, so each has a column of its own.
fn range_table(ranges: &[RangeStatus]) -> Table {
    let mut table = Table::new(&["range", "start", "end", "store", "site", "role", "applied", "behind"]);
    let shown = |number: Option<u64>| number.map_or_else(|| "-".into(), |number| number.to_string());
    for range in ranges {
        let descriptor = &range.descriptor;
        for (at, replica) in descriptor.replicas.iter().enumerate() {
            let mut row = vec![String::new(); 3];
            if at == 0 {
                let end = descriptor.bounds.end.as_ref();
                row = vec![
                    descriptor.range.to_string(),
                    descriptor.bounds.start.to_string(),
                    end.map_or_else(|| "/max".into(), ToString::to_string),
                ];
            }
            let role = match replica.role {
                _ if range.leader == Some(replica.store) => "leader",
                Role::Voter => "voter",
                Role::Learner => "learner",
                Role::IncomingVoter => "incoming",
                Role::OutgoingVoter => "outgoing",
            };
            let (applied, behind) = (applied_on(range, replica.store), behind(range, replica.store));
            row.extend([
                replica.store.to_string(),
                replica.site.to_string(),
                role.into(),
                shown(applied),
                shown(behind),
            ]);
            table.row(row);
        }
    }
    table
}

/// Up to where a replica has applied the range's log, if its store said so.
fn applied_on(range: &RangeStatus, store: StoreId) -> Option<u64> {
    range.applied.get(&store).map(|applied| applied.0)
}

/// Entries that a replica has yet to apply to be where its leader is. Stores do not answer at the same moment: one that is ahead
/// of the leader was asked later.
fn behind(range: &RangeStatus, store: StoreId) -> Option<u64> {
    Some(applied_on(range, range.leader?)?.saturating_sub(applied_on(range, store)?))
}

fn as_json(sites: &Sites, stores: &[StoreStatus], ranges: &[RangeStatus], with_ranges: bool) -> serde_json::Value {
    let store_list: Vec<_> = stores
        .iter()
        .map(|store| {
            let (ranges_left, bytes_left) = left_on(store.store, ranges);
            let is_leaving = store.leaving_at.is_some();
            json!({
                "store": store.store.0, "site": store.site.as_str(), "alive": store.alive, "draining": store.draining,
                "zone": store.zone, "awaited": store.awaited_since.is_some(), "leaving": is_leaving, "ranges_left": is_leaving.then_some(ranges_left),
                "bytes_left": is_leaving.then_some(bytes_left),
                "replicas": store.replicas, "leaders": store.leaders, "version": store.version,
                "incarnation": store.incarnation.0, "uptime_ms": u64::try_from(store.uptime.as_millis()).unwrap_or(u64::MAX),
                "disk_total_bytes": store.disk_total_bytes, "disk_free_bytes": store.disk_free_bytes,
                "client_address": store.client_address, "store_address": store.store_address,
            })
        })
        .collect();
    let site_list: Vec<_> = sites
        .sites
        .iter()
        .map(|site| {
            json!({
                "site": site.name.as_str(), "identity": site.identity, "stores": site.stores, "alive": site.alive,
                "replicas": site.replicas, "leaders": site.leaders, "headroom": site.headroom,
            })
        })
        .collect();
    let mut all = json!({
        "fleet": sites.fleet.to_string(),
        "sites": site_list,
        "stores": store_list,
        "ranges": ranges.len(),
        "ranges_led": led(ranges),
        "headroom": sites.headroom,
        "warnings": sites.warnings,
    });
    if with_ranges {
        let list: Vec<_> = ranges.iter().map(range_json).collect();
        if let serde_json::Value::Object(fields) = &mut all {
            fields.insert("range_list".into(), list.into());
        }
    }
    all
}

fn range_json(range: &RangeStatus) -> serde_json::Value {
    let descriptor = &range.descriptor;
    let replica = |r: &ReplicaDescriptor| {
        let role = v1::ReplicaRole::from(r.role).as_str_name();
        json!({
            "replica": r.replica.0, "store": r.store.0, "site": r.site.as_str(), "role": role,
            "applied_index": applied_on(range, r.store), "behind": behind(range, r.store),
        })
    };
    let replicas: Vec<_> = descriptor.replicas.iter().map(replica).collect();
    json!({
        "range": descriptor.range.0,
        "start": descriptor.bounds.start.in_full(),
        "end": descriptor.bounds.end.as_ref().map(Key::in_full),
        "keyspace": range.keyspace,
        "leader": range.leader.map(|leader| leader.0),
        "approximate_bytes": range.approximate_bytes,
        "replicas": replicas,
    })
}

#[cfg(test)]
mod tests {
    use holdfast_client::admin::{KeyspaceId, LogIndex};

    use super::*;
    use crate::fixtures;

    #[test]
    fn a_replica_that_catches_up_is_seen_and_a_site_is_not_taken_for_a_store() {
        // Sites that are called like stores.
        let mut range = fixtures::range(7, &[(1, "s3"), (2, "s1"), (3, "s2")], 0);
        range.descriptor.bounds.start = Key::bound(KeyspaceId(1), b"a");
        range.descriptor.replicas[2].role = Role::Learner;
        range.applied = [(StoreId(1), LogIndex(90)), (StoreId(2), LogIndex(40))].into();
        let table = range_table(std::slice::from_ref(&range)).to_string();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["range", "start", "end", "store", "site", "role", "applied", "behind"]);
        assert_eq!(rows[1], ["r7", "/1/a", "/max", "s1", "s3", "leader", "90", "0"]);
        assert_eq!(rows[2], ["s2", "s1", "voter", "40", "50"]);
        assert_eq!(rows[3], ["s3", "s2", "learner", "-", "-"], "its store did not answer");
        let replicas = &range_json(&range)["replicas"];
        assert_eq!((&replicas[1]["applied_index"], &replicas[1]["behind"]), (&json!(40), &json!(50)));
        assert_eq!(replicas[2]["applied_index"], json!(null));
    }
}

//! `holdfast status` and `holdfast init`: looking at a fleet from outside.

use std::time::Duration;

use anyhow::Context;
use holdfast_proto::v1;
use holdfast_proto::v1::fleet_client::FleetClient;
use serde_json::json;
use tonic::transport::{Channel, Endpoint};

use crate::cli::{InitArgs, StatusArgs};
use crate::table::Table;

/// How long to wait for a store.
const PATIENCE: Duration = Duration::from_secs(15);

/// Connects to the fleet service of a store.
pub async fn connect(address: &str) -> anyhow::Result<FleetClient<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .with_context(|| format!("{address:?} is not an address like 127.0.0.1:7300"))?
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE);
    let channel = endpoint.connect().await.with_context(|| format!("no store answers at {address}"))?;
    Ok(FleetClient::new(channel))
}

/// `holdfast init`.
pub async fn init(args: &InitArgs) -> anyhow::Result<()> {
    let request = v1::InitRequest { sites: Vec::new(), fleet_token: args.fleet_token.clone() };
    let answer = connect(&args.at).await?.init(request).await;
    let answer = answer.map_err(|status| anyhow::anyhow!("{}", status.message()))?.into_inner();
    let fleet = fleet_text(answer.fleet);
    if args.json {
        println!("{}", json!({ "fleet": fleet }));
    } else {
        println!("Fleet {fleet} exists. Start other stores with --join {}", args.at);
    }
    Ok(())
}

/// `holdfast status`.
pub async fn status(args: &StatusArgs) -> anyhow::Result<()> {
    let mut client = connect(&args.at).await?;
    let fleet = client.describe(v1::DescribeRequest {}).await?.into_inner();
    let mut ranges = Vec::new();
    if fleet.fleet.is_some() {
        let mut request = v1::LocateRequest { limit: 1_000, ..v1::LocateRequest::default() };
        loop {
            let page = client.locate(request.clone()).await?.into_inner();
            ranges.extend(page.ranges);
            let Some(resume) = page.resume else { break };
            request.bounds = Some(v1::KeyRange { start: resume, end: None });
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&as_json(&fleet, &ranges, args.ranges))?);
        return Ok(());
    }
    print_fleet(&fleet, &ranges);
    if args.ranges {
        print_ranges(&ranges);
    }
    Ok(())
}

fn fleet_text(fleet: Option<v1::Id128>) -> String {
    fleet.map_or_else(|| "-".into(), |id| format!("{:016x}{:016x}", id.high, id.low))
}

fn print_fleet(fleet: &v1::DescribeResponse, ranges: &[v1::LocatedRange]) {
    if fleet.fleet.is_none() {
        println!("This store is not a member of a fleet yet: run `holdfast init` once, or start it with --join.");
        return;
    }
    let led = ranges.iter().filter(|range| range.leader.is_some()).count();
    println!(
        "Fleet {}: {} sites, {} stores, {} ranges ({led} led)",
        fleet_text(fleet.fleet),
        fleet.sites.len(),
        fleet.stores.len(),
        ranges.len()
    );
    let mut table = Table::new(&["store", "site", "alive", "replicas", "leaders", "clients at", "stores at"]);
    for store in &fleet.stores {
        table.row(vec![
            format!("s{}", store.store_id),
            store.site.clone(),
            if store.alive { "yes" } else { "no" }.into(),
            store.replicas.to_string(),
            store.leaders.to_string(),
            store.client_address.clone(),
            store.store_address.clone(),
        ]);
    }
    print!("{table}");
    for warning in &fleet.warnings {
        println!("warning: {warning}");
    }
}

fn print_ranges(ranges: &[v1::LocatedRange]) {
    let mut table = Table::new(&["range", "start", "end", "leader", "replicas"]);
    for range in ranges {
        let Some(descriptor) = &range.descriptor else { continue };
        let bounds = descriptor.bounds.clone().unwrap_or_default();
        let replicas: Vec<_> = descriptor.replicas.iter().map(|r| format!("s{}:{}", r.store_id, r.site)).collect();
        table.row(vec![
            format!("r{}", descriptor.range_id),
            key_text(&bounds.start),
            bounds.end.as_ref().map_or_else(|| "/max".into(), key_text),
            range.leader.as_ref().map_or_else(|| "-".into(), |leader| format!("s{}", leader.store_id)),
            replicas.join(" "),
        ]);
    }
    print!("{table}");
}

fn key_text(raw: &bytes::Bytes) -> String {
    holdfast_types::Key::from_raw(raw.clone()).map_or_else(|_| raw.escape_ascii().to_string(), |key| key.to_string())
}

fn as_json(fleet: &v1::DescribeResponse, ranges: &[v1::LocatedRange], with_ranges: bool) -> serde_json::Value {
    let stores: Vec<_> = fleet
        .stores
        .iter()
        .map(|store| {
            json!({
                "store": store.store_id, "site": store.site, "alive": store.alive, "replicas": store.replicas,
                "leaders": store.leaders, "client_address": store.client_address, "store_address": store.store_address,
            })
        })
        .collect();
    let mut all = json!({
        "fleet": fleet.fleet.is_some().then(|| fleet_text(fleet.fleet)),
        "stores": stores,
        "ranges": ranges.len(),
        "ranges_led": ranges.iter().filter(|range| range.leader.is_some()).count(),
        "warnings": fleet.warnings,
    });
    if with_ranges {
        let list: Vec<_> = ranges.iter().filter_map(range_json).collect();
        all["range_list"] = list.into();
    }
    all
}

fn range_json(range: &v1::LocatedRange) -> Option<serde_json::Value> {
    let descriptor = range.descriptor.as_ref()?;
    let bounds = descriptor.bounds.clone().unwrap_or_default();
    let replicas: Vec<_> = descriptor
        .replicas
        .iter()
        .map(
            |r| json!({ "replica": r.replica_id, "store": r.store_id, "site": r.site, "role": r.role().as_str_name() }),
        )
        .collect();
    Some(json!({
        "range": descriptor.range_id,
        "start": key_text(&bounds.start),
        "end": bounds.end.as_ref().map(key_text),
        "leader": range.leader.as_ref().map(|leader| leader.store_id),
        "replicas": replicas,
    }))
}

//! Links between sites that are cut, each site a network namespace of its own. While something is cut, every store that has a way to
//! a majority takes writes for every range; nothing is lost, nothing is done twice; afterwards everything is as before.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use holdfast_benches::fleet::{HEARTBEAT_PORT, STORE_PORT};
use holdfast_benches::record::WriteEnd;
use holdfast_benches::stalls::pinned::Pinned;
use holdfast_benches::wires::cut::{Cut, End, How, Traffic, link, one_way};
use holdfast_benches::wires::inside::inside;
use holdfast_benches::wires::{Wires, why_not};
use holdfast_client::Security;
use holdfast_tests::load::{Background, row_key, rows};
use holdfast_tests::scene::{Scene, skip};
use holdfast_tests::wait;
use holdfast_types::limits;

const SITES: usize = 3;
const RANGES: usize = 6;
/// Intervals of support after which the fleet has become what it stays while the cut lasts.
const INTERVALS: u32 = 5;
const A: End = End::Site(0);
const B: End = End::Site(1);
const C: End = End::Site(2);

/// What is cut, and the stores that keep a way to a majority and so must take every write.
struct Case {
    cuts: Vec<Cut>,
    serving: &'static [usize],
}

/// All sites are cut off from site a alike.
fn around_a(traffic: Traffic, how: How) -> Vec<Cut> {
    [B, C].iter().flat_map(|other| link(A, *other, traffic, how)).collect()
}

/// Plays a case on a fleet of its own, from outside of all sites.
async fn play(case: Case) {
    if let Some(reason) = why_not() {
        return skip(&reason);
    }
    let wires = Arc::new(Wires::lay(SITES).unwrap());
    let driven = Arc::clone(&wires);
    let work = move || async move {
        run(case, &driven).await;
        Ok(())
    };
    inside(wires.outside(), work).unwrap().finish().await.unwrap();
}

async fn run(case: Case, wires: &Wires) {
    let Some(mut scene) = Scene::prepare(SITES, 1).await else { return };
    scene.fleet.place(wires).unwrap();
    scene.fleet.start().await.unwrap();
    let load = Background::start(&mut scene, RANGES).await;
    // Connected before anything is cut, as applications are.
    let mut clients = Vec::new();
    for store in scene.fleet.stores() {
        clients.push(Pinned::connect(store.client, Security::Plain).await.unwrap());
    }
    write_everywhere(&mut clients, &[0, 1, 2], "before").await;
    wires.cut(&case.cuts).unwrap();
    // Again and again until every promise has run out that a store had when it was cut off.
    let cut_at = Instant::now();
    while cut_at.elapsed() < limits::SUPPORT_INTERVAL * INTERVALS {
        write_everywhere(&mut clients, case.serving, "during").await;
    }
    wires.heal().unwrap();
    write_everywhere(&mut clients, &[0, 1, 2], "after").await;
    load.progress().await;
    scene.fleet.wait_spread(wait::PATIENCE).await.unwrap();
    assert_eq!(load.finish().await, 0, "a client that may go to any store saw an error");
}

/// Writes a row of every range through each of these stores, by clients that talk to no other. A client tries for its deadline,
/// 10 s: far longer than a range may be without a leader.
async fn write_everywhere(clients: &mut [Pinned], stores: &[usize], when: &str) {
    for store in stores {
        for range in 0..RANGES {
            let key = format!("{}/by-store-{store}", row_key(range * rows().len() / RANGES));
            let written = clients[*store].put(Bytes::from(key), Bytes::copy_from_slice(when.as_bytes())).await;
            let end = written.unwrap_or_else(|failed| panic!("{when}: store {store}, range {range}: {}", failed.what));
            assert_eq!(end, WriteEnd::Acknowledged);
        }
    }
}

#[tokio::test]
async fn a_store_port_that_is_cut_while_heartbeats_pass_costs_the_other_sites_nothing() {
    play(Case { cuts: around_a(Traffic::Port(STORE_PORT), How::Drop), serving: &[1, 2] }).await;
}

#[tokio::test]
async fn a_heartbeat_port_that_is_cut_costs_no_site_anything() {
    play(Case { cuts: around_a(Traffic::Port(HEARTBEAT_PORT), How::Drop), serving: &[0, 1, 2] }).await;
}

#[tokio::test]
async fn packets_that_pass_one_way_only_cost_the_other_sites_nothing() {
    let cuts = [B, C].iter().flat_map(|other| one_way(A, *other, Traffic::Everything, How::Drop)).collect();
    play(Case { cuts, serving: &[1, 2] }).await;
}

#[tokio::test]
async fn a_store_port_that_is_cut_on_one_link_costs_no_site_anything() {
    play(Case { cuts: link(A, B, Traffic::Port(STORE_PORT), How::Reject), serving: &[0, 1, 2] }).await;
}

#[tokio::test]
async fn two_sites_that_see_only_the_third_take_all_writes() {
    play(Case { cuts: link(A, B, Traffic::Everything, How::Drop), serving: &[0, 1, 2] }).await;
}

//! Stores that come back under other addresses, as pods do: they find each other as long as there is a path.

use std::collections::BTreeSet;
use std::net::TcpListener;

use holdfast_tests::raw;
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;

/// How the stores of a fleet of three get other addresses.
#[derive(Clone, Debug)]
enum Move {
    /// These get new ones.
    Away(Vec<usize>),
    /// Store `i` gets those that store `from[i]` had.
    Round([usize; 3]),
}

fn subsets() -> Vec<Move> {
    let subset = |bits: usize| (0..3).filter(|store| bits & (1 << store) != 0).collect();
    (1..8).map(|bits| Move::Away(subset(bits))).collect()
}

fn rotations() -> Vec<Move> {
    [[1, 2, 0], [2, 0, 1], [1, 0, 2], [0, 2, 1], [2, 1, 0]].map(Move::Round).into()
}

/// How they are started after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    /// Each names the others' new addresses.
    Joining,
    /// The same, and what each had written down of the others is gone.
    Forgetful,
    /// Nobody names anybody: what each has written down is all there is.
    FromMemory,
}

struct Moving {
    scene: Scene,
    rounds: usize,
}

impl Moving {
    async fn begin() -> Option<Self> {
        let mut scene = Scene::start(1).await?;
        scene.client().await.put("kept", "since the beginning").await.unwrap();
        scene.fleet.kill_all(&[0, 1, 2]).unwrap();
        Some(Self { scene, rounds: 0 })
    }

    /// Moves the stores, starts all but `down`, sees them find each other; then starts that one too. Ends with all of them down.
    async fn round(&mut self, how: &Move, start: Start, down: Option<usize>) {
        self.rounds += 1;
        let what = format!("round {}: {how:?}, {start:?}, down: {down:?}", self.rounds);
        let fleet = &mut self.scene.fleet;
        match how {
            Move::Away(stores) => fleet.move_stores(stores).unwrap(),
            Move::Round(from) => fleet.hand_round(from).unwrap(),
        }
        let first: Vec<_> = (0..3).filter(|store| Some(*store) != down).collect();
        for store in &first {
            self.start(*store, start);
        }
        self.have_met(&what, &first).await;
        if let Some(late) = down {
            self.start(late, start);
            self.have_met(&what, &[0, 1, 2]).await;
        }
        self.scene.fleet.kill_all(&[0, 1, 2]).unwrap();
    }

    fn start(&mut self, store: usize, start: Start) {
        let fleet = &mut self.scene.fleet;
        if start == Start::Forgetful {
            std::fs::remove_file(fleet.stores()[store].data_dir.join("directory.json")).unwrap();
        }
        let others = fleet.stores().iter().enumerate().filter(|(other, _)| *other != store);
        let join: Vec<_> = others.map(|(_, other)| other.client.to_string()).collect();
        fleet.start_joining(store, if start == Start::FromMemory { &[] } else { &join }).unwrap();
    }

    /// Each of the stores reaches all others of them, and serves a write and a read.
    async fn have_met(&self, what: &str, stores: &[usize]) {
        let wanted: BTreeSet<_> =
            stores.iter().map(|store| self.scene.fleet.stores()[*store].client.to_string()).collect();
        for store in stores {
            wait::until(&format!("{what}: store {store} knows where the others are"), async || {
                let mut fleet = self.scene.fleet.fleet_client(*store).await.ok()?;
                let described = fleet.describe(holdfast_proto::v1::DescribeRequest {}).await.ok()?.into_inner();
                let alive = described.stores.into_iter().filter(|store| store.alive).map(|store| store.client_address);
                (alive.collect::<BTreeSet<_>>() == wanted).then_some(())
            })
            .await;
            wait::until(&format!("{what}: store {store} serves"), async || {
                let client = self.scene.fleet.fleet_client(*store).await.ok().map(drop);
                client?;
                let mut kv = raw::kv(self.scene.fleet.stores()[*store].client).await;
                kv.put(raw::put(&format!("round/{}", self.rounds), what, None)).await.ok()?;
                let kept = kv.get(raw::get("kept")).await.ok()?.into_inner().value?;
                assert_eq!(kept.value, "since the beginning");
                Some(())
            })
            .await;
        }
    }
}

async fn all_find_each_other(moves: Vec<Move>) {
    let Some(mut moving) = Moving::begin().await else { return };
    let begun = std::time::Instant::now();
    for (number, how) in moves.iter().enumerate() {
        moving.round(how, Start::Joining, None).await;
        moving.round(how, Start::Forgetful, None).await;
        moving.round(how, Start::Joining, Some(number % 3)).await;
        moving.round(how, Start::Forgetful, Some((number + 1) % 3)).await;
    }
    println!("{} rounds in {:?}", moving.rounds, begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_moved_together_find_each_other() {
    all_find_each_other(subsets()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_whose_addresses_were_handed_round_find_each_other() {
    all_find_each_other(rotations()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_moved_find_each_other_by_what_they_have_written_down() {
    let Some(mut moving) = Moving::begin().await else { return };
    // The founding store is the first one. As long as one stays where it was, the others find it, and by it each other.
    for stores in [[0].to_vec(), [1].to_vec(), [0, 1].to_vec(), [1, 2].to_vec(), [0, 2].to_vec()] {
        moving.round(&Move::Away(stores), Start::FromMemory, None).await;
    }
    for how in rotations() {
        moving.round(&how, Start::FromMemory, None).await;
    }
    moving.round(&Move::Away(vec![0]), Start::FromMemory, Some(1)).await;
}

/// Addresses where connections are taken and nothing is ever said.
fn frozen(count: usize) -> (Vec<TcpListener>, Vec<String>) {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
    (listeners, addresses)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_frozen_holds_nobody_up() {
    let Some(mut scene) = Scene::prepare(3, 1).await else { return };
    // Each of them would take fifteen seconds to give up: one after the other is far beyond what the test waits.
    let (_listeners, silent) = frozen(8);
    let real = scene.fleet.stores()[0].client.to_string();
    let lonely = scene.fleet.stores()[2].client.to_string();
    scene.fleet.start_store(0).unwrap();
    scene.fleet.wait_listening(0).await.unwrap();
    scene.fleet.fleet_client(0).await.unwrap().init(holdfast_proto::v1::InitRequest::default()).await.unwrap();
    let past_all = [silent.clone(), vec![real.clone()]].concat();
    scene.fleet.start_joining(1, &past_all).unwrap();
    wait::until("the second store is a member", async || {
        let mut fleet = scene.fleet.fleet_client(1).await.ok()?;
        let described = fleet.describe(holdfast_proto::v1::DescribeRequest {}).await.ok()?.into_inner();
        (described.stores.len() == 2).then_some(())
    })
    .await;
    let status = scene.run(&["status", "--json", "--at", &past_all.join(",")]).await;
    assert!(status.status.success(), "{status:?}");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["stores"].as_array().unwrap().len(), 2, "{status}");
    // Nor does one where a store waits for a fleet.
    scene.fleet.start_joining(2, &[]).unwrap();
    scene.fleet.wait_listening(2).await.unwrap();
    let status = scene.run(&["status", "--at", &format!("{lonely},{real}")]).await;
    assert!(String::from_utf8_lossy(&status.stdout).starts_with("Fleet "), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_says_whom_it_does_not_reach_in_its_probe_and_in_the_status_of_the_fleet() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let (site, address) = (scene.fleet.stores()[2].site.clone(), scene.fleet.stores()[2].store.to_string());
    let http = scene.fleet.stores()[0].http;
    scene.fleet.kill_all(&[2]).unwrap();
    let says = |text: &str| text.contains(&format!("({site}) is not reached: tried {address}: "));
    wait::until("the probe names it, and is ok", async || {
        let answer = raw::http_get(http, "/readyz").await?;
        (answer.starts_with("HTTP/1.1 200") && says(&answer)).then_some(())
    })
    .await;
    wait::until("so does the status", async || {
        let status = scene.run(&["status"]).await;
        says(&String::from_utf8_lossy(&status.stdout)).then_some(())
    })
    .await;
    scene.fleet.start_store(2).unwrap();
    wait::until("the words go when it is back", async || {
        let answer = raw::http_get(http, "/readyz").await?;
        (answer.starts_with("HTTP/1.1 200") && !says(&answer)).then_some(())
    })
    .await;
}

//! Attacks on the ports of real stores. Each asserts what the attacked store may take of its machine, that its probes answered all the while,
//! and that a well-behaved client saw no error. How that client's latency changed is printed: `make attack` shows it.
//!
//! Attackers come from 127.0.0.2 and up, honest clients from 127.0.0.1: a port tells strangers apart by their address.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod answers;
mod connections;
mod frames;
mod honest;
mod messages;
mod probes;
mod stores;

use std::time::Duration;

use holdfast_edge::descriptors;
use holdfast_tests::raw::{self, put};
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use holdfast_tests::watched::{self, Probes, Reader};
use tokio::runtime::Runtime;

/// What no attack makes a store take.
const MOST_RSS_BYTES: u64 = 400 << 20;
/// A well-behaved client is watched for so long before the attack.
const CALM: Duration = Duration::from_secs(2);
/// A value of the size that attackers ask for.
const LARGE: &str = "attack/large";
/// A value that honest clients ask for.
const SMALL: &str = "attack/small";

/// A fleet, of which the store that leads the keys of the tests is attacked.
struct Attacked {
    scene: Scene,
    store: usize,
    /// Attackers run here, and give way to everybody else: on this machine they would take the processors that the store and its clients need,
    /// which those of other machines don't.
    attackers: Option<Runtime>,
}

impl Drop for Attacked {
    fn drop(&mut self) {
        if let Some(attackers) = self.attackers.take() {
            attackers.shutdown_background();
        }
    }
}

/// A runtime whose threads run when nobody else wants to.
fn giving_way() -> Runtime {
    let give_way = || rustix::process::setpriority_process(None, 19).expect("a thread may always give way");
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    threads.enable_all().on_thread_start(give_way).build().unwrap()
}

impl Attacked {
    /// Files that the stores may have open: soft, hard. `None`: as many as this process.
    async fn start(files: Option<(usize, usize)>) -> Option<Self> {
        // Attackers have no limits.
        let _ = descriptors::raise_limit();
        let mut scene = Scene::prepare(3, 1).await?;
        if let Some((soft, hard)) = files {
            scene.limit_files(soft, hard);
        }
        scene.fleet.start().await.expect("the fleet starts");
        let mut kv = raw::kv(scene.fleet.stores()[0].client).await;
        kv.put(put(SMALL, "small", None)).await.unwrap();
        kv.put(put(LARGE, &"v".repeat(1 << 20), None)).await.unwrap();
        let store = scene.leader_of(0, LARGE).await;
        Some(Self { scene, store, attackers: Some(giving_way()) })
    }

    fn client_port(&self) -> std::net::SocketAddr {
        self.scene.fleet.stores()[self.store].client
    }

    fn store_port(&self) -> std::net::SocketAddr {
        self.scene.fleet.stores()[self.store].store
    }

    fn http_port(&self) -> std::net::SocketAddr {
        self.scene.fleet.stores()[self.store].http
    }

    fn pid(&self) -> u32 {
        self.scene.fleet.pid(self.store).expect("the store runs")
    }

    async fn metric(&self, name: &str) -> f64 {
        watched::metric(self.http_port(), name, "clients").await.expect("metrics are there")
    }

    /// Waits until the port holds next to nothing, though the attackers are still connected.
    async fn until_let_go(&self, most: f64) {
        wait::until("what nobody takes is let go", async || {
            (self.metric("holdfast_port_held_bytes").await <= most).then_some(())
        })
        .await;
    }

    /// Attacks, and judges.
    async fn by<T>(&mut self, name: &str, attack: impl AsyncFnOnce(&Attacked) -> T) -> T {
        let reader = async || Reader::begin(raw::kv(self.client_port()).await, SMALL);
        let calm = reader().await;
        tokio::time::sleep(CALM).await;
        let (before, errors) = calm.end().await;
        assert!(errors.is_empty(), "before the attack: {errors:?}");
        let (probes, beside) = (Probes::begin(self.http_port()), reader().await);
        let attackers = self.attackers.as_ref().expect("it is there until the end");
        let left = tokio::task::block_in_place(|| attackers.block_on(attack(self)));
        let ((during, errors), (answered, failed)) = (beside.end().await, probes.end());
        let (pid, store) = (self.pid(), self.store);
        let (peak, files) = (watched::peak_rss_bytes(pid), watched::open_files(pid));
        let at = |percent| (watched::percentile(&before, percent), watched::percentile(&during, percent));
        let ((p50_before, p50), (p99_before, p99)) = (at(50), at(99));
        println!(
            "{name}: peak {} MiB, {files} files, {answered} probes answered; reads p50 {p50_before:?} -> {p50:?} ({:.1}x), p99 {p99_before:?} -> \
             {p99:?} ({:.1}x), {} before, {} during",
            peak >> 20,
            p50.as_secs_f64() / p50_before.as_secs_f64(),
            p99.as_secs_f64() / p99_before.as_secs_f64(),
            before.len(),
            during.len(),
        );
        assert!(peak <= MOST_RSS_BYTES, "{name}: the store took {} MiB", peak >> 20);
        assert!(failed.is_empty(), "{name}: probes failed: {failed:?}");
        assert!(answered > 0 && !during.is_empty(), "{name}: nobody was served");
        assert!(errors.is_empty(), "{name}: an honest client saw {errors:?}");
        assert!(self.scene.fleet.is_running(store), "{name}: the store ended");
        assert!(!self.scene.fleet.log(store).contains("panicked"), "{name}: the store panicked");
        left
    }
}

//! What a store takes of its machine while somebody attacks it, and how it answers others meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_proto::v1::kv_client::KvClient;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::raw;

/// A probe that takes longer than this has failed.
const PROBE_WITHIN: Duration = Duration::from_secs(5);
/// How often probes ask.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// The most memory that a process ever had, in bytes.
#[must_use]
pub fn peak_rss_bytes(pid: u32) -> u64 {
    field_of_status(pid, "VmHWM:")
}

/// The memory that a process has now, in bytes.
#[must_use]
pub fn rss_bytes(pid: u32) -> u64 {
    field_of_status(pid, "VmRSS:")
}

fn field_of_status(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = field.and_then(|field| field.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

/// Files that a process has open now.
#[must_use]
pub fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// A figure of a store, from its metrics.
pub async fn metric(http: SocketAddr, name: &str, port: &str) -> Option<f64> {
    let page = raw::http_get(http, "/metrics").await?;
    let series = format!("{name}{{port=\"{port}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
}

/// Asks for the health of a store all the while.
pub struct Probes {
    failed: Arc<Mutex<Vec<String>>>,
    answered: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Probes {
    /// Begins.
    #[must_use]
    pub fn begin(http: SocketAddr) -> Self {
        let (failed, answered) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
        let (failures, answers) = (Arc::clone(&failed), Arc::clone(&answered));
        let task = tokio::spawn(async move {
            loop {
                for path in ["/livez", "/readyz"] {
                    match tokio::time::timeout(PROBE_WITHIN, raw::http_get(http, path)).await {
                        Ok(Some(answer)) if answer.starts_with("HTTP/1.1 200") => {
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                        other => failures.lock().push(format!("{path}: {other:?}")),
                    }
                }
                tokio::time::sleep(PROBE_EVERY).await;
            }
        });
        Self { failed, answered, task }
    }

    /// Ends, and returns how many were answered and which were not.
    #[must_use]
    pub fn end(self) -> (u64, Vec<String>) {
        self.task.abort();
        (self.answered.load(Ordering::Relaxed), std::mem::take(&mut *self.failed.lock()))
    }
}

/// A well-behaved client without a library of its own: one small read after the other.
pub struct Reader {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(Vec<Duration>, Vec<String>)>,
}

impl Reader {
    /// Begins to read `key`.
    #[must_use]
    pub fn begin(mut kv: KvClient<Channel>, key: &str) -> Self {
        let (stop, key) = (Arc::new(AtomicBool::new(false)), key.to_owned());
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let (mut took, mut errors) = (Vec::new(), Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                match kv.get(raw::get(&key)).await {
                    Ok(_) => took.push(begun.elapsed()),
                    Err(status) => errors.push(status.to_string()),
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            took.sort_unstable();
            (took, errors)
        });
        Self { stop, task }
    }

    /// Ends; returns the durations in order, and errors.
    ///
    /// # Panics
    /// When the client panicked.
    pub async fn end(self) -> (Vec<Duration>, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the reader does not panic")
    }
}

/// The duration below which so many percent lie.
#[must_use]
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).or(sorted.last()).copied().unwrap_or_default()
}

/// Processor time that a process has taken.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything; behind its parenthesis user and system time are the 12th and 13th, in hundredths.
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    let ticks: f64 = behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks / 100.0
}

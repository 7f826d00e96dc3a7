//! The floor: what three replicas cost at the very least. Three logs in this process, each with its thread: everything that
//! waits is appended together and synced (fdatasync); what two logs have is applied to a map and acknowledged.
//!
//! No network, no elections, no leases, no request ids, no versions, no store that outlives the process. What a replicated store
//! adds to this is its own doing.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use holdfast_output::errln;
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::oneshot;

use super::{Peer, Session};

const REPLICAS: usize = 3;
/// The replica that answers.
const LEADER: usize = 0;

type Map = BTreeMap<Bytes, Bytes>;

struct Entry {
    index: u64,
    key: Bytes,
    value: Bytes,
}

/// What waits for one log.
#[derive(Default)]
struct Queue {
    entries: Mutex<Vec<Arc<Entry>>>,
    filled: Condvar,
}

/// What is synced, and who waits for it.
struct Commit {
    synced: [u64; REPLICAS],
    committed: u64,
    waiting: VecDeque<(Arc<Entry>, oneshot::Sender<()>)>,
    ended: bool,
}

/// - Entries reach every queue, and `waiting`, in the order of their indexes.
/// - An entry is applied by the leader when two logs have synced it, in this order, once.
struct Group {
    last_index: Mutex<u64>,
    queues: [Queue; REPLICAS],
    commit: Mutex<Commit>,
    maps: [RwLock<Map>; REPLICAS],
}

impl Group {
    fn new() -> Self {
        let commit = Commit { synced: [0; REPLICAS], committed: 0, waiting: VecDeque::new(), ended: false };
        Self {
            last_index: Mutex::new(0),
            queues: Default::default(),
            commit: Mutex::new(commit),
            maps: Default::default(),
        }
    }

    fn propose(&self, key: Bytes, value: Bytes) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        let mut last_index = self.last_index.lock();
        *last_index += 1;
        let entry = Arc::new(Entry { index: *last_index, key, value });
        self.commit.lock().waiting.push_back((Arc::clone(&entry), done));
        for queue in &self.queues {
            queue.entries.lock().push(Arc::clone(&entry));
            queue.filled.notify_one();
        }
        answer
    }

    /// Takes in that a log is synced up to here; whoever completes a quorum applies for the leader and answers.
    fn synced(&self, replica: usize, index: u64) {
        let mut commit = self.commit.lock();
        commit.synced[replica] = index;
        let mut sorted = commit.synced;
        sorted.sort_unstable();
        commit.committed = sorted[REPLICAS / 2];
        let mut map = self.maps[LEADER].write();
        let mut answers = Vec::new();
        while commit.waiting.front().is_some_and(|(entry, _)| entry.index <= commit.committed) {
            let (entry, done) = commit.waiting.pop_front().expect("there is a first one");
            map.insert(entry.key.clone(), entry.value.clone());
            answers.push(done);
        }
        drop((map, commit));
        for done in answers {
            // A client that went away needs no answer.
            let _ = done.send(());
        }
    }

    fn has_ended(&self) -> bool {
        self.commit.lock().ended
    }

    fn end(&self) {
        self.commit.lock().ended = true;
        for queue in &self.queues {
            let _entries = queue.entries.lock();
            queue.filled.notify_all();
        }
    }
}

/// The thread of one log.
fn keep_log(group: &Group, replica: usize, mut log: File) -> anyhow::Result<()> {
    let mut buffer = Vec::new();
    let mut unapplied = VecDeque::new();
    loop {
        let batch = {
            let queue = &group.queues[replica];
            let mut entries = queue.entries.lock();
            while entries.is_empty() {
                if group.has_ended() {
                    return Ok(());
                }
                queue.filled.wait(&mut entries);
            }
            std::mem::take(&mut *entries)
        };
        buffer.clear();
        for entry in &batch {
            encode(&mut buffer, entry)?;
        }
        log.write_all(&buffer)?;
        log.sync_data()?;
        group.synced(replica, batch.last().expect("the batch is not empty").index);
        if replica != LEADER {
            unapplied.extend(batch);
            apply_committed(group, replica, &mut unapplied);
        }
    }
}

fn apply_committed(group: &Group, replica: usize, unapplied: &mut VecDeque<Arc<Entry>>) {
    let committed = group.commit.lock().committed;
    let mut map = group.maps[replica].write();
    while unapplied.front().is_some_and(|entry| entry.index <= committed) {
        let entry = unapplied.pop_front().expect("there is a first one");
        map.insert(entry.key.clone(), entry.value.clone());
    }
}

/// Index, lengths, key, value; headed by a checksum.
fn encode(buffer: &mut Vec<u8>, entry: &Entry) -> anyhow::Result<()> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&entry.index.to_le_bytes());
    buffer.extend_from_slice(&u32::try_from(entry.key.len())?.to_le_bytes());
    buffer.extend_from_slice(&u32::try_from(entry.value.len())?.to_le_bytes());
    buffer.extend_from_slice(&entry.key);
    buffer.extend_from_slice(&entry.value);
    let checksum = crc32c::crc32c(&buffer[start + 4..]);
    buffer[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// The floor. Dropping it ends its threads; the logs stay.
pub struct Floor {
    dir: PathBuf,
    group: Arc<Group>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Floor {
    /// A floor with its logs in `dir`; starts nothing.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, group: Arc::new(Group::new()), threads: Vec::new() }
    }
}

impl Peer for Floor {
    fn name(&self) -> &'static str {
        "floor"
    }

    fn version(&self) -> anyhow::Result<String> {
        Ok("three logs with fdatasync and a map, in one process, without network".to_owned())
    }

    fn start(&mut self) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            std::fs::create_dir_all(&self.dir)?;
            for replica in 0..REPLICAS {
                let log = File::create(self.dir.join(format!("log-{replica}")))?;
                let group = Arc::clone(&self.group);
                let work = move || keep_log(&group, replica, log);
                self.threads.push(std::thread::Builder::new().name(format!("floor-{replica}")).spawn(work)?);
            }
            Ok(())
        }
        .boxed()
    }

    fn connect(&self, clients: usize) -> BoxFuture<'_, anyhow::Result<Vec<Arc<dyn Session>>>> {
        let session = Arc::new(FloorSession(Arc::clone(&self.group))) as Arc<dyn Session>;
        async move { Ok((0..clients).map(|_| Arc::clone(&session)).collect()) }.boxed()
    }

    fn process_ids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn stop(&mut self) {
        self.group.end();
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => errln!("a log of the floor: {error:#}"),
                Err(_) => errln!("a log of the floor panicked"),
            }
        }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.stop();
    }
}

struct FloorSession(Arc<Group>);

impl Session for FloorSession {
    fn get(&self, key: Bytes) -> BoxFuture<'_, anyhow::Result<Option<Bytes>>> {
        async move { Ok(self.0.maps[LEADER].read().get(&key).cloned()) }.boxed()
    }

    fn put(&self, key: Bytes, value: Bytes) -> BoxFuture<'_, anyhow::Result<()>> {
        async move { self.0.propose(key, value).await.context("the log has ended") }.boxed()
    }

    fn scan(&self, start: Bytes, end: Bytes, rows: u32) -> BoxFuture<'_, anyhow::Result<usize>> {
        async move {
            let map = self.0.maps[LEADER].read();
            let rows =
                map.range(start..end).take(usize::try_from(rows)?).map(|(key, value)| (key.clone(), value.clone()));
            Ok(rows.collect::<Vec<_>>().len())
        }
        .boxed()
    }

    /// A read and a write; whether another client was faster is not asked: a floor does not promise anything.
    fn replace(&self, key: Bytes, value: Bytes) -> BoxFuture<'_, anyhow::Result<bool>> {
        async move {
            self.get(key.clone()).await?;
            self.put(key, value).await?;
            Ok(true)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_floor_keeps_what_it_acknowledged_in_at_least_two_logs() {
        let folder = tempfile::tempdir().unwrap();
        let mut floor = Floor::new(folder.path().to_owned());
        floor.start().await.unwrap();
        let sessions = floor.connect(4).await.unwrap();
        for number in 0..100u32 {
            let session = &sessions[number as usize % 4];
            session.put(Bytes::from(number.to_be_bytes().to_vec()), Bytes::from_static(b"v")).await.unwrap();
        }
        assert_eq!(sessions[0].scan(Bytes::new(), Bytes::from_static(&[255]), 1_000).await.unwrap(), 100);
        assert!(sessions[1].get(Bytes::from(99u32.to_be_bytes().to_vec())).await.unwrap().is_some());
        floor.stop();
        let length = |replica: usize| folder.path().join(format!("log-{replica}")).metadata().unwrap().len();
        let entry = 4 + 8 + 4 + 4 + 4 + 1;
        assert!((0..REPLICAS).filter(|replica| length(*replica) == 100 * entry).count() >= 2);
    }

    #[test]
    fn one_log_alone_acknowledges_nothing() {
        let group = Group::new();
        let mut answer = group.propose(Bytes::from_static(b"k"), Bytes::from_static(b"v"));
        group.synced(LEADER, 1);
        assert!(answer.try_recv().is_err());
        group.synced(2, 1);
        assert!(answer.try_recv().is_ok());
        assert_eq!(group.maps[LEADER].read().len(), 1);
    }
}

//! Between the thread that reads and the task that loads: entries in order, bounded by their bytes.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_types::limits;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, TryAcquireError, mpsc};

use super::reading::Digest;
use super::recipe::Row;
use super::rejects::Why;

/// One record on its way.
#[derive(Debug)]
pub struct Item {
    /// The line where it begins, from 1.
    pub line: u64,
    /// The digest of everything up to and including it.
    pub digest: Digest,
    /// The record as it is in the file, if its rejection would want it.
    pub raw: Bytes,
    /// What becomes of it.
    pub what: Fate,
}

/// What becomes of a record.
#[derive(Debug)]
pub enum Fate {
    /// It is loaded.
    Row(Row),
    /// It is not.
    Rejected(Why),
    /// It cannot be read, nor can anything behind it.
    Broken(String),
}

impl Item {
    /// The bytes that it holds, and some for itself.
    pub fn cost(&self) -> usize {
        let row = match &self.what {
            Fate::Row(row) => row.key.len().saturating_add(row.value.len()),
            Fate::Rejected(_) | Fate::Broken(_) => 0,
        };
        row.saturating_add(self.raw.len()).saturating_add(limits::IMPORT_ROW_OVERHEAD_BYTES)
    }

    /// What it takes of the queue: one that is larger than the queue takes all of it.
    fn permits(&self) -> u32 {
        u32::try_from(self.cost().min(limits::IMPORT_QUEUE_BYTES)).unwrap_or(u32::MAX)
    }
}

/// The end that reads, on a thread that may wait.
#[derive(Debug)]
pub struct Sender {
    items: mpsc::UnboundedSender<Item>,
    room: Arc<Semaphore>,
    runtime: Handle,
}

/// The end that loads.
#[derive(Debug)]
pub struct Receiver {
    items: mpsc::UnboundedReceiver<Item>,
    room: Arc<Semaphore>,
}

/// Nobody loads any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone;

/// Both ends. Must be called within a runtime.
pub fn queue() -> (Sender, Receiver) {
    let room = Arc::new(Semaphore::new(limits::IMPORT_QUEUE_BYTES));
    let (sender, receiver) = mpsc::unbounded_channel();
    let sender = Sender { items: sender, room: Arc::clone(&room), runtime: Handle::current() };
    (sender, Receiver { items: receiver, room })
}

impl Sender {
    /// Waits until there is room, and hands an item on.
    pub fn send(&self, item: Item) -> Result<(), Gone> {
        let permits = item.permits();
        let permit = match self.room.try_acquire_many(permits) {
            Err(TryAcquireError::NoPermits) => {
                self.runtime.block_on(self.room.acquire_many(permits)).map_err(|_| Gone)?
            }
            tried => tried.map_err(|_| Gone)?,
        };
        // It comes back when the item is taken.
        permit.forget();
        self.items.send(item).map_err(|_| Gone)
    }
}

impl Receiver {
    /// The next item; `None`: there is none any more.
    pub async fn next(&mut self) -> Option<Item> {
        self.items.recv().await.inspect(|item| self.taken(item))
    }

    /// The next item, if it is there already.
    pub fn next_now(&mut self) -> Option<Item> {
        self.items.try_recv().ok().inspect(|item| self.taken(item))
    }

    fn taken(&self, item: &Item) {
        self.room.add_permits(usize::try_from(item.permits()).unwrap_or_default());
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::Digest;
    use super::*;

    fn item(line: u64, bytes: usize) -> Item {
        let row = Row { key: Bytes::from_static(b"k"), value: vec![0; bytes].into(), expires: None };
        Item { line, digest: Digest::default(), raw: Bytes::new(), what: Fate::Row(row) }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_reader_waits_when_enough_is_read_and_ends_when_nobody_loads() {
        let (sender, mut receiver) = queue();
        let reads = tokio::task::spawn_blocking(move || {
            let sent = (0..u64::MAX).take_while(|line| sender.send(item(*line, 1 << 20)).is_ok()).count();
            assert_eq!(sender.send(item(0, 0)), Err(Gone));
            sent
        });
        // More than fits at a time comes, in order.
        for line in 0..50 {
            assert_eq!(receiver.next().await.unwrap().line, line);
        }
        drop(receiver);
        let sent = reads.await.unwrap();
        assert!((50..=50 + 8).contains(&sent), "{sent} were read, of 1 MiB each");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_item_that_is_larger_than_the_queue_goes_through_it_alone() {
        let (sender, mut receiver) = queue();
        let reads = tokio::task::spawn_blocking(move || {
            (0..3).for_each(|line| sender.send(item(line, 2 * limits::IMPORT_QUEUE_BYTES)).unwrap());
        });
        let mut lines = Vec::new();
        while let Some(item) = receiver.next().await {
            lines.push(item.line);
        }
        assert_eq!(lines, [0, 1, 2]);
        reads.await.unwrap();
    }
}

//! Stores that the same work is given to: Holdfast, etcd, and a floor that no replicated store goes below.
//!
//! To add another one, implement [`Peer`] and [`Session`] and name it in the program's `compare` command.

pub mod etcd;
pub mod floor;
pub mod holdfast;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

/// What one client may ask of a store. Reads are linearizable. A call that fails is not tried again by the caller.
pub trait Session: Send + Sync {
    /// Reads a key.
    fn get(&self, key: Bytes) -> BoxFuture<'_, anyhow::Result<Option<Bytes>>>;

    /// Writes a key.
    fn put(&self, key: Bytes, value: Bytes) -> BoxFuture<'_, anyhow::Result<()>>;

    /// Reads up to so many rows from `start` to before `end`; gives how many there were.
    fn scan(&self, start: Bytes, end: Bytes, rows: u32) -> BoxFuture<'_, anyhow::Result<usize>>;

    /// Reads a key and writes it if it is still as it was read; false: another client was faster, and nothing was written.
    fn replace(&self, key: Bytes, value: Bytes) -> BoxFuture<'_, anyhow::Result<bool>>;
}

/// A store that can be measured: three replicas on this machine.
pub trait Peer: Send {
    /// Its name in tables and JSON.
    fn name(&self) -> &'static str;

    /// What exactly is measured: its version, as it says itself.
    fn version(&self) -> anyhow::Result<String>;

    /// Starts it and waits until it takes writes.
    fn start(&mut self) -> BoxFuture<'_, anyhow::Result<()>>;

    /// Sessions for so many clients, spread over the replicas.
    fn connect(&self, clients: usize) -> BoxFuture<'_, anyhow::Result<Vec<Arc<dyn Session>>>>;

    /// Its processes; none for what runs within this one.
    fn process_ids(&self) -> Vec<u32>;

    /// Ends it; its data stays where it was put.
    fn stop(&mut self);
}

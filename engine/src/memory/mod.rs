//! The in-memory twin: both instances of a store on a [`MemoryDisk`] that a test or the simulator plans failures for.
//!
//! - `disk`: the disk, its planned faults, crashes and images
//! - `log`, `data`: the two instances, handles that die with the process they belong to
//! - `pages`: an ordered map whose copies are cheap

mod data;
mod disk;
mod log;
mod pages;
mod snapshot;

pub use data::{FlushToken, MemoryData};
pub use disk::{Crash, LogTail, MemoryDisk};
pub use log::{LogToken, MemoryLog};

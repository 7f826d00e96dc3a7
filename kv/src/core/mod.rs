//! The pure half of the store: no IO, no clock, no thread, no randomness.
//!
//! - [`worker`]: events in, effects out, for the ranges of one worker; its words in [`event`], [`effect`], [`message`]
//! - [`routing`], [`desk`], [`admission`], [`parking`], [`unled`], [`snapshots`], [`load`]: one idea each, used by the worker
//! - [`permit`]: what a request may do, whoever brings it; nothing else is taken in. What somebody in particular may, [`rights`] says
//! - [`support`]: the table of promises between stores, on a thread of its own; a restored disk is noticed there, see [`seen`],
//!   and a wall clock that is off, see [`clocks`]
//! - [`addresses`]: where the other stores are, by what is claimed and what is proved
//! - [`placement_loop`]: placement, where the system range is led; its values in [`records`], what it is told
//!   in [`report_parts`]
//! - [`recovery`]: from the disk to workers; who the store is in [`identity`]
//! - [`carry`]: what effects that wait for a disk come to, in whatever pool
//! - [`shared`]: what the workers of one store share; [`reader`]: the engine as the replica reads it; [`garbage`]: what of its data may go

pub mod addresses;
pub mod admission;
pub mod carry;
pub mod clocks;
pub mod desk;
pub mod effect;
pub mod event;
pub mod garbage;
pub mod identity;
pub mod load;
pub mod message;
pub mod parking;
pub mod permit;
pub mod placement_loop;
pub mod reader;
pub mod records;
pub mod recovery;
pub mod report_parts;
pub mod rights;
pub mod routing;
pub mod seen;
pub mod shared;
pub mod snapshots;
pub mod support;
pub mod unled;
pub mod worker;

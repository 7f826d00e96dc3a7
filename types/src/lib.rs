//! The words of Holdfast as Rust types. Layer 0: no IO, no clock, no thread.
//!
//! - [`address`]: what an address of a store looks like
//! - [`audit`]: the names of what is on record of who did what
//! - [`bounds`]: what a number from a socket or a disk may be
//! - [`durations`]: the units that people write
//! - [`ids`]: newtypes for everything that is counted or named
//! - [`key`]: keys and the order-preserving encoding of versions
//! - [`range`]: key ranges, replicas, range descriptors
//! - [`principal`]: who somebody is
//! - [`time`]: monotonic moments and hybrid logical timestamps
//! - [`request`]: what a client asks of one range, and what it is answered
//! - [`rejected`]: every typed refusal, and what to do about it
//! - [`rights`]: what somebody may do, where, and who was given it
//! - [`token`]: one-time tokens to join with
//! - [`validate`](mod@validate): what a well-formed request may still not ask
//! - [`storage`]: what the log and the data instance of a store hold, as plain data
//! - [`log_sizes`]: how many bytes a log takes, by position
//! - [`limits`]: every bound of the system, with its reason

pub mod address;
pub mod audit;
pub mod bounds;
pub mod durations;
pub mod ids;
pub mod key;
pub mod limits;
pub mod log_sizes;
pub mod principal;
pub mod range;
pub mod rejected;
pub mod request;
pub mod rights;
pub mod storage;
pub mod time;
pub mod token;
pub mod trust;
pub mod validate;

pub use bounds::OutOfBounds;
pub use ids::*;
pub use key::Key;
pub use log_sizes::LogSizes;
pub use principal::{Principal, PrincipalName, TrustDomain};
pub use range::{KeyRange, RangeDescriptor, RangeEpoch, ReplicaDescriptor, Role};
pub use rejected::Rejected;
pub use request::*;
pub use rights::{Clients, Grant, Grantee, Right, RoleName, Scope};
pub use time::{Hlc, Moment, Timestamp};
pub use token::{BadToken, JoinToken, TokenId};
pub use trust::{Fingerprint, RotationPhase};
pub use validate::validate;

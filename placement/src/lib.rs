//! Where replicas and leaders go. Layer 1, pure: no clock, no IO, no thread, no randomness.
//!
//! ```text
//! FleetView + Policies ──plan()──> operators ──one step at a time, by each range's leader──> descriptors ──> next view
//! ```
//!
//! The plan remembers nothing: it looks at each range's descriptor, in whatever state between two steps it is, and finds the
//! step that leads on from there. A placement leader that dies in the middle is continued by the next one.
//!
//! - [`view`]: what placement knows of stores and ranges
//! - [`policy`]: what is wanted, per keyspace, and the limits of moving
//! - [`operator`]: a planned change as data, made of steps
//! - [`guards`]: what every step must pass
//! - [`planner`]: one file per concern, and [`plan`] which orders them
//! - [`mod@headroom`]: what the survivors have to spare when a site is lost
//! - [`state`]: the names and records that placement keeps in the system range
//! - [`trust`]: of these, what is kept of whether sites are believed, and of a rotation of the root
//! - [`tokens`]: and of one-time tokens to join with
//! - [`distrust`]: what it means to distrust a site

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod distrust;
pub mod guards;
pub mod headroom;
mod layout;
pub mod operator;
pub mod planner;
pub mod policy;
pub mod state;
pub mod tokens;
pub mod trust;
pub mod view;

pub use distrust::{Meaning, judge_distrust};
pub use headroom::{Headroom, headroom};
pub use operator::{Influence, Operator, Reason, SplitPoint, Step};
pub use planner::{CannotLeave, Held, Plan, explain, judge_leaving, plan};
pub use policy::{MoveLimits, Policies, Policy, SurvivalGoal};
pub use state::{
    CannotMove, FormerIdentity, KeyspaceRecord, SiteRecord, SiteRefusal, StateKey, StoreAddresses, StoreRecord,
    admit_store, check_identity, move_site,
};
pub use tokens::{TokenRecord, TokenUse};
pub use trust::{CannotChangeTrust, Rotation, SiteTrust, change_trust};
pub use view::{FleetView, RangeLoad, RangeView, StoreView};

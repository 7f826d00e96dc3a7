//! What happened in a fleet, in plain types.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_proto::convert::BadMessage;
use holdfast_proto::v1;
use holdfast_types::bounds::cut;
use holdfast_types::{Incarnation, RangeId, SiteName, StoreId, Timestamp, limits};

use super::answers::{all, site, store};
use super::{AdminError, SilentStore};

/// Events, the newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Events {
    /// The newest first.
    pub events: Vec<Event>,
    /// There are older ones that the limit left out.
    pub more: bool,
    /// Stores that did not answer in time.
    pub silent: Vec<SilentStore>,
}

/// Something that happened at a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What kind.
    pub kind: EventKind,
    /// Fleet time at the store.
    pub at: Timestamp,
    /// Where it happened.
    pub store: StoreId,
    /// The site of that store.
    pub site: SiteName,
    /// The range that it concerns.
    pub range: Option<RangeId>,
    /// The store that it concerns, if that is another one.
    pub other_store: Option<StoreId>,
    /// A sentence.
    pub message: String,
    /// The start of the store that noted it.
    pub incarnation: Incarnation,
    /// Its number since that start.
    pub sequence: u64,
}

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What happened.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum EventKind {
            $($(#[$doc])* $name,)*
            /// A kind that this client does not know.
            Other,
        }

        impl EventKind {
            /// As a word for tables.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other => "other",
                }
            }

            fn from_v1(kind: v1::EventKind) -> Self {
                match kind {
                    $(v1::EventKind::$name => Self::$name,)*
                    v1::EventKind::Unspecified => Self::Other,
                }
            }
        }
    };
}

event_kinds! {
    /// A store's process became ready.
    StoreStarted = "store started",
    /// A store stopped in order.
    StoreStopped = "store stopped",
    /// A store lost the connection to another one.
    StoreLost = "store lost",
    /// A store hears another one that it did not hear before.
    StoreHeard = "store heard",
    /// A replica became leader.
    LeaderElected = "leader elected",
    /// A leader was followed by another one.
    LeaderHandedOver = "leader handed over",
    /// A range was cut in two.
    RangeSplit = "range split",
    /// A range has other replicas, or other roles for them.
    ReplicasChanged = "replicas changed",
    /// A replica was found damaged, and is kept but not used.
    ReplicaQuarantined = "replica quarantined",
    /// A quarantined replica was replaced and its data deleted.
    ReplicaCleared = "replica cleared",
    /// A store's disk is so full that it refuses writes.
    DiskFull = "disk full",
    /// There is room on a store's disk again.
    DiskOk = "disk ok",
    /// A store's disk, threads or clock are not fit for leading.
    Unfit = "unfit",
    /// They are again.
    Fit = "fit",
    /// Placement began a change.
    OperatorBegun = "operator begun",
    /// A change of placement was done, or given up.
    OperatorFinished = "operator finished",
    /// Something that must not happen.
    Alarm = "alarm",
    /// The label of a site was bound to another identity.
    SiteMoved = "site moved",
    /// A site was distrusted, or is trusted again.
    SiteTrust = "site trust",
    /// A rotation of the root came to another phase.
    RootRotated = "root rotated",
    /// A store's certificate has less than a third of its life left.
    CertificateEnding = "certificate ending",
    /// A store did not take the certificate, key or bundle that it found, and goes on with those that it has.
    TrustRefused = "trust refused",
}

impl TryFrom<v1::ListEventsResponse> for Events {
    type Error = AdminError;

    fn try_from(answer: v1::ListEventsResponse) -> Result<Self, AdminError> {
        Ok(Self { events: all(answer.events)?, more: answer.more, silent: all(answer.silent)? })
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = BadMessage;

    fn try_from(event: v1::Event) -> Result<Self, BadMessage> {
        Ok(Self {
            kind: EventKind::from_v1(event.kind()),
            at: Timestamp::compared(event.at),
            store: store(event.store_id)?,
            site: site(&event.site)?,
            range: Some(RangeId::bounded(event.range_id)?).filter(|range| range.0 != 0),
            other_store: Some(store(event.other_store)?).filter(|other| *other != StoreId::NONE),
            message: event.message,
            incarnation: Incarnation::bounded(event.incarnation)?,
            sequence: cut(event.sequence, limits::MAX_COUNTED),
        })
    }
}

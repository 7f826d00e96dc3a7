//! What fleet is simulated, and for how long.

use std::time::Duration;

/// Sites and stores.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Shape {
    /// How many sites.
    pub sites: u64,
    /// Stores in each.
    pub stores_per_site: u64,
}

impl Shape {
    /// Three sites of one store.
    pub const THREE_BY_ONE: Shape = Shape { sites: 3, stores_per_site: 1 };
    /// Three sites of two stores.
    pub const THREE_BY_TWO: Shape = Shape { sites: 3, stores_per_site: 2 };
    /// Five sites of one store.
    pub const FIVE_BY_ONE: Shape = Shape { sites: 5, stores_per_site: 1 };

    /// All stores.
    #[must_use]
    pub fn stores(&self) -> u64 {
        self.sites * self.stores_per_site
    }
}

/// What a run is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The fleet; `None`: the seed chooses.
    pub shape: Option<Shape>,
    /// Splits before the faults begin.
    pub splits: u64,
    /// Clients, spread over the sites.
    pub clients: u64,
    /// Keys that clients use.
    pub keys: u64,
    /// The mean wait of a client between two operations.
    pub think: Duration,
    /// How long faults happen.
    pub safety: Duration,
    /// How soon after the last fault every range must serve.
    pub recovery: Duration,
    /// False: no fault at all, a quiet network, true clocks.
    pub faults: bool,
    /// Reads never use the lease; `None`: the seed chooses, rarely true.
    pub quorum_reads: Option<bool>,
    /// Leases of all stores are compared after so many steps.
    pub check_leases_every: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shape: None,
            splits: 2,
            clients: 4,
            keys: 12,
            think: Duration::from_millis(60),
            safety: Duration::from_secs(12),
            recovery: Duration::from_secs(15),
            faults: true,
            quorum_reads: None,
            check_leases_every: 16,
        }
    }
}

impl Options {
    /// A fleet on a quiet network, without any fault of its own: for scenarios that bring theirs.
    #[must_use]
    pub fn quiet(shape: Shape) -> Self {
        Self { shape: Some(shape), faults: false, quorum_reads: Some(false), ..Self::default() }
    }
}

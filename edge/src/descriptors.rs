//! How many files the process may have open, and who gets how many of them.
//!
//! A connection is a file, and so is every sorted file of the engine: without shares, strangers who connect take the files that a flush needs.

use holdfast_types::limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Who gets how many files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shares {
    /// What the process may have open.
    pub all: usize,
    /// Sorted files of the engine.
    pub engine: usize,
    /// Connections of clients.
    pub clients: usize,
    /// Connections of other stores, to the port for streams.
    pub stores: usize,
    /// Connections of other stores, to the port for heartbeats.
    pub heartbeats: usize,
    /// Connections of probes.
    pub probes: usize,
}

/// The limit on open files leaves too few for a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "this process may have {0} files open, a store needs {least}: raise the limit (`ulimit -n`, LimitNOFILE=, or the runtime of the container)",
    least = limits::DESCRIPTORS_NEEDED
)]
pub struct TooFew(pub usize);

impl Shares {
    /// Divides so many files.
    pub fn of(all: usize) -> Result<Self, TooFew> {
        if all < limits::DESCRIPTORS_NEEDED {
            return Err(TooFew(all));
        }
        let part = |percent: usize, most: usize| (all.saturating_mul(percent) / 100).min(most);
        let engine = part(30, limits::ENGINE_OPEN_FILES);
        let stores = part(8, limits::STORE_CONNECTIONS);
        let heartbeats = part(4, limits::SUPPORT_MAX_INCOMING);
        let probes = part(6, limits::HTTP_CONNECTIONS);
        // Streams and heartbeats to other stores are as many as those from them.
        let kept = limits::DESCRIPTORS_KEPT + engine + 2 * (stores + heartbeats) + probes;
        let clients = all.saturating_sub(kept).min(limits::CLIENT_CONNECTIONS);
        Ok(Self { all, engine, clients, stores, heartbeats, probes })
    }
}

/// Raises the soft limit on open files to the hard one, and returns what it is then.
#[must_use]
pub fn raise_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let now = if current != maximum && setrlimit(Resource::Nofile, raised).is_ok() { maximum } else { current };
    // `None`: there is no limit.
    now.map_or(usize::MAX, |now| usize::try_from(now).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_the_files_of_another_and_everybody_has_some() {
        for all in [limits::DESCRIPTORS_NEEDED, 256, 1_024, 4_096, 65_536, 1 << 20, usize::MAX] {
            let shares = Shares::of(all).unwrap();
            let Shares { engine, clients, stores, heartbeats, probes, .. } = shares;
            let taken = limits::DESCRIPTORS_KEPT + engine + clients + 2 * (stores + heartbeats) + probes;
            assert!(taken <= all, "{shares:?}");
            assert!(clients >= 16 && probes >= 8 && stores >= 16 && heartbeats >= 8 && engine >= 48, "{shares:?}");
        }
    }

    #[test]
    fn too_few_files_are_refused_with_what_to_do() {
        let refused = Shares::of(64).unwrap_err().to_string();
        assert!(refused.contains("64") && refused.contains("ulimit"), "{refused}");
    }

    #[test]
    fn the_limit_is_the_hard_one_afterwards() {
        let all = raise_limit();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
        assert!(all > 0);
    }
}

//! Ports that nobody else has.

use std::net::{SocketAddr, TcpListener};

use anyhow::bail;
use parking_lot::Mutex;

/// Ports are taken from here on, below those that the kernel gives to outgoing connections.
const FIRST_PORT: u16 = 10_000;
const LAST_PORT: u16 = 30_000;

/// The next port to be tried, by whichever fleet of this process: a port that is chosen is not taken before its store starts.
static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// Finds free ports below the kernel's ephemeral ones, so that a store that is down keeps its port.
#[derive(Debug)]
pub(crate) struct FreePorts(());

impl FreePorts {
    pub(crate) fn new() -> Self {
        Self(())
    }

    pub(super) fn is_free(port: u16) -> bool {
        TcpListener::bind(("127.0.0.1", port)).is_ok()
    }

    /// So many in a row, free or not, that nobody else is given before all have been.
    fn take(count: u16) -> u16 {
        let mut next = NEXT.lock();
        // Begins at a place that differs between processes, so that fleets started at the same time seldom meet.
        let own = || FIRST_PORT + u16::try_from(std::process::id().wrapping_mul(61) % span()).expect("below the span");
        let first = next.unwrap_or_else(own);
        let first = if first + count > LAST_PORT { FIRST_PORT } else { first };
        *next = Some(first + count);
        first
    }

    /// The next free one.
    pub(crate) fn next(&mut self) -> anyhow::Result<SocketAddr> {
        self.row(1)
    }

    /// Two ports in a row: store-to-store streams and support heartbeats.
    pub(super) fn next_pair(&mut self) -> anyhow::Result<SocketAddr> {
        self.row(2)
    }

    fn row(&mut self, count: u16) -> anyhow::Result<SocketAddr> {
        for _ in 0..span() {
            let first = Self::take(count);
            if (first..first + count).all(Self::is_free) {
                return Ok(SocketAddr::from(([127, 0, 0, 1], first)));
            }
        }
        bail!("no free port between {FIRST_PORT} and {LAST_PORT}")
    }
}

fn span() -> u32 {
    u32::from(LAST_PORT - FIRST_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fleets_of_one_process_share_no_port() {
        let (mut one, mut other) = (FreePorts::new(), FreePorts::new());
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            for ports in [&mut one, &mut other] {
                let pair = ports.next_pair().unwrap().port();
                assert!(seen.insert(pair) && seen.insert(pair + 1), "{pair}");
                assert!(seen.insert(ports.next().unwrap().port()));
            }
        }
    }
}

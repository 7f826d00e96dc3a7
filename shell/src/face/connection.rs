//! Reaching a fleet, and what is said when none is reached.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use holdfast_client::admin::{Admin, Sites};
use holdfast_client::{Client, ClientError, Options, Security};

use crate::backend::{Backend, BackendError, FleetBackend};
use crate::lang::Names;
use crate::text;

/// How long stores may take to answer at the start: they may be starting themselves, but somebody waits.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// A fleet that answers.
pub(super) struct Connection {
    pub(super) backend: Arc<dyn Backend>,
    /// The addresses that it was reached by.
    pub(super) addresses: Vec<String>,
    /// How it was.
    pub(super) security: Security,
}

/// No store answered, or none that is believed and believes us.
pub(super) struct Unreachable {
    /// The addresses that were tried.
    pub(super) addresses: Vec<String>,
    /// What came of it.
    pub(super) reason: String,
    /// Certificates are what it fails on, and the reason says which and what to do.
    pub(super) is_distrust: bool,
}

impl Connection {
    /// One round trip: a script begins at once.
    pub(super) async fn open(addresses: Vec<String>, security: Security) -> Result<Self, Unreachable> {
        let patient = Options::new().deadline(CONNECT_WITHIN).security(security.clone());
        match Client::connect(addresses.clone(), patient).await {
            Ok(client) => {
                let client = client.with_deadline(Options::default().deadline);
                let backend = Arc::new(FleetBackend::new(client, Admin::with(addresses.clone(), security.clone())));
                Ok(Self { backend, addresses, security })
            }
            Err(ClientError::Unreachable(reason)) => Err(Unreachable { addresses, reason, is_distrust: false }),
            Err(ClientError::Untrusted(why)) => {
                Err(Unreachable { addresses, reason: why.to_string(), is_distrust: true })
            }
            Err(error) => Err(Unreachable { addresses, reason: error.to_string(), is_distrust: false }),
        }
    }

    /// What a greeting and completion need; what cannot be learned is left out.
    pub(super) async fn look(&self) -> (Result<Sites, BackendError>, Names) {
        let (sites, keyspaces) = tokio::join!(self.backend.sites(), self.backend.keyspaces());
        let mut names = Names::default();
        if let Ok(sites) = &sites {
            names.sites = sites.sites.iter().map(|site| site.name.to_string()).collect();
        }
        if let Ok(keyspaces) = keyspaces {
            names.keyspaces = keyspaces.into_iter().map(|keyspace| keyspace.name).collect();
        }
        (sites, names)
    }
}

impl Unreachable {
    /// Which addresses were tried, and what to do.
    pub(super) fn render(&self) -> String {
        let what = if self.is_distrust { "trusted, or none trusts you" } else { "reached" };
        let mut said = format!("error: no store could be {what}\n  tried: {}\n", self.addresses.join(", "));
        let _ = writeln!(said, "  last heard: {}", self.reason);
        if self.is_distrust {
            said.push_str(
                "hint: holdfast sql --tls DIR, or HOLDFAST_TLS, names your certificate and whom you believe\n",
            );
            return said;
        }
        said.push_str("hint: name stores that run (--connect HOST:PORT[,HOST:PORT...] or HOLDFAST_AT), or start some: holdfast dev\n");
        said
    }
}

/// What is said when a statement failed because nobody answered.
pub(super) fn lost_hint(addresses: &[String]) -> String {
    format!("hint: connected by way of {}; \\c tries these again, \\c HOST:PORT others\n", addresses.join(", "))
}

/// The greeting: program, fleet, how much of it lives.
pub(super) fn banner(version: &str, sites: &Result<Sites, BackendError>) -> String {
    let mut said = format!("holdfast sql {version}\n");
    match sites {
        Ok(sites) => {
            let counts: Vec<_> =
                sites.sites.iter().map(|site| (u64::from(site.stores), u64::from(site.alive))).collect();
            let _ = writeln!(said, "Fleet {}: {}.", sites.fleet, extent(&counts));
            for warning in &sites.warnings {
                let _ = writeln!(said, "warning: {warning}");
            }
        }
        Err(error) => {
            let _ = writeln!(said, "warning: the fleet does not say what it consists of: {error}");
        }
    }
    said.push_str("Statements end with ;   \\? helps, \\q leaves.\n");
    said
}

/// `3 sites x 2 stores, all 6 alive`, from stores and live stores of each site.
fn extent(sites: &[(u64, u64)]) -> String {
    let stores: u64 = sites.iter().map(|(stores, _)| stores).sum();
    let alive: u64 = sites.iter().map(|(_, alive)| alive).sum();
    let count = text::counted(sites.len().try_into().unwrap_or(u64::MAX), "site");
    let even = sites.first().map(|(stores, _)| *stores).filter(|first| sites.iter().all(|(stores, _)| stores == first));
    let shape = match even {
        Some(each) => format!("{count} x {}", text::counted(each, "store")),
        None => format!("{count}, {}", text::counted(stores, "store")),
    };
    if alive == stores { format!("{shape}, all {stores} alive") } else { format!("{shape}, {alive} of {stores} alive") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extent_says_how_much_of_the_fleet_lives() {
        assert_eq!(extent(&[(1, 1), (1, 1), (1, 1)]), "3 sites x 1 store, all 3 alive");
        assert_eq!(extent(&[(2, 2), (2, 0)]), "2 sites x 2 stores, 2 of 4 alive");
        assert_eq!(extent(&[(2, 2), (1, 1)]), "2 sites, 3 stores, all 3 alive");
        assert_eq!(extent(&[]), "0 sites, 0 stores, all 0 alive");
    }

    #[test]
    fn who_reaches_nobody_learns_what_was_tried_and_what_to_do() {
        let addresses = vec!["a:1".into(), "b:2".into()];
        let unreachable = Unreachable { addresses, reason: "refused".into(), is_distrust: false };
        let said = unreachable.render();
        assert!(said.contains("tried: a:1, b:2") && said.contains("refused") && said.contains("--connect HOST:PORT"));
        let said = Unreachable { is_distrust: true, ..unreachable }.render();
        assert!(said.contains("no store could be trusted") && said.contains("--tls DIR"), "{said}");
        assert!(lost_hint(&["a:1".into()]).contains("\\c HOST:PORT"));
    }
}

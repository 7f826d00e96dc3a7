//! Whether a store proves who it is, and who reaches it: with TLS, or by being told that it need not.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::bail;
use holdfast_types::{Principal, SiteName};

/// How the ports of a store are protected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Security {
    /// Mutual TLS on every port but that of probes, with the certificate, the key and the bundle in this folder.
    Tls(PathBuf),
    /// Not at all.
    Insecure(Insecure),
}

/// Where a store without TLS may listen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Insecure {
    /// On addresses that lead to this machine alone.
    OnThisMachine,
    /// Anywhere: whoever said so twice has a network that he trusts.
    Anywhere,
}

impl Security {
    /// What the command line and the environment say, or else the file. Neither is read as a yes: a store without TLS is one that was asked for.
    pub fn of(tls: Option<PathBuf>, insecure: u8) -> anyhow::Result<Self> {
        match (tls, insecure) {
            (Some(folder), 0) => Ok(Self::Tls(folder)),
            (None, 1) => Ok(Self::Insecure(Insecure::OnThisMachine)),
            (None, 2) => Ok(Self::Insecure(Insecure::Anywhere)),
            (None, 0) => bail!(
                "no certificate given: pass --tls DIR (HOLDFAST_TLS, `tls = \"DIR\"` in the file) with a store's certificate, key and bundle in it, \
                 which `holdfast ca`, cert-manager or SPIRE make; or, on a machine of your own, --insecure"
            ),
            (Some(folder), _) => bail!(
                "both TLS ({}) and --insecure are asked for: leave one out, and look into the environment (HOLDFAST_TLS, HOLDFAST_INSECURE) \
                 and the file for it",
                folder.display()
            ),
            (None, times) => bail!("insecure = {times} is not known: use 1 (this machine alone) or 2 (any address)"),
        }
    }

    /// The folder, with TLS.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Tls(folder) => Some(folder),
            Self::Insecure(_) => None,
        }
    }

    /// How often `--insecure` was said, as the file and `config show` have it.
    pub fn times_insecure(&self) -> u8 {
        match self {
            Self::Tls(_) => 0,
            Self::Insecure(Insecure::OnThisMachine) => 1,
            Self::Insecure(Insecure::Anywhere) => 2,
        }
    }

    /// Refuses what only TLS makes safe. `addresses`: all that are listened on or told to others, by their keys.
    pub fn check_addresses(&self, addresses: impl Iterator<Item = (&'static str, String)>) -> anyhow::Result<()> {
        if *self != Self::Insecure(Insecure::OnThisMachine) {
            return Ok(());
        }
        for (key, address) in addresses {
            if !is_this_machine(&address) {
                bail!(
                    "{key} = {address} can be reached from other machines, and without TLS whoever reaches a port owns the fleet: give the store a \
                     certificate (--tls DIR), listen on a loopback address, or say --insecure twice if the network keeps everybody else out"
                );
            }
        }
        Ok(())
    }

    /// Refuses settings that are for TLS alone: nothing would come of them.
    pub fn check_only_with_tls(&self, given: &[(&'static str, bool)]) -> anyhow::Result<()> {
        match (self, given.iter().find(|(_, is_given)| *is_given)) {
            (Self::Insecure(_), Some((key, _))) => {
                bail!("--{key} is for stores with TLS, and this one is started with --insecure: leave one of them out")
            }
            _ => Ok(()),
        }
    }
}

/// True when whoever is told this address, `host:port`, finds only his own machine by it.
fn is_this_machine(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        // RFC 6761: these names never lead elsewhere.
        Err(_) => {
            let host = host.to_ascii_lowercase();
            host == "localhost" || host.ends_with(".localhost")
        }
    }
}

/// The site of a store: that of its certificate, which nothing may contradict; without one what was given.
pub fn site(given: Option<&str>, own: Option<&Principal>, folder: Option<&Path>) -> anyhow::Result<SiteName> {
    let given = given.map(SiteName::new).transpose().map_err(anyhow::Error::msg)?;
    let folder = folder.unwrap_or_else(|| Path::new("")).display();
    match (own.map(|own| (own, own.site())), given) {
        (Some((_, Some(certified))), None) => Ok(certified.clone()),
        (Some((_, Some(certified))), Some(given)) if *certified == given => Ok(given),
        (Some((own, Some(certified))), Some(given)) => bail!(
            "the certificate in {folder} is that of {own}, and the store is to be of site {given}: give it the certificate of a store of {given}, or \
             leave --site out and it is of {certified}"
        ),
        (Some((own, None)), _) => bail!(
            "the certificate in {folder} is that of {own}, and a store needs one of a store: spiffe://{}/site/SITE/store (`holdfast ca`)",
            own.domain
        ),
        (None, Some(given)) => Ok(given),
        (None, None) => {
            bail!("no site given: pass --site NAME, set HOLDFAST_SITE, or put `site = \"NAME\"` into the file")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(uri: &str) -> Principal {
        uri.parse().unwrap()
    }

    #[test]
    fn a_store_is_secure_or_was_told_not_to_be_and_never_both() {
        let folder = || Some(PathBuf::from("/etc/tls"));
        assert_eq!(Security::of(folder(), 0).unwrap().folder(), Some(Path::new("/etc/tls")));
        for (times, meant) in [(1, Insecure::OnThisMachine), (2, Insecure::Anywhere)] {
            let security = Security::of(None, times).unwrap();
            assert_eq!((&security, security.times_insecure()), (&Security::Insecure(meant), times));
        }
        for (tls, times, said) in [
            (None, 0, "--tls DIR"),
            (None, 0, "--insecure"),
            (folder(), 1, "HOLDFAST_INSECURE"),
            (folder(), 2, "leave one out"),
            (None, 3, "insecure = 3"),
        ] {
            let error = Security::of(tls, times).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn said_once_insecure_is_for_addresses_of_this_machine_alone() {
        let once = Security::Insecure(Insecure::OnThisMachine);
        for own in [
            "127.0.0.1:7300",
            "127.9.9.9:1",
            "[::1]:7300",
            "localhost:7300",
            "Store-0.LocalHost:7300",
            "[::ffff:127.0.0.1]:1",
        ] {
            once.check_addresses([("listen", own.to_owned())].into_iter()).unwrap();
        }
        for other in [
            "0.0.0.0:7300",
            "[::]:7300",
            "10.0.0.1:7300",
            "[fd00::1]:7300",
            "store-0.site-a:7300",
            "localhost.example:7300",
            "notlocalhost:7300",
            "[::ffff:10.0.0.1]:1",
            "127.0.0.1.example:7300",
        ] {
            let given = || [("listen", "127.0.0.1:1".to_owned()), ("advertise", other.to_owned())].into_iter();
            let error = once.check_addresses(given()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("advertise = {other} ")) && error.contains("twice"), "{error}");
            Security::Insecure(Insecure::Anywhere).check_addresses(given()).unwrap();
            Security::Tls(PathBuf::new()).check_addresses(given()).unwrap();
        }
    }

    #[test]
    fn what_is_for_tls_alone_is_refused_without_it() {
        let given = [("listen-metrics", false), ("bearer-keys", true)];
        let error = Security::of(None, 2).unwrap().check_only_with_tls(&given).unwrap_err().to_string();
        assert!(error.starts_with("--bearer-keys is for stores with TLS"), "{error}");
        Security::Tls(PathBuf::new()).check_only_with_tls(&given).unwrap();
        Security::of(None, 1).unwrap().check_only_with_tls(&[("bearer-keys", false)]).unwrap();
    }

    #[test]
    fn the_site_is_that_of_the_certificate_and_nothing_contradicts_it() {
        let (store, folder) = (principal("spiffe://f/site/b/store"), Some(Path::new("/etc/tls")));
        assert_eq!(site(None, Some(&store), folder).unwrap().as_str(), "b");
        assert_eq!(site(Some("b"), Some(&store), folder).unwrap().as_str(), "b");
        assert_eq!(site(Some("a"), None, None).unwrap().as_str(), "a");
        for (given, own, said) in [
            (Some("a"), Some(store.clone()), "/etc/tls is that of spiffe://f/site/b/store"),
            (Some("a"), Some(store), "or leave --site out"),
            (Some("a"), Some(principal("spiffe://f/operator/ann")), "spiffe://f/site/SITE/store"),
            (None, Some(principal("spiffe://f/client/x")), "a store needs one of a store"),
            (None, None, "HOLDFAST_SITE"),
            (Some("Site A"), None, ""),
        ] {
            let error = site(given, own.as_ref(), folder).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}

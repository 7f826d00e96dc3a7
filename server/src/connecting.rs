//! How commands reach stores: the arguments that all of them have, and the channels of whatever is no client of ours.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use holdfast_client::channel::{Dialer, StoreChannel};
use holdfast_client::{BearerFile, Security};
use holdfast_output::visible;
use holdfast_proto::v1::fleet_client::FleetClient;

use crate::config::CLIENT_PORT;

/// The address of a store as host:port, from what people write: with `http://` before it, or without a port. For clap.
pub fn address(text: &str) -> Result<String, String> {
    let shown = || visible(text).into_owned();
    let bare = match text.split_once("://") {
        None => text.strip_suffix('/').unwrap_or(text),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest.strip_suffix('/').unwrap_or(rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => {
            let rest = visible(rest);
            return Err(format!(
                "`https://` is not what turns TLS on: give {rest}, and prove who you are by --tls DIR"
            ));
        }
        Some(_) => return Err(format!("{} is not the address of a store: give HOST:PORT", shown())),
    };
    if bare.is_empty() {
        return Err(format!("an address is empty: give HOST:PORT, or HOST for port {CLIENT_PORT}"));
    }
    if bare.contains(',') {
        return Err(format!("{} names several stores: name one", shown()));
    }
    host_and_port(bare).ok_or_else(|| format!("{} is not the address of a store: give HOST:PORT", shown()))
}

fn host_and_port(bare: &str) -> Option<String> {
    if let Ok(ip) = bare.parse::<Ipv6Addr>() {
        return Some(format!("[{ip}]:{CLIENT_PORT}"));
    }
    let port_of = |port: &str| port.parse::<u16>().ok().filter(|port| *port != 0);
    if let Some(rest) = bare.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']')?;
        let ip: Ipv6Addr = ip.parse().ok()?;
        let port = if rest.is_empty() { CLIENT_PORT } else { port_of(rest.strip_prefix(':')?)? };
        return Some(format!("[{ip}]:{port}"));
    }
    let (host, port) = match bare.split_once(':') {
        Some((host, port)) => (host, port_of(port)?),
        None => (bare, CLIENT_PORT),
    };
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!host.is_empty() && host.chars().all(legal)).then(|| format!("{host}:{port}"))
}

/// How a command proves who it is, and whom it believes.
#[derive(Args, Debug, Clone, Default)]
pub struct Connecting {
    /// Connect by TLS: the folder with a certificate, its key and the bundle of roots, as `holdfast ca`, cert-manager or SPIRE write it. Without it
    /// everything goes in plain text
    #[arg(long, value_name = "DIR", env = "HOLDFAST_TLS", value_hint = ValueHint::DirPath, help_heading = "Security")]
    pub tls: Option<PathBuf>,
    /// With --tls: the file with the bearer token that goes with each request, read anew for each
    #[arg(
        long,
        value_name = "FILE",
        env = "HOLDFAST_BEARER_FILE",
        value_hint = ValueHint::FilePath,
        help_heading = "Security"
    )]
    pub bearer_file: Option<PathBuf>,
}

impl Connecting {
    /// What the arguments come to. The folder is watched: a command that runs for long goes on with what is renewed there.
    pub fn security(&self) -> anyhow::Result<Security> {
        let Some(folder) = &self.tls else {
            anyhow::ensure!(
                self.bearer_file.is_none(),
                "a bearer token is sent over TLS alone, since whoever reads along could use it: give --tls DIR too, or neither"
            );
            return Ok(Security::Plain);
        };
        let security = Security::open(folder)?;
        Ok(match (security.trust(), &self.bearer_file) {
            (Some(trust), Some(file)) => Security::tls_with_bearer(trust.clone(), BearerFile::new(file)),
            _ => security,
        })
    }
}

/// Connects to the fleet service of one store, which has this time for the connection and for each answer.
pub async fn fleet_of(
    address: &str,
    security: &Security,
    within: Duration,
) -> anyhow::Result<FleetClient<StoreChannel>> {
    let dialer = Dialer::new(security.clone(), within).answered_within(within);
    let connected = dialer.connect(address).await.map_err(|why| match why.doubt() {
        Some(_) => anyhow::anyhow!("no connection that is trusted to {why}"),
        None => anyhow::anyhow!("no store answers at {why}"),
    });
    Ok(FleetClient::new(connected?))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        connecting: Connecting,
    }

    fn of(line: &[&str]) -> anyhow::Result<Security> {
        Line::try_parse_from(std::iter::once(&"x").chain(line)).unwrap().connecting.security()
    }

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for (written, meant) in [
            ("10.0.1.5:7301", "10.0.1.5:7301"),
            ("10.0.1.5", "10.0.1.5:7300"),
            ("store-0.east", "store-0.east:7300"),
            ("http://store-0.east:80", "store-0.east:80"),
            ("HTTP://localhost/", "localhost:7300"),
            ("localhost:7301/", "localhost:7301"),
            ("::1", "[::1]:7300"),
            ("[::1]", "[::1]:7300"),
            ("http://[fd00::7]:9", "[fd00::7]:9"),
        ] {
            assert_eq!(address(written).as_deref(), Ok(meant), "{written}");
        }
        for (wrong, word) in [
            ("", "empty"),
            ("http://", "empty"),
            ("https://a:7300", "--tls DIR"),
            ("grpc://a:7300", "HOST:PORT"),
            ("a:7300,b:7300", "several"),
            ("a:0", "HOST:PORT"),
            ("a:70000", "HOST:PORT"),
            ("a:", "HOST:PORT"),
            (":7300", "HOST:PORT"),
            ("a:1:2", "HOST:PORT"),
            ("a b", "HOST:PORT"),
            ("a/b", "HOST:PORT"),
            ("user@a", "HOST:PORT"),
            ("[::1", "HOST:PORT"),
            ("[a]:1", "HOST:PORT"),
        ] {
            let said = address(wrong).unwrap_err();
            assert!(said.contains(word), "{wrong}: {said}");
        }
    }

    #[test]
    fn without_a_folder_all_is_plain_and_no_token_is_sent() {
        assert!(matches!(of(&[]).unwrap(), Security::Plain));
        let said = of(&["--bearer-file", "token"]).unwrap_err().to_string();
        assert!(said.contains("--tls DIR"), "{said}");
    }

    #[test]
    fn a_folder_that_holds_nothing_says_what_belongs_there() {
        let folder = tempfile::tempdir().unwrap();
        let said = of(&["--tls", folder.path().to_str().unwrap()]).unwrap_err().to_string();
        assert!(said.contains("tls.crt") && said.contains(folder.path().to_str().unwrap()), "{said}");
    }
}

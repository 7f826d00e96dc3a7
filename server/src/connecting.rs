//! How commands reach stores: the arguments that all of them have, and the channels of whatever is no client of ours.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use holdfast_client::channel::{Dialer, StoreChannel};
use holdfast_client::{BearerFile, Security};
use holdfast_proto::v1::fleet_client::FleetClient;

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

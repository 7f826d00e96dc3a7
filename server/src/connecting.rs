//! How commands reach stores: the arguments that all of them have, and the channels of whatever is no client of ours.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Arg, Args, ValueHint};
use holdfast_client::admin::Admin;
use holdfast_client::channel::{Dialer, StoreChannel};
use holdfast_client::{BearerFile, Place, Security, TrustDomain};
use holdfast_proto::v1::fleet_client::FleetClient;
use holdfast_types::address::parse_address;

/// How a command proves who it is, and whom it believes.
#[derive(Args, Debug, Clone, Default)]
pub struct Connecting {
    /// Connect by TLS: the folder with a certificate, its key and the bundle of roots, as `holdfast ca`, cert-manager or SPIRE write it; with
    /// --token-file the bundle may be all that is in it. Without --tls everything goes in plain text
    #[arg(long, value_name = "DIR", env = "HOLDFAST_TLS", value_hint = ValueHint::DirPath, help_heading = "Security")]
    pub tls: Option<PathBuf>,
    /// With --tls: the file with the bearer token that goes with each request, read anew for each
    #[arg(
        long = "token-file",
        alias = "bearer-file",
        value_name = "FILE",
        env = "HOLDFAST_BEARER_FILE",
        value_hint = ValueHint::FilePath,
        help_heading = "Security"
    )]
    pub bearer_file: Option<PathBuf>,
    /// With --tls and --token-file, where there is no certificate: whose stores are believed, if the roots do not say it themselves
    #[arg(
        long,
        value_name = "NAME",
        env = "HOLDFAST_TRUST_DOMAIN",
        value_parser = |name: &str| TrustDomain::new(name),
        help_heading = "Security"
    )]
    pub trust_domain: Option<TrustDomain>,
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
        let bearer = self.bearer_file.as_ref().map(BearerFile::new);
        if Place::folder(folder).holds_bundle_alone() {
            let bearer = bearer.with_context(|| {
                let folder = folder.display();
                format!("{folder} holds roots and no certificate: put tls.crt and tls.key beside them, or give --token-file FILE")
            })?;
            return Ok(Security::open_bearer_alone(folder, self.trust_domain.clone(), bearer)?);
        }
        anyhow::ensure!(
            self.trust_domain.is_none(),
            "the certificate in {} says which trust domain it is of: leave --trust-domain out",
            folder.display()
        );
        let security = Security::open(folder)?;
        Ok(match (security.trust(), bearer) {
            (Some(trust), Some(bearer)) => Security::tls_with_bearer(trust.clone(), bearer),
            _ => security,
        })
    }
}

/// The stores that a command goes through, and how it connects to them.
#[derive(Args, Debug, Clone)]
pub struct Through {
    /// Client addresses of stores, separated by commas: the first that answers is asked
    #[arg(
        id = ADDRESSES,
        long = "at",
        value_name = "ADDRESS",
        env = "HOLDFAST_AT",
        default_value = "127.0.0.1:7300",
        value_delimiter = ',',
        value_parser = parse_address
    )]
    pub at: Vec<String>,
    /// How it connects
    #[command(flatten)]
    pub connecting: Connecting,
}

/// What clap calls the argument that names stores: for `mut_arg`, where a command says something else of it.
pub const ADDRESSES: &str = "addresses";
/// What commands say of it whose requests any store passes on.
pub const ANY_STORE: &str = "Client addresses of stores, separated by commas; any store takes any request";

/// Has an argument explained in other words.
pub fn saying(help: &'static str) -> impl FnOnce(Arg) -> Arg {
    move |argument| argument.help(help)
}

impl Through {
    /// How it connects.
    pub fn security(&self) -> anyhow::Result<Security> {
        self.connecting.security()
    }

    /// Whoever asks these stores what operators ask.
    pub fn admin(&self) -> anyhow::Result<Admin> {
        Ok(Admin::with(self.at.clone(), self.security()?))
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
    use std::collections::BTreeMap;

    use clap::{Command, CommandFactory, Parser};

    use super::*;
    use crate::cli::Cli;

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
        for flag in ["--token-file", "--bearer-file"] {
            let said = of(&[flag, "token"]).unwrap_err().to_string();
            assert!(said.contains("--tls DIR"), "{said}");
        }
    }

    #[test]
    fn a_folder_with_roots_alone_wants_a_token() {
        let folder = tempfile::tempdir().unwrap();
        let tls = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("ca.crt"), "no certificate").unwrap();
        let said = of(&["--tls", tls]).unwrap_err().to_string();
        assert!(said.contains("--token-file FILE") && said.contains(tls), "{said}");
        let said = of(&["--tls", tls, "--token-file", "token"]).unwrap_err().to_string();
        assert!(said.contains("bundle"), "the roots are read: {said}");
        std::fs::write(folder.path().join("tls.crt"), "no certificate").unwrap();
        let said = of(&["--tls", tls, "--trust-domain", "f.example"]).unwrap_err().to_string();
        assert!(said.contains("leave --trust-domain out"), "{said}");
    }

    #[test]
    fn a_folder_that_holds_nothing_says_what_belongs_there() {
        let folder = tempfile::tempdir().unwrap();
        let said = of(&["--tls", folder.path().to_str().unwrap()]).unwrap_err().to_string();
        assert!(said.contains("tls.crt") && said.contains(folder.path().to_str().unwrap()), "{said}");
    }

    /// The arguments of all commands below one that the environment's addresses are for, by the command.
    fn addressed<'a>(command: &'a Command, path: &str, found: &mut BTreeMap<String, &'a Arg>) {
        let addresses = command.get_arguments().find(|argument| argument.get_env() == Some("HOLDFAST_AT".as_ref()));
        found.extend(addresses.map(|argument| (path.trim_start().to_owned(), argument)));
        for below in command.get_subcommands() {
            addressed(below, &format!("{path} {}", below.get_name()), found);
        }
    }

    #[test]
    fn every_command_takes_addresses_in_the_same_way_and_says_what_they_are_to_it() {
        let (cli, mut found) = (Cli::command(), BTreeMap::new());
        addressed(&cli, "", &mut found);
        assert!(found.remove("init").is_some(), "it takes one");
        for (command, argument) in &found {
            let (default, delimiter) = (argument.get_default_values(), argument.get_value_delimiter());
            let usual: &[&str] = if command.starts_with("fleet") { &[] } else { &["127.0.0.1:7300"] };
            assert_eq!(
                (argument.get_id().as_str(), delimiter, default.len()),
                (ADDRESSES, Some(','), usual.len()),
                "{command}"
            );
            assert!(default.iter().eq(usual), "{command}");
            let long = if matches!(command.as_str(), "export" | "sql") { "connect" } else { "at" };
            assert_eq!(argument.get_long(), Some(long), "{command}");
        }
        let said = |command: &str| found[command].get_help().unwrap().to_string();
        for asked in ["drain", "status", "token list", "trust status"] {
            assert!(said(asked).ends_with("separated by commas: the first that answers is asked"), "{asked}");
        }
        for any in ["delete", "export", "get", "import", "put", "scan"] {
            assert_eq!(said(any), ANY_STORE, "{any}");
        }
        assert!(said("forget").contains("of other stores,") && said("site move").contains("of stores of other sites,"));
        assert!(said("fleet status").contains("[default: through the API servers]"));
        assert!(said("sql").contains("one that answers is enough") && said("load").ends_with("separated by commas"));
    }
}

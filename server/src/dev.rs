//! `holdfast dev`: sites x stores as child processes on loopback, for application developers. Stays up until it is told to end,
//! and kills and starts sites on demand.

use std::io::BufRead;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueHint};
use holdfast_benches::fleet::{FleetOptions, LocalFleet, interrupted, scratch};
use holdfast_output::{errln, out, outln};
use serde_json::json;
use tokio::sync::mpsc;

use crate::table::Table;

/// `holdfast dev`.
#[derive(Args, Debug, Clone)]
pub struct DevArgs {
    /// Sites, 1 to 9; from three on the fleet survives the loss of one
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub sites: u8,
    /// Stores of each site, 1 to 4
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    pub stores_per_site: u8,
    /// Where clients reach the first store; each store takes ten ports. 0: any free ones
    #[arg(long, value_name = "PORT", default_value_t = crate::config::CLIENT_PORT)]
    pub first_port: u16,
    /// Keep the stores' logs and data here, and go on with what is there [default: removed at the end]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// Everything by TLS: a certificate authority is made in the folder of the data, with a certificate for each site and one for you
    #[arg(long)]
    pub tls: bool,
    /// Print the stores as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What the client is called that a certificate is made for.
const CLIENT: &str = "app";
/// How long a store may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked for stores that ended by themselves.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Lines that wait to be carried out.
const LINES: usize = 16;

/// What a line on standard input asks for.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    /// Every store of a site gets SIGKILL.
    Kill(String),
    /// The stores of a site that do not run are started.
    Start(String),
    /// Who runs.
    Status,
    /// The end.
    Quit,
}

impl Order {
    /// Reads a line; the error says what can be said.
    fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("kill"), Some(site), None) => Ok(Self::Kill(site.to_owned())),
            (Some("start"), Some(site), None) => Ok(Self::Start(site.to_owned())),
            (Some("status"), None, None) => Ok(Self::Status),
            (Some("quit" | "exit"), None, None) => Ok(Self::Quit),
            _ => Err(format!("{line:?} is not understood: kill SITE, start SITE, status or quit")),
        }
    }
}

/// Starts the fleet, prints its addresses, does what it is told until the end.
pub async fn run(args: &DevArgs) -> anyhow::Result<()> {
    let folder = if args.dir.is_some() { None } else { Some(scratch("holdfast-dev-")?) };
    let dir = match (&args.dir, &folder) {
        (Some(dir), _) => dir.clone(),
        (None, Some(folder)) => folder.path().to_owned(),
        (None, None) => anyhow::bail!("no folder for the data"),
    };
    let mut fleet = LocalFleet::new(FleetOptions {
        binary: std::env::current_exe().context("finding this program")?,
        dir,
        sites: args.sites.into(),
        stores_per_site: args.stores_per_site.into(),
        extra_args: Vec::new(),
        tls: args.tls,
    })?;
    if args.first_port != 0 {
        fleet
            .use_ports_from(args.first_port)
            .context("the ports cannot be had; choose others with --first-port, 0 for any that are free")?;
    }
    errln!("Starting {} sites with {} store(s) each ...", args.sites, args.stores_per_site);
    fleet.start().await?;
    print(args, &fleet)?;
    let mut dev = Dev { running: vec![true; fleet.stores().len()], fleet };
    let served = dev.serve().await;
    errln!("Stopping ...");
    dev.stop().await;
    served
}

/// The fleet while it is up.
struct Dev {
    fleet: LocalFleet,
    /// Which stores ran when it was looked last.
    running: Vec<bool>,
}

impl Dev {
    /// Does what standard input says until Ctrl-C or `quit`.
    async fn serve(&mut self) -> anyhow::Result<()> {
        let mut lines = lines()?;
        let mut interrupted = std::pin::pin!(interrupted());
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = &mut interrupted => return Ok(()),
                Some(line) = lines.recv() => {
                    if self.take(&line)? {
                        return Ok(());
                    }
                }
                _ = look.tick() => self.look(),
            }
        }
    }

    /// Carries out one line; true: it asks for the end.
    fn take(&mut self, line: &str) -> anyhow::Result<bool> {
        let done = match Order::parse(line) {
            Ok(Order::Quit) => return Ok(true),
            Ok(Order::Status) => {
                self.show()?;
                Ok(())
            }
            Ok(Order::Kill(site)) => self.kill(&site),
            Ok(Order::Start(site)) => self.start(&site),
            Err(_) if line.trim().is_empty() => Ok(()),
            Err(said) => Err(anyhow::Error::msg(said)),
        };
        if let Err(error) = done {
            errln!("{error:#}");
        }
        Ok(false)
    }

    fn kill(&mut self, site: &str) -> anyhow::Result<()> {
        let stores = self.stores_of(site, true)?;
        self.fleet.kill_all(&stores)?;
        for store in stores {
            self.running[store] = false;
        }
        errln!("{site} is killed. `start {site}` brings it back.");
        Ok(())
    }

    fn start(&mut self, site: &str) -> anyhow::Result<()> {
        for store in self.stores_of(site, false)? {
            self.fleet.start_store(store)?;
            self.running[store] = true;
        }
        errln!("{site} is started; it catches up by itself.");
        Ok(())
    }

    /// The stores of a site that run, or that do not; none is an error.
    fn stores_of(&self, site: &str, running: bool) -> anyhow::Result<Vec<usize>> {
        let all = self.fleet.stores().iter().enumerate();
        let all: Vec<_> = all.filter(|(_, store)| store.site == site).map(|(index, _)| index).collect();
        anyhow::ensure!(!all.is_empty(), "there is no site {site:?}: `status` shows all");
        let found: Vec<_> = all.into_iter().filter(|index| self.running[*index] == running).collect();
        anyhow::ensure!(!found.is_empty(), "{site} {}", if running { "is down already" } else { "runs already" });
        Ok(found)
    }

    /// Notices stores that ended by themselves or were killed from outside.
    fn look(&mut self) {
        for index in 0..self.running.len() {
            if self.running[index] && !self.fleet.is_running(index) {
                self.running[index] = false;
                let store = &self.fleet.stores()[index];
                let (site, log) = (store.site.clone(), store.data_dir.with_extension("log"));
                // It is gone: this only forgets its process, so that it can be started again.
                if let Err(error) = self.fleet.kill(index) {
                    errln!("{error:#}");
                }
                errln!("A store of {site} ended; its log: {}. `start {site}` brings it back.", log.display());
            }
        }
    }

    fn show(&self) -> anyhow::Result<()> {
        let mut table = Table::new(&["site", "clients connect to", "process"]);
        for (index, store) in self.fleet.stores().iter().enumerate() {
            let process = self.fleet.pid(index).map_or_else(|| "down".into(), |pid| pid.to_string());
            table.row(vec![store.site.clone(), store.client.to_string(), process]);
        }
        out!("{table}")?;
        Ok(())
    }

    async fn stop(&mut self) {
        for index in 0..self.running.len() {
            if self.running[index]
                && let Err(error) = self.fleet.stop(index, STOP_WITHIN).await
            {
                errln!("store {index}: {error:#}");
            }
        }
    }
}

/// The lines of standard input, as they come. None come from a terminal in whose background this runs: to read there would stop the
/// whole program.
fn lines() -> anyhow::Result<mpsc::Receiver<String>> {
    let (sender, lines) = mpsc::channel(LINES);
    let stdin = std::io::stdin();
    let in_background =
        rustix::termios::tcgetpgrp(&stdin).is_ok_and(|foreground| foreground != rustix::process::getpgrp());
    let read = move || {
        // The end of the input, or of the receiver, ends only the reading.
        for line in stdin.lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    };
    if !in_background {
        std::thread::Builder::new().name("stdin".into()).spawn(read).context("starting a thread")?;
    }
    Ok(lines)
}

fn print(args: &DevArgs, fleet: &LocalFleet) -> anyhow::Result<()> {
    let stores = fleet.stores().iter().enumerate();
    if args.json {
        let stores: Vec<_> = stores
            .map(|(index, store)| {
                json!({
                    "site": store.site, "client": store.client, "http": store.http, "process": fleet.pid(index),
                    "metrics": if args.tls { store.metrics } else { store.http },
                })
            })
            .collect();
        outln!(
            "{}",
            json!({ "stores": stores, "tls": fleet.operator_folder(), "client_tls": fleet.client_folder(CLIENT)? })
        )?;
        return Ok(());
    }
    let mut table = Table::new(&["site", "clients connect to", "metrics", "process"]);
    for (index, store) in stores {
        let process = fleet.pid(index).map(|pid| pid.to_string()).unwrap_or_default();
        table.row(vec![
            store.site.clone(),
            store.client.to_string(),
            if args.tls {
                format!("https://{}/metrics", store.metrics)
            } else {
                format!("http://{}/metrics", store.http)
            },
            process,
        ]);
    }
    out!("{table}")?;
    outln!("\n{}", second_terminal(args, fleet))?;
    if let Some(folder) = fleet.client_folder(CLIENT)? {
        outln!(
            "That is an operator, who may do everything. For a program of yours: export HOLDFAST_TLS={}",
            folder.display()
        )?;
    }
    outln!("Here: kill SITE, start SITE, status, quit (or Ctrl-C)")?;
    Ok(())
}

/// What to say elsewhere to reach the fleet.
fn second_terminal(args: &DevArgs, fleet: &LocalFleet) -> String {
    let is_usual = args.first_port == crate::config::CLIENT_PORT;
    let at = (!is_usual).then(|| format!("HOLDFAST_AT={}", fleet.addresses().join(",")));
    let tls = fleet.operator_folder().map(|folder| format!("HOLDFAST_TLS={}", folder.display()));
    let settings: Vec<_> = at.into_iter().chain(tls).collect();
    if settings.is_empty() {
        return "In a second terminal: holdfast put greeting hello, holdfast get greeting".to_owned();
    }
    format!("In a second terminal: export {}", settings.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_what_is_none_says_what_could_be() {
        assert_eq!(Order::parse(" kill  site-c "), Ok(Order::Kill("site-c".into())));
        assert_eq!(Order::parse("start site-c"), Ok(Order::Start("site-c".into())));
        assert_eq!(Order::parse("status"), Ok(Order::Status));
        assert_eq!(Order::parse("quit"), Ok(Order::Quit));
        for wrong in ["kill", "kill a b", "status now", "stop site-c"] {
            assert!(Order::parse(wrong).unwrap_err().contains("kill SITE, start SITE"), "{wrong}");
        }
    }
}

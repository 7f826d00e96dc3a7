//! `holdfast-bench run`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use holdfast_benches::contest::holdfast::{Holdfast, connect};
use holdfast_benches::contest::{Peer, Session};
use holdfast_benches::drive::{Drive, Plan, SecondSample, load};
use holdfast_benches::fault::{PlannedFault, play};
use holdfast_benches::fleet::{binary_beside, scratch_in};
use holdfast_benches::machine::Machine;
use holdfast_benches::report::{RunReport, svg};
use holdfast_benches::work::{Distribution, Mix, Population, Preset, Work};
use holdfast_client::Security;
use holdfast_output::{errln, errors_are_terminal, outln, redraw};
use tokio::time::Instant;

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArguments {
    /// What the clients do
    #[arg(long, value_enum, default_value_t = Preset::Mixed)]
    work: Preset,
    /// Percent of reads, for a mix of your own; reads, writes and scans add up to 100
    #[arg(long, conflicts_with = "work")]
    reads: Option<u8>,
    /// Percent of writes of keys that are there
    #[arg(long, conflicts_with = "work")]
    writes: Option<u8>,
    /// Percent of scans
    #[arg(long, conflicts_with = "work")]
    scans: Option<u8>,
    /// Which keys are popular, instead of what the work says
    #[arg(long, value_enum)]
    distribution: Option<Distribution>,
    /// The most rows of a scan; scans read 1 to this many
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    scan_rows: Option<u32>,
    /// Clients, each with one operation at a time; several numbers make several runs
    #[arg(long, value_delimiter = ',', default_values_t = [64], value_parser = clap::value_parser!(u16).range(1..))]
    clients: Vec<u16>,
    /// Open loop: so many operations a second arrive, and latencies count from when each should have begun
    #[arg(long)]
    rate: Option<f64>,
    /// Bytes of a value
    #[arg(long, default_value_t = 128)]
    value_bytes: usize,
    /// Keys that are loaded before
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Load nothing: the keys are there from a run before (with --at)
    #[arg(long, requires = "at")]
    no_load: bool,
    /// How long is measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Seconds of work before that which do not count
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
    /// Runs of each number of clients; the median counts
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    runs: u8,
    /// What all random numbers come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Measure the fleet at these client addresses instead of one of its own
    #[arg(long, value_delimiter = ',')]
    at: Vec<String>,
    /// With --at: connect by TLS, with the certificate, the key and the bundle in this folder
    #[arg(long, value_name = "DIR", requires = "at")]
    identity: Option<PathBuf>,
    /// With --at: the site that the clients are in
    #[arg(long, requires = "at")]
    site: Option<String>,
    /// Sites of its own fleet
    #[arg(long, default_value_t = 3, conflicts_with = "at", value_parser = clap::value_parser!(u8).range(1..=9))]
    sites: u8,
    /// Stores of each site of its own fleet
    #[arg(long, default_value_t = 1, conflicts_with = "at", value_parser = clap::value_parser!(u8).range(1..=4))]
    stores_per_site: u8,
    /// Its own fleet has TLS, with a certificate authority of its own
    #[arg(long, conflicts_with = "at")]
    tls: bool,
    /// Ranges that the keys of its own fleet are cut into
    #[arg(long, default_value_t = 6, conflicts_with = "at", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    ranges: u64,
    /// What happens to its own fleet and when, for example kill-site@10s,return@20s (also kill-site:SITE, pause-site)
    #[arg(long, value_delimiter = ',', conflicts_with = "at")]
    fault: Vec<PlannedFault>,
    /// Draw latency and throughput over time into this SVG file, faults marked
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Print one JSON object and nothing else on standard output
    #[arg(long)]
    json: bool,
    /// Where its own fleet keeps its data, in a folder that is removed at the end; the system's temporary folder by default
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl RunArguments {
    fn check(&self) -> anyhow::Result<()> {
        let single = self.clients.len() == 1 && self.runs == 1;
        ensure!(self.plot.is_none() || single, "--plot shows one run: give one number of clients and no --runs");
        ensure!(self.fault.is_empty() || single, "--fault happens once: give one number of clients and no --runs");
        let end = Duration::from_secs(self.seconds);
        ensure!(self.fault.iter().all(|fault| fault.at < end), "a fault must happen within --seconds {}", self.seconds);
        Ok(())
    }

    fn work(&self) -> anyhow::Result<Work> {
        let custom = [self.reads, self.writes, self.scans];
        let mut work = if custom.iter().any(Option::is_some) {
            let [reads, writes, scans] = custom.map(Option::unwrap_or_default);
            let mix =
                Mix::new([reads, writes, 0, scans, 0]).context("--reads, --writes and --scans must add up to 100")?;
            Work { name: "custom".to_owned(), mix, distribution: Distribution::Zipfian, scan_rows: (1, 100) }
        } else {
            self.work.work()
        };
        if let Some(distribution) = self.distribution {
            work.distribution = distribution;
        }
        if let Some(most) = self.scan_rows {
            work.scan_rows = (1, most);
        }
        Ok(work)
    }

    fn plan(&self, work: Work) -> Plan {
        Plan {
            work,
            rate: self.rate,
            value_bytes: self.value_bytes,
            warm_up: Duration::from_secs(self.warm_up),
            lasting: Duration::from_secs(self.seconds),
            seed: self.seed,
        }
    }
}

/// The fleet that is measured.
enum Measured<'a> {
    Own(Box<Holdfast>),
    At(&'a [String], Vec<String>, Security),
}

impl Measured<'_> {
    async fn connect(&self, clients: usize) -> anyhow::Result<Vec<Arc<dyn Session>>> {
        match self {
            Self::Own(fleet) => fleet.connect(clients).await,
            Self::At(addresses, sites, security) => connect(addresses, sites, clients, security.clone()).await,
        }
    }
}

/// Measures, and prints the result.
pub async fn run(arguments: &RunArguments) -> anyhow::Result<()> {
    arguments.check()?;
    let work = arguments.work()?;
    let folder = scratch_in(arguments.dir.as_deref(), "holdfast-bench-")?;
    let machine = Machine::look(folder.path())?;
    let mut measured = if arguments.at.is_empty() {
        errln!("starting {} sites with {} store(s) each on loopback", arguments.sites, arguments.stores_per_site);
        let binary = binary_beside(&std::env::current_exe()?)?;
        let (sites, stores) = (arguments.sites.into(), arguments.stores_per_site.into());
        let dir = folder.path().join("fleet");
        let mut fleet = Holdfast::new(binary, dir, sites, stores, arguments.ranges, arguments.tls)?;
        fleet.start().await?;
        Measured::Own(Box::new(fleet))
    } else {
        let security = arguments.identity.as_ref().map_or(Ok(Security::Plain), Security::open)?;
        Measured::At(&arguments.at, arguments.site.clone().into_iter().collect(), security)
    };
    let population = Arc::new(Population::new(arguments.keys));
    if !arguments.no_load {
        load_keys(arguments, &measured).await?;
    }
    let mut reports = Vec::new();
    for clients in &arguments.clients {
        let mut runs = Vec::new();
        for run in 0..arguments.runs {
            let mut plan = arguments.plan(work.clone());
            plan.seed = plan.seed.wrapping_add(run.into());
            runs.push(one_run(arguments, &mut measured, plan, (*clients).into(), &population).await?);
        }
        reports.push(RunReport::median(runs).context("there is at least one run")?);
    }
    if let (Some(path), [report]) = (&arguments.plot, &reports[..]) {
        std::fs::write(path, svg(&title(report), &report.samples, &report.faults))
            .with_context(|| format!("writing {}", path.display()))?;
        errln!("drawn: {}", path.display());
    }
    drop(measured);
    folder.close()?;
    print(arguments, &work, &machine, &reports)
}

fn title(report: &RunReport) -> String {
    let pace =
        report.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate} operations a second asked for"));
    format!("{}, {} clients, {pace}", report.work, report.clients)
}

async fn load_keys(arguments: &RunArguments, measured: &Measured<'_>) -> anyhow::Result<()> {
    let sessions = measured.connect(1).await?;
    let begun = Instant::now();
    let progress = Progress::new();
    load(&sessions, arguments.keys, arguments.value_bytes, arguments.seed, |done| {
        progress.show(&format!("loading: {done} of {} keys", arguments.keys), false);
    })
    .await
    .context("loading keys")?;
    progress.show(&format!("{} keys loaded in {:.1} s", arguments.keys, begun.elapsed().as_secs_f64()), true);
    Ok(())
}

async fn one_run(
    arguments: &RunArguments,
    measured: &mut Measured<'_>,
    plan: Plan,
    clients: usize,
    population: &Arc<Population>,
) -> anyhow::Result<RunReport> {
    let sessions = measured.connect(clients).await?;
    let drive = Drive::start(&sessions, &plan, population)?;
    drive.warm_up().await;
    let begun = Instant::now();
    let progress = Progress::new();
    let show = |sample: &SecondSample| progress.show(&in_words(sample), true);
    let measuring = drive.measure(show);
    let (outcome, marks) = match measured {
        Measured::Own(fleet) => tokio::try_join!(measuring, play(&arguments.fault, fleet.fleet_mut(), begun))?,
        Measured::At(..) => (measuring.await?, Vec::new()),
    };
    progress.end();
    if let Some(error) = &outcome.first_error {
        errln!("{} operations failed, the first: {error}", outcome.errors);
    }
    Ok(RunReport::new(&plan.work.name, clients, plan.rate, &outcome, marks))
}

fn in_words(sample: &SecondSample) -> String {
    format!(
        "{:>4.0} s {:>8.0}/s   p50 {:.2} ms   p99 {:.2} ms   max {:.1} ms   errors {}",
        sample.at_s, sample.per_second, sample.p50_ms, sample.p99_ms, sample.max_ms, sample.errors
    )
}

fn print(arguments: &RunArguments, work: &Work, machine: &Machine, reports: &[RunReport]) -> anyhow::Result<()> {
    if arguments.json {
        let json = serde_json::json!({
            "runs": reports,
            "work": work,
            "keys": arguments.keys,
            "value_bytes": arguments.value_bytes,
            "tls": arguments.tls || arguments.identity.is_some(),
            "machine": machine,
        });
        outln!("{json}")?;
        return Ok(());
    }
    outln!("{}", RunReport::table(reports))?;
    outln!(
        "{} keys, values of {} bytes, {:?}; {} cores, {}; fdatasync of 4 KiB: {:.3} ms",
        arguments.keys,
        arguments.value_bytes,
        work.distribution,
        machine.cores,
        machine.file_system,
        machine.fdatasync_ms
    )?;
    for run in reports.iter().filter(|run| run.unserved > 0) {
        outln!("{} operations were due and never begun: the rate was more than the fleet could serve", run.unserved)?;
    }
    Ok(())
}

/// A line on standard error that is written over in a terminal.
struct Progress {
    terminal: bool,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: errors_are_terminal() }
    }

    /// Shows the line; where it cannot be written over, only those that are `worth` a line of their own.
    fn show(&self, text: &str, worth: bool) {
        if self.terminal {
            // A terminal that is gone is no reason to stop measuring.
            let _ = redraw(text);
        } else if worth {
            errln!("{text}");
        }
    }

    fn end(&self) {
        if self.terminal {
            errln!();
        }
    }
}

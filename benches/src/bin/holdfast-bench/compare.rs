//! `holdfast-bench compare`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use holdfast_benches::compare::{CompareOptions, Contenders, compare, table};
use holdfast_benches::contest::Peer;
use holdfast_benches::contest::etcd::Etcd;
use holdfast_benches::contest::floor::Floor;
use holdfast_benches::contest::holdfast::Holdfast;
use holdfast_benches::fleet::{binary_beside, scratch_in};
use holdfast_benches::work::Preset;
use holdfast_output::{errln, outln};

/// Arguments of `compare`.
#[derive(Args, Debug)]
pub struct CompareArguments {
    /// What to compare with
    #[arg(long, value_enum, default_value_t = PeerName::Etcd)]
    peer: PeerName,
    /// Fewer works, shorter rounds: about five minutes, and seven with --tls
    #[arg(long)]
    short: bool,
    /// Print one JSON object and nothing else on standard output
    #[arg(long)]
    json: bool,
    /// Works instead of the usual ones
    #[arg(long, value_enum, value_delimiter = ',')]
    works: Vec<Preset>,
    /// Clients of each work instead of the usual numbers
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    clients: Vec<u16>,
    /// Rounds of each work; the median counts
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: Option<u8>,
    /// How long each measurement lasts
    #[arg(long)]
    seconds: Option<u64>,
    /// Seconds of work before each measurement that do not count
    #[arg(long)]
    warm_up: Option<u64>,
    /// Keys that each store gets at the beginning
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    keys: Option<u64>,
    /// Bytes of a value
    #[arg(long, default_value_t = 128)]
    value_bytes: usize,
    /// Ranges that Holdfast's keys are cut into
    #[arg(long, default_value_t = 6)]
    ranges: u64,
    /// What all random numbers come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Measure Holdfast with TLS as well, and set it beside Holdfast without
    #[arg(long)]
    tls: bool,
    /// Leave the floor out
    #[arg(long)]
    no_floor: bool,
    /// Where all stores keep their data, in a folder that is removed at the end; the system's temporary folder by default
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum PeerName {
    /// etcd with three members (Debian: etcd-server)
    Etcd,
}

impl CompareArguments {
    fn options(&self) -> CompareOptions {
        let make = if self.short { CompareOptions::short } else { CompareOptions::long };
        let mut options = make(self.value_bytes, self.seed);
        if !self.works.is_empty() || !self.clients.is_empty() {
            options.works = self.chosen(&options.works);
        }
        if let Some(rounds) = self.rounds {
            options.rounds = rounds.into();
        }
        if let Some(seconds) = self.seconds {
            options.lasting = Duration::from_secs(seconds);
        }
        if let Some(seconds) = self.warm_up {
            options.warm_up = Duration::from_secs(seconds);
        }
        if let Some(keys) = self.keys {
            options.keys = keys;
        }
        options
    }

    /// Every chosen work with every chosen number of clients; what is not chosen stays as usual.
    fn chosen(&self, usual: &[(Preset, usize)]) -> Vec<(Preset, usize)> {
        let mut works =
            if self.works.is_empty() { usual.iter().map(|(work, _)| *work).collect() } else { self.works.clone() };
        works.dedup();
        let clients =
            if self.clients.is_empty() { vec![64] } else { self.clients.iter().map(|n| (*n).into()).collect() };
        works.into_iter().flat_map(|work| clients.iter().map(move |clients| (work, *clients))).collect()
    }
}

/// Compares, and prints the result.
pub async fn run(arguments: &CompareArguments) -> anyhow::Result<()> {
    let folder = scratch_in(arguments.dir.as_deref(), "holdfast-compare-")?;
    // First what may be missing.
    let peer: Box<dyn Peer> = match arguments.peer {
        PeerName::Etcd => Box::new(Etcd::new(folder.path().join("etcd"))?),
    };
    let binary = binary_beside(&std::env::current_exe()?)?;
    let holdfast =
        |name: &str, tls| Holdfast::new(binary.clone(), folder.path().join(name), 3, 1, arguments.ranges, tls);
    let tls = arguments.tls.then(|| holdfast("holdfast-tls", true)).transpose()?;
    let floor = Floor::new(folder.path().join("floor"));
    let contenders = Contenders {
        holdfast: Box::new(holdfast("holdfast", false)?),
        peer,
        floor: (!arguments.no_floor).then(|| Box::new(floor) as Box<dyn Peer>),
        tls: tls.map(|tls| Box::new(tls) as Box<dyn Peer>),
    };
    let say = |text: &str| errln!("{text}");
    let comparison = compare(contenders, &arguments.options(), folder.path(), &say).await?;
    folder.close()?;
    if arguments.json {
        outln!("{}", serde_json::to_string(&comparison)?)?;
    } else {
        outln!("{}", table(&comparison))?;
    }
    Ok(())
}

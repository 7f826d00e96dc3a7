//! `holdfast-bench cuts`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Args;
use holdfast_benches::fleet::{binary_beside, scratch_in};
use holdfast_benches::machine::Machine;
use holdfast_benches::stalls::matrix::{Fault, faults};
use holdfast_benches::stalls::trial::Trial;
use holdfast_benches::stalls::{Row, table};
use holdfast_benches::wires::inside::inside;
use holdfast_benches::wires::{Wires, why_not};
use holdfast_output::{errln, outln};

/// One fleet has so many sites.
const SITES: usize = 3;

/// Arguments of `cuts`.
#[derive(Args, Clone, Debug)]
pub struct CutsArguments {
    /// Only faults whose name has this in it; may be given several times
    #[arg(long)]
    only: Vec<String>,
    /// How long each fault lasts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// The `holdfast` program; the one beside this by default
    #[arg(long)]
    binary: Option<PathBuf>,
    /// The fleet has TLS, with a certificate authority of its own
    #[arg(long)]
    tls: bool,
    /// Print the names of all faults and do nothing
    #[arg(long)]
    list: bool,
    /// Where the fleet keeps its data, in a folder that is removed at the end; the system's temporary folder by default
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Measures, and prints the table.
pub async fn run(arguments: &CutsArguments) -> anyhow::Result<()> {
    let is_wanted = |fault: &Fault| arguments.only.is_empty() || arguments.only.iter().any(|o| fault.name.contains(o));
    let faults: Vec<_> = faults().into_iter().filter(is_wanted).collect();
    ensure!(!faults.is_empty(), "no fault is called so: see --list");
    if arguments.list {
        faults.iter().try_for_each(|fault| outln!("{}", fault.name))?;
        return Ok(());
    }
    if let Some(reason) = why_not() {
        bail!("{reason}");
    }
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => binary_beside(&std::env::current_exe()?)?,
    };
    let folder = scratch_in(arguments.dir.as_deref(), "holdfast-cuts-")?;
    let machine = Machine::look(folder.path())?;
    let wires = Arc::new(Wires::lay(SITES)?);
    let (lasting, tls) = (Duration::from_secs(arguments.seconds), arguments.tls);
    let (dir, driven) = (folder.path().to_owned(), Arc::clone(&wires));
    let rows = inside(wires.outside(), move || measure(faults, binary, dir, driven, lasting, tls))?.finish().await?;
    drop(wires);
    folder.close()?;
    outln!("{}", table(&rows))?;
    outln!(
        "Each fault lasts {} s; 1 s before and 2 s after it count, too. {} cores, {}; fdatasync of 4 KiB: {:.3} ms",
        arguments.seconds,
        machine.cores,
        machine.file_system,
        machine.fdatasync_ms
    )?;
    Ok(())
}

/// All faults, one after the other; a fleet that does not heal is replaced.
async fn measure(
    faults: Vec<Fault>,
    binary: PathBuf,
    dir: PathBuf,
    wires: Arc<Wires>,
    lasting: Duration,
    tls: bool,
) -> anyhow::Result<Vec<Row>> {
    let mut trial = None;
    let mut rows = Vec::new();
    for (number, fault) in faults.into_iter().enumerate() {
        let mut used = match trial.take() {
            Some(trial) => trial,
            None => {
                let dir = dir.join(format!("fleet-{number}"));
                Trial::start(binary.clone(), dir, Arc::clone(&wires), tls).await?
            }
        };
        let (row, is_healed) = used.measure(fault, lasting).await?;
        errln!("{}", table(std::slice::from_ref(&row)).to_string().lines().last().unwrap_or_default());
        row.notes.iter().for_each(|note| errln!("    {note}"));
        rows.push(row);
        trial = is_healed.then_some(used);
    }
    Ok(rows)
}

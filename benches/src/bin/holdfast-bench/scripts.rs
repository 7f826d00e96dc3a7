//! `holdfast-bench scripts`: how long the shell takes for long scripts, and how that grows with their length.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use holdfast_benches::fleet::{FleetOptions, LocalFleet, binary_beside, scratch_in};
use holdfast_output::{errln, outln};
use tokio::process::Command;
use tokio::time::Instant;

/// Arguments of `scripts`.
#[derive(Args, Debug)]
pub struct ScriptsArguments {
    /// Rows, keys or lines of the shortest script; the others have two and four times as many
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rows: u32,
    /// Runs of each script; the fastest counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    runs: u8,
}

/// A kind of script, and how it is made.
type Script = (&'static str, fn(u32) -> String);

const SCRIPTS: &[Script] = &[
    ("rows of one UPSERT, on one line", |rows| format!("UPSERT INTO default VALUES {};", list(rows, "('k@', 'v')"))),
    ("keys of IN, on one line", |keys| format!("SELECT COUNT(*) FROM default WHERE key IN ({});", list(keys, "'k@'"))),
    ("lines of a text, with semicolons", |lines| {
        format!("UPSERT INTO default VALUES ('text', '{}');", "a; b\n".repeat(lines as usize))
    }),
    ("statements on one line", |statements| "SHOW KEYSPACES; ".repeat((statements / 10).max(1) as usize)),
    ("a wrong row at the end of a line", |rows| {
        format!("UPSERT INTO default VALUES {}, ('k', wrong);", list(rows, "('k@', 'v')"))
    }),
];

/// So many of a thing that has a number for each `@`, with commas.
fn list(count: u32, thing: &str) -> String {
    let mut list = String::new();
    for number in 0..count {
        let comma = if number > 0 { ", " } else { "" };
        let _ = write!(list, "{comma}{}", thing.replace('@', &format!("{number:07}")));
    }
    list
}

/// Measures, and prints a table.
pub async fn run(arguments: &ScriptsArguments) -> anyhow::Result<()> {
    let binary = binary_beside(&std::env::current_exe()?)?;
    let folder = scratch_in(None, "holdfast-bench-")?;
    errln!("starting 3 sites with 1 store each on loopback");
    let mut fleet = LocalFleet::new(FleetOptions {
        binary: binary.clone(),
        dir: folder.path().join("fleet"),
        sites: 3,
        stores_per_site: 1,
        extra_args: Vec::new(),
        tls: false,
    })?;
    fleet.start().await?;
    outln!("{:<36} {:>8} {:>10} {:>8}", "script", "of", "ms", "times")?;
    for (name, script) in SCRIPTS {
        let mut before: Option<Duration> = None;
        for size in [1, 2, 4].map(|times| arguments.rows.saturating_mul(times)) {
            let file = folder.path().join("script.sql");
            std::fs::write(&file, script(size)).context("writing a script")?;
            let mut fastest = Duration::MAX;
            for _ in 0..arguments.runs {
                let begun = Instant::now();
                let mut command = Command::new(&binary);
                command.arg("sql").arg("-f").arg(&file).env("HOLDFAST_AT", fleet.addresses().join(","));
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
                let ended = command.status().await.context("running the shell")?;
                ensure!(
                    ended.code() == Some(i32::from(name.contains("wrong"))),
                    "a script of {size} ended with {ended}"
                );
                fastest = fastest.min(begun.elapsed());
            }
            let ms = fastest.as_secs_f64() * 1_000.0;
            let times = before.map_or(String::new(), |before| format!("{:.1}", ms / (before.as_secs_f64() * 1_000.0)));
            outln!("{name:<36} {size:>8} {ms:>10.0} {times:>8}")?;
            before = Some(fastest);
        }
    }
    Ok(())
}

//! `make image`: the binary as a container image, in one OCI archive.
//!
//! The image holds the stripped binary, the shared libraries that it names, and four small files; no shell, no package manager. What
//! comes out depends on what goes in alone: the same binary on the same system gives the same digest.

mod elf;
mod materials;
mod program;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, UNIX_EPOCH};
use std::{env, fs};

use anyhow::{Context, Result};
use clap::Parser;

use holdfast_image::{Image, archive};
use holdfast_output::{errln, outln};

use crate::program::Labels;

/// Packs the binary into a container image.
#[derive(Parser, Debug)]
#[command(name = "holdfast-image")]
struct Arguments {
    /// The binary, with its debug lines
    #[arg(long, default_value = "target/release/holdfast")]
    binary: PathBuf,
    /// Where the image, its bill of materials and the debug lines go
    #[arg(long, default_value = "target/image")]
    out: PathBuf,
    /// The name that the image has once it is loaded
    #[arg(long, default_value = concat!("holdfast:", env!("CARGO_PKG_VERSION")))]
    name: String,
    /// Write the files of the image into this folder too, for a build tool that copies them
    #[arg(long)]
    root: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(code) = holdfast_output::ending(error.as_ref()) {
                return ExitCode::from(code);
            }
            errln!("holdfast-image: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let out = &arguments.out;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let stripped = elf::strip(&arguments.binary, &out.join("holdfast.debug"))?;
    let libraries = elf::libraries(&arguments.binary)?;
    let bill = materials::bill(&libraries)?;
    let created = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(created_at()?)).to_string();
    let (base, files) = (program::base(&libraries)?, program::program(&stripped, &bill));
    if let Some(root) = &arguments.root {
        for file in base.iter().chain(&files) {
            file.write_below(root)?;
        }
    }
    let labels = Labels { created, revision: revision() };
    let image = Image::build(&program::recipe(&arguments.name, base, files, &labels))?;
    let path = out.join("holdfast.tar");
    let written = archive::write(&path, &image)?;
    fs::write(out.join("holdfast.cdx.json"), &bill).context("cannot write the bill of materials")?;
    // What a fleet file names: the digest, on a line of its own for scripts.
    fs::write(out.join("digest"), format!("{}\n", image.digest())).context("cannot write the digest")?;
    outln!("image            {}", path.display())?;
    outln!("name             {}", arguments.name)?;
    outln!("digest           {}", image.digest())?;
    outln!("size             {} as it is pulled, {} unpacked", megabytes(written), megabytes(image.unpacked()))?;
    outln!("binary           {} without its debug lines", megabytes(u64::try_from(stripped.len())?))?;
    outln!("libraries        {}", names(&libraries))?;
    outln!("debug lines      {}", out.join("holdfast.debug").display())?;
    outln!("bill of materials {}, and in the image as {}", out.join("holdfast.cdx.json").display(), program::BILL)?;
    Ok(())
}

fn names(libraries: &[elf::Library]) -> String {
    let names: Vec<_> = libraries.iter().filter_map(|library| library.path.file_name()?.to_str()).collect();
    names.join(", ")
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

/// The time that every file of the image has: `SOURCE_DATE_EPOCH`, else that of the commit, so that it does not depend on when it is built.
fn created_at() -> Result<u64> {
    if let Ok(given) = env::var("SOURCE_DATE_EPOCH") {
        return given.parse().with_context(|| format!("SOURCE_DATE_EPOCH is {given:?}, not a number of seconds"));
    }
    Ok(git(&["log", "-1", "--format=%ct"]).and_then(|time| time.parse().ok()).unwrap_or(0))
}

/// The commit that the sources are of, with a word when they differ from it.
fn revision() -> Option<String> {
    let commit = git(&["rev-parse", "HEAD"])?;
    let clean = git(&["status", "--porcelain"]).is_some_and(|changes| changes.is_empty());
    Some(if clean { commit } else { format!("{commit}-changed") })
}

/// What git says of the folder that the tool is started in. `None`: there is no git, or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(Path::new(".")).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

//! Writes the seeds into a folder, one folder a target: `holdfast-seeds FOLDER`.

use std::path::PathBuf;
use std::process::ExitCode;

use holdfast_hostile::seeds;
use holdfast_output::errln;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        errln!("name a folder: holdfast-seeds FOLDER");
        return ExitCode::from(2);
    };
    for (number, seed) in seeds::seeds().into_iter().enumerate() {
        let folder = folder.join(seed.target);
        let path = folder.join(format!("seed-{number:04}"));
        if let Err(error) = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, seed.input)) {
            errln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

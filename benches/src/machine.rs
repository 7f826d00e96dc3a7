//! The machine that measures, and what its disk takes for one sync: numbers mean nothing without.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::report::rounded;

/// Syncs of which the median counts.
const SYNCS: usize = 100;
/// Bytes written before each.
const SYNCED_BYTES: usize = 4096;
/// The kernel counts CPU time of processes in hundredths of a second, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a reader must know of the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Cores that may be used.
    pub cores: usize,
    /// The processor's name.
    pub processor: String,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// The kernel's version.
    pub kernel: String,
    /// The file system of the data.
    pub file_system: String,
    /// Median time of fdatasync after a write of 4 KiB, in milliseconds; of all rounds where there are several.
    pub fdatasync_ms: f64,
}

impl Machine {
    /// Looks at this machine and the disk below `dir`.
    pub fn look(dir: &Path) -> anyhow::Result<Self> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split(':').nth(1)).map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let memory_kib: u64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            memory_mib: memory_kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(&read("/proc/mounts"), &dir.canonicalize()?),
            fdatasync_ms: sync_time_ms(dir)?,
        })
    }
}

/// The kind of the file system that `path` lies on: of the longest mount point above it.
fn file_system(mounts: &str, path: &Path) -> String {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let above = mounts.filter(|(point, _)| path.starts_with(point));
    above.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind.to_owned()).unwrap_or_default()
}

/// The median time that the disk below `dir` takes to sync one 4 KiB write.
pub fn sync_time_ms(dir: &Path) -> anyhow::Result<f64> {
    let path = dir.join("sync-time");
    let mut file = std::fs::File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        file.write_all(&[7; SYNCED_BYTES])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    std::fs::remove_file(path)?;
    times.sort_by(f64::total_cmp);
    Ok(rounded(times[times.len() / 2], 3))
}

/// CPU time that these processes have used so far. One that has ended counts as none.
#[must_use]
pub fn cpu_time(process_ids: &[u32]) -> Duration {
    let one = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The name, in parentheses, may hold spaces; user and system time are the 12th and 13th words after it.
        let after = stat.rsplit(')').next().unwrap_or_default();
        after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
    };
    Duration::from_secs_f64(process_ids.iter().map(one).sum::<f64>() / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_above_a_path_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmpother xfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/x")), "tmpfs");
        assert_eq!(file_system(mounts, Path::new("/var/x")), "ext4");
    }

    #[test]
    fn this_process_has_used_some_time_and_an_unknown_one_none() {
        assert_eq!(cpu_time(&[u32::MAX]), Duration::ZERO);
        let mut sum = 0u64;
        while cpu_time(&[std::process::id()]).is_zero() {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}

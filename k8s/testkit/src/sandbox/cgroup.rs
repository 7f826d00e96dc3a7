//! The cgroups of the nodes: one of each node's name in every hierarchy. The unified one kills and freezes whole nodes by name.

use crate::error::{At, Error, Result};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How deep below a hierarchy's root cgroups of ours are looked for: the caller's own cgroup may lie some levels down.
const MAX_DEPTH: usize = 8;
/// How long killed processes may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(20);
/// How often that is looked at.
const POLL: Duration = Duration::from_millis(5);

/// One hierarchy of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Where it is mounted.
    pub(super) mount_point: PathBuf,
    /// The cgroup of this process in it.
    own: PathBuf,
    /// Version 1: what to mount it with (`memory`, `name=systemd`). Version 2: `None`.
    pub(super) controllers: Option<String>,
}

/// All hierarchies that are mounted.
pub(super) fn hierarchies() -> Result<Vec<Hierarchy>> {
    let (mounts, own) = (Path::new("/proc/self/mountinfo"), Path::new("/proc/self/cgroup"));
    Ok(parse(&fs::read_to_string(mounts).at(mounts)?, &fs::read_to_string(own).at(own)?))
}

fn parse(mounts: &str, own: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let Some(mount_point) = mount_point_of(mounts, controllers) else { continue };
        let controllers = Some(controllers.to_owned()).filter(|controllers| !controllers.is_empty());
        let own = mount_point.join(path.trim_start_matches('/'));
        if !found.iter().any(|known: &Hierarchy| known.mount_point == mount_point) {
            found.push(Hierarchy { mount_point, own, controllers });
        }
    }
    found
}

/// `... MOUNT-POINT OPTIONS ... - TYPE SOURCE SUPER-OPTIONS`
fn mount_point_of(mounts: &str, controllers: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let is_it = match controllers {
            "" => kind == "cgroup2",
            some => kind == "cgroup" && some.split(',').all(|one| options.split(',').any(|option| option == one)),
        };
        is_it.then(|| before.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

/// What is lacking of cgroups.
pub(crate) fn missing() -> Vec<String> {
    let found = hierarchies().unwrap_or_default();
    let has = |controller: &str| {
        found.iter().any(|hierarchy| match &hierarchy.controllers {
            Some(controllers) => controllers.split(',').any(|one| one == controller),
            None => fs::read_to_string(hierarchy.mount_point.join("cgroup.controllers"))
                .is_ok_and(|all| all.split_whitespace().any(|one| one == controller)),
        })
    };
    let mut missing: Vec<_> = ["cpu", "memory", "pids"]
        .iter()
        .filter(|controller| !has(controller))
        .map(|controller| format!("the cgroup controller {controller} is not mounted"))
        .collect();
    if !found.iter().any(|hierarchy| hierarchy.controllers.is_none()) {
        missing.push(
            "no cgroup2 is mounted (an empty one beside version 1 is enough): whole nodes are killed by it".to_owned(),
        );
    }
    missing
}

/// The cgroups of one name.
pub(crate) struct Cgroup {
    name: String,
}

impl Cgroup {
    pub(crate) fn new(name: String) -> Cgroup {
        Cgroup { name }
    }

    /// Where it lies in a hierarchy. The unified one has it at its root, where it is found whoever asks; the others below the
    /// caller's own cgroup, whose limits count for it too.
    fn path(&self, hierarchy: &Hierarchy) -> PathBuf {
        let above = if hierarchy.controllers.is_some() { &hierarchy.own } else { &hierarchy.mount_point };
        above.join(&self.name)
    }

    fn unified(&self) -> Result<PathBuf> {
        let hierarchies = hierarchies()?;
        let unified = hierarchies.iter().find(|hierarchy| hierarchy.controllers.is_none());
        let unified = unified.ok_or_else(|| Error::Invalid("no cgroup2 is mounted".to_owned()))?;
        Ok(self.path(unified))
    }

    /// Makes it in every hierarchy and moves this process into it.
    pub(crate) fn join(&self) -> Result<()> {
        for hierarchy in hierarchies()? {
            let path = self.path(&hierarchy);
            fs::create_dir_all(&path).at(&path)?;
            if hierarchy.controllers.as_deref() == Some("cpuset") {
                // Without these nothing may join.
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    let value = fs::read_to_string(hierarchy.own.join(file)).at(&path)?;
                    fs::write(path.join(file), value.trim()).at(&path)?;
                }
            }
            fs::write(path.join("cgroup.procs"), "0").at(&path)?;
        }
        Ok(())
    }

    /// Where version 2 has the controllers, lets the pods' cgroups have them, which asks for a cgroup of its own for this process.
    pub(crate) fn hand_down_controllers(&self) -> Result<()> {
        let path = self.unified()?;
        let file = path.join("cgroup.controllers");
        let controllers = fs::read_to_string(&file).at(&file)?;
        if controllers.trim().is_empty() {
            return Ok(());
        }
        let init = path.join("init");
        fs::create_dir_all(&init).at(&init)?;
        fs::write(init.join("cgroup.procs"), "0").at(&init)?;
        let all: Vec<_> = controllers.split_whitespace().map(|controller| format!("+{controller}")).collect();
        fs::write(path.join("cgroup.subtree_control"), all.join(" ")).at(&path)
    }

    /// Whether any process is in it.
    pub(crate) fn is_alive(&self) -> bool {
        self.has_event("populated 1")
    }

    /// Whether all of its processes stand still.
    pub(crate) fn is_frozen(&self) -> bool {
        self.has_event("frozen 1")
    }

    fn has_event(&self, event: &str) -> bool {
        let events = self.unified().and_then(|path| fs::read_to_string(path.join("cgroup.events")).at(&path));
        events.is_ok_and(|events| events.lines().any(|line| line == event))
    }

    /// Kills every process in it at once and waits until they are gone.
    pub(crate) fn kill(&self) -> Result<()> {
        let path = self.unified()?;
        match fs::write(path.join("cgroup.kill"), "1") {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.at(&path)?,
        }
        let begin = Instant::now();
        while self.is_alive() {
            if begin.elapsed() > KILL_LIMIT {
                let what = format!("the end of all processes in {}", path.display());
                return Err(Error::Timeout { what, limit: KILL_LIMIT, logs: path });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Stops every process in it where it is, or lets it run on.
    pub(crate) fn freeze(&self, freeze: bool) -> Result<()> {
        let path = self.unified()?.join("cgroup.freeze");
        fs::write(&path, if freeze { "1" } else { "0" }).at(&path)
    }

    /// Removes it, with those of the pods below it: each stale one would hold the next kubelet up for 3 s.
    pub(crate) fn remove(&self) -> Result<()> {
        for path in find(|name| name == self.name)? {
            remove_tree(&path)?;
        }
        Ok(())
    }
}

/// The names of all cgroups that begin so.
pub(crate) fn names_with_prefix(prefix: &str) -> Result<Vec<String>> {
    let paths = find(|name| name.starts_with(prefix))?;
    let mut names: Vec<_> =
        paths.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// All cgroups of such a name, in any hierarchy, whoever made them.
fn find(is_it: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for hierarchy in hierarchies()? {
        find_below(&hierarchy.mount_point, MAX_DEPTH, &is_it, &mut found);
    }
    Ok(found)
}

fn find_below(folder: &Path, depth: usize, is_it: &impl Fn(&str) -> bool, found: &mut Vec<PathBuf>) {
    // Cgroups of others may vanish while they are listed.
    for path in folders_in(folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if is_it(&name) {
            found.push(path);
        } else if depth > 0 {
            find_below(&path, depth - 1, is_it, found);
        }
    }
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn remove_tree(path: &Path) -> Result<()> {
    for folder in folders_in(path) {
        remove_tree(&folder)?;
    }
    match fs::remove_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).at(path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 cgroup2 rw
";

    #[test]
    fn hierarchies_of_both_versions_are_found_with_the_own_cgroup() {
        let found = parse(MOUNTS, "5:cpu,cpuacct:/\n4:memory:/a/b\n3:name=systemd:/\n2:perf_event:/\n0::/\n");
        let points: Vec<_> = found.iter().map(|hierarchy| hierarchy.mount_point.to_str().unwrap()).collect();
        let expected = ["cpu,cpuacct", "memory", "systemd", "unified"].map(|name| format!("/sys/fs/cgroup/{name}"));
        assert_eq!(points, expected);
        let cgroup = Cgroup::new("hfc-a.east-0".to_owned());
        assert_eq!(cgroup.path(&found[1]), Path::new("/sys/fs/cgroup/memory/a/b/hfc-a.east-0"));
        assert_eq!(cgroup.path(&found[3]), Path::new("/sys/fs/cgroup/unified/hfc-a.east-0"));
        assert_eq!(found[3].controllers, None);
    }
}

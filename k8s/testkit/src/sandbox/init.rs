//! Pid 1 of a node's sandbox: makes the machine look like a node's own, starts the supervisor, and reaps what others leave behind.
//!
//! All of its mounts are in its own mount namespace: nothing of them is seen outside, and they are gone with the sandbox.

use super::cgroup::{self, Hierarchy};
use crate::config::SandboxSpec;
use crate::error::{At, Error, Result};
use crate::state::read_json;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change};
use rustix::process::{WaitOptions, wait};
use std::ffi::CString;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// What the kubelet insists on and would write, for the whole machine. It is shown files with these values in place of the sysctls.
const FAKE_SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];
/// Sysctls of the sandbox's own network namespace.
const NETWORK_SYSCTLS: [(&str, &str); 2] = [("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/all/rp_filter", "0")];
/// Where the sandbox keeps what its mounts are made of.
const OWN: &str = "/run/sandbox";

/// The hidden subcommand that is pid 1 of a node's sandbox. Returns only when something is wrong.
pub fn node_init(spec_path: &Path) -> Result<()> {
    let spec: SandboxSpec = read_json(spec_path)?;
    prepare(&spec)?;
    let own = Path::new("/proc/self/exe");
    let program = fs::read_link(own).at(own)?;
    let child = Command::new(program).arg("node-run").arg(spec_path).spawn().at(spec_path)?;
    loop {
        // Orphans of anything in the sandbox end here too, and need nothing but to be waited for.
        let (pid, status) = match wait(WaitOptions::empty()).at(spec_path)? {
            Some(ended) => ended,
            None => continue,
        };
        if pid.as_raw_nonzero().get().unsigned_abs() == child.id() {
            return Err(Error::Invalid(format!("the supervisor ended: {status:?}")));
        }
    }
}

fn prepare(spec: &SandboxSpec) -> Result<()> {
    let hierarchies = cgroup::hierarchies()?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at(Path::new("/"))?;
    new_file_system("sysfs", Path::new("/sys"), "")?;
    mount_run()?;
    new_file_system("tmpfs", Path::new("/var/log"), "mode=755")?;
    for folder in ["/var/log/pods", "/var/log/containers"] {
        fs::create_dir_all(folder).at(Path::new(folder))?;
    }
    graft(Path::new("/var/lib"), &spec.libraries)?;
    for (name, value) in FAKE_SYSCTLS {
        let fake = Path::new(OWN).join(name.replace('/', "."));
        fs::write(&fake, value).at(&fake)?;
        bind(&fake, &Path::new("/proc/sys").join(name))?;
    }
    for (name, value) in NETWORK_SYSCTLS {
        let path = Path::new("/proc/sys").join(name);
        fs::write(&path, value).at(&path)?;
    }
    mount_cgroups(&hierarchies)?;
    // The kubelet and containerd pass mounts on to pods.
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC).at(Path::new("/"))?;
    rustix::system::sethostname(spec.host_name.as_bytes()).at(Path::new("/proc/sys/kernel/hostname"))
}

/// An empty /run, so that sockets, network namespaces and locks are the node's own.
fn mount_run() -> Result<()> {
    new_file_system("tmpfs", Path::new("/run"), "mode=755")?;
    for folder in ["/run/lock", "/run/netns", OWN] {
        fs::create_dir_all(folder).at(Path::new(folder))?;
    }
    Ok(())
}

/// Puts folders of the node into a folder of the machine, which keeps everything else that it has: for programs whose paths are fixed.
fn graft(target: &Path, folders: &[std::path::PathBuf]) -> Result<()> {
    let before = Path::new(OWN).join("grafted");
    fs::create_dir_all(&before).at(&before)?;
    mount_bind_recursive(target, &before).at(target)?;
    new_file_system("tmpfs", target, "mode=755")?;
    for entry in fs::read_dir(&before).at(&before)? {
        let entry = entry.at(&before)?;
        let place = target.join(entry.file_name());
        if folders.iter().any(|folder| folder.file_name() == place.file_name()) {
            continue;
        }
        let kind = entry.file_type().at(&entry.path())?;
        if kind.is_symlink() {
            let link = fs::read_link(entry.path()).at(&entry.path())?;
            std::os::unix::fs::symlink(link, &place).at(&place)?;
        } else if kind.is_dir() {
            fs::create_dir(&place).at(&place)?;
            mount_bind_recursive(entry.path(), &place).at(&place)?;
        } else {
            File::create(&place).at(&place)?;
            bind(&entry.path(), &place)?;
        }
    }
    for folder in folders {
        let place = target.join(folder.file_name().unwrap_or_default());
        fs::create_dir(&place).at(&place)?;
        bind(folder, &place)?;
    }
    Ok(())
}

/// Mounts the hierarchies anew, as they look from the node's cgroup namespace. Not the empty unified one beside version 1: runc would use it.
fn mount_cgroups(hierarchies: &[Hierarchy]) -> Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    let is_mixed = hierarchies.iter().any(|hierarchy| hierarchy.controllers.is_some());
    if !is_mixed {
        return new_file_system("cgroup2", root, "");
    }
    new_file_system("tmpfs", root, "mode=755")?;
    for hierarchy in hierarchies {
        let Some(controllers) = &hierarchy.controllers else { continue };
        let place = root.join(hierarchy.mount_point.file_name().unwrap_or_default());
        fs::create_dir_all(&place).at(&place)?;
        let is_named = controllers.starts_with("name=");
        let options = if is_named { format!("none,{controllers}") } else { controllers.clone() };
        new_file_system("cgroup", &place, &options)?;
        // Each controller is also looked for under its own name.
        for one in controllers.split(',').filter(|one| !is_named && root.join(one) != place) {
            let link = root.join(one);
            std::os::unix::fs::symlink(&place, &link).at(&link)?;
        }
    }
    Ok(())
}

fn new_file_system(kind: &str, target: &Path, options: &str) -> Result<()> {
    let options = CString::new(options).expect("options are words of ours");
    mount(kind, target, kind, MountFlags::empty(), options.as_c_str()).at(target)
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    mount_bind(source, target).at(target)
}

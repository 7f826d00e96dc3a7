//! Pods that stop, move, are killed, are rolled out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use holdfast_stage::{Pod, Stage};
use serde_json::Value;

use crate::loads::Loads;

/// What a process that is told to stop and has nothing else to say ends with.
const CLEAN: i64 = 0;

/// Kubernetes tells pid 1 to stop, and nobody else: a program that has no handler there would wait for the kill.
pub fn stops_when_told(stage: &mut Stage) {
    let pod = stage.pod("east", 0);
    let before = stage.restarts(&pod).unwrap();
    let process = process_of(&pod).unwrap();
    // Not through Kubernetes, so that the container, and with it its exit code, stays.
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    let ended = || {
        let seen = stage.seen(&pod)?;
        let status = &seen["status"]["containerStatuses"][0];
        let states = [&status["state"]["terminated"], &status["lastState"]["terminated"]];
        // Kubernetes counts the new start before or after it tells how the last one ended.
        let code = states.into_iter().find_map(|state| state["exitCode"].as_i64())?;
        stage.restarts(&pod).filter(|restarts| *restarts > before).map(|_| code)
    };
    assert_eq!(stage.until("the container is started anew", ended).unwrap(), CLEAN);
    let says = || stage.log(&pod, true).ok().filter(|said| said.contains("told to stop")).map(drop);
    stage.until("it says that it was told to stop", says).unwrap();
    stage.settled("east", 3).unwrap();
}

/// On a Monday, everything is started anew: no address is what it was, in no site.
pub fn all_move(stage: &mut Stage) {
    let sites = stage.sites();
    let pods: Vec<Pod> = sites.iter().map(|site| stage.pod(site, 0)).collect();
    stage.client(&sites[0], &["put", "monday", "before"]).unwrap();
    let addresses = |stage: &Stage| pods.iter().filter_map(|pod| stage.address(pod)).collect::<BTreeSet<_>>();
    let before = addresses(stage);
    assert_eq!(before.len(), pods.len());
    for pod in &pods {
        stage.kubectl(&pod.site, &["delete", "pod", &pod.name, "--force", "--grace-period", "0"]).unwrap();
    }
    stage.settled("east", 3).unwrap();
    assert_eq!(addresses(stage).intersection(&before).count(), 0, "{before:?}");
    for pod in &pods {
        stage.ready(pod).unwrap();
    }
    assert!(stage.client(&sites[1], &["get", "monday"]).unwrap().contains("before"));
}

/// The store's memory is bounded by the kernel, and it is killed for it.
pub fn out_of_memory(stage: &mut Stage) {
    let pod = stage.pod("west", 0);
    let before = stage.restarts(&pod).unwrap();
    let group = memory_group(process_of(&pod).unwrap());
    // Pages of files can be taken back; what the process itself fills cannot.
    let told = fs::read_to_string(group.join("memory.stat")).unwrap();
    let own = told
        .lines()
        .find_map(|line| line.strip_prefix("total_rss ")?.parse::<u64>().ok())
        .expect("a figure of its own");
    let loads = Loads::start(stage, "memory", 25, &["east", "north"]);
    // Nothing can be set below what is used; a little above is soon used up.
    let limit = own + (512 << 10);
    stage.until("the limit is set", || fs::write(group.join("memory.limit_in_bytes"), limit.to_string()).ok()).unwrap();
    let seen = stage
        .until("the container is killed and started anew", || {
            stage.seen(&pod).filter(|_| stage.restarts(&pod).is_some_and(|restarts| restarts > before))
        })
        .unwrap();
    let reason = &seen["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"];
    assert_eq!(reason.as_str(), Some("OOMKilled"), "{seen}");
    loads.end_clean(stage);
    stage.settled("east", 3).unwrap();
}

/// Another template, site by site and pod by pod, while every site is loaded.
pub fn rollout(stage: &mut Stage) {
    let memory = |stage: &Stage, site: &str| -> Value {
        stage.seen(&stage.pod(site, 0)).unwrap()["spec"]["containers"][0]["resources"]["limits"]["memory"].clone()
    };
    stage.fleet.memory = "800Mi".to_owned();
    stage.write().unwrap();
    let sites = stage.sites();
    let names: Vec<_> = sites.iter().map(String::as_str).collect();
    let loads = Loads::start(stage, "rollout", 240, &names);
    stage.fleet("apply", &[]).unwrap();
    loads.end_clean(stage);
    for site in &sites {
        assert_eq!(memory(stage, site), "800Mi", "{site}");
    }
    stage.settled("east", 3).unwrap();
}

/// The process of a pod's store, as this machine numbers it.
fn process_of(pod: &Pod) -> Option<rustix::process::Pid> {
    let named = format!("POD_NAME={}", pod.name);
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut found = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let number = found.find(|number| {
        let folder = PathBuf::from(format!("/proc/{number}"));
        let environment = fs::read(folder.join("environ")).unwrap_or_default();
        let is_named = environment.split(|byte| *byte == 0).any(|variable| variable == named.as_bytes());
        is_named && fs::read_link(folder.join("exe")).is_ok_and(|path| path == Path::new("/holdfast"))
    })?;
    rustix::process::Pid::from_raw(number)
}

/// The memory control group of a process.
fn memory_group(process: rustix::process::Pid) -> PathBuf {
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", process.as_raw_nonzero())).unwrap();
    let path = groups.lines().find_map(|line| line.split_once(":memory:")).expect("a memory group").1;
    Path::new("/sys/fs/cgroup/memory").join(path.trim_start_matches('/'))
}

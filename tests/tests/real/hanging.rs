//! Threads that stand still, and a disk that does: the first ends a store, the second must not.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use holdfast_tests::raw;
use holdfast_tests::scene::{Scene, skip};
use holdfast_tests::wait;
use holdfast_types::limits;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// All threads of a store that has one worker and two cores, by what the kernel calls them, with what `/livez` does.
const THREADS: [(&str, &str); 9] = [
    ("worker-0", "worker 0: "),
    ("log-writer", "log writer: "),
    ("apply-0", "apply 0: "),
    ("read-0", "read 0: "),
    ("read-1", "read 1: "),
    ("snapshot", "snapshot: "),
    ("maintenance", "maintenance: "),
    ("support", "support: "),
    ("tokio-rt-worker", "runtime: "),
];

/// Stops some threads of a process, as a debugger does, until it is dropped.
struct Held {
    _release: mpsc::Sender<()>,
    ended: std::thread::JoinHandle<()>,
}

impl Held {
    /// Holds the threads that are called so. An error says why they cannot be held.
    fn hold(process: u32, names: Vec<&'static str>) -> Result<Self, String> {
        let (release, released) = mpsc::channel::<()>();
        let (done, is_done) = mpsc::channel();
        // Who holds a thread is a thread itself: when it ends, those that it held go on.
        let holder = std::thread::spawn(move || {
            let held = threads(process, &names).into_iter().try_for_each(|thread| {
                ptrace::seize(thread, ptrace::Options::empty())?;
                ptrace::interrupt(thread)
            });
            done.send(held.map_err(|error| format!("threads of a process cannot be held: {error}"))).unwrap();
            // An error is the drop of the sender: the end of holding.
            let _ = released.recv();
        });
        is_done.recv().unwrap().map(|()| Self { _release: release, ended: holder })
    }

    fn release(self) {
        let Self { _release: release, ended } = self;
        drop(release);
        ended.join().unwrap();
    }
}

/// The ids of the threads of a process that are called so. Each name must be there.
fn threads(process: u32, names: &[&str]) -> Vec<Pid> {
    let tasks = PathBuf::from(format!("/proc/{process}/task"));
    let all: Vec<(i32, String)> = std::fs::read_dir(tasks)
        .unwrap()
        .filter_map(|task| {
            let task = task.unwrap();
            let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
            Some((task.file_name().to_str()?.parse().ok()?, name.trim().to_owned()))
        })
        .collect();
    for name in names {
        assert!(all.iter().any(|(_, known)| known == name), "{name} is not among {all:?}");
    }
    all.into_iter().filter(|(_, name)| names.contains(&name.as_str())).map(|(id, _)| Pid::from_raw(id)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_names_each_of_its_threads_that_hangs_and_lives_on_when_it_moves_again() {
    let Some(mut scene) = Scene::prepare(3, 1).await else { return };
    scene.fleet.add_args(&["--workers", "1"]);
    scene.fleet.start().await.unwrap();
    let client = scene.client().await;
    client.put("before", "v").await.unwrap();
    let (process, http) = (scene.fleet.pid(1).unwrap(), scene.fleet.stores()[1].http);
    let livez = async || raw::http_get(http, "/livez").await.unwrap();
    assert!(livez().await.starts_with("HTTP/1.1 200"));
    let held = match Held::hold(process, THREADS.map(|(thread, _)| thread).to_vec()) {
        Ok(held) => held,
        Err(why) => return skip(&why),
    };
    // Long before anybody ends it, the others lead.
    client.put("during", "v").await.unwrap();
    let said = wait::until("it says that it hangs", async || {
        let said = livez().await;
        said.starts_with("HTTP/1.1 503").then_some(said)
    })
    .await;
    for (_, shown) in THREADS {
        assert!(said.lines().any(|line| line.starts_with(shown)), "{shown} is missing:\n{said}");
    }
    held.release();
    // They beat within a moment, and the answer waits for it: a machine that slept is not a store that hangs.
    let said = livez().await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    wait::until("it is ready again", async || {
        let ready = raw::http_get(http, "/readyz").await?;
        ready.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
    client.put("after", "v").await.unwrap();
}

/// A disk of its own that can be made to stand still; unmounted when dropped.
struct FreezingDisk(PathBuf);

impl FreezingDisk {
    fn mount(at: &Path, image: &Path) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting an image needs root".into());
        }
        std::fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let file = std::fs::File::create(image).map_err(|error| error.to_string())?;
        file.set_len(1 << 30).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").arg("-q").arg(image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at))?;
        Ok(Self(at.to_owned()))
    }

    fn freeze(&self) {
        run(Command::new("fsfreeze").arg("-f").arg(&self.0)).unwrap();
    }

    fn thaw(&self) {
        run(Command::new("fsfreeze").arg("-u").arg(&self.0)).unwrap();
    }
}

impl Drop for FreezingDisk {
    fn drop(&mut self) {
        // It is thawed unless the test failed meanwhile.
        let _ = run(Command::new("fsfreeze").arg("-u").arg(&self.0));
        // Lazily: the store may still be ending.
        let _ = run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_stands_still_takes_a_store_out_of_service_and_does_not_end_it() {
    let Some(mut scene) = Scene::prepare(3, 1).await else { return };
    let disk = match FreezingDisk::mount(&scene.fleet.stores()[1].data_dir, &scene.path("image")) {
        Ok(disk) => disk,
        Err(reason) => return skip(&reason),
    };
    scene.fleet.start().await.unwrap();
    let client = scene.client().await;
    let http = scene.fleet.stores()[1].http;
    client.put("before", "v").await.unwrap();
    disk.freeze();
    let mut writes = 0;
    wait::until("it is not ready", async || {
        // What is written goes to its log too, and so it notices.
        client.put(format!("during/{writes}"), "v").await.unwrap();
        writes += 1;
        let ready = raw::http_get(http, "/readyz").await?;
        (ready.starts_with("HTTP/1.1 503") && ready.contains("fsync outstanding")).then_some(())
    })
    .await;
    let seen = Instant::now();
    while seen.elapsed() < limits::THREAD_HANGS + Duration::from_secs(5) {
        let alive = raw::http_get(http, "/livez").await.unwrap();
        assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
        client.put(format!("during/{writes}"), "v").await.unwrap();
        writes += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    disk.thaw();
    wait::until("it is ready again", async || {
        let ready = raw::http_get(http, "/readyz").await?;
        ready.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
    assert!(scene.fleet.is_running(1), "it never ended");
    scene.fleet.kill_running();
    drop(disk);
}

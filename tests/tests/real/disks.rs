//! Disks that are full, or that two processes want.

use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_client::ClientError;
use holdfast_tests::raw;
use holdfast_tests::scene::{Scene, skip};
use holdfast_tests::wait;

/// Room for a store and the reserve below which it refuses writes.
const DISK_MIB: u64 = 320;
/// What is left when the disk is nearly full: less than the reserve.
const NEARLY_FULL_MIB: u64 = 40;

/// A small disk of its own; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting a tmpfs needs root".into());
        }
        std::fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let size = format!("size={DISK_MIB}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self(at.to_owned())),
            Ok(output) => Err(format!("no tmpfs: {}", String::from_utf8_lossy(&output.stderr))),
            Err(error) => Err(format!("no tmpfs: {error}")),
        }
    }

    fn free_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Takes space until only so much is left.
    fn fill_up_to(&self, left_bytes: u64) {
        let file = std::fs::File::options().create(true).append(true).open(self.ballast()).unwrap();
        let now = file.metadata().unwrap().len();
        let more = self.free_bytes().saturating_sub(left_bytes);
        // tmpfs has no sparse blocks once they are allocated.
        let _ = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), now, more);
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the store may still be ending.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nearly_full_disk_refuses_writes_reads_on_and_recovers_when_space_is_freed() {
    let Some(mut scene) = Scene::prepare(1, 1).await else { return };
    let disk = match SmallDisk::mount(&scene.fleet.stores()[0].data_dir) {
        Ok(disk) => disk,
        Err(reason) => return skip(&reason),
    };
    scene.fleet.start_store(0).unwrap();
    scene.fleet.wait_listening(0).await.unwrap();
    scene.fleet.fleet_client(0).await.unwrap().init(holdfast_proto::v1::InitRequest::default()).await.unwrap();
    let client = scene.client().await;
    client.put("before", "v").await.unwrap();
    disk.fill_up_to(NEARLY_FULL_MIB << 20);
    let mut kv = raw::kv(scene.fleet.stores()[0].client).await;
    let refused = wait::until("writes are refused", async || kv.put(raw::put("during", "v", None)).await.err()).await;
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
    assert!(refused.message().contains("disk"), "{}", refused.message());
    let hurried = client.with_deadline(std::time::Duration::from_millis(300));
    match hurried.put("during too", "v").await {
        Err(ClientError::DeadlineExceeded { last: Some(_) }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(client.get("before").await.unwrap().unwrap().value, "v");
    disk.free();
    wait::until("writes are taken again", async || kv.put(raw::put("after", "v", None)).await.ok()).await;
    assert_eq!(client.get("after").await.unwrap().unwrap().value, "v");
    assert!(client.get("during too").await.unwrap().is_none(), "what was refused was not done");
    assert!(scene.fleet.is_running(0));
    drop(scene);
}

/// The disk of one store has no byte left: the others lead and go on. The store may end, but must not come back wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_disk_is_full_to_the_last_byte_costs_no_write_and_returns_when_space_is_freed() {
    let Some(mut scene) = Scene::prepare(3, 1).await else { return };
    let disk = match SmallDisk::mount(&scene.fleet.stores()[1].data_dir) {
        Ok(disk) => disk,
        Err(reason) => return skip(&reason),
    };
    scene.fleet.start().await.unwrap();
    scene.split_at(&["full/100", "full/200"]).await;
    let client = scene.client().await;
    let key = |i: usize| format!("full/{i:03}");
    for i in 0..300 {
        client.put(key(i), "before").await.unwrap();
    }
    disk.fill_up_to(0);
    for i in 0..300 {
        // Large enough that the log of the full disk must grow.
        client.put(key(i), vec![b'x'; 8 << 10]).await.unwrap();
    }
    for i in 0..300 {
        assert_eq!(client.get(key(i)).await.unwrap().unwrap().value.len(), 8 << 10);
    }
    disk.free();
    if !scene.fleet.is_running(1) {
        let status = scene.fleet.wait_ended(1, wait::PATIENCE).await.unwrap();
        assert!(status.code().is_some(), "it ended by itself, not by a signal: {status}");
        scene.fleet.start_store(1).unwrap();
    }
    wait::until("the store is a useful member again", async || {
        let stores = scene.fleet.fleet_client(0).await.ok()?;
        let mut stores = stores;
        let described = stores.describe(holdfast_proto::v1::DescribeRequest {}).await.ok()?.into_inner();
        let all = described.stores.iter().filter(|store| store.alive).count() == 3;
        all.then_some(())
    })
    .await;
    // Now it must count: with another store gone, nothing is written without it.
    scene.fleet.kill(2).unwrap();
    for i in 0..300 {
        client.put(key(i), "after").await.unwrap();
    }
    for i in 0..300 {
        assert_eq!(client.get(key(i)).await.unwrap().unwrap().value, "after");
    }
    drop(scene);
}

/// Opening a store writes: one whose disk has no byte left when it starts gives its reserve up.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_disk_is_full_when_it_starts_is_opened_all_the_same() {
    let Some(mut scene) = Scene::prepare(3, 1).await else { return };
    let disk = match SmallDisk::mount(&scene.fleet.stores()[1].data_dir) {
        Ok(disk) => disk,
        Err(reason) => return skip(&reason),
    };
    let reserve = scene.fleet.stores()[1].data_dir.join("RESERVE");
    scene.fleet.start().await.unwrap();
    assert!(reserve.metadata().unwrap().len() > 1 << 20);
    let client = scene.client().await;
    let key = |i: usize| format!("full/{i:03}");
    for i in 0..300 {
        client.put(key(i), vec![b'x'; 8 << 10]).await.unwrap();
    }
    scene.fleet.kill(1).unwrap();
    disk.fill_up_to(0);
    scene.fleet.start_store(1).unwrap();
    scene.fleet.wait_listening(1).await.unwrap();
    assert!(!reserve.exists(), "there was nothing else to open it with");
    for i in 0..300 {
        assert_eq!(client.get(key(i)).await.unwrap().unwrap().value.len(), 8 << 10);
    }
    disk.free();
    wait::until("the reserve is there again", async || reserve.exists().then_some(())).await;
    scene.fleet.kill(2).unwrap();
    for i in 0..300 {
        client.put(key(i), "after").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_a_store_is_its_users_alone() {
    use std::os::unix::fs::PermissionsExt;

    let Some(mut scene) = Scene::prepare(1, 1).await else { return };
    // It is there already, and everybody may look into it.
    let data = scene.fleet.stores()[0].data_dir.clone();
    std::fs::create_dir_all(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    scene.fleet.start().await.unwrap();
    let mut found = vec![data];
    let mut seen = 0;
    while let Some(path) = found.pop() {
        // Files come and go while it runs.
        let Ok(metadata) = path.metadata() else { continue };
        let mode = metadata.permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
        seen += 1;
        if path.is_dir() {
            found.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen > 10, "both instances have files");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_a_data_directory_is_refused() {
    let Some(scene) = Scene::start(1).await else { return };
    let data = scene.fleet.stores()[1].data_dir.to_str().unwrap().to_owned();
    let free = ["--listen", "127.0.0.1:0", "--listen-store", "127.0.0.1:0", "--listen-http", "127.0.0.1:0"];
    let mut arguments = vec!["start", "--insecure", "--site", "site-b", "--data-dir", &data];
    arguments.extend(free);
    arguments.extend(["--advertise", "127.0.0.1:1", "--advertise-store", "127.0.0.1:1"]);
    let second = scene.run(&arguments).await;
    assert!(!second.status.success());
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains(&data) && said.contains("another process"), "{said}");
    let client = scene.client().await;
    client.put("still", "there").await.unwrap();
    assert_eq!(scene.describe(1).await.stores.iter().filter(|store| store.alive).count(), 3);
}

//! Logs that nobody takes: a pipe that is full, one that is closed, a disk without room.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use holdfast_tests::load::Background;
use holdfast_tests::raw;
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use rustix::process::Signal;

/// A store that is kept from ending by its log would never end; all others take a few seconds.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// A pipe that nobody reads, full to its last byte: what is written to it waits.
fn full_pipe() -> (std::io::PipeReader, Stdio) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let size = rustix::pipe::fcntl_setpipe_size(&writer, 4_096).unwrap();
    writer.write_all(&vec![b'\n'; size]).unwrap();
    (reader, OwnedFd::from(writer).into())
}

fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    OwnedFd::from(writer).into()
}

fn full_disk() -> Stdio {
    std::fs::File::options().write(true).open("/dev/full").unwrap().into()
}

/// Lines of its log that a store lost, by the reason that its metrics give.
async fn lost(http: SocketAddr, reason: &str) -> Option<u64> {
    let page = raw::http_get(http, "/metrics").await?;
    let series = format!("holdfast_log_lost_lines_total{{reason=\"{reason}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&series)).map(|value| value.parse().unwrap())
}

/// Three stores whose logs go nowhere, each in its own way, and say a great deal: they serve, hold their promises, and say so. Then one of
/// them is lost, which the others notice, and all end when they are told.
#[tokio::test(flavor = "multi_thread")]
async fn stores_whose_logs_nobody_takes_lose_lines_and_nothing_else() {
    let Some(mut scene) = Scene::prepare(3, 1).await else { return };
    scene.fleet.add_args(&["--log", "trace"]);
    let (mut unread, full) = full_pipe();
    for (store, log) in [full, full_disk(), closed_pipe()].into_iter().enumerate() {
        let join = scene.fleet.join_of(store);
        scene.fleet.start_saying(store, &join, log).unwrap();
    }
    scene.fleet.found().await.unwrap();
    let load = Background::start(&mut scene, 6).await;
    for (store, reason) in [(0, "full"), (1, "unwritten"), (2, "unwritten")] {
        let http = scene.fleet.stores()[store].http;
        wait::until("lines are lost and counted", async || lost(http, reason).await.filter(|lost| *lost > 0)).await;
    }
    load.progress().await;
    for store in scene.fleet.stores() {
        for probe in ["/livez", "/readyz"] {
            let answer = raw::http_get(store.http, probe).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{probe} of {}: {answer}", store.site);
        }
    }
    // The promises hold and end as ever: what the lost store led is led by the two others, and no client sees an error.
    scene.fleet.kill(2).unwrap();
    load.progress().await;
    assert_eq!(load.finish().await, 0, "a client saw an error");
    // A store that is told to stop does not wait for its reader.
    for store in [1, 0] {
        let begun = Instant::now();
        scene.fleet.signal(store, Signal::TERM).unwrap();
        let status = scene.fleet.wait_ended(store, ENDS_WITHIN).await.unwrap();
        assert!(status.success(), "store {store} ended with {status} after {:?}", begun.elapsed());
    }
    let mut said = String::new();
    unread.read_to_string(&mut said).unwrap();
    assert!(said.len() < 2 * 4_096, "the pipe was full from the beginning");
}

/// A log that is read again tells what is missing in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_read_again_says_how_many_lines_were_lost() {
    let Some(mut scene) = Scene::prepare(1, 1).await else { return };
    scene.fleet.add_args(&["--log", "trace"]);
    let (mut unread, full) = full_pipe();
    scene.fleet.start_saying(0, &[], full).unwrap();
    scene.fleet.found().await.unwrap();
    let (client, http) = (scene.client().await, scene.fleet.stores()[0].http);
    wait::until("lines are lost", async || {
        // At this level each request is told of in many lines.
        for _ in 0..100 {
            client.put("key", "value").await.unwrap();
        }
        lost(http, "full").await.filter(|lost| *lost > 0)
    })
    .await;
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut piece = vec![0; 64 << 10];
        while let Ok(count) = unread.read(&mut piece)
            && count > 0
            && sender.send(piece[..count].to_vec()).is_ok()
        {}
    });
    let mut said = Vec::new();
    wait::until("it says what was lost", async || {
        while let Ok(piece) = heard.try_recv() {
            said.extend(piece);
        }
        let text = String::from_utf8_lossy(&said);
        text.lines().any(|line| line.contains("lines of this log were lost") && line.contains("lines=")).then_some(())
    })
    .await;
}

/// Words that nobody can hear keep no store from ending, and its exit code is what it is.
#[tokio::test(flavor = "multi_thread")]
async fn last_words_that_nobody_takes_are_given_up() {
    let Some(mut scene) = Scene::prepare(3, 1).await else { return };
    scene.fleet.add_args(&["--workers", "17"]);
    let (_unread, full) = full_pipe();
    for (store, log) in [full, full_disk(), closed_pipe()].into_iter().enumerate() {
        scene.fleet.start_saying(store, &[], log).unwrap();
        let status = scene.fleet.wait_ended(store, ENDS_WITHIN).await.unwrap();
        assert_eq!(status.code(), Some(1), "{status}");
    }
}

use std::sync::Arc;

use holdfast_client::mock::{Fault, Mock};
use holdfast_client::observe::Operation;
use tokio::sync::watch;

use super::super::progress::{Binding, Keeper};
use super::super::queue::{Sender, queue};
use super::super::reading::Digest;
use super::super::recipe::Row;
use super::super::report::Bar;
use super::*;

fn report() -> Report {
    let binding = Binding { fleet: String::new(), keyspace: 0, options: std::collections::BTreeMap::new() };
    Report::new(Progress::begin("a".into(), binding, 0, String::new()), Keeper::none(), None, Bar::hidden())
}

fn row(line: u64, key: &str, value: &str) -> Item {
    let row = Row { key: key.to_owned().into(), value: value.to_owned().into(), expires: None };
    Item { line, digest: Digest::default(), raw: Bytes::new(), what: Fate::Row(row) }
}

struct Run {
    result: Result<(), Ended>,
    progress: Progress,
}

/// Loads what `feed` sends; a write has plenty of time.
async fn load(mock: &Mock, pace: Pace, feed: impl FnOnce(Sender, watch::Sender<u8>) + Send + 'static) -> Run {
    load_within(mock, pace, Duration::from_secs(30), feed).await
}

async fn load_within(
    mock: &Mock,
    pace: Pace,
    deadline: Duration,
    feed: impl FnOnce(Sender, watch::Sender<u8>) + Send + 'static,
) -> Run {
    let client = mock.client().await.unwrap().with_deadline(deadline);
    let writer = Writer::new(client.clone(), client.fleet_now());
    let mut report = report();
    let (tell, stop) = Stop::by_hand();
    let (sender, receiver) = queue();
    let feeds = tokio::task::spawn_blocking(move || feed(sender, tell));
    let result = Load::new(writer, pace, stop, &mut report).run(receiver).await;
    feeds.await.unwrap();
    Run { result, progress: report.end(true).unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_line_of_a_key_wins_whatever_is_late() {
    const LINES: u64 = 60_000;
    let mock = Arc::new(Mock::builder().split_at("k3").split_at("k7").start().unwrap());
    let faulty = Arc::clone(&mock);
    let run = load(&mock, Pace::default(), move |queue, _tell| {
        for line in 0..LINES {
            if line == LINES / 2 {
                // Where ranges meet has been found out, and the first rows are stored. From here on some writes take longer than those behind them.
                while faulty.versions("k9").is_empty() {
                    std::thread::yield_now();
                }
                for _ in 0..6 {
                    faulty.inject(Fault::delay(Duration::from_millis(30)).on(Operation::Batch));
                    faulty.inject(Fault::lose_request().on(Operation::Batch));
                    faulty.inject(Fault::lose_answer().on(Operation::Batch));
                }
            }
            // Some keys come again at once, some a chunk later.
            let key = if line.is_multiple_of(3) { line % 10 } else { line * 7_919 % 20_000 };
            queue.send(row(line, &format!("k{key}"), &line.to_string())).unwrap();
        }
    });
    let run = run.await;
    run.result.unwrap();
    assert_eq!(run.progress.stored, LINES);
    let mut expected = std::collections::BTreeMap::new();
    for line in 0..LINES {
        let key = if line.is_multiple_of(3) { line % 10 } else { line * 7_919 % 20_000 };
        expected.insert(format!("k{key}").into_bytes(), line.to_string().into_bytes());
    }
    let rows = mock.client().await.unwrap().scan(..).collect().await.unwrap();
    let found = rows.into_iter().map(|row| (row.key.to_vec(), row.value.to_vec())).collect();
    assert_eq!(expected, found);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_progress_never_says_more_than_the_fleet_has_said() {
    let mock = Mock::start().unwrap();
    let before = 3 * u64::try_from(limits::IMPORT_CHUNK_ROWS).unwrap();
    let faults = Fault::unavailable().forever();
    let mock = Arc::new(mock);
    let breaks = Arc::clone(&mock);
    let run = load_within(&mock, Pace::default(), Duration::from_secs(1), move |queue, _tell| {
        for line in 1..=2 * before {
            if line == before {
                // Some chunks have arrived, and others are on their way.
                while breaks.versions(format!("k{:06}", before - 1)).is_empty() {
                    std::thread::yield_now();
                }
                breaks.inject(faults.clone());
            }
            if queue.send(row(line, &format!("k{line:06}"), "v")).is_err() {
                break;
            }
        }
    });
    let run = run.await;
    assert!(matches!(run.result, Err(Ended::Failed(_))), "{:?}", run.result);
    mock.clear_faults();
    let rows = mock.client().await.unwrap().scan(..).collect().await.unwrap();
    let stored: HashSet<_> = rows.into_iter().map(|row| row.key).collect();
    let missing = (1..=run.progress.line).find(|line| !stored.contains(format!("k{line:06}").as_bytes()));
    assert_eq!(missing, None, "of {} lines", run.progress.line);
    assert_eq!(run.progress.records, run.progress.line);
    assert!(run.progress.line < 2 * before);
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_it_lets_arrive_what_is_on_its_way_and_takes_nothing_more() {
    let mock = Mock::start().unwrap();
    let run = load(&mock, Pace::default(), |queue, tell| {
        queue.send(row(1, "a", "1")).unwrap();
        queue.send(row(2, "b", "2")).unwrap();
        tell.send(1).unwrap();
        // It comes to an end though the input does not.
        while queue.send(row(3, "c", "3")).is_ok() {}
    });
    let run = run.await;
    assert!(matches!(run.result, Err(Ended::Interrupted)));
    let stored = mock.client().await.unwrap().scan(..).collect().await.unwrap().len();
    assert_eq!(u64::try_from(stored).unwrap(), run.progress.records.min(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn told_twice_it_waits_for_nothing() {
    let mock = Mock::start().unwrap();
    mock.inject(Fault::hold().forever());
    let run = load(&mock, Pace::default(), |queue, tell| {
        queue.send(row(1, "a", "1")).unwrap();
        drop(queue);
        tell.send(2).unwrap();
    });
    let run = run.await;
    assert!(matches!(run.result, Err(Ended::Interrupted)), "the deadline of the write would be another end");
    assert_eq!(run.progress.records, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_strict_a_row_that_the_fleet_refuses_is_the_end_and_nothing_behind_it_is_passed() {
    let mock = Mock::builder().split_at("k5").start().unwrap();
    let pace = Pace { strict: true, rate: None };
    let chunk = u64::try_from(limits::IMPORT_CHUNK_ROWS).unwrap();
    let large = "v".repeat(limits::MAX_VALUE_BYTES + 1);
    let run = load(&mock, pace, move |queue, _tell| {
        for line in 1..=4 * chunk {
            // The first of them by its line is the last one by its key.
            let item = match line.checked_sub(chunk) {
                Some(10) => row(line, "z", &large),
                Some(20) => row(line, "a", &large),
                _ => row(line, &format!("k{line:06}"), "v"),
            };
            if queue.send(item).is_err() {
                break;
            }
        }
    });
    let run = run.await;
    let said = run.result.unwrap_err().to_string();
    assert!(said.contains(&format!("refused line {}", chunk + 10)) && said.contains("may be loaded"), "{said}");
    assert!(run.progress.line < chunk + 10, "it goes on before that line: {:?}", run.progress);
    assert_eq!((run.progress.rejected, run.progress.records), (1, run.progress.line), "the one is told");
    for line in 1..chunk + 10 {
        assert_eq!(mock.versions(format!("k{line:06}")).len(), 1, "line {line} stands before it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_row_that_the_fleet_refuses_and_one_that_cannot_be_read_the_first_is_named() {
    let mock = Mock::start().unwrap();
    let large = "v".repeat(limits::MAX_VALUE_BYTES + 1);
    let run = load(&mock, Pace { strict: true, rate: None }, move |queue, _tell| {
        queue.send(row(1, "a", "1")).unwrap();
        queue.send(row(2, "b", &large)).unwrap();
        let bad = Fate::Rejected(Why::Wrong("bad".into()));
        queue.send(Item { line: 3, digest: Digest::default(), raw: Bytes::new(), what: bad }).unwrap();
    });
    let run = run.await;
    assert!(matches!(run.result, Err(Ended::Refused(2))), "{:?}", run.result);
    assert_eq!((run.progress.rejected, run.progress.records), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_evenly() {
    let mock = Mock::start().unwrap();
    let begun = Instant::now();
    let pace = Pace { rate: Some(100), strict: false };
    let run = load(&mock, pace, |queue, _tell| {
        (1..=60).for_each(|line| queue.send(row(line, &format!("k{line}"), "v")).unwrap());
    });
    let run = run.await;
    run.result.unwrap();
    assert_eq!(run.progress.stored, 60);
    // Six parts of ten rows: the first goes at once.
    assert!(begun.elapsed() >= Duration::from_millis(490), "{:?}", begun.elapsed());
    assert!(mock.stats().applied >= 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_slowly_are_stored_as_they_come() {
    let mock = Arc::new(Mock::start().unwrap());
    let seen = Arc::clone(&mock);
    let run = load(&mock, Pace::default(), move |queue, _tell| {
        queue.send(row(1, "a", "1")).unwrap();
        while seen.versions("a").is_empty() {
            std::thread::yield_now();
        }
        queue.send(row(2, "a", "2")).unwrap();
    });
    run.await.result.unwrap();
    assert_eq!(mock.versions("a").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_is_counted_in_order_and_an_input_that_breaks_is_told() {
    let mock = Mock::start().unwrap();
    let bad = |line, what| Item { line, digest: Digest::default(), raw: Bytes::new(), what };
    let run = load(&mock, Pace::default(), move |queue, _tell| {
        queue.send(row(1, "a", "1")).unwrap();
        queue.send(bad(2, Fate::Rejected(Why::Wrong("bad".into())))).unwrap();
        queue.send(bad(2, Fate::Rejected(Why::Piece))).unwrap();
        queue.send(bad(4, Fate::Rejected(Why::LeftOut(1)))).unwrap();
        queue.send(bad(5, Fate::Broken("the disk fails".into()))).unwrap();
    });
    let run = run.await;
    assert_eq!(run.result.unwrap_err().to_string(), "line 5: the disk fails");
    let Progress { stored, rejected, left_out, records, line, .. } = run.progress;
    assert_eq!((stored, rejected, left_out, records, line), (1, 1, 1, 4, 4));
}

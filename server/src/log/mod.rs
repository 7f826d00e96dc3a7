//! What this process says of itself. Nobody has to listen: a log that is full, closed or not read costs lines, never time.
//!
//! ```text
//! any thread ─▶ --log ─▶ limit ─▶ a line ─▶ queue ─▶ the log's own thread ─▶ standard error
//! ```
//!
//! - [`limit`]: lines of one kind that come too fast are counted instead, whoever causes them
//! - `holdfast_output::visible`: a line is one line, and moves no cursor
//! - [`queue`]: bounded in bytes; whoever finds it full loses the line and goes on
//!
//! All of it stands behind the one subscriber that the process has, so no line goes around it. What is lost and what is held back are
//! counted ([`counters`]) and told in the log itself once it flows.
//!
//! The queue is written by hand: that of `tracing-appender` is bounded in lines of any length, does not count lines that could not be written,
//! and when its reader stands still its guard prints to standard output at the end, which waits for the reader or panics.

mod limit;
mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use holdfast_output::errln;
use tracing::Subscriber;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::limit::{Limit, Limited};
use self::queue::Queue;

/// The log of this process.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    queue: Arc<Queue>,
    limit: Arc<Limit>,
}

/// What did not reach the log.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Lines that found the queue full: nobody takes them, or not as fast as they come.
    pub lost_full: u64,
    /// Lines that could not be written: the log is closed, or its disk is full.
    pub lost_unwritten: u64,
    /// Lines that were one of too many of their kind.
    pub held_back: u64,
}

/// Begins the log on standard error. A filter that cannot be read is told of, and `default` stands for it.
pub fn begin(filter: &str, default: &str, json: bool) -> io::Result<()> {
    // A handle of its own: nothing else in the process may wait for a lock that the log's thread holds while nobody reads.
    #[expect(
        clippy::disallowed_methods,
        reason = "its lines are escaped, and written by a thread that nobody waits for"
    )]
    let out = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let log = Log { queue: Arc::default(), limit: Arc::default() };
    let (parsed, bad) = match EnvFilter::try_new(filter) {
        Ok(parsed) => (parsed, None),
        Err(error) => (EnvFilter::new(default), Some(error)),
    };
    subscriber(parsed, json, &log).init();
    let (queue, limit) = (Arc::clone(&log.queue), Arc::clone(&log.limit));
    std::thread::Builder::new().name("log".into()).spawn(move || queue::write_lines(&queue, &limit, out))?;
    if let Some(error) = bad {
        log.queue.push(&format!("--log {filter:?} cannot be read ({error}); using {default:?}"));
    }
    assert!(LOG.set(log).is_ok(), "a process has one log");
    Ok(())
}

/// The one subscriber: what is logged at all, how often, and where it goes.
fn subscriber(filter: EnvFilter, json: bool, log: &Log) -> impl Subscriber + Send + Sync + use<> {
    let lines = Lines(Arc::clone(&log.queue));
    let format = tracing_subscriber::fmt::layer().with_writer(lines).log_internal_errors(false);
    let format = if json { format.json().boxed() } else { format.boxed() };
    Registry::default().with(format.with_filter(filter.and(Limited(Arc::clone(&log.limit)))))
}

/// A panic is told by the log too: the words of the standard library's hook would wait for whoever reads standard error, in the thread that
/// panics.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string);
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(
            thread = thread.name(),
            place,
            backtrace,
            "a thread panicked: {}",
            panic.payload_as_str().unwrap_or("without words")
        );
    }));
}

/// The last words of the process: lines beside the log's own form. Waits until all is written, but no longer than `within`.
pub fn end(last_words: Option<&str>, within: Duration) {
    let last_words = last_words.into_iter().flat_map(str::lines);
    let Some(log) = LOG.get() else {
        for words in last_words {
            errln!("{words}");
        }
        return;
    };
    log.limit.tell_held_back();
    last_words.for_each(|words| log.queue.push_last(words));
    log.queue.wait_empty(within);
}

/// What did not reach the log so far.
pub fn counters() -> Counters {
    LOG.get().map(Log::counters).unwrap_or_default()
}

impl Log {
    fn counters(&self) -> Counters {
        let (lost_full, lost_unwritten) = self.queue.lost();
        Counters { lost_full, lost_unwritten, held_back: self.limit.held_back() }
    }
}

/// Puts each line into the queue.
struct Lines(Arc<Queue>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

/// Takes one line: the subscriber formats an event as a whole and writes it at once.
struct Line<'a>(&'a Queue);

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.push(text.strip_suffix('\n').unwrap_or(&text));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::limits;

    use super::*;

    fn log() -> Log {
        Log { queue: Arc::default(), limit: Arc::default() }
    }

    fn lines(log: &Log) -> Vec<String> {
        std::iter::from_fn(|| log.queue.next(Duration::ZERO)).map(|line| String::from_utf8(line).unwrap()).collect()
    }

    /// Every line of the process passes the limit, from whichever place, ours or another library's.
    #[test]
    fn no_place_can_write_more_lines_than_the_limit_allows() {
        let log = log();
        tracing::subscriber::with_default(subscriber(EnvFilter::new("info"), false, &log), || {
            for n in 0..10_000 {
                tracing::warn!(n, "a place of ours");
                tracing::error!(target: "h2::proto", n, "one of a library");
                tracing::info!(n, "one that is no complaint");
            }
        });
        let lines = lines(&log);
        for words in ["a place of ours", "one of a library", "one that is no complaint"] {
            let count = lines.iter().filter(|line| line.contains(words)).count();
            // One more, should the test take so long that another is due.
            assert!(
                (limits::LOG_KIND_BURST..limits::LOG_KIND_BURST + 3).contains(&u32::try_from(count).unwrap()),
                "{words}: {count}"
            );
        }
        assert!(log.counters().held_back > 29_000);
    }

    #[test]
    fn a_line_stays_one_line_and_moves_no_cursor_whatever_its_texts_are() {
        for json in [false, true] {
            let log = log();
            let text = "a\nb\x1b[2Jc\u{9b}2Jd\u{202e}e\u{7f}";
            tracing::subscriber::with_default(subscriber(EnvFilter::new("info"), json, &log), || {
                tracing::warn!(text, shown = %text, "said {text}");
            });
            let lines = lines(&log);
            let line = lines.concat();
            assert_eq!(lines.len(), 1);
            assert!(line.ends_with('\n'));
            let rest = line.trim_end_matches('\n');
            assert!(!rest.chars().any(|c| c.is_control() || c == '\u{202e}'), "{rest:?}");
            if json {
                let value: serde_json::Value = serde_json::from_str(rest).unwrap();
                assert_eq!(value["fields"]["text"], text);
            }
        }
    }
}

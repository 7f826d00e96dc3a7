//! The lines that wait to be written, and the thread that writes them.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use holdfast_output::visible;
use holdfast_types::limits;
use parking_lot::{Condvar, Mutex};

use super::limit::Limit;

/// How long the thread waits when the log can take nothing now and says so instead of making it wait.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// - At most [`limits::LOG_QUEUE_BYTES`] wait, with the line that is being written.
/// - The lock is never held while something is written: whoever has a line to add waits for nobody.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    more: Condvar,
    empty: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// What the waiting lines and the one that is being written count for.
    bytes: usize,
    lost_full: u64,
    lost_unwritten: u64,
}

impl Queue {
    /// Adds a line, without its end. It is lost when the queue is full.
    pub(super) fn push(&self, text: &str) {
        self.push_within(text, limits::LOG_QUEUE_BYTES);
    }

    /// The same for the last lines of the process: they say why it ends, and find room in a queue that is full of others.
    pub(super) fn push_last(&self, text: &str) {
        self.push_within(text, limits::LOG_QUEUE_BYTES + limits::LOG_LAST_WORDS_BYTES);
    }

    fn push_within(&self, text: &str, most: usize) {
        let mut line = visible(text).into_owned().into_bytes();
        line.push(b'\n');
        let mut state = self.state.lock();
        if state.bytes + weight(&line) > most {
            state.lost_full += 1;
            return;
        }
        state.bytes += weight(&line);
        state.lines.push_back(line);
        drop(state);
        self.more.notify_one();
    }

    /// The next line to write; `None`: none came within the time.
    pub(super) fn next(&self, within: Duration) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        if state.lines.is_empty() {
            self.more.wait_while_for(&mut state, |state| state.lines.is_empty(), within);
        }
        state.lines.pop_front()
    }

    /// A line that [`Queue::next`] gave was written, or could not be. True when it was and no more are waiting.
    fn written(&self, line: &[u8], outcome: &io::Result<()>) -> bool {
        let mut state = self.state.lock();
        state.bytes -= weight(line);
        state.lost_unwritten += u64::from(outcome.is_err());
        if state.bytes == 0 {
            self.empty.notify_all();
        }
        outcome.is_ok() && state.lines.is_empty()
    }

    /// Waits until everything is written, or could not be, or the time is over.
    pub(super) fn wait_empty(&self, within: Duration) {
        self.empty.wait_while_for(&mut self.state.lock(), |state| state.bytes > 0, within);
    }

    /// Lines that found the queue full, and lines that could not be written.
    pub(super) fn lost(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.lost_full, state.lost_unwritten)
    }
}

fn weight(line: &[u8]) -> usize {
    line.len() + limits::LOG_LINE_OVERHEAD_BYTES
}

/// The work of the log's thread, which never ends: writes what waits, and tells what was lost or held back. It may wait for its reader
/// for ever; nothing waits for it.
pub(super) fn write_lines(queue: &Queue, limit: &Limit, mut out: impl Write) {
    let mut told_lost = 0;
    let mut tell_at = Instant::now() + limits::LOG_HELD_BACK_EVERY;
    loop {
        if let Some(line) = queue.next(limits::LOG_HELD_BACK_EVERY) {
            let outcome = write_whole(&mut out, &line);
            if queue.written(&line, &outcome) {
                told_lost = tell_lost(queue, told_lost);
            }
        }
        if Instant::now() >= tell_at {
            tell_at = Instant::now() + limits::LOG_HELD_BACK_EVERY;
            limit.tell_held_back();
        }
    }
}

/// Says how many lines were lost since it was said last. Returns how many were lost in all.
fn tell_lost(queue: &Queue, told: u64) -> u64 {
    let (full, unwritten) = queue.lost();
    let lost = full + unwritten;
    if lost > told {
        tracing::warn!(
            lines = lost - told,
            "lines of this log were lost: nobody took them, or they could not be written"
        );
    }
    lost
}

/// As `write_all`, but waits where the log is one that does not make its writers wait.
fn write_whole(out: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => line = &line[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(TRY_AGAIN_AFTER),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The log's thread on a writer.
    fn begin(out: impl Write + Send + 'static) -> Arc<Queue> {
        let queue = Arc::<Queue>::default();
        let served = Arc::clone(&queue);
        // It never ends; the process does.
        std::thread::spawn(move || write_lines(&served, &Limit::default(), out));
        queue
    }

    #[test]
    fn lines_are_written_in_order_and_waited_for() {
        let (mut reader, writer) = io::pipe().unwrap();
        let queue = begin(writer);
        queue.push("first");
        queue.push("sec\nond");
        queue.wait_empty(Duration::from_secs(60));
        let mut said = [0; 15];
        io::Read::read_exact(&mut reader, &mut said).unwrap();
        assert_eq!(&said, b"first\nsec\\nond\n");
        assert_eq!(queue.lost(), (0, 0));
    }

    #[test]
    fn the_last_words_find_room_in_a_full_queue() {
        let (mut reader, writer) = io::pipe().unwrap();
        let queue = begin(writer);
        while queue.lost().0 == 0 {
            queue.push(&"x".repeat(1_000));
        }
        // What the pipe itself takes was taken before it was full: no other line finds room now.
        queue.push_last("why it ended");
        let mut said = Vec::new();
        let mut piece = [0; 4_096];
        while !said.ends_with(b"why it ended\n") {
            let count = io::Read::read(&mut reader, &mut piece).unwrap();
            said.extend_from_slice(&piece[..count]);
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_costs_lines_and_no_time() {
        let (mut reader, writer) = io::pipe().unwrap();
        let queue = begin(writer);
        let line = "x".repeat(1_000);
        let pushed = 10_000;
        for _ in 0..pushed {
            queue.push(&line);
        }
        let (full, unwritten) = queue.lost();
        let kept = pushed - full;
        assert!(full > 0 && unwritten == 0, "{full} {unwritten}");
        // What waits, and what fits into the pipe, which is 64 KiB or so.
        assert!((3_000..4_300).contains(&kept), "{kept}");
        let begun = Instant::now();
        queue.wait_empty(Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not wait for a reader");
        // Somebody reads: everything that was kept comes, and new lines too.
        let mut said = vec![0; usize::try_from(kept).unwrap() * 1_001];
        io::Read::read_exact(&mut reader, &mut said).unwrap();
        queue.push("and on");
        let mut said = [0; 7];
        io::Read::read_exact(&mut reader, &mut said).unwrap();
        assert_eq!(&said, b"and on\n");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_the_next_are_tried() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let (reader, closed) = io::pipe().unwrap();
        drop(reader);
        for queue in [begin(full), begin(closed)] {
            queue.push("one");
            queue.push("two");
            queue.wait_empty(Duration::from_secs(60));
            assert_eq!(queue.lost(), (0, 2));
        }
    }

    #[test]
    fn one_line_that_is_larger_than_the_queue_is_lost() {
        let queue = Queue::default();
        queue.push(&"x".repeat(limits::LOG_QUEUE_BYTES));
        queue.push("y");
        assert_eq!((queue.lost(), queue.next(Duration::ZERO)), ((1, 0), Some(b"y\n".to_vec())));
    }
}

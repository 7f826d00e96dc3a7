//! The line that says how far a long statement is: on standard error, on a terminal only, and gone when the result comes.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::text;

/// What takes no longer needs no line.
const SHOW_AFTER: Duration = Duration::from_secs(1);
/// How often the line is written anew.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// How far a statement is.
pub(super) struct Progress {
    /// `None`: nobody watches.
    out: Option<Box<dyn Write + Send>>,
    started: Instant,
    shown: Option<Instant>,
}

impl Progress {
    pub(super) fn begin(is_watched: bool) -> Self {
        let out: Option<Box<dyn Write + Send>> = is_watched.then(|| Box::new(io::stderr()) as _);
        Self { out, started: Instant::now(), shown: None }
    }

    /// Shows the line if it is time to. What cannot be shown is not missed.
    pub(super) fn show(&mut self, rows: u64, bytes: u64) {
        let Some(out) = &mut self.out else { return };
        let waited = self.shown.map_or(self.started.elapsed() >= SHOW_AFTER, |shown| shown.elapsed() >= SHOW_EVERY);
        if waited {
            let _ = write!(out, "\r{}\x1b[K", line(rows, bytes, self.started.elapsed())).and_then(|()| out.flush());
            self.shown = Some(Instant::now());
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        let Some(out) = &mut self.out else { return };
        if self.shown.take().is_some() {
            let _ = write!(out, "\r\x1b[K").and_then(|()| out.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn line(rows: u64, bytes: u64, elapsed: Duration) -> String {
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = rows.saturating_mul(1_000) / elapsed_ms;
    format!(
        "{} read, {}, {} rows/s, {} s   (Ctrl-C stops)",
        text::counted(rows, "row"),
        text::bytes(bytes),
        text::grouped(rate),
        elapsed_ms / 1_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_rows_bytes_and_rate() {
        let shown = line(104_334, 5 << 20, Duration::from_millis(2_000));
        assert_eq!(shown, "104,334 rows read, 5.0 MiB, 52,167 rows/s, 2 s   (Ctrl-C stops)");
        assert!(line(1, 1, Duration::ZERO).starts_with("1 row read, 1 B, "));
    }

    #[test]
    fn nothing_is_shown_to_nobody_or_for_short_statements() {
        let mut unwatched = Progress::begin(false);
        unwatched.show(1, 1);
        let mut short = Progress::begin(true);
        short.show(1, 1);
        assert!(unwatched.shown.is_none() && short.shown.is_none());
    }
}

//! The line that says how far a long statement is: on standard error, on a terminal only, and gone when the result comes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::text;

/// What takes no longer needs no line.
const SHOW_AFTER: Duration = Duration::from_secs(1);
/// How often the line is written anew.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// How far a statement is.
pub(super) struct Progress {
    /// `None`: nobody watches.
    watched: Option<(Arc<Mutex<Line>>, JoinHandle<()>)>,
}

/// What the line says. Locked while it is written, so that nothing else is written into it.
#[derive(Default)]
struct Line {
    rows: u64,
    bytes: u64,
    /// Something else has the terminal.
    is_hidden: bool,
    is_shown: bool,
}

impl Progress {
    /// Must be called within a runtime when it is watched: the line goes on while the fleet is silent.
    pub(super) fn begin(is_watched: bool) -> Self {
        let watched = is_watched.then(|| {
            let line = Arc::new(Mutex::new(Line::default()));
            let task = tokio::spawn(keep_showing(Arc::clone(&line), Instant::now()));
            (line, task)
        });
        Self { watched }
    }

    /// Notes how far the statement is.
    pub(super) fn note(&self, rows: u64, bytes: u64) {
        if let Some(mut line) = self.line() {
            (line.rows, line.bytes) = (rows, bytes);
        }
    }

    /// Takes the line away while something else has the terminal, or lets it come again.
    pub(super) fn hide(&self, is_hidden: bool) {
        if let Some(mut line) = self.line() {
            line.is_hidden = is_hidden;
            if std::mem::take(&mut line.is_shown) {
                // What cannot be written is not missed.
                let _ = holdfast_output::redraw("");
            }
        }
    }

    fn line(&self) -> Option<MutexGuard<'_, Line>> {
        self.watched.as_ref().map(|(line, _)| line.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.hide(true);
        if let Some((_, task)) = &self.watched {
            task.abort();
        }
    }
}

async fn keep_showing(shared: Arc<Mutex<Line>>, begun: Instant) {
    tokio::time::sleep(SHOW_AFTER).await;
    loop {
        {
            let mut line = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if !line.is_hidden {
                line.is_shown = holdfast_output::redraw(&said(line.rows, line.bytes, begun.elapsed()));
            }
        }
        tokio::time::sleep(SHOW_EVERY).await;
    }
}

fn said(rows: u64, bytes: u64, elapsed: Duration) -> String {
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
        let shown = said(104_334, 5 << 20, Duration::from_millis(2_000));
        assert_eq!(shown, "104,334 rows read, 5.0 MiB, 52,167 rows/s, 2 s   (Ctrl-C stops)");
        assert!(said(1, 1, Duration::ZERO).starts_with("1 row read, 1 B, "));
    }

    #[tokio::test]
    async fn the_line_is_away_while_something_else_has_the_terminal() {
        let progress = Progress::begin(true);
        progress.note(7, 9);
        progress.line().unwrap().is_shown = true;
        progress.hide(true);
        let line = progress.line().unwrap();
        assert_eq!((line.rows, line.bytes, line.is_hidden, line.is_shown), (7, 9, true, false));
    }

    #[test]
    fn nothing_is_done_for_nobody() {
        let unwatched = Progress::begin(false);
        unwatched.note(1, 1);
        assert!(unwatched.line().is_none());
    }
}

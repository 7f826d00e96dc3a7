//! Ctrl-C: cancels the statement that runs; ends a script that waits.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

use crate::Cancel;

/// The exit code of programs that are interrupted, by convention.
pub(super) const INTERRUPTED: u8 = 130;

/// Who is told when Ctrl-C comes.
#[derive(Clone, Default)]
pub(super) struct Interrupts {
    running: Arc<Mutex<Option<Cancel>>>,
}

impl Interrupts {
    /// Listens from now on. A task does it, because the thread of the shell may be blocked by a pager or by standard input.
    pub(super) fn listen(is_interactive: bool) -> Self {
        let interrupts = Self::default();
        let told = interrupts.clone();
        // Where signals cannot be heard, Ctrl-C ends the program, as everywhere.
        if let Ok(mut heard) = signal(SignalKind::interrupt()) {
            tokio::spawn(async move {
                while heard.recv().await.is_some() {
                    match told.running() {
                        Some(cancel) => cancel.cancel(),
                        // The line editor takes Ctrl-C at the prompt itself.
                        None if is_interactive => {}
                        // A script that waits for more of itself: nothing is under way that could be left half done.
                        None => std::process::exit(i32::from(INTERRUPTED)),
                    }
                }
            });
        }
        interrupts
    }

    fn running(&self) -> Option<Cancel> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A statement begins; it ends when what is given is dropped.
    pub(super) fn begin(&self) -> Running {
        let cancel = Cancel::new();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(cancel.clone());
        Running { interrupts: self.clone(), cancel }
    }
}

/// A statement that runs.
pub(super) struct Running {
    interrupts: Interrupts,
    pub(super) cancel: Cancel,
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.interrupts.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_reaches_the_statement_that_runs_and_no_other() {
        let interrupts = Interrupts::default();
        let first = interrupts.begin();
        interrupts.running().unwrap().cancel();
        assert!(first.cancel.is_cancelled());
        drop(first);
        assert!(interrupts.running().is_none());
        assert!(!interrupts.begin().cancel.is_cancelled());
    }
}

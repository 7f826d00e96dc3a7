//! What the threads of a store share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_engine::Fault;

/// Where a failed disk or a panic is reported: the first fault wins, and the server ends the process.
#[derive(Clone)]
pub struct FaultSink {
    raised: Arc<AtomicBool>,
    on_fault: Arc<dyn Fn(&Fault) + Send + Sync>,
}

impl FaultSink {
    /// A sink that calls `on_fault` once.
    pub fn new(on_fault: Arc<dyn Fn(&Fault) + Send + Sync>) -> Self {
        Self { raised: Arc::new(AtomicBool::new(false)), on_fault }
    }

    /// Reports a fault that stops the store.
    pub fn report(&self, fault: &Fault) {
        if !self.raised.swap(true, Ordering::AcqRel) {
            tracing::error!(%fault, "this store stops acknowledging, and its process ends");
            (self.on_fault)(fault);
        }
    }

    /// True after the first fault.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }
}

/// Runs a thread's work. A panic in it is a bug that no other thread can repair: the process ends, others take over.
pub fn guarded(thread: &str, faults: &FaultSink, run: impl FnOnce()) {
    let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) else { return };
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    faults.report(&Fault::Bug(format!("thread {thread} panicked: {}", said.unwrap_or("without words"))));
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_thread_that_panics_is_reported_once_by_its_name_and_words() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        let faults = FaultSink::new(Arc::new(move |fault| ear.lock().unwrap().push(fault.to_string())));
        guarded("worker 1", &faults, || {});
        assert!(!faults.is_raised());
        for _ in 0..2 {
            let faults = faults.clone();
            std::thread::spawn(move || guarded("worker 1", &faults, || panic!("no replica {}", 7))).join().unwrap();
        }
        assert!(faults.is_raised());
        assert_eq!(*heard.lock().unwrap(), ["a bug in Holdfast: thread worker 1 panicked: no replica 7"]);
    }
}

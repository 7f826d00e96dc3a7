//! What the threads of a store share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_engine::Fault;
use holdfast_types::Moment;
use parking_lot::Mutex;

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

/// Messages that were too large to be sent, by what they are. See [`crate::core::message::TooLarge`].
#[derive(Default)]
pub struct Oversized(Mutex<BTreeMap<&'static str, Counted>>);

#[derive(Clone, Copy, Default)]
struct Counted {
    messages: u64,
    told_at: Option<Moment>,
}

impl Oversized {
    /// Whoever made such a message makes it again and again: of each kind one in this time is told.
    const TELL_EVERY: Duration = Duration::from_secs(60);

    /// Counts one; true when it is to be told.
    pub fn count(&self, what: &'static str, now: Moment) -> bool {
        let mut counts = self.0.lock();
        let counted = counts.entry(what).or_default();
        counted.messages += 1;
        let tells = counted.told_at.is_none_or(|at| now.since(at) >= Self::TELL_EVERY);
        if tells {
            counted.told_at = Some(now);
        }
        tells
    }

    /// How many there were, of all kinds.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.0.lock().values().map(|counted| counted.messages).sum()
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
    fn messages_that_are_too_large_are_counted_and_each_kind_is_told_once_a_minute() {
        let (oversized, at) = (Oversized::default(), |s| Moment::ZERO.after(Duration::from_secs(s)));
        let told: Vec<_> = [0, 1, 59, 60, 61].map(|s| oversized.count("report", at(s))).to_vec();
        assert_eq!(told, [true, false, false, true, false]);
        assert!(oversized.count("list of stores", at(62)), "another kind is news");
        assert_eq!(oversized.messages(), 6);
    }

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

//! Admission: one budget of requests and bytes for the whole store, shared by its workers, and the watermark of a full disk.
//!
//! A request is admitted when it is accepted from a client or from another store, and given back when it is answered.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use holdfast_types::{Rejected, limits};

use super::event::Measurements;

/// The budget of one store.
#[derive(Debug)]
pub struct Admission {
    max_bytes: usize,
    max_requests: usize,
    bytes: AtomicUsize,
    requests: AtomicUsize,
    disk_full: AtomicBool,
}

impl Default for Admission {
    fn default() -> Self {
        Self::new(limits::ADMISSION_BYTES, limits::ADMISSION_REQUESTS)
    }
}

impl Admission {
    /// A budget of so many bytes and requests.
    #[must_use]
    pub fn new(max_bytes: usize, max_requests: usize) -> Self {
        Self {
            max_bytes,
            max_requests,
            bytes: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            disk_full: AtomicBool::new(false),
        }
    }

    /// Takes a request in, or says what it is answered. An admitted request is given back with [`Admission::release`].
    pub fn admit(&self, size_bytes: usize) -> Result<(), Rejected> {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.fetch_add(size_bytes, Ordering::Relaxed);
        // One request always fits, however large: else it could never be served.
        if requests >= self.max_requests || (bytes > 0 && bytes + size_bytes > self.max_bytes) {
            self.release(size_bytes);
            return Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER });
        }
        Ok(())
    }

    /// A replica that leads here is about to take a request in: a write needs the disk. What is led elsewhere does not.
    pub fn admit_to_disk(&self, is_write: bool) -> Result<(), Rejected> {
        if is_write && self.is_disk_full() {
            return Err(Rejected::Unavailable("the disk of this store is nearly full: add space or stores".into()));
        }
        Ok(())
    }

    /// Gives an admitted request back.
    pub fn release(&self, size_bytes: usize) {
        let requests = self.requests.fetch_sub(1, Ordering::Relaxed);
        let bytes = self.bytes.fetch_sub(size_bytes, Ordering::Relaxed);
        debug_assert!(requests >= 1 && bytes >= size_bytes, "more was given back than was admitted");
    }

    /// Requests and bytes admitted now.
    #[must_use]
    pub fn in_use(&self) -> (usize, usize) {
        (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Looks at the disk.
    pub fn measure(&self, measured: &Measurements) {
        if measured.disk_total_bytes > 0 {
            self.disk_full.store(measured.is_disk_full(), Ordering::Relaxed);
        }
    }

    /// True while writes of clients are refused for want of disk.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(free: u64, total: u64) -> Measurements {
        Measurements { disk_free_bytes: free, disk_total_bytes: total, ..Measurements::default() }
    }

    #[test]
    fn budget_that_is_used_up_answers_busy_and_comes_back() {
        let budget = Admission::new(100, 2);
        assert!(budget.admit(60).is_ok());
        assert!(matches!(budget.admit(60), Err(Rejected::Busy { .. })));
        assert!(budget.admit(10).is_ok());
        assert!(matches!(budget.admit(1), Err(Rejected::Busy { .. })), "two requests at most");
        budget.release(60);
        budget.release(10);
        assert_eq!(budget.in_use(), (0, 0));
        assert!(budget.admit(1_000).is_ok(), "alone, even the largest is served");
    }

    #[test]
    fn nearly_full_disk_refuses_writes_and_serves_reads() {
        let budget = Admission::default();
        budget.measure(&measured(4 << 30, 100 << 30));
        assert!(matches!(budget.admit_to_disk(true), Err(Rejected::Unavailable(_))));
        assert!(budget.admit_to_disk(false).is_ok());
        assert!(budget.admit(1).is_ok(), "what is led elsewhere is passed on");
        budget.measure(&measured(50 << 30, 100 << 30));
        assert!(budget.admit_to_disk(true).is_ok());
        budget.measure(&measured(63 << 20, 512 << 20));
        assert!(budget.is_disk_full(), "a small disk keeps an absolute reserve");
    }
}

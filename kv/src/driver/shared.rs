//! What the threads of a store share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_engine::Fault;

/// Where a failed disk is reported: the first fault wins, and the server ends the process.
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
            tracing::error!(%fault, "the disk failed: this store stops acknowledging and must be restarted");
            (self.on_fault)(fault);
        }
    }

    /// True after the first fault.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }
}

//! The time of a measurement, real or virtual.

use std::time::{Duration, Instant};

/// Time since the clients began.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug)]
pub struct MachineClock(Instant);

impl MachineClock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

//! Waiting for what another process must do: asked for again and again, with a bound that only a broken fleet reaches.

use std::time::{Duration, Instant};

/// How often a state is asked for.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Far beyond what any state takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `ask` gives a value.
///
/// # Panics
/// When that takes longer than [`PATIENCE`].
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ask().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// The same, for a state that is seen without waiting.
///
/// # Panics
/// When that takes longer than [`PATIENCE`].
pub async fn until_true(what: &str, mut is_so: impl FnMut() -> bool) {
    until(what, async || is_so().then_some(())).await;
}

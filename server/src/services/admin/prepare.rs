//! Gets this store ready to be stopped, as the preStop hook of a pod asks by `holdfast drain --local`.
//!
//! What SIGTERM does at once is begun before it: leaders go to other stores, and probes say that nobody should come here. Nothing is put
//! at stake by it. What nobody else can lead stays led here, and should nobody stop the store, it goes on after a while.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::sync::Arc;
use std::time::Duration;

use holdfast_proto::v1;

use super::AdminService;
use crate::retiring::{LeadersOf, SUCCEED_WITHIN, until};
use crate::running::Running;

/// Nobody is waited for any longer.
const LONGEST: Duration = Duration::from_secs(600);
/// A store that was not stopped goes on when the time given has been over for this long: whoever asked has died, or has decided otherwise.
const GO_ON_AFTER: Duration = Duration::from_secs(120);

impl AdminService {
    /// Prepares, or takes that back.
    pub(super) async fn prepare(
        &self,
        running: &Arc<Running>,
        request: v1::PrepareToStopRequest,
    ) -> v1::PrepareToStopResponse {
        let leaders = LeadersOf::of(running);
        let led_before = leaders.count();
        if request.cancel {
            if self.state.end_preparing(None, || running.store.prepare_to_stop(false)) {
                tracing::info!("not to be stopped after all");
            }
        } else {
            let within = Duration::from_millis(request.within_ms).min(LONGEST);
            self.begin(running, within);
            until(within, || !leaders.any_left()).await;
            // Whoever asks for what has gone hears where it is.
            until(SUCCEED_WITHIN, || leaders.without_successor() == 0).await;
        }
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        v1::PrepareToStopResponse {
            store_id: running.store_id.0,
            site: running.site.to_string(),
            led_before: count(led_before),
            leads: count(leaders.count()),
        }
    }

    fn begin(&self, running: &Arc<Running>, within: Duration) {
        // A store that stops hands over anyway.
        let Some(number) = self.state.begin_preparing(|| running.store.prepare_to_stop(true)) else { return };
        tracing::info!(?within, "preparing to stop");
        let (state, running) = (Arc::clone(&self.state), Arc::clone(running));
        tokio::spawn(async move {
            tokio::time::sleep(within + GO_ON_AFTER).await;
            if state.end_preparing(Some(number), || running.store.prepare_to_stop(false)) {
                tracing::warn!("nobody has stopped this store: it goes on");
            }
        });
    }
}

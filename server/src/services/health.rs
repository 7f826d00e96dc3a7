//! The standard health service of gRPC: it says what `/readyz` says.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::sync::Arc;
use std::time::Duration;

use holdfast_proto::v1::kv_server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::running::ServerState;

/// How often it is looked whether the store is ready: far more often than any probe asks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What is asked for: the server as a whole, and the service that needs a member.
const NAMES: [&str; 2] = ["", kv_server::SERVICE_NAME];

/// Says whether the store takes requests.
pub async fn tell(health: &HealthReporter, ready: bool) {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    for name in NAMES {
        health.set_service_status(name, status).await;
    }
}

/// Says it whenever it changes, until the process ends.
pub async fn keep_telling(health: HealthReporter, state: Arc<ServerState>) {
    let mut told = None;
    loop {
        let ready = state.readiness().is_ok();
        if told.replace(ready) != Some(ready) {
            tell(&health, ready).await;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

//! Health and metrics over HTTP. Health is local: it never depends on a quorum.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use holdfast_kv::driver::Complaint;

use crate::metrics;
use crate::running::ServerState;

/// The routes of the HTTP port.
pub fn router(state: Arc<ServerState>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startz", get(startz))
        .route("/metrics", get(metrics_page))
        .with_state(state)
}

/// The process turns its rounds, or has none to turn yet.
async fn livez(State(state): State<Arc<ServerState>>) -> impl IntoResponse {
    match state.running().map(|running| running.store.complaints()) {
        Some(complaints) if !complaints.is_empty() => (StatusCode::SERVICE_UNAVAILABLE, lines(&complaints)),
        _ => (StatusCode::OK, "ok\n".to_owned()),
    }
}

/// The store takes requests.
async fn readyz(State(state): State<Arc<ServerState>>) -> impl IntoResponse {
    match state.running() {
        None if state.is_member() => (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()),
        None => (StatusCode::SERVICE_UNAVAILABLE, "not a member of a fleet yet\n".to_owned()),
        Some(running) if *running.stopped.borrow() => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned()),
        Some(_) if state.is_draining() => {
            (StatusCode::SERVICE_UNAVAILABLE, "preparing to stop: its leaders go to other stores\n".to_owned())
        }
        Some(running) => {
            let complaints = running.store.complaints();
            if complaints.is_empty() {
                // Health is local, so that no quorum takes all stores out of service; but a probe's log should say why nothing works.
                let unreached = running.unreached();
                let unreached: String = unreached.iter().map(|unreached| format!("{unreached}\n")).collect();
                (StatusCode::OK, format!("ok\n{unreached}"))
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, lines(&complaints))
            }
        }
    }
}

fn lines(complaints: &[Complaint]) -> String {
    complaints.iter().map(|complaint| format!("{complaint}\n")).collect()
}

/// The process listens: a store that waits for `init` has started too.
async fn startz() -> impl IntoResponse {
    (StatusCode::OK, "ok\n")
}

async fn metrics_page(State(state): State<Arc<ServerState>>) -> impl IntoResponse {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, TYPE)], metrics::page(&state))
}

//! Health and metrics over HTTP. Health is local: it never depends on a quorum.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use holdfast_edge::gate::Gate;
use holdfast_kv::driver::SLOW_BEAT;
use tokio::time::Instant;

use crate::metrics;
use crate::ports::Probes;
use crate::running::ServerState;

/// A thread that seems to hang has this long to show that it lives: all of them seem to when the machine slept, or the process was stopped.
const LIVES_WITHIN: Duration = Duration::from_millis(1_500);
const _: () = assert!(SLOW_BEAT.as_millis() < LIVES_WITHIN.as_millis());
/// How often it is looked meanwhile.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Serves the HTTP port on a thread of its own: probes are answered, and can say so, when the runtime stands still.
pub fn serve(listener: TcpListener, state: Arc<ServerState>) -> anyhow::Result<()> {
    listener.set_nonblocking(true).context("serving HTTP")?;
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let gate = Probes(Gate::new(listener, Arc::clone(&state.ports.http)));
            axum::serve(gate, router(state)).await
        })
    };
    let tell = move || {
        let ended: std::io::Result<()> = run();
        if let Err(error) = ended {
            tracing::error!(%error, "the HTTP port is gone");
        }
    };
    std::thread::Builder::new().name("http".into()).spawn(tell).context("serving HTTP")?;
    Ok(())
}

/// The routes of the HTTP port.
fn router(state: Arc<ServerState>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startz", get(startz))
        .route("/metrics", get(metrics_page))
        .with_state(state)
}

/// The process turns its rounds, or has none to turn yet. Not whether it is fit to lead: who fails here is ended, and a slow disk is no faster
/// after a start.
async fn livez(State(state): State<Arc<ServerState>>) -> impl IntoResponse {
    let Some(running) = state.running() else { return (StatusCode::OK, "ok\n".to_owned()) };
    let until = Instant::now() + LIVES_WITHIN;
    loop {
        let hung = running.store.hung();
        if hung.is_empty() {
            return (StatusCode::OK, "ok\n".to_owned());
        }
        if Instant::now() >= until {
            return (StatusCode::SERVICE_UNAVAILABLE, hung.iter().map(|thread| format!("{thread}\n")).collect());
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

/// The store takes requests.
async fn readyz(State(state): State<Arc<ServerState>>) -> impl IntoResponse {
    match state.readiness() {
        Ok(said) => (StatusCode::OK, said),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

/// The process listens: a store that waits for `init` has started too.
async fn startz() -> impl IntoResponse {
    (StatusCode::OK, "ok\n")
}

async fn metrics_page(State(state): State<Arc<ServerState>>) -> impl IntoResponse {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, TYPE)], metrics::page(&state))
}

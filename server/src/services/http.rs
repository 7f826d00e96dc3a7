//! Health and metrics over HTTP. Health is local: it never depends on a quorum.
//!
//! Probes are anonymous and in plain text, and so are metrics where there is no TLS. Where there is, metrics have a port of their own, for
//! whoever shows a certificate of the trust domain.
//!
//! HTTP/1 only, one request of a connection at a time and each small: what a connection may hold is what its buffer holds. The page of metrics
//! is made once for all who ask for it within a second.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use holdfast_edge::connection::Socket;
use holdfast_edge::gate::{Gate, Port};
use holdfast_edge::handshake::Security;
use holdfast_kv::driver::SLOW_BEAT;
use holdfast_types::limits;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::metrics;
use crate::running::ServerState;

/// A thread that seems to hang has this long to show that it lives: all of them seem to when the machine slept, or the process was stopped.
const LIVES_WITHIN: Duration = Duration::from_millis(1_500);
const _: () = assert!(SLOW_BEAT.as_millis() < LIVES_WITHIN.as_millis());
/// How often it is looked meanwhile.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Serves the HTTP port: probes, and metrics where there is no TLS.
pub fn serve(listener: TcpListener, state: &Arc<ServerState>) -> anyhow::Result<()> {
    let routes = probes(state);
    let routes = match state.trust() {
        None => routes.merge(metrics_of(state)),
        Some(_) => routes.route("/metrics", get(metrics_elsewhere)),
    };
    begin("http", listener, Arc::clone(&state.ports.http), None, routes)
}

/// Serves the port of metrics, for those who show a certificate.
pub fn serve_metrics(listener: TcpListener, state: &Arc<ServerState>, security: Security) -> anyhow::Result<()> {
    begin("metrics", listener, Arc::clone(&state.ports.metrics), Some(security), metrics_of(state))
}

/// Serves a port on a thread of its own: probes are answered, and can say so, when the runtime stands still, and handshakes of others do not
/// keep them waiting.
fn begin(
    name: &'static str,
    listener: TcpListener,
    port: Arc<Port>,
    security: Option<Security>,
    routes: Router,
) -> anyhow::Result<()> {
    let serving = || format!("serving the port {name}");
    listener.set_nonblocking(true).with_context(serving)?;
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let mut gate = Gate::secured(listener, port, security);
            loop {
                tokio::spawn(converse(gate.accept().await, routes.clone()));
            }
        })
    };
    let tell = move || {
        let ended: std::io::Result<()> = run();
        if let Err(error) = ended {
            tracing::error!(%error, "the port {name} is gone");
        }
    };
    std::thread::Builder::new().name(name.into()).spawn(tell).with_context(serving)?;
    Ok(())
}

/// Answers one connection until it ends.
async fn converse(socket: Socket, routes: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HTTP_HEADERS_WITHIN)
        .max_buf_size(limits::HTTP_BUFFER_BYTES)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(routes));
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection to the HTTP port failed");
    }
}

/// What the page of metrics is made of.
#[derive(Clone)]
struct Shared {
    state: Arc<ServerState>,
    /// The newest page of metrics, and when it was made.
    page: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

/// What probes ask.
fn probes(state: &Arc<ServerState>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startz", get(startz))
        .with_state(Arc::clone(state))
}

/// What scrapers ask.
fn metrics_of(state: &Arc<ServerState>) -> Router {
    let shared = Shared { state: Arc::clone(state), page: Arc::default() };
    Router::new().route("/metrics", get(metrics_page)).with_state(shared)
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

async fn metrics_elsewhere() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, "metrics are read by TLS, with a certificate, at the port of --listen-metrics\n")
}

async fn metrics_page(State(Shared { state, page }): State<Shared>) -> impl IntoResponse {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, TYPE)], newest(&page, Instant::now(), || metrics::page(&state)))
}

/// The newest page, made again once it is older than [`limits::METRICS_PAGE_EVERY`].
fn newest(page: &Mutex<Option<(Instant, Bytes)>>, now: Instant, make: impl FnOnce() -> String) -> Bytes {
    let mut page = page.lock();
    let known = page.as_ref().filter(|(made, _)| now.saturating_duration_since(*made) < limits::METRICS_PAGE_EVERY);
    match known {
        Some((_, known)) => known.clone(),
        None => {
            let made = Bytes::from(make());
            *page = Some((now, made.clone()));
            made
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_metrics_is_made_once_a_second_for_all_who_ask() {
        let (page, begun) = (Mutex::default(), Instant::now());
        let mut made = 0;
        for ms in [0, 1, 999, 1_000, 1_500, 2_000] {
            newest(&page, begun + Duration::from_millis(ms), || {
                made += 1;
                "page".into()
            });
        }
        assert_eq!(made, 3);
    }
}

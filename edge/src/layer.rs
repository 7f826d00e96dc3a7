//! Puts the account of a connection around each of its requests.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use holdfast_proto::convert::status::to_status;
use holdfast_types::{Rejected, limits};
use http::{Request, Response};
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service};

use crate::budget::Charge;
use crate::connection::Via;
use crate::ledger::Ledger;
use crate::metered::{Metered, Terms};
use crate::paced::{Open, Paced};

pub use crate::paced::TakenBy;

/// How the requests of a port are held.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The paths of services whose requests are one message, sent at once: others may say something whenever they like.
    pub one_message: fn(&str) -> bool,
    /// What arrived is held until the answer is taken, or until a service takes it over from the ledger; else until it was handed on.
    pub keeps: bool,
    /// The flow-control window of the port's connections.
    pub window_bytes: u32,
}

impl<S> Layer<S> for Bounds {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { inner, bounds: *self }
    }
}

/// A service whose requests are held within bounds. A request finds its [`Ledger`] in its extensions.
#[derive(Clone)]
pub struct Bounded<S> {
    inner: S,
    bounds: Bounds,
}

impl<S> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Some(Via(connection)) = request.extensions().get::<Via>().cloned() else {
            // Not by a gate: a test's own wiring.
            return Box::pin(self.inner.call(request));
        };
        let open = connection.begin_request();
        let Some(charge) = Charge::take(&connection.account, limits::OPEN_REQUEST_BYTES) else {
            let refusal = to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER });
            return Box::pin(std::future::ready(Ok(refusal.into_http())));
        };
        let ledger = Ledger::new(&connection.account);
        let terms = Terms {
            is_stream: !(self.bounds.one_message)(request.uri().path()),
            keeps: self.bounds.keeps,
            window_bytes: self.bounds.window_bytes as usize,
        };
        let extensions = request.extensions_mut();
        extensions.insert(TcpConnectInfo { local_addr: None, remote_addr: Some(connection.from) });
        extensions.insert(Arc::clone(&ledger));
        let metered = Arc::clone(&ledger);
        let served = self.inner.call(request.map(|body| Body::new(Metered::new(body, metered, terms))));
        Box::pin(async move {
            let response = served.await?;
            let until = response.extensions().get::<TakenBy>().copied();
            let open = Open { connection, open, charge };
            Ok(response.map(|body| Body::new(Paced::new(body, ledger, until, open))))
        })
    }
}

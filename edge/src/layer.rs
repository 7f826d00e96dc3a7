//! Puts the account of a connection around each of its requests.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use holdfast_proto::convert::status::to_status;
use holdfast_types::{Rejected, limits};
use http::{Request, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service};

use crate::budget::{Account, Charge, Window};
use crate::connection::Via;
use crate::ledger::Ledger;
use crate::metered::{Metered, Terms};
use crate::paced::{Open, Paced};

pub use crate::paced::TakenBy;

/// What a request is, by its path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One message, sent at once.
    OneMessage,
    /// A stream whose service charges what it leaves unread: messages whenever its client likes.
    Stream,
    /// A stream of a service that knows nothing of charges: what it may leave unread is charged from the beginning, and a connection has a few.
    Conversation,
}

/// How the requests of a port are held.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// What the request with this path is.
    pub kind: fn(&str) -> Kind,
    /// What arrived is held until the answer is taken, or until a service takes it over from the ledger; else until it was handed on.
    pub keeps: bool,
    /// The flow-control window of each request.
    pub window_bytes: u32,
    /// The longest first message of a stream.
    pub first_bytes: usize,
    /// The longest message of a stream.
    pub most_bytes: usize,
}

impl Bounds {
    fn terms(&self, kind: Kind) -> Terms {
        let is_stream = kind != Kind::OneMessage;
        let or_any = |bytes| if is_stream { bytes } else { limits::MAX_MESSAGE_BYTES };
        Terms {
            is_stream,
            keeps: self.keeps,
            window_bytes: self.window_bytes as usize,
            first_bytes: or_any(self.first_bytes),
            most_bytes: or_any(self.most_bytes),
        }
    }
}

/// Waits for room for a request, as a message waits for room: what may come of its body meanwhile is held as a window.
async fn later(account: &Arc<Account>, bytes: usize, window_bytes: usize) -> Option<Charge> {
    let _window = Window::take(account, window_bytes)?;
    let until = Instant::now() + limits::MESSAGE_WITHIN;
    while Instant::now() < until {
        tokio::time::sleep(limits::BUSY_RETRY_AFTER).await;
        if let Some(charge) = Charge::take(account, bytes) {
            return Some(charge);
        }
    }
    None
}

fn refused<E: Send + 'static>() -> Served<E> {
    let refusal = to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER });
    Box::pin(std::future::ready(Ok(refusal.into_http())))
}

type Served<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

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
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Served<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Some(Via(connection)) = request.extensions().get::<Via>().cloned() else {
            // Not by a gate: a test's own wiring.
            return Box::pin(self.inner.call(request));
        };
        let open = connection.begin_request();
        let kind = (self.bounds.kind)(request.uri().path());
        let mut bytes = limits::OPEN_REQUEST_BYTES + limits::HEADER_OVERHEAD_BYTES * request.headers().len();
        let mut conversation = None;
        if kind == Kind::Conversation {
            bytes += self.bounds.window_bytes as usize;
            conversation = connection.begin_conversation();
            if conversation.is_none() {
                return refused();
            }
        }
        let ledger = Ledger::new(&connection.account);
        let terms = self.bounds.terms(kind);
        let extensions = request.extensions_mut();
        extensions.insert(TcpConnectInfo { local_addr: None, remote_addr: Some(connection.from) });
        extensions.insert(Arc::clone(&ledger));
        let metered = Arc::clone(&ledger);
        let request = request.map(|body| Body::new(Metered::new(body, metered, terms)));
        let at_once = Charge::take(&connection.account, bytes);
        // The service that is ready is the one that is called; its copy is made ready for the next request.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        Box::pin(async move {
            let charge = match at_once {
                Some(charge) => charge,
                None => match later(&connection.account, bytes, terms.window_bytes).await {
                    Some(charge) => charge,
                    None => return refused().await,
                },
            };
            let response = inner.call(request).await?;
            let until = response.extensions().get::<TakenBy>().copied();
            let open = Open { connection, open, charge, conversation };
            Ok(response.map(|body| Body::new(Paced::new(body, ledger, until, open))))
        })
    }
}

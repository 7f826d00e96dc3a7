//! The door of the client port: whoever gets past it has said who he is, where there is TLS, and meant this fleet. What he may do, each service
//! looks at for itself.
//!
//! - a call that is meant for another fleet is refused, with or without TLS
//! - a bearer token is looked at, and taken away: no service and no log sees it. A bad one is refused, though the certificate were good
//! - with TLS nobody gets further who has proved nothing; but for health, and for a store that would join by a one-time token
//! - what was begun with a token ends when the token does

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::Bytes;
use holdfast_proto::FLEET_HEADER;
use holdfast_proto::convert::status::to_status;
use holdfast_types::{FleetId, Rejected, limits};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::caller::Caller;
use crate::audit::Refusal;
use crate::bearer::{BadBearer, Bearer, Bearers};
use crate::running::ServerState;

/// Calls that nobody has to prove anything for: what they tell is no secret, or they ask for a proof of another kind.
const OPEN: [&str; 3] = ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", "/holdfast.v1.Fleet/Join"];

/// Lets calls in; a layer around all services of the client port.
#[derive(Clone)]
pub struct Access {
    /// What the services share.
    pub state: Arc<ServerState>,
    /// Judges bearer tokens, where they are taken.
    pub bearers: Option<Arc<Bearers>>,
}

impl Access {
    /// Lets a call in, or says why not. Returns the bearer whose token it came with.
    fn admit<B>(&self, request: &mut Request<B>) -> Result<Option<Bearer>, Status> {
        check_fleet(request.headers(), self.state.running().map(|running| running.fleet))?;
        // In plain text a token would be a secret told to everybody on the way: it is not looked at, and proves nothing.
        let shown = request.headers_mut().remove(AUTHORIZATION);
        let Some(trust) = self.state.trust() else { return Ok(None) };
        let bearer = match (shown, &self.bearers) {
            (None, _) => None,
            (Some(shown), Some(bearers)) => Some(bearer(bearers, shown.as_bytes())?),
            (Some(_), None) => {
                let why = "this store takes no bearer tokens: start it with --bearer-keys, or leave the token out";
                return Err(Status::unauthenticated(why));
            }
        };
        if let Some(bearer) = &bearer {
            request.extensions_mut().insert(bearer.clone());
        }
        let caller = Caller::of(request.extensions());
        match &caller.principal {
            Some(principal) if trust.is_distrusted(principal) => {
                Err(Status::permission_denied(format!("{principal} is distrusted by this fleet")))
            }
            None if !OPEN.contains(&request.uri().path()) => Err(Status::unauthenticated(
                "show a certificate of this fleet, or a bearer token: nobody is served here who does not say who he is",
            )),
            _ => Ok(bearer),
        }
    }
}

/// Refuses what is meant for another fleet. A store that belongs to none answers for itself.
fn check_fleet(headers: &HeaderMap, own: Option<FleetId>) -> Result<(), Status> {
    match (headers.get(FLEET_HEADER), own) {
        (Some(meant), Some(own)) if !is_written(own, meant.as_bytes()) => {
            Err(Status::failed_precondition("the call is meant for another fleet than this store's"))
        }
        _ => Ok(()),
    }
}

/// True of a fleet as it is written. Comes with every call: so the text is read, and none is made to compare it with.
fn is_written(fleet: FleetId, text: &[u8]) -> bool {
    const DIGITS: usize = 32;
    let is_digit = |c: &u8| c.is_ascii_digit() || (b'a'..=b'f').contains(c);
    let digits = std::str::from_utf8(text).ok().filter(|_| text.len() == DIGITS && text.iter().all(is_digit));
    digits.and_then(|digits| u128::from_str_radix(digits, 16).ok()) == Some(fleet.0)
}

fn bearer(bearers: &Bearers, header: &[u8]) -> Result<Bearer, Status> {
    let (scheme, token) = header.split_at_checked(b"Bearer ".len()).unwrap_or_default();
    let token = std::str::from_utf8(token).ok().filter(|_| scheme.eq_ignore_ascii_case(b"Bearer "));
    let Some(token) = token else {
        return Err(Status::unauthenticated("`authorization` must be \"Bearer \" and a token"));
    };
    bearers.check(token.trim()).map_err(|bad| match bad {
        BadBearer::Busy => to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }),
        bad => Status::unauthenticated(bad.to_string()),
    })
}

impl<S> Layer<S> for Access {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, access: self.clone() }
    }
}

/// Services behind the door.
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    access: Access,
}

type Served<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
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
        match self.access.admit(&mut request) {
            Ok(None) => Box::pin(self.inner.call(request)),
            Ok(Some(bearer)) => {
                let serving = self.inner.call(request);
                Box::pin(async move { Ok(serving.await?.map(|body| Body::new(Passing::new(body, bearer.until)))) })
            }
            Err(refused) => {
                let caller = Caller::of(request.extensions());
                self.access.state.audit.refused(Refusal::new("access", caller, refused.message()));
                Box::pin(std::future::ready(Ok(refused.into_http())))
            }
        }
    }
}

/// The body of an answer to somebody who came by a token: it ends when the token does, as a connection does before its certificate.
struct Passing {
    body: Body,
    until: Pin<Box<Sleep>>,
    is_over: bool,
}

impl Passing {
    fn new(body: Body, until: SystemTime) -> Self {
        let left = until.duration_since(SystemTime::now()).unwrap_or_default();
        // Further ahead than clocks can say is never.
        let until = Instant::now().checked_add(left).map_or_else(|| tokio::time::sleep(left), tokio::time::sleep_until);
        Self { body, until: Box::pin(until), is_over: false }
    }
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        // A timer says so a moment late.
        let is_due = self.until.deadline() <= Instant::now();
        if is_due || self.until.as_mut().poll(cx).is_ready() {
            self.is_over = true;
            // Whoever serves it sees by this that nobody reads on.
            self.body = Body::empty();
            let mut trailers = HeaderMap::new();
            let ended = Status::unauthenticated(BadBearer::Expired.to_string());
            return Poll::Ready(match ended.add_header(&mut trailers) {
                Ok(()) => Some(Ok(Frame::trailers(trailers))),
                Err(status) => Some(Err(status)),
            });
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.is_over = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // It may end before.
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt as _;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;
    use crate::ports::Ports;

    fn request(path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn without_tls_everybody_is_let_in_and_no_token_is_handed_on() {
        let access = Access { state: ServerState::new(Ports::for_tests(), None), bearers: None };
        let mut asked = request("/holdfast.v1.Kv/Get", &[("authorization", "Bearer secret"), ("x", "stays")]);
        assert_eq!(access.admit(&mut asked).unwrap(), None);
        assert_eq!((asked.headers().get("authorization"), asked.headers().len()), (None, 1));
    }

    #[test]
    fn a_call_for_another_fleet_is_refused_and_one_for_any_is_not() {
        let headers = |meant: Option<&str>| {
            let mut headers = HeaderMap::new();
            meant.map(|meant| headers.insert(FLEET_HEADER, meant.parse().unwrap()));
            headers
        };
        let own = FleetId(u128::MAX - 0xa);
        let written = own.to_string();
        assert!(check_fleet(&headers(None), Some(own)).is_ok());
        assert!(check_fleet(&headers(Some(&written)), Some(own)).is_ok());
        assert!(check_fleet(&headers(Some("0a")), None).is_ok(), "it answers itself that it belongs to none");
        let small = FleetId(0xa);
        assert!(check_fleet(&headers(Some(&small.to_string())), Some(small)).is_ok());
        for other in ["", "a", "+000000000000000000000000000000a", "0000000000000000000000000000000A", &written] {
            assert!(check_fleet(&headers(Some(other)), Some(small)).is_err(), "{other}");
        }
        let refused = check_fleet(&headers(Some("0b")), Some(own)).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    }

    #[tokio::test]
    async fn what_was_begun_with_a_token_ends_with_it() {
        let serve = |until| {
            let (sender, frames) = mpsc::channel::<Result<Frame<Bytes>, Status>>(4);
            sender.try_send(Ok(Frame::data(Bytes::from_static(b"row")))).unwrap();
            let body = Body::new(http_body_util::StreamBody::new(ReceiverStream::new(frames)));
            (Passing::new(body, until), sender)
        };
        let (mut passing, sender) = serve(SystemTime::now() + Duration::from_secs(3_600));
        assert_eq!(passing.frame().await.unwrap().unwrap().into_data().unwrap(), "row");
        drop(sender);
        assert!(passing.frame().await.is_none(), "it is over by itself");
        let (mut passing, sender) = serve(SystemTime::now());
        let last = passing.frame().await.unwrap().unwrap().into_trailers().unwrap();
        let status = Status::from_header_map(&last).unwrap();
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
        assert!(status.message().contains("expired"));
        assert!(passing.frame().await.is_none() && sender.is_closed(), "whoever served it hears that it is over");
    }
}

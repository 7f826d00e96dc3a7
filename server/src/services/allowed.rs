//! Looks, before a service is called, whether whoever calls may: by the table in [`super::needs`]. It stands behind [`super::access`], which
//! sees to it that everybody has said who he is.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use holdfast_kv::core::permit::Authority;
use holdfast_kv::core::rights::Asker;
use holdfast_proto::convert::status::to_status;
use holdfast_types::{Rejected, Response as Answer};
use http::{Extensions, Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::caller::Caller;
use super::needs::need_of;
use crate::audit::{Audit, Refusal};
use crate::running::ServerState;

/// In whose name a caller's requests are made.
pub fn authority_of(caller: &Caller) -> Authority {
    match &caller.principal {
        Some(principal) => Authority::Principal(Arc::clone(principal)),
        None => Authority::Client,
    }
}

/// Puts refusals for want of a right on record.
#[derive(Clone)]
pub struct Witness {
    audit: Arc<Audit>,
    caller: Caller,
}

impl Witness {
    /// For the requests of a caller.
    pub fn new(state: &ServerState, caller: Caller) -> Self {
        Self { audit: Arc::clone(&state.audit), caller }
    }

    /// How something ended that he asked.
    pub fn saw(&self, outcome: &Result<Answer, Rejected>) {
        if let Err(Rejected::Forbidden(why)) = outcome {
            self.refused(why);
        }
    }

    fn refused(&self, why: &str) {
        self.audit.refused(Refusal::new("right", self.caller.clone(), why));
    }
}

/// A layer around all services of the client port.
#[derive(Clone)]
pub struct Allowed {
    /// What the services share.
    pub state: Arc<ServerState>,
}

impl Allowed {
    fn check(&self, path: &str, extensions: &Extensions) -> Result<(), Rejected> {
        let caller = Caller::of(extensions);
        let asker = Asker::of(authority_of(&caller), &self.state.rights.now());
        let judged = need_of(path).check(&asker);
        if let Err(Rejected::Forbidden(why)) = &judged {
            Witness::new(&self.state, caller).refused(why);
        }
        judged
    }
}

impl<S> Layer<S> for Allowed {
    type Service = Judged<S>;

    fn layer(&self, inner: S) -> Judged<S> {
        Judged { inner, allowed: self.clone() }
    }
}

/// Services whose calls are judged.
#[derive(Clone)]
pub struct Judged<S> {
    inner: S,
    allowed: Allowed,
}

impl<S> Service<Request<Body>> for Judged<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response<Body>, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.allowed.check(request.uri().path(), request.extensions()) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(refused) => Either::Left(ready(Ok(to_status(refused).into_http()))),
        }
    }
}

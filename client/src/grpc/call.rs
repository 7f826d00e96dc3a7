//! One call: from a handle to the client's task and back, watched by observer and span.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use holdfast_types::{KeyspaceId, Request, Response, limits};
use tokio::sync::{SemaphorePermit, oneshot};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::client::{Client, Shared};
use super::driver::{Command, Ended};
use crate::ClientError;
use crate::core::{CallId, Effort};
use crate::observe::{self, CallEnded, Observer, Operation, Outcome};

impl Client {
    /// Any request, in raw keys: what all other calls are made of. For tools; its types change with the protocol.
    #[doc(hidden)]
    pub async fn call(&self, request: Request) -> Result<Response, ClientError> {
        let mut watch = Watch::begin(self, &request);
        let span = watch.span.clone();
        let ended = self.send(request, &mut watch).instrument(span).await;
        watch.end(&ended);
        ended.outcome
    }

    async fn send(&self, request: Request, watch: &mut Watch<'_>) -> Ended {
        let options = &self.options;
        let deadline = Instant::now() + options.deadline.min(limits::MAX_DEADLINE);
        let _permit = match self.permit(deadline).await {
            Ok(permit) => permit,
            Err(error) => return Ended::early(error),
        };
        let call = CallId(self.shared.last_call.fetch_add(1, Ordering::Relaxed) + 1);
        let (reply, answer) = oneshot::channel();
        let command = Command::Call { call, request, deadline, retry: options.retry, reply };
        if self.shared.commands.send(command).is_err() {
            return Ended::early(ClientError::Closed);
        }
        watch.cancels = Some(call);
        let ended = answer.await.unwrap_or_else(|_| Ended::early(ClientError::Closed));
        watch.cancels = None;
        ended
    }

    async fn permit(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, ClientError> {
        if let Ok(permit) = self.shared.permits.try_acquire() {
            return Ok(permit);
        }
        match tokio::time::timeout_at(deadline, self.shared.permits.acquire()).await {
            Ok(permit) => permit.map_err(|_| ClientError::Closed),
            Err(_) => Err(ClientError::TooManyCalls),
        }
    }
}

/// Watches a call until it ends, or its future is dropped: then the driver is told, and the observer.
struct Watch<'a> {
    shared: &'a Shared,
    observer: Option<&'a Arc<dyn Observer>>,
    span: Span,
    operation: Operation,
    keyspace: KeyspaceId,
    request_bytes: usize,
    begun: Instant,
    /// What the driver is to be told when the caller goes away.
    cancels: Option<CallId>,
    ended: bool,
}

impl<'a> Watch<'a> {
    fn begin(client: &'a Client, request: &Request) -> Self {
        let observer = client.options.observer.as_ref();
        let (operation, keyspace) = (Operation::of(request), observe::keyspace_of(request));
        let span = tracing::debug_span!(
            target: "holdfast_client",
            "call",
            operation = operation.as_str(),
            keyspace = keyspace.0,
            outcome = tracing::field::Empty,
            attempts = tracing::field::Empty,
            retries = tracing::field::Empty,
        );
        let request_bytes = observer.map_or(0, |_| observe::request_bytes(request));
        let (shared, begun) = (&*client.shared, Instant::now());
        Self { shared, observer, span, operation, keyspace, request_bytes, begun, cancels: None, ended: false }
    }

    fn end(&mut self, ended: &Ended) {
        self.ended = true;
        let response_bytes = self.observer.map_or(0, |_| observe::response_bytes(&ended.outcome));
        self.tell(Outcome::of(&ended.outcome), ended.effort, response_bytes);
    }

    fn tell(&self, outcome: Outcome, effort: Effort, response_bytes: usize) {
        if !self.span.is_none() {
            self.span.record("outcome", outcome.as_str());
            self.span.record("attempts", effort.attempts);
            self.span.record("retries", effort.retries);
        }
        if let Some(observer) = self.observer {
            observer.call_ended(&CallEnded {
                operation: self.operation,
                keyspace: self.keyspace,
                outcome,
                latency: self.begun.elapsed(),
                attempts: effort.attempts,
                retries: effort.retries,
                request_bytes: self.request_bytes,
                response_bytes,
            });
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.cancels {
            // A closed driver has nothing left to cancel.
            let _ = self.shared.commands.send(Command::Cancel { call });
        }
        if !self.ended {
            self.tell(Outcome::Cancelled, Effort::default(), 0);
        }
    }
}

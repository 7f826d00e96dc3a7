//! What can go wrong between this process and the API server of one site, and what to do about it.

use std::fmt;
use std::time::Duration;

use kube::Error;
use kube::core::Status;

/// The reason by which an API server marks a field that somebody else owns.
const CONFLICT: &str = "FieldManagerConflict";

/// Why a call to a site did not do what was asked.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// No kubeconfig.
    #[error("the kubeconfig cannot be read: {0}; name one with --kubeconfig or the environment variable KUBECONFIG")]
    Kubeconfig(String),
    /// The fleet file names a context that is not there.
    #[error("the kubeconfig has no context {0:?}: add it, or correct `context` of the site in the fleet file")]
    NoContext(String),
    /// The context is there and leads nowhere.
    #[error("the context {context:?} cannot be used: {why}; correct its entries in the kubeconfig")]
    Context {
        /// Its name.
        context: String,
        /// What kube says of it.
        why: String,
    },
    /// The deadline of the call.
    #[error(
        "{what}: no answer within {after:?}; the API server is slow or cut off: look at its network, and try again"
    )]
    TimedOut {
        /// The call.
        what: String,
        /// Its deadline.
        after: Duration,
    },
    /// No connection, or one that broke.
    #[error("{what}: the API server cannot be reached: {why}; look at its network and at the server of the context")]
    Unreachable {
        /// The call.
        what: String,
        /// What the connection says.
        why: String,
    },
    /// 401.
    #[error(
        "{what}: the API server does not accept the credentials of the context: renew them (`holdfast fleet access`)"
    )]
    Unauthenticated {
        /// The call.
        what: String,
    },
    /// 403.
    #[error("{what}: not allowed: {why}; use a context with this right")]
    Forbidden {
        /// The call.
        what: String,
        /// What the API server says.
        why: String,
    },
    /// 409 from a server-side apply.
    #[error("{what}: {}; settle with its owner, or take it over with --take-over", listed(.conflicts))]
    Conflict {
        /// The call.
        what: String,
        /// Each field and its owner.
        conflicts: Vec<Conflict>,
    },
    /// Any other answer that is no success.
    #[error("{what}: the API server refuses it ({code}): {why}")]
    Refused {
        /// The call.
        what: String,
        /// The HTTP status.
        code: u16,
        /// What the API server says.
        why: String,
    },
    /// The answer makes no sense.
    #[error("{what}: the answer cannot be understood: {why}; is this an API server?")]
    Answer {
        /// The call.
        what: String,
        /// What does not fit.
        why: String,
    },
    /// The context leads to another Kubernetes cluster than the fleet file says.
    #[error(
        "the context {context:?} leads to another Kubernetes cluster: the UID of its namespace kube-system is {found}, and the fleet file \
         has {pinned}; nothing was written: correct `context` or `uid` of the site"
    )]
    WrongUid {
        /// The context.
        context: String,
        /// What the API server says.
        found: String,
        /// What the fleet file says.
        pinned: String,
    },
    /// There is no namespace to write into.
    #[error("the site has no namespace of the fleet yet: apply the fleet file first")]
    NotApplied,
    /// A kind that the control plane does not know. A bug, found by a test over all examples.
    #[error("an object cannot be used: {0}")]
    Rendered(String),
}

/// A field that somebody else owns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The field, as the API server writes it: `.spec.replicas`.
    pub field: String,
    /// Its owner.
    pub owner: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is owned by {}", self.field, self.owner)
    }
}

fn listed(conflicts: &[Conflict]) -> String {
    conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Failure {
    /// Whether the site could not be looked at, as opposed to a site that answered no.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        let is_seen = matches!(self, Self::Conflict { .. } | Self::Refused { .. } | Self::WrongUid { .. });
        !is_seen && !matches!(self, Self::NotApplied | Self::Rendered(_))
    }

    /// Whether what was asked for is not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// What kube's error means. `what` names the call.
    pub(crate) fn of(what: &str, error: Error) -> Self {
        let what = what.to_owned();
        match error {
            Error::Api(status) => Self::of_status(what, &status),
            Error::SerdeError(error) => Self::Answer { what, why: error.to_string() },
            Error::FromUtf8(error) => Self::Answer { what, why: error.to_string() },
            Error::Service(error) => Self::Unreachable { what, why: chain(&*error) },
            Error::HyperError(error) => Self::Unreachable { what, why: chain(&error) },
            Error::Auth(_) => Self::Unauthenticated { what },
            error => Self::Unreachable { what, why: chain(&error) },
        }
    }

    fn of_status(what: String, status: &Status) -> Self {
        let conflicts = conflicts(status);
        match status.code {
            401 => Self::Unauthenticated { what },
            403 => Self::Forbidden { what, why: status.message.clone() },
            409 if !conflicts.is_empty() => Self::Conflict { what, conflicts },
            429 | 503 | 504 => Self::Unreachable { what, why: status.message.clone() },
            code => Self::Refused { what, code, why: status.message.clone() },
        }
    }
}

fn conflicts(status: &Status) -> Vec<Conflict> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let ours = causes.filter(|cause| cause.reason == CONFLICT);
    ours.map(|cause| Conflict { field: cause.field.clone(), owner: owner(&cause.message) }).collect()
}

/// `conflict with "kubectl-edit" with subresource "scale" using apps/v1 at 2026-01-01T00:00:00Z`
fn owner(message: &str) -> String {
    message.strip_prefix("conflict with ").unwrap_or(message).to_owned()
}

/// An error and all that it came from.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failure(code: u16, details: serde_json::Value) -> Failure {
        let status = json!({"kind": "Status", "status": "Failure", "code": code, "message": "why", "details": details});
        let status: Status = serde_json::from_value(status).unwrap();
        Failure::of("apply Service prod", Error::Api(status.boxed()))
    }

    #[test]
    fn each_answer_has_its_own_kind_and_says_what_to_do() {
        assert!(failure(401, json!({})).to_string().contains("renew"));
        assert!(matches!(failure(403, json!({})), Failure::Forbidden { .. }));
        assert!(failure(503, json!({})).is_blind() && failure(401, json!({})).is_blind());
        assert!(matches!(failure(422, json!({})), Failure::Refused { code: 422, .. }));
        // A conflict without fields is an optimistic lock's, not another owner's.
        assert!(matches!(failure(409, json!({})), Failure::Refused { code: 409, .. }));
    }

    #[test]
    fn a_conflict_names_the_field_and_its_owner() {
        let message = "conflict with \"kubectl-edit\" using apps/v1";
        let causes = json!({"causes": [{"reason": CONFLICT, "message": message, "field": ".spec.replicas"}]});
        let failure = failure(409, causes);
        assert!(!failure.is_blind());
        let text = failure.to_string();
        assert!(text.contains(".spec.replicas is owned by \"kubectl-edit\" using apps/v1"), "{text}");
    }
}

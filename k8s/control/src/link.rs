//! The API server of one site. Every call has a deadline, and every failure says which call it was.

use std::future::Future;
use std::time::Duration;

use http::Request as HttpRequest;
use kube::Client;
use kube::core::Request;
use kube::core::params::{
    DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions, ValidationDirective,
};
use serde_json::Value;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::kinds::{self, Kind};
use crate::objects::{Address, MANAGER, Object};

/// The namespace whose UID is the identity of a Kubernetes cluster.
pub const IDENTITY: &str = "kube-system";

/// How an object is applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// Only say what would be.
    pub is_dry: bool,
    /// Take fields over from other managers.
    pub takes_over: bool,
    /// Who writes.
    pub manager: &'static str,
}

impl Mode {
    /// Says what would be, and which fields belong to others.
    pub const TRY: Self = Self { is_dry: true, takes_over: false, manager: MANAGER };
    /// Says what would be if all of it were ours.
    pub const TRY_ALL: Self = Self { is_dry: true, takes_over: true, manager: MANAGER };
}

/// One site: how it is reached, and who it is meant to be.
#[derive(Clone)]
pub struct Link {
    /// The site.
    pub site: String,
    /// The context that leads there.
    pub context: String,
    /// The UID that it must have.
    pub uid: String,
    client: Client,
    within: Duration,
}

impl Link {
    /// A site whose calls each end after `within`.
    #[must_use]
    pub fn new(site: &holdfast_k8s::fleet::Site, client: Client, within: Duration) -> Self {
        Self { site: site.name.clone(), context: site.context.clone(), uid: site.uid.clone(), client, within }
    }

    /// The client itself, for what is no plain request.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs a call within the deadline.
    pub(crate) async fn timed<T>(&self, what: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        match timeout(self.within, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failure::of(what, error)),
            Err(_) => Err(Failure::TimedOut { what: what.to_owned(), after: self.within }),
        }
    }

    async fn send(
        &self,
        what: &str,
        request: Result<HttpRequest<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Value, Failure> {
        let request = request.map_err(|error| Failure::Rendered(format!("{what}: {error}")))?;
        self.timed(what, self.client.request(request)).await
    }

    /// Refuses a Kubernetes cluster that is not the one of the fleet file. Comes before everything else.
    pub async fn check_uid(&self) -> Result<(), Failure> {
        let kind = kinds::of("Namespace").expect("it is in the table");
        let request = Request::new(kind.path(kind.api_version, None)).get(IDENTITY, &GetParams::default());
        let found = self.send(&format!("get Namespace {IDENTITY}"), request).await?;
        let found = found["metadata"]["uid"].as_str().unwrap_or_default();
        if found == self.uid {
            return Ok(());
        }
        Err(Failure::WrongUid { context: self.context.clone(), found: found.to_owned(), pinned: self.uid.clone() })
    }

    /// The live object; `None`: there is none.
    pub async fn get(&self, address: &Address) -> Result<Option<Value>, Failure> {
        let request = Request::new(address.collection()).get(&address.name, &GetParams::default());
        found(self.send(&format!("get {address}"), request).await)
    }

    /// The live objects of a kind; `None`: the API server does not know the kind.
    pub async fn list(
        &self,
        kind: &Kind,
        api_version: &str,
        namespace: &str,
        selector: &str,
    ) -> Result<Option<Vec<Value>>, Failure> {
        let params = ListParams {
            label_selector: Some(selector.to_owned()).filter(|text| !text.is_empty()),
            ..ListParams::default()
        };
        let request = Request::new(kind.path(api_version, Some(namespace))).list(&params);
        let Some(mut answer) = found(self.send(&format!("list {}s", kind.kind), request).await)? else {
            return Ok(None);
        };
        let Value::Array(mut items) = answer["items"].take() else { return Ok(Some(Vec::new())) };
        for item in &mut items {
            // Items of a list do not say what they are.
            item["kind"] = kind.kind.into();
            item["apiVersion"] = api_version.into();
        }
        Ok(Some(items))
    }

    /// Server-side apply. Returns the object as it is then, or as it would be.
    pub async fn apply(&self, object: &Object, mode: Mode) -> Result<Value, Failure> {
        let address = &object.address;
        let params = PatchParams {
            dry_run: mode.is_dry,
            force: mode.takes_over,
            field_manager: Some(mode.manager.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
        };
        let request = Request::new(address.collection()).patch(&address.name, &params, &Patch::Apply(&object.body));
        let verb = if mode.is_dry { "apply (dry run)" } else { "apply" };
        self.send(&format!("{verb} {address}"), request).await
    }

    /// Deletes exactly the object that was seen: another one of the same name stays.
    pub async fn delete(&self, address: &Address, uid: &str) -> Result<(), Failure> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let request = Request::new(address.collection()).delete(&address.name, &params);
        found(self.send(&format!("delete {address}"), request).await).map(drop)
    }

    /// Asks the API server a question that is an object, such as an access review.
    pub async fn ask(&self, path: &str, question: &Value) -> Result<Value, Failure> {
        let body = question.to_string().into_bytes();
        let what = format!("ask {}", question["kind"].as_str().unwrap_or(path));
        self.send(&what, Request::new(path).create(&PostParams::default(), body)).await
    }
}

/// 404 is an answer too.
fn found(answer: Result<Value, Failure>) -> Result<Option<Value>, Failure> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.is_missing() => Ok(None),
        Err(failure) => Err(failure),
    }
}

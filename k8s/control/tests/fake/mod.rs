//! An API server in this process, as much of one as the control plane meets: server-side apply with owners and dry runs, lists by label, access
//! reviews, and a StatefulSet controller that replaces pods at once. It remembers every request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use holdfast_control::connect::{Limits, Reach};
use holdfast_control::failure::Failure;
use holdfast_control::link::Link;
use holdfast_control::stores::{FleetView, StoreLine, StoreView, Stores};
use holdfast_k8s::Fleet;
use holdfast_k8s::fleet::Site;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// How an API server behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// It answers.
    Well,
    /// It takes requests and never answers.
    Hangs,
    /// Connections to it fail.
    Gone,
}

/// A request that changes something, or would.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    pub method: String,
    pub path: String,
    pub is_dry: bool,
}

/// What an API server has and did.
pub struct State {
    pub mood: Mood,
    /// Objects by their paths.
    pub objects: BTreeMap<String, Value>,
    pub writes: Vec<Write>,
    /// Fields that others own, by the path of their object: the field and its owner.
    pub owned: BTreeMap<String, (String, String)>,
    /// Paths that nobody may write.
    pub read_only: BTreeSet<String>,
    /// Answers to access reviews: whether the account of the stores may do everything.
    pub stores_may_all: bool,
    counter: u64,
}

/// One site's API server.
#[derive(Clone)]
pub struct Server {
    pub state: Arc<Mutex<State>>,
}

impl Server {
    /// One that has nothing but the namespace that proves it.
    pub fn new(uid: &str) -> Self {
        let identity =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": uid}});
        let objects = [("/api/v1/namespaces/kube-system".to_owned(), identity)].into();
        let state = State {
            mood: Mood::Well,
            objects,
            writes: Vec::new(),
            owned: BTreeMap::new(),
            read_only: BTreeSet::new(),
            stores_may_all: false,
            counter: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.state.lock().unwrap())
    }

    pub fn set_mood(&self, mood: Mood) {
        self.with(|state| state.mood = mood);
    }

    /// Writes that were meant.
    pub fn real_writes(&self) -> Vec<Write> {
        self.with(|state| state.writes.iter().filter(|write| !write.is_dry).cloned().collect())
    }

    pub fn object(&self, path: &str) -> Option<Value> {
        self.with(|state| state.objects.get(path).cloned())
    }

    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { server.answer(request).await }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, std::io::Error> {
        match self.with(|state| state.mood) {
            Mood::Hangs => std::future::pending().await,
            Mood::Gone => return Err(std::io::ErrorKind::ConnectionRefused.into()),
            Mood::Well => {}
        }
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let (code, answer) = self.with(|state| state.answer(&parts.method, &path, &query, &body));
        let response = Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
        Ok(response.unwrap())
    }
}

fn status(code: u16, message: &str, details: Value) -> (u16, Value) {
    let kind = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, "details": details});
    (code, kind)
}

fn not_found(path: &str) -> (u16, Value) {
    status(404, &format!("{path} not found"), json!({}))
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, query: &str, body: &Value) -> (u16, Value) {
        let is_dry = query.contains("dryRun=All");
        if *method != Method::GET && *method != Method::POST {
            self.writes.push(Write { method: method.to_string(), path: path.to_owned(), is_dry });
        }
        match method.as_str() {
            "GET" if self.objects.contains_key(path) => (200, self.objects[path].clone()),
            "GET" if is_collection(path) => (200, self.list(path, query)),
            "PATCH" => self.apply(path, query, body, is_dry),
            "POST" if path.ends_with("accessreviews") => (201, self.review(body)),
            "POST" if path.ends_with("/token") => {
                (201, json!({"status": {"token": "t", "expirationTimestamp": "2030-01-01T00:00:00Z"}, "asked": body}))
            }
            "DELETE" => match self.objects.remove(path) {
                Some(_) => (200, json!({"kind": "Status", "status": "Success"})),
                None => not_found(path),
            },
            _ => not_found(path),
        }
    }

    fn list(&self, path: &str, query: &str) -> Value {
        let query = query.replace("%3D", "=").replace("%2C", ",").replace("%2F", "/");
        let selector = query.split('&').find_map(|part| part.strip_prefix("labelSelector=")).unwrap_or_default();
        let wanted: Vec<_> = selector.split(',').filter_map(|pair| pair.split_once('=')).collect();
        let below = |key: &str| {
            key.strip_prefix(path).and_then(|rest| rest.strip_prefix('/')).is_some_and(|rest| !rest.contains('/'))
        };
        let fits = |object: &Value| wanted.iter().all(|(label, value)| object["metadata"]["labels"][*label] == **value);
        let items =
            self.objects.iter().filter(|(key, object)| below(key) && fits(object)).map(|(_, object)| object.clone());
        json!({"kind": "List", "items": items.collect::<Vec<_>>()})
    }

    fn apply(&mut self, path: &str, query: &str, body: &Value, is_dry: bool) -> (u16, Value) {
        if self.read_only.contains(path) {
            return status(403, "forbidden: it is read-only", json!({}));
        }
        let namespace = body["metadata"]["namespace"].as_str();
        if namespace.is_some_and(|namespace| !self.objects.contains_key(&format!("/api/v1/namespaces/{namespace}"))) {
            return status(404, "the namespace is not there", json!({}));
        }
        if let Some((field, owner)) = self.owned.get(path).filter(|_| !query.contains("force=true")) {
            let message = format!("conflict with {owner:?} using v1");
            let causes = json!([{"reason": "FieldManagerConflict", "message": message, "field": field}]);
            return status(409, "conflict", json!({"causes": causes}));
        }
        let before = self.objects.get(path).cloned();
        let mut after = before.clone().unwrap_or_else(|| json!({"metadata": {"generation": 0}}));
        merge(&mut after, body);
        if before.as_ref().is_none_or(|before| before["spec"] != after["spec"]) {
            after["metadata"]["generation"] = (after["metadata"]["generation"].as_i64().unwrap_or(0) + 1).into();
        }
        self.counter += 1;
        after["metadata"]["uid"] =
            before.as_ref().map_or_else(|| format!("u{}", self.counter).into(), |b| b["metadata"]["uid"].clone());
        let mut managers = after["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        managers.retain(|entry| entry["manager"] != "holdfast");
        managers.push(json!({"manager": "holdfast", "operation": "Apply", "fieldsV1": {}}));
        after["metadata"]["managedFields"] = managers.into();
        if is_dry {
            return (200, after);
        }
        self.owned.remove(path);
        if after["kind"] == "StatefulSet" {
            self.control(&mut after);
        }
        self.objects.insert(path.to_owned(), after.clone());
        (200, after)
    }

    /// What the StatefulSet controller does, in no time.
    fn control(&mut self, set: &mut Value) {
        let template = set["spec"]["template"].to_string();
        let update =
            format!("r{}", template.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())));
        let current = set["status"]["currentRevision"].as_str().unwrap_or(&update).to_owned();
        let replicas = set["spec"]["replicas"].as_u64().unwrap();
        let partition = set["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_u64().unwrap();
        let (namespace, name) = (&set["metadata"]["namespace"], set["metadata"]["name"].as_str().unwrap());
        let pods = format!("/api/v1/namespaces/{}/pods", namespace.as_str().unwrap());
        let gone = (replicas..replicas + 10).map(|ordinal| format!("{pods}/{name}-{ordinal}"));
        gone.for_each(|path| drop(self.objects.remove(&path)));
        let mut is_new = true;
        for ordinal in 0..replicas {
            let path = format!("{pods}/{name}-{ordinal}");
            let there =
                self.objects.get(&path).map(|pod| pod["metadata"]["labels"]["controller-revision-hash"].clone());
            let wanted = if ordinal >= partition { &update } else { &current };
            let is_kept = there.as_ref().is_some_and(|there| *there == update.as_str() || ordinal < partition);
            if !is_kept {
                self.counter += 1;
                let pod = pod(set, ordinal, wanted, self.counter);
                self.objects.insert(path.clone(), pod);
            }
            is_new &= self.objects[&path]["metadata"]["labels"]["controller-revision-hash"] == update.as_str();
        }
        set["status"] = json!({
            "observedGeneration": set["metadata"]["generation"], "replicas": replicas, "availableReplicas": replicas,
            "currentRevision": if is_new { update.clone() } else { current }, "updateRevision": update,
        });
    }

    fn review(&self, body: &Value) -> Value {
        let user = body["spec"]["user"].as_str();
        let allowed = user.is_none() || self.stores_may_all;
        json!({"status": {"allowed": allowed}})
    }
}

fn is_collection(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.ends_with('s') && !last.contains(['-', '.'])
}

fn pod(set: &Value, ordinal: u64, revision: &str, counter: u64) -> Value {
    let template = &set["spec"]["template"];
    let mut labels = template["metadata"]["labels"].clone();
    labels["controller-revision-hash"] = revision.into();
    let name = format!("{}-{ordinal}", set["metadata"]["name"].as_str().unwrap());
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": set["metadata"]["namespace"], "labels": labels},
        "spec": template["spec"],
        "status": {
            "phase": "Running", "podIP": format!("10.0.{}.{}", counter / 250, counter % 250 + 1),
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"started": true, "restartCount": 0}],
        },
    })
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// A fleet and an API server for each of its sites.
pub struct World {
    pub fleet: Fleet,
    pub servers: Vec<Server>,
    pub reaches: Vec<Reach>,
    pub limits: Limits,
}

impl World {
    /// The example of mode flat-mirror: east, west and north.
    pub fn new() -> Self {
        let text = std::fs::read_to_string("../examples/flat-mirror/fleet.yaml").unwrap();
        let fleet = holdfast_k8s::validate(&text).fleet.unwrap();
        let limits = Limits::default();
        let servers: Vec<_> = fleet.sites.iter().map(|site| Server::new(&site.uid)).collect();
        let link = |site: &Site, server: &Server| Link::new(site, server.client(), limits.call);
        let sites = fleet.sites.iter().zip(&servers);
        let reaches = sites.map(|(site, server)| Reach { site: site.clone(), link: Ok(link(site, server)) }).collect();
        Self { fleet, servers, reaches, limits }
    }

    pub fn server(&self, site: &str) -> &Server {
        let at = self.fleet.sites.iter().position(|known| known.name == site).unwrap();
        &self.servers[at]
    }

    /// Takes the way to a site away.
    pub fn lose_link(&mut self, site: &str, failure: Failure) {
        self.reaches
            .iter_mut()
            .filter(|reach| reach.site.name == site)
            .for_each(|reach| reach.link = Err(failure.clone()));
    }

    /// The path of an object of the fleet.
    pub fn path(&self, group: &str, plural: &str, name: &str) -> String {
        format!("/{group}/namespaces/{}/{plural}/{name}", self.fleet.namespace)
    }
}

/// Stores that say what a test wants them to.
pub struct FakeStores(pub Mutex<StoreView>);

impl FakeStores {
    pub fn not_founded() -> Self {
        Self(Mutex::new(StoreView::NotFounded))
    }

    /// All pods of the fleet, alive, each with so many replicas; without any they are drained.
    pub fn well(fleet: &Fleet, replicas: u64) -> Self {
        let pods = fleet
            .sites
            .iter()
            .flat_map(|site| fleet.ordinals(site).map(move |ordinal| (site, fleet.pod_name(site, ordinal))));
        let line = |(at, (site, pod)): (usize, (&Site, String))| StoreLine {
            store: format!("s{}", at + 1),
            pod: Some(pod),
            site: site.name.clone(),
            is_alive: true,
            is_leaving: replicas == 0,
            replicas,
            ..StoreLine::default()
        };
        let stores = pods.enumerate().map(line).collect();
        Self(Mutex::new(StoreView::Known(FleetView { stores, ..FleetView::default() })))
    }
}

#[async_trait::async_trait]
impl Stores for FakeStores {
    async fn view(&self) -> StoreView {
        self.0.lock().unwrap().clone()
    }
}

//! What an apply would do, found by a dry run of each object. Nothing is written.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};
use holdfast_k8s::render::admission::DRAINED_TO;
use holdfast_k8s::{Fleet, render};
use serde_json::Value;
use tokio::time::timeout;

use crate::connect::{Limits, Reach};
use crate::diff::{self, Difference};
use crate::failure::{Conflict, Failure};
use crate::kinds::{KINDS, SLICE};
use crate::link::{Link, Mode};
use crate::objects::{self, Address, Object};
use crate::unfinished::{self, Unfinished};
use crate::views::SetView;
use crate::{owners, slices, sync};

/// Objects of a site that are tried at a time.
const AT_ONCE: usize = 8;

/// What would become of an object.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// It is not there. `is_tried`: the API server said that it would take it; before its namespace exists it cannot.
    Create {
        /// Whether a dry run said so.
        is_tried: bool,
    },
    /// It is as it is wanted.
    Unchanged,
    /// It is as it is wanted, but was written by other means: an apply makes it ours.
    Adopt,
    /// Fields would change.
    Changed(Vec<Difference>),
    /// Fields are owned by others, and what would change if they were taken over.
    Conflict(Vec<Conflict>, Vec<Difference>),
    /// It may be looked at, not written, and is not as it is wanted.
    NotAllowed(Vec<Difference>),
    /// The API server refuses it, or did not answer.
    Failed(Failure),
}

/// One object.
#[derive(Clone, PartialEq, Debug)]
pub struct ObjectPlan {
    /// As it is wanted.
    pub object: Object,
    /// As it is.
    pub live: Option<Value>,
    /// What would become of it.
    pub verdict: Verdict,
}

/// One site.
#[derive(Clone, PartialEq, Debug)]
pub struct SitePlan {
    /// Its name.
    pub site: String,
    /// What was found, or why nothing was.
    pub looked: Result<Looked, Failure>,
}

/// What was found in a site.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Looked {
    /// Rendered objects, in the order in which they would be written.
    pub objects: Vec<ObjectPlan>,
    /// What the fleet owns there and is rendered no more.
    pub orphans: Vec<Address>,
    /// A rollout that is not done, whoever began it.
    pub rollout: Option<Unfinished>,
}

impl Looked {
    /// An apply would change nothing, and has nothing to go on with.
    #[must_use]
    pub fn is_as_wanted(&self) -> bool {
        let is_same = |plan: &ObjectPlan| plan.verdict == Verdict::Unchanged;
        self.orphans.is_empty() && self.rollout.is_none() && self.objects.iter().all(is_same)
    }
}

/// Plans all sites at once, each within its own time.
pub async fn plan(fleet: &Fleet, reaches: &[Reach], limits: &Limits) -> Vec<SitePlan> {
    let sites = reaches.iter().map(|reach| async move {
        let site = reach.site.name.clone();
        let look = async {
            let link = reach.link.as_ref().map_err(Clone::clone)?;
            link.check_uid().await?;
            look(fleet, link).await
        };
        let late = || Failure::TimedOut { what: format!("plan of {site}"), after: limits.site };
        let looked = timeout(limits.site, look).await.unwrap_or_else(|_| Err(late()));
        SitePlan { site, looked }
    });
    futures::future::join_all(sites).await
}

/// Rendered objects of a site.
pub fn rendered(fleet: &Fleet, site: &str) -> Result<Vec<Object>, Failure> {
    let tree = render(fleet).into_iter().find(|tree| tree.site == site);
    tree.map_or_else(|| Err(Failure::Rendered(format!("site {site}"))), |tree| objects::of_tree(&tree))
}

/// Plans one site, which is known to be the right one.
pub async fn look(fleet: &Fleet, link: &Link) -> Result<Looked, Failure> {
    let wanted = rendered(fleet, &link.site)?;
    let mut objects = look_at(link, wanted.clone()).await?;
    keep_partition(link, &mut objects).await?;
    let orphans = orphans(fleet, link, &wanted).await?;
    let rollout = unfinished_rollout(fleet, link, &objects).await?;
    Ok(Looked { objects, orphans, rollout })
}

async fn unfinished_rollout(fleet: &Fleet, link: &Link, objects: &[ObjectPlan]) -> Result<Option<Unfinished>, Failure> {
    let Some(plan) = objects.iter().find(|plan| unfinished::is_set(plan)) else { return Ok(None) };
    let Some(site) = fleet.sites.iter().find(|site| site.name == link.site) else { return Ok(None) };
    let Some(live) = &plan.live else { return Ok(None) };
    let pods = sync::pods(fleet, site, link).await?;
    Ok(unfinished::rollout(&plan.object.address.name, &SetView::of(live), &pods, &plan.verdict))
}

/// Tries each object. The first that cannot be looked at ends it: the others would not fare better.
pub(crate) async fn look_at(link: &Link, wanted: Vec<Object>) -> Result<Vec<ObjectPlan>, Failure> {
    let namespace = wanted.iter().find(|object| object.address.kind.kind == "Namespace");
    let has_namespace = match namespace {
        Some(object) => link.get(&object.address).await?.is_some(),
        None => true,
    };
    let tried = stream::iter(wanted).map(|object| look_at_one(link, object, has_namespace)).buffered(AT_ONCE);
    tried.collect::<Vec<_>>().await.into_iter().collect()
}

/// A rollout that was broken off is gone on with where it stands: the same template keeps its partition.
pub(crate) async fn keep_partition(link: &Link, plans: &mut [ObjectPlan]) -> Result<(), Failure> {
    let Some(plan) = plans.iter_mut().find(|plan| unfinished::is_set(plan)) else { return Ok(()) };
    let (Some(live), Verdict::Changed(differences)) = (&plan.live, &plan.verdict) else { return Ok(()) };
    let is_new = differences.iter().any(|difference| difference.path.to_string().starts_with(".spec.template"));
    let set = SetView::of(live);
    if is_new || set.current_revision == set.update_revision || set.partition >= set.replicas {
        return Ok(());
    }
    set_partition(&mut plan.object.body, set.partition);
    plan.verdict = judge(Some(live), &link.apply(&plan.object, Mode::TRY).await?);
    Ok(())
}

pub(crate) fn set_partition(body: &mut Value, partition: u32) {
    body["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = partition.into();
}

async fn look_at_one(link: &Link, mut object: Object, has_namespace: bool) -> Result<ObjectPlan, Failure> {
    if object.address.namespace.is_some() && !has_namespace {
        return Ok(ObjectPlan { object, live: None, verdict: Verdict::Create { is_tried: false } });
    }
    let live = link.get(&object.address).await?;
    if live.as_ref().is_some_and(|live| shrinks(live, &object)) {
        let stores = object.body["spec"]["replicas"].to_string();
        object.body["metadata"]["annotations"][DRAINED_TO] = stores.into();
    }
    let verdict = match link.apply(&object, Mode::TRY).await {
        Ok(tried) => judge(live.as_ref(), &tried),
        Err(Failure::Conflict { conflicts, .. }) => {
            let forced = link.apply(&object, Mode::TRY_ALL).await?;
            Verdict::Conflict(conflicts, live.as_ref().map_or_else(Vec::new, |live| difference(live, &forced)))
        }
        Err(failure @ Failure::Forbidden { .. }) => match &live {
            Some(live) => may_not(live, &object),
            None => Verdict::Failed(failure),
        },
        Err(failure) if failure.is_blind() => return Err(failure),
        Err(failure) => Verdict::Failed(failure),
    };
    Ok(ObjectPlan { object, live, verdict })
}

/// What a dry run says about a live object.
#[must_use]
pub fn judge(live: Option<&Value>, tried: &Value) -> Verdict {
    let Some(live) = live else { return Verdict::Create { is_tried: true } };
    let differences = difference(live, tried);
    match (differences.is_empty(), owners::is_ours(live)) {
        (false, _) => Verdict::Changed(differences),
        (true, true) => Verdict::Unchanged,
        (true, false) => Verdict::Adopt,
    }
}

/// Whether there are to be fewer stores. The API server refuses that without a word that they are drained; an apply comes so far only when they are.
fn shrinks(live: &Value, object: &Object) -> bool {
    object.address.kind.kind == "StatefulSet" && SetView::of(&object.body).replicas < SetView::of(live).replicas
}

fn may_not(live: &Value, object: &Object) -> Verdict {
    let lacking = diff::lacking(live, &object.body);
    if lacking.is_empty() { Verdict::Unchanged } else { Verdict::NotAllowed(lacking) }
}

/// In what two versions of an object differ that somebody asked for.
#[must_use]
pub fn difference(from: &Value, to: &Value) -> Vec<Difference> {
    diff::diff(&objects::asked(from), &objects::asked(to))
}

/// What the fleet owns in a site and nothing renders.
async fn orphans(fleet: &Fleet, link: &Link, wanted: &[Object]) -> Result<Vec<Address>, Failure> {
    let mut kept: BTreeSet<Address> = wanted.iter().map(|object| object.address.clone()).collect();
    kept.extend(slices::addresses(fleet, &link.site));
    let selector = objects::owned_by(&fleet.name);
    let mut found = Vec::new();
    for kind in KINDS.iter().chain([SLICE]) {
        let version = kept.iter().find(|address| address.kind == kind).map(|address| address.api_version.clone());
        let version = version.as_deref().unwrap_or(kind.api_version);
        let live = match link.list(kind, version, &fleet.namespace, &selector).await {
            Ok(live) => live.unwrap_or_default(),
            // What lies outside of the namespace is seldom anybody's to list; one by one it was looked at already.
            Err(Failure::Forbidden { .. }) if !kind.is_namespaced => Vec::new(),
            Err(failure) => return Err(failure),
        };
        for body in live.iter().filter(|body| slices::is_no_foreign(body)) {
            let address = Address::of(body)?;
            if !kept.contains(&address) {
                found.push(address);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live(replicas: u32, is_ours: bool) -> Value {
        let operation = if is_ours { "Apply" } else { "Update" };
        let fields = json!([{"manager": "holdfast", "operation": operation}]);
        json!({"metadata": {"managedFields": fields, "resourceVersion": replicas}, "spec": {"replicas": replicas}})
    }

    #[test]
    fn a_dry_run_tells_what_would_become_of_an_object() {
        assert_eq!(judge(None, &live(2, true)), Verdict::Create { is_tried: true });
        assert_eq!(judge(Some(&live(2, true)), &live(2, true)), Verdict::Unchanged);
        assert_eq!(judge(Some(&live(2, false)), &live(2, true)), Verdict::Adopt);
        let Verdict::Changed(differences) = judge(Some(&live(2, true)), &live(3, true)) else { panic!("changed") };
        assert_eq!(differences[0].to_string(), ".spec.replicas: 2 -> 3");
    }

    #[test]
    fn what_may_not_be_written_is_compared_by_what_is_wanted() {
        let body = json!({"spec": {"replicas": 2}});
        let address = Address::within(crate::kinds::of("StatefulSet").unwrap(), "holdfast", "prod-a");
        let object = Object { address, body };
        assert_eq!(may_not(&live(2, true), &object), Verdict::Unchanged);
        assert!(matches!(may_not(&live(3, true), &object), Verdict::NotAllowed(_)));
    }
}

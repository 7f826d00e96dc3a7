//! Whether the sites are what the fleet file says, and who made them otherwise.
//!
//! What could not be looked at is a result of its own: a site that does not answer is never called well.

use std::fmt;

use futures::stream::{self, StreamExt};
use holdfast_k8s::Fleet;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::connect::{Limits, Reach};
use crate::diff::Difference;
use crate::equality::{self, Faces, GUARDS};
use crate::failure::Failure;
use crate::link::Link;
use crate::objects::{Address, MANAGER};
use crate::owners::{self, Writer, Written};
use crate::permits::{self, Deed};
use crate::plan::{self, Looked, ObjectPlan, Verdict};
use crate::unfinished::Unfinished;
use crate::{kinds, report};

/// Questions that are asked of one API server at a time.
const AT_ONCE: usize = 8;

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Debug)]
pub enum Finding {
    /// The context leads to another Kubernetes cluster, or an object cannot be applied at all.
    Refused(Failure),
    /// It is rendered and not there.
    Missing(Address),
    /// A field is not as it is rendered, and who wrote it.
    Drift(Address, Difference, Vec<Writer>),
    /// Somebody else writes into an object of ours.
    Foreign(Address, Written),
    /// It was not written by server-side apply of ours.
    NotOurs(Address),
    /// The fleet owns it and nothing renders it.
    Orphan(Address),
    /// The stores may do what they must not.
    TooMuch(Deed),
    /// Whoever asks may not do what operating the fleet needs.
    TooLittle(Deed),
    /// A changed template that not all pods have, or a partition that is not at rest.
    Rollout(Unfinished),
    /// Sites differ in who may do what.
    Unequal(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(failure) => write!(f, "{failure}"),
            Self::Missing(address) => write!(f, "{address} is missing: apply makes it"),
            Self::Drift(address, difference, writers) => {
                let who: Vec<_> = writers.iter().map(ToString::to_string).collect();
                let who = if who.is_empty() { "somebody who left no name".to_owned() } else { who.join(" and ") };
                let is_others = writers.iter().any(|writer| writer.manager != MANAGER);
                let how = if is_others { "apply --take-over" } else { "apply" };
                write!(f, "{address}{difference}: written by {who}; {how} puts it right")
            }
            Self::Foreign(address, written) => {
                write!(f, "{address}: {} wrote {}", written.writer, written.fields.join(", "))
            }
            Self::NotOurs(address) => write!(f, "{address} was not applied by holdfast: apply adopts it"),
            Self::Orphan(address) => write!(f, "{address} is rendered no more: delete it when nobody needs it"),
            Self::TooMuch(deed) => write!(f, "the stores' account may {deed}: find the binding that lets it"),
            Self::TooLittle(deed) => write!(
                f,
                "you may not {deed}, which operating the fleet needs: apply the operator's role, or use its account"
            ),
            Self::Rollout(rollout) => write!(f, "{}: {rollout}", rollout.set),
            Self::Unequal(what) => f.write_str(what),
        }
    }
}

impl Finding {
    fn kind(&self) -> &'static str {
        match self {
            Self::Refused(Failure::WrongUid { .. }) => "wrong-uid",
            Self::Refused(_) => "refused",
            Self::Missing(_) => "missing",
            Self::Drift(..) => "drift",
            Self::Foreign(..) => "foreign-manager",
            Self::NotOurs(_) => "not-ours",
            Self::Orphan(_) => "orphan",
            Self::TooMuch(_) => "too-much-allowed",
            Self::TooLittle(_) => "too-little-allowed",
            Self::Rollout(_) => "rollout",
            Self::Unequal(_) => "unequal",
        }
    }
}

/// What was found in one site.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SiteAudit {
    /// The site.
    pub site: String,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
    /// What could not be looked at.
    pub unseen: Vec<Failure>,
    /// For the comparison with the other sites; `None`: not seen.
    guards: Option<Faces>,
}

/// What was found in all of them.
#[derive(Clone, PartialEq, Debug)]
pub struct Audit {
    /// Site by site.
    pub sites: Vec<SiteAudit>,
    /// Between them.
    pub between: Vec<Finding>,
}

impl Audit {
    /// Everything was looked at.
    #[must_use]
    pub fn has_seen_all(&self) -> bool {
        self.sites.iter().all(|site| site.unseen.is_empty())
    }

    /// Nothing was found, in what was looked at.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.between.is_empty() && self.sites.iter().all(|site| site.findings.is_empty())
    }

    /// For programs.
    #[must_use]
    pub fn as_json(&self) -> Value {
        let finding = |finding: &Finding| json!({"kind": finding.kind(), "message": finding.to_string()});
        let list = |findings: &[Finding]| findings.iter().map(finding).collect::<Vec<_>>();
        let site = |site: &SiteAudit| {
            let unseen: Vec<_> = site.unseen.iter().map(ToString::to_string).collect();
            json!({"site": site.site, "findings": list(&site.findings), "unseen": unseen})
        };
        json!({
            "sites": self.sites.iter().map(site).collect::<Vec<_>>(),
            "between": list(&self.between),
            "complete": self.has_seen_all(),
        })
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for site in &self.sites {
            let seen = if site.unseen.is_empty() { "" } else { ", not all of it seen" };
            writeln!(f, "{}: {} findings{seen}", site.site, site.findings.len())?;
            site.findings.iter().try_for_each(|finding| writeln!(f, "  {}: {finding}", finding.kind()))?;
            site.unseen.iter().try_for_each(|failure| writeln!(f, "  not seen: {failure}"))?;
        }
        self.between.iter().try_for_each(|finding| writeln!(f, "{}: {finding}", finding.kind()))
    }
}

/// Audits all sites at once, each within its own time.
pub async fn audit(fleet: &Fleet, reaches: &[Reach], limits: &Limits) -> Audit {
    let sites = reaches.iter().map(|reach| async move {
        let site = reach.site.name.clone();
        let mut audit = SiteAudit { site: site.clone(), ..SiteAudit::default() };
        let late = || Failure::TimedOut { what: format!("audit of {site}"), after: limits.site };
        let looked = timeout(limits.site, look(fleet, reach, &mut audit)).await.unwrap_or_else(|_| Err(late()));
        match looked {
            Ok(()) => {}
            Err(failure) if failure.is_blind() => audit.unseen.push(failure),
            Err(failure) => audit.findings.push(Finding::Refused(failure)),
        }
        audit
    });
    let sites = futures::future::join_all(sites).await;
    let faces: Vec<_> = sites.iter().filter_map(|site| Some((site.site.as_str(), site.guards.as_ref()?))).collect();
    let between = equality::unequal(&faces).into_iter().map(Finding::Unequal).collect();
    Audit { sites, between }
}

async fn look(fleet: &Fleet, reach: &Reach, audit: &mut SiteAudit) -> Result<(), Failure> {
    let link = reach.link.as_ref().map_err(Clone::clone)?;
    link.check_uid().await?;
    // Rights first: whoever may not look learns why the rest is not seen.
    ask(fleet, link, audit).await?;
    let looked = plan::look(fleet, link).await?;
    for plan in &looked.objects {
        audit.findings.extend(of_object(plan));
    }
    audit.findings.extend(looked.orphans.iter().cloned().map(Finding::Orphan));
    audit.findings.extend(looked.rollout.iter().cloned().map(Finding::Rollout));
    audit.guards = Some(guards(fleet, link, &looked).await?);
    Ok(())
}

/// What a plan of one object finds.
fn of_object(plan: &ObjectPlan) -> Vec<Finding> {
    let address = || plan.object.address.clone();
    let mut found = match &plan.verdict {
        Verdict::Create { .. } => vec![Finding::Missing(address())],
        Verdict::Failed(failure) => vec![Finding::Refused(failure.clone())],
        Verdict::Adopt => vec![Finding::NotOurs(address())],
        Verdict::Unchanged => Vec::new(),
        Verdict::Changed(_) | Verdict::Conflict(..) | Verdict::NotAllowed(_) => {
            let live = plan.live.as_ref().unwrap_or(&Value::Null);
            let drift = |one: &Difference| Finding::Drift(address(), one.clone(), owners::owners(live, &one.path));
            report::differences(&plan.verdict).iter().map(drift).collect()
        }
    };
    let live = plan.live.iter().filter(|live| owners::is_ours(live));
    found.extend(
        live.flat_map(|live| owners::foreign(live, &[MANAGER])).map(|written| Finding::Foreign(address(), written)),
    );
    found
}

/// What may be done, and what may not.
async fn ask(fleet: &Fleet, link: &Link, audit: &mut SiteAudit) -> Result<(), Failure> {
    let rendered = plan::rendered(fleet, &link.site)?;
    let operator = format!("{}-operator", fleet.name);
    let needed = permits::needed(&rendered, &operator);
    let own = stream::iter(needed).map(async |deed| (permits::may(link, &deed, None).await, deed)).buffered(AT_ONCE);
    for (allowed, deed) in own.collect::<Vec<_>>().await {
        if !allowed? {
            audit.findings.push(Finding::TooLittle(deed));
        }
    }
    let store = format!("{}-store", fleet.name);
    let account = Some((fleet.namespace.as_str(), store.as_str()));
    let forbidden = permits::forbidden(fleet);
    let others =
        stream::iter(forbidden).map(async |deed| (permits::may(link, &deed, account).await, deed)).buffered(AT_ONCE);
    for (allowed, deed) in others.collect::<Vec<_>>().await {
        match allowed {
            Ok(true) => audit.findings.push(Finding::TooMuch(deed)),
            Ok(false) => {}
            // Whoever may not ask has not looked.
            Err(failure) => {
                audit.unseen.push(failure);
                break;
            }
        }
    }
    Ok(())
}

/// All policies and rights of the namespace, ours and others'.
async fn guards(fleet: &Fleet, link: &Link, looked: &Looked) -> Result<Faces, Failure> {
    let mut faces = Faces::new();
    let ours = looked.objects.iter().filter(|plan| GUARDS.contains(&plan.object.address.kind.kind));
    for plan in ours.filter(|plan| plan.live.is_some()) {
        let face = equality::rendered(report::differences(&plan.verdict));
        faces.insert(equality::key(&plan.object.address, &link.site), face);
    }
    for kind in GUARDS.iter().filter_map(|name| kinds::of(name)) {
        let live = link.list(kind, kind.api_version, &fleet.namespace, "").await?.unwrap_or_default();
        for body in live {
            let key = equality::key(&Address::of(&body)?, &link.site);
            faces.entry(key).or_insert_with(|| equality::foreign(&body, &link.site));
        }
    }
    Ok(faces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff;
    use crate::objects::Object;

    fn plan(verdict: Verdict, live: Option<Value>) -> ObjectPlan {
        let address = Address::within(kinds::of("StatefulSet").unwrap(), "holdfast", "prod-a");
        ObjectPlan { object: Object { address, body: Value::Null }, live, verdict }
    }

    #[test]
    fn drift_is_told_with_the_field_the_writer_and_the_time() {
        let live = json!({"spec": {"replicas": 5}, "metadata": {"managedFields": [
            {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T03:04:05Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        ]}});
        let differences = diff::diff(&json!({"spec": {"replicas": 5}}), &json!({"spec": {"replicas": 2}}));
        let found = of_object(&plan(Verdict::Changed(differences), Some(live)));
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].to_string(),
            "StatefulSet prod-a.spec.replicas: 5 -> 2: written by kubectl-edit at 2026-01-02T03:04:05Z; apply --take-over puts it right"
        );
    }

    #[test]
    fn what_somebody_added_is_told_though_nothing_of_ours_has_changed() {
        let live = json!({"metadata": {"managedFields": [
            {"manager": "holdfast", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "kubectl-label", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:x": {}}}}},
        ]}});
        let found = of_object(&plan(Verdict::Unchanged, Some(live)));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_string(), "StatefulSet prod-a: kubectl-label wrote .metadata.labels.x");
    }

    #[test]
    fn a_site_that_is_not_seen_is_never_well() {
        let unseen = SiteAudit { unseen: vec![Failure::NoContext("x".into())], ..SiteAudit::default() };
        let audit = Audit { sites: vec![unseen], between: Vec::new() };
        assert!(!audit.has_seen_all());
        assert_eq!(audit.as_json()["complete"], false);
        assert!(audit.to_string().contains("not all of it seen"));
    }
}

//! What an apply has left half done: a template that not all pods of a site have, and sites that not all have the template of the file. What is
//! seen decides, as in a [rollout](crate::rollout): nobody remembers an apply that was broken off.

use std::fmt;

use serde_json::{Value, json};

use crate::plan::{ObjectPlan, SitePlan, Verdict};
use crate::views::{PodView, SetView};

/// How far a rollout is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The StatefulSet's controller has not seen the last change, so nobody knows.
    Unseen,
    /// No pod has the newest template.
    NotBegun,
    /// Some pods have it, and none is being replaced.
    UnderWay,
    /// The partition is at or below a pod that does not have it.
    Replacing,
    /// All pods have it, and not all of them count yet.
    Settling,
    /// All is done, but for the partition.
    NotAtRest,
}

impl Stage {
    /// As a word for programs.
    fn as_str(self) -> &'static str {
        match self {
            Self::Unseen => "unseen",
            Self::NotBegun => "not-begun",
            Self::UnderWay => "half-done",
            Self::Replacing => "replacing",
            Self::Settling => "settling",
            Self::NotAtRest => "not-at-rest",
        }
    }
}

/// A rollout that is not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfinished {
    /// How far it is.
    pub stage: Stage,
    /// The StatefulSet.
    pub set: String,
    /// Its pods that have the newest template, by their names.
    pub replaced: Vec<String>,
    /// Those that have an older one or are missing, in the order in which they would be replaced.
    pub left: Vec<String>,
    /// Pods that are available.
    pub available: u32,
    /// Pods from this number on are replaced by the StatefulSet itself.
    pub partition: u32,
    /// The newest template.
    pub revision: String,
    /// The fleet file has yet another template: an apply begins anew with that one.
    pub is_superseded: bool,
}

/// The rollout of a StatefulSet, unless it is done and at rest. `plan`: what would become of it.
#[must_use]
pub fn rollout(name: &str, set: &SetView, pods: &[PodView], plan: &Verdict) -> Option<Unfinished> {
    let pod_name = |ordinal: u32| format!("{name}-{ordinal}");
    let is_new = |ordinal: &u32| {
        let pod = pods.iter().find(|pod| pod.ordinal == *ordinal);
        pod.is_some_and(|pod| pod.revision == set.update_revision && !pod.is_leaving)
    };
    let is_old = |pod: &PodView| pod.ordinal < set.replicas && pod.revision != set.update_revision;
    let is_changing = set.current_revision != set.update_revision || pods.iter().any(is_old);
    // Without a change under way a pod that is missing is no rollout.
    let (replaced, left): (Vec<_>, Vec<_>) =
        (0..set.replicas).rev().partition(|ordinal| is_new(ordinal) || !is_changing);
    let stage = if set.observed < set.generation {
        Stage::Unseen
    } else if let Some(next) = left.first() {
        if set.partition <= *next {
            Stage::Replacing
        } else if replaced.is_empty() {
            Stage::NotBegun
        } else {
            Stage::UnderWay
        }
    } else if is_changing {
        Stage::Settling
    } else if set.partition < set.replicas {
        Stage::NotAtRest
    } else {
        return None;
    };
    Some(Unfinished {
        stage,
        set: name.to_owned(),
        replaced: replaced.into_iter().map(pod_name).collect(),
        left: left.into_iter().map(pod_name).collect(),
        available: set.available,
        partition: set.partition,
        revision: set.update_revision.clone(),
        is_superseded: changes_template(plan),
    })
}

impl Unfinished {
    /// For programs.
    #[must_use]
    pub fn as_json(&self) -> Value {
        json!({
            "state": self.stage.as_str(),
            "stateful_set": self.set,
            "revision": self.revision,
            "replaced": self.replaced,
            "left": self.left,
            "available": self.available,
            "partition": self.partition,
            "superseded": self.is_superseded,
            "message": self.to_string(),
        })
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (replaced, all) = (self.replaced.len(), self.replaced.len() + self.left.len());
        let left = self.left.join(", ");
        let next = self.left.first().map_or("", String::as_str);
        let partition = self.partition;
        match self.stage {
            Stage::Unseen => {
                return f.write_str("the StatefulSet's controller has not seen the last change yet: look again");
            }
            Stage::NotBegun => write!(
                f,
                "not begun: none of {all} pods has the newest template; `holdfast fleet apply` begins with {next}"
            )?,
            Stage::UnderWay => write!(
                f,
                "half done: {replaced} of {all} pods have the newest template, {left} not (partition {partition}); `holdfast fleet apply` goes on \
                 with {next}"
            )?,
            Stage::Replacing => write!(
                f,
                "half done: {replaced} of {all} pods have the newest template, {left} not, and {next} is being replaced (partition {partition}); \
                 unless an apply is under way, `holdfast fleet apply` goes on"
            )?,
            Stage::Settling => write!(
                f,
                "all {all} pods have the newest template, and {} are available; `holdfast fleet apply` waits until all are",
                self.available
            )?,
            Stage::NotAtRest => write!(
                f,
                "done, but the partition is at {partition} and not above all {all} pods: the next template would replace them at once, with no look \
                 at the stores; `holdfast fleet apply` puts it back"
            )?,
        }
        if self.is_superseded {
            f.write_str(", with the template of the file, which is another one: all pods are replaced")?;
        }
        Ok(())
    }
}

/// Sites some of which have the template of the file and some not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Between {
    /// Sites that have it on all pods.
    pub done: Vec<String>,
    /// Sites that have it, and not on all pods.
    pub half: Vec<String>,
    /// Sites that do not have it, in the order in which they would be applied.
    pub left: Vec<String>,
}

/// What an apply that was broken off between sites has left. `None`: all sites that were looked at are alike.
#[must_use]
pub fn between(plans: &[SitePlan]) -> Option<Between> {
    let mut between = Between::default();
    for plan in plans {
        let Ok(looked) = &plan.looked else { continue };
        let Some(set) = looked.objects.iter().find(|one| is_set(one)) else { continue };
        let is_half = looked.rollout.as_ref().is_some_and(|rollout| !rollout.left.is_empty());
        let sites = match &set.verdict {
            verdict if changes_template(verdict) => &mut between.left,
            Verdict::Create { .. } | Verdict::Failed(_) => &mut between.left,
            _ if is_half => &mut between.half,
            _ => &mut between.done,
        };
        sites.push(plan.site.clone());
    }
    let has_begun = !between.done.is_empty() || !between.half.is_empty();
    (has_begun && !between.left.is_empty()).then_some(between)
}

/// True for a StatefulSet.
#[must_use]
pub fn is_set(plan: &ObjectPlan) -> bool {
    plan.object.address.kind.kind == "StatefulSet"
}

/// Whether the file has another template. Resources alone are a site's own affair.
fn changes_template(verdict: &Verdict) -> bool {
    crate::report::differences(verdict).iter().any(|difference| {
        let path = difference.path.to_string();
        path.starts_with(".spec.template") && !path.contains(".resources")
    })
}

impl Between {
    /// For programs.
    #[must_use]
    pub fn as_json(&self) -> Value {
        json!({"done": self.done, "half_done": self.half, "left": self.left, "message": self.to_string()})
    }
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(&self.done, "on all pods"), (&self.half, "not on all pods"), (&self.left, "not at all")];
        let parts = parts.iter().filter(|(sites, _)| !sites.is_empty());
        let parts: Vec<_> = parts.map(|(sites, how)| format!("{} {how}", sites.join(", "))).collect();
        let next = self.half.first().or(self.left.first()).map_or("", String::as_str);
        write!(
            f,
            "the sites do not have the template of the file alike: {}; an apply was broken off or was for one site, or somebody changed a \
             template by hand; `holdfast fleet apply` goes on with {next}",
            parts.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff;
    use crate::failure::Failure;
    use crate::gate::tests::{pod, well};
    use crate::objects::{Address, Object};
    use crate::plan::Looked;

    fn found(change: impl FnOnce(&mut SetView, &mut Vec<PodView>)) -> Option<Unfinished> {
        let view = well();
        let (mut set, mut pods) = (view.set.unwrap(), view.pods);
        change(&mut set, &mut pods);
        rollout("prod-a", &set, &pods, &Verdict::Unchanged)
    }

    #[test]
    fn what_is_at_rest_is_no_rollout_whatever_else_is_wrong() {
        assert_eq!(found(|_, _| {}), None);
        assert_eq!(found(|set, _| set.available = 0), None);
        assert_eq!(found(|_, pods| drop(pods.remove(1))), None, "a pod that is missing");
        assert_eq!(found(|_, pods| pods[1].is_leaving = true), None);
        // There were more stores once.
        assert_eq!(found(|set, _| set.partition = 5), None);
        assert_eq!(found(|_, pods| pods.push(pod(3, "r0"))), None, "a pod that goes");
    }

    #[test]
    fn each_stage_of_a_rollout_is_told_with_what_continues_it() {
        type Change = fn(&mut SetView, &mut Vec<PodView>);
        let stages: [(Stage, &str, Change); 7] = [
            (Stage::Unseen, "look again", |set, _| set.generation = 2),
            (
                Stage::NotBegun,
                "none of 3 pods has the newest template; `holdfast fleet apply` begins with prod-a-2",
                |set, _| {
                    set.update_revision = "r2".into();
                },
            ),
            (
                Stage::UnderWay,
                "half done: 1 of 3 pods have the newest template, prod-a-1, prod-a-0 not (partition 2); `holdfast fleet apply` goes on with prod-a-1",
                |set, pods| {
                    set.update_revision = "r2".into();
                    set.partition = 2;
                    pods[2] = pod(2, "r2");
                },
            ),
            // Somebody put the partition back: that no pod is replaced by itself does not make it done.
            (Stage::UnderWay, "prod-a-1, prod-a-0 not (partition 3)", |set, pods| {
                set.update_revision = "r2".into();
                pods[2] = pod(2, "r2");
            }),
            (Stage::Replacing, "prod-a-1 is being replaced (partition 1)", |set, pods| {
                set.update_revision = "r2".into();
                set.partition = 1;
                pods[2] = pod(2, "r2");
                pods.remove(1);
            }),
            (Stage::Settling, "all 3 pods have the newest template, and 2 are available", |set, pods| {
                set.update_revision = "r2".into();
                (set.partition, set.available) = (0, 2);
                *pods = (0..3).map(|ordinal| pod(ordinal, "r2")).collect();
            }),
            (Stage::NotAtRest, "the partition is at 0 and not above all 3 pods", |set, _| set.partition = 0),
        ];
        for (stage, words, change) in stages {
            let found = found(change).unwrap_or_else(|| panic!("{stage:?}: nothing is said"));
            assert_eq!(found.stage, stage);
            let said = found.to_string();
            assert!(
                said.contains(words) && (stage == Stage::Unseen || said.contains("`holdfast fleet apply`")),
                "{said}"
            );
            assert_eq!(found.as_json()["state"], stage.as_str());
        }
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_said_to_begin_anew() {
        let mut set = well().set.unwrap();
        set.update_revision = "r2".into();
        let template = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"image": image}]}}}});
        let changed = Verdict::Changed(diff::diff(&template("a"), &template("b")));
        let found = rollout("prod-a", &set, &well().pods, &changed).unwrap();
        assert!(found.is_superseded && found.to_string().ends_with("all pods are replaced"), "{found}");
    }

    fn site(name: &str, verdict: Verdict, rollout: Option<Unfinished>) -> SitePlan {
        let address = Address::within(crate::kinds::of("StatefulSet").unwrap(), "holdfast", "prod-a");
        let object = ObjectPlan { object: Object { address, body: Value::Null }, live: None, verdict };
        SitePlan { site: name.into(), looked: Ok(Looked { objects: vec![object], rollout, ..Looked::default() }) }
    }

    fn changed(field: &str) -> Verdict {
        let body = |value: u32| json!({"spec": {"template": {"spec": {field: value}}}});
        Verdict::Changed(diff::diff(&body(1), &body(2)))
    }

    #[test]
    fn sites_that_are_not_alike_are_told_in_the_order_of_the_file() {
        let half = found(|set, pods| {
            set.update_revision = "r2".into();
            pods[2] = pod(2, "r2");
        });
        let plans = [
            site("east", Verdict::Unchanged, None),
            site("west", Verdict::Unchanged, half.clone()),
            SitePlan { site: "south".into(), looked: Err(Failure::NoContext("x".into())) },
            site("north", changed("image"), None),
        ];
        let told = between(&plans).unwrap();
        assert_eq!(told.as_json()["left"], json!(["north"]));
        let said = told.to_string();
        assert!(said.contains("east on all pods, west not on all pods, north not at all"), "{said}");
        assert!(said.ends_with("goes on with west"), "{said}");
        // A first apply that has come to one site.
        let first = [site("east", Verdict::Unchanged, None), site("west", Verdict::Create { is_tried: true }, None)];
        assert_eq!(between(&first).map(|told| told.left), Some(vec!["west".to_owned()]));
        for alike in [
            vec![site("east", changed("image"), None), site("west", changed("image"), None)],
            vec![site("east", Verdict::Unchanged, None), site("west", Verdict::Unchanged, half)],
            // What only one site has by an override.
            vec![site("east", Verdict::Unchanged, None), site("west", changed("resources"), None)],
        ] {
            assert_eq!(between(&alike), None);
        }
    }
}

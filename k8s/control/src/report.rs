//! Plans and applies as people and programs read them.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::apply::{Applied, Ended};
use crate::diff::Difference;
use crate::failure::Conflict;
use crate::plan::{Looked, ObjectPlan, SitePlan, Verdict};
use crate::unfinished::{self, Between, Unfinished};

/// A plan in lines. `shows_all`: what is unchanged too.
#[must_use]
pub fn plan_text(plans: &[SitePlan], shows_all: bool) -> String {
    let mut text = String::new();
    for plan in plans {
        let _ = match &plan.looked {
            Err(failure) => writeln!(text, "{}: not looked at: {failure}", plan.site),
            Ok(looked) => writeln!(text, "{}: {}", plan.site, counts(looked)),
        };
        text.extend(plan.looked.iter().map(|looked| site_text(looked, shows_all)));
    }
    if let Some(between) = unfinished::between(plans) {
        let _ = writeln!(text, "between sites: {between}");
    }
    text
}

fn counts(looked: &Looked) -> String {
    let count = |word: &str| looked.objects.iter().filter(|plan| verdict(&plan.verdict) == word).count();
    let words = ["create", "change", "adopt", "conflict", "not allowed", "refused", "unchanged"];
    let mut parts: Vec<_> = words.iter().map(|word| (count(word), *word)).filter(|(count, _)| *count > 0).collect();
    if !looked.orphans.is_empty() {
        parts.push((looked.orphans.len(), "rendered no more"));
    }
    parts.iter().map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

fn site_text(looked: &Looked, shows_all: bool) -> String {
    let shown = looked.objects.iter().filter(|plan| shows_all || plan.verdict != Verdict::Unchanged);
    let mut text: String = shown.map(object_text).collect();
    for orphan in &looked.orphans {
        let _ = writeln!(text, "  rendered no more: {orphan}: it stays until somebody deletes it");
    }
    if let Some(rollout) = &looked.rollout {
        let _ = writeln!(text, "  rollout: {rollout}");
    }
    text
}

/// One object of a plan.
#[must_use]
pub fn object_text(plan: &ObjectPlan) -> String {
    let mut text = format!("  {}: {}", verdict(&plan.verdict), plan.object.address);
    match &plan.verdict {
        Verdict::Create { is_tried: false } => text.push_str(" (not tried: its namespace is not there yet)"),
        Verdict::Failed(failure) => {
            let _ = write!(text, ": {failure}");
        }
        _ => {}
    }
    text.push('\n');
    for conflict in conflicts(&plan.verdict) {
        let _ = writeln!(text, "    {conflict}");
    }
    for difference in differences(&plan.verdict) {
        let _ = writeln!(text, "    {difference}");
    }
    text
}

fn verdict(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Create { .. } => "create",
        Verdict::Unchanged => "unchanged",
        Verdict::Adopt => "adopt",
        Verdict::Changed(_) => "change",
        Verdict::Conflict(..) => "conflict",
        Verdict::NotAllowed(_) => "not allowed",
        Verdict::Failed(_) => "refused",
    }
}

fn conflicts(verdict: &Verdict) -> &[Conflict] {
    if let Verdict::Conflict(conflicts, _) = verdict { conflicts } else { &[] }
}

/// The fields in which an object differs from what is wanted.
#[must_use]
pub fn differences(verdict: &Verdict) -> &[Difference] {
    match verdict {
        Verdict::Changed(differences) | Verdict::Conflict(_, differences) | Verdict::NotAllowed(differences) => {
            differences
        }
        Verdict::Create { .. } | Verdict::Unchanged | Verdict::Adopt | Verdict::Failed(_) => &[],
    }
}

/// A plan for programs.
#[must_use]
pub fn plan_json(plans: &[SitePlan]) -> Value {
    let difference = |one: &Difference| json!({"path": one.path.to_string(), "from": one.from, "to": one.to});
    let conflict = |one: &Conflict| json!({"field": one.field, "owner": one.owner});
    let object = |plan: &ObjectPlan| {
        let address = &plan.object.address;
        json!({
            "kind": address.kind.kind, "namespace": address.namespace, "name": address.name,
            "verdict": verdict(&plan.verdict),
            "differences": differences(&plan.verdict).iter().map(difference).collect::<Vec<_>>(),
            "conflicts": conflicts(&plan.verdict).iter().map(conflict).collect::<Vec<_>>(),
            "error": if let Verdict::Failed(failure) = &plan.verdict { Some(failure.to_string()) } else { None },
        })
    };
    let site = |plan: &SitePlan| match &plan.looked {
        Err(failure) => json!({"site": plan.site, "error": failure.to_string()}),
        Ok(looked) => json!({
            "site": plan.site,
            "objects": looked.objects.iter().map(object).collect::<Vec<_>>(),
            "orphans": looked.orphans.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "rollout": looked.rollout.as_ref().map(Unfinished::as_json),
        }),
    };
    let between = unfinished::between(plans);
    json!({"sites": plans.iter().map(site).collect::<Vec<_>>(), "between": between.as_ref().map(Between::as_json)})
}

/// How each site ended, in a line or a few.
#[must_use]
pub fn applied_text(all: &[Applied]) -> String {
    let mut text = String::new();
    for applied in all {
        let _ = writeln!(text, "{}: {}", applied.site, ended(applied));
        if let Ended::Refused(plans) = &applied.ended {
            plans.iter().for_each(|plan| text.push_str(&object_text(plan)));
        }
    }
    text
}

fn ended(applied: &Applied) -> String {
    let done = format!(
        "{} objects written, {} pods replaced, {} old configurations deleted",
        applied.written.len(),
        applied.replaced.len(),
        applied.pruned.len()
    );
    match &applied.ended {
        Ended::Done if applied.written.is_empty() && applied.replaced.is_empty() && applied.pruned.is_empty() => {
            "as it is wanted: nothing written".to_owned()
        }
        Ended::Done => done,
        Ended::Failed(failure) if applied.written.is_empty() => format!("nothing written: {failure}"),
        Ended::Failed(failure) => format!("broken off ({done}): {failure}; apply again"),
        Ended::Refused(plans) => format!("nothing changed: {} objects cannot be applied:", plans.len()),
        Ended::Kept(kept) => format!("nothing written: there would be fewer stores: {kept}"),
        Ended::Shut(reasons) => {
            format!(
                "did not settle ({done}): {}; no other site is touched until it does: mend it and apply again",
                reasons.join("; ")
            )
        }
        Ended::NotReached => "not reached: a site before it did not settle".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff;
    use crate::failure::Failure;
    use crate::objects::{Address, Object};

    fn object(name: &str, verdict: Verdict) -> ObjectPlan {
        let address = Address::within(crate::kinds::of("Service").unwrap(), "holdfast", name);
        ObjectPlan { object: Object { address, body: Value::Null }, live: None, verdict }
    }

    fn plans() -> Vec<SitePlan> {
        let changed = diff::diff(&json!({"a": 1}), &json!({"a": 2}));
        let conflict = Conflict { field: ".a".into(), owner: "kubectl".into() };
        let objects = vec![
            object("new", Verdict::Create { is_tried: true }),
            object("same", Verdict::Unchanged),
            object("other", Verdict::Changed(changed.clone())),
            object("theirs", Verdict::Conflict(vec![conflict], changed)),
        ];
        let orphans = vec![Address::within(crate::kinds::of("ConfigMap").unwrap(), "holdfast", "old")];
        let looked = Looked { objects, orphans, rollout: None };
        vec![
            SitePlan { site: "a".into(), looked: Ok(looked) },
            SitePlan { site: "b".into(), looked: Err(Failure::NoContext("x".into())) },
        ]
    }

    #[test]
    fn a_plan_reads_like_a_list_of_what_would_happen() {
        let text = plan_text(&plans(), false);
        let wanted = "\
a: 1 create, 1 change, 1 conflict, 1 unchanged, 1 rendered no more
  create: Service new
  change: Service other
    .a: 1 -> 2
  conflict: Service theirs
    .a is owned by kubectl
    .a: 1 -> 2
  rendered no more: ConfigMap old: it stays until somebody deletes it
b: not looked at: the kubeconfig has no context \"x\": add it, or correct `context` of the site in the fleet file
";
        assert_eq!(text, wanted);
        assert!(plan_text(&plans(), true).contains("unchanged: Service same"));
    }

    #[test]
    fn programs_get_the_same() {
        let told = plan_json(&plans());
        assert_eq!(told["sites"][0]["objects"][2]["differences"], json!([{"path": ".a", "from": 1, "to": 2}]));
        assert_eq!(told["sites"][0]["objects"][3]["conflicts"], json!([{"field": ".a", "owner": "kubectl"}]));
        assert!(told["sites"][1]["error"].is_string());
    }

    #[test]
    fn how_a_site_ended_says_what_to_do() {
        let applied =
            |ended| Applied { site: "a".into(), written: Vec::new(), replaced: Vec::new(), pruned: Vec::new(), ended };
        let shut =
            applied_text(&[applied(Ended::Shut(vec!["prod-a-0 is not ready".into()])), applied(Ended::NotReached)]);
        assert!(
            shut.contains("prod-a-0 is not ready; no other site is touched") && shut.contains("not reached"),
            "{shut}"
        );
        let refused =
            applied_text(&[applied(Ended::Refused(vec![object("x", Verdict::Failed(Failure::Rendered("y".into())))]))]);
        assert!(refused.contains("1 objects cannot be applied:\n  refused: Service x: "), "{refused}");
    }
}

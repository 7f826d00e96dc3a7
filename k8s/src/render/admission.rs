//! What the API server itself refuses, whoever asks: two mistakes that no object of a StatefulSet can prevent.
//!
//! - Pods of a site in the wrong Kubernetes cluster. A folder that is applied to another context would bring up stores that claim to be of a site
//!   that they are not in, and a fleet would count one place as two. A pod cannot read the UID of kube-system; the API server can.
//! - Fewer stores by a smaller number of replicas. Kubernetes would stop them with everything that only they hold. A store is drained first.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, NamedRuleWithOperations, ParamKind, ParamRef, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec, Validation,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::network_policy::selector;
use super::{Scene, SiteTree};

const FILE: &str = "admission.yaml";
/// The annotation of a StatefulSet that lets its replicas go down to the number that it names. `holdfast fleet apply` sets it once the stores
/// above that number hold nothing.
pub const DRAINED_TO: &str = "holdfast.dev/drained-to";

/// Names of the policies, and of their bindings.
pub(super) fn names(scene: &Scene<'_>) -> [String; 2] {
    ["proof", "scale"].map(|what| name(scene, what))
}

fn name(scene: &Scene<'_>, what: &str) -> String {
    format!("{}-{what}", scene.set_name())
}

/// Adds the policies of the site.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    for policy in [proof(scene), scale(scene)] {
        let name = policy.metadata.name.clone().unwrap_or_default();
        let params = policy.spec.as_ref().and_then(|spec| spec.param_kind.as_ref()).map(|_| kube_system());
        tree.add(FILE, &policy);
        tree.add(FILE, &binding(scene, &name, params));
    }
}

/// Pods of stores start only where kube-system has the UID of the fleet file.
fn proof(scene: &Scene<'_>) -> ValidatingAdmissionPolicy {
    let uid = &scene.site.uid;
    let stores = LabelSelector { match_labels: Some(scene.store_selector()), ..LabelSelector::default() };
    let spec = ValidatingAdmissionPolicySpec {
        failure_policy: Some("Fail".to_owned()),
        match_constraints: Some(MatchResources {
            object_selector: Some(stores),
            ..matched(scene, rule("", "v1", &["pods"], "CREATE"))
        }),
        param_kind: Some(ParamKind { api_version: Some("v1".to_owned()), kind: Some("Namespace".to_owned()) }),
        validations: Some(vec![Validation {
            expression: format!("params.metadata.uid == '{uid}'"),
            message: Some(format!(
                "this is not the Kubernetes cluster of site {} of fleet {}: the fleet file names one whose namespace kube-system has the UID {uid}. \
                 Was this applied with another context?",
                scene.site.name, scene.fleet.name,
            )),
            reason: Some("Forbidden".to_owned()),
            ..Validation::default()
        }]),
        ..ValidatingAdmissionPolicySpec::default()
    };
    policy(scene, "proof", spec)
}

/// Replicas go down only as far as stores are drained.
fn scale(scene: &Scene<'_>) -> ValidatingAdmissionPolicy {
    let set = scene.set_name();
    let drained = format!(
        "has(object.metadata.annotations) && '{DRAINED_TO}' in object.metadata.annotations && object.metadata.annotations['{DRAINED_TO}'] == \
         string(object.spec.replicas)"
    );
    let spec = ValidatingAdmissionPolicySpec {
        failure_policy: Some("Fail".to_owned()),
        // By name: the object of the subresource `scale` has no labels.
        match_conditions: Some(vec![MatchCondition {
            expression: format!("object.metadata.name == '{set}'"),
            name: "stores-of-the-site".to_owned(),
        }]),
        match_constraints: Some(matched(scene, rule("apps", "v1", &["statefulsets", "statefulsets/scale"], "UPDATE"))),
        validations: Some(vec![Validation {
            expression: format!("object.spec.replicas >= oldObject.spec.replicas || ({drained})"),
            message: Some(format!(
                "stores of site {} would be stopped with what they hold: lower the number in the fleet file and use `holdfast drain STORE` and \
                 `holdfast fleet apply`",
                scene.site.name,
            )),
            reason: Some("Forbidden".to_owned()),
            ..Validation::default()
        }]),
        ..ValidatingAdmissionPolicySpec::default()
    };
    policy(scene, "scale", spec)
}

fn rule(group: &str, version: &str, resources: &[&str], operation: &str) -> NamedRuleWithOperations {
    let list = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
    NamedRuleWithOperations {
        api_groups: list(&[group]),
        api_versions: list(&[version]),
        operations: list(&[operation]),
        resources: list(resources),
        ..NamedRuleWithOperations::default()
    }
}

/// What the API server asks about: in the namespace of the fleet alone, so that no mistake here holds up anybody else.
fn matched(scene: &Scene<'_>, rule: NamedRuleWithOperations) -> MatchResources {
    MatchResources {
        namespace_selector: Some(selector([("kubernetes.io/metadata.name", &scene.fleet.namespace)])),
        resource_rules: Some(vec![rule]),
        ..MatchResources::default()
    }
}

fn policy(scene: &Scene<'_>, what: &str, spec: ValidatingAdmissionPolicySpec) -> ValidatingAdmissionPolicy {
    ValidatingAdmissionPolicy { metadata: scene.metadata_outside(name(scene, what)), spec: Some(spec), status: None }
}

fn kube_system() -> ParamRef {
    ParamRef {
        name: Some("kube-system".to_owned()),
        parameter_not_found_action: Some("Deny".to_owned()),
        ..ParamRef::default()
    }
}

fn binding(scene: &Scene<'_>, policy: &str, params: Option<ParamRef>) -> ValidatingAdmissionPolicyBinding {
    ValidatingAdmissionPolicyBinding {
        metadata: scene.metadata_outside(policy),
        spec: Some(ValidatingAdmissionPolicyBindingSpec {
            param_ref: params,
            policy_name: Some(policy.to_owned()),
            validation_actions: Some(vec!["Deny".to_owned()]),
            ..ValidatingAdmissionPolicyBindingSpec::default()
        }),
    }
}

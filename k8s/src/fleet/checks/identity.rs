//! Each site is a Kubernetes cluster of its own: no name, UID or context twice.

use crate::fleet::at;
use crate::fleet::finding::Findings;
use crate::fleet::model::{Fleet, Site};

/// Two sites are one, or a site is not told apart.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum IdentityProblem {
    /// A value that must be a site's own.
    #[error("sites {} and {} have the same {what}, {value:?}: {}", .first, .second, why(.what))]
    Duplicate {
        /// Name, uid or context.
        what: &'static str,
        /// The value.
        value: String,
        /// The number of the earlier site, from 1.
        first: usize,
        /// The number of the later.
        second: usize,
    },
    /// Not a UID.
    #[error(
        "{uid:?} is not a UID: ask the Kubernetes cluster with `kubectl --context {} get namespace kube-system -o \
         jsonpath={{.metadata.uid}}`",
        if .context.is_empty() { "CONTEXT" } else { .context }
    )]
    NotAUid {
        /// The text.
        uid: String,
        /// The context of the site.
        context: String,
    },
    /// No context.
    #[error("the context is empty: name one of those that `kubectl config get-contexts` lists")]
    NoContext,
}

fn why(what: &str) -> &'static str {
    match what {
        "uid" => "two sites in one Kubernetes cluster are lost together",
        "context" => "what is meant for one would be done to the other",
        _ => "each needs its own",
    }
}

/// Checks that sites are told apart.
pub fn check(fleet: &Fleet, findings: &mut Findings<'_>) {
    for (what, of) in [("name", name as fn(&Site) -> &str), ("uid", uid), ("context", context)] {
        for (index, site) in fleet.sites.iter().enumerate() {
            let value = of(site);
            let earlier = fleet.sites[..index].iter().position(|other| of(other) == value);
            if let Some(earlier) = earlier.filter(|_| !value.is_empty()) {
                let problem =
                    IdentityProblem::Duplicate { what, value: value.to_owned(), first: earlier + 1, second: index + 1 };
                findings.error(at("sites").item(index).key(what), problem);
            }
        }
    }
    for (index, site) in fleet.sites.iter().enumerate() {
        let path = at("sites").item(index);
        if !is_uid(&site.uid) {
            let problem = IdentityProblem::NotAUid { uid: site.uid.clone(), context: site.context.clone() };
            findings.error(path.key("uid"), problem);
        }
        if site.context.is_empty() {
            findings.error(path.key("context"), IdentityProblem::NoContext);
        }
    }
}

fn name(site: &Site) -> &str {
    &site.name
}

fn uid(site: &Site) -> &str {
    &site.uid
}

fn context(site: &Site) -> &str {
    &site.context
}

fn is_uid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<_> = text.split('-').collect();
    let is_hex = |part: &str| part.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    parts.len() == lengths.len() && parts.iter().zip(lengths).all(|(part, length)| part.len() == length && is_hex(part))
}

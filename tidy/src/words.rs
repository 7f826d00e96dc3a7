//! Words that would mean two things here, and marks of unfinished work.

use crate::Problem;
use crate::tree::File;

/// Banned word, and what to say instead. Plurals and parts of identifiers count.
const BANNED: &[(&str, &str)] = &[
    ("cluster", "site, fleet or \"Kubernetes cluster\""),
    ("node", "store"),
    ("region", "range or site"),
    ("peer", "replica, or the other store"),
    ("shard", "range"),
    ("leaseholder", "leader"),
];

/// Phrases in which a banned word is right, each with its reason.
const ALLOWED: &[(&str, &str)] = &[
    ("Kubernetes cluster", "the thing itself, named in full"),
    ("RawNode", "raft-rs's type"),
    ("raw_node", "raft-rs's module"),
    ("AddNode", "raft-rs's kind of change"),
    ("AddLearnerNode", "raft-rs's kind of change"),
    ("RemoveNode", "raft-rs's kind of change"),
    ("node_id: replica.0", "raft-rs's field"),
    ("peer_addr", "a socket's far end, in std and tonic"),
    ("peer_certificates", "what the other end showed, in rustls"),
    ("PeerIncompatible", "rustls's kind of error"),
    ("InboundPeer", "tonic's name"),
    ("Node.js", "the thing itself, named in full"),
    ("clients/node", "the folder of the client for it"),
    ("run node", "the argument that runs that client"),
    ("python|node", "the same"),
    ("\"node\"", "the same, in Rust"),
    ("--peer ", "the option of holdfast-bench"),
    ("--initial-cluster", "etcd's option"),
    ("holdfast-clusters", "the program that boots them for development"),
    ("make clusters", "the target that does"),
    ("docs/clusters.md", "the document about it"),
    ("(clusters.md)", "the same"),
    ("ClusterIssuer", "cert-manager's kind"),
    ("ClusterMesh", "Cilium's name"),
    ("cluster_ip", "a field of Kubernetes' Services"),
    ("clusterIP", "the same, in YAML"),
    ("cluster.local", "the domain that a Kubernetes cluster has by default"),
    ("ClusterIP", "a type of Kubernetes' Services"),
    ("policy.cluster", "a label of Cilium's"),
    ("ClusterRole", "kinds of Kubernetes, `ClusterRoleBinding` too"),
    ("clusterrole", "the same, in paths"),
    ("\"clusters\"", "a key of a kubeconfig"),
    ("\"cluster\"", "the same"),
    ("nodeName", "a field of Kubernetes' pods"),
    ("NetworkPolicyPeer", "Kubernetes' type"),
    ("resolved.nodes", "cargo's field"),
    ("site.region", "a provider's region, as its field in the fleet file is called"),
    ("pub region", "the same"),
    ("\"region\"", "the same"),
    ("`region`", "the same"),
    ("region that no site is in", "the same"),
    ("context or region", "the same"),
    ("us-east1\" is the region", "the same"),
];

/// Documents that must name the banned words in order to ban them.
const ABOUT_WORDS: &[&str] = &["docs/glossary.md", "CONTRIBUTING.md"];

/// Where "peer" is a store of another make that Holdfast is measured beside, and never a replica.
const ABOUT_PEERS: &[&str] = &["benches/", "docs/performance.md", "tests/tests/real/bench.rs"];

/// Where Kubernetes clusters, their nodes and their region labels are the subject themselves.
const ABOUT_CLUSTERS: &[&str] = &["k8s/testkit/", "k8s/stage/", "tests/tests/kubernetes/", "docs/clusters.md"];

/// Marks of unfinished work; a limitation is written down as a sentence instead.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX", "todo!", "unimplemented!"];

/// Checks every document, source and protocol file, except this crate, which is about the words.
pub(crate) fn check(files: &[File]) -> Vec<Problem> {
    let checked = files.iter().filter(|file| !file.path.starts_with("tidy/") && !file.path.ends_with(".toml"));
    checked.flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        let number = at + 1;
        if !ABOUT_WORDS.contains(&file.path.as_str()) {
            let is_allowed = |word: &str| allowed_words(&file.path).contains(&word);
            for (word, instead) in banned_words(line).into_iter().filter(|(word, _)| !is_allowed(word)) {
                problems.push(format!("{}:{number}: \"{word}\": say {instead}", file.path));
            }
        }
        for mark in UNFINISHED.iter().filter(|mark| has_mark(line, mark)) {
            problems.push(format!("{}:{number}: {mark}: finish it, or say in a sentence what is not done", file.path));
        }
    }
    problems
}

/// The banned words that are right in a file, by what it is about.
fn allowed_words(path: &str) -> &'static [&'static str] {
    let is_in = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    if is_in(ABOUT_PEERS) {
        &["peer"]
    } else if is_in(ABOUT_CLUSTERS) {
        &["cluster", "node", "region", "peer"]
    } else {
        &[]
    }
}

fn banned_words(line: &str) -> Vec<(&'static str, &'static str)> {
    let mut line = line.to_owned();
    for (phrase, _) in ALLOWED {
        line = line.replace(phrase, "");
    }
    let words = split(&line);
    BANNED.iter().filter(|(banned, _)| words.iter().any(|word| is_form_of(word, banned))).copied().collect()
}

fn is_form_of(word: &str, banned: &str) -> bool {
    word.strip_suffix('s').unwrap_or(word) == banned
}

/// Splits text and identifiers into lowercase words: `nodeId`, `node_id` and `node-id` all begin with `node`.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in line.chars() {
        if !letter.is_alphabetic() || (letter.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        if letter.is_alphabetic() {
            words.last_mut().expect("starts with one").extend(letter.to_lowercase());
        }
        was_lower = letter.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether `mark` stands in the line as a word of its own.
fn has_mark(line: &str, mark: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(mark).any(|(at, _)| {
        let after = line[at + mark.len()..].chars().next().is_some_and(is_part);
        let before = line[..at].chars().next_back().is_some_and(is_part);
        !before && !after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banned_word_is_found_inside_identifiers_and_in_the_plural() {
        for line in ["let node_count = 1;", "struct PeerList;", "three clusters", "toRegion()"] {
            assert_eq!(banned_words(line).len(), 1, "{line}");
        }
    }

    #[test]
    fn longer_words_and_allowed_phrases_pass() {
        for line in ["a Kubernetes cluster", "RawNode::new", "clustered", "stream.peer_addr()", "anodes"] {
            assert!(banned_words(line).is_empty(), "{line}");
        }
    }

    #[test]
    fn a_word_is_allowed_where_it_is_the_subject_and_nowhere_else() {
        assert!(allowed_words("k8s/testkit/src/lib.rs").contains(&"node"));
        assert!(allowed_words("k8s/src/lib.rs").is_empty());
    }

    #[test]
    fn a_mark_counts_only_as_a_word_of_its_own() {
        assert!(has_mark("// TODO: x", "TODO") && has_mark("todo!()", "todo!"));
        assert!(!has_mark("MASTODON TODOS", "TODO"));
    }
}

//! Documents that must not lie: the walks of ARCHITECTURE.md, the links of all documents, the decision records.
//!
//! In ARCHITECTURE.md a line that names a file in back quotes, `kv/src/driver/store.rs`, may go on to name what is in
//! it: `handle()` for a function, `Store` for a type. Both must exist there.

use crate::Problem;
use crate::tree::File;
use std::path::Path;

/// The headings that every decision record has.
const DECISION_PARTS: [&str; 3] = ["## Context", "## Choice", "## Cost"];

/// Checks all documents.
pub(crate) fn check(root: &Path, files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        problems.extend(broken_links(root, file));
        if file.path == "ARCHITECTURE.md" {
            problems.extend(walks(root, file, files));
        }
        if file.path.starts_with("docs/decisions/") {
            problems.extend(decision(file));
        }
    }
    problems
}

/// The words in back quotes, outside of fenced blocks, with their line numbers.
pub(crate) fn quoted(text: &str) -> Vec<(usize, Vec<&str>)> {
    let mut is_fenced = false;
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced {
            lines.push((at + 1, line.split('`').skip(1).step_by(2).collect()));
        }
    }
    lines
}

fn walks(root: &Path, document: &File, files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, names) in quoted(&document.text) {
        let mut current: Option<&File> = None;
        for name in names {
            let place = format!("{}:{number}", document.path);
            if name.contains('/') && !name.contains([' ', '<', '*']) && !name.starts_with('/') {
                current = files.iter().find(|file| file.path == name);
                if current.is_none() && !root.join(name).exists() {
                    problems.push(format!("{place}: {name} does not exist"));
                }
            } else if let Some(file) = current.filter(|file| file.is_rust() && !name.contains(' '))
                && !defines(&file.text, name)
            {
                problems.push(format!("{place}: {name} is not in {}", file.path));
            }
        }
    }
    problems
}

/// Whether the source defines `name`: a function when it ends with `()`, else a type, constant or variant.
fn defines(source: &str, name: &str) -> bool {
    let last = name.rsplit("::").next().unwrap_or(name);
    let keywords: &[&str] = if last.ends_with("()") {
        &["fn"]
    } else {
        &["struct", "enum", "trait", "type", "const", "static", "mod", "fn"]
    };
    let last = last.trim_end_matches("()");
    let is_variant = name.contains("::") && source.lines().any(|line| starts_with_word(line.trim_start(), last));
    is_variant || keywords.iter().any(|keyword| has_definition(source, keyword, last))
}

/// Whether the source defines `name` by this keyword.
pub(crate) fn has_definition(source: &str, keyword: &str, name: &str) -> bool {
    let start = format!("{keyword} {name}");
    source.match_indices(&start).any(|(at, _)| starts_with_word(&source[at + keyword.len() + 1..], name))
}

fn starts_with_word(text: &str, word: &str) -> bool {
    let next = text.strip_prefix(word).map(|rest| rest.chars().next());
    next.is_some_and(|next| !next.is_some_and(|letter| letter.is_alphanumeric() || letter == '_'))
}

/// Relative links to files that are not there.
fn broken_links(root: &Path, document: &File) -> Vec<Problem> {
    let folder = Path::new(&document.path).parent().unwrap_or(Path::new(""));
    let mut problems = Vec::new();
    for (at, line) in document.text.lines().enumerate() {
        for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            let is_foreign = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
            if !is_foreign && !root.join(folder).join(path).exists() {
                problems.push(format!("{}:{}: the link to {path} is broken", document.path, at + 1));
            }
        }
    }
    problems
}

fn decision(file: &File) -> Vec<Problem> {
    let name = file.path.trim_start_matches("docs/decisions/");
    let mut problems = Vec::new();
    if name != "template.md" && !is_dated(name) {
        problems.push(format!("{}: name it YYYY-MM-DD-what-was-decided.md", file.path));
    }
    if !file.text.starts_with("# ") {
        problems.push(format!("{}: begin with a title that states the choice", file.path));
    }
    for part in DECISION_PARTS.iter().filter(|part| !file.text.lines().any(|line| line == **part)) {
        problems.push(format!("{}: has no \"{part}\"", file.path));
    }
    problems
}

fn is_dated(name: &str) -> bool {
    let shape = "dddd-dd-dd-";
    let fits = |(letter, shape): (char, char)| if shape == 'd' { letter.is_ascii_digit() } else { letter == shape };
    name.len() > shape.len() + ".md".len() && name.ends_with(".md") && name.chars().zip(shape.chars()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_types_and_variants_are_found_by_their_whole_name() {
        let source = "pub struct Store;\npub enum Event {\n    Tick { now: Moment },\n}\nfn handle_all() {}\n";
        assert!(defines(source, "Store") && defines(source, "Event::Tick") && defines(source, "Store::handle_all()"));
        assert!(!defines(source, "handle()") && !defines(source, "Stor") && !defines(source, "Event::Tock"));
    }

    #[test]
    fn a_walk_that_names_what_is_gone_is_found() {
        let source = File { path: "kv/src/a.rs".to_owned(), text: "fn handle() {}\n".to_owned() };
        let document = |text: &str| File { path: "ARCHITECTURE.md".to_owned(), text: text.to_owned() };
        let files = [source];
        let count = |text: &str| walks(Path::new("/nowhere"), &document(text), &files).len();
        assert_eq!(count("1. `kv/src/a.rs` `handle()`"), 0);
        assert_eq!(count("1. `kv/src/a.rs` `handel()`"), 1);
        assert_eq!(count("1. `kv/src/b.rs`"), 1);
        assert_eq!(count("```\n`kv/src/b.rs`\n```"), 0);
    }

    #[test]
    fn decision_records_are_dated_and_have_their_parts() {
        assert!(is_dated("2026-11-22-one-profile.md") && !is_dated("one-profile.md") && !is_dated("2026-11-22-.md"));
        let record = |text: &str| File { path: "docs/decisions/2026-11-22-a.md".to_owned(), text: text.to_owned() };
        assert!(decision(&record("# A\n## Context\n## Choice\n## Cost\n")).is_empty());
        assert_eq!(decision(&record("# A\n## Context\n## Cost\n")).len(), 1);
    }
}

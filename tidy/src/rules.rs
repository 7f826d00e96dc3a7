//! The rules of replication: what docs/replication.md names exists, what refers to one of its rules finds it, and no comment cites
//! what a reader of this checkout cannot look up.
//!
//! In that document a path in back quotes, `replica/src/lease.rs`, stands for a file, and a name behind it, `counted_until()`, for a function in
//! it, up to the end of the paragraph. A rule is a heading of the third level, in kebab case, and is referred to by its anchor.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::Problem;
use crate::documents::{has_definition, quoted};
use crate::tree::File;

/// The document.
const DOCUMENT: &str = "docs/replication.md";
/// How others refer to a rule; its name follows.
const REFERENCE: &str = "replication.md#";
/// This file, which names what it refuses.
const ITSELF: &str = "tidy/src/rules.rs";
/// Golden scripts and planted bugs: no text files of the tree, but full of comments.
const FOLDERS: [&str; 4] =
    ["replica/tests/scripts", "replica/tests/requests/scripts", "placement/tests/scripts", "tests/planted"];
/// Documents that lie elsewhere.
const ELSEWHERE: [&str; 3] = ["REPLICATION.md", "DESIGN.md", "STYLE.md"];
/// What every rule has.
const PARTS: [&str; 3] = ["*Prevents:*", "*Kept by*", "*Shown by*"];

/// Checks the document, all references to it, and all comments.
pub(crate) fn check(root: &Path, files: &[File]) -> Result<Vec<Problem>, String> {
    let Some(document) = files.iter().find(|file| file.path == DOCUMENT) else {
        return Ok(vec![format!("{DOCUMENT}: it is gone, and comments refer to its rules")]);
    };
    let mut problems = evidence(root, document, files);
    problems.extend(incomplete(&document.text));
    let anchors = anchors(&document.text);
    let scripts = scripts(root)?;
    for file in files.iter().chain(&scripts).filter(|file| file.path != ITSELF) {
        problems.extend(broken_references(file, &anchors));
        problems.extend(unresolvable(file, files));
    }
    Ok(problems)
}

/// Scripts and planted bugs, sorted by path.
fn scripts(root: &Path) -> Result<Vec<File>, String> {
    let mut scripts = Vec::new();
    for folder in FOLDERS {
        let entries = fs::read_dir(root.join(folder)).map_err(|e| format!("{folder}: {e}"))?;
        for entry in entries {
            let path = entry.map_err(|e| format!("{folder}: {e}"))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Markdown is among the text files of the tree.
            if path.is_file() && !name.ends_with(".md") {
                let text = fs::read_to_string(&path).map_err(|e| format!("{folder}/{name}: {e}"))?;
                scripts.push(File { path: format!("{folder}/{name}"), text });
            }
        }
    }
    scripts.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(scripts)
}

/// Files and functions that the document names and that do not exist.
fn evidence(root: &Path, document: &File, files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut current: Option<&str> = None;
    let ends_paragraph =
        |number: usize| document.text.lines().nth(number - 1).is_none_or(|line| line.trim().is_empty());
    for (number, names) in quoted(&document.text) {
        if ends_paragraph(number) {
            current = None;
        }
        for name in names {
            let place = format!("{}:{number}", document.path);
            if name.contains('/') && !name.contains([' ', '#']) {
                current = Some(name);
                if !root.join(name).exists() && !files.iter().any(|file| file.path == name) {
                    problems.push(format!("{place}: {name} does not exist"));
                }
            } else if let Some(function) = name.strip_suffix("()") {
                let source = files.iter().find(|file| file.is_rust() && Some(file.path.as_str()) == current);
                match source {
                    Some(file) if has_definition(&file.text, "fn", function) => {}
                    Some(file) => problems.push(format!("{place}: {name} is not in {}", file.path)),
                    None => problems.push(format!("{place}: {name} does not follow the file that it is in")),
                }
            }
        }
    }
    problems
}

/// The headings of the document that are rules, with their lines.
fn rules(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(at, line)| Some((at + 1, line.strip_prefix("### ")?)))
}

/// Rules that are named badly or twice, and those that lack a part.
fn incomplete(text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, rule) in rules(text) {
        let is_kebab = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if !rule.chars().all(is_kebab) {
            problems.push(format!("{DOCUMENT}:{number}: \"{rule}\": name a rule in kebab case, as its anchor is"));
        }
        if !seen.insert(rule) {
            problems.push(format!("{DOCUMENT}:{number}: a second rule is called {rule}"));
        }
        let body: Vec<&str> = text.lines().skip(number).take_while(|line| !line.starts_with('#')).collect();
        for part in PARTS.iter().filter(|part| !body.iter().any(|line| line.contains(**part))) {
            problems.push(format!("{DOCUMENT}:{number}: {rule} has no {part}"));
        }
    }
    problems
}

/// The anchors of all headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

/// The anchor that a heading gets where the document is shown.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// References to rules that there are not. Within the document itself an anchor stands alone.
fn broken_references(file: &File, anchors: &BTreeSet<String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let marks: &[&str] = if file.path == DOCUMENT { &[REFERENCE, "](#"] } else { &[REFERENCE] };
    for (at, line) in file.text.lines().enumerate() {
        for named in marks.iter().flat_map(|mark| line.split(mark).skip(1)) {
            let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
            let name: String = named.chars().take_while(|letter| is_part(*letter)).collect();
            if !anchors.contains(&name) {
                problems.push(format!("{}:{}: {DOCUMENT} has no rule \"{name}\"", file.path, at + 1));
            }
        }
    }
    problems
}

/// Citations in comments and documents that nobody can follow.
fn unresolvable(file: &File, files: &[File]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        let Some(comment) = comment(file, line) else { continue };
        let mut cited = citations(comment);
        if !file.path.ends_with(".md") {
            cited.extend(unknown_sources(comment, files));
        }
        for what in cited {
            let place = format!("{}:{}", file.path, at + 1);
            problems.push(format!("{place}: \"{what}\" cannot be looked up here: name a rule, {DOCUMENT}#its-name"));
        }
    }
    problems
}

/// The comment of a line; all of it in documents.
fn comment<'a>(file: &File, line: &'a str) -> Option<&'a str> {
    if file.path.ends_with(".md") {
        return Some(line);
    }
    if file.path.ends_with(".rs") || file.path.ends_with(".proto") {
        // In an address, `https://`, a colon comes first.
        let begins = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
        return begins.map(|(at, _)| &line[at..]);
    }
    line.trim_start().strip_prefix('#')
}

/// Documents, sections and experiments that are not part of the checkout.
fn citations(comment: &str) -> Vec<String> {
    let mut cited: Vec<String> = Vec::new();
    let named = |name: &str| comment.split(is_no_part_of_a_path).any(|word| word.rsplit('/').next() == Some(name));
    cited.extend(ELSEWHERE.iter().filter(|name| named(name)).map(|name| (*name).to_owned()));
    let words: Vec<&str> = comment.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    for pair in words.windows(2) {
        // Sections of a standard that is named with them can be looked up.
        let is_number = pair[1].starts_with(|letter: char| letter.is_ascii_digit());
        if pair[0].eq_ignore_ascii_case("section") && is_number && !words.contains(&"RFC") {
            cited.push(format!("{} {}", pair[0], pair[1]));
        }
    }
    cited.extend(words.into_iter().filter(|word| is_experiment(word)).map(ToOwned::to_owned));
    cited
}

/// `E1`, `F5`, `X4b`: the number of an experiment.
fn is_experiment(word: &str) -> bool {
    let Some(number) = word.strip_prefix(['E', 'F', 'X']) else { return false };
    let number = number.strip_suffix(|letter: char| letter.is_ascii_lowercase()).unwrap_or(number);
    (1..=2).contains(&number.len()) && number.chars().all(|letter| letter.is_ascii_digit())
}

/// Rust files that a comment names and that the checkout does not have.
fn unknown_sources(comment: &str, files: &[File]) -> Vec<String> {
    let named = comment.split(is_no_part_of_a_path).map(|word| word.trim_matches(['.', '/']));
    let named = named.filter(|word| word.len() > ".rs".len() && word.ends_with(".rs"));
    let exists = |word: &&str| files.iter().any(|file| is_at_the_end(&file.path, word));
    named.filter(|word| !exists(word)).map(ToOwned::to_owned).collect()
}

fn is_no_part_of_a_path(letter: char) -> bool {
    !(letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | '/'))
}

fn is_at_the_end(path: &str, of: &str) -> bool {
    path.strip_suffix(of).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn what_the_document_names_and_is_gone_is_found() {
        let files = [file("replica/src/lease.rs", "fn held_until(&self) {}\n"), file("tests/planted/a.patch", "")];
        let count = |text: &str| evidence(Path::new("/nowhere"), &file(DOCUMENT, text), &files).len();
        assert_eq!(count("*Kept by* `replica/src/lease.rs`\n`held_until()`, `tests/planted/a.patch`."), 0);
        assert_eq!(count("`replica/src/lease.rs` `held()`"), 1, "a part of a name is no name");
        assert_eq!(count("`replica/src/leases.rs`"), 1);
        assert_eq!(count("`tests/planted/b.patch`"), 1);
        assert_eq!(count("`replica/src/lease.rs`\n\n`held_until()`"), 1, "a paragraph begins without a file");
        assert_eq!(count("`tests/planted/a.patch` `held_until()`"), 1, "a patch has no functions");
        assert_eq!(count("`docs/replication.md#a-rule` `ReadIndex`"), 0);
    }

    #[test]
    fn a_rule_has_a_name_of_its_own_and_says_what_it_prevents_and_what_keeps_and_shows_it() {
        let whole = "### a-rule\n\nText.\n\n*Prevents:* x.\n\n*Kept by* y. *Shown by* z.\n";
        assert!(incomplete(whole).is_empty());
        assert_eq!(incomplete(&format!("{whole}{whole}")).len(), 1);
        assert_eq!(incomplete(&whole.replace("a-rule", "A rule")).len(), 1);
        for part in PARTS {
            assert_eq!(incomplete(&format!("{}\n## Next\n{part}\n", whole.replace(part, ""))).len(), 1, "{part}");
        }
    }

    #[test]
    fn a_reference_to_a_rule_that_is_gone_is_found_wherever_it_stands() {
        let anchors = anchors("# The title\n## Log and disk\n### lease-is-support\n");
        let count = |path: &str, text: &str| broken_references(&file(path, text), &anchors).len();
        for path in ["replica/src/lease.rs", "replica/tests/scripts/a.txt", "docs/guide.md"] {
            assert_eq!(count(path, "# See docs/replication.md#lease-is-support."), 0);
            assert_eq!(count(path, "# (docs/replication.md#lease-is) and docs/replication.md"), 1);
        }
        assert_eq!(count(DOCUMENT, "[there](#log-and-disk) [nowhere](#log-and-disks)"), 1);
        assert_eq!(count("docs/guide.md", "[elsewhere](#log-and-disks)"), 0);
    }

    #[test]
    fn what_cannot_be_looked_up_is_refused_in_comments_and_scripts() {
        let files = [file("kv/src/core/store.rs", "")];
        let count = |path: &str, text: &str| unresolvable(&file(path, text), &files).len();
        for cited in
            ["REPLICATION.md", "/work/DESIGN.md", "see section 6", "E1: why", "X4b", "of two.rs", "core/shop.rs"]
        {
            assert_eq!(count("kv/src/a.rs", &format!("let a = 1; // {cited}\n")), 1, "{cited}");
            assert_eq!(count("replica/tests/scripts/a.txt", &format!("# {cited}\nput 1\n")), 1, "{cited}");
            assert_eq!(count("kv/src/a.rs", &format!("let cited = \"{cited}\";\n")), 0, "{cited}: no comment");
        }
        for fine in ["RFC 8446, section 7.5", "core/store.rs", "kv/src/core/store.rs", "X25519", "section of", "ABC1"] {
            assert_eq!(count("kv/src/a.rs", &format!("/// {fine}\n")), 0, "{fine}");
        }
        assert_eq!(
            count("docs/decisions/a.md", "as REPLICATION.md says, in two.rs"),
            1,
            "documents may name what is gone"
        );
        assert_eq!(count("kv/src/a.rs", "let address = \"https://a.b/E1\";\n"), 0, "an address is no comment");
    }
}

//! What may be done to a folder that trees are written into: pure, so that the rules are tested without a disk.
//!
//! The folder remembers what was written into it, in a list of its own. What is on the list may be replaced and removed; what is not
//! belongs to somebody else, and nothing is touched.

use std::collections::{BTreeMap, BTreeSet};

use super::SiteTree;

/// The file with the list, at the top of the folder.
pub const LIST: &str = ".holdfast-rendered";
/// The first line of the list.
const HEADING: &str = "# Files that `holdfast fleet render` wrote here and may remove.";

/// What to do, by paths below the folder.
#[derive(PartialEq, Eq, Debug)]
pub struct Change {
    /// Files and their texts, the list among them.
    pub write: BTreeMap<String, String>,
    /// Files that were written before and are rendered no more.
    pub remove: BTreeSet<String>,
}

impl Change {
    /// The list for the time of the change: with what is there still and goes away. Whoever is broken off leaves nothing that is on no list.
    #[must_use]
    pub fn list_meanwhile(&self) -> String {
        let going: String = self.remove.iter().map(|path| format!("{path}\n")).collect();
        format!("{}{going}", self.write[LIST])
    }
}

/// The folder is somebody else's too.
#[derive(thiserror::Error, PartialEq, Eq, Debug)]
#[error(
    "the folder holds {} that `fleet render` did not write: {}; give it a folder of its own",
    if .0.len() == 1 { "a file" } else { "files" }, listed(.0)
)]
pub struct Foreign(pub Vec<String>);

/// Names that a message shows; more are counted.
const SHOWN: usize = 5;

fn listed(files: &[String]) -> String {
    let names = files.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = files.len().saturating_sub(SHOWN);
    if more == 0 { names } else { format!("{names} and {more} more") }
}

/// Plans the change. `present`: paths of all files in the folder, with `/`; `list`: the text of the list, if there is one.
pub fn plan(trees: &[SiteTree], present: &BTreeSet<String>, list: Option<&str>) -> Result<Change, Foreign> {
    let listed: BTreeSet<&str> = list.unwrap_or_default().lines().filter(|line| !line.starts_with('#')).collect();
    let foreign: Vec<_> =
        present.iter().filter(|path| *path != LIST && !listed.contains(path.as_str())).cloned().collect();
    if !foreign.is_empty() {
        return Err(Foreign(foreign));
    }
    let mut write: BTreeMap<String, String> = BTreeMap::new();
    for tree in trees {
        write.extend(tree.files.iter().map(|(file, text)| (format!("{}/{file}", tree.site), text.clone())));
    }
    let remove = present.iter().filter(|path| *path != LIST && !write.contains_key(*path)).cloned().collect();
    let names: Vec<_> = write.keys().map(String::as_str).collect();
    let text = format!("{HEADING}\n{}\n", names.join("\n"));
    write.insert(LIST.to_owned(), text);
    Ok(Change { write, remove })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(site: &str, files: &[&str]) -> SiteTree {
        let files = files.iter().map(|file| (file.to_string(), format!("{file}\n"))).collect();
        SiteTree { site: site.to_owned(), files }
    }

    fn paths(change: &Change) -> BTreeSet<String> {
        change.write.keys().cloned().collect()
    }

    #[test]
    fn what_is_rendered_no_more_is_removed() {
        let before = plan(&[tree("a", &["x", "y"]), tree("b", &["x"])], &BTreeSet::new(), None).unwrap();
        assert!(before.remove.is_empty());
        let list = &before.write[LIST];
        let after = plan(&[tree("a", &["x"])], &paths(&before), Some(list)).unwrap();
        assert_eq!(after.remove, ["a/y".to_owned(), "b/x".to_owned()].into());
        assert_eq!(paths(&after), [LIST.to_owned(), "a/x".to_owned()].into());
    }

    #[test]
    fn a_file_of_somebody_else_is_never_touched() {
        let before = plan(&[tree("a", &["x"])], &BTreeSet::new(), None).unwrap();
        let mut present = paths(&before);
        present.insert("a/mine.yaml".to_owned());
        let refused = plan(&[tree("a", &["x"])], &present, Some(&before.write[LIST])).unwrap_err();
        assert_eq!(refused, Foreign(vec!["a/mine.yaml".to_owned()]));
        // A folder without a list is somebody else's, even if the names are ours.
        assert!(plan(&[tree("a", &["x"])], &["a/x".to_owned()].into(), None).is_err());
    }

    #[test]
    fn the_message_shows_some_names_and_counts_the_rest() {
        let many = Foreign((0..8).map(|number| format!("f{number}")).collect());
        assert!(many.to_string().contains("f4 and 3 more; give it a folder of its own"), "{many}");
    }
}

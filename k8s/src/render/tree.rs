//! The files of one site.

use std::collections::BTreeMap;

use serde::Serialize;

/// The folder of one site: file names and texts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SiteTree {
    /// The site, and the name of the folder.
    pub site: String,
    /// Each file's name and text.
    pub files: BTreeMap<String, String>,
}

impl SiteTree {
    pub(crate) fn new(site: &str) -> Self {
        Self { site: site.to_owned(), files: BTreeMap::new() }
    }

    /// Adds an object to a file; the second of a file is a document of its own in it.
    pub(crate) fn add(&mut self, file: &str, object: &impl Serialize) {
        let text = yaml(object);
        let whole = self.files.entry(file.to_owned()).or_default();
        if !whole.is_empty() {
            whole.push_str("---\n");
        }
        whole.push_str(&text);
    }
}

/// One object as YAML. Fields come in the order of their types and maps are sorted, so equal objects are equal bytes.
fn yaml(object: &impl Serialize) -> String {
    let options = serde_saphyr::ser_options! {
        // Long lines stay lines: a folded one changes all over when a word is added.
        folded_wrap_chars: usize::MAX,
    };
    serde_saphyr::to_string_with_options(object, options).expect("objects of Kubernetes are maps, lists and scalars")
}

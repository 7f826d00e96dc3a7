//! The files of one site.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;

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

/// One object as YAML: what it is comes first, then its fields by their names, so equal objects are equal bytes.
fn yaml(object: &impl Serialize) -> String {
    // By way of a plain value: YAML's writer would otherwise be compiled anew for each of Kubernetes' many types.
    let value = serde_json::to_value(object).expect("objects of Kubernetes are maps, lists and scalars");
    let options = serde_saphyr::ser_options! {
        // Long lines stay lines: a folded one changes all over when a word is added.
        folded_wrap_chars: usize::MAX,
    };
    serde_saphyr::to_string_with_options(&KindFirst(&value), options).expect("values are maps, lists and scalars")
}

/// An object in the order in which people read it.
struct KindFirst<'a>(&'a Value);

/// What a reader wants to know first.
const FIRST: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl Serialize for KindFirst<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.0.as_object().into_iter().flatten();
        let (first, rest): (Vec<_>, Vec<_>) = fields.partition(|(key, _)| FIRST.contains(&key.as_str()));
        serializer.collect_map(first.into_iter().chain(rest))
    }
}

//! The file as a tree of values, each with its place: where findings point to.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::finding::Finding;

/// A line and a column of the file, both from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl Place {
    /// The beginning of the file: where a finding points that belongs to no value.
    pub const START: Self = Self { line: 1, column: 1 };

    pub(crate) fn of(location: serde_saphyr::Location) -> Self {
        // Lines and columns that the parser does not know are 0.
        Self { line: location.line().max(1), column: location.column().max(1) }
    }
}

/// One step of a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Step {
    Key(String),
    Item(usize),
}

/// The way from the top of the file to a value, such as `sites[2].podCidrs[0]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Path(Vec<Step>);

impl Path {
    /// The whole file.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The value under a key of this one.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// An item of this list.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        self.with(Step::Item(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A value of the file.
#[derive(Debug)]
pub(crate) enum Value {
    /// Text, a number, true or false, or nothing.
    Scalar(String),
    /// A list.
    List(Vec<Spanned<Value>>),
    /// Keys and values in the order of the file.
    Map(Vec<(Spanned<String>, Spanned<Value>)>),
}

/// Reads YAML. Aliases may repeat as many values as the text has bytes: aliases of aliases would make a gigabyte of a few hundred.
pub(super) fn parse<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, serde_saphyr::Error> {
    let alias_limits = serde_saphyr::alias_limits! { max_total_replayed_events: text.len() };
    serde_saphyr::from_str_with_options(text, serde_saphyr::options! { alias_limits: alias_limits })
}

/// The whole file.
#[derive(Debug)]
pub(crate) struct Tree(pub(crate) Spanned<Value>);

impl Tree {
    /// Reads the text; what is not YAML, or has a key twice, is the one finding.
    pub(crate) fn read(text: &str) -> Result<Self, Box<Finding>> {
        parse(text).map(Self).map_err(|error| Box::new(Finding::of_parser(&error)))
    }

    /// The scalar under a key of the top.
    pub(crate) fn top(&self, wanted: &str) -> Option<&str> {
        let Value::Map(entries) = &self.0.value else { return None };
        let (_, value) = entries.iter().find(|(key, _)| key.value == wanted)?;
        if let Value::Scalar(text) = &value.value { Some(text) } else { None }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Scalar(String::new()))
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Scalar(String::new()))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}

/// Where each value of the file is.
#[derive(Debug, Default)]
pub struct Places(BTreeMap<Path, Place>);

impl Places {
    pub(crate) fn of(tree: &Tree) -> Self {
        let mut places = Self::default();
        places.add(&Path::root(), &tree.0);
        places
    }

    fn add(&mut self, path: &Path, value: &Spanned<Value>) {
        self.0.insert(path.clone(), Place::of(value.referenced));
        match &value.value {
            Value::Scalar(_) => {}
            Value::List(items) => {
                items.iter().enumerate().for_each(|(index, item)| self.add(&path.item(index), item));
            }
            Value::Map(entries) => entries.iter().for_each(|(key, value)| self.add(&path.key(&key.value), value)),
        }
    }

    /// The place of a value. A value that the file leaves to its default is where its parent is.
    #[must_use]
    pub fn find(&self, path: &Path) -> Place {
        let mut path = Some(path.clone());
        while let Some(wanted) = path {
            if let Some(place) = self.0.get(&wanted) {
                return *place;
            }
            path = wanted.parent();
        }
        Place::START
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_line_and_column_and_a_default_has_its_parents() {
        let text = "name: prod\nsites:\n- name: a\n  podCidrs: [10.0.0.0/8, x]\n";
        let places = Places::of(&Tree::read(text).unwrap());
        let site = Path::root().key("sites").item(0);
        let found = |path: &Path| (places.find(path).line, places.find(path).column);
        assert_eq!(found(&Path::root().key("name")), (1, 7));
        assert_eq!(found(&site.key("podCidrs").item(1)), (4, 26));
        assert_eq!(found(&site.key("stores")), found(&site));
        assert_eq!(site.key("podCidrs").item(1).to_string(), "sites[0].podCidrs[1]");
    }

    #[test]
    fn aliases_name_what_is_there_and_multiply_nothing_without_end() {
        let shared = "ports: &p {client: 7300, http: 7500}\nsites:\n- {name: a, ports: *p}\n- {name: b, ports: *p}\n";
        assert!(Tree::read(shared).is_ok());
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..9 {
            let before = format!("*a{},", level - 1).repeat(9);
            text.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        let finding = Tree::read(&text).unwrap_err();
        assert!(finding.to_string().contains("too complex"), "{finding}");
    }

    #[test]
    fn a_file_that_is_no_yaml_is_told_with_its_place() {
        let finding = Tree::read("name: prod\nsites: [\n").unwrap_err();
        assert!(finding.place.line >= 2, "{finding}");
    }
}

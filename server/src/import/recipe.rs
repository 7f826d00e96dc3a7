//! How a record becomes a row: which column is the key, what the value is, when it is gone.

use std::borrow::Cow;

use bytes::Bytes;
use holdfast_rows::write::cell::{MARK, decode_cell, encode_cell};
use holdfast_rows::{Content, Format, JsonField, JsonKind, JsonRow};
use holdfast_types::limits;

use super::expiry::Expiry;

/// A row that can be loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// When it is gone; `None`: never.
    pub expires: Option<Expiry>,
}

/// Which columns mean what, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Columns {
    /// The key; `None`: the first column.
    pub key: Option<String>,
    /// When a row is gone; `None`: never.
    pub expires: Option<String>,
    /// The value is what one column holds.
    pub raw: bool,
    /// Which one; `None`: the only one beside the others.
    pub value: Option<String>,
}

/// A recipe that the columns of the file do not allow.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecipeError {
    /// A column is named that is not there.
    #[error("there is no column {name:?} for --{option}; there are: {}", shown(.there))]
    NoColumn {
        /// The option that names it.
        option: &'static str,
        /// Its name.
        name: String,
        /// The columns of the file.
        there: Vec<String>,
    },
    /// Fields of JSON objects have no order.
    #[error("JSON lines need --key FIELD: the fields of an object have no order, so none is the first")]
    NoKey,
    /// With `--raw` it is not known which field is the value.
    #[error("--raw on JSON lines needs --value FIELD: which field the value is")]
    NoValue,
    /// With `--raw` there is more than one column, or none, that may be the value.
    #[error("with --raw one column is the value; beside the key and the expiry there are {}: name it by --value", shown(.0))]
    WhichValue(Vec<String>),
    /// One column is to be two things.
    #[error("column {0:?} cannot be both --{1} and --{2}")]
    Both(String, &'static str, &'static str),
}

fn shown(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Makes rows of records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Recipe {
    /// Of cells.
    Cells(CellRecipe),
    /// Of objects.
    Objects(ObjectRecipe),
}

/// Columns by their place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CellRecipe {
    /// The names of all columns.
    heading: Vec<String>,
    key: usize,
    expires: Option<usize>,
    value: Option<usize>,
    /// Cells that begin with `base64:` are bytes.
    base64: bool,
}

/// Fields by their name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectRecipe {
    key: String,
    expires: Option<String>,
    value: Option<String>,
}

impl Recipe {
    /// The recipe for a file with these columns.
    pub fn new(columns: &Columns, format: Format, heading: &[String], base64: bool) -> Result<Self, RecipeError> {
        let expires = &columns.expires;
        if let (Some(key), Some(expires)) = (&columns.key, expires)
            && key == expires
        {
            return Err(RecipeError::Both(key.clone(), "key", "expires"));
        }
        if format == Format::JsonLines {
            let key = columns.key.clone().ok_or(RecipeError::NoKey)?;
            if columns.raw && columns.value.is_none() {
                return Err(RecipeError::NoValue);
            }
            return Ok(Self::Objects(ObjectRecipe { key, expires: expires.clone(), value: columns.value.clone() }));
        }
        let place = |option: &'static str, name: &String| {
            let missing = || RecipeError::NoColumn { option, name: name.clone(), there: heading.to_vec() };
            heading.iter().position(|column| column == name).ok_or_else(missing)
        };
        let key = columns.key.as_ref().map_or(Ok(0), |name| place("key", name))?;
        let expires = expires.as_ref().map(|name| place("expires", name)).transpose()?;
        if expires == Some(key) {
            return Err(RecipeError::Both(heading.get(key).cloned().unwrap_or_default(), "key", "expires"));
        }
        let value = match &columns.value {
            _ if !columns.raw => None,
            Some(name) => Some(place("value", name)?),
            None => {
                let left = (0..heading.len()).filter(|at| *at != key && Some(*at) != expires).collect::<Vec<_>>();
                let &[only] = left.as_slice() else {
                    return Err(RecipeError::WhichValue(
                        left.iter().filter_map(|at| heading.get(*at)).cloned().collect(),
                    ));
                };
                Some(only)
            }
        };
        Ok(Self::Cells(CellRecipe { heading: heading.to_vec(), key, expires, value, base64 }))
    }

    /// What the recipe comes to, for what is bound to it: the names of the columns of key, expiry and value.
    pub fn names(&self) -> [(&'static str, Option<&str>); 3] {
        let (key, expires, value) = match self {
            Self::Cells(cells) => {
                let name = |at: usize| cells.heading.get(at).map(String::as_str);
                (name(cells.key), cells.expires.and_then(name), cells.value.and_then(name))
            }
            Self::Objects(fields) => (Some(&*fields.key), fields.expires.as_deref(), fields.value.as_deref()),
        };
        [("key", key), ("expires", expires), ("value", value)]
    }

    /// The name of the field that says when a row is gone, where rows need not have it.
    pub fn optional_expiry(&self) -> Option<&str> {
        match self {
            Self::Cells(_) => None,
            Self::Objects(fields) => fields.expires.as_deref(),
        }
    }

    /// The row that a record is, or what is wrong with it.
    pub fn row(&self, content: &Content) -> Result<Row, String> {
        let row = match (self, content) {
            (Self::Cells(cells), Content::Cells(record)) => cells.row(record),
            (Self::Objects(fields), Content::Object(object)) => fields.row(object),
            // A source has records of one kind.
            _ => Err("it is of another format than the lines before".to_owned()),
        }?;
        check(&row)?;
        Ok(row)
    }
}

/// What stores refuse. It is known here, so that such a row is bad before it counts as the first of its key, and before those behind it are sent.
pub fn check(row: &Row) -> Result<(), String> {
    let most = limits::MAX_KEY_BYTES;
    match row.key.len() {
        0 => return Err(format!("the key is empty: a key is 1 B to {most} B")),
        length if length > most => return Err(format!("the key has {length} B: a key is 1 B to {most} B")),
        _ => {}
    }
    let (length, most) = (row.value.len(), limits::MAX_VALUE_BYTES);
    if length > most {
        return Err(format!("the value has {length} B: a value is at most {most} B"));
    }
    Ok(())
}

impl CellRecipe {
    fn row(&self, cells: &[Option<Bytes>]) -> Result<Row, String> {
        if cells.len() != self.heading.len() {
            return Err(format!("{} columns where the heading has {}", cells.len(), self.heading.len()));
        }
        let key = self.cell(cells, self.key)?.ok_or_else(|| format!("the key ({}) is null", self.name(self.key)))?;
        let expires = match self.expires {
            None => None,
            Some(at) => match self.cell(cells, at)? {
                None => None,
                Some(cell) => self.expiry(at, &cell)?,
            },
        };
        let value = match self.value {
            None => self.object(cells)?,
            Some(at) => self.cell(cells, at)?.ok_or_else(|| format!("the value ({}) is null", self.name(at)))?,
        };
        Ok(Row { key, value, expires })
    }

    fn name(&self, at: usize) -> &str {
        self.heading.get(at).map_or("", String::as_str)
    }

    fn expiry(&self, at: usize, cell: &[u8]) -> Result<Option<Expiry>, String> {
        let text = std::str::from_utf8(cell).map_err(|_| format!("column {}: it is no text", self.name(at)))?;
        Expiry::of(text).map_err(|wrong| format!("column {}: {wrong}", self.name(at)))
    }

    fn cell(&self, cells: &[Option<Bytes>], at: usize) -> Result<Option<Bytes>, String> {
        let Some(Some(cell)) = cells.get(at) else { return Ok(None) };
        if !self.base64 {
            return Ok(Some(cell.clone()));
        }
        match decode_cell(cell) {
            Ok(Cow::Borrowed(_)) => Ok(Some(cell.clone())),
            Ok(Cow::Owned(bytes)) => Ok(Some(bytes.into())),
            Err(wrong) => Err(format!("column {}: {wrong}", self.name(at))),
        }
    }

    /// All columns in their order, as a JSON object.
    fn object(&self, cells: &[Option<Bytes>]) -> Result<Bytes, String> {
        let room = cells.iter().flatten().map(Bytes::len).sum::<usize>();
        let mut object = Vec::with_capacity(room.saturating_add(self.heading.len().saturating_mul(16)));
        for (at, name) in self.heading.iter().enumerate() {
            object.push(if at == 0 { b'{' } else { b',' });
            push_text(&mut object, name)?;
            object.push(b':');
            match self.cell(cells, at)? {
                None => object.extend_from_slice(b"null"),
                Some(cell) => self.push_cell(&mut object, at, &cell)?,
            }
        }
        object.push(b'}');
        Ok(object.into())
    }

    fn push_cell(&self, object: &mut Vec<u8>, at: usize, cell: &[u8]) -> Result<(), String> {
        match std::str::from_utf8(cell) {
            Ok(text) => push_text(object, text),
            // Only what was base64 in the file: all other cells are text.
            Err(_) if self.base64 => {
                object.extend_from_slice(br#"{"base64":"#);
                let written = encode_cell(cell);
                push_text(object, written.strip_prefix(MARK).unwrap_or(&written))?;
                object.push(b'}');
                Ok(())
            }
            Err(_) => Err(format!("column {}: it is no text", self.name(at))),
        }
    }
}

fn push_text(object: &mut Vec<u8>, text: &str) -> Result<(), String> {
    serde_json::to_writer(object, text).map_err(|error| error.to_string())
}

impl ObjectRecipe {
    fn row(&self, object: &JsonRow) -> Result<Row, String> {
        let key =
            object.field(&self.key).ok_or_else(|| format!("there is no field {:?}, which is the key", self.key))?;
        let key = key_bytes(key)?;
        let expires = match self.expires.as_deref().and_then(|name| object.field(name)) {
            None => None,
            Some(field) => expiry(field).map_err(|wrong| format!("field {}: {wrong}", field.name()))?,
        };
        let value = match &self.value {
            None => object.bytes(),
            Some(name) => {
                let field =
                    object.field(name).ok_or_else(|| format!("there is no field {name:?}, which is the value"))?;
                value_bytes(field)?
            }
        };
        Ok(Row { key, value, expires })
    }
}

/// A text, the digits of a number, or bytes.
fn key_bytes(field: JsonField<'_>) -> Result<Bytes, String> {
    let bytes = match field.kind() {
        JsonKind::Number => Some(Bytes::copy_from_slice(field.text().as_bytes())),
        _ => field.bytes(),
    };
    bytes.ok_or_else(|| {
        format!("the key is {}: it is a text, a number or {{\"base64\": ...}}", shown_kind(field.kind()))
    })
}

/// What a text says, bytes, or the JSON text of everything else.
fn value_bytes(field: JsonField<'_>) -> Result<Bytes, String> {
    match field.kind() {
        JsonKind::Null => Err(format!("the value ({}) is null", field.name())),
        JsonKind::Text => field.bytes().ok_or_else(|| format!("the value ({}) is no text", field.name())),
        _ => Ok(field.bytes().unwrap_or_else(|| Bytes::copy_from_slice(field.text().as_bytes()))),
    }
}

fn expiry(field: JsonField<'_>) -> Result<Option<Expiry>, String> {
    match field.kind() {
        JsonKind::Null => Ok(None),
        JsonKind::Number => Expiry::of(field.text()),
        JsonKind::Text => Expiry::of(&field.string().unwrap_or_default()),
        kind => Err(format!("it is {}: a time is a text or a number of seconds", shown_kind(kind))),
    }
}

fn shown_kind(kind: JsonKind) -> &'static str {
    match kind {
        JsonKind::Null => "null",
        JsonKind::Bool => "true or false",
        JsonKind::Number => "a number",
        JsonKind::Text => "a text",
        JsonKind::Array => "a list",
        JsonKind::Object => "an object",
    }
}

#[cfg(test)]
#[path = "recipe_tests.rs"]
mod tests;

//! The statements that the shell knows: what is left of SQL when it is about keys and values.

use std::collections::BTreeSet;

use bytes::Bytes;
use holdfast_client::admin::{AuditCondition, RightsChange};
use holdfast_types::{Grantee, RangeId};

use super::error::Span;

/// A statement.
#[derive(Clone, PartialEq, Debug)]
pub enum Statement {
    /// Reads rows, or counts them.
    Select(Select),
    /// Writes rows that must not exist, or (`upsert`) may.
    Insert(Insert),
    /// Changes rows that exist.
    Update(Update),
    /// Deletes rows.
    Delete(Delete),
    /// Says what a statement would do, or (`analyze`) does it and says what it did.
    Explain {
        /// It is carried out.
        analyze: bool,
        /// Which.
        statement: Box<Statement>,
    },
    /// Looks at the fleet.
    Show(Show),
    /// Cuts a range in two.
    Split {
        /// Of which keyspace; `None`: the default one.
        keyspace: Option<Name>,
        /// The first key of the right part.
        key: Bytes,
    },
    /// Hands the leadership of a range over.
    MoveLeader {
        /// Which range.
        range: RangeId,
        /// Where to.
        site: Name,
    },
    /// Names a new keyspace.
    CreateKeyspace(Name),
    /// Changes what somebody may.
    ChangeRights(RightsChange),
}

/// A name in a statement, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where.
    pub span: Span,
}

/// SELECT.
#[derive(Clone, PartialEq, Debug)]
pub struct Select {
    /// What is given out.
    pub output: Output,
    /// From which keyspace.
    pub from: Name,
    /// Of which rows; `None`: of all.
    pub filter: Option<Filter>,
    /// From the last key to the first.
    pub descending: bool,
    /// At most this many rows.
    pub limit: Option<u64>,
    /// Without the first rows.
    pub offset: u64,
}

/// What a SELECT gives out.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// A row for each row.
    Rows(Vec<Item<Scalar>>),
    /// One row for all of them.
    Aggregates(Vec<Item<Aggregate>>),
}

/// One column of a result.
#[derive(Clone, PartialEq, Debug)]
pub struct Item<T> {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub what: T,
}

/// What is made of all rows together.
#[derive(Clone, PartialEq, Debug)]
pub enum Aggregate {
    /// How many.
    Count,
    /// How many in which this is there.
    CountOf(Scalar),
    /// The first key.
    MinKey,
    /// The last key.
    MaxKey,
}

/// What can be said of one row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scalar {
    /// Its key.
    Key,
    /// Its value.
    Value,
    /// The version of the value.
    Version,
    /// When it will be gone.
    Expires,
    /// A part of its value, read as JSON.
    Field {
        /// Where in the value.
        path: Vec<Step>,
        /// `->>`: text instead of JSON.
        as_text: bool,
    },
}

/// One step into a JSON value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Into an object.
    Field(String),
    /// Into an array, from 0.
    Index(usize),
}

/// A constant.
#[derive(Clone, PartialEq, Debug)]
pub enum Literal {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number, as it was written.
    Number(String),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Bytes),
    /// JSON, as it is written.
    Json(String),
    /// Fleet time when the statement begins, moved by milliseconds.
    Now(i64),
}

/// How two things are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// The same with its sides exchanged.
    #[must_use]
    pub fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Equal | Self::NotEqual => self,
        }
    }

    /// As it is written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// A condition. What cannot be told (a field that is not there) is neither true nor false, as in SQL.
#[derive(Clone, PartialEq, Debug)]
pub enum Filter {
    /// `true`, `false`, or `NULL` (`None`).
    Constant(Option<bool>),
    /// All of them.
    And(Vec<Filter>),
    /// One of them.
    Or(Vec<Filter>),
    /// Not so.
    Not(Box<Filter>),
    /// A comparison with a constant.
    Compare {
        /// What is compared.
        scalar: Scalar,
        /// How.
        comparison: Comparison,
        /// With what.
        literal: Literal,
    },
    /// One of a list.
    In {
        /// What is looked for.
        scalar: Scalar,
        /// The list.
        list: List,
    },
    /// Text with wildcards.
    Like {
        /// What is looked at.
        scalar: Scalar,
        /// The pattern.
        pattern: Pattern,
    },
    /// It is not there.
    IsNull(Scalar),
}

/// The list of IN.
#[derive(Clone, PartialEq, Debug)]
pub struct List {
    items: Vec<Literal>,
    texts: BTreeSet<Bytes>,
    rest: Vec<Literal>,
}

impl List {
    /// A list of these.
    #[must_use]
    pub fn new(items: Vec<Literal>) -> Self {
        let (mut texts, mut rest) = (BTreeSet::new(), Vec::new());
        for item in &items {
            let text = match item {
                Literal::Text(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
                Literal::Bytes(bytes) => Some(bytes.clone()),
                _ => None,
            };
            if text.is_none() || texts.is_empty() {
                rest.push(item.clone());
            }
            texts.extend(text);
        }
        Self { items, texts, rest }
    }

    /// As they are written.
    #[must_use]
    pub fn items(&self) -> &[Literal] {
        &self.items
    }

    /// True when a text or bytes of the list are these.
    #[must_use]
    pub fn has_text(&self, bytes: &[u8]) -> bool {
        self.texts.contains(bytes)
    }

    /// What is neither text nor bytes, and the first that is: what differs from all of them differs from each alike.
    #[must_use]
    pub fn rest(&self) -> &[Literal] {
        &self.rest
    }
}

/// A pattern of LIKE: `%` stands for anything, `_` for one character, `\` makes the next one ordinary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    /// Its parts.
    pub parts: Vec<PatternPart>,
}

/// A part of a pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PatternPart {
    /// These bytes.
    Bytes(Vec<u8>),
    /// One character.
    One,
    /// Anything.
    Any,
}

/// INSERT and UPSERT.
#[derive(Clone, PartialEq, Debug)]
pub struct Insert {
    /// A key that exists is overwritten.
    pub upsert: bool,
    /// Into which keyspace.
    pub into: Name,
    /// The rows.
    pub rows: Vec<NewRow>,
}

/// A row to be written.
#[derive(Clone, PartialEq, Debug)]
pub struct NewRow {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// When it will be gone.
    pub expires: Expiry,
    /// Where its key stands.
    pub span: Span,
}

/// When a row will be gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    /// Never.
    Never,
    /// At this millisecond since the Unix epoch.
    AtMs(u64),
    /// This many milliseconds after the statement began.
    AfterMs(i64),
}

/// UPDATE.
#[derive(Clone, PartialEq, Debug)]
pub struct Update {
    /// In which keyspace.
    pub keyspace: Name,
    /// The new value; `None`: it stays.
    pub value: Option<Bytes>,
    /// The new expiry; `None`: it stays.
    pub expires: Option<Expiry>,
    /// Which rows.
    pub filter: Filter,
    /// Where that stands.
    pub filter_span: Span,
}

/// DELETE.
#[derive(Clone, PartialEq, Debug)]
pub struct Delete {
    /// From which keyspace.
    pub from: Name,
    /// Which rows.
    pub filter: Filter,
    /// Where that stands.
    pub filter_span: Span,
}

/// SHOW.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Show {
    /// The sites.
    Sites,
    /// The stores.
    Stores,
    /// The ranges.
    Ranges {
        /// Of this keyspace only.
        keyspace: Option<Name>,
    },
    /// Who leads how much.
    Leaders,
    /// What happened lately.
    Events {
        /// At most this many.
        limit: Option<u32>,
    },
    /// Who was refused, who changed what, what became of trust.
    Audit(Audit),
    /// What a store was configured to.
    Settings {
        /// Which store; `None`: the one that answers.
        store: Option<u64>,
    },
    /// The keyspaces.
    Keyspaces,
    /// What was granted.
    Grants {
        /// Only what this one may by it.
        to: Option<Grantee>,
    },
    /// The roles.
    Roles,
}

/// Which entries of the audit.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Audit {
    /// None that are older.
    pub since: Option<Since>,
    /// At most this many.
    pub limit: Option<u32>,
    /// All of these must hold.
    pub conditions: Vec<AuditCondition>,
}

/// From when on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Since {
    /// Milliseconds since the Unix epoch.
    AtMs(u64),
    /// So many milliseconds before now.
    AgoMs(u64),
}

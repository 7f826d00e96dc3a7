//! What is on record of who did what, in plain types.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::Bytes;
use holdfast_proto::convert::BadMessage;
use holdfast_proto::v1;
use holdfast_types::bounds::cut;
use holdfast_types::{Key, StoreId, Timestamp, limits};

use super::answers::{all, store};
use super::{Admin, AdminError};

/// Which entries are wanted. The default: the newest, whatever they are.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AuditQuery {
    /// At most this many on a page; 0: 100.
    pub limit: u32,
    /// None that are older.
    pub since: Option<Timestamp>,
    /// Those for which all of these hold.
    pub conditions: Vec<AuditCondition>,
    /// Go on here: [`AuditPage::resume`] of the page before.
    pub resume: Option<Key>,
}

/// What must hold of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditCondition {
    /// What is looked at.
    pub field: AuditField,
    /// What it must be, or begin with.
    pub value: String,
    /// It must begin with the value, rather than be it.
    pub prefix: bool,
    /// It must not.
    pub negated: bool,
}

/// What can be asked of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditField {
    /// `refusal`, `act` or `trust`.
    Kind,
    /// The SPIFFE id of whoever asked.
    Who,
    /// Where that was, an address.
    Origin,
    /// What was asked, a word.
    What,
    /// `done`, `refused` or `unknown`.
    Result,
    /// The store, as `s3`.
    Store,
    /// Its site.
    Site,
}

/// A page of entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditPage {
    /// The newest first. There may be none on a page that is not the last.
    pub entries: Vec<AuditEntry>,
    /// Where to go on; `None`: these were the last ones.
    pub resume: Option<Key>,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    /// What kind of thing.
    pub kind: AuditKind,
    /// Fleet time at the store.
    pub at: Timestamp,
    /// Where it happened.
    pub store: StoreId,
    /// The site of that store.
    pub site: String,
    /// Counts the entries of the store's process.
    pub number: u64,
    /// The SPIFFE id of whoever asked; `None`: somebody who proved nothing, or the store itself.
    pub who: Option<String>,
    /// Where that was; `None`: the store itself, or several addresses.
    pub origin: Option<String>,
    /// What was asked or happened, a word.
    pub what: String,
    /// With which arguments.
    pub arguments: Vec<(String, String)>,
    /// How it ended.
    pub result: AuditResult,
    /// Why, in a sentence.
    pub why: Option<String>,
    /// How many this entry stands for.
    pub times: u64,
}

/// What kind of thing happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditKind {
    /// Somebody was refused.
    Refusal,
    /// Somebody asked for a change of the fleet.
    Act,
    /// What is trusted, or who may do what, changed.
    Trust,
    /// A kind that this client does not know.
    Other,
}

impl AuditKind {
    /// As a word for tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refusal => "refusal",
            Self::Act => "act",
            Self::Trust => "trust",
            Self::Other => "other",
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditResult {
    /// It was done, or was so already.
    Done,
    /// It was not done.
    Refused,
    /// It may have been done.
    Unknown,
    /// An ending that this client does not know.
    Other,
}

impl AuditResult {
    /// As a word for tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Other => "other",
        }
    }
}

impl Admin {
    /// A page of what is on record of who was refused, who changed the fleet and what became of trust, the newest first.
    pub async fn audit(&self, query: AuditQuery) -> Result<AuditPage, AdminError> {
        let request = v1::ListAuditRequest {
            limit: query.limit,
            since: query.since.map_or(0, |since| since.0),
            conditions: query.conditions.into_iter().map(Into::into).collect(),
            resume: query.resume.map(Bytes::from),
        };
        self.look(request, async |mut client, request| client.list_audit(request).await).await?.try_into()
    }
}

impl From<AuditCondition> for v1::AuditCondition {
    fn from(condition: AuditCondition) -> Self {
        let AuditCondition { field, value, prefix, negated } = condition;
        let field = match field {
            AuditField::Kind => v1::AuditField::Kind,
            AuditField::Who => v1::AuditField::Who,
            AuditField::Origin => v1::AuditField::Origin,
            AuditField::What => v1::AuditField::What,
            AuditField::Result => v1::AuditField::Result,
            AuditField::Store => v1::AuditField::Store,
            AuditField::Site => v1::AuditField::Site,
        };
        Self { field: field.into(), value, prefix, negated }
    }
}

impl TryFrom<v1::ListAuditResponse> for AuditPage {
    type Error = AdminError;

    fn try_from(answer: v1::ListAuditResponse) -> Result<Self, AdminError> {
        let resume = answer.resume.map(Key::from_raw).transpose().map_err(|bad| BadMessage::Malformed(bad.to_string()));
        Ok(Self { entries: all(answer.entries)?, resume: resume? })
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl TryFrom<v1::AuditEntry> for AuditEntry {
    type Error = BadMessage;

    fn try_from(entry: v1::AuditEntry) -> Result<Self, BadMessage> {
        let kind = match entry.kind() {
            v1::AuditKind::Refusal => AuditKind::Refusal,
            v1::AuditKind::Act => AuditKind::Act,
            v1::AuditKind::Trust => AuditKind::Trust,
            v1::AuditKind::Unspecified => AuditKind::Other,
        };
        let result = match entry.result() {
            v1::AuditResult::Done => AuditResult::Done,
            v1::AuditResult::Refused => AuditResult::Refused,
            v1::AuditResult::Unknown => AuditResult::Unknown,
            v1::AuditResult::Unspecified => AuditResult::Other,
        };
        Ok(Self {
            kind,
            at: Timestamp::compared(entry.at),
            store: store(entry.store_id)?,
            site: entry.site,
            number: cut(entry.number, limits::MAX_COUNTED),
            who: some(entry.who),
            origin: some(entry.origin),
            what: entry.what,
            arguments: entry.arguments.into_iter().map(|argument| (argument.name, argument.value)).collect(),
            result,
            why: some(entry.why),
            times: cut(entry.times, limits::MAX_COUNTED),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_store_says_is_shown_as_far_as_it_is_known() {
        let entry = v1::AuditEntry { kind: 99, result: 99, store_id: 3, what: "x".into(), ..Default::default() };
        let known = AuditEntry::try_from(entry.clone()).unwrap();
        assert_eq!((known.kind, known.result, known.who), (AuditKind::Other, AuditResult::Other, None));
        let page = |entry, resume| AuditPage::try_from(v1::ListAuditResponse { entries: vec![entry], resume });
        assert!(page(entry.clone(), None).is_ok());
        assert!(page(entry.clone(), Some(Bytes::from_static(b"x"))).is_err(), "no key");
        assert!(page(v1::AuditEntry { store_id: u64::MAX, ..entry }, None).is_err());
    }
}

//! Entries, as they are made and as they are said in the log.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::net::{IpAddr, SocketAddr};

use holdfast_proto::v1::{self, AuditKind, AuditResult};
use holdfast_types::{Principal, StoreId, Timestamp, limits};

use super::acts::Act;
use crate::services::caller::Caller;

/// Somebody was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What was refused, a word: `handshake`, `right`, `token`.
    pub what: &'static str,
    /// Whom.
    pub caller: Caller,
    /// Why, in a sentence without secrets.
    pub why: String,
    /// What it was about, by name: never a value, a token or a secret.
    pub arguments: Vec<(&'static str, String)>,
}

impl Refusal {
    /// One without arguments.
    pub fn new(what: &'static str, caller: Caller, why: impl Into<String>) -> Self {
        Self { what, caller, why: why.into(), arguments: Vec::new() }
    }

    pub(super) fn entry(self) -> v1::AuditEntry {
        let entry = by(&self.caller, self.what, AuditKind::Refusal, self.arguments);
        v1::AuditEntry { result: AuditResult::Refused.into(), why: fitting(self.why), ..entry }
    }
}

/// What is trusted changed without anybody asking for it by a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What, a word: `reload`, `distrust`.
    pub what: &'static str,
    /// What it was about, by name: never a secret.
    pub arguments: Vec<(&'static str, String)>,
    /// Why it was refused; `None`: it was done.
    pub refused: Option<String>,
}

impl Change {
    pub(super) fn entry(self) -> v1::AuditEntry {
        let entry = by(&Caller::default(), self.what, AuditKind::Trust, self.arguments);
        match self.refused {
            None => v1::AuditEntry { result: AuditResult::Done.into(), ..entry },
            Some(why) => v1::AuditEntry { result: AuditResult::Refused.into(), why: fitting(why), ..entry },
        }
    }
}

/// An act that has not ended yet.
pub(super) fn act<Q: Act>(caller: &Caller, request: &Q) -> v1::AuditEntry {
    by(caller, Q::WHAT, Q::KIND, request.arguments())
}

/// Refusals that were summed up. `origin` is an address, or `None` for several.
pub(super) fn summed_up(
    what: &str,
    who: String,
    origin: Option<IpAddr>,
    arguments: Vec<(&'static str, String)>,
    why: &str,
    times: u64,
) -> v1::AuditEntry {
    v1::AuditEntry {
        who,
        origin: origin.map(|origin| origin.to_string()).unwrap_or_default(),
        result: AuditResult::Refused.into(),
        why: fitting(format!("and {times} more, the last one: {why}")),
        times,
        ..by(&Caller::default(), what, AuditKind::Refusal, arguments)
    }
}

fn by(caller: &Caller, what: &str, kind: AuditKind, arguments: Vec<(&'static str, String)>) -> v1::AuditEntry {
    let arguments = arguments.into_iter().take(limits::AUDIT_ARGUMENTS);
    v1::AuditEntry {
        kind: kind.into(),
        who: who(caller.principal.as_deref()),
        origin: caller.from.map(origin).unwrap_or_default(),
        what: what.to_owned(),
        arguments: arguments
            .map(|(name, value)| v1::AuditArgument { name: name.to_owned(), value: fitting(value) })
            .collect(),
        times: 1,
        ..v1::AuditEntry::default()
    }
}

/// Where somebody is; some are known by their address alone.
fn origin(from: SocketAddr) -> String {
    if from.port() == 0 { from.ip().to_string() } else { from.to_string() }
}

/// A caller's name; empty: he proved none.
pub(super) fn who(principal: Option<&Principal>) -> String {
    principal.map(ToString::to_string).unwrap_or_default()
}

/// A text as it is kept: one line that moves no cursor, cut where it is too long.
pub(super) fn fitting(text: String) -> String {
    const CUT: &str = "...";
    let mut text = holdfast_output::visible(&text).into_owned();
    if text.len() > limits::AUDIT_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(limits::AUDIT_TEXT_BYTES.saturating_sub(CUT.len())));
        text.push_str(CUT);
    }
    text
}

/// The line of the log. Its fields keep their names: programs read them. See docs/audit.md.
pub(super) fn say(entry: &v1::AuditEntry, home: Option<(StoreId, &str)>) {
    let arguments: serde_json::Map<_, _> = entry
        .arguments
        .iter()
        .map(|argument| (argument.name.clone(), serde_json::Value::from(argument.value.as_str())))
        .collect();
    tracing::info!(
        target: super::TARGET,
        kind = kind_word(entry.kind()),
        at_ms = Timestamp::compared(entry.at).ms(),
        number = entry.number,
        store = home.map(|(store, _)| store.0),
        site = home.map(|(_, site)| site),
        who = entry.who,
        origin = entry.origin,
        what = entry.what,
        arguments = %serde_json::Value::from(arguments),
        result = result_word(entry.result()),
        why = entry.why,
        times = entry.times,
        "{}",
        entry.what
    );
}

/// The word for a kind.
pub(super) fn kind_word(kind: AuditKind) -> &'static str {
    match kind {
        AuditKind::Refusal => "refusal",
        AuditKind::Act => "act",
        AuditKind::Trust => "trust",
        AuditKind::Unspecified => "other",
    }
}

/// The word for an ending.
pub(super) fn result_word(result: AuditResult) -> &'static str {
    match result {
        AuditResult::Done => "done",
        AuditResult::Refused => "refused",
        AuditResult::Unknown => "unknown",
        AuditResult::Unspecified => "other",
    }
}

#[cfg(test)]
mod tests {
    use holdfast_proto::convert::audit::{decode_entry, encode_entry};

    use super::*;

    #[test]
    fn what_others_said_is_cut_and_moves_no_cursor() {
        let hostile = "\u{1b}[2J\n".repeat(10_000);
        let arguments = (0..100).map(|_| ("key", hostile.clone())).collect();
        let refusal = Refusal { what: "right", caller: Caller::default(), why: hostile.clone(), arguments };
        let entry = v1::AuditEntry { site: "a".into(), ..refusal.entry() };
        assert!(entry.why.ends_with("...") && entry.why.len() <= limits::AUDIT_TEXT_BYTES);
        assert!(!entry.why.chars().any(char::is_control));
        let bytes = encode_entry(&entry);
        assert_eq!(decode_entry(&bytes).unwrap().arguments.len(), limits::AUDIT_ARGUMENTS, "any store can read it");
    }
}

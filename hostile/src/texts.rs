//! Texts that people write or are sent: statements of the shell over rows that anybody may have written, and fleet files.

use bytes::Bytes;
use holdfast_k8s::fleet::validate;
use holdfast_k8s::render::render;
use holdfast_shell::Names;
use holdfast_shell::backend::StoredRow;
use holdfast_shell::lang::ast::{Filter, Output, Scalar, Statement};
use holdfast_shell::lang::{complete, open_at_end, parse, split_statements};
use holdfast_shell::plan::{KeyPlan, RowView};
use holdfast_types::{Key, KeyspaceId, Timestamp, VersionedValue};

use crate::memory;
use crate::pieces::{self, Piece};

/// A piece with an odd tag is a row: its key begins with the tag, and the bytes are its value. Every other one is a script, whose conditions
/// are asked of all rows before it.
pub(crate) fn shell_texts(input: &[u8]) {
    let mut rows = Vec::new();
    for Piece { tag, bytes } in pieces::cut(input) {
        if tag & 1 == 1 {
            rows.push(row(tag, bytes));
        } else if let Ok(text) = std::str::from_utf8(&bytes) {
            script(text, &rows);
        }
    }
}

fn row(tag: u8, value: Bytes) -> StoredRow {
    let expires_at = (tag & 2 != 0).then_some(Timestamp::MAX);
    let key = Key::bound(KeyspaceId(1), &[tag, b'k']);
    StoredRow { key, value: VersionedValue { value, timestamp: Timestamp(u64::from(tag) << 40), expires_at } }
}

fn script(text: &str, rows: &[StoredRow]) {
    let _ = open_at_end(text);
    let names = Names { keyspaces: vec!["orders".into()], sites: vec!["east".into()] };
    let completion = complete(text, text.len(), &names);
    assert!(text.is_char_boundary(completion.start), "the word to be replaced begins with a letter");
    for piece in split_statements(text) {
        assert_eq!(text.get(piece.range.clone()), Some(piece.text), "a statement lies where it is said to lie");
        match memory::within(512, piece.text.len(), || parse(piece.text)) {
            Ok(statement) => ask(&statement, rows),
            Err(error) => drop(error.render(piece.text)),
        }
    }
}

fn ask(statement: &Statement, rows: &[StoredRow]) {
    let Statement::Select(select) = statement else { return };
    let plan = KeyPlan::of(select.filter.as_ref());
    for row in rows {
        let view = RowView::new(row, Timestamp::from_ms(1_700_000_000_000));
        if let Output::Rows(items) = &select.output {
            items.iter().for_each(|item| drop(value(&view, &item.what)));
        }
        let is_true = |filter: Option<&Filter>| filter.is_none_or(|filter| view.fulfils(filter) == Some(true));
        let is_planned = plan.keys.contains(row.key.user_key()) && is_true(plan.residual.as_ref());
        assert_eq!(is_planned, is_true(select.filter.as_ref()), "a plan finds what the condition says");
    }
}

fn value(view: &RowView<'_>, scalar: &Scalar) -> String {
    let _ = view.is_null(scalar);
    view.value(scalar).to_string()
}

/// The whole input is a fleet file. What is valid can be rendered.
pub(crate) fn fleet_files(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let report = memory::within(1_024, text.len(), || validate(text));
    report.findings.iter().for_each(|finding| drop(finding.to_string()));
    if let Some(fleet) = &report.fleet {
        assert_eq!(render(fleet).len(), fleet.sites.len());
    }
}

//! The guard of a file that sees raw numbers, and attributes that would undo it.

use std::collections::BTreeSet;

use proc_macro2::TokenStream;
use syn::visit::Visit;
use syn::{AttrStyle, Attribute, Meta};

use super::code::{asks_for_tests, metas};
use super::offences::Offence;

/// The first lines of code of a file that sees raw numbers. Its tests may fail on them.
pub(super) const GUARD: &str = "#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]
";

/// Lints, and groups of lints that have them among theirs, that nothing in a guarded file may be freed from. The last one is the
/// workspace's: bits of a raw number are not lost either.
const KEPT: &[&str] = &[
    "clippy::arithmetic_side_effects",
    "clippy::indexing_slicing",
    "clippy::panic",
    "clippy::unwrap_used",
    "clippy::restriction",
    "clippy::all",
    "warnings",
    "clippy::pedantic",
    "clippy::cast_possible_truncation",
];

/// True when the file as a whole denies what [`GUARD`] does. A comment or a text that looks like it does not count.
pub(super) fn is_guarded(file: &syn::File) -> bool {
    let wanted = lints_of(&syn::parse_file(GUARD).expect("the guard is Rust").attrs);
    lints_of(&file.attrs).is_superset(&wanted)
}

/// What inner attributes deny outside of tests.
fn lints_of(attributes: &[Attribute]) -> BTreeSet<String> {
    let inner = attributes.iter().filter(|attribute| matches!(attribute.style, AttrStyle::Inner(_)));
    let conditional = inner.filter_map(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg_attr") => Some(metas(&list.tokens)),
        _ => None,
    });
    conditional
        .filter(|parts| parts.first().is_some_and(is_outside_of_tests))
        .flat_map(|parts| parts.into_iter().skip(1))
        .filter_map(|part| match part {
            Meta::List(list) if list.path.is_ident("deny") || list.path.is_ident("forbid") => Some(names(&list.tokens)),
            _ => None,
        })
        .flatten()
        .collect()
}

fn is_outside_of_tests(condition: &Meta) -> bool {
    let Meta::List(list) = condition else { return false };
    let inner = metas(&list.tokens);
    list.path.is_ident("not") && inner.len() == 1 && inner.iter().all(|meta| meta.path().is_ident("test"))
}

/// The lints that a list names, with their tool.
fn names(tokens: &TokenStream) -> Vec<String> {
    let name = |meta: Meta| match meta {
        Meta::Path(path) => {
            Some(path.segments.iter().map(|part| part.ident.to_string()).collect::<Vec<_>>().join("::"))
        }
        _ => None,
    };
    metas(tokens).into_iter().filter_map(name).collect()
}

/// What undoes the guard for a part of the file.
pub(super) fn undone(file: &syn::File) -> Vec<Offence> {
    let mut looking = Looking(Vec::new());
    looking.visit_file(file);
    looking.0
}

struct Looking(Vec<Offence>);

impl Visit<'_> for Looking {
    fn visit_attribute(&mut self, attribute: &Attribute) {
        for lint in lifted(&attribute.meta) {
            let line = attribute.pound_token.spans[0].start().line;
            self.0.push(Offence {
                line,
                says: format!("{lint} is let through where raw numbers are: bound them instead"),
            });
        }
    }
}

/// The lints that an attribute lets through.
fn lifted(meta: &Meta) -> Vec<String> {
    let Meta::List(list) = meta else { return Vec::new() };
    if list.path.is_ident("cfg_attr") {
        let parts = metas(&list.tokens);
        if parts.first().is_some_and(asks_for_tests) {
            return Vec::new();
        }
        return parts.iter().skip(1).flat_map(lifted).collect();
    }
    let lifts = ["allow", "expect", "warn"].iter().any(|word| list.path.is_ident(word));
    let named = if lifts { names(&list.tokens) } else { Vec::new() };
    named.into_iter().filter(|name| KEPT.contains(&name.as_str())).collect()
}

//! A file as a syntax tree without its tests, and what the searches have in common.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Block, Expr, ImplItem, Item, Meta, Stmt, Token, UseTree};

/// The tree of a file without its tests.
pub(super) fn parse(text: &str) -> Result<syn::File, String> {
    let mut file = syn::parse_file(text).map_err(|error| error.to_string())?;
    leave_tests_out(&mut file.items);
    Ok(file)
}

fn leave_tests_out(items: &mut Vec<Item>) {
    items.retain(|item| !is_for_tests(attributes(item)));
    for item in items {
        match item {
            Item::Mod(module) => {
                if let Some((_, inner)) = &mut module.content {
                    leave_tests_out(inner);
                }
            }
            Item::Impl(block) => block.items.retain(|item| match item {
                ImplItem::Fn(function) => !is_for_tests(&function.attrs),
                ImplItem::Const(constant) => !is_for_tests(&constant.attrs),
                _ => true,
            }),
            _ => {}
        }
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// True when what carries these attributes is compiled for tests only.
pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.segments.last().is_some_and(|last| last.ident == "test"),
        Meta::List(list) => list.path.is_ident("cfg") && list.parse_args().is_ok_and(|meta| asks_for_tests(&meta)),
        Meta::NameValue(_) => false,
    })
}

/// True of a condition that holds in tests only: `test`, or `all` of it and others.
pub(super) fn asks_for_tests(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => list.path.is_ident("all") && metas(&list.tokens).iter().any(asks_for_tests),
        Meta::NameValue(_) => false,
    }
}

/// The parts of an attribute; none when they are of another form.
pub(super) fn metas(tokens: &TokenStream) -> Vec<Meta> {
    let parts = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(tokens.clone());
    parts.map(|parts| parts.into_iter().collect()).unwrap_or_default()
}

/// What a macro is given, as far as it is made of expressions or statements.
pub(super) fn given(tokens: &TokenStream) -> Option<Vec<Stmt>> {
    let as_expressions =
        |parts: Punctuated<Expr, Token![,]>| parts.into_iter().map(|part| Stmt::Expr(part, None)).collect();
    let expressions = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(tokens.clone()).map(as_expressions);
    expressions.or_else(|_| Block::parse_within.parse2(tokens.clone())).ok()
}

/// Every path that a `use` brings in, as the names in it, with the name that it gets here; of a glob the path before it.
pub(super) fn imports(tree: &UseTree) -> Vec<(Vec<String>, Option<String>)> {
    fn walk(tree: &UseTree, before: &[String], found: &mut Vec<(Vec<String>, Option<String>)>) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => walk(&path.tree, &with(&path.ident), found),
            UseTree::Name(name) => found.push((with(&name.ident), Some(name.ident.to_string()))),
            UseTree::Rename(new) => found.push((with(&new.ident), Some(new.rename.to_string()))),
            UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, before, found)),
            _ => found.push((before.to_vec(), None)),
        }
    }
    let mut found = Vec::new();
    walk(tree, &[], &mut found);
    found
}

/// Calls `look` with the tokens of every group, outer ones first: whoever looks sees neighbours as neighbours.
pub(super) fn each_group(tokens: &TokenStream, look: &mut impl FnMut(Delimiter, &[TokenTree])) {
    fn walk(delimiter: Delimiter, tokens: &TokenStream, look: &mut impl FnMut(Delimiter, &[TokenTree])) {
        let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
        look(delimiter, &tokens);
        for token in &tokens {
            if let TokenTree::Group(group) = token {
                walk(group.delimiter(), &group.stream(), look);
            }
        }
    }
    walk(Delimiter::None, tokens, look);
}

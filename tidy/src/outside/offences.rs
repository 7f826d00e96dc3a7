//! What code may not do where raw numbers are, beyond what clippy refuses there.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{
    BinOp, Expr, ExprAssign, ExprCall, ExprIndex, ExprMacro, ExprMethodCall, ExprPath, ExprReference, ExprStruct, Item,
    ItemImpl, Macro, Member, Pat, Path, Token, Type,
};

use super::code::{each_group, given, imports};
use super::raw::reads_a_number;

/// One thing that may not be done here.
#[derive(Debug)]
pub(super) struct Offence {
    /// Where.
    pub(super) line: usize,
    /// What it is, and what to do.
    pub(super) says: String,
}

/// The newtypes that have a bound. Of [`Moment`](../../../types/src/time.rs) every value is legal.
const BOUNDED: &[&str] = &[
    "StoreId",
    "RangeId",
    "ReplicaId",
    "Term",
    "LogIndex",
    "Incarnation",
    "Generation",
    "Slot",
    "Sequence",
    "LogCounter",
    "Timestamp",
    "RangeEpoch",
];
/// Macros that panic.
const ASSERTIONS: &[&str] = &[
    "assert",
    "assert_eq",
    "assert_ne",
    "assert_matches",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "debug_assert_matches",
    "panic",
    "unreachable",
    "todo",
    "unimplemented",
];
/// Functions that panic when there is nothing, and one that asserts its arguments.
const UNWRAPS: &[&str] = &["unwrap", "expect", "unwrap_err", "expect_err", "unwrap_unchecked", "made_by"];
/// Functions that compute and overflow, of which clippy takes no notice.
const SUMS: &[&str] = &[
    "sum",
    "product",
    "neg",
    "pow",
    "abs",
    "ilog",
    "ilog2",
    "ilog10",
    "next_power_of_two",
    "next_multiple_of",
    "div_ceil",
    "div_euclid",
    "rem_euclid",
    "from_secs_f32",
    "from_secs_f64",
    "mul_f32",
    "mul_f64",
    "div_f32",
    "div_f64",
];
/// The operators by their other names, as methods of one argument.
const OPERATORS: &[&str] = &[
    "add",
    "sub",
    "mul",
    "div",
    "rem",
    "shl",
    "shr",
    "add_assign",
    "sub_assign",
    "mul_assign",
    "div_assign",
    "rem_assign",
    "shl_assign",
    "shr_assign",
];
/// Functions that panic at places that are not there.
const PLACES: &[&str] = &[
    "split_at",
    "split_at_mut",
    "split_to",
    "split_off",
    "swap_remove",
    "copy_from_slice",
    "clone_from_slice",
    "copy_to_slice",
    "copy_to_bytes",
    "copy_within",
    "rotate_left",
    "rotate_right",
    "advance",
    "slice",
    "slice_ref",
    "replace_range",
    "get_unchecked",
    "get_unchecked_mut",
];
/// Functions that panic at steps of nothing.
const STEPS: &[&str] = &["chunks", "chunks_mut", "chunks_exact", "chunks_exact_mut", "rchunks", "windows", "step_by"];
/// Functions that take memory, and which of their arguments says how much.
const ROOM: &[(&str, usize)] = &[
    ("with_capacity", 0),
    ("with_capacity_and_hasher", 0),
    ("reserve", 0),
    ("reserve_exact", 0),
    ("resize", 0),
    ("resize_with", 0),
    ("repeat", 0),
    ("repeat_n", 1),
    ("zeroed", 0),
];

/// Names by which the files of the checkout call a bounded newtype, and modules that look like types.
#[derive(Default)]
pub(super) struct Aliases {
    newtypes: BTreeSet<String>,
    modules: BTreeSet<String>,
}

impl Aliases {
    /// Learns the other names that a file gives to them.
    pub(super) fn learn(&mut self, file: &syn::File) {
        Learning(self).visit_file(file);
    }

    fn is_newtype(&self, name: &str) -> bool {
        BOUNDED.contains(&name) || self.newtypes.contains(name)
    }

    /// True of the constructor of a bounded newtype, however it is reached. `To::StoreId` is a variant of a message.
    fn is_constructor(&self, names: &[String]) -> bool {
        let Some((name, before)) = names.split_last() else { return false };
        let is_module = |name: &String| !name.starts_with(|c: char| c.is_uppercase()) || self.modules.contains(name);
        self.is_newtype(name) && before.last().is_none_or(is_module)
    }
}

struct Learning<'a>(&'a mut Aliases);

impl<'ast> Visit<'ast> for Learning<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Use(item) => {
                for (path, name) in imports(&item.tree) {
                    let (Some(old), Some(new)) = (path.last(), name) else { continue };
                    if BOUNDED.contains(&old.as_str()) && *old != new && new != "_" {
                        self.0.newtypes.insert(new);
                    } else if old.starts_with(|c: char| c.is_lowercase()) && new.starts_with(|c: char| c.is_uppercase())
                    {
                        self.0.modules.insert(new);
                    }
                }
            }
            Item::Type(alias) if last_name(&alias.ty).is_some_and(|name| BOUNDED.contains(&name.as_str())) => {
                self.0.newtypes.insert(alias.ident.to_string());
            }
            _ => visit::visit_item(self, item),
        }
    }
}

fn last_name(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) if !is_message(&path.path) => path.path.segments.last().map(|part| part.ident.to_string()),
        Type::Paren(inner) => last_name(&inner.elem),
        Type::Group(inner) => last_name(&inner.elem),
        _ => None,
    }
}

/// True of a generated message, which may be called as the newtype is that is made of it.
fn is_message(path: &Path) -> bool {
    path.segments.iter().rev().nth(1).is_some_and(|module| module.ident == "v1")
}

fn names(path: &Path) -> Vec<String> {
    path.segments.iter().map(|part| part.ident.to_string()).collect()
}

/// Everything that a file may not do. Of one without the guard, only what it makes of raw numbers is looked at.
pub(super) fn find(file: &syn::File, aliases: &Aliases, is_guarded: bool) -> Vec<Offence> {
    let mut looking = Looking { aliases, is_guarded, of_newtype: false, found: Vec::new() };
    looking.visit_file(file);
    looking.found
}

struct Looking<'a> {
    aliases: &'a Aliases,
    is_guarded: bool,
    /// `Self` is a bounded newtype here.
    of_newtype: bool,
    found: Vec<Offence>,
}

impl Looking<'_> {
    fn say(&mut self, at: Span, says: String) {
        self.found.push(Offence { line: at.start().line, says });
    }

    fn say_if_guarded(&mut self, at: Span, says: String) {
        if self.is_guarded {
            self.say(at, says);
        }
    }

    fn made(&mut self, at: Span, name: &str) {
        self.say(at, format!("{name} made of a raw number: use {name}::bounded"));
    }

    fn is_constructor(&self, names: &[String]) -> bool {
        self.aliases.is_constructor(names)
            || (self.of_newtype && names.len() == 1 && names.iter().all(|name| name == "Self"))
    }

    /// A function of a path that is called with these arguments, or handed on.
    fn used_by_path(&mut self, path: &Path, arguments: Option<&[&Expr]>) {
        // It makes new bytes, where the method of slices wants as many as there are.
        if let [.., of, "copy_from_slice"] = names(path).iter().map(String::as_str).collect::<Vec<_>>()[..]
            && of == "Bytes"
        {
            return;
        }
        if let Some(last) = path.segments.last() {
            self.used(last.ident.span(), &last.ident.to_string(), arguments);
        }
    }

    /// A function that is called with these arguments, or named without any.
    fn used(&mut self, at: Span, name: &str, arguments: Option<&[&Expr]>) {
        if UNWRAPS.contains(&name) || name.starts_with("strict_") {
            self.say_if_guarded(at, format!("`{name}` where raw numbers are: refuse the message instead"));
        } else if SUMS.contains(&name) || OPERATORS.contains(&name) {
            self.say_if_guarded(
                at,
                format!("`{name}` of raw numbers: bound them first, or use a checked or saturating one"),
            );
        } else if PLACES.contains(&name) || (STEPS.contains(&name) && !are_constant(arguments)) {
            self.say_if_guarded(at, format!("`{name}` panics where raw numbers are: use one that returns an Option"));
        } else if reads_a_number(name) && name.starts_with("get_") {
            self.say_if_guarded(at, format!("`{name}` panics when bytes are missing: use `try_{name}`"));
        } else if let Some((_, which)) = ROOM.iter().find(|(room, _)| *room == name) {
            let is_held = arguments.is_some_and(|given| given.get(*which).is_none_or(|amount| is_held(amount)));
            if !is_held {
                self.say_if_guarded(
                    at,
                    format!("`{name}` of a raw number: take room for what is there, or up to a limit"),
                );
            }
        }
    }

    fn indexed(&mut self, at: Span) {
        self.say_if_guarded(at, "an index where raw numbers are: use `get`".to_owned());
    }

    /// What a macro is given that is no list of expressions and no statements: `select!`, `macro_rules!`, sentences for the log.
    fn tokens(&mut self, tokens: &TokenStream) {
        each_group(tokens, &mut |_, tokens| {
            for at in 0..tokens.len() {
                self.token(tokens, at);
            }
        });
    }

    fn token(&mut self, tokens: &[TokenTree], at: usize) {
        let behind = tokens.get(at + 1);
        let before = at.checked_sub(1).map(|before| &tokens[before]);
        match &tokens[at] {
            TokenTree::Ident(ident) => {
                let (name, called) = (ident.to_string(), parenthesised(behind));
                let arguments = called.map(|inside| Punctuated::<Expr, Token![,]>::parse_terminated.parse2(inside));
                let arguments =
                    arguments.map(|parsed| parsed.map(|list| list.into_iter().collect()).unwrap_or_default());
                if self.aliases.is_constructor(&path_before(tokens, at)) {
                    let is_alone = tokens.len() == 1;
                    let of_constants = arguments
                        .as_ref()
                        .is_some_and(|list: &Vec<Expr>| !list.is_empty() && list.iter().all(is_constant));
                    if (arguments.is_some() && !of_constants) || is_alone {
                        self.made(ident.span(), &name);
                    }
                } else if ASSERTIONS.contains(&name.as_str()) && is_punct(behind, '!') {
                    self.asserted(ident.span(), &name);
                } else if (is_punct(before, '.') || is_punct(before, ':'))
                    && (called_at(behind) || is_punct(behind, ':'))
                {
                    let given: Vec<&Expr> = arguments.iter().flatten().collect();
                    self.used(ident.span(), &name, Some(&given));
                }
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                let is_value = match before {
                    Some(TokenTree::Ident(ident)) => !is_keyword(&ident.to_string()),
                    Some(TokenTree::Group(group)) => group.delimiter() != Delimiter::Brace,
                    _ => false,
                };
                if is_value && group.stream().to_string() != ".." {
                    self.indexed(group.span());
                }
            }
            _ => {}
        }
    }

    fn asserted(&mut self, at: Span, name: &str) {
        self.say_if_guarded(at, format!("`{name}!` where raw numbers are: refuse the message instead"));
    }

    /// `matches!` is given an expression, a pattern, and perhaps a condition.
    fn matched(&mut self, tokens: &TokenStream) {
        let parts = |input: syn::parse::ParseStream<'_>| {
            let value: Expr = input.parse()?;
            input.parse::<Token![,]>()?;
            Pat::parse_multi_with_leading_vert(input)?;
            let condition = input.parse::<Option<Token![if]>>()?.map(|_| input.parse::<Expr>()).transpose()?;
            input.parse::<Option<Token![,]>>()?;
            Ok((value, condition))
        };
        match parts.parse2(tokens.clone()) {
            Ok((value, condition)) => {
                self.visit_expr(&value);
                condition.iter().for_each(|condition| self.visit_expr(condition));
            }
            Err(_) => self.tokens(tokens),
        }
    }

    fn repeated(&mut self, at: Span, tokens: &TokenStream) -> bool {
        let parts = |input: syn::parse::ParseStream<'_>| {
            let one: Expr = input.parse()?;
            input.parse::<Token![;]>()?;
            Ok((one, input.parse::<Expr>()?))
        };
        let Ok((one, many)) = parts.parse2(tokens.clone()) else { return false };
        if !is_held(&many) {
            self.say_if_guarded(at, "`vec!` of a raw number: take room for what is there, or up to a limit".to_owned());
        }
        self.visit_expr(&one);
        self.visit_expr(&many);
        true
    }
}

impl<'ast> Visit<'ast> for Looking<'_> {
    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        let outer = self.of_newtype;
        self.of_newtype = last_name(&block.self_ty).is_some_and(|name| self.aliases.is_newtype(&name));
        visit::visit_item_impl(self, block);
        self.of_newtype = outer;
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        let arguments: Vec<&Expr> = call.args.iter().collect();
        match call.func.as_ref() {
            Expr::Path(called) if called.qself.is_none() && self.is_constructor(&names(&called.path)) => {
                if !arguments.iter().all(|given| is_constant(given)) {
                    self.visit_expr_path(called);
                }
            }
            Expr::Path(called) if called.path.segments.len() > 1 || called.qself.is_some() => {
                self.used_by_path(&called.path, Some(&arguments));
            }
            other => self.visit_expr(other),
        }
        arguments.into_iter().for_each(|given| self.visit_expr(given));
    }

    /// A function, or a constructor, that is handed on: `map(StoreId)`.
    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        let Some(last) = path.path.segments.last() else { return };
        if path.qself.is_none() && self.is_constructor(&names(&path.path)) {
            self.made(last.ident.span(), &last.ident.to_string());
        } else if path.path.segments.len() > 1 || path.qself.is_some() {
            self.used_by_path(&path.path, None);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        let (name, arguments) = (call.method.to_string(), call.args.iter().collect::<Vec<_>>());
        // With other arguments it is a method of something of ours.
        let takes_one = OPERATORS.contains(&name.as_str()) || name.starts_with("split_at");
        if !takes_one || arguments.len() == 1 {
            self.used(call.method.span(), &name, Some(&arguments));
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_struct(&mut self, made: &'ast ExprStruct) {
        let is_ours = self.is_constructor(&names(&made.path)) && !is_message(&made.path);
        if is_ours
            && !made.fields.iter().all(|field| is_constant(&field.expr))
            && let Some(last) = made.path.segments.last()
        {
            self.made(last.ident.span(), &last.ident.to_string());
        }
        visit::visit_expr_struct(self, made);
    }

    /// What is in a newtype is not put there from outside either.
    fn visit_expr_assign(&mut self, assigned: &'ast ExprAssign) {
        if is_inside(&assigned.left) && !is_constant(&assigned.right) {
            self.say_if_guarded(
                assigned.eq_token.span,
                "a field without a name is set: make a new value by `bounded`".to_owned(),
            );
        }
        visit::visit_expr_assign(self, assigned);
    }

    fn visit_expr_reference(&mut self, reference: &'ast ExprReference) {
        if reference.mutability.is_some() && is_inside(&reference.expr) {
            self.say_if_guarded(
                reference.and_token.span,
                "a field without a name is lent to be set: make a new value by `bounded`".to_owned(),
            );
        }
        visit::visit_expr_reference(self, reference);
    }

    fn visit_expr_index(&mut self, index: &'ast ExprIndex) {
        let is_whole =
            matches!(index.index.as_ref(), Expr::Range(range) if range.start.is_none() && range.end.is_none());
        if !is_whole {
            self.indexed(index.bracket_token.span.open());
        }
        visit::visit_expr_index(self, index);
    }

    fn visit_expr_macro(&mut self, called: &'ast ExprMacro) {
        self.visit_macro(&called.mac);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        let Some(last) = called.path.segments.last() else { return };
        let name = last.ident.to_string();
        if ASSERTIONS.contains(&name.as_str()) {
            self.asserted(last.ident.span(), &name);
            return;
        }
        if name == "matches" {
            return self.matched(&called.tokens);
        }
        if name == "vec" && self.repeated(last.ident.span(), &called.tokens) {
            return;
        }
        match given(&called.tokens) {
            Some(parts) => parts.iter().for_each(|part| self.visit_stmt(part)),
            None => self.tokens(&called.tokens),
        }
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

/// True of literals, named constants, and what is computed of them. What an integer can hold at most bounds nothing.
fn is_constant(value: &Expr) -> bool {
    match value {
        Expr::Lit(_) => true,
        Expr::Paren(inner) => is_constant(&inner.expr),
        Expr::Group(inner) => is_constant(&inner.expr),
        Expr::Unary(inner) => is_constant(&inner.expr),
        Expr::Cast(inner) => is_constant(&inner.expr),
        Expr::Reference(inner) => inner.mutability.is_none() && is_constant(&inner.expr),
        Expr::Binary(sum) => is_constant(&sum.left) && is_constant(&sum.right),
        Expr::Path(path) => is_named_constant(&path.path),
        _ => false,
    }
}

fn are_constant(arguments: Option<&[&Expr]>) -> bool {
    arguments.is_some_and(|given| given.iter().all(|given| is_constant(given)))
}

fn is_named_constant(path: &Path) -> bool {
    let names = names(path);
    let is_integer = names.first().is_some_and(|first| first.len() > 1 && first.starts_with(['u', 'i']));
    let is_loud = |name: &String| {
        name.len() > 1 && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    names.last().is_some_and(is_loud) && !(names.len() == 2 && is_integer)
}

/// True of an amount that is a constant, at most one, or the length of what is in memory already.
fn is_held(amount: &Expr) -> bool {
    match amount {
        Expr::Paren(inner) => is_held(&inner.expr),
        Expr::Group(inner) => is_held(&inner.expr),
        Expr::Cast(inner) => is_held(&inner.expr),
        Expr::Binary(sum) => match sum.op {
            BinOp::Add(_) => is_held(&sum.left) && is_held(&sum.right),
            BinOp::Sub(_) | BinOp::Div(_) | BinOp::Rem(_) => is_held(&sum.left),
            BinOp::Mul(_) => {
                (is_held(&sum.left) && is_constant(&sum.right)) || (is_constant(&sum.left) && is_held(&sum.right))
            }
            _ => is_constant(amount),
        },
        Expr::MethodCall(call) => match call.method.to_string().as_str() {
            "len" | "encoded_len" | "remaining" => true,
            "min" => is_held(&call.receiver) || call.args.iter().any(is_held),
            "max" | "saturating_add" => is_held(&call.receiver) && call.args.iter().all(is_held),
            "saturating_sub" => is_held(&call.receiver),
            "saturating_mul" => is_held(&call.receiver) && call.args.iter().all(is_constant),
            _ => false,
        },
        other => is_constant(other),
    }
}

/// True of a field that has a number for its name.
fn is_inside(place: &Expr) -> bool {
    match place {
        Expr::Field(field) => matches!(field.member, Member::Unnamed(_)),
        Expr::Paren(inner) => is_inside(&inner.expr),
        _ => false,
    }
}

fn is_keyword(word: &str) -> bool {
    ["in", "return", "mut", "else", "match", "if", "let", "as", "const", "ref", "break", "move", "dyn", "impl"]
        .contains(&word)
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn called_at(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis)
}

fn parenthesised(token: Option<&TokenTree>) -> Option<TokenStream> {
    match token {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => Some(group.stream()),
        _ => None,
    }
}

/// The names of the path that ends with the name at a place.
fn path_before(tokens: &[TokenTree], at: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut next = Some(at);
    while let Some(TokenTree::Ident(ident)) = next.map(|at| &tokens[at]) {
        names.insert(0, ident.to_string());
        let colon =
            |back: usize| next.and_then(|at| at.checked_sub(back)).is_some_and(|at| is_punct(Some(&tokens[at]), ':'));
        next = if colon(1) && colon(2) { next.and_then(|at| at.checked_sub(3)) } else { None };
    }
    names
}

//! Which files see raw numbers.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ExprMethodCall, ItemUse, Macro, Path};

use super::code::{each_group, imports};

/// Names of what turns bytes or text into numbers.
const READERS: &[&str] = &[
    "from_be_bytes",
    "from_le_bytes",
    "from_ne_bytes",
    "from_str_radix",
    "decode_varint",
    "as_u64",
    "as_i64",
    "as_f64",
    "Deserialize",
    "DeserializeOwned",
];
/// What names of readers of single numbers begin with, before the type of the number.
const READS: &[&str] = &["get_", "try_get_", "read_"];

/// True when code of the file names a generated message, or reads numbers from bytes or text.
pub(super) fn sees_raw(file: &syn::File) -> bool {
    let mut looking = Looking::default();
    looking.visit_file(file);
    looking.sees_raw
}

/// True of a function that reads a number from bytes.
pub(super) fn reads_a_number(name: &str) -> bool {
    let is_type = |rest: &str| {
        let rest = rest.trim_end_matches("_le").trim_end_matches("_ne");
        let width = rest.strip_prefix(['u', 'i', 'f']);
        ["uint", "int", "varint"].contains(&rest) || width.is_some_and(|bits| bits.parse::<u16>().is_ok())
    };
    READS.iter().any(|begin| name.strip_prefix(begin).is_some_and(is_type))
}

#[derive(Default)]
struct Looking {
    sees_raw: bool,
    /// `v1` is a module of somebody else's here.
    v1_is_foreign: bool,
    /// Messages and entries of raft that are known by their own name here.
    of_raft: Vec<String>,
}

impl Looking {
    fn name(&mut self, name: &str) {
        self.sees_raw |= READERS.contains(&name) || reads_a_number(name);
    }

    fn path(&mut self, names: &[String]) {
        let at = names.iter().position(|name| name == "v1");
        // Kubernetes calls its own so. A path that only ends there is an import, by which the module is told from ours.
        let is_foreign =
            |at: usize| names[..at].iter().any(|name| name == "k8s_openapi") || (at == 0 && self.v1_is_foreign);
        self.sees_raw |= at.is_some_and(|at| !is_foreign(at));
        // Whoever has a message of raft may have it from the gate; whoever decodes one has it from outside.
        if let [.., of, "decode"] = names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            self.sees_raw |= names.iter().any(|name| name == "eraftpb") || self.of_raft.iter().any(|known| known == of);
        }
        names.iter().for_each(|name| self.name(name));
    }

    fn tokens(&mut self, tokens: &TokenStream) {
        each_group(tokens, &mut |_, tokens| {
            for (at, token) in tokens.iter().enumerate() {
                let TokenTree::Ident(ident) = token else { continue };
                let leads_on = matches!(tokens.get(at + 1), Some(TokenTree::Punct(colon)) if colon.as_char() == ':');
                match ident.to_string().as_str() {
                    "v1" if leads_on && !self.v1_is_foreign => self.sees_raw = true,
                    name => self.name(name),
                }
            }
        });
    }
}

impl<'ast> Visit<'ast> for Looking {
    fn visit_file(&mut self, file: &'ast syn::File) {
        let imported = file.items.iter().filter_map(|item| match item {
            syn::Item::Use(item) => Some(imports(&item.tree)),
            _ => None,
        });
        for (path, name) in imported.flatten() {
            let comes_by = |module: &str| path.iter().any(|part| part == module);
            self.v1_is_foreign |= comes_by("k8s_openapi") && name.as_deref() == Some("v1");
            self.of_raft.extend(name.filter(|_| comes_by("eraftpb")));
        }
        visit::visit_file(self, file);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        imports(&item.tree).iter().for_each(|(path, _)| self.path(path));
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let names: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.path(&names);
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.name(&call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.tokens(&list.tokens);
        }
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.path(&called.path.segments.iter().map(|part| part.ident.to_string()).collect::<Vec<_>>());
        self.tokens(&called.tokens);
    }
}

//! `docs/api.md`: the public API as its `.proto` files and their comments tell it. Checked here, written by `make fix`.

use crate::Problem;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Where the document is.
const DOCUMENT: &str = "docs/api.md";
/// The files of the public API, in the order of the document. The others are between stores, or on disk.
const PUBLIC: [&str; 7] = ["kv", "fleet", "admin", "audit", "rights", "trust", "common"];
/// What every name in them begins with.
const PACKAGE: &str = ".holdfast.v1.";

const INTRODUCTION: &str = "\
# API reference

The public gRPC API of every store, package `holdfast.v1`, generated from the `.proto` files in `proto/proto/holdfast/v1` (`make fix`
writes this page, `make verify` compares it). What a client does with it is in [client-protocol.md](client-protocol.md).

Every store serves all of it on its client port, with the standard services `grpc.health.v1.Health` and `grpc.reflection.v1.ServerReflection` (also
as `v1alpha`).
";

/// Numbers of fields in the descriptors of descriptors, which make the paths of comments.
mod part {
    pub(super) const SYNTAX_OF_FILE: i32 = 12;
    pub(super) const MESSAGE_OF_FILE: i32 = 4;
    pub(super) const ENUM_OF_FILE: i32 = 5;
    pub(super) const SERVICE_OF_FILE: i32 = 6;
    pub(super) const FIELD_OF_MESSAGE: i32 = 2;
    pub(super) const VALUE_OF_ENUM: i32 = 2;
    pub(super) const METHOD_OF_SERVICE: i32 = 2;
}

/// Compares the document with what the files say.
pub(crate) fn check(root: &Path) -> Result<Vec<Problem>, String> {
    let wanted = document(root)?;
    let found = std::fs::read_to_string(root.join(DOCUMENT)).unwrap_or_default();
    Ok(difference(&found, &wanted).into_iter().collect())
}

fn difference(found: &str, wanted: &str) -> Option<Problem> {
    if found == wanted {
        return None;
    }
    let same = found.lines().zip(wanted.lines()).take_while(|(found, wanted)| found == wanted).count();
    Some(format!("{DOCUMENT}:{}: is not what the .proto files say: `make fix` writes it", same + 1))
}

/// The document, from the files.
pub(crate) fn document(root: &Path) -> Result<String, String> {
    let files = read(root)?;
    let mut out = INTRODUCTION.to_owned();
    out.push_str("\n| service | method | kind | what it does |\n|---|---|---|---|\n");
    for file in &files {
        file.overview(&mut out);
    }
    for file in &files {
        file.print(&mut out);
    }
    Ok(out)
}

/// Has protoc read the files; it knows the language better than we.
fn read(root: &Path) -> Result<Vec<File>, String> {
    let names: Vec<String> = PUBLIC.iter().map(|name| format!("holdfast/v1/{name}.proto")).collect();
    let output = Command::new("protoc")
        .args(["--proto_path=proto/proto", "--include_source_info", "--descriptor_set_out=/dev/stdout"])
        .args(&names)
        .current_dir(root)
        .output()
        .map_err(|e| format!("protoc: {e}: `make deps` installs it"))?;
    if !output.status.success() {
        return Err(format!("protoc: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let set = FileDescriptorSet::decode(&output.stdout[..]).map_err(|e| format!("protoc: {e}"))?;
    let mut files: BTreeMap<String, File> =
        set.file.into_iter().map(|file| (file.name().to_owned(), File::new(file))).collect();
    names.iter().map(|name| files.remove(name).ok_or_else(|| format!("protoc left {name} out"))).collect()
}

/// One `.proto` file with its comments by path.
struct File {
    descriptor: FileDescriptorProto,
    comments: BTreeMap<Vec<i32>, String>,
}

impl File {
    fn new(mut descriptor: FileDescriptorProto) -> Self {
        let info = descriptor.source_code_info.take().unwrap_or_default();
        let comments = info.location.into_iter().filter_map(|place| {
            let comment = place.leading_comments?;
            let lines = comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
            Some((place.path, lines.collect::<Vec<_>>().join("\n").trim().to_owned()))
        });
        Self { comments: comments.collect(), descriptor }
    }

    fn comment(&self, path: &[i32]) -> &str {
        self.comments.get(path).map_or("", String::as_str)
    }

    fn overview(&self, out: &mut String) {
        for (at, service) in numbered(&self.descriptor.service) {
            for (place, method) in numbered(&service.method) {
                let comment = self.comment(&[part::SERVICE_OF_FILE, at, part::METHOD_OF_SERVICE, place]);
                let (service, name) = (service.name(), method.name());
                let link = format!("[{name}](#{})", anchor(&format!("{service}.{name}")));
                line(out, format!("| {service} | {link} | {} | {} |", kind(method), cell(first_sentence(comment))));
            }
        }
    }

    fn print(&self, out: &mut String) {
        line(out, format!("\n## {}\n\n{}", self.descriptor.name(), self.comment(&[part::SYNTAX_OF_FILE])));
        for (at, service) in numbered(&self.descriptor.service) {
            self.print_service(at, service, out);
        }
        for (at, message) in numbered(&self.descriptor.message_type) {
            self.print_message(at, message, out);
        }
        for (at, choice) in numbered(&self.descriptor.enum_type) {
            self.print_enum(at, choice, out);
        }
    }

    fn print_service(&self, at: i32, service: &ServiceDescriptorProto, out: &mut String) {
        let comment = self.comment(&[part::SERVICE_OF_FILE, at]);
        line(out, format!("\n### Service {}\n\n{comment}", service.name()));
        for (place, method) in numbered(&service.method) {
            let comment = self.comment(&[part::SERVICE_OF_FILE, at, part::METHOD_OF_SERVICE, place]);
            let (input, output) = (link(method.input_type()), link(method.output_type()));
            line(out, format!("\n#### {}.{}\n\n{}: {input} → {output}", service.name(), method.name(), kind(method)));
            line(out, format!("\n{comment}"));
        }
    }

    fn print_message(&self, at: i32, message: &DescriptorProto, out: &mut String) {
        let comment = self.comment(&[part::MESSAGE_OF_FILE, at]);
        line(out, format!("\n### {}\n\n{comment}", message.name()));
        if !message.field.is_empty() {
            line(out, "\n| number | field | type | meaning |\n|---|---|---|---|".to_owned());
        }
        for (place, field) in numbered(&message.field) {
            let comment = self.comment(&[part::MESSAGE_OF_FILE, at, part::FIELD_OF_MESSAGE, place]);
            let (number, name) = (field.number(), field.name());
            line(out, format!("| {number} | `{name}` | {} | {} |", type_of(message, field), cell(comment)));
        }
    }

    fn print_enum(&self, at: i32, choice: &EnumDescriptorProto, out: &mut String) {
        let comment = self.comment(&[part::ENUM_OF_FILE, at]);
        line(out, format!("\n### {}\n\n{comment}\n\n| number | value | meaning |\n|---|---|---|", choice.name()));
        for (place, value) in numbered(&choice.value) {
            let comment = self.comment(&[part::ENUM_OF_FILE, at, part::VALUE_OF_ENUM, place]);
            line(out, format!("| {} | `{}` | {} |", value.number(), value.name(), cell(comment)));
        }
    }
}

fn line(out: &mut String, text: String) {
    writeln!(out, "{text}").expect("a string takes everything");
}

fn numbered<T>(parts: &[T]) -> impl Iterator<Item = (i32, &T)> {
    (0..).zip(parts)
}

fn kind(method: &MethodDescriptorProto) -> &'static str {
    match (method.client_streaming(), method.server_streaming()) {
        (false, false) => "unary",
        (false, true) => "stream of answers",
        (true, false) => "stream of requests",
        (true, true) => "streams both ways",
    }
}

fn type_of(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let of_one = match field.r#type() {
        Type::Message | Type::Enum => link(field.type_name()),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let choice = field.oneof_index.filter(|_| !field.proto3_optional());
    let choice = choice.and_then(|at| message.oneof_decl.get(usize::try_from(at).ok()?));
    match choice {
        Some(choice) => format!("{of_one}, one of `{}`", choice.name()),
        None if field.label() == Label::Repeated => format!("repeated {of_one}"),
        None if field.proto3_optional() => format!("optional {of_one}"),
        None => of_one,
    }
}

fn link(full_name: &str) -> String {
    let name = full_name.strip_prefix(PACKAGE).unwrap_or(full_name);
    format!("[{name}](#{})", anchor(name))
}

/// The anchor that a heading gets: lowercase, without punctuation.
fn anchor(heading: &str) -> String {
    heading.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

fn first_sentence(text: &str) -> &str {
    let end = text.match_indices('.').find(|(at, _)| text[at + 1..].starts_with([' ', '\n']));
    end.map_or(text, |(at, _)| &text[..=at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::OneofDescriptorProto;

    #[test]
    fn a_difference_is_told_by_its_first_line() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        assert!(difference("a\nb\n", "a\nc\n").unwrap().starts_with("docs/api.md:2:"));
        assert!(difference("", "a\n").unwrap().starts_with("docs/api.md:1:"));
    }

    #[test]
    fn types_say_repeated_optional_and_one_of() {
        let message = DescriptorProto {
            oneof_decl: vec![OneofDescriptorProto { name: Some("reason".into()), options: None }],
            ..DescriptorProto::default()
        };
        let field =
            |r#type: Type| FieldDescriptorProto { r#type: Some(r#type.into()), ..FieldDescriptorProto::default() };
        assert_eq!(type_of(&message, &field(Type::Fixed64)), "fixed64");
        let optional = FieldDescriptorProto { oneof_index: Some(0), proto3_optional: Some(true), ..field(Type::Bytes) };
        assert_eq!(type_of(&message, &optional), "optional bytes");
        let repeated = FieldDescriptorProto { label: Some(Label::Repeated.into()), ..field(Type::Bytes) };
        assert_eq!(type_of(&message, &repeated), "repeated bytes");
        let chosen = FieldDescriptorProto {
            oneof_index: Some(0),
            type_name: Some(".holdfast.v1.Busy".into()),
            ..field(Type::Message)
        };
        assert_eq!(type_of(&message, &chosen), "[Busy](#busy), one of `reason`");
    }

    #[test]
    fn the_first_sentence_ends_at_a_dot_and_a_space() {
        assert_eq!(first_sentence("Reads 1.5 keys. And more."), "Reads 1.5 keys.");
        assert_eq!(first_sentence("No end"), "No end");
    }
}

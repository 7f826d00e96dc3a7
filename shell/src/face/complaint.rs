//! Errors as people see them: what is wrong, where, and what to do.

use crate::ShellError;
use crate::lang::{LangError, Span};

/// Where a statement comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    /// The file, if it is one: errors then name it and the line.
    pub(super) file: Option<String>,
    /// The line, from 1, that the statement begins on.
    pub(super) line: u64,
    /// What stands before the statement on its line.
    pub(super) before: String,
}

impl Origin {
    /// A statement that was typed, or given as an argument.
    pub(super) fn typed() -> Self {
        Self { file: None, line: 1, before: String::new() }
    }
}

/// The whole text of an error: with the place in the file for scripts.
pub(super) fn render(error: &ShellError, statement: &str, origin: &Origin) -> String {
    let Some(file) = &origin.file else { return error.render(statement) };
    match error {
        ShellError::Language(error) => render_in_file(error, statement, file, origin),
        other => {
            let text = other.render(statement);
            match text.split_once('\n') {
                Some((first, rest)) => format!("{first}\n --> {file}:{}\n{rest}", origin.line),
                None => text,
            }
        }
    }
}

/// Draws the place as if the statement stood alone in its file, so that lines and columns are those of the file.
fn render_in_file(error: &LangError, statement: &str, file: &str, origin: &Origin) -> String {
    let lines_before = usize::try_from(origin.line.saturating_sub(1)).unwrap_or(0);
    let source = format!("{}{}{statement}", "\n".repeat(lines_before), origin.before);
    let shift = lines_before + origin.before.len();
    let span = Span::new(error.span.start + shift, error.span.end + shift);
    let error = LangError { span, ..error.clone() };
    let (line, column) = error.position(&source);
    let drawn = error.render(&source);
    drawn.replacen(&format!("--> line {line}, column {column}"), &format!("--> {file}:{line}:{column}"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(file: Option<&str>, line: u64, before: &str) -> Origin {
        Origin { file: file.map(ToOwned::to_owned), line, before: before.to_owned() }
    }

    #[test]
    fn errors_of_a_script_name_the_line_and_column_of_the_file() {
        let error = ShellError::Language(LangError::new(Span::new(9, 12), "no column kye").hint("did you mean key?"));
        let drawn = render(&error, "SELECT\n  kye", &origin(Some("a.sql"), 7, "x; "));
        assert_eq!(drawn, "error: no column kye\n --> a.sql:8:3\n8 |   kye\n  |   ^^^\nhint: did you mean key?\n");
        let first_line = ShellError::Language(LangError::new(Span::new(0, 6), "no"));
        let drawn = render(&first_line, "SELEKT 1", &origin(Some("a.sql"), 7, "x; "));
        assert_eq!(drawn, "error: no\n --> a.sql:7:4\n7 | x; SELEKT 1\n  |    ^^^^^^\n");
    }

    #[test]
    fn errors_of_the_fleet_name_the_line_of_the_statement() {
        let error = ShellError::Refused { message: "it exists".into(), hint: Some("UPSERT".into()) };
        let drawn = render(&error, "INSERT", &origin(Some("a.sql"), 7, ""));
        assert_eq!(drawn, "error: it exists\n --> a.sql:7\nhint: UPSERT\n");
        assert_eq!(render(&error, "INSERT", &Origin::typed()), "error: it exists\nhint: UPSERT\n");
    }
}

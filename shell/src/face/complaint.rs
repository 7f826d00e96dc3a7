//! Errors as people see them: what is wrong, where, and what to do.

use crate::ShellError;
use crate::lang::Start;

/// Where a statement comes from.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Origin {
    /// The file, if it is one: errors then name it and the line.
    pub(super) file: Option<String>,
    /// Where in what was typed, given as an argument, or read.
    pub(super) start: Start,
}

/// The whole text of an error: with the place in the file for scripts.
pub(super) fn render(error: &ShellError, statement: &str, origin: &Origin) -> String {
    let Origin { file, start } = origin;
    match (error, file) {
        (ShellError::Language(error), Some(file)) => error.render_in(statement, start, Some(file)),
        (other, Some(file)) => {
            let text = other.render(statement);
            match text.split_once('\n') {
                Some((first, rest)) => format!("{first}\n --> {file}:{}\n{rest}", start.line),
                None => text,
            }
        }
        (other, None) => other.render(statement),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::{LangError, Span};
    use crate::steps;

    fn origin(line: u64, before: &str) -> Origin {
        let start = Start { line, column: before.len(), before: before.to_owned() };
        Origin { file: Some("a.sql".to_owned()), start }
    }

    #[test]
    fn errors_of_a_script_name_the_line_and_column_of_the_file() {
        let error = ShellError::Language(LangError::new(Span::new(9, 12), "no column kye").hint("did you mean key?"));
        let drawn = render(&error, "SELECT\n  kye", &origin(7, "x; "));
        assert_eq!(drawn, "error: no column kye\n --> a.sql:8:3\n8 |   kye\n  |   ^^^\nhint: did you mean key?\n");
        let first_line = ShellError::Language(LangError::new(Span::new(0, 6), "no"));
        let drawn = render(&first_line, "SELEKT 1", &origin(7, "x; "));
        assert_eq!(drawn, "error: no\n --> a.sql:7:4\n7 | x; SELEKT 1\n  |    ^^^^^^\n");
    }

    #[test]
    fn errors_of_the_fleet_name_the_line_of_the_statement() {
        let error = ShellError::Refused { message: "it exists".into(), hint: Some("UPSERT".into()) };
        let drawn = render(&error, "INSERT", &origin(7, ""));
        assert_eq!(drawn, "error: it exists\n --> a.sql:7\nhint: UPSERT\n");
        assert_eq!(render(&error, "INSERT", &Origin::default()), "error: it exists\nhint: UPSERT\n");
    }

    #[test]
    fn an_error_costs_the_same_on_every_line_of_a_script() {
        let error = ShellError::Language(LangError::new(Span::new(7, 8), "no"));
        let draw = |line: u64| drop(render(&error, "SELECT x", &origin(line, "x; ")));
        steps::grows_linearly("errors on every line", |lines| lines as u64, |lines| (1..=lines).for_each(draw));
    }
}

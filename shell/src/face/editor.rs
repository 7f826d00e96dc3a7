//! The line editor: history, completion, colours. It blocks its thread while somebody types.

use std::borrow::Cow;
use std::path::PathBuf;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Behavior, CompletionType, Config, Context, Editor, Helper};

use super::format::Format;
use super::{help, highlight, history, meta};
use crate::lang::{Names, complete};

/// What came from the keyboard.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Typed {
    /// A line, or several that were pasted.
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D, or the terminal is gone.
    End,
}

/// The editor, with the history of earlier sessions.
pub(super) struct LineEditor {
    editor: Editor<Assistant, FileHistory>,
    history: Option<PathBuf>,
}

impl LineEditor {
    pub(super) fn open(history: Option<PathBuf>, is_coloured: bool) -> Result<Self, String> {
        let failed = |error: ReadlineError| format!("the terminal cannot be used: {error}");
        let config = Config::builder()
            .max_history_size(history::MAX_ENTRIES)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(failed)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .behavior(Behavior::PreferTerm)
            .build();
        let mut editor = Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(Assistant { names: Names::default(), before: String::new(), is_coloured }));
        if let Some(file) = &history {
            history::make_folder(file);
            // None yet, or not readable: the session begins without.
            let _ = editor.load_history(file);
        }
        Ok(Self { editor, history })
    }

    /// Reads a line. `before`: what was typed of the statement so far, which is lent to the assistant.
    pub(super) fn read(&mut self, prompt: &str, before: &mut String) -> Typed {
        self.swap_before(before);
        let read = self.editor.readline(prompt);
        self.swap_before(before);
        match read {
            Ok(line) => Typed::Line(line),
            Err(ReadlineError::Interrupted) => Typed::Interrupt,
            Err(_) => Typed::End,
        }
    }

    fn swap_before(&mut self, before: &mut String) {
        if let Some(assistant) = self.editor.helper_mut() {
            std::mem::swap(before, &mut assistant.before);
        }
    }

    /// Keeps a statement or a command for later.
    pub(super) fn remember(&mut self, text: &str) {
        let added = self.editor.add_history_entry(text.trim_end()).unwrap_or(false);
        if let (true, Some(file)) = (added, &self.history) {
            // A history that cannot be written is no reason to stop working.
            let _ = self.editor.append_history(file);
        }
    }

    /// The names that completion offers from now on.
    pub(super) fn know(&mut self, names: Names) {
        if let Some(assistant) = self.editor.helper_mut() {
            assistant.names = names;
        }
    }
}

/// What the editor asks while somebody types.
struct Assistant {
    names: Names,
    /// The lines of the statement that were typed before this one.
    before: String,
    is_coloured: bool,
}

/// What may stand at the cursor, and where it begins in the line.
fn candidates(before: &str, line: &str, cursor: usize, names: &Names) -> (usize, Vec<String>) {
    let line_before = &line[..cursor];
    if before.trim().is_empty() && line_before.trim_start().starts_with('\\') {
        return meta_candidates(line_before, names);
    }
    let text = format!("{before}{line_before}");
    let completion = complete(&text, text.len(), names);
    let Some(start) = completion.start.checked_sub(before.len()) else { return (cursor, Vec::new()) };
    (start, completion.candidates)
}

fn meta_candidates(line: &str, names: &Names) -> (usize, Vec<String>) {
    let Some((name, argument)) = line.trim_start().split_once(char::is_whitespace) else {
        let start = line.len() - line.trim_start().len();
        return (start, begin_with(line.trim_start(), meta::NAMES.iter().copied()));
    };
    let start = line.len() - argument.len();
    let found = match name {
        "\\d" => begin_with(argument, names.keyspaces.iter().map(String::as_str)),
        "\\h" => begin_with(argument, help::statement_names()),
        "\\?" => begin_with(argument, help::topic_names()),
        "\\format" => begin_with(argument, Format::NAMES.iter().map(|(name, _)| *name)),
        "\\timing" | "\\pager" => begin_with(argument, ["on", "off"].into_iter()),
        _ => Vec::new(),
    };
    (start, found)
}

fn begin_with<'a>(typed: &str, all: impl Iterator<Item = &'a str>) -> Vec<String> {
    let typed = typed.to_lowercase();
    all.filter(|name| name.to_lowercase().starts_with(&typed)).map(ToOwned::to_owned).collect()
}

impl Helper for Assistant {}
impl Validator for Assistant {}

impl Hinter for Assistant {
    type Hint = String;
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, mut found) = candidates(&self.before, line, pos, &self.names);
        // A word that nothing else can follow is whole: go on behind it.
        if let [only] = found.as_mut_slice() {
            let pair = Pair { display: only.clone(), replacement: format!("{only} ") };
            return Ok((start, vec![pair]));
        }
        Ok((start, found.into_iter().map(|text| Pair { display: text.clone(), replacement: text }).collect()))
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.is_coloured { highlight::highlight(line, !self.before.trim().is_empty()) } else { Cow::Borrowed(line) }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.is_coloured && kind != CmdKind::MoveCursor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(before: &str, line: &str) -> (usize, Vec<String>) {
        let names = Names { keyspaces: vec!["default".into(), "orders".into()], sites: vec!["site-a".into()] };
        candidates(before, line, line.len(), &names)
    }

    #[test]
    fn statements_are_completed_over_the_lines_that_they_take() {
        assert_eq!(offered("", "sel"), (0, vec!["select".into()]));
        assert_eq!(offered("SELECT *\n", "FROM o"), (5, vec!["orders".into()]));
        assert_eq!(offered("SELECT 'a\n", "sel").1, Vec::<String>::new());
    }

    #[test]
    fn commands_of_the_shell_are_completed_with_their_arguments() {
        assert_eq!(offered("", "\\ti"), (0, vec!["\\timing".into()]));
        assert_eq!(offered("", "\\d or"), (3, vec!["orders".into()]));
        assert_eq!(offered("", "\\format js"), (8, vec!["json".into(), "jsonl".into()]));
        assert_eq!(offered("", "\\h mov").1, ["MOVE LEADER"]);
        assert_eq!(offered("", "\\? key").1, ["keys", "keyspaces"]);
        assert_eq!(offered("", "\\pager o").1, ["on", "off"]);
    }
}

//! Somebody types: prompts, lines that make a statement, the history.

use std::collections::VecDeque;

use super::connection;
use super::editor::{LineEditor, Typed};
use super::pieces::{Collector, Kind};
use super::runner::{Outcome, Runner};
use super::{history, meta, runner, terminal};
use crate::lang::Open;

const PROMPT: &str = "holdfast> ";

/// Talks until the user leaves.
pub(super) async fn converse(runner: &mut Runner) -> Outcome {
    let variable = |name: &str| std::env::var(name).ok();
    let is_coloured = terminal::wants_colour(variable);
    let mut editor = match LineEditor::open(history::file(variable), is_coloured) {
        Ok(editor) => editor,
        Err(error) => {
            runner::complain(&format!("error: {error}\n"));
            return Outcome::Failed;
        }
    };
    let (sites, names) = runner.connection.look().await;
    editor.know(names);
    runner.has_new_names = false;
    if !runner.settings.is_quiet {
        runner.tell(&connection::banner(env!("CARGO_PKG_VERSION"), &sites));
    }
    let mut collector = Collector::default();
    loop {
        if runner.has_new_names {
            editor.know(runner.names().await);
            runner.has_new_names = false;
        }
        let prompt = prompt(&collector);
        let typed = tokio::task::block_in_place(|| editor.read(prompt, collector.pending_mut()));
        match typed {
            Typed::End => return Outcome::Quit,
            // The line is gone, and what was typed of the statement before it.
            Typed::Interrupt => collector = Collector::default(),
            Typed::Line(line) => {
                if take(runner, &mut editor, &mut collector, &line).await == Outcome::Quit {
                    return Outcome::Quit;
                }
            }
        }
    }
}

/// Takes one line, or several that were pasted, and carries out what is whole.
async fn take(runner: &mut Runner, editor: &mut LineEditor, collector: &mut Collector, typed: &str) -> Outcome {
    if collector.is_clear() {
        if meta::is_farewell(typed) {
            return Outcome::Quit;
        }
        if meta::is_cry_for_help(typed) {
            return runner.meta("\\?").await;
        }
    }
    // In the middle of a statement only these two are commands of the shell.
    if !collector.is_clear() && matches!(typed.trim(), "\\q" | "\\r") && collector.open().is_none() {
        *collector = Collector::default();
        return runner.meta(typed.trim()).await;
    }
    let mut found = VecDeque::new();
    for line in typed.strip_suffix('\n').unwrap_or(typed).split('\n') {
        collector.take_line(&format!("{line}\n"), &mut found);
    }
    for piece in &found {
        let end = if piece.kind == Kind::Statement { ";" } else { "" };
        editor.remember(&format!("{}{end}", piece.text));
    }
    while let Some(piece) = found.pop_front() {
        match runner.piece(&piece, None).await {
            Outcome::Done => {}
            Outcome::Quit => return Outcome::Quit,
            // What was pasted behind a statement that failed may rest on it.
            ended => {
                if !found.is_empty() {
                    runner::complain(&format!("{} not carried out.\n", left_out(found.len())));
                }
                return ended;
            }
        }
    }
    Outcome::Done
}

fn left_out(count: usize) -> String {
    if count == 1 { "The statement after it was".into() } else { format!("The {count} statements after it were") }
}

/// What is asked for: a statement, or the rest of one.
fn prompt(collector: &Collector) -> &'static str {
    match collector.open() {
        Some(Open::Quote) => "       '> ",
        Some(Open::Name) => "       \"> ",
        Some(Open::Comment) => "       *> ",
        None if collector.is_clear() => PROMPT,
        None => "       -> ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_says_what_is_still_open() {
        let prompt_behind = |typed: &str| {
            let mut collector = Collector::default();
            collector.take_line(typed, &mut VecDeque::new());
            prompt(&collector)
        };
        assert_eq!(["", "SELECT 1;\n", "-- x\n", "; /* x */\n"].map(prompt_behind), [PROMPT; 4]);
        assert_eq!(prompt_behind("SELECT *\n"), "       -> ");
        assert_eq!(prompt_behind("SELECT 'it\n"), "       '> ");
        assert_eq!(prompt_behind("/* SELECT\n"), "       *> ");
        let all = ["", "a", "'", "\"", "/*"].map(prompt_behind);
        assert!(all.iter().all(|prompt| prompt.len() == PROMPT.len()));
    }
}

//! What is known of the terminal, if there is one.

use std::io::IsTerminal;

use rustix::termios::tcgetwinsize;

/// The width and height that are reckoned with when the terminal does not say.
const USUAL: Size = Size { columns: 80, lines: 24 };

/// How large the terminal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) lines: usize,
}

/// Which of the three streams are terminals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Terminals {
    pub(super) input: bool,
    pub(super) output: bool,
    pub(super) errors: bool,
}

impl Terminals {
    pub(super) fn look() -> Self {
        Self {
            input: std::io::stdin().is_terminal(),
            output: holdfast_output::is_terminal(),
            errors: holdfast_output::errors_are_terminal(),
        }
    }
}

/// The size of the terminal that standard output is; asked each time, because people resize windows.
#[expect(clippy::disallowed_methods, reason = "nothing is written to it")]
pub(super) fn size() -> Size {
    let Ok(found) = tcgetwinsize(std::io::stdout()) else { return USUAL };
    let or_usual = |found: u16, usual: usize| if found == 0 { usual } else { usize::from(found) };
    Size { columns: or_usual(found.ws_col, USUAL.columns), lines: or_usual(found.ws_row, USUAL.lines) }
}

/// Colours are for terminals that take them, of people who want them (no-color.org).
pub(super) fn wants_colour(variable: impl Fn(&str) -> Option<String>) -> bool {
    let no_color = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = variable("TERM").is_some_and(|term| term == "dumb");
    !no_color && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_left_out_where_nobody_wants_them() {
        let with =
            |name: &'static str, value: &'static str| move |asked: &str| (asked == name).then(|| value.to_owned());
        assert!(wants_colour(|_| None));
        assert!(!wants_colour(with("NO_COLOR", "1")));
        assert!(wants_colour(with("NO_COLOR", "")));
        assert!(!wants_colour(with("TERM", "dumb")));
        assert!(wants_colour(with("TERM", "xterm-256color")));
    }
}

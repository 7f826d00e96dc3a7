//! How the shell behaves, by its arguments and as changed by its own commands.

use std::path::PathBuf;
use std::str::FromStr;

use holdfast_client::Security;

use super::format::Format;
use super::pager;
use super::terminal::Terminals;

/// What a script does when a statement fails.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OnError {
    /// Leaves the rest undone.
    #[default]
    Stop,
    /// Goes on with the next statement.
    Continue,
}

impl FromStr for OnError {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stop" => Ok(Self::Stop),
            "continue" => Ok(Self::Continue),
            _ => Err(format!("{text:?} is neither stop nor continue")),
        }
    }
}

/// Where statements come from.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Source {
    /// Standard input: typed if it is a terminal, else a script.
    #[default]
    Input,
    /// Given as arguments.
    Statements(Vec<String>),
    /// A file.
    File(PathBuf),
}

/// How a shell is started.
#[derive(Clone, Default, Debug)]
pub struct Options {
    /// Client addresses of stores.
    pub addresses: Vec<String>,
    /// How shell and stores prove to each other who they are.
    pub security: Security,
    /// Where statements come from.
    pub source: Source,
    /// `None`: a table on a terminal, else tsv.
    pub format: Option<Format>,
    /// What a script does when a statement fails.
    pub on_error: OnError,
    /// Shows each statement of a script before its result.
    pub echo: bool,
    /// Leaves out banner, notes and progress.
    pub quiet: bool,
    /// Shows how long each statement took.
    pub timing: bool,
    /// Never uses a pager.
    pub no_pager: bool,
    /// Columns that one cell of a table may take; 0: any. `None`: what fits the screen.
    pub width: Option<usize>,
}

/// How the shell behaves now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Settings {
    pub(super) format: Format,
    pub(super) on_error: OnError,
    pub(super) echo: bool,
    pub(super) is_quiet: bool,
    pub(super) timing: bool,
    pub(super) pager: bool,
    pub(super) width: Option<usize>,
    pub(super) terminals: Terminals,
    /// Somebody types.
    pub(super) is_interactive: bool,
}

impl Settings {
    pub(super) fn new(options: &Options, terminals: Terminals) -> Self {
        Self {
            format: options.format.unwrap_or_else(|| Format::usual(terminals.output)),
            on_error: options.on_error,
            echo: options.echo,
            is_quiet: options.quiet,
            timing: options.timing,
            pager: !options.no_pager,
            width: options.width,
            terminals,
            is_interactive: terminals.input && options.source == Source::Input,
        }
    }

    /// The pager that long results go through.
    pub(super) fn pager_command(&self) -> Option<String> {
        pager::command(self.pager, self.terminals.output, std::env::var("PAGER").ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Terminals = Terminals { input: false, output: false, errors: false };

    #[test]
    fn only_who_types_is_asked() {
        let typed = Terminals { input: true, ..NONE };
        assert!(Settings::new(&Options::default(), typed).is_interactive);
        assert!(!Settings::new(&Options::default(), NONE).is_interactive);
        let given = Options { source: Source::Statements(vec!["SHOW SITES".into()]), ..Options::default() };
        assert!(!Settings::new(&given, typed).is_interactive);
    }

    #[test]
    fn a_format_that_was_asked_for_wins() {
        let asked = Options { format: Some(Format::Json), ..Options::default() };
        assert_eq!(Settings::new(&asked, NONE).format, Format::Json);
        assert_eq!(Settings::new(&Options::default(), NONE).format, Format::Tsv);
        assert_eq!(Settings::new(&Options::default(), Terminals { output: true, ..NONE }).format, Format::Table);
    }
}

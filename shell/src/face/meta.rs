//! Commands of the shell itself: one line that begins with a backslash.

use holdfast_types::address::parse_address;

/// What a line asks of the shell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Meta {
    /// `\?`, `\? TOPIC`: help.
    Help(Option<String>),
    /// `\h`, `\h STATEMENT`: how a statement is written.
    Statement(Option<String>),
    /// `\q`: leaves.
    Quit,
    /// `\d`, `\d NAME`: keyspaces, or one of them.
    Describe(Option<String>),
    /// `\timing`, `\timing on|off`: shows how long statements take.
    Timing(Option<bool>),
    /// `\format`, `\format NAME`: shows or sets the format.
    Format(Option<String>),
    /// `\pager`, `\pager on|off`.
    Pager(Option<bool>),
    /// `\width`, `\width COLUMNS|auto`: where tables cut their cells.
    Width(Option<Width>),
    /// `\c ADDR...`: connects elsewhere; without an address: to the same stores again.
    Connect(Vec<String>),
    /// `\i FILE`: runs a script.
    Include(String),
    /// `\r`: forgets the statement that is being typed.
    Reset,
    /// `\echo TEXT`.
    Echo(String),
}

/// How wide the cells of tables may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Width {
    /// As the screen allows.
    Screen,
    /// So many columns; 0: any.
    Columns(usize),
}

impl Width {
    /// The columns; `None`: what fits the screen.
    pub(super) fn columns(self) -> Option<usize> {
        match self {
            Self::Screen => None,
            Self::Columns(columns) => Some(columns),
        }
    }
}

/// A line that the shell does not understand: what is wrong, and what to do.
pub(super) type Misunderstood = String;

/// Reads a line that begins with a backslash. A trailing `;` is habit and means nothing.
pub(super) fn parse(line: &str) -> Result<Meta, Misunderstood> {
    let line = line.trim().trim_end_matches(';').trim_end();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let argument = || (!rest.is_empty()).then(|| rest.to_owned());
    Ok(match name {
        "\\?" | "\\help" => Meta::Help(argument()),
        "\\h" => Meta::Statement(argument()),
        "\\q" | "\\quit" | "\\exit" => Meta::Quit,
        "\\d" | "\\dt" | "\\l" => Meta::Describe(argument()),
        "\\timing" => Meta::Timing(switch(name, rest)?),
        "\\format" => Meta::Format(argument()),
        "\\pager" => Meta::Pager(switch(name, rest)?),
        "\\width" if rest.is_empty() => Meta::Width(None),
        "\\width" if rest.eq_ignore_ascii_case("auto") => Meta::Width(Some(Width::Screen)),
        "\\width" => {
            let columns = rest.parse().map_err(|_| {
                format!("\\width takes a number of columns (0: no limit) or auto: \\width 40, not {rest:?}")
            })?;
            Meta::Width(Some(Width::Columns(columns)))
        }
        "\\c" | "\\connect" => {
            let written = rest.split(|c: char| c == ',' || c.is_whitespace()).filter(|address| !address.is_empty());
            Meta::Connect(written.map(parse_address).collect::<Result<_, _>>()?)
        }
        "\\i" if rest.is_empty() => return Err("\\i takes the name of a file: \\i setup.sql".into()),
        "\\i" => Meta::Include(rest.to_owned()),
        "\\r" | "\\reset" => Meta::Reset,
        "\\echo" => Meta::Echo(rest.to_owned()),
        _ => return Err(format!("{name} is not a command of the shell. \\? lists them")),
    })
}

fn switch(name: &str, rest: &str) -> Result<Option<bool>, Misunderstood> {
    match rest.to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "on" | "true" | "1" => Ok(Some(true)),
        "off" | "false" | "0" => Ok(Some(false)),
        _ => Err(format!("{name} takes on or off, not {rest:?}")),
    }
}

/// The commands that completion offers.
pub(super) const NAMES: &[&str] =
    &["\\?", "\\c", "\\d", "\\echo", "\\format", "\\h", "\\i", "\\pager", "\\q", "\\r", "\\timing", "\\width"];

/// Like `quit` without a backslash, which people type everywhere.
pub(super) fn is_farewell(line: &str) -> bool {
    matches!(line.trim().trim_end_matches(';').trim_end().to_ascii_lowercase().as_str(), "quit" | "exit")
}

/// Like `help` without a backslash.
pub(super) fn is_cry_for_help(line: &str) -> bool {
    matches!(line.trim().trim_end_matches(';').trim_end().to_ascii_lowercase().as_str(), "help" | "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_with_and_without_arguments() {
        assert_eq!(parse("\\q"), Ok(Meta::Quit));
        assert_eq!(parse("  \\q ; "), Ok(Meta::Quit));
        assert_eq!(parse("\\? keys"), Ok(Meta::Help(Some("keys".into()))));
        assert_eq!(parse("\\h select"), Ok(Meta::Statement(Some("select".into()))));
        assert_eq!(parse("\\timing"), Ok(Meta::Timing(None)));
        assert_eq!(parse("\\timing ON"), Ok(Meta::Timing(Some(true))));
        assert_eq!(parse("\\width 40"), Ok(Meta::Width(Some(Width::Columns(40)))));
        assert_eq!(parse("\\width AUTO"), Ok(Meta::Width(Some(Width::Screen))));
        assert_eq!(parse("\\c a:1, b:2"), Ok(Meta::Connect(vec!["a:1".into(), "b:2".into()])));
        assert_eq!(
            parse("\\c a\t[::1] http://b:2/"),
            Ok(Meta::Connect(["a:7300", "[::1]:7300", "b:2"].map(Into::into).into()))
        );
        assert_eq!(parse("\\i my file.sql"), Ok(Meta::Include("my file.sql".into())));
    }

    #[test]
    fn a_command_that_is_not_understood_says_what_to_do() {
        assert!(parse("\\x").unwrap_err().contains("\\? lists them"));
        assert!(parse("\\pager maybe").unwrap_err().contains("on or off"));
        assert!(parse("\\width wide").unwrap_err().contains("\\width 40"));
        assert!(parse("\\c https://a").unwrap_err().contains("--tls DIR"));
        assert!(parse("\\c a:0").unwrap_err().contains("HOST:PORT"));
        assert!(parse("\\i").unwrap_err().contains("\\i setup.sql"));
    }

    #[test]
    fn every_name_that_is_offered_is_understood() {
        for name in NAMES {
            assert!(parse(name).is_ok() || *name == "\\i", "{name}");
        }
    }

    #[test]
    fn words_of_other_shells_are_understood() {
        assert!(is_farewell("quit;") && is_farewell(" EXIT ") && !is_farewell("quite"));
        assert!(is_cry_for_help("help") && is_cry_for_help("?;"));
    }
}

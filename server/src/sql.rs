//! `holdfast sql`: the arguments of the shell. What it does is in `holdfast-shell`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueHint};
use holdfast_client::Security;
use holdfast_output::errln;
use holdfast_shell::face::{self, Ending, Format, OnError, Options, Source};

use crate::connecting::{ADDRESSES, Through, saying};

/// What stands below the options in the help of `holdfast sql`.
pub const HELP: &str = "\
On a terminal: statements end with ; and may take several lines, \\? helps, \\q leaves, Ctrl-C stops a statement.
Else: standard input is a script. Results go to standard output, everything else to standard error.

Examples:
  holdfast sql
  holdfast sql --connect 10.0.1.5:7300,10.0.2.5:7300
  holdfast sql -e \"SELECT * FROM default WHERE key LIKE 'app%' LIMIT 5\"
  holdfast sql -e 'SELECT COUNT(*) FROM default' -e 'SHOW STORES' --format table
  holdfast sql -e 'SELECT * FROM default' --format csv > all.csv
  holdfast sql --file setup.sql --on-error continue --echo

Formats: table (cut to fit, on a terminal), csv (RFC 4180), tsv (escaped, elsewhere), json (one array), jsonl (one object a line).
Bytes that are no text are base64:... in csv and tsv, which import --base64 reads back.

Files:
  ~/.local/share/holdfast/history    what was typed; HOLDFAST_HISTORY moves it, and switches it off when empty

Environment: HOLDFAST_AT (addresses), HOLDFAST_TLS, HOLDFAST_BEARER_FILE, HOLDFAST_HISTORY, PAGER (long results on a terminal; less -SFRX), NO_COLOR.

Exit codes:
  0    everything was done
  1    a statement failed, and standard error says why
  2    the command line was not understood
  3    no store could be reached, or trusted
  130  interrupted by Ctrl-C";

/// `holdfast sql`.
#[derive(Args, Debug, Clone)]
#[command(mut_arg(ADDRESSES, |at| {
    let at = saying("Client addresses of stores; one that answers is enough")(at);
    at.long("connect").short('c').visible_alias("at").value_name("HOST:PORT").num_args(1..)
}))]
pub struct SqlArgs {
    /// Where it goes
    #[command(flatten)]
    pub through: Through,
    /// Carry this out and leave; may be given several times, and may hold several statements
    #[arg(long, short = 'e', value_name = "STATEMENT", conflicts_with = "file")]
    pub execute: Vec<String>,
    /// Carry out a script and leave; - is standard input
    #[arg(long, short = 'f', value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// How results are written: table, csv, tsv, json or jsonl [default: table on a terminal, else tsv]
    #[arg(long, value_name = "FORMAT", value_parser = ["table", "csv", "tsv", "json", "jsonl"])]
    pub format: Option<String>,
    /// What a script does when a statement fails
    #[arg(long, value_name = "WHAT", default_value = "stop", value_parser = ["stop", "continue"])]
    pub on_error: String,
    /// Show each statement of a script before its result
    #[arg(long)]
    pub echo: bool,
    /// Show how long each statement took
    #[arg(long)]
    pub timing: bool,
    /// Leave out the greeting, notes and progress
    #[arg(long, short = 'q')]
    pub quiet: bool,
    /// Columns that one cell of a table may take; 0 cuts nothing [default: what fits the screen; 100 where there is none]
    #[arg(long, value_name = "COLUMNS")]
    pub width: Option<usize>,
    /// Never show long results through a pager
    #[arg(long)]
    pub no_pager: bool,
}

impl From<SqlArgs> for Options {
    fn from(args: SqlArgs) -> Self {
        let source = match (args.execute, args.file) {
            (statements, _) if !statements.is_empty() => Source::Statements(statements),
            (_, Some(file)) if file.as_os_str() != "-" => Source::File(file),
            _ => Source::Input,
        };
        // The parser of the command line let nothing else through.
        let format = args.format.map(|name| name.parse::<Format>().expect("a format that exists"));
        Self {
            addresses: args.through.at,
            security: Security::Plain,
            source,
            format,
            on_error: args.on_error.parse::<OnError>().expect("stop or continue"),
            echo: args.echo,
            quiet: args.quiet,
            timing: args.timing,
            no_pager: args.no_pager,
            width: args.width,
        }
    }
}

/// Runs the shell; the exit codes are its own.
pub async fn run(args: SqlArgs) -> ExitCode {
    let ending = match args.through.security() {
        Ok(security) => face::run(Options { security, ..args.into() }).await,
        Err(error) => {
            errln!("error: {error:#}");
            Ending::Unreachable
        }
    };
    ExitCode::from(ending.exit_code())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SqlArgs,
    }

    fn options(line: &[&str]) -> Options {
        Line::try_parse_from(std::iter::once(&"sql").chain(line)).unwrap().args.into()
    }

    #[test]
    fn arguments_say_where_statements_come_from() {
        assert_eq!(options(&[]).source, Source::Input);
        assert_eq!(options(&["-f", "-"]).source, Source::Input);
        assert_eq!(options(&["-f", "a.sql"]).source, Source::File("a.sql".into()));
        let several = options(&["-e", "SHOW SITES", "-e", "SHOW STORES"]).source;
        assert_eq!(several, Source::Statements(vec!["SHOW SITES".into(), "SHOW STORES".into()]));
        assert!(Line::try_parse_from(["sql", "-e", "a", "-f", "b"]).is_err());
    }

    #[test]
    fn addresses_are_given_in_one_piece_or_in_several() {
        for line in [
            &["--connect", "a:1,b:2"][..],
            &["--connect", "a:1", "b:2"],
            &["-c", "a:1", "-c", "b:2"],
            &["--at", "a:1,b:2"],
            &["--at", "http://a:1,b:2/"],
        ] {
            assert_eq!(options(line).addresses, ["a:1", "b:2"], "{line:?}");
        }
        assert_eq!(options(&["--at", "a"]).addresses, ["a:7300"]);
    }

    #[test]
    fn every_format_and_reaction_of_the_shell_can_be_asked_for() {
        for (name, format) in Format::NAMES {
            assert_eq!(options(&["--format", name]).format, Some(format));
        }
        assert_eq!(options(&["--on-error", "continue"]).on_error, OnError::Continue);
        assert_eq!(options(&[]).on_error, OnError::Stop);
        assert!(Line::try_parse_from(["sql", "--format", "xml"]).is_err());
    }
}

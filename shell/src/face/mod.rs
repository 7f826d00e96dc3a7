//! The face of the shell: what somebody sees who types `holdfast sql`, and what a script gets.
//!
//! - [`run`]: a whole session, from connecting to the exit code
//! - [`Options`], [`Source`], [`OnError`]: how it is started; [`Format`]: how results are written
//!
//! Inside, from the keyboard to the screen: `editor` and `interactive` read lines, `pieces` cuts them into statements, `meta` and
//! `help` are the commands of the shell, `runner` carries all of it out, `show` writes results in a `format` through the `pager`,
//! `progress` and `complaint` speak on standard error.

mod complaint;
mod connection;
mod editor;
mod format;
mod help;
mod highlight;
mod history;
mod interactive;
mod interrupt;
mod meta;
mod pager;
mod pieces;
mod progress;
mod runner;
mod settings;
mod show;
mod terminal;

use std::io::BufReader;

pub use self::format::Format;
pub use self::settings::{OnError, Options, Source};

use self::connection::Connection;
use self::runner::{Outcome, Runner};
use self::settings::Settings;
use self::terminal::Terminals;

/// How a session ended, as an exit code says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Everything was done.
    Done,
    /// A statement failed.
    Failed,
    /// No store could be reached.
    Unreachable,
    /// Ctrl-C.
    Interrupted,
    /// The reader of the output went away; the statements after that were not carried out.
    ReaderGone,
}

impl Ending {
    /// 0 done, 1 a statement failed, 3 no store could be reached, 130 interrupted, 141 the reader of the output went away. (2 is a command line that was not understood.)
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Unreachable => 3,
            Self::Interrupted => interrupt::INTERRUPTED,
            Self::ReaderGone => holdfast_output::READER_GONE,
        }
    }
}

/// Connects, carries out all statements, and says how it ended. Needs a runtime with several threads: one may block at a prompt.
pub async fn run(options: Options) -> Ending {
    let settings = Settings::new(&options, Terminals::look());
    // A script that is not there is noticed before anybody is asked for anything.
    let file = match &options.source {
        Source::File(path) => match std::fs::File::open(path) {
            Ok(file) => Some((file, path.display().to_string())),
            Err(error) => {
                runner::complain(&format!("error: cannot open {}: {error}\n", path.display()));
                return Ending::Failed;
            }
        },
        Source::Input | Source::Statements(_) => None,
    };
    let connection = match Connection::open(options.addresses, options.security).await {
        Ok(connection) => connection,
        Err(unreachable) => {
            runner::complain(&unreachable.render());
            return Ending::Unreachable;
        }
    };
    let mut runner = Runner::new(settings, connection);
    let outcome = match options.source {
        Source::Statements(statements) => run_all(&mut runner, &statements).await,
        Source::File(_) => match file {
            Some((file, name)) => runner.script(BufReader::new(file), Some(&name)).await,
            None => Outcome::Done,
        },
        Source::Input if runner.settings.is_interactive => interactive::converse(&mut runner).await,
        Source::Input => runner.script(std::io::stdin().lock(), Some("<stdin>")).await,
    };
    match outcome {
        Outcome::Done | Outcome::Quit => Ending::Done,
        Outcome::ReaderGone => Ending::ReaderGone,
        Outcome::Failed => Ending::Failed,
        Outcome::Interrupted => Ending::Interrupted,
    }
}

async fn run_all(runner: &mut Runner, statements: &[String]) -> Outcome {
    let mut all = Outcome::Done;
    for statement in statements {
        match runner.script(statement.as_bytes(), None).await {
            Outcome::Done => {}
            Outcome::Failed if runner.settings.on_error == OnError::Continue => all = Outcome::Failed,
            ended => return ended,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_told_apart() {
        let codes = [Ending::Done, Ending::Failed, Ending::Unreachable, Ending::Interrupted, Ending::ReaderGone];
        assert_eq!(codes.map(Ending::exit_code), [0, 1, 3, 130, 141]);
    }
}

//! Carries out statements and commands of the shell, one at a time, whoever they come from.

use std::io::{self, BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use holdfast_output::{Output, err};

use super::complaint::{self, Origin};
use super::connection::{self, Connection};
use super::format::Format;
use super::help;
use super::interrupt::Interrupts;
use super::meta::{self, Meta};
use super::pager::Destination;
use super::pieces::{Kind, Piece, Script};
use super::settings::{OnError, Settings};
use super::show::Show;
use super::terminal;
use crate::backend::BackendError;
use crate::lang::Names;
use crate::{Session, ShellError};

/// Scripts may run scripts, so deep.
const MAX_DEPTH: usize = 16;

/// How one statement, command or script ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// As it should.
    Done,
    /// It failed, and said why.
    Failed,
    /// Ctrl-C.
    Interrupted,
    /// Nobody reads the output any more.
    ReaderGone,
    /// The user wants to leave.
    Quit,
}

/// The shell at work.
pub(super) struct Runner {
    pub(super) settings: Settings,
    pub(super) connection: Connection,
    session: Session,
    interrupts: Interrupts,
    depth: usize,
    /// What completion knows may be out of date.
    pub(super) has_new_names: bool,
}

impl Runner {
    pub(super) fn new(settings: Settings, connection: Connection) -> Self {
        let session = Session::new(connection.backend.clone());
        let interrupts = Interrupts::listen(settings.is_interactive);
        Self { settings, connection, session, interrupts, depth: 0, has_new_names: true }
    }

    /// What completion offers, as the fleet has it now.
    pub(super) async fn names(&self) -> Names {
        self.session.names().await
    }

    /// Runs a script to its end, or to its first failure.
    pub(super) async fn script(&mut self, source: impl BufRead, file: Option<&str>) -> Outcome {
        let mut script = Script::new(source);
        let mut all = Outcome::Done;
        loop {
            let piece = match script.next_piece() {
                Ok(Some(piece)) => piece,
                Ok(None) => return all,
                Err(error) => {
                    complain(&format!("error: cannot read {}: {error}\n", file.unwrap_or("the script")));
                    return Outcome::Failed;
                }
            };
            match self.piece(&piece, file).await {
                Outcome::Done => {}
                Outcome::Failed if self.settings.on_error == OnError::Continue => all = Outcome::Failed,
                // A script leaves: what failed before is not forgotten.
                Outcome::Quit if all == Outcome::Failed => return Outcome::Failed,
                ended => return ended,
            }
        }
    }

    /// Carries out one piece of a script.
    pub(super) async fn piece(&mut self, piece: &Piece, file: Option<&str>) -> Outcome {
        if self.settings.echo {
            let needs_end = piece.kind == Kind::Statement && !piece.text.ends_with(';');
            let end = if needs_end { ";" } else { "" };
            if say(&format!("> {}{end}\n", piece.text)).is_err() {
                return Outcome::ReaderGone;
            }
        }
        match piece.kind {
            Kind::Meta => self.meta(&piece.text).await,
            Kind::Statement if meta::is_farewell(&piece.text) => Outcome::Quit,
            Kind::Statement => {
                let origin = Origin { file: file.map(ToOwned::to_owned), start: piece.start.clone() };
                self.statement(&piece.text, &origin).await
            }
        }
    }

    /// Carries out one statement and shows what it gives.
    pub(super) async fn statement(&mut self, text: &str, origin: &Origin) -> Outcome {
        let begun = Instant::now();
        let mut show = Show::begin(&self.settings);
        let running = self.interrupts.begin();
        let ended = self.session.execute(text, &mut show, &running.cancel).await;
        drop(running);
        let outcome = match ended {
            Ok(summary) => {
                self.has_new_names |= summary.verb.starts_with("CREATE");
                outcome_of(show.finish(&summary, &self.settings), self.settings.is_interactive)
            }
            Err(error) => {
                show.abandon();
                self.failed(&error, text, origin)
            }
        };
        if self.settings.timing && outcome == Outcome::Done {
            self.tell_time(begun.elapsed());
        }
        outcome
    }

    fn failed(&self, error: &ShellError, text: &str, origin: &Origin) -> Outcome {
        if let ShellError::Output(error) = error {
            return outcome_of(Err(io::Error::new(error.kind(), error.to_string())), self.settings.is_interactive);
        }
        complain(&complaint::render(error, text, origin));
        if matches!(error, ShellError::Fleet { source, .. } if is_silence(source)) {
            complain(&connection::lost_hint(&self.connection.addresses));
        }
        if matches!(error, ShellError::Cancelled { .. }) { Outcome::Interrupted } else { Outcome::Failed }
    }

    fn tell_time(&self, elapsed: Duration) {
        let line = format!("Time: {:.3} ms\n", elapsed.as_secs_f64() * 1_000.0);
        if self.settings.format.is_for_programs() {
            complain(&line);
        } else {
            // Who does not read the result does not miss the time either.
            let _ = say(&line);
        }
    }

    /// Carries out a command of the shell.
    pub(super) async fn meta(&mut self, line: &str) -> Outcome {
        let command = match meta::parse(line) {
            Ok(command) => command,
            Err(misunderstood) => return refuse(&misunderstood),
        };
        match command {
            Meta::Quit => Outcome::Quit,
            Meta::Reset => Outcome::Done,
            Meta::Help(None) => self.tell(&help::overview()),
            Meta::Help(Some(topic)) => self.tell_or_refuse(help::topic(&topic)),
            Meta::Statement(None) => self.tell(&help::statements()),
            Meta::Statement(Some(name)) => self.tell_or_refuse(help::statement(&name)),
            Meta::Echo(text) => outcome_of(say(&format!("{text}\n")), self.settings.is_interactive),
            Meta::Describe(None) => self.statement("SHOW KEYSPACES", &Origin::default()).await,
            Meta::Describe(Some(name)) => self.describe(&name).await,
            Meta::Timing(_) | Meta::Format(_) | Meta::Pager(_) | Meta::Width(_) => self.set(command),
            Meta::Connect(addresses) => self.connect(addresses).await,
            Meta::Include(file) => self.include(&file).await,
        }
    }

    fn set(&mut self, command: Meta) -> Outcome {
        let on_off = |is_on| if is_on { "on" } else { "off" };
        let now = match command {
            Meta::Timing(wanted) => {
                self.settings.timing = wanted.unwrap_or(!self.settings.timing);
                format!("Timing is {}.", on_off(self.settings.timing))
            }
            Meta::Pager(wanted) => {
                self.settings.pager = wanted.unwrap_or(!self.settings.pager);
                format!("The pager is {}.", on_off(self.settings.pager))
            }
            Meta::Format(Some(name)) => match name.parse::<Format>() {
                Ok(format) => {
                    self.settings.format = format;
                    format!("Results are written as {format}.")
                }
                Err(unknown) => return refuse(&unknown),
            },
            Meta::Width(Some(columns)) => {
                self.settings.width = columns.columns();
                width_said(self.settings.width)
            }
            Meta::Width(None) => width_said(self.settings.width),
            _ => format!("Results are written as {}.", self.settings.format),
        };
        // A script that sets something knows it; nothing but results goes to its output.
        if self.settings.is_interactive { self.tell(&format!("{now}\n")) } else { Outcome::Done }
    }

    /// The ranges of a keyspace. Its columns are those of all of them.
    async fn describe(&mut self, name: &str) -> Outcome {
        // As in a statement: what is not quoted is in small letters.
        let name = if name.starts_with('"') { name.trim_matches('"').to_owned() } else { name.to_lowercase() };
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        self.statement(&format!("SHOW RANGES FROM KEYSPACE {quoted}"), &Origin::default()).await
    }

    async fn connect(&mut self, addresses: Vec<String>) -> Outcome {
        let addresses = if addresses.is_empty() { self.connection.addresses.clone() } else { addresses };
        match Connection::open(addresses, self.connection.security.clone()).await {
            Ok(connection) => {
                self.session = Session::new(connection.backend.clone());
                self.connection = connection;
                self.has_new_names = true;
                if self.settings.is_interactive && !self.settings.is_quiet {
                    let (sites, _) = self.connection.look().await;
                    return self.tell(&connection::banner(env!("CARGO_PKG_VERSION"), &sites));
                }
                Outcome::Done
            }
            Err(unreachable) => {
                complain(&unreachable.render());
                complain("The connection that there was is kept.\n");
                Outcome::Failed
            }
        }
    }

    async fn include(&mut self, file: &str) -> Outcome {
        if self.depth >= MAX_DEPTH {
            return refuse(&format!("scripts that run scripts may be {MAX_DEPTH} deep"));
        }
        match std::fs::File::open(file) {
            Err(error) => refuse(&format!("cannot open {file}: {error}")),
            Ok(opened) => {
                self.depth += 1;
                let ended = Box::pin(self.script(BufReader::new(opened), Some(file))).await;
                self.depth -= 1;
                // \q in a script that is included ends that script.
                if ended == Outcome::Quit { Outcome::Done } else { ended }
            }
        }
    }

    fn tell_or_refuse(&self, text: Result<String, String>) -> Outcome {
        match text {
            Ok(text) => self.tell(&text),
            Err(unknown) => refuse(&unknown),
        }
    }

    /// Shows text for people, through the pager where it is long.
    pub(super) fn tell(&self, text: &str) -> Outcome {
        let pager = if self.settings.is_interactive { self.settings.pager_command() } else { None };
        let mut destination = Destination::new(Box::new(Output::new()), pager, terminal::size(), true);
        let written = destination.write_all(text.as_bytes()).and_then(|()| destination.finish());
        outcome_of(written, self.settings.is_interactive)
    }
}

fn width_said(width: Option<usize>) -> String {
    match width {
        None => "Tables are cut to fit the screen.".into(),
        Some(0) => "Nothing is cut.".into(),
        Some(columns) => format!("Cells of tables are cut at {columns} columns."),
    }
}

/// True when the fleet did not answer, so that other addresses might.
fn is_silence(error: &BackendError) -> bool {
    use holdfast_client::ClientError;
    use holdfast_client::admin::AdminError;
    match error {
        BackendError::Client(error) => {
            matches!(error, ClientError::Unreachable(_) | ClientError::DeadlineExceeded { .. } | ClientError::Closed)
        }
        BackendError::Admin(error) => matches!(error, AdminError::Unreachable(_)),
    }
}

fn outcome_of(written: io::Result<()>, is_interactive: bool) -> Outcome {
    match written {
        Ok(()) => Outcome::Done,
        // A pager that was left early is no end of the shell; a pipe that nobody reads is.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            if is_interactive {
                Outcome::Done
            } else {
                Outcome::ReaderGone
            }
        }
        Err(error) => {
            complain(&format!("error: cannot write the result: {error}\n"));
            Outcome::Failed
        }
    }
}

fn refuse(why: &str) -> Outcome {
    complain(&format!("error: {why}\n"));
    Outcome::Failed
}

/// To standard output.
fn say(text: &str) -> io::Result<()> {
    let mut out = Output::new();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// To standard error. Where that is closed there is nobody to tell.
pub(super) fn complain(text: &str) {
    err!("{text}");
}

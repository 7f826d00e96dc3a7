//! Standard output and standard error of every program of the workspace. Layer 0.
//!
//! Two things that `println!` does not do, so clippy keeps it and its relatives out (`print_stdout`, `print_stderr` in the root manifest), and
//! `std::io::stdout` and `stderr` too (`clippy.toml`):
//!
//! **Nothing panics when its reader is gone.** Rust ignores SIGPIPE, so `holdfast fleet status fleet.yaml | head` would end with a panic.
//!
//! - [`outln!`] and [`out!`] return [`Unwritten`] when nobody takes what is printed. A command passes that on with `?`, so that whatever it
//!   holds is let go of, and its `main` ends with the code of [`ending`]: [`READER_GONE`], and not a word.
//! - [`errln!`] and [`err!`] never fail: where standard error is closed there is nobody to tell.
//! - [`Lines`] prints from within what cannot stop at once, and says later that it could not.
//!
//! **Nothing that somebody wrote into a store takes a terminal over.** What goes to a terminal, and all of standard error, is escaped
//! ([`visible_lines`]). Standard output that is no terminal gets every byte as it is: it may be data. [`visible`] keeps a text within its line,
//! [`print_raw`] is for those who ask for bytes, [`redraw`] for a line that is written over.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod visible;

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{LazyLock, Mutex, PoisonError};

pub use self::visible::{readable, visible, visible_lines};

/// The exit code of a program whose reader went away: what a shell says of one that SIGPIPE ended (128 + 13), so that pipelines and
/// `pipefail` take it as they take every other program.
pub const READER_GONE: u8 = 141;

/// Standard output did not take what was printed.
#[derive(Debug)]
pub struct Unwritten(io::Error);

impl Unwritten {
    /// True when whoever read it has closed it, which is no error of anybody.
    #[must_use]
    pub fn is_reader_gone(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("writing to standard output")
    }
}

impl Error for Unwritten {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// The exit code of a program that ends with `error` because its reader went away, about which nothing is to be said. `None`: it is
/// another error.
#[must_use]
pub fn ending(error: &(dyn Error + 'static)) -> Option<u8> {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let mut unwritten = chain.filter_map(<dyn Error>::downcast_ref::<Unwritten>);
    unwritten.any(Unwritten::is_reader_gone).then_some(READER_GONE)
}

/// True when standard output is a terminal.
#[must_use]
pub fn is_terminal() -> bool {
    static TERMINAL: LazyLock<bool> = LazyLock::new(|| out().is_terminal());
    *TERMINAL
}

/// True when standard error is a terminal.
#[must_use]
pub fn errors_are_terminal() -> bool {
    errors().is_terminal()
}

#[expect(clippy::disallowed_methods, reason = "what is written to it is escaped here")]
fn out() -> io::Stdout {
    io::stdout()
}

#[expect(clippy::disallowed_methods, reason = "what is written to it is escaped here")]
fn errors() -> io::Stderr {
    io::stderr()
}

/// Prints to standard output, for [`out!`].
///
/// # Errors
/// When it is not taken.
pub fn print(text: fmt::Arguments<'_>) -> Result<(), Unwritten> {
    print_to(&mut Output::new(), text)
}

/// Prints a line to standard output, for [`outln!`].
///
/// # Errors
/// When it is not taken.
pub fn print_line(text: fmt::Arguments<'_>) -> Result<(), Unwritten> {
    print(format_args!("{text}\n"))
}

/// Prints bytes to standard output as they are, to a terminal too: for who asks for them, or knows that it is none.
///
/// # Errors
/// When they are not taken.
pub fn print_raw(bytes: &[u8]) -> Result<(), Unwritten> {
    let mut out = out().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Unwritten)
}

fn print_to(out: &mut dyn Write, text: fmt::Arguments<'_>) -> Result<(), Unwritten> {
    // In one piece, so that no character is cut in two. Flushed, because what is left over at the end of the process is lost without a word.
    out.write_all(text.to_string().as_bytes()).and_then(|()| out.flush()).map_err(Unwritten)
}

/// Standard output as a writer: escaped where it is a terminal. Each write must end with a whole character.
#[derive(Debug)]
pub struct Output {
    out: io::Stdout,
    is_terminal: bool,
}

impl Output {
    /// Standard output.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "there is one standard output")]
    pub fn new() -> Self {
        Self { out: out(), is_terminal: is_terminal() }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_terminal {
            self.out.write_all(visible_lines(&readable(bytes)).as_bytes())?;
        } else {
            self.out.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Prints to standard error, escaped, for [`err!`] and [`errln!`].
pub fn complain(text: fmt::Arguments<'_>) {
    // In one piece, because standard error has no buffer. Where it is closed there is nobody to tell.
    let _ = errors().write_all(visible_lines(&text.to_string()).as_bytes());
}

/// Writes the last line of a terminal at standard error over; with an empty text it is taken away. False: nobody takes it.
pub fn redraw(text: &str) -> bool {
    errors().write_all(format!("\r{}\x1b[K", visible(text)).as_bytes()).is_ok()
}

/// Prints to standard output. An error, to be passed on, when nobody takes it.
#[macro_export]
macro_rules! out {
    ($($text:tt)*) => { $crate::print(::core::format_args!($($text)*)) };
}

/// Prints a line to standard output. An error, to be passed on, when nobody takes it.
#[macro_export]
macro_rules! outln {
    ($($text:tt)*) => { $crate::print_line(::core::format_args!($($text)*)) };
}

/// Prints to standard error.
#[macro_export]
macro_rules! err {
    ($($text:tt)*) => { $crate::complain(::core::format_args!($($text)*)) };
}

/// Prints a line to standard error.
#[macro_export]
macro_rules! errln {
    () => { $crate::complain(::core::format_args!("\n")) };
    ($($text:tt)*) => { $crate::complain(::core::format_args!("{}\n", ::core::format_args!($($text)*))) };
}

/// Lines of something that cannot stop in the middle: the first failure is kept for its end, and nothing is printed after it.
#[derive(Debug, Default)]
pub struct Lines {
    failure: Mutex<Option<Unwritten>>,
}

impl Lines {
    /// Prints a line. False: nobody takes it, now or before.
    pub fn say(&self, line: &str) -> bool {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() {
            *failure = outln!("{line}").err();
        }
        failure.is_none()
    }

    /// Returns the failure, once.
    ///
    /// # Errors
    /// When a line was not taken.
    pub fn end(&self) -> Result<(), Unwritten> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_is_gone_is_told_from_a_full_disk() {
        for (kind, code) in [(io::ErrorKind::BrokenPipe, Some(READER_GONE)), (io::ErrorKind::StorageFull, None)] {
            #[derive(Debug)]
            struct Outer(Unwritten);
            impl fmt::Display for Outer {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("showing the table")
                }
            }
            impl Error for Outer {
                fn source(&self) -> Option<&(dyn Error + 'static)> {
                    Some(&self.0)
                }
            }
            assert_eq!(ending(&Unwritten(kind.into())), code);
            assert_eq!(ending(&Outer(Unwritten(kind.into()))), code, "below another error");
            assert_eq!(ending(&io::Error::from(kind)), None, "of another pipe, such as a connection");
        }
    }

    #[test]
    fn what_is_printed_reaches_a_pipe_and_its_closing_is_seen() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        print_to(&mut writer, format_args!("no end of line")).unwrap();
        let mut seen = [0; 14];
        io::Read::read_exact(&mut reader, &mut seen).unwrap();
        assert_eq!(&seen, b"no end of line");
        drop(reader);
        assert!(print_to(&mut writer, format_args!("more")).unwrap_err().is_reader_gone());
    }
}

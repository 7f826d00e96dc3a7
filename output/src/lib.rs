//! Standard output and standard error of every program of the workspace. Layer 0.
//!
//! Rust ignores SIGPIPE and `println!` panics when a write fails, so `holdfast fleet status fleet.yaml | head` would end with a panic.
//! Clippy keeps `println!` and its relatives out (`print_stdout`, `print_stderr` in the root manifest); these stand in their place:
//!
//! - [`outln!`] and [`out!`] return [`Unwritten`] when nobody takes what is printed. A command passes that on with `?`, so that whatever it
//!   holds is let go of, and its `main` ends with the code of [`ending`]: [`READER_GONE`], and not a word.
//! - [`errln!`] and [`err!`] never fail: where standard error is closed there is nobody to tell. [`Errors`] does the same for logs.
//! - [`Lines`] prints from within what cannot stop at once, and says later that it could not.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

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

/// Prints to standard output, for [`out!`].
///
/// # Errors
/// When it is not taken.
pub fn print(text: fmt::Arguments<'_>) -> Result<(), Unwritten> {
    print_to(&mut io::stdout().lock(), text)
}

/// Prints a line to standard output, for [`outln!`].
///
/// # Errors
/// When it is not taken.
pub fn print_line(text: fmt::Arguments<'_>) -> Result<(), Unwritten> {
    print(format_args!("{text}\n"))
}

fn print_to(out: &mut dyn Write, text: fmt::Arguments<'_>) -> Result<(), Unwritten> {
    // Flushed, because what is left over at the end of the process is lost without a word.
    out.write_fmt(text).and_then(|()| out.flush()).map_err(Unwritten)
}

/// Prints to standard error, for [`err!`] and [`errln!`].
pub fn complain(text: fmt::Arguments<'_>) {
    // In one piece, because standard error has no buffer. Where it is closed there is nobody to tell.
    let _ = io::stderr().write_all(text.to_string().as_bytes());
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

/// Standard error for log lines: a store whose log nobody reads any more goes on.
#[derive(Clone, Copy, Debug)]
pub struct Errors;

impl Write for Errors {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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

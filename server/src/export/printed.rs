//! An export on standard output: in pieces of whole lines, as they are to a pipe, escaped to a terminal.

use std::io::{self, Write};

use holdfast_output::{is_terminal, out, print_raw};
use holdfast_types::limits;

/// Standard output, with what is not printed yet. What is written to it at once is printed at once.
#[derive(Debug, Default)]
pub struct Printed {
    waiting: Vec<u8>,
}

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= limits::EXPORT_PRINTED_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let printed = match is_terminal() {
            // An export is UTF-8 throughout, and each write ends with a line.
            true => out!("{}", String::from_utf8_lossy(&self.waiting)),
            false => print_raw(&self.waiting),
        };
        self.waiting.clear();
        printed.map_err(io::Error::other)
    }
}

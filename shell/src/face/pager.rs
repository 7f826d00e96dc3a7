//! Where results go: to standard output, or, when they are longer than the screen, through a pager.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Child, Command, Stdio};

use holdfast_output::{readable, visible_lines};

use super::terminal::Size;
use crate::text;

/// Used where `PAGER` is not set: leaves at the end of what fits one screen, shows colours, leaves the text on the screen, and
/// lets long lines be scrolled sideways.
const USUAL_PAGER: &str = "less -SFRX";
/// Results that do not go to a terminal are written in pieces of this size.
const PIECE_BYTES: usize = 64 * 1024;

/// The command that pages: `None`, nothing is paged. An empty `PAGER`, or `cat`, switches it off.
pub(super) fn command(is_on: bool, output_is_terminal: bool, pager: Option<String>) -> Option<String> {
    if !is_on || !output_is_terminal {
        return None;
    }
    let chosen = pager.unwrap_or_else(|| USUAL_PAGER.to_owned());
    let chosen = chosen.trim();
    (!chosen.is_empty() && chosen != "cat").then(|| chosen.to_owned())
}

/// How many lines of the screen are taken, long lines wrapped; a line may come in pieces.
#[derive(Default)]
struct Taken {
    lines: usize,
    column: usize,
}

impl Taken {
    fn add(&mut self, text: &str, columns: usize) {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.lines += self.column.div_ceil(columns.max(1)).max(1);
                self.column = 0;
            }
            self.column += text::width(line);
        }
    }

    /// Lines, with what there is of the last one.
    fn lines(&self, columns: usize) -> usize {
        self.lines + self.column / columns.max(1)
    }
}

/// Where the result of one statement goes.
///
/// Invariants:
/// - what is held back never grows much beyond one screen
/// - a pager is started once at most, and only when the screen does not suffice
/// - after [`io::ErrorKind::BrokenPipe`] nothing is written any more
/// - what a person reads, by a pager too, has no control characters but line ends and tabs
pub(super) struct Destination {
    way: Way,
    out: Box<dyn Write + Send>,
    is_broken: bool,
    is_terminal: bool,
}

enum Way {
    /// Held back until it is known whether it fits the screen.
    Held { held: Vec<u8>, taken: Taken, size: Size, pager: String },
    /// Straight on, in pieces.
    Straight { piece: Vec<u8>, piece_bytes: usize },
    /// Into a pager.
    Paged { child: Child },
}

impl Destination {
    /// To `out`, through `pager` where there is more than the screen holds. To a terminal each write is seen at once, and must end with
    /// a whole character.
    pub(super) fn new(out: Box<dyn Write + Send>, pager: Option<String>, size: Size, is_terminal: bool) -> Self {
        let way = match pager {
            Some(pager) => Way::Held { held: Vec::new(), taken: Taken::default(), size, pager },
            None => Way::Straight { piece: Vec::new(), piece_bytes: if is_terminal { 0 } else { PIECE_BYTES } },
        };
        Self { way, out, is_broken: false, is_terminal }
    }

    /// True while nothing of the result is on the terminal, so that a progress line would not run into it.
    pub(super) fn is_holding(&self) -> bool {
        matches!(&self.way, Way::Held { .. })
    }

    /// True when nobody reads any more.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Ends the result: what was held back is shown, and a pager is waited for.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let ended = self.flush();
        let is_paged = matches!(self.way, Way::Paged { .. });
        match self.way {
            Way::Held { held, .. } => {
                if !self.is_broken {
                    self.out.write_all(&held)?;
                    self.out.flush()?;
                }
            }
            Way::Straight { .. } => {}
            Way::Paged { mut child } => {
                // The pager sees the end of its input, and the user leaves it when done.
                drop(child.stdin.take());
                child.wait()?;
            }
        }
        // Who leaves a pager early has seen enough; where there is none, whoever reads a pipe is gone.
        if is_paged && self.is_broken { Ok(()) } else { ended }
    }

    fn write_on(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.way {
            Way::Held { held, taken, size, pager } => {
                held.extend_from_slice(bytes);
                taken.add(&String::from_utf8_lossy(bytes), size.columns);
                // One line is left for the prompt.
                if taken.lines(size.columns) < size.lines {
                    return Ok(());
                }
                let (held, pager) = (std::mem::take(held), std::mem::take(pager));
                self.page(&pager, &held)
            }
            Way::Straight { piece, piece_bytes } => {
                piece.extend_from_slice(bytes);
                if piece.len() >= *piece_bytes {
                    self.out.write_all(piece)?;
                    piece.clear();
                    if *piece_bytes == 0 {
                        self.out.flush()?;
                    }
                }
                Ok(())
            }
            Way::Paged { child } => match &mut child.stdin {
                Some(stdin) => stdin.write_all(bytes),
                None => Err(io::ErrorKind::BrokenPipe.into()),
            },
        }
    }

    fn page(&mut self, pager: &str, held: &[u8]) -> io::Result<()> {
        match start(pager) {
            Ok(child) => self.way = Way::Paged { child },
            Err(_) => {
                // Without a pager the terminal scrolls.
                self.way = Way::Straight { piece: Vec::new(), piece_bytes: 0 };
            }
        }
        self.write_on(held)
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let written = match self.is_terminal {
            true => self.write_on(visible_lines(&readable(bytes)).as_bytes()),
            false => self.write_on(bytes),
        };
        match written {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.is_broken = error.kind() == io::ErrorKind::BrokenPipe;
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_broken {
            return Ok(());
        }
        let done = match &mut self.way {
            Way::Held { .. } => Ok(()),
            Way::Straight { piece, .. } => {
                let written = self.out.write_all(piece).and_then(|()| self.out.flush());
                piece.clear();
                written
            }
            Way::Paged { child } => child.stdin.as_mut().map_or(Ok(()), Write::flush),
        };
        if let Err(error) = &done {
            self.is_broken = error.kind() == io::ErrorKind::BrokenPipe;
        }
        done
    }
}

/// Starts the pager by the shell, because `PAGER` may hold arguments and quotes.
fn start(pager: &str) -> io::Result<Child> {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(OsString::from(pager)).stdin(Stdio::piped());
    // A `less` without its own wishes: what fits the screen is not held, and text is UTF-8.
    if std::env::var_os("LESSCHARSET").is_none() {
        command.env("LESSCHARSET", "utf-8");
    }
    command.spawn()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const SIZE: Size = Size { columns: 20, lines: 5 };

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<u8>>>);

    impl Seen {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Seen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_terminal_is_paged_and_only_when_the_user_wants() {
        assert_eq!(command(true, true, None).as_deref(), Some(USUAL_PAGER));
        assert_eq!(command(true, true, Some("most -s".into())).as_deref(), Some("most -s"));
        assert_eq!(command(true, true, Some(" ".into())), None);
        assert_eq!(command(true, true, Some("cat".into())), None);
        assert_eq!(command(true, false, None), None);
        assert_eq!(command(false, true, None), None);
    }

    #[test]
    fn what_fits_the_screen_is_shown_without_a_pager() {
        let seen = Seen::default();
        let mut destination = Destination::new(Box::new(seen.clone()), Some("exit 9".into()), SIZE, true);
        writeln!(destination, "one\ntwo").unwrap();
        assert_eq!(seen.text(), "");
        assert!(destination.is_holding());
        destination.finish().unwrap();
        assert_eq!(seen.text(), "one\ntwo\n");
    }

    #[test]
    fn what_is_longer_than_the_screen_goes_to_the_pager_whole_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("paged");
        let seen = Seen::default();
        let pager = format!("cat > {}", file.display());
        let mut destination = Destination::new(Box::new(seen.clone()), Some(pager), SIZE, true);
        for line in 0..9 {
            writeln!(destination, "line {line}").unwrap();
        }
        assert!(matches!(destination.way, Way::Paged { .. }));
        destination.finish().unwrap();
        assert_eq!(seen.text(), "");
        let expected: String = (0..9).map(|line| format!("line {line}\n")).collect();
        assert_eq!(std::fs::read_to_string(file).unwrap(), expected);
    }

    #[test]
    fn a_person_is_shown_no_control_characters_and_a_file_gets_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("paged");
        let hostile = "{\"v\":\"\u{9b}2J\u{1b}]0;mine\u{7}\u{202e}\"}\n";
        let shown = "{\"v\":\"\\u009b2J\\u001b]0;mine\\u0007\\u202e\"}\n";
        let cat = format!("cat > {}", file.display());
        let ways = [
            (None, true, 1, shown),
            (Some("cat".into()), true, 1, shown),
            (Some(cat), true, 9, shown),
            (None, false, 1, hostile),
        ];
        for (pager, is_terminal, lines, wanted) in ways {
            let seen = Seen::default();
            let mut destination = Destination::new(Box::new(seen.clone()), pager, SIZE, is_terminal);
            for _ in 0..lines {
                write!(destination, "{hostile}").unwrap();
            }
            destination.finish().unwrap();
            let seen = if lines == 1 { seen.text() } else { std::fs::read_to_string(&file).unwrap() };
            assert_eq!(seen, wanted.repeat(lines));
        }
    }

    #[test]
    fn wrapped_lines_count_as_often_as_they_wrap() {
        let lines = |pieces: &[&str]| {
            let mut taken = Taken::default();
            pieces.iter().for_each(|piece| taken.add(piece, 20));
            taken.lines(20)
        };
        assert_eq!(lines(&["short\n"]), 1);
        assert_eq!(lines(&["in ", "pieces", "\n"]), 1);
        assert_eq!(lines(&[&"x".repeat(41), "\n"]), 3);
        assert_eq!(lines(&[&"x".repeat(60)]), 3, "a line that never ends is long too");
        assert_eq!(lines(&["\n\n"]), 2);
        assert_eq!(lines(&[&"東".repeat(10), "\n"]), 1);
    }

    #[test]
    fn leaving_the_pager_early_is_a_quiet_end() {
        let mut destination = Destination::new(Box::new(Seen::default()), Some("exit 0".into()), SIZE, true);
        let line = vec![b'x'; 1 << 16];
        let error = std::iter::repeat_with(|| destination.write_all(&line)).find_map(Result::err).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(destination.is_broken());
        destination.finish().unwrap();
    }
}

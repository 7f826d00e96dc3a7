//! Transcripts that are kept in files, and what differs from run to run in them.

use std::path::{Path, PathBuf};

/// Compares a transcript with the file that holds it; with `UPDATE_GOLDENFILES=1` in the environment it writes the file.
///
/// # Panics
/// When they differ: the first line that does is shown.
#[track_caller]
pub fn compare(name: &str, transcript: &str) {
    let file = path(name);
    if std::env::var("UPDATE_GOLDENFILES").as_deref() == Ok("1") {
        std::fs::write(&file, transcript).expect("the file can be written");
        return;
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    if golden == transcript {
        return;
    }
    let mut pairs = golden.lines().zip(transcript.lines()).enumerate();
    let (line, (wanted, found)) = pairs.find(|(_, (wanted, found))| wanted != found).unwrap_or_else(|| {
        let shorter = golden.lines().count().min(transcript.lines().count());
        (shorter, ("(one of them ends here)", "(one of them ends here)"))
    });
    let number = line + 1;
    panic!(
        "{}:{number}: wanted\n  {wanted}\nfound\n  {found}\nUPDATE_GOLDENFILES=1 keeps this:\n{transcript}",
        file.display()
    );
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/golden").join(name)
}

/// Replaces what differs from run to run by something of the same shape: times, versions and durations by zeros; the addresses that are
/// named by `HOST:PORT`.
#[must_use]
pub fn without_chance(text: &str, addresses: &[String]) -> String {
    let mut text = text.to_owned();
    for address in addresses {
        text = text.replace(address.as_str(), "HOST:PORT");
    }
    text.lines().map(|line| line_without_chance(line) + "\n").collect()
}

/// The same for the lines of a table whose columns are wider or narrower by chance: blanks and rules are shortened too.
#[must_use]
pub fn without_widths(text: &str) -> String {
    let shorten = |line: &str| {
        let mut short = String::new();
        for c in line.trim_end().chars() {
            let repeats = matches!(c, ' ' | '-') && short.ends_with(c);
            if !repeats {
                short.push(c);
            }
        }
        short.trim_start().to_owned() + "\n"
    };
    text.lines().map(shorten).collect()
}

/// Masks the columns of these names in the tables of a transcript whose widths are gone.
#[must_use]
pub fn without_columns(text: &str, names: &[&str]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut masked: Vec<usize> = Vec::new();
    let mut shown = String::new();
    for (index, line) in lines.iter().enumerate() {
        let next_is_rule =
            lines.get(index + 1).is_some_and(|next| next.starts_with('-') && next.trim_matches(['-', '+']).is_empty());
        if next_is_rule {
            let headings = line.split('|').map(str::trim).enumerate();
            masked = headings.filter(|(_, heading)| names.contains(heading)).map(|(column, _)| column).collect();
        } else if line.starts_with('(') {
            masked.clear();
        } else if line.contains('|') {
            let cells = line.split('|').map(str::trim).enumerate();
            let cells: Vec<_> = cells.map(|(column, cell)| if masked.contains(&column) { "*" } else { cell }).collect();
            shown.push_str(cells.join(" | ").trim_end());
            shown.push('\n');
            continue;
        }
        shown.push_str(line);
        shown.push('\n');
    }
    shown
}

fn line_without_chance(line: &str) -> String {
    let words = split_words(line);
    let mut shown = String::with_capacity(line.len());
    for (index, word) in words.iter().enumerate() {
        let next_unit = words.get(index + 2).copied().unwrap_or_default();
        let is_duration = matches!(next_unit.trim_end_matches([',', ')', ';', '.']), "ms" | "s") && is_number(word);
        if is_range(word) {
            shown.push_str("rN");
        } else if is_duration || is_version(word) || is_id(word) {
            shown.extend(word.chars().map(|c| if c.is_ascii_hexdigit() { '0' } else { c }));
        } else if is_time(word) {
            shown.extend(word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }));
        } else {
            shown.push_str(word);
        }
    }
    shown
}

/// Words and the blanks between them, in turn.
fn split_words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let is_blank = rest.starts_with(' ');
        let end = rest.find(|c: char| (c == ' ') != is_blank).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        words.push(word);
        rest = after;
    }
    words
}

fn is_number(word: &str) -> bool {
    let digits = word.trim_start_matches('(');
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// Milliseconds since 1970, a dot, a counter.
fn is_version(word: &str) -> bool {
    word.split_once('.').is_some_and(|(ms, counter)| {
        ms.len() == 13 && ms.chars().chain(counter.chars()).all(|c| c.is_ascii_digit()) && !counter.is_empty()
    })
}

/// The id of a range, which the store gave that cut it.
fn is_range(word: &str) -> bool {
    word.strip_prefix('r').is_some_and(|digits| digits.len() > 5 && digits.chars().all(|c| c.is_ascii_digit()))
}

/// A date, or the time of a day.
fn is_time(word: &str) -> bool {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape.starts_with("0000-00-00") || shape.starts_with("00:00:00")
}

/// The id of a fleet: 32 hexadecimal digits.
fn is_id(word: &str) -> bool {
    let word = word.trim_end_matches([':', '.', ',']);
    word.len() == 32 && word.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_by_chance_is_replaced() {
        let line = " apple | 1795371571982.17 | 2026-11-22 20:13:00.123 | took 1.25 ms (12 rows), 127.0.0.1:7300";
        let expected = " apple | 0000000000000.00 | 0000-00-00 00:00:00.000 | took 0.00 ms (12 rows), HOST:PORT\n";
        assert_eq!(without_chance(line, &["127.0.0.1:7300".into()]), expected);
        assert_eq!(
            without_chance("Fleet 0123456789abcdef0123456789abcdef:", &[]),
            format!("Fleet {}:\n", "0".repeat(32))
        );
    }

    #[test]
    fn columns_of_chance_are_masked_in_every_row() {
        let text = "note\na | site | b\n-+-+-\n1 | x | 2\n3 | y | 4\n(2 rows)\nr4294967297 | z\n";
        let expected = "note\na | site | b\n-+-+-\n1 | * | 2\n3 | * | 4\n(2 rows)\nr4294967297 | z\n";
        assert_eq!(without_columns(text, &["site"]), expected);
        assert_eq!(without_chance("r4294967297 r1", &[]), "rN r1\n");
    }

    #[test]
    fn tables_keep_their_words_without_their_widths() {
        assert_eq!(without_widths("  a   | b\n ----+---\n"), "a | b\n-+-\n");
    }
}

//! Colours for what is typed: keywords, text, comments.

use std::borrow::Cow;

use crate::lang::keywords;

const KEYWORD: &str = "\x1b[1;34m";
const TEXT: &str = "\x1b[32m";
const COMMENT: &str = "\x1b[2m";
const NUMBER: &str = "\x1b[36m";
const META: &str = "\x1b[35m";
const RESET: &str = "\x1b[0m";

/// The line with colours; as wide as it was. `in_statement`: it goes on from a line before.
pub(super) fn highlight(line: &str, in_statement: bool) -> Cow<'_, str> {
    if line.is_empty() {
        return Cow::Borrowed(line);
    }
    if !in_statement && line.trim_start().starts_with('\\') {
        return Cow::Owned(format!("{META}{line}{RESET}"));
    }
    let mut coloured = String::with_capacity(line.len() * 2);
    let mut rest = line;
    while !rest.is_empty() {
        let (length, colour) = next_token(rest);
        let (token, after) = rest.split_at(length);
        match colour {
            Some(colour) => {
                coloured.push_str(colour);
                coloured.push_str(token);
                coloured.push_str(RESET);
            }
            None => coloured.push_str(token),
        }
        rest = after;
    }
    Cow::Owned(coloured)
}

/// How long the first token is, and its colour.
fn next_token(rest: &str) -> (usize, Option<&'static str>) {
    let Some(first) = rest.chars().next() else { return (0, None) };
    if rest.starts_with("--") {
        return (rest.find('\n').unwrap_or(rest.len()), Some(COMMENT));
    }
    if rest.starts_with("/*") {
        return (rest.find("*/").map_or(rest.len(), |at| at + 2), Some(COMMENT));
    }
    if first == '\'' {
        return (rest[1..].find('\'').map_or(rest.len(), |at| at + 2), Some(TEXT));
    }
    if first.is_ascii_digit() {
        return (length_while(rest, |c| c.is_ascii_digit() || c == '.'), Some(NUMBER));
    }
    if first.is_alphabetic() || first == '_' {
        let length = length_while(rest, |c| c.is_alphanumeric() || c == '_');
        let word = rest[..length].to_ascii_uppercase();
        return (length, keywords().any(|known| known == word).then_some(KEYWORD));
    }
    (first.len_utf8(), None)
}

fn length_while(rest: &str, belongs: impl Fn(char) -> bool) -> usize {
    rest.find(|c| !belongs(c)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_nothing_but_the_colour() {
        for line in
            ["SELECT key FROM words WHERE key = 'it''s' -- end", "é 12.5 /* open", "'open", "\\d words", "", "a;\nb"]
        {
            let mut plain = highlight(line, false).into_owned();
            for colour in [KEYWORD, TEXT, COMMENT, NUMBER, META, RESET] {
                plain = plain.replace(colour, "");
            }
            assert_eq!(plain, line);
        }
    }

    #[test]
    fn keywords_are_coloured_in_any_case_and_names_are_not() {
        assert_eq!(highlight("select x", false), format!("{KEYWORD}select{RESET} x"));
        assert_eq!(highlight("selected", false), "selected");
        assert_eq!(highlight("'SELECT'", false), format!("{TEXT}'SELECT'{RESET}"));
    }
}

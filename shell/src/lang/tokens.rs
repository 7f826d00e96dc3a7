//! Reads the words of one statement, and knows where each of them stands.

use std::borrow::Cow;

use sqlparser::ast::{Expr, Spanned};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::dialect::HoldfastDialect;
use super::error::{LangError, Span, brief};
use super::places::Places;
use super::split::{Open, open_at_end, word_at};
use crate::steps;

/// Operators of one expression: it is a tree, and a deep one would not fit the stack.
const MAX_OPERATORS: usize = 2_000;

static DIALECT: HoldfastDialect = HoldfastDialect;

/// A statement that is being read, word by word. SQL's expressions are read by `sqlparser`.
pub(super) struct Reader<'a> {
    text: &'a str,
    places: Places<'a>,
    parser: Parser<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, LangError> {
        let mut reader = Self { text, places: Places::of(text), parser: Parser::new(&DIALECT) };
        let tokens = Tokenizer::new(&DIALECT, text).tokenize_with_location();
        let mut tokens = tokens.map_err(|error| reader.not_a_token(&error.message, error.location))?;
        tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
        reader.limit_operators(&tokens)?;
        reader.parser = Parser::new(&DIALECT).with_tokens_with_locations(tokens);
        Ok(reader)
    }

    fn not_a_token(&self, message: &str, location: Location) -> LangError {
        let Some((at, open)) = open_at_end(self.text) else {
            let at = self.places.byte(location);
            return LangError::new(Span::new(at, at), format!("this cannot be read: {}", lower_first(message)));
        };
        let (what, width, hint) = match open {
            Open::Quote => {
                let hint = "end the text with '; a quote within a text is written twice: 'it''s'";
                ("this text is not closed", 1, hint)
            }
            Open::Name => ("this name is not closed", 1, "end it with \""),
            Open::Comment => ("this comment is not closed", 2, "end it with */"),
        };
        LangError::new(Span::new(at, at + width), what).hint(hint)
    }

    /// Counts what makes an expression deep. What stands between commas is an expression of its own, within its parentheses.
    fn limit_operators(&self, tokens: &[TokenWithSpan]) -> Result<(), LangError> {
        let mut operators = 0;
        // Of each parenthesis that is open: the operators before it, and the most within it so far.
        let mut open: Vec<(usize, usize)> = Vec::new();
        for token in tokens {
            match &token.token {
                Token::LParen => open.push((operators, operators)),
                Token::RParen => operators = open.pop().map_or(operators, |(_, most)| most.max(operators)),
                Token::Comma => match open.last_mut() {
                    Some((before, most)) => {
                        *most = operators.max(*most);
                        operators = *before;
                    }
                    None => operators = 0,
                },
                other => operators += usize::from(is_operator(other)),
            }
            if operators > MAX_OPERATORS {
                let message = format!("an expression has more than {MAX_OPERATORS} operators");
                return Err(LangError::new(self.span_of(token), message)
                    .hint("write many keys as a list, key IN ('a', 'b', ...), or cut the statement into several"));
            }
        }
        Ok(())
    }

    // ---- places

    fn span_of(&self, token: &TokenWithSpan) -> Span {
        if token.token == Token::EOF {
            return Span::new(self.end(), self.end());
        }
        Span::new(self.places.byte(token.span.start), self.places.byte(token.span.end))
    }

    /// Where the last word ends.
    fn end(&self) -> usize {
        self.text.trim_end().trim_end_matches(';').trim_end().len()
    }

    /// Where an expression stands; `whole` where `sqlparser` does not say.
    pub(super) fn span_of_expression(&self, expression: &Expr, whole: Span) -> Span {
        let span = expression.span();
        if span.start.line == 0 || span.end.line == 0 {
            return whole;
        }
        let span = Span::new(self.places.byte(span.start), self.places.byte(span.end));
        // What sqlparser goes through to tell it.
        steps::count(span.end - span.start);
        if span.start < whole.start || span.end > whole.end { whole } else { span }
    }

    /// The text of a place, as much of it as a sentence takes.
    pub(super) fn quoted(&self, span: Span) -> Cow<'a, str> {
        brief(&self.text[span.start..span.end])
    }

    /// The text of a place.
    pub(super) fn text_of(&self, span: Span) -> &'a str {
        &self.text[span.start..span.end]
    }

    // ---- words

    /// The next token.
    pub(super) fn token(&self) -> &Token {
        &self.parser.peek_token_ref().token
    }

    /// The next token and its place.
    pub(super) fn peek(&self) -> (Token, Span) {
        (self.token().clone(), self.here())
    }

    /// Where the next token stands.
    pub(super) fn here(&self) -> Span {
        self.span_of(self.parser.peek_token_ref())
    }

    /// Goes on to the token behind the next one.
    pub(super) fn advance(&mut self) -> (Token, Span) {
        let next = self.peek();
        self.parser.advance_token();
        next
    }

    /// The next word in capitals, if there is one that is not quoted.
    pub(super) fn peek_word(&self) -> Option<String> {
        match self.token() {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
            _ => None,
        }
    }

    /// Takes the next word if it is this one.
    pub(super) fn accept(&mut self, word: &str) -> bool {
        let is_it = self.peek_word().as_deref() == Some(word);
        if is_it {
            self.parser.advance_token();
        }
        is_it
    }

    /// Takes the next token if it is this one.
    pub(super) fn accept_token(&mut self, wanted: &Token) -> bool {
        let is_it = self.token() == wanted;
        if is_it {
            self.parser.advance_token();
        }
        is_it
    }

    /// Takes this word, or says that it was expected.
    pub(super) fn expect(&mut self, word: &str, hint: &str) -> Result<Span, LangError> {
        let span = self.here();
        if self.accept(word) {
            return Ok(span);
        }
        Err(self.expected(word).hint(hint))
    }

    /// Takes this token, or says that it was expected.
    pub(super) fn expect_token(&mut self, wanted: &Token, hint: &str) -> Result<Span, LangError> {
        let span = self.here();
        if self.accept_token(wanted) {
            return Ok(span);
        }
        Err(self.expected(&wanted.to_string()).hint(hint))
    }

    /// "expected WHERE, found ..." at the next token.
    pub(super) fn expected(&self, what: &str) -> LangError {
        LangError::new(self.here(), format!("expected {what}, found {}", self.found()))
    }

    /// The next token for a sentence.
    pub(super) fn found(&self) -> String {
        match self.token() {
            Token::EOF | Token::SemiColon => "the end of the statement".into(),
            Token::Word(word) => brief(&word.to_string()).into_owned(),
            Token::SingleQuotedString(_) => "a text".into(),
            Token::HexStringLiteral(_) => "bytes".into(),
            token => format!("\"{}\"", brief(&token.to_string())),
        }
    }

    /// True at the end of the statement.
    pub(super) fn at_end(&self) -> bool {
        matches!(self.token(), Token::EOF | Token::SemiColon)
    }

    // ---- expressions

    /// Reads an expression. `example` shows one, for those who forgot it.
    pub(super) fn expression(&mut self, example: &str) -> Result<(Expr, Span), LangError> {
        const CLAUSES: &[&str] = &[
            "FROM", "WHERE", "ORDER", "LIMIT", "OFFSET", "GROUP", "VALUES", "SET", "AND", "OR", "HAVING", "BY", "AS",
            "INTO", "LIKE", "IN",
        ];
        let start = self.here();
        let is_clause = self.peek_word().is_some_and(|word| CLAUSES.contains(&word.as_str()));
        if self.at_end() || is_clause || matches!(self.token(), Token::Comma | Token::RParen) {
            return Err(self.expected("an expression").hint(example));
        }
        let expression = self.parser.parse_expr().map_err(|error| self.not_an_expression(error, start, example))?;
        Ok((expression, start.to(self.span_of(self.parser.get_current_token()))))
    }

    fn not_an_expression(&self, error: ParserError, start: Span, example: &str) -> LangError {
        let message = match error {
            ParserError::RecursionLimitExceeded => {
                return LangError::new(start, "the expression is nested too deeply")
                    .hint("write it with fewer parentheses within parentheses");
            }
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        };
        let (message, at) = message.rsplit_once(" at Line: ").unwrap_or((&message, ""));
        let place = at.split_once(", Column: ").and_then(|(line, column)| {
            Some(self.places.byte(Location { line: line.parse().ok()?, column: column.trim().parse().ok()? }))
        });
        let at = place.unwrap_or(self.end()).min(self.end());
        let width = word_at(self.text, at);
        let message =
            message.replace("found: EOF", "found: the end of the statement").replace("Expected: ", "expected ");
        let message = message.replace(", found: ", ", found ");
        let hint = match message.as_str() {
            text if text.starts_with("expected )") => "every ( needs its )",
            text if text.starts_with("expected (") => "a list stands in parentheses: key IN ('a', 'b')",
            text if text.ends_with("found )") => "a list has at least one constant: key IN ('a', 'b')",
            _ => example,
        };
        LangError::new(Span::new(at, at + width), lower_first(&message)).hint(hint)
    }
}

/// Whatever `sqlparser` takes for an operator, and nothing that a list of constants has but signs and sums of times.
fn is_operator(token: &Token) -> bool {
    use Keyword as K;
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            K::AND
                | K::AT
                | K::BETWEEN
                | K::COLLATE
                | K::DIV
                | K::GLOB
                | K::ILIKE
                | K::IN
                | K::IS
                | K::LIKE
                | K::MATCH
                | K::MEMBER
                | K::NOT
                | K::NOTNULL
                | K::OPERATOR
                | K::OR
                | K::OVERLAPS
                | K::REGEXP
                | K::RLIKE
                | K::SIMILAR
                | K::STARTS
                | K::XOR
        ),
        Token::Number(..) | Token::SingleQuotedString(_) | Token::HexStringLiteral(_) => false,
        Token::SemiColon | Token::EOF => false,
        _ => true,
    }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use crate::steps;

    fn repeated(before: &str, part: &str, between: &str, times: usize) -> String {
        format!("{before}{}", vec![part; times].join(between))
    }

    #[test]
    fn deep_expressions_are_refused_and_long_lists_are_not() {
        let keys = "SELECT * FROM default WHERE key ";
        for deep in [
            repeated(&format!("{keys}= 'a' OR "), "key = 'a'", " OR ", 1_100),
            repeated(keys, "STARTS WITH 'a'", " ", 2_100),
            repeated(keys, "IS NULL", " ", 2_100),
            repeated(&format!("{keys}IN (1 + "), "(1 + 1, 2)", " + ", 1_100),
        ] {
            assert!(parse(&deep).unwrap_err().message.ends_with("more than 2000 operators"), "{}", &deep[..60]);
        }
        let rows: Vec<String> = (0..5_000).map(|row| format!("('{row}', -{row}, NOW() + INTERVAL '1h')")).collect();
        assert!(parse(&format!("UPSERT INTO default VALUES {}", rows.join(", "))).is_ok());
        assert!(parse(&(repeated(&format!("{keys}= 'a' OR "), "key = 'a'", " OR ", 900))).is_ok());
    }

    #[test]
    fn a_statement_is_read_in_steps_that_grow_with_its_length() {
        let list = |of: fn(usize) -> String| move |items| (0..items).map(of).collect::<Vec<_>>().join(", ");
        let read = |text: String| drop(parse(&text).unwrap());
        let rows = list(|row| format!("('k{row}', 'ë')"));
        steps::grows_linearly("rows", |size| format!("UPSERT INTO default VALUES {}", rows(size)), read);
        let keys = list(|key| format!("'{key}'"));
        let select = |size| format!("SELECT * FROM default WHERE key IN ({})", keys(size));
        steps::grows_linearly("keys", select, read);
        let fields = list(|name| format!("value ->> '{name}'"));
        steps::grows_linearly("columns", |size| format!("SELECT {} FROM default", fields(size)), read);
        let chain = |size: usize| {
            repeated("SELECT value", " -> 'a'", "", size / 4) + &repeated("", " ", "", size) + "FROM default"
        };
        steps::grows_linearly("a path", chain, read);
    }

    #[test]
    fn an_error_takes_steps_that_grow_with_the_statement() {
        let rows = |size: usize| format!("UPSERT INTO default VALUES {}('a', b)", "('a', 'b'), ".repeat(size));
        let refused = |text: String| drop(parse(&text).unwrap_err().render(&text));
        steps::grows_linearly("an error in a long line", rows, refused);
        steps::grows_linearly("a text that is not closed", |size| "'it''s ".repeat(size * 2 + 1), refused);
    }
}

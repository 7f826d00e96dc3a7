//! Reads the words of one statement, and knows where each of them stands.

use sqlparser::ast::{Expr, Spanned};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::dialect::HoldfastDialect;
use super::error::{LangError, Span};

/// Operators of one statement: expressions are trees, and deep ones would not fit the stack.
const MAX_OPERATORS: usize = 2_000;

static DIALECT: HoldfastDialect = HoldfastDialect;

/// A statement that is being read, word by word. SQL's expressions are read by `sqlparser`.
pub(super) struct Reader<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
    parser: Parser<'a>,
    /// Where the last word that was read ends.
    last_end: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, LangError> {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut reader = Self { text, line_starts, parser: Parser::new(&DIALECT), last_end: 0 };
        let tokens = Tokenizer::new(&DIALECT, text).tokenize_with_location();
        let tokens = tokens.map_err(|error| reader.not_a_token(&error.message, error.location))?;
        reader.limit_operators(&tokens)?;
        reader.parser = Parser::new(&DIALECT).with_tokens_with_locations(tokens);
        Ok(reader)
    }

    fn not_a_token(&self, message: &str, location: Location) -> LangError {
        if let Some(open) = super::split::unclosed(self.text) {
            let (what, close) = match open.1 {
                super::split::Open::Quote => ("this text is not closed", "'"),
                super::split::Open::Name => ("this name is not closed", "\""),
                super::split::Open::Comment => ("this comment is not closed", "*/"),
            };
            let hint = match open.1 {
                super::split::Open::Quote => {
                    "end the text with '; a quote within a text is written twice: 'it''s'".to_owned()
                }
                _ => format!("end it with {close}"),
            };
            let width = if close == "*/" { 2 } else { 1 };
            return LangError::new(Span::new(open.0, open.0 + width), what).hint(hint);
        }
        let at = self.offset(location);
        LangError::new(Span::new(at, at), format!("this cannot be read: {}", lower_first(message)))
    }

    fn limit_operators(&self, tokens: &[TokenWithSpan]) -> Result<(), LangError> {
        let is_operator = |token: &Token| match token {
            Token::Word(word) => matches!(word.keyword, Keyword::AND | Keyword::OR | Keyword::NOT),
            Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Arrow | Token::LongArrow | Token::Eq => true,
            Token::DoubleColon | Token::StringConcat | Token::Lt | Token::Gt | Token::LBracket | Token::Period => true,
            _ => false,
        };
        match tokens.iter().filter(|token| is_operator(&token.token)).nth(MAX_OPERATORS) {
            None => Ok(()),
            Some(token) => {
                let message = format!("the statement has more than {MAX_OPERATORS} operators");
                Err(LangError::new(self.span_of(token), message)
                    .hint("write many keys as a list, key IN ('a', 'b', ...), or cut the statement into several"))
            }
        }
    }

    // ---- places

    fn offset(&self, location: Location) -> usize {
        let line = usize::try_from(location.line.max(1) - 1).unwrap_or(usize::MAX);
        let Some(start) = self.line_starts.get(line) else { return self.text.len() };
        let column = usize::try_from(location.column.max(1) - 1).unwrap_or(usize::MAX);
        let rest = &self.text[*start..];
        start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }

    fn span_of(&self, token: &TokenWithSpan) -> Span {
        if token.token == Token::EOF {
            let end = self.text.trim_end().trim_end_matches(';').trim_end().len();
            return Span::new(end, end);
        }
        Span::new(self.offset(token.span.start), self.offset(token.span.end))
    }

    /// Where an expression stands; `whole` where `sqlparser` does not say.
    pub(super) fn span_of_expression(&self, expression: &Expr, whole: Span) -> Span {
        let span = expression.span();
        if span.start.line == 0 || span.end.line == 0 {
            return whole;
        }
        let span = Span::new(self.offset(span.start), self.offset(span.end));
        if span.start < whole.start || span.end > whole.end { whole } else { span }
    }

    /// The text of a place.
    pub(super) fn text_of(&self, span: Span) -> &'a str {
        &self.text[span.start..span.end]
    }

    // ---- words

    /// The next token and its place.
    pub(super) fn peek(&self) -> (Token, Span) {
        let token = self.parser.peek_token();
        let span = self.span_of(&token);
        (token.token, span)
    }

    /// Where the next token stands.
    pub(super) fn here(&self) -> Span {
        self.peek().1
    }

    /// Goes on to the token behind the next one.
    pub(super) fn advance(&mut self) -> (Token, Span) {
        let token = self.parser.next_token();
        let span = self.span_of(&token);
        self.last_end = span.end;
        (token.token, span)
    }

    /// The next word in capitals, if there is one that is not quoted.
    pub(super) fn peek_word(&self) -> Option<String> {
        match self.peek().0 {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
            _ => None,
        }
    }

    /// Takes the next word if it is this one.
    pub(super) fn accept(&mut self, word: &str) -> bool {
        let is_it = self.peek_word().as_deref() == Some(word);
        if is_it {
            self.advance();
        }
        is_it
    }

    /// Takes the next token if it is this one.
    pub(super) fn accept_token(&mut self, wanted: &Token) -> bool {
        let is_it = self.peek().0 == *wanted;
        if is_it {
            self.advance();
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
        match self.peek().0 {
            Token::EOF | Token::SemiColon => "the end of the statement".into(),
            Token::Word(word) => word.to_string(),
            Token::SingleQuotedString(_) => "a text".into(),
            Token::HexStringLiteral(_) => "bytes".into(),
            token => format!("\"{token}\""),
        }
    }

    /// True at the end of the statement.
    pub(super) fn at_end(&self) -> bool {
        matches!(self.peek().0, Token::EOF | Token::SemiColon)
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
        if self.at_end() || is_clause || matches!(self.peek().0, Token::Comma | Token::RParen) {
            return Err(self.expected("an expression").hint(example));
        }
        let expression = self.parser.parse_expr().map_err(|error| self.not_an_expression(error, start, example))?;
        let end = self.end_before_next();
        Ok((expression, Span::new(start.start, end)))
    }

    /// Where the text before the next token ends, without blanks.
    fn end_before_next(&mut self) -> usize {
        self.parser.prev_token();
        let token = self.parser.next_token();
        let end = self.span_of(&token).end;
        self.last_end = end;
        end
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
            Some(self.offset(Location { line: line.parse().ok()?, column: column.trim().parse().ok()? }))
        });
        let end = self.text.trim_end().trim_end_matches(';').trim_end().len();
        let at = place.unwrap_or(end).min(end);
        let width = super::split::word_at(self.text, at);
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

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

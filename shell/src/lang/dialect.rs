//! What our language adds to SQL's tokens and expressions: `STARTS WITH`.

use sqlparser::ast::{BinaryOperator, Expr};
use sqlparser::dialect::{Dialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// The dialect.
#[derive(Debug)]
pub(super) struct HoldfastDialect;

impl Dialect for HoldfastDialect {
    fn is_identifier_start(&self, letter: char) -> bool {
        letter.is_alphabetic() || letter == '_'
    }

    fn is_identifier_part(&self, letter: char) -> bool {
        letter.is_alphanumeric() || letter == '_'
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn parse_infix(&self, parser: &mut Parser, left: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        if !is_starts_with(parser) {
            return None;
        }
        parser.next_token();
        parser.next_token();
        let right = match parser.parse_subexpr(self.prec_value(Precedence::Like)) {
            Ok(right) => right,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(Expr::BinaryOp {
            left: Box::new(left.clone()),
            op: BinaryOperator::PGStartsWith,
            right: Box::new(right),
        }))
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        is_starts_with(parser).then(|| Ok(self.prec_value(Precedence::Like)))
    }
}

fn is_starts_with(parser: &Parser) -> bool {
    let is_starts =
        matches!(&parser.peek_nth_token_ref(0).token, Token::Word(word) if word.value.eq_ignore_ascii_case("starts"));
    is_starts && matches!(&parser.peek_nth_token_ref(1).token, Token::Word(word) if word.keyword == Keyword::WITH)
}

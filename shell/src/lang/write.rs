//! INSERT, UPSERT, UPDATE, DELETE.

use std::collections::BTreeMap;

use bytes::Bytes;
use sqlparser::tokenizer::Token;

use super::ast::{Delete, Expiry, Insert, NewRow, Scalar, Update};
use super::error::{LangError, Span};
use super::expression::column;
use super::query::{left_over, required_condition};
use super::statement::name;
use super::tokens::Reader;
use super::{literal, nearest};

const INSERT_EXAMPLE: &str = "INSERT INTO orders (key, value) VALUES ('a', 'one'), ('b', JSON '{\"n\": 2}')";
const UPDATE_EXAMPLE: &str = "UPDATE orders SET value = 'new' WHERE key = 'a'";

pub(super) fn insert(reader: &mut Reader<'_>, upsert: bool) -> Result<Insert, LangError> {
    let example = if upsert { "UPSERT INTO orders (key, value) VALUES ('a', 'one')" } else { INSERT_EXAMPLE };
    reader.expect("INTO", example)?;
    let into = name(reader, "keyspace", example)?;
    let columns = if matches!(reader.token(), Token::LParen) { Some(columns(reader)?) } else { None };
    if matches!(reader.peek_word().as_deref(), Some("SELECT" | "TABLE" | "WITH")) {
        return Err(LangError::new(reader.here(), "rows are given as VALUES, there is no INSERT ... SELECT")
            .hint(INSERT_EXAMPLE));
    }
    if !reader.accept("VALUES") {
        let error = reader.expected("VALUES");
        let near = reader.peek_word().and_then(|word| nearest(&word, ["VALUES"]).map(str::to_owned));
        return Err(match near {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint(INSERT_EXAMPLE),
        });
    }
    let mut rows: Vec<NewRow> = Vec::new();
    let mut seen: BTreeMap<Bytes, usize> = BTreeMap::new();
    loop {
        let row = row(reader, columns.as_deref())?;
        if let Some(first) = seen.insert(row.key.clone(), rows.len() + 1) {
            let message = format!("this key stands in row {first} already");
            return Err(LangError::new(row.span, message).hint("a statement writes each key once"));
        }
        rows.push(row);
        if !reader.accept_token(&Token::Comma) {
            break;
        }
    }
    if !reader.at_end() {
        if matches!(reader.token(), Token::LParen) {
            return Err(LangError::new(reader.here(), "expected a comma between two rows").hint(INSERT_EXAMPLE));
        }
        return Err(left_over(reader));
    }
    Ok(Insert { upsert, into, rows })
}

/// The columns that a row names, in its order.
fn columns(reader: &mut Reader<'_>) -> Result<Vec<Scalar>, LangError> {
    let open = reader.expect_token(&Token::LParen, INSERT_EXAMPLE)?;
    let mut columns: Vec<Scalar> = Vec::new();
    loop {
        let (token, span) = reader.peek();
        let Token::Word(word) = token else {
            return Err(reader.expected("the name of a column").hint(INSERT_EXAMPLE));
        };
        reader.advance();
        let column = column(&sqlparser::ast::Ident::new(word.value.clone()), span)?;
        if column == Scalar::Version {
            return Err(LangError::new(span, "versions are given by the store").hint(INSERT_EXAMPLE));
        }
        if columns.contains(&column) {
            return Err(LangError::new(span, format!("{} is named twice", word.value)).hint(INSERT_EXAMPLE));
        }
        columns.push(column);
        if !reader.accept_token(&Token::Comma) {
            break;
        }
    }
    let close = reader.expect_token(&Token::RParen, INSERT_EXAMPLE)?;
    for (wanted, word) in [(Scalar::Key, "key"), (Scalar::Value, "value")] {
        if !columns.contains(&wanted) {
            return Err(LangError::new(open.to(close), format!("a row needs a {word}")).hint(INSERT_EXAMPLE));
        }
    }
    Ok(columns)
}

fn row(reader: &mut Reader<'_>, columns: Option<&[Scalar]>) -> Result<NewRow, LangError> {
    const USUAL: &[Scalar] = &[Scalar::Key, Scalar::Value, Scalar::Expires];
    let open = reader.expect_token(&Token::LParen, INSERT_EXAMPLE)?;
    let (mut key, mut value, mut expires) = (None, None, Expiry::Never);
    let names = columns.unwrap_or(USUAL);
    let mut given = 0;
    loop {
        let (expression, span) = reader.expression(INSERT_EXAMPLE)?;
        match names.get(given) {
            Some(Scalar::Key) => key = Some((literal::key(reader, &expression, span)?, span)),
            Some(Scalar::Value) => value = Some(literal::value(reader, &expression, span)?),
            Some(Scalar::Expires) => expires = literal::expiry(reader, &expression, span)?,
            _ => {
                let message = format!("this row has more values than the {} columns", names.len());
                return Err(LangError::new(span, message).hint(INSERT_EXAMPLE));
            }
        }
        given += 1;
        if !reader.accept_token(&Token::Comma) {
            break;
        }
    }
    let close = reader.expect_token(&Token::RParen, INSERT_EXAMPLE)?;
    let least = columns.map_or(2, <[Scalar]>::len);
    if given < least {
        let message = format!("this row has {given} of {least} values");
        return Err(LangError::new(open.to(close), message).hint(INSERT_EXAMPLE));
    }
    let (key, span) = key.expect("the columns have a key");
    Ok(NewRow { key, value: value.expect("the columns have a value"), expires, span })
}

pub(super) fn update(reader: &mut Reader<'_>) -> Result<Update, LangError> {
    let keyspace = name(reader, "keyspace", UPDATE_EXAMPLE)?;
    reader.expect("SET", UPDATE_EXAMPLE)?;
    let (mut value, mut expires) = (None, None);
    loop {
        let (target, span) = target(reader)?;
        reader.expect_token(&Token::Eq, UPDATE_EXAMPLE)?;
        let (expression, whole) = reader.expression(UPDATE_EXAMPLE)?;
        let is_twice = match target {
            Scalar::Value => value.replace(literal::value(reader, &expression, whole)?).is_some(),
            _ => expires.replace(literal::expiry(reader, &expression, whole)?).is_some(),
        };
        if is_twice {
            return Err(LangError::new(span, "this column is set twice").hint(UPDATE_EXAMPLE));
        }
        if !reader.accept_token(&Token::Comma) {
            break;
        }
    }
    let (filter, filter_span) = required_condition(reader, "UPDATE", &keyspace)?;
    Ok(Update { keyspace, value, expires, filter, filter_span })
}

fn target(reader: &mut Reader<'_>) -> Result<(Scalar, Span), LangError> {
    let (token, span) = reader.peek();
    let Token::Word(word) = token else { return Err(reader.expected("value or expires").hint(UPDATE_EXAMPLE)) };
    reader.advance();
    if matches!(reader.token(), Token::Arrow | Token::LongArrow) {
        return Err(LangError::new(reader.here(), "a value is set as a whole, not field by field").hint(UPDATE_EXAMPLE));
    }
    match column(&sqlparser::ast::Ident::new(word.value), span)? {
        Scalar::Key => Err(LangError::new(span, "a row cannot change its key")
            .hint("INSERT the row under its new key, then DELETE the old one")),
        Scalar::Version => Err(LangError::new(span, "versions are given by the store").hint(UPDATE_EXAMPLE)),
        column => Ok((column, span)),
    }
}

pub(super) fn delete(reader: &mut Reader<'_>) -> Result<Delete, LangError> {
    const EXAMPLE: &str = "DELETE FROM orders WHERE key = 'a'";
    reader.expect("FROM", EXAMPLE)?;
    let from = name(reader, "keyspace", EXAMPLE)?;
    let (filter, filter_span) = required_condition(reader, "DELETE", &from)?;
    Ok(Delete { from, filter, filter_span })
}

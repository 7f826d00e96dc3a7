//! Constants: text, bytes, JSON, numbers, times.

use std::time::UNIX_EPOCH;

use bytes::Bytes;
use holdfast_types::durations::{UNITS_IN_WORDS, unknown_unit};
use holdfast_types::limits;
use sqlparser::ast::{BinaryOperator, DataType, Expr, FunctionArguments, UnaryOperator, Value};

use super::ast::{Expiry, Literal};
use super::error::{LangError, Span, brief};
use super::tokens::Reader;

/// The last millisecond that a timestamp has: in the year 10889.
const LAST_MS: i64 = (1 << 48) - 1;

/// Reads a constant; `None` when the expression is none.
pub(super) fn literal(reader: &Reader<'_>, expression: &Expr, whole: Span) -> Result<Option<Literal>, LangError> {
    // Of a large expression it is not cheap: asked for where it is needed.
    let span = || reader.span_of_expression(expression, whole);
    Ok(Some(match expression {
        Expr::Nested(inner) => return literal(reader, inner, whole),
        Expr::Value(value) => constant(&value.value, span())?,
        Expr::TypedString(typed) => {
            let Value::SingleQuotedString(text) = &typed.value.value else { return Ok(None) };
            cast(text, &typed.data_type, span())?
        }
        Expr::Cast { expr, data_type, .. } => match &**expr {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => cast(text, data_type, span())?,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        },
        Expr::UnaryOp { op: op @ (UnaryOperator::Minus | UnaryOperator::Plus), expr } => {
            let Some(Literal::Number(digits)) = literal(reader, expr, whole)? else { return Ok(None) };
            Literal::Number(match digits.strip_prefix('-') {
                _ if *op == UnaryOperator::Plus => digits,
                Some(positive) => positive.to_owned(),
                None => format!("-{digits}"),
            })
        }
        Expr::Function(function) => {
            let name = function.name.to_string().to_uppercase();
            let no_arguments = match &function.args {
                FunctionArguments::None => true,
                FunctionArguments::List(list) => list.args.is_empty(),
                FunctionArguments::Subquery(_) => false,
            };
            if !matches!(name.as_str(), "NOW" | "CURRENT_TIMESTAMP") || !no_arguments {
                return Ok(None);
            }
            Literal::Now(0)
        }
        Expr::Interval(_) => Literal::Now(interval_ms(reader, expression, whole)?),
        Expr::BinaryOp { left, op: op @ (BinaryOperator::Plus | BinaryOperator::Minus), right } => {
            let Some(Literal::Now(moved)) = literal(reader, left, whole)? else { return Ok(None) };
            if !matches!(**right, Expr::Interval(_)) {
                let span = reader.span_of_expression(right, whole);
                let error = LangError::new(span, "only an interval can be added to a time");
                return Err(error.hint("NOW() + INTERVAL '10 minutes'"));
            }
            let by = interval_ms(reader, right, whole)?;
            Literal::Now(if *op == BinaryOperator::Plus { moved.saturating_add(by) } else { moved.saturating_sub(by) })
        }
        _ => return Ok(None),
    }))
}

fn constant(value: &Value, span: Span) -> Result<Literal, LangError> {
    Ok(match value {
        Value::Number(digits, _) => Literal::Number(digits.clone()),
        Value::SingleQuotedString(text) => Literal::Text(text.clone()),
        Value::HexStringLiteral(digits) => Literal::Bytes(bytes(digits, span)?),
        Value::Boolean(value) => Literal::Bool(*value),
        Value::Null => Literal::Null,
        Value::DoubleQuotedString(text) => return Err(double_quoted(text, span)),
        Value::Placeholder(_) => return Err(LangError::new(span, "there are no parameters: write the value itself")),
        _ => {
            let error = LangError::new(span, "constants of this kind are not known");
            return Err(error.hint("text is written 'so', bytes x'00ff', JSON as JSON '{\"a\": 1}'"));
        }
    })
}

/// Text between double quotes is a name in SQL, which is a common slip.
pub(super) fn double_quoted(text: &str, span: Span) -> LangError {
    let error = LangError::new(span, "double quotes are for names, text stands between single quotes");
    error.hint(format!("write '{}'", text.replace('\'', "''")))
}

fn bytes(digits: &str, span: Span) -> Result<Bytes, LangError> {
    const HINT: &str = "bytes are written with two hexadecimal digits each: x'00ff'";
    if !digits.len().is_multiple_of(2) {
        return Err(LangError::new(span, format!("an odd number of hexadecimal digits: {}", digits.len())).hint(HINT));
    }
    let byte = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    bytes.map(Bytes::from).ok_or_else(|| LangError::new(span, "these are not hexadecimal digits").hint(HINT))
}

fn cast(text: &str, to: &DataType, span: Span) -> Result<Literal, LangError> {
    match to {
        DataType::JSON | DataType::JSONB => match serde_json::from_str::<serde_json::Value>(text) {
            Ok(_) => Ok(Literal::Json(text.to_owned())),
            Err(error) => Err(LangError::new(span, format!("this is not JSON: {error}"))
                .hint("names and texts within JSON stand between double quotes: JSON '{\"name\": \"zoe\"}'")),
        },
        DataType::Timestamp(..) | DataType::Datetime(..) | DataType::Date => {
            if time_ms(text).is_none() {
                return Err(not_a_time(span));
            }
            Ok(Literal::Text(text.to_owned()))
        }
        DataType::Text | DataType::Varchar(_) => Ok(Literal::Text(text.to_owned())),
        _ => Err(LangError::new(span, format!("a text cannot be read as {to}"))
            .hint("JSON '{\"a\": 1}' and TIMESTAMP '2026-11-22 20:00:00' are known")),
    }
}

fn not_a_time(span: Span) -> LangError {
    LangError::new(span, "this is not a time").hint("times are written '2026-11-22 20:00:00', in UTC")
}

/// Milliseconds since the Unix epoch of a time as it is written; 0 for every time before it.
pub(crate) fn time_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let day_only = text.len() == 10 && text.matches('-').count() == 2;
    let text = if day_only { format!("{text} 00:00:00") } else { text.to_owned() };
    let year = text.get(..4).filter(|year| year.bytes().all(|digit| digit.is_ascii_digit()))?.parse::<u16>().ok()?;
    if year < 1970 {
        // The parser knows no year before 1970: one that has the same days says whether it is a time at all.
        let has_leap_day = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let alike = if has_leap_day { "2000" } else { "2001" };
        return humantime::parse_rfc3339_weak(&format!("{alike}{}", &text[4..])).ok().map(|_| 0);
    }
    let time = humantime::parse_rfc3339_weak(&text).ok()?;
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// `INTERVAL '10 minutes'`, `INTERVAL '10' MINUTE`, `INTERVAL 10 MINUTE`, `INTERVAL '-1h'`.
fn interval_ms(reader: &Reader<'_>, expression: &Expr, whole: Span) -> Result<i64, LangError> {
    let span = reader.span_of_expression(expression, whole);
    let wrong = || LangError::new(span, "this is not an interval").hint("INTERVAL '10 minutes', INTERVAL '1h 30m'");
    let Expr::Interval(interval) = expression else { return Err(wrong()) };
    let Expr::Value(value) = &*interval.value else { return Err(wrong()) };
    let mut text = match &value.value {
        Value::SingleQuotedString(text) => text.trim().to_owned(),
        Value::Number(digits, _) => digits.clone(),
        _ => return Err(wrong()),
    };
    if let Some(unit) = &interval.leading_field {
        text = format!("{text} {}", unit.to_string().to_lowercase());
    }
    let (sign, text) = text.strip_prefix('-').map_or((1, text.as_str()), |rest| (-1, rest));
    match duration_ms(text) {
        Some(ms) => Ok(sign * ms),
        None => Err(unit_error(text, span).unwrap_or_else(wrong)),
    }
}

/// How long something takes, in milliseconds; `None`: it is not written so, or reaches beyond the last time that there is.
pub(super) fn duration_ms(text: &str) -> Option<i64> {
    if unknown_unit(text).is_some() {
        return None;
    }
    let ms = humantime::parse_duration(&text.trim().to_lowercase()).ok()?.as_millis();
    i64::try_from(ms).ok().filter(|ms| *ms <= LAST_MS)
}

/// What to say of a duration with a unit that is not taken.
pub(super) fn unit_error(text: &str, span: Span) -> Option<LangError> {
    let is_duration = text.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let unit = unknown_unit(text).filter(|_| is_duration)?;
    let error = LangError::new(span, format!("{} is no unit of time here", brief(unit)));
    Some(error.hint(UNITS_IN_WORDS))
}

/// Reads a key.
pub(super) fn key(reader: &Reader<'_>, expression: &Expr, whole: Span) -> Result<Bytes, LangError> {
    let span = reader.span_of_expression(expression, whole);
    let literal = literal(reader, expression, whole)?;
    key_bytes(literal.ok_or_else(|| not_a_constant(reader, expression, span))?, span)
}

/// The bytes of a key.
pub(super) fn key_bytes(literal: Literal, span: Span) -> Result<Bytes, LangError> {
    let bytes = key_operand(&literal, span)?;
    if bytes.is_empty() {
        return Err(LangError::new(span, "a key has at least one byte"));
    }
    if bytes.len() > limits::MAX_KEY_BYTES {
        let message = format!("this key has {} bytes, a key has at most {}", bytes.len(), limits::MAX_KEY_BYTES);
        return Err(LangError::new(span, message));
    }
    Ok(bytes)
}

/// What keys are compared with: text or bytes of any length.
pub(super) fn key_operand(literal: &Literal, span: Span) -> Result<Bytes, LangError> {
    match literal {
        Literal::Text(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Literal::Bytes(bytes) => Ok(bytes.clone()),
        Literal::Number(digits) => Err(LangError::new(span, "keys are text or bytes, not numbers")
            .hint(format!("write '{digits}'; keys are ordered as text: '10' comes before '9'"))),
        Literal::Null => Err(LangError::new(span, "a key is never NULL")),
        Literal::Bool(_) | Literal::Json(..) | Literal::Now(_) => {
            Err(LangError::new(span, "keys are text or bytes").hint("'text' or x'00ff'"))
        }
    }
}

/// Reads a value to be stored.
pub(super) fn value(reader: &Reader<'_>, expression: &Expr, whole: Span) -> Result<Bytes, LangError> {
    let span = reader.span_of_expression(expression, whole);
    let literal = literal(reader, expression, whole)?.ok_or_else(|| not_a_constant(reader, expression, span))?;
    let bytes = match literal {
        Literal::Text(text) | Literal::Json(text) | Literal::Number(text) => Bytes::from(text),
        Literal::Bytes(bytes) => bytes,
        Literal::Bool(value) => Bytes::from(value.to_string()),
        Literal::Null => {
            return Err(LangError::new(span, "a value is never NULL")
                .hint("an empty text '' is a value; DELETE removes a row; JSON 'null' is JSON's own null"));
        }
        Literal::Now(_) => {
            return Err(LangError::new(span, "a value is text, bytes or JSON").hint("write the time as text"));
        }
    };
    if bytes.len() > limits::HARD_MAX_VALUE_BYTES {
        let message = format!("this value has {} bytes, at most {} fit", bytes.len(), limits::HARD_MAX_VALUE_BYTES);
        return Err(LangError::new(span, message));
    }
    Ok(bytes)
}

/// Reads when a row will be gone.
pub(super) fn expiry(reader: &Reader<'_>, expression: &Expr, whole: Span) -> Result<Expiry, LangError> {
    const HINT: &str = "NULL for never, '10m' or INTERVAL '10 minutes' from now, or a time: '2026-11-22 20:00:00'";
    let span = reader.span_of_expression(expression, whole);
    let literal = literal(reader, expression, whole)?.ok_or_else(|| not_a_constant(reader, expression, span))?;
    match literal {
        Literal::Null => Ok(Expiry::Never),
        Literal::Now(ms) => Ok(Expiry::AfterMs(ms)),
        Literal::Text(text) => match (time_ms(&text), duration_ms(&text)) {
            (Some(ms), _) => Ok(Expiry::AtMs(ms)),
            (None, Some(ms)) => Ok(Expiry::AfterMs(ms)),
            (None, None) => Err(unit_error(&text, span)
                .unwrap_or_else(|| LangError::new(span, "this is neither a time nor a duration").hint(HINT))),
        },
        Literal::Number(_) | Literal::Bool(_) | Literal::Bytes(_) | Literal::Json(..) => {
            Err(LangError::new(span, "this is neither a time nor a duration").hint(HINT))
        }
    }
}

fn not_a_constant(reader: &Reader<'_>, expression: &Expr, span: Span) -> LangError {
    if let Expr::Identifier(name) = expression
        && name.quote_style == Some('"')
    {
        return double_quoted(&name.value, span);
    }
    let error = LangError::new(span, format!("a constant was expected, not {}", reader.quoted(span)));
    match expression {
        Expr::Identifier(name) => error.hint(format!("text stands between single quotes: '{}'", name.value)),
        Expr::Subquery(_) => error.hint("there are no queries within queries"),
        _ => error.hint("text is written 'so', bytes x'00ff', JSON as JSON '{\"a\": 1}'"),
    }
}

//! From SQL's expressions to ours: what can be said of one row.

use sqlparser::ast::{BinaryOperator, Expr, Ident, UnaryOperator, Value};

use super::ast::{Comparison, Filter, List, Literal, Pattern, PatternPart, Scalar, Step};
use super::error::{LangError, Span, brief, nearest};
use super::literal::{double_quoted, key_operand, literal, time_ms};
use super::tokens::Reader;

const COLUMNS: &[&str] = &["key", "value", "version", "expires"];
const NO_QUERIES: &str = "run the inner one first and write its keys as a list: key IN ('a', 'b')";

/// A column, by its name.
pub(super) fn column(name: &Ident, span: Span) -> Result<Scalar, LangError> {
    match name.value.to_lowercase().as_str() {
        "key" => return Ok(Scalar::Key),
        "value" => return Ok(Scalar::Value),
        "version" => return Ok(Scalar::Version),
        "expires" => return Ok(Scalar::Expires),
        _ => {}
    }
    if name.quote_style == Some('"') {
        return Err(double_quoted(&name.value, span));
    }
    let written = brief(&name.value);
    let error = LangError::new(span, format!("there is no column {written}"));
    Err(match nearest(&name.value, COLUMNS.iter().copied()) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint(format!(
            "the columns are key, value, version and expires; a field of a JSON value is value ->> '{written}', a text is '{written}'"
        )),
    })
}

/// Something that is said of a row; `None` when the expression is nothing of the kind (a constant, say).
pub(super) fn scalar(reader: &Reader<'_>, expression: &Expr, whole: Span) -> Result<Option<Scalar>, LangError> {
    // Of a large expression it is not cheap: asked for where it is needed.
    let span = || reader.span_of_expression(expression, whole);
    match expression {
        Expr::Nested(inner) => scalar(reader, inner, whole),
        Expr::Identifier(name) => column(name, span()).map(Some),
        Expr::CompoundIdentifier(names) => {
            let error = LangError::new(span(), "columns are named without their keyspace");
            Err(match names.last() {
                Some(last) if COLUMNS.contains(&last.value.to_lowercase().as_str()) => {
                    error.hint(format!("write {}", last.value))
                }
                Some(last) => error.hint(format!("a field of a JSON value is written value ->> '{}'", last.value)),
                None => error,
            })
        }
        Expr::BinaryOp { left, op: op @ (BinaryOperator::Arrow | BinaryOperator::LongArrow), right } => {
            field(reader, left, right, *op == BinaryOperator::LongArrow, whole).map(Some)
        }
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
            Err(LangError::new(span(), "there are no queries within queries").hint(NO_QUERIES))
        }
        Expr::Function(function) if literal(reader, expression, whole)?.is_none() => {
            let name = function.name.to_string();
            Err(LangError::new(span(), format!("there is no function {name} here"))
                .hint("COUNT(*), COUNT(...), MIN(key) and MAX(key) stand behind SELECT; NOW() is the time"))
        }
        Expr::BinaryOp { op: BinaryOperator::StringConcat | BinaryOperator::Plus | BinaryOperator::Minus, .. }
            if literal(reader, expression, whole)?.is_none() =>
        {
            Err(LangError::new(span(), "nothing is computed here")
                .hint("the shell compares and shows what is stored; compute in the program that reads it"))
        }
        Expr::Cast { .. } if literal(reader, expression, whole)?.is_none() => {
            Err(LangError::new(span(), "stored things are not cast")
                .hint("compared with a number, a field is read as a number: value ->> 'age' > 30"))
        }
        _ => Ok(None),
    }
}

fn field(reader: &Reader<'_>, left: &Expr, right: &Expr, as_text: bool, whole: Span) -> Result<Scalar, LangError> {
    let left_span = || reader.span_of_expression(left, whole);
    let mut path = match scalar(reader, left, whole)? {
        Some(Scalar::Value) => Vec::new(),
        Some(Scalar::Field { path, as_text: false }) => path,
        Some(Scalar::Field { .. }) => {
            return Err(LangError::new(left_span(), "->> gives text, which has no fields")
                .hint("write -> for all steps but the last: value -> 'a' ->> 'b'"));
        }
        Some(_) => {
            return Err(LangError::new(left_span(), "only values have fields").hint("value ->> 'name'"));
        }
        None => return Err(LangError::new(left_span(), "a field is taken of the value").hint("value ->> 'name'")),
    };
    let span = reader.span_of_expression(right, whole);
    let wrong = || {
        LangError::new(span, "the name of a field is a text, or a number for an array")
            .hint("value ->> 'name', value -> 'items' ->> 0")
    };
    let step = match right {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(name) => Step::Field(name.clone()),
            Value::Number(digits, _) => Step::Index(digits.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        },
        Expr::Identifier(name) => return Err(wrong().hint(format!("value ->> '{}'", name.value))),
        _ => return Err(wrong()),
    };
    path.push(step);
    Ok(Scalar::Field { path, as_text })
}

/// A condition.
pub(super) fn filter(reader: &Reader<'_>, expression: &Expr, whole: Span) -> Result<Filter, LangError> {
    let span = || reader.span_of_expression(expression, whole);
    match expression {
        Expr::Nested(inner) => filter(reader, inner, whole),
        Expr::Value(value) => match &value.value {
            Value::Boolean(value) => Ok(Filter::Constant(Some(*value))),
            Value::Null => Ok(Filter::Constant(None)),
            _ => Err(no_condition(reader, span())),
        },
        Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => {
            chain(reader, expression, op, whole)
        }
        Expr::BinaryOp { left, op: BinaryOperator::PGStartsWith, right } => {
            let scalar = text_like(reader, left, whole)?;
            let span = reader.span_of_expression(right, whole);
            let prefix = pattern_bytes(reader, right, whole)?;
            if prefix.is_empty() {
                return Err(
                    LangError::new(span, "everything starts with an empty text").hint("leave the condition out")
                );
            }
            let pattern = Pattern { parts: vec![PatternPart::Bytes(prefix), PatternPart::Any] };
            Ok(Filter::Like { scalar, pattern })
        }
        Expr::BinaryOp { left, op, right } => comparison(reader, left, op, right, &span, whole),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => Ok(Filter::Not(Box::new(filter(reader, expr, whole)?))),
        Expr::IsNull(inner) => Ok(Filter::IsNull(operand(reader, inner, whole)?)),
        Expr::IsNotNull(inner) => Ok(Filter::Not(Box::new(Filter::IsNull(operand(reader, inner, whole)?)))),
        Expr::InList { expr, list, negated } => {
            let scalar = operand(reader, expr, whole)?;
            let list = list.iter().map(|item| operand_literal(reader, &scalar, item, whole));
            Ok(negate(
                *negated,
                Filter::In { list: List::new(list.collect::<Result<_, _>>()?), scalar: scalar.clone() },
            ))
        }
        Expr::Between { expr, negated, low, high } => {
            let scalar = operand(reader, expr, whole)?;
            let low = operand_literal(reader, &scalar, low, whole)?;
            let high = operand_literal(reader, &scalar, high, whole)?;
            let at_least = Comparison::GreaterOrEqual;
            let from = Filter::Compare { scalar: scalar.clone(), comparison: at_least, literal: low };
            let to = Filter::Compare { scalar, comparison: Comparison::LessOrEqual, literal: high };
            Ok(negate(*negated, Filter::And(vec![from, to])))
        }
        Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
            let scalar = text_like(reader, expr, whole)?;
            let pattern = like_pattern(&pattern_bytes(reader, pattern, whole)?);
            Ok(negate(*negated, Filter::Like { scalar, pattern }))
        }
        Expr::ILike { .. } | Expr::SimilarTo { .. } | Expr::RLike { .. } | Expr::Like { .. } => Err(LangError::new(
            span(),
            "only plain LIKE is known",
        )
        .hint(
            "% stands for anything, _ for one character, \\ makes the next one ordinary; letters must match exactly",
        )),
        Expr::InSubquery { .. } | Expr::Exists { .. } | Expr::Subquery(_) => {
            Err(LangError::new(span(), "there are no queries within queries").hint(NO_QUERIES))
        }
        _ => {
            scalar(reader, expression, whole)?;
            Err(no_condition(reader, span()))
        }
    }
}

fn negate(negated: bool, filter: Filter) -> Filter {
    if negated { Filter::Not(Box::new(filter)) } else { filter }
}

fn no_condition(reader: &Reader<'_>, span: Span) -> LangError {
    LangError::new(span, format!("{} is no condition", reader.quoted(span)))
        .hint("conditions look like key = 'a', key STARTS WITH 'a', value ->> 'name' = 'x', expires IS NULL")
}

/// `a AND b AND c` comes as a tree that leans to the left: it is walked, not recursed into.
fn chain(reader: &Reader<'_>, top: &Expr, wanted: &BinaryOperator, whole: Span) -> Result<Filter, LangError> {
    let mut parts = Vec::new();
    let mut rest = top;
    while let Expr::BinaryOp { left, op, right } = rest
        && op == wanted
    {
        parts.push(filter(reader, right, whole)?);
        rest = left;
    }
    parts.push(filter(reader, rest, whole)?);
    parts.reverse();
    Ok(if *wanted == BinaryOperator::And { Filter::And(parts) } else { Filter::Or(parts) })
}

fn comparison(
    reader: &Reader<'_>,
    left: &Expr,
    op: &BinaryOperator,
    right: &Expr,
    span: &dyn Fn() -> Span,
    whole: Span,
) -> Result<Filter, LangError> {
    let comparison = match op {
        BinaryOperator::Eq => Comparison::Equal,
        BinaryOperator::NotEq => Comparison::NotEqual,
        BinaryOperator::Lt => Comparison::Less,
        BinaryOperator::LtEq => Comparison::LessOrEqual,
        BinaryOperator::Gt => Comparison::Greater,
        BinaryOperator::GtEq => Comparison::GreaterOrEqual,
        _ => {
            scalar(reader, left, whole)?;
            return Err(LangError::new(span(), format!("{op} is no comparison"))
                .hint("=, <>, <, <=, >, >=, BETWEEN, IN, LIKE, STARTS WITH, IS NULL"));
        }
    };
    let (left_scalar, right_scalar) = (scalar(reader, left, whole)?, scalar(reader, right, whole)?);
    match (left_scalar, right_scalar) {
        (Some(_), Some(_)) => Err(LangError::new(span(), "columns are compared with constants only")
            .hint("text stands between single quotes: key = 'a'")),
        (Some(scalar), None) => {
            let literal = operand_literal(reader, &scalar, right, whole)?;
            Ok(Filter::Compare { scalar, comparison, literal })
        }
        (None, Some(scalar)) => {
            let literal = operand_literal(reader, &scalar, left, whole)?;
            Ok(Filter::Compare { scalar, comparison: comparison.flipped(), literal })
        }
        (None, None) => {
            Err(LangError::new(span(), "this says nothing about a row").hint("for all rows write WHERE true"))
        }
    }
}

fn operand(reader: &Reader<'_>, expression: &Expr, whole: Span) -> Result<Scalar, LangError> {
    scalar(reader, expression, whole)?.ok_or_else(|| {
        let span = reader.span_of_expression(expression, whole);
        LangError::new(span, "a column was expected here").hint("key, value, value ->> 'name', version or expires")
    })
}

/// What LIKE and STARTS WITH can look at.
fn text_like(reader: &Reader<'_>, expression: &Expr, whole: Span) -> Result<Scalar, LangError> {
    let scalar = operand(reader, expression, whole)?;
    match scalar {
        Scalar::Key | Scalar::Value | Scalar::Field { as_text: true, .. } => Ok(scalar),
        Scalar::Field { .. } => {
            let span = reader.span_of_expression(expression, whole);
            Err(LangError::new(span, "-> gives JSON, which is not text").hint("write ->> for the last step"))
        }
        Scalar::Version | Scalar::Expires => {
            let span = reader.span_of_expression(expression, whole);
            Err(LangError::new(span, "times are not text")
                .hint("expires < '2026-11-22 20:00:00', expires < NOW() + INTERVAL '1h'"))
        }
    }
}

fn pattern_bytes(reader: &Reader<'_>, expression: &Expr, whole: Span) -> Result<Vec<u8>, LangError> {
    let span = reader.span_of_expression(expression, whole);
    match literal(reader, expression, whole)? {
        Some(Literal::Text(text)) => Ok(text.into_bytes()),
        Some(Literal::Bytes(bytes)) => Ok(bytes.to_vec()),
        _ => {
            scalar(reader, expression, whole)?;
            Err(LangError::new(span, "a pattern is a text or bytes").hint("key LIKE 'abc%'"))
        }
    }
}

/// Cuts a pattern into its parts.
pub(crate) fn like_pattern(text: &[u8]) -> Pattern {
    let mut parts = Vec::new();
    let mut plain = Vec::new();
    let mut letters = text.iter().copied();
    while let Some(letter) = letters.next() {
        let part = match letter {
            b'%' => PatternPart::Any,
            b'_' => PatternPart::One,
            b'\\' => {
                plain.push(letters.next().unwrap_or(b'\\'));
                continue;
            }
            _ => {
                plain.push(letter);
                continue;
            }
        };
        if !plain.is_empty() {
            parts.push(PatternPart::Bytes(std::mem::take(&mut plain)));
        }
        // Two of them say no more than one.
        if part != PatternPart::Any || parts.last() != Some(&PatternPart::Any) {
            parts.push(part);
        }
    }
    if !plain.is_empty() {
        parts.push(PatternPart::Bytes(plain));
    }
    Pattern { parts }
}

/// A constant that is compared with `scalar`, and fits it.
fn operand_literal(
    reader: &Reader<'_>,
    scalar_of: &Scalar,
    expression: &Expr,
    whole: Span,
) -> Result<Literal, LangError> {
    let span = reader.span_of_expression(expression, whole);
    let Some(literal) = literal(reader, expression, whole)? else {
        if scalar(reader, expression, whole)?.is_some() {
            return Err(LangError::new(span, "columns are compared with constants only")
                .hint("text stands between single quotes: key = 'a'"));
        }
        return Err(LangError::new(span, format!("a constant was expected, not {}", reader.quoted(span))));
    };
    if literal == Literal::Null {
        return Err(LangError::new(span, "nothing equals NULL").hint("write IS NULL or IS NOT NULL"));
    }
    match scalar_of {
        Scalar::Key => key_operand(&literal, span).map(|_| literal),
        Scalar::Version | Scalar::Expires => time_literal(literal, span),
        Scalar::Value | Scalar::Field { .. } => match literal {
            Literal::Now(_) => Err(LangError::new(span, "values are text, bytes or JSON, not times")
                .hint("write the time as it is written in the values, between single quotes")),
            literal => Ok(literal),
        },
    }
}

/// Versions and expiries are compared with times: written as such, or as milliseconds with a counter behind the dot.
fn time_literal(literal: Literal, span: Span) -> Result<Literal, LangError> {
    let fits = match &literal {
        Literal::Text(text) => time_ms(text).is_some(),
        Literal::Number(digits) => crate::plan::version_of(digits).is_some(),
        Literal::Now(_) => true,
        Literal::Null | Literal::Bool(_) | Literal::Bytes(_) | Literal::Json(..) => false,
    };
    if fits {
        return Ok(literal);
    }
    Err(LangError::new(span, "this is neither a time nor a version")
        .hint("'2026-11-22 20:00:00' (UTC), NOW() - INTERVAL '1h', or a version as it is shown: 1763841600123.0"))
}

//! SELECT, and the clauses that other statements have too.

use sqlparser::ast::{DuplicateTreatment, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value};
use sqlparser::tokenizer::Token;

use super::ast::{Aggregate, Filter, Item, Name, Output, Scalar, Select, Step};
use super::error::{LangError, Span, nearest};
use super::expression::{filter, scalar};
use super::fleet::whole_number;
use super::literal::literal;
use super::statement::name;
use super::tokens::Reader;

const EXAMPLE: &str = "SELECT key, value FROM orders WHERE key STARTS WITH 'a' LIMIT 10";

enum Chosen {
    All,
    Row(Item<Scalar>),
    Together(Item<Aggregate>),
}

pub(super) fn select(reader: &mut Reader<'_>) -> Result<Select, LangError> {
    if reader.peek_word().as_deref() == Some("DISTINCT") {
        return Err(LangError::new(reader.here(), "there is no DISTINCT").hint("keys are distinct already"));
    }
    let output = output(reader)?;
    if !reader.accept("FROM") {
        let error = reader.expected("FROM and the name of a keyspace");
        let near = reader.peek_word().and_then(|word| nearest(&word, ["FROM"]).map(str::to_owned));
        return Err(error.hint(near.map_or_else(|| EXAMPLE.to_owned(), |near| format!("did you mean {near}?"))));
    }
    let from = name(reader, "keyspace", EXAMPLE)?;
    refuse_more_relations(reader)?;
    let mut select = Select { output, from, filter: None, descending: false, limit: None, offset: 0 };
    if reader.accept("WHERE") {
        select.filter = Some(condition(reader)?.0);
    }
    let is_together = matches!(select.output, Output::Aggregates(_));
    let mut seen: Vec<String> = Vec::new();
    loop {
        let (word, span) = (reader.peek_word(), reader.here());
        let word = word.unwrap_or_default();
        if is_together && matches!(word.as_str(), "ORDER" | "LIMIT" | "OFFSET") {
            return Err(LangError::new(span, format!("{word} has nothing to work on: one row comes out"))
                .hint(format!("leave {word} out, or leave COUNT, MIN and MAX out")));
        }
        if seen.contains(&word) {
            return Err(LangError::new(span, format!("{word} stands here twice")).hint("each clause is written once"));
        }
        seen.push(word.clone());
        match word.as_str() {
            "ORDER" => {
                reader.advance();
                select.descending = order(reader)?;
            }
            "LIMIT" => {
                reader.advance();
                select.limit = if reader.accept("ALL") { None } else { Some(whole_number(reader, "LIMIT 10")?) };
                if matches!(reader.token(), Token::Comma) {
                    return Err(LangError::new(reader.here(), "LIMIT takes one number").hint("LIMIT 10 OFFSET 20"));
                }
            }
            "OFFSET" => {
                reader.advance();
                select.offset = whole_number(reader, "OFFSET 20")?;
                let _ = reader.accept("ROWS") || reader.accept("ROW");
            }
            _ => return Ok(select),
        }
    }
}

fn output(reader: &mut Reader<'_>) -> Result<Output, LangError> {
    let mut rows = Vec::new();
    let mut together: Vec<Item<Aggregate>> = Vec::new();
    loop {
        let start = reader.here();
        let chosen = item(reader)?;
        let is_together = matches!(chosen, Chosen::Together(_));
        if (is_together && !rows.is_empty()) || (!is_together && !together.is_empty()) {
            let span = Span::new(start.start, start.end);
            return Err(LangError::new(span, "one row for each row and one row for all of them do not go together")
                .hint("there is no GROUP BY: ask for COUNT, MIN and MAX in a statement of their own"));
        }
        match chosen {
            Chosen::All => rows.extend(
                [
                    ("key", Scalar::Key),
                    ("value", Scalar::Value),
                    ("version", Scalar::Version),
                    ("expires", Scalar::Expires),
                ]
                .map(|(name, what)| Item { name: name.into(), what }),
            ),
            Chosen::Row(item) => rows.push(item),
            Chosen::Together(item) => together.push(item),
        }
        if !reader.accept_token(&Token::Comma) {
            break;
        }
    }
    Ok(if together.is_empty() { Output::Rows(rows) } else { Output::Aggregates(together) })
}

fn item(reader: &mut Reader<'_>) -> Result<Chosen, LangError> {
    if reader.accept_token(&Token::Mul) {
        return Ok(Chosen::All);
    }
    let (expression, span) = reader.expression(EXAMPLE)?;
    let together = aggregate(reader, &expression, span)?;
    let row = if together.is_none() { scalar(reader, &expression, span)? } else { None };
    let alias = alias(reader)?;
    if let Some(what) = together {
        let name = alias.unwrap_or_else(|| reader.text_of(span).to_lowercase());
        return Ok(Chosen::Together(Item { name, what }));
    }
    if let Some(what) = row {
        let name = alias.unwrap_or_else(|| usual_name(&what));
        return Ok(Chosen::Row(Item { name, what }));
    }
    let error = LangError::new(span, format!("{} is said of no row", reader.quoted(span)));
    Err(match literal(reader, &expression, span)? {
        Some(_) => error.hint("columns are named without quotes: SELECT key, value ->> 'name' FROM orders"),
        None => error.hint(EXAMPLE),
    })
}

fn usual_name(what: &Scalar) -> String {
    match what {
        Scalar::Key => "key".into(),
        Scalar::Value => "value".into(),
        Scalar::Version => "version".into(),
        Scalar::Expires => "expires".into(),
        Scalar::Field { path, .. } => match path.last() {
            Some(Step::Field(name)) => name.clone(),
            Some(Step::Index(index)) => format!("[{index}]"),
            None => "value".into(),
        },
    }
}

fn alias(reader: &mut Reader<'_>) -> Result<Option<String>, LangError> {
    let explicit = reader.accept("AS");
    let (token, span) = reader.peek();
    match token {
        Token::Word(word) if explicit || word.quote_style.is_some() => {
            reader.advance();
            Ok(Some(word.value))
        }
        Token::Word(word) if nearest(&word.value, ["FROM"]).is_none() => {
            // `SELECT key k FROM`: a name without AS, if FROM or a comma follows; else FROM is missing here.
            reader.advance();
            if reader.peek_word().as_deref() == Some("FROM") || matches!(reader.token(), Token::Comma) {
                return Ok(Some(word.value));
            }
            let message = format!("expected FROM and the name of a keyspace, found {}", word.value);
            Err(LangError::new(span, message).hint(EXAMPLE))
        }
        Token::SingleQuotedString(text) if explicit => {
            reader.advance();
            Ok(Some(text))
        }
        _ if explicit => {
            Err(reader.expected("a name behind AS").hint("SELECT value ->> 'name' AS customer FROM orders"))
        }
        _ => Ok(None),
    }
}

fn aggregate(reader: &Reader<'_>, expression: &Expr, whole: Span) -> Result<Option<Aggregate>, LangError> {
    let Expr::Function(function) = expression else { return Ok(None) };
    let name = function.name.to_string().to_uppercase();
    let span = reader.span_of_expression(expression, whole);
    if matches!(name.as_str(), "SUM" | "AVG" | "ARRAY_AGG" | "STRING_AGG" | "GROUP_CONCAT") {
        return Err(LangError::new(span, format!("there is no {name}"))
            .hint("COUNT(*), COUNT(value ->> 'name'), MIN(key) and MAX(key) are known"));
    }
    if !matches!(name.as_str(), "COUNT" | "MIN" | "MAX") {
        return Ok(None);
    }
    let FunctionArguments::List(list) = &function.args else { return Ok(None) };
    if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
        return Err(LangError::new(span, format!("{name} takes no DISTINCT")).hint("keys are distinct already"));
    }
    let one = match list.args.as_slice() {
        [FunctionArg::Unnamed(one)] => one,
        _ => {
            return Err(LangError::new(span, format!("{name} takes one argument")).hint("COUNT(*), MIN(key), MAX(key)"));
        }
    };
    match (name.as_str(), one) {
        ("COUNT", FunctionArgExpr::Wildcard) => Ok(Some(Aggregate::Count)),
        ("COUNT", FunctionArgExpr::Expr(Expr::Value(value))) if matches!(value.value, Value::Number(..)) => {
            Ok(Some(Aggregate::Count))
        }
        ("COUNT", FunctionArgExpr::Expr(inner)) => match scalar(reader, inner, span)? {
            Some(what) => Ok(Some(Aggregate::CountOf(what))),
            None => Err(LangError::new(span, "COUNT counts rows").hint("COUNT(*), COUNT(value ->> 'name')")),
        },
        (_, FunctionArgExpr::Expr(inner)) if scalar(reader, inner, span)? == Some(Scalar::Key) => {
            Ok(Some(if name == "MIN" { Aggregate::MinKey } else { Aggregate::MaxKey }))
        }
        _ => Err(LangError::new(span, format!("{name} knows keys only, which are kept in order"))
            .hint(format!("{name}(key)"))),
    }
}

/// Refuses what SQL allows behind the name of a relation.
fn refuse_more_relations(reader: &mut Reader<'_>) -> Result<(), LangError> {
    let (token, span) = reader.peek();
    const ONE: &str = "a statement reads one keyspace";
    if token == Token::Comma {
        return Err(LangError::new(span, ONE).hint("read the other one with a statement of its own"));
    }
    if token == Token::Period {
        return Err(LangError::new(span, "keyspaces have no parts").hint("SELECT * FROM orders"));
    }
    let Some(word) = reader.peek_word() else { return Ok(()) };
    match word.as_str() {
        "JOIN" | "INNER" | "LEFT" | "RIGHT" | "FULL" | "CROSS" | "NATURAL" => {
            Err(LangError::new(span, format!("{ONE}: there are no joins"))
                .hint("read the keys first, then the other keyspace with WHERE key IN ('a', 'b')"))
        }
        "AS" => Err(no_second_name(span)),
        "WHERE" | "ORDER" | "LIMIT" | "OFFSET" => Ok(()),
        // `FROM orders o WHERE`: nothing else can be meant by a short word before WHERE.
        _ if word.len() <= 2 && nearest(&word, ["OR", "ON"]).is_none() => Err(no_second_name(span)),
        _ => Ok(()),
    }
}

fn no_second_name(span: Span) -> LangError {
    LangError::new(span, "keyspaces have no second names")
        .hint("columns are named without their keyspace: WHERE key = 'a'")
}

/// Reads what stands behind WHERE.
pub(super) fn condition(reader: &mut Reader<'_>) -> Result<(Filter, Span), LangError> {
    let (expression, span) = reader.expression("WHERE key = 'a', WHERE key STARTS WITH 'a', WHERE true")?;
    if reader.peek_word().as_deref() == Some("STARTS") {
        return Err(LangError::new(reader.here(), "STARTS goes on with WITH").hint("key STARTS WITH 'abc'"));
    }
    Ok((filter(reader, &expression, span)?, span))
}

/// Reads WHERE and a condition for a statement that changes rows.
pub(super) fn required_condition(
    reader: &mut Reader<'_>,
    verb: &str,
    keyspace: &Name,
) -> Result<(Filter, Span), LangError> {
    if reader.accept("WHERE") {
        return condition(reader);
    }
    if !reader.at_end() {
        let error = left_over_or(reader, "WHERE and a condition");
        let hint = error.hint.clone().unwrap_or_else(|| "WHERE key = 'a', WHERE key STARTS WITH 'a'".into());
        return Err(error.hint(hint));
    }
    let span = reader.here();
    Err(LangError::new(span, format!("{verb} needs a WHERE: without one every row of {} would change", keyspace.text))
        .hint("WHERE key = 'a', WHERE key STARTS WITH 'a'; if you mean every row: WHERE true"))
}

fn order(reader: &mut Reader<'_>) -> Result<bool, LangError> {
    reader.expect("BY", "ORDER BY key DESC")?;
    let (expression, span) = reader.expression("ORDER BY key DESC")?;
    if scalar(reader, &expression, span)? != Some(Scalar::Key) {
        return Err(LangError::new(
            span,
            "rows are ordered by key only: that is how they are stored, nothing is sorted",
        )
        .hint("ORDER BY key, ORDER BY key DESC"));
    }
    let descending = reader.accept("DESC");
    if !descending {
        reader.accept("ASC");
    }
    if matches!(reader.token(), Token::Comma) {
        return Err(
            LangError::new(reader.here(), "keys are distinct: nothing else can be ordered by").hint("ORDER BY key")
        );
    }
    Ok(descending)
}

/// What to say of words that are left when a statement is over.
pub(super) fn left_over(reader: &Reader<'_>) -> LangError {
    left_over_or(reader, "the end of the statement")
}

fn left_over_or(reader: &Reader<'_>, expected: &str) -> LangError {
    const CLAUSES: &[&str] = &["WHERE", "ORDER", "LIMIT", "OFFSET", "FROM", "VALUES", "SET", "AND", "OR", "LIKE"];
    let span = reader.here();
    let word = reader.peek_word().unwrap_or_default();
    match word.as_str() {
        "GROUP" | "HAVING" => LangError::new(span, format!("there is no {word} BY").replace("HAVING BY", "HAVING"))
            .hint("COUNT(*), MIN(key) and MAX(key) work on all rows that WHERE selects"),
        "UNION" | "INTERSECT" | "EXCEPT" => LangError::new(span, format!("there is no {word}"))
            .hint("send two statements, or join their conditions with OR"),
        "RETURNING" => LangError::new(span, "there is no RETURNING").hint("SELECT the rows afterwards"),
        "WHERE" => LangError::new(span, "WHERE stands too late, or does not belong here")
            .hint("WHERE comes behind the keyspace and before ORDER BY, LIMIT and OFFSET"),
        "FETCH" => LangError::new(span, "there is no FETCH").hint("LIMIT 10"),
        "FOR" => {
            LangError::new(span, "rows are not locked").hint("a row is changed by one statement: UPDATE ... WHERE ...")
        }
        "ON" => LangError::new(span, "there is no ON CONFLICT").hint("UPSERT overwrites rows that exist"),
        _ => {
            let error = reader.expected(expected);
            match nearest(&word, CLAUSES.iter().copied()).filter(|_| !word.is_empty()) {
                Some(near) if near != word => error.hint(format!("did you mean {near}?")),
                _ => error,
            }
        }
    }
}

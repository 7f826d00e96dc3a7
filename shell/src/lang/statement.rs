//! One statement: by its first word.

use super::ast::{Name, Statement};
use super::error::{LangError, Span, nearest};
use super::tokens::Reader;
use super::{fleet, query, rights, write};
use sqlparser::tokenizer::Token;

const BEGINNINGS: &[&str] = &[
    "SELECT", "INSERT", "UPSERT", "UPDATE", "DELETE", "EXPLAIN", "SHOW", "SPLIT", "MOVE", "CREATE", "DROP", "GRANT",
    "REVOKE",
];

/// Reads one statement, with or without its `;`.
pub fn parse(text: &str) -> Result<Statement, LangError> {
    let mut reader = Reader::new(text)?;
    let statement = statement(&mut reader)?;
    let ended = reader.accept_token(&Token::SemiColon);
    if reader.at_end() {
        return Ok(statement);
    }
    if ended {
        return Err(
            LangError::new(reader.here(), "a second statement begins here").hint("send one statement at a time")
        );
    }
    Err(query::left_over(&reader))
}

fn statement(reader: &mut Reader<'_>) -> Result<Statement, LangError> {
    let span = reader.here();
    let Some(word) = reader.peek_word() else {
        return Err(reader.expected("a statement").hint(format!("statements begin with {}", BEGINNINGS.join(", "))));
    };
    if let Some(error) = foreign(&word, span) {
        return Err(error);
    }
    reader.advance();
    match word.as_str() {
        "SELECT" => query::select(reader).map(Statement::Select),
        "INSERT" => write::insert(reader, false).map(Statement::Insert),
        "UPSERT" => write::insert(reader, true).map(Statement::Insert),
        "UPDATE" => write::update(reader).map(Statement::Update),
        "DELETE" => write::delete(reader).map(Statement::Delete),
        "EXPLAIN" => explain(reader),
        "SHOW" => fleet::show(reader).map(Statement::Show),
        "SPLIT" => fleet::split(reader),
        "MOVE" => fleet::move_leader(reader),
        "CREATE" => fleet::create(reader),
        "DROP" => rights::drop_role(reader, span).map(Statement::ChangeRights),
        "GRANT" => rights::grant(reader).map(Statement::ChangeRights),
        "REVOKE" => rights::revoke(reader).map(Statement::ChangeRights),
        _ => {
            let error = LangError::new(span, format!("no statement begins with {}", reader.quoted(span)));
            Err(match nearest(&word, BEGINNINGS.iter().copied()) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint(format!("statements begin with {}", BEGINNINGS.join(", "))),
            })
        }
    }
}

fn explain(reader: &mut Reader<'_>) -> Result<Statement, LangError> {
    let analyze = reader.accept("ANALYZE") || reader.accept("ANALYSE");
    let span = reader.here();
    let inner = statement(reader)?;
    match inner {
        Statement::Select(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
            Ok(Statement::Explain { analyze, statement: Box::new(inner) })
        }
        _ => Err(LangError::new(span, "only SELECT, INSERT, UPSERT, UPDATE and DELETE can be explained")),
    }
}

/// Statements of other databases, and what to do here instead.
fn foreign(word: &str, span: Span) -> Option<LangError> {
    let (message, hint) = match word {
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" => (
            "there are no transactions over several statements",
            "each statement stands for itself; an INSERT or UPSERT of up to 500 rows (1 MiB) in one range is written all or nothing",
        ),
        "TRUNCATE" => {
            ("keyspaces are not emptied at a stroke", "DELETE FROM name WHERE true removes all rows of a keyspace")
        }
        "ALTER" => ("there is nothing to alter: every keyspace has the columns key, value, version and expires", ""),
        "USE" => ("no keyspace is chosen for later statements", "name it in each statement: SELECT * FROM name"),
        "WITH" => ("there are no WITH queries", "SELECT from one keyspace at a time"),
        "REPLACE" | "MERGE" => ("rows are overwritten by UPSERT", "UPSERT INTO name (key, value) VALUES ('k', 'v')"),
        "DESCRIBE" | "DESC" => (
            "every keyspace has the same columns: key, value, version and expires",
            "SHOW KEYSPACES lists the keyspaces, SHOW RANGES FROM KEYSPACE name says where one lies",
        ),
        "SET" => ("there is nothing to set", "SHOW SETTINGS shows what a store was configured to"),
        "COPY" | "LOAD" | "IMPORT" => {
            ("files are not read by a statement", "send UPSERT statements to the standard input of `holdfast sql`")
        }
        "GET" => ("no statement begins with GET", "SELECT value FROM name WHERE key = 'k'"),
        "PUT" => ("no statement begins with PUT", "UPSERT INTO name (key, value) VALUES ('k', 'v')"),
        "SCAN" => ("no statement begins with SCAN", "SELECT * FROM name WHERE key STARTS WITH 'prefix'"),
        "VALUES" | "TABLE" => ("a statement does not begin with this", "SELECT * FROM name"),
        _ => return None,
    };
    let error = LangError::new(span, message);
    Some(if hint.is_empty() { error } else { error.hint(hint) })
}

/// Reads the name of a keyspace or a site.
pub(super) fn name(reader: &mut Reader<'_>, what: &str, hint: &str) -> Result<Name, LangError> {
    // Where the name was forgotten the next clause stands.
    const CLAUSES: &[&str] = &["FROM", "WHERE", "SET", "VALUES", "LIMIT"];
    let (token, span) = reader.peek();
    match token {
        Token::Word(word) if word.quote_style.is_none() && CLAUSES.contains(&word.value.to_uppercase().as_str()) => {
            Err(reader.expected(&format!("the name of a {what}")).hint(hint))
        }
        Token::Word(word) => {
            reader.advance();
            let mut text = if word.quote_style.is_none() { word.value.to_lowercase() } else { word.value };
            let mut whole = span;
            // Names of sites have dashes and digits, which come as tokens of their own: what stands without a gap is one name.
            while word.quote_style.is_none() && what == "site" && goes_on(reader, whole) {
                let (token, span) = reader.advance();
                text.push_str(&token.to_string().to_lowercase());
                whole = whole.to(span);
            }
            Ok(Name { text, span: whole })
        }
        Token::SingleQuotedString(text) if what == "site" => {
            reader.advance();
            Ok(Name { text, span })
        }
        Token::SingleQuotedString(_) => {
            let error = LangError::new(span, format!("the name of a {what} is written without quotes"));
            Err(error.hint(hint))
        }
        Token::LParen => {
            let error = LangError::new(span, "there are no queries within queries");
            Err(error.hint("run the inner one first and write its keys as a list: key IN ('a', 'b')"))
        }
        _ => Err(reader.expected(&format!("the name of a {what}")).hint(hint)),
    }
}

fn goes_on(reader: &Reader<'_>, before: Span) -> bool {
    let (token, span) = reader.peek();
    span.start == before.end && matches!(token, Token::Word(_) | Token::Number(..) | Token::Minus)
}

//! Statements about the fleet: SHOW, SPLIT, MOVE LEADER, CREATE.

use holdfast_types::RangeId;
use sqlparser::tokenizer::Token;

use super::ast::{Show, Statement};
use super::audit::audit;
use super::error::{LangError, nearest};
use super::statement::name;
use super::tokens::Reader;
use super::{literal, rights};

const SHOWN: &[&str] =
    &["SITES", "STORES", "RANGES", "LEADERS", "EVENTS", "AUDIT", "SETTINGS", "KEYSPACES", "GRANTS", "ROLES"];

pub(super) fn show(reader: &mut Reader<'_>) -> Result<Show, LangError> {
    let (word, span) = (reader.peek_word(), reader.here());
    let Some(word) = word else {
        return Err(reader.expected("what to show").hint(format!("SHOW {}", SHOWN.join(" | "))));
    };
    let what = match word.as_str() {
        "SITES" => Show::Sites,
        "STORES" => Show::Stores,
        "LEADERS" => Show::Leaders,
        "KEYSPACES" => Show::Keyspaces,
        "ROLES" => Show::Roles,
        "GRANTS" => {
            reader.advance();
            return Ok(Show::Grants { to: rights::shown_to(reader)? });
        }
        "RANGES" => {
            reader.advance();
            return ranges(reader);
        }
        "EVENTS" => {
            reader.advance();
            let limit = if reader.accept("LIMIT") {
                let at = reader.here();
                let limit = whole_number(reader, "SHOW EVENTS LIMIT 20")?;
                Some(u32::try_from(limit).map_err(|_| LangError::new(at, "so many events are not remembered"))?)
            } else {
                None
            };
            return Ok(Show::Events { limit });
        }
        "AUDIT" => {
            reader.advance();
            return Ok(Show::Audit(audit(reader)?));
        }
        "SETTINGS" => {
            reader.advance();
            let of_store = reader.accept("FOR");
            if of_store {
                reader.expect("STORE", "SHOW SETTINGS FOR STORE 2")?;
            }
            let store = of_store.then(|| whole_number(reader, "SHOW SETTINGS FOR STORE 2")).transpose()?;
            return Ok(Show::Settings { store });
        }
        "TABLES" | "DATABASES" | "SCHEMAS" => {
            let error =
                LangError::new(span, format!("there are no {} here: rows lie in keyspaces", word.to_lowercase()));
            return Err(error.hint("SHOW KEYSPACES"));
        }
        _ => {
            let error = LangError::new(span, format!("{} cannot be shown", reader.quoted(span)));
            return Err(match nearest(&word, SHOWN.iter().copied()) {
                Some(near) => error.hint(format!("did you mean SHOW {near}?")),
                None => error.hint(format!("SHOW {}", SHOWN.join(" | "))),
            });
        }
    };
    reader.advance();
    Ok(what)
}

fn ranges(reader: &mut Reader<'_>) -> Result<Show, LangError> {
    const EXAMPLE: &str = "SHOW RANGES FROM KEYSPACE orders";
    if !reader.accept("FROM") {
        return Ok(Show::Ranges { keyspace: None });
    }
    reader.expect("KEYSPACE", EXAMPLE)?;
    Ok(Show::Ranges { keyspace: Some(name(reader, "keyspace", EXAMPLE)?) })
}

pub(super) fn split(reader: &mut Reader<'_>) -> Result<Statement, LangError> {
    const EXAMPLE: &str = "SPLIT KEYSPACE orders AT 'm'; without KEYSPACE the default one is meant";
    let keyspace = reader.accept("KEYSPACE").then(|| name(reader, "keyspace", EXAMPLE)).transpose()?;
    reader.expect("AT", EXAMPLE)?;
    let (expression, span) = reader.expression(EXAMPLE)?;
    let key = literal::key(reader, &expression, span)?;
    Ok(Statement::Split { keyspace, key })
}

pub(super) fn move_leader(reader: &mut Reader<'_>) -> Result<Statement, LangError> {
    const EXAMPLE: &str = "MOVE LEADER OF RANGE 7 TO SITE site-a; SHOW RANGES lists the ranges, SHOW SITES the sites";
    reader.expect("LEADER", EXAMPLE)?;
    reader.expect("OF", EXAMPLE)?;
    reader.expect("RANGE", EXAMPLE)?;
    let range = RangeId(range_number(reader, EXAMPLE)?);
    reader.expect("TO", EXAMPLE)?;
    reader.expect("SITE", EXAMPLE)?;
    Ok(Statement::MoveLeader { range, site: name(reader, "site", EXAMPLE)? })
}

pub(super) fn create(reader: &mut Reader<'_>) -> Result<Statement, LangError> {
    const EXAMPLE: &str = "CREATE KEYSPACE orders";
    let span = reader.here();
    match reader.peek_word().as_deref() {
        Some("KEYSPACE") => {
            reader.advance();
        }
        Some("ROLE") => {
            reader.advance();
            return rights::create_role(reader).map(Statement::ChangeRights);
        }
        Some("USER" | "CLIENT" | "LOGIN") => {
            let message = "clients are not created here: each is who its certificate or its token says";
            return Err(LangError::new(span, message).hint("GRANT read ON KEYSPACE orders TO CLIENT 'billing'"));
        }
        Some("TABLE" | "DATABASE" | "SCHEMA" | "INDEX" | "VIEW") => {
            let message =
                "only keyspaces and roles can be created; a keyspace has the columns key, value, version and expires";
            return Err(LangError::new(span, message).hint(EXAMPLE));
        }
        _ => return Err(reader.expected("KEYSPACE or ROLE").hint("CREATE KEYSPACE orders, CREATE ROLE readers")),
    }
    if reader.peek_word().as_deref() == Some("IF") {
        return Err(LangError::new(
            reader.here(),
            "IF NOT EXISTS is not known: CREATE KEYSPACE fails when there is one",
        )
        .hint(EXAMPLE));
    }
    let name = name(reader, "keyspace", EXAMPLE)?;
    let mut letters = name.text.chars();
    let begins_well = letters.next().is_some_and(|first| first.is_ascii_lowercase());
    let goes_on_well = letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let is_cut_off = matches!(reader.token(), Token::Minus | Token::Period | Token::Number(..));
    if !begins_well || !goes_on_well || is_cut_off || name.text.len() > 63 {
        let message = "the name of a keyspace is a letter from a to z, then up to 62 of a-z, 0-9 and _";
        return Err(LangError::new(name.span, message).hint(EXAMPLE));
    }
    if matches!(reader.token(), Token::LParen) {
        let message = "a keyspace has no columns of its own: each has key, value, version and expires";
        return Err(LangError::new(reader.here(), message).hint(format!("CREATE KEYSPACE {}", name.text)));
    }
    Ok(Statement::CreateKeyspace(name))
}

/// A range is written as in tables: `r7`, or its number alone.
fn range_number(reader: &mut Reader<'_>, example: &str) -> Result<u64, LangError> {
    if let Some(word) = reader.peek_word()
        && let Some(Ok(number)) = word.strip_prefix('R').map(str::parse)
    {
        reader.advance();
        return Ok(number);
    }
    whole_number(reader, example)
}

/// Reads a whole number that is not negative.
pub(super) fn whole_number(reader: &mut Reader<'_>, example: &str) -> Result<u64, LangError> {
    let (token, span) = reader.peek();
    if let Token::Number(digits, _) = token {
        reader.advance();
        return digits.parse().map_err(|_| LangError::new(span, "a whole number was expected").hint(example));
    }
    Err(reader.expected("a whole number").hint(example))
}

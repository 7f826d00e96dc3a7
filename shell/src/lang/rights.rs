//! Statements about rights: CREATE ROLE, DROP ROLE, GRANT, REVOKE, and what stands behind SHOW GRANTS.

use bytes::Bytes;
use holdfast_client::admin::{GrantOn, RightsChange};
use holdfast_types::{Clients, Grantee, KeyspaceId, Right, RoleName, limits};
use sqlparser::tokenizer::Token;

use super::error::{LangError, Span, nearest};
use super::fleet::whole_number;
use super::literal;
use super::statement::name;
use super::tokens::Reader;

const GRANT: &str = "GRANT read, write ON KEYSPACE orders PREFIX 'a/' TO CLIENT 'billing'";
const GRANT_ROLE: &str = "GRANT ROLE readers TO CLIENT 'billing'";
const REVOKE: &str = "REVOKE write ON KEYSPACE orders FROM CLIENT 'billing'";
const REVOKE_ALL: &str = "REVOKE ALL FROM CLIENT 'billing'";
const REVOKE_ROLE: &str = "REVOKE ROLE readers FROM CLIENT 'billing'";
const WHERE: &str = "ON KEYSPACE orders, ON KEYSPACE orders PREFIX 'a/', or ON ALL KEYSPACES";
const RIGHTS: [&str; 4] = ["READ", "WRITE", "ADMIN", "FLEET"];

/// What stands behind CREATE ROLE.
pub(super) fn create_role(reader: &mut Reader<'_>) -> Result<RightsChange, LangError> {
    if reader.peek_word().as_deref() == Some("IF") {
        let error = LangError::new(reader.here(), "IF NOT EXISTS is not known: CREATE ROLE fails when there is one");
        return Err(error.hint("CREATE ROLE readers"));
    }
    Ok(RightsChange::CreateRole(role(reader, "CREATE ROLE readers")?))
}

/// What stands behind DROP.
pub(super) fn drop_role(reader: &mut Reader<'_>, begins: Span) -> Result<RightsChange, LangError> {
    const EXAMPLE: &str = "DROP ROLE readers";
    if !reader.accept("ROLE") {
        let error = LangError::new(begins, "only roles are dropped, keyspaces are not");
        return Err(error.hint("DROP ROLE name; DELETE FROM name WHERE true removes all rows of a keyspace"));
    }
    Ok(RightsChange::DropRole(role(reader, EXAMPLE)?))
}

/// What stands behind GRANT.
pub(super) fn grant(reader: &mut Reader<'_>) -> Result<RightsChange, LangError> {
    if reader.accept("ROLE") {
        let role = role(reader, GRANT_ROLE)?;
        reader.expect("TO", GRANT_ROLE)?;
        return Ok(RightsChange::AddMember(role, member(reader, GRANT_ROLE)?));
    }
    let grants = grants(reader, GRANT)?;
    reader.expect("TO", GRANT)?;
    Ok(RightsChange::Grant(grants, grantee(reader, GRANT)?))
}

/// What stands behind REVOKE.
pub(super) fn revoke(reader: &mut Reader<'_>) -> Result<RightsChange, LangError> {
    if reader.accept("ROLE") {
        let role = role(reader, REVOKE_ROLE)?;
        reader.expect("FROM", REVOKE_ROLE)?;
        return Ok(RightsChange::RemoveMember(role, member(reader, REVOKE_ROLE)?));
    }
    if reader.accept("ALL") {
        reader.expect("FROM", REVOKE_ALL)?;
        return Ok(RightsChange::RevokeAll(grantee(reader, REVOKE_ALL)?));
    }
    let grants = grants(reader, REVOKE)?;
    reader.expect("FROM", REVOKE)?;
    Ok(RightsChange::Revoke(grants, grantee(reader, REVOKE)?))
}

/// What stands behind SHOW GRANTS.
pub(super) fn shown_to(reader: &mut Reader<'_>) -> Result<Option<Grantee>, LangError> {
    const EXAMPLE: &str = "SHOW GRANTS FOR CLIENT 'billing'";
    if !reader.accept("FOR") {
        return Ok(None);
    }
    grantee(reader, EXAMPLE).map(Some)
}

/// Rights, and where they are to hold.
fn grants(reader: &mut Reader<'_>, example: &str) -> Result<Vec<(Right, GrantOn)>, LangError> {
    let mut rights: Vec<(Right, Span)> = Vec::new();
    loop {
        let (right, span) = right(reader, example)?;
        if rights.iter().any(|(known, _)| *known == right) {
            return Err(LangError::new(span, format!("{right} is named twice")).hint(example));
        }
        rights.push((right, span));
        if !reader.accept_token(&Token::Comma) {
            break;
        }
    }
    let fleet = rights.iter().find(|(right, _)| *right == Right::Fleet).map(|(_, span)| *span);
    let of_keys = rights.iter().find(|(right, _)| *right != Right::Fleet);
    let here = reader.here();
    if !reader.accept("ON") {
        return match of_keys {
            None => Ok(vec![(Right::Fleet, GrantOn::Everywhere)]),
            Some((right, _)) => Err(LangError::new(here, format!("where does {right} hold?")).hint(WHERE)),
        };
    }
    if let Some(span) = fleet {
        let error = LangError::new(span, "fleet is a right on the fleet as a whole, and about no keyspace");
        return Err(error.hint("in a statement of its own: GRANT fleet TO CLIENT 'deployer'"));
    }
    let on = place(reader, example)?;
    Ok(rights.into_iter().map(|(right, _)| (right, on.clone())).collect())
}

fn right(reader: &mut Reader<'_>, example: &str) -> Result<(Right, Span), LangError> {
    let (word, span) = (reader.peek_word(), reader.here());
    let Some(word) = word else { return Err(reader.expected("a right").hint(example)) };
    if let Ok(right) = word.parse() {
        reader.advance();
        return Ok((right, span));
    }
    let (message, hint) = match word.as_str() {
        "ALL" => {
            ("all rights are given one by one", "read, write and admin on keyspaces, fleet on the fleet".to_owned())
        }
        "SELECT" => ("there is no right SELECT", "to read keys is the right read".to_owned()),
        "INSERT" | "UPSERT" | "UPDATE" | "DELETE" => (
            "statements are no rights",
            "to write and to delete keys is the right write; a condition is read".to_owned(),
        ),
        _ => {
            let message = format!("there is no right {}", reader.quoted(span));
            let hint = match nearest(&word, RIGHTS) {
                Some(near) => format!("did you mean {}?", near.to_lowercase()),
                None => "the rights are read, write, admin and fleet".to_owned(),
            };
            return Err(LangError::new(span, message).hint(hint));
        }
    };
    Err(LangError::new(span, message).hint(hint))
}

/// What stands behind ON.
fn place(reader: &mut Reader<'_>, example: &str) -> Result<GrantOn, LangError> {
    if reader.accept("ALL") {
        reader.expect("KEYSPACES", example)?;
        if reader.peek_word().as_deref() == Some("PREFIX") {
            let error = LangError::new(reader.here(), "a prefix lies in one keyspace");
            return Err(error.hint("ON KEYSPACE orders PREFIX 'a/'"));
        }
        return Ok(GrantOn::Everywhere);
    }
    if !reader.accept("KEYSPACE") {
        return Err(reader.expected("KEYSPACE or ALL KEYSPACES").hint(WHERE));
    }
    if matches!(reader.token(), Token::Number(..)) {
        let span = reader.here();
        let id = whole_number(reader, WHERE)?;
        let id =
            u32::try_from(id).map_err(|_| LangError::new(span, "no keyspace has that id").hint("SHOW KEYSPACES"))?;
        return Ok(GrantOn::Numbered { keyspace: KeyspaceId(id), prefix: prefix(reader)? });
    }
    let keyspace = name(reader, "keyspace", WHERE)?.text;
    Ok(GrantOn::Named { keyspace, prefix: prefix(reader)? })
}

fn prefix(reader: &mut Reader<'_>) -> Result<Bytes, LangError> {
    const EXAMPLE: &str = "PREFIX 'a/', or PREFIX x'00ff'; without PREFIX all of the keyspace is meant";
    if !reader.accept("PREFIX") {
        return Ok(Bytes::new());
    }
    let (expression, span) = reader.expression(EXAMPLE)?;
    let prefix = literal::key(reader, &expression, span)?;
    let (len, most) = (prefix.len(), limits::GRANT_PREFIX_BYTES);
    if len > most {
        return Err(LangError::new(span, format!("the prefix has {len} bytes, {most} at most")).hint(EXAMPLE));
    }
    Ok(prefix)
}

fn role(reader: &mut Reader<'_>, example: &str) -> Result<RoleName, LangError> {
    if matches!(reader.peek_word().as_deref(), Some("TO")) {
        return Err(reader.expected("the name of a role").hint(example));
    }
    let name = name(reader, "role", example)?;
    // Without a gap it is a name that is none.
    let is_cut_off = matches!(reader.peek(), (Token::Minus | Token::Period | Token::Number(..), next) if next.start == name.span.end);
    let role = RoleName::new(&name.text).ok().filter(|_| !is_cut_off);
    role.ok_or_else(|| {
        let message = "the name of a role is a letter from a to z, then up to 62 of a-z, 0-9 and _";
        LangError::new(name.span, message).hint(example)
    })
}

/// Whom a grant concerns.
fn grantee(reader: &mut Reader<'_>, example: &str) -> Result<Grantee, LangError> {
    let span = reader.here();
    match reader.peek_word().as_deref() {
        Some("CLIENT") => {
            reader.advance();
            Ok(Grantee::Clients(client(reader, example)?))
        }
        Some("ROLE") => {
            reader.advance();
            Ok(Grantee::Role(role(reader, example)?))
        }
        Some("OPERATOR") => {
            let error = LangError::new(span, "operators have every right, and are given none");
            Err(error.hint("who is an operator says his certificate: spiffe://DOMAIN/operator/NAME"))
        }
        Some("STORE" | "SITE") => {
            Err(LangError::new(span, "stores are given no rights: they ask for those who asked them").hint(example))
        }
        _ => Err(reader.expected("CLIENT or ROLE").hint(example)),
    }
}

/// Who is, or was, a member of a role.
fn member(reader: &mut Reader<'_>, example: &str) -> Result<Clients, LangError> {
    let span = reader.here();
    match grantee(reader, example)? {
        Grantee::Clients(clients) => Ok(clients),
        Grantee::Role(_) => {
            Err(LangError::new(span, "a role is no member of a role: its members are clients").hint(example))
        }
    }
}

fn client(reader: &mut Reader<'_>, example: &str) -> Result<Clients, LangError> {
    let (token, span) = reader.peek();
    match token {
        Token::SingleQuotedString(text) => {
            reader.advance();
            let hint = "a client is called as in its identity, spiffe://DOMAIN/client/NAME; '*' is every client";
            text.parse().map_err(|bad: String| LangError::new(span, bad).hint(hint))
        }
        Token::Word(word) => {
            let error = LangError::new(span, "the name of a client stands between single quotes");
            Err(error.hint(format!("CLIENT '{}'", word.value.replace('\'', "''"))))
        }
        Token::Mul => {
            Err(LangError::new(span, "every client is written '*', between single quotes").hint("CLIENT '*'"))
        }
        _ => Err(reader.expected("the name of a client").hint(example)),
    }
}

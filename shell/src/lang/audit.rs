//! SHOW AUDIT: who was refused, who changed what, what became of trust.

use holdfast_client::admin::{AuditCondition, AuditField};
use sqlparser::tokenizer::Token;

use super::ast::{Audit, Literal, Since};
use super::error::{LangError, Span, nearest};
use super::fleet::whole_number;
use super::literal::{duration_ms, literal, time_ms, unit_error};
use super::tokens::Reader;

const EXAMPLE: &str = "SHOW AUDIT SINCE '24h' WHERE kind = 'act' AND who STARTS WITH 'spiffe://f/operator/' LIMIT 20";
const SINCE_EXAMPLE: &str = "SINCE '24h', SINCE NOW() - INTERVAL '1 day' or SINCE '2026-11-22 20:00:00'";

const FIELDS: [(&str, AuditField); 7] = [
    ("KIND", AuditField::Kind),
    ("WHO", AuditField::Who),
    ("ORIGIN", AuditField::Origin),
    ("WHAT", AuditField::What),
    ("RESULT", AuditField::Result),
    ("STORE", AuditField::Store),
    ("SITE", AuditField::Site),
];

/// What stands behind SHOW AUDIT.
pub(super) fn audit(reader: &mut Reader<'_>) -> Result<Audit, LangError> {
    let mut audit = Audit::default();
    let mut seen: Vec<String> = Vec::new();
    loop {
        let (word, span) = (reader.peek_word().unwrap_or_default(), reader.here());
        if seen.contains(&word) {
            return Err(LangError::new(span, format!("{word} stands here twice")).hint("each clause is written once"));
        }
        match word.as_str() {
            "SINCE" => {
                reader.advance();
                audit.since = Some(since(reader)?);
            }
            "LIMIT" => {
                reader.advance();
                let at = reader.here();
                let limit = whole_number(reader, EXAMPLE)?;
                audit.limit = Some(u32::try_from(limit).map_err(|_| LangError::new(at, "that is too many"))?);
            }
            "WHERE" => {
                reader.advance();
                audit.conditions = conditions(reader)?;
            }
            _ => return Ok(audit),
        }
        seen.push(word);
    }
}

fn since(reader: &mut Reader<'_>) -> Result<Since, LangError> {
    let (expression, span) = reader.expression(SINCE_EXAMPLE)?;
    let wrong = || LangError::new(span, "this is neither a time nor a duration").hint(SINCE_EXAMPLE);
    match literal(reader, &expression, span)? {
        // What is asked for has happened: an interval reaches back.
        Some(Literal::Now(moved)) => Ok(Since::AgoMs(moved.unsigned_abs())),
        Some(Literal::Text(text)) => match (time_ms(&text), duration_ms(&text)) {
            (Some(ms), _) => Ok(Since::AtMs(ms)),
            (None, Some(ago)) => Ok(Since::AgoMs(ago.unsigned_abs())),
            (None, None) => Err(unit_error(&text, span).unwrap_or_else(wrong)),
        },
        _ => Err(wrong()),
    }
}

fn conditions(reader: &mut Reader<'_>) -> Result<Vec<AuditCondition>, LangError> {
    let mut conditions = vec![condition(reader)?];
    while reader.accept("AND") {
        conditions.push(condition(reader)?);
    }
    if reader.peek_word().as_deref() == Some("OR") {
        let error = LangError::new(reader.here(), "all conditions on the audit must hold: there is no OR");
        return Err(error.hint("ask for each in a statement of its own"));
    }
    Ok(conditions)
}

fn condition(reader: &mut Reader<'_>) -> Result<AuditCondition, LangError> {
    let field = field(reader)?;
    let none = |negated| AuditCondition { field, value: String::new(), prefix: false, negated };
    let (prefix, negated) = match reader.peek().0 {
        Token::Eq => {
            reader.advance();
            (false, false)
        }
        Token::Neq => {
            reader.advance();
            (false, true)
        }
        _ if reader.accept("IS") => {
            let negated = reader.accept("NOT");
            reader.expect("NULL", "who IS NULL")?;
            return Ok(none(negated));
        }
        _ if reader.accept("STARTS") => {
            reader.expect("WITH", EXAMPLE)?;
            (true, false)
        }
        _ => return Err(reader.expected("=, <>, STARTS WITH or IS NULL").hint(EXAMPLE)),
    };
    let (token, span) = reader.peek();
    let Token::SingleQuotedString(value) = token else {
        return Err(LangError::new(span, format!("expected a text, found {}", reader.found())).hint(EXAMPLE));
    };
    reader.advance();
    Ok(AuditCondition { field, value, prefix, negated })
}

fn field(reader: &mut Reader<'_>) -> Result<AuditField, LangError> {
    let (word, span) = (reader.peek_word(), reader.here());
    let Some(word) = word else { return Err(reader.expected("a column of the audit").hint(EXAMPLE)) };
    let known = FIELDS.iter().find(|(name, _)| *name == word);
    let (_, field) = known.ok_or_else(|| unknown(reader, &word, span))?;
    reader.advance();
    Ok(*field)
}

fn unknown(reader: &Reader<'_>, word: &str, span: Span) -> LangError {
    let names = FIELDS.map(|(name, _)| name);
    let error = LangError::new(span, format!("the audit cannot be asked for {}", reader.quoted(span)));
    match nearest(word, names) {
        Some(near) => error.hint(format!("did you mean {}?", near.to_lowercase())),
        None => error.hint(format!("it can be asked for {}", names.join(", ").to_lowercase())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ast::{Show, Statement};
    use super::super::parse;
    use super::*;

    fn asked(text: &str) -> Audit {
        match parse(text).unwrap() {
            Statement::Show(Show::Audit(audit)) => audit,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn clauses_stand_in_any_order() {
        assert_eq!(asked("SHOW AUDIT"), Audit::default());
        let audit = asked("show audit limit 5 where what = 'init' and who is not null since '2h'");
        assert_eq!((audit.limit, audit.since), (Some(5), Some(Since::AgoMs(7_200_000))));
        assert_eq!(audit.conditions.len(), 2);
        assert!(audit.conditions[1].negated && audit.conditions[1].value.is_empty());
        assert_eq!(asked("SHOW AUDIT SINCE NOW() - INTERVAL '1 minute'").since, Some(Since::AgoMs(60_000)));
        assert_eq!(asked("SHOW AUDIT SINCE '1970-01-02'").since, Some(Since::AtMs(86_400_000)));
        let prefix = &asked("SHOW AUDIT WHERE who STARTS WITH 'a' AND store <> 's3'").conditions;
        assert_eq!((prefix[0].prefix, prefix[1].negated, prefix[1].field), (true, true, AuditField::Store));
    }

    #[test]
    fn what_cannot_be_asked_gets_an_answer_that_helps() {
        for (text, said) in [
            ("SHOW AUDIT WHERE when = 'x'", "cannot be asked for when"),
            ("SHOW AUDIT WHERE who = 'a' OR who = 'b'", "there is no OR"),
            ("SHOW AUDIT WHERE who = ann", "expected a text, found ann"),
            ("SHOW AUDIT WHERE who", "STARTS WITH"),
            ("SHOW AUDIT SINCE 'yore'", "neither a time nor a duration"),
            ("SHOW AUDIT SINCE 5", "neither a time nor a duration"),
            ("SHOW AUDIT LIMIT 1 LIMIT 2", "twice"),
            ("SHOW AUDIT LIMIT 99999999999", "too many"),
        ] {
            let error = parse(text).unwrap_err().render(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}

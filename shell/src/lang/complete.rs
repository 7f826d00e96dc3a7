//! What may come next: keywords by place, keyspaces, sites, columns.

use super::split::split_statements;

/// Names of the fleet that completion offers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Names {
    /// Its keyspaces.
    pub keyspaces: Vec<String>,
    /// Its sites.
    pub sites: Vec<String>,
}

/// What may come next.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Completion {
    /// Where the word begins that the candidates replace, in bytes.
    pub start: usize,
    /// The candidates, the likeliest first.
    pub candidates: Vec<String>,
}

const KEYWORDS: &str = "\
    ADMIN ALL ANALYZE AND AS ASC AT AUDIT BETWEEN BY CLIENT COUNT CREATE DELETE DESC DROP EVENTS EXPLAIN EXISTS \
    FALSE FLEET FOR FROM GRANT GRANTS IN INSERT INTERVAL INTO IS JSON KEYSPACE KEYSPACES LEADER LEADERS LIKE LIMIT \
    MAX MIN MOVE NOT NOW NULL OF OFFSET ON OR ORDER PREFIX RANGE RANGES READ REVOKE ROLE ROLES SELECT SET SETTINGS \
    SHOW SINCE SITE SITES SPLIT STARTS STORE STORES TO TRUE UPDATE UPSERT VALUES WHERE WITH WRITE";
const COLUMNS: &[&str] = &["key", "value", "version", "expires"];

/// All words that mean something in a statement, in capitals, in order.
pub(crate) fn keywords() -> impl Iterator<Item = &'static str> {
    KEYWORDS.split_ascii_whitespace()
}

/// What may stand at `cursor` (in bytes) of `text`, which may hold several statements.
#[must_use]
pub fn complete(text: &str, cursor: usize, names: &Names) -> Completion {
    let mut cursor = cursor.min(text.len());
    while !text.is_char_boundary(cursor) {
        cursor -= 1;
    }
    let before = &text[..cursor];
    if super::open_at_end(before).is_some() {
        return Completion { start: cursor, candidates: vec![] };
    }
    let start =
        before.rfind(|c: char| !is_word(c)).map_or(0, |at| at + before[at..].chars().next().map_or(0, char::len_utf8));
    let statement = split_statements(&before[..start]).pop().filter(|last| !last.ended);
    let words = words(statement.map_or("", |piece| piece.text));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let typed = &before[start..];
    let mut candidates = Vec::new();
    for offer in offers(&words) {
        match offer {
            Offer::Keywords(keywords) => add(&mut candidates, typed, keywords.split_ascii_whitespace(), true),
            Offer::Columns => add(&mut candidates, typed, COLUMNS.iter().copied(), false),
            Offer::Keyspaces => add(&mut candidates, typed, names.keyspaces.iter().map(String::as_str), false),
            Offer::Sites => add(&mut candidates, typed, names.sites.iter().map(String::as_str), false),
        }
    }
    Completion { start, candidates }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

fn add<'a>(out: &mut Vec<String>, typed: &str, names: impl Iterator<Item = &'a str>, are_keywords: bool) {
    let lower = typed.to_lowercase();
    let typed_lower = !typed.is_empty() && typed.chars().all(|c| !c.is_uppercase());
    let known = out.len();
    for name in names.filter(|name| name.to_lowercase().starts_with(&lower)) {
        // A keyword goes on in the letters in which it was begun.
        let text = if are_keywords && typed_lower { name.to_lowercase() } else { name.to_owned() };
        if !out[..known].iter().any(|known| known.eq_ignore_ascii_case(&text)) {
            out.push(text);
        }
    }
}

enum Offer {
    /// Between blanks.
    Keywords(&'static str),
    Columns,
    Keyspaces,
    Sites,
}

/// The words of a statement in capitals; what stands in quotes is one word, a sign is one.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut quote = None;
    let mut in_word = false;
    for letter in text.chars() {
        if let Some(open) = quote {
            if letter == open {
                quote = None;
            }
            continue;
        }
        if letter == '\'' || letter == '"' {
            quote = Some(letter);
            words.push("''".into());
            in_word = false;
        } else if is_word(letter) {
            if !in_word {
                words.push(String::new());
            }
            in_word = true;
            words.last_mut().expect("just pushed").extend(letter.to_uppercase());
        } else {
            in_word = false;
            if !letter.is_whitespace() {
                words.push(letter.to_string());
            }
        }
    }
    words
}

const BEGINNINGS: &str = "SELECT INSERT UPSERT UPDATE DELETE EXPLAIN SHOW CREATE SPLIT MOVE GRANT REVOKE DROP";

/// What may come behind the first right, or behind ROLE.
fn grant_offers(gives: bool, words: &[&str]) -> Vec<Offer> {
    use Offer::{Keyspaces, Keywords};
    let whom = || vec![Keywords(if gives { "TO" } else { "FROM" })];
    match words {
        ["ROLE"] => vec![],
        ["ROLE", _] | ["ALL"] => whom(),
        [.., ","] => vec![Keywords("READ WRITE ADMIN")],
        [.., "ON"] => vec![Keywords("KEYSPACE ALL")],
        [.., "ON", "ALL"] => vec![Keywords("KEYSPACES")],
        [.., "ON", "KEYSPACE"] => vec![Keyspaces],
        [.., "ON", "KEYSPACE", _] => vec![Keywords(if gives { "PREFIX TO" } else { "PREFIX FROM" })],
        [.., "PREFIX"] | [.., "CLIENT"] => vec![],
        ["ROLE", _, "TO" | "FROM"] => vec![Keywords("CLIENT")],
        [.., "TO" | "FROM"] => vec![Keywords("CLIENT ROLE")],
        ["FLEET"] | [.., "ALL", "KEYSPACES"] | [.., "PREFIX", _] => whom(),
        [.., "READ" | "WRITE" | "ADMIN"] => vec![Keywords("ON")],
        _ => vec![],
    }
}

fn offers(words: &[&str]) -> Vec<Offer> {
    use Offer::{Columns, Keyspaces, Keywords, Sites};
    match words {
        [] => vec![Keywords(BEGINNINGS)],
        ["EXPLAIN"] => vec![Keywords("ANALYZE SELECT INSERT UPSERT UPDATE DELETE")],
        ["EXPLAIN", "ANALYZE", rest @ ..] | ["EXPLAIN", rest @ ..] => offers(rest),
        ["SHOW"] => {
            vec![Keywords("SITES STORES RANGES LEADERS EVENTS AUDIT SETTINGS KEYSPACES GRANTS ROLES")]
        }
        ["SHOW", "RANGES"] => vec![Keywords("FROM")],
        ["SHOW", "RANGES", "FROM"] => vec![Keywords("KEYSPACE")],
        ["SHOW", "RANGES", "FROM", "KEYSPACE"] | ["SPLIT", "KEYSPACE"] => vec![Keyspaces],
        ["SHOW", "GRANTS"] => vec![Keywords("FOR")],
        ["SHOW", "GRANTS", "FOR"] => vec![Keywords("CLIENT ROLE")],
        ["SHOW", "EVENTS"] => vec![Keywords("LIMIT")],
        ["SHOW", "AUDIT"] => vec![Keywords("SINCE WHERE LIMIT")],
        ["SHOW", "SETTINGS"] => vec![Keywords("FOR")],
        ["SHOW", "SETTINGS", "FOR"] => vec![Keywords("STORE")],
        ["CREATE"] => vec![Keywords("KEYSPACE ROLE")],
        ["DROP"] => vec![Keywords("ROLE")],
        ["GRANT"] => vec![Keywords("READ WRITE ADMIN FLEET ROLE")],
        ["REVOKE"] => vec![Keywords("READ WRITE ADMIN FLEET ALL ROLE")],
        ["GRANT" | "REVOKE", rest @ ..] => grant_offers(words[0] == "GRANT", rest),
        ["SPLIT"] => vec![Keywords("AT KEYSPACE")],
        ["SPLIT", "KEYSPACE", _] => vec![Keywords("AT")],
        ["MOVE"] => vec![Keywords("LEADER")],
        ["MOVE", "LEADER"] => vec![Keywords("OF")],
        ["MOVE", "LEADER", "OF"] => vec![Keywords("RANGE")],
        ["MOVE", "LEADER", "OF", "RANGE", _] => vec![Keywords("TO")],
        ["MOVE", "LEADER", "OF", "RANGE", _, "TO"] => vec![Keywords("SITE")],
        ["MOVE", "LEADER", "OF", "RANGE", _, "TO", "SITE"] => vec![Sites],
        ["INSERT" | "UPSERT"] => vec![Keywords("INTO")],
        ["DELETE"] => vec![Keywords("FROM")],
        ["INSERT" | "UPSERT", "INTO"] | ["DELETE", "FROM"] | ["UPDATE"] => vec![Keyspaces],
        ["INSERT" | "UPSERT", rest @ ..] => insert_offers(rest),
        ["UPDATE", _] => vec![Keywords("SET")],
        ["UPDATE", _, "SET"] => vec![Columns],
        ["UPDATE", _, "SET", ..] if !words.contains(&"WHERE") => match words.last() {
            Some(&"=") => vec![Keywords("JSON NULL NOW")],
            Some(&",") => vec![Columns],
            _ => vec![Keywords("WHERE")],
        },
        ["SELECT", .., "FROM"] => vec![Keyspaces],
        ["SELECT", ..] if !words.contains(&"FROM") => match words.last() {
            Some(&"(") => vec![Columns],
            Some(&("SELECT" | ",")) => vec![Columns, Keywords("COUNT MIN MAX")],
            _ => vec![Keywords("FROM AS")],
        },
        ["SELECT" | "UPDATE" | "DELETE", ..] => clause_offers(words),
        _ => vec![],
    }
}

fn insert_offers(rest: &[&str]) -> Vec<Offer> {
    match rest {
        ["INTO", _] => vec![Offer::Keywords("VALUES")],
        ["INTO", _, "(", columns @ ..] if !columns.contains(&")") => vec![Offer::Columns],
        ["INTO", _, "(", .., ")"] if !rest.contains(&"VALUES") => vec![Offer::Keywords("VALUES")],
        [.., "(" | ","] => vec![Offer::Keywords("JSON NULL NOW INTERVAL")],
        _ => vec![],
    }
}

/// Behind the keyspace: conditions, order, limits.
fn clause_offers(words: &[&str]) -> Vec<Offer> {
    use Offer::{Columns, Keywords};
    let is_select = words.first() == Some(&"SELECT");
    let clauses = if is_select { "AND OR ORDER LIMIT OFFSET" } else { "AND OR" };
    match words {
        [.., "WHERE"] => vec![Columns, Keywords("NOT TRUE")],
        [.., "AND" | "OR" | "NOT"] => vec![Columns, Keywords("NOT")],
        [.., "ORDER"] => vec![Keywords("BY")],
        [.., "BY"] => vec![Columns],
        [.., "BY", _] => vec![Keywords("ASC DESC LIMIT OFFSET")],
        [.., "ASC" | "DESC"] => vec![Keywords("LIMIT OFFSET")],
        [.., "LIMIT", _] => vec![Keywords("OFFSET")],
        [.., "FROM", _] if is_select => vec![Keywords("WHERE ORDER LIMIT OFFSET")],
        [.., "FROM", _] => vec![Keywords("WHERE")],
        [.., "STARTS"] => vec![Keywords("WITH")],
        [.., "IS"] => vec![Keywords("NULL NOT")],
        [.., "KEY" | "VALUE" | "VERSION" | "EXPIRES"] => {
            vec![Keywords("LIKE STARTS IN BETWEEN IS NOT")]
        }
        _ => vec![Keywords(clauses)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(text: &str) -> Vec<String> {
        let names = Names { keyspaces: vec!["orders".into(), "default".into()], sites: vec!["site-a".into()] };
        complete(text, text.len(), &names).candidates
    }

    #[test]
    fn keywords_are_offered_by_place_and_in_the_letters_of_the_typist() {
        assert_eq!(offered("sel"), ["select"]);
        assert_eq!(offered("SHOW S"), ["SITES", "STORES", "SETTINGS"]);
        assert_eq!(offered("MOVE LEADER "), ["OF"]);
        assert_eq!(offered("select * from orders w"), ["where"]);
        assert_eq!(offered("SELECT * FROM orders WHERE key = 'a' O"), ["OR", "ORDER", "OFFSET"]);
        assert_eq!(offered("x; EXPLAIN AN"), ["ANALYZE"]);
        assert_eq!(offered("GRANT "), ["READ", "WRITE", "ADMIN", "FLEET", "ROLE"]);
        assert_eq!(offered("GRANT read, "), ["READ", "WRITE", "ADMIN"]);
        assert_eq!(offered("GRANT read ON KEYSPACE o"), ["orders"]);
        assert_eq!(offered("GRANT read ON KEYSPACE orders PREFIX 'a/' "), ["TO"]);
        assert_eq!(offered("GRANT read ON ALL KEYSPACES TO "), ["CLIENT", "ROLE"]);
        assert_eq!(offered("REVOKE ROLE readers "), ["FROM"]);
        assert_eq!(offered("REVOKE ROLE readers FROM "), ["CLIENT"]);
        assert_eq!(offered("SHOW GRANTS FOR C"), ["CLIENT"]);
    }

    #[test]
    fn names_are_offered_where_names_stand() {
        assert_eq!(offered("SELECT * FROM "), ["orders", "default"]);
        assert_eq!(offered("EXPLAIN ANALYZE SELECT * FROM o"), ["orders"]);
        assert_eq!(offered("MOVE LEADER OF RANGE 7 TO SITE si"), ["site-a"]);
        assert_eq!(offered("SELECT v"), ["value", "version"]);
        assert_eq!(offered("INSERT INTO orders (k"), ["key"]);
        assert_eq!(offered("UPDATE orders SET v"), ["value", "version"]);
    }

    #[test]
    fn nothing_is_offered_inside_of_quotes_and_comments() {
        assert!(offered("SELECT * FROM orders WHERE key = 'sel").is_empty());
        assert!(offered("/* sel").is_empty());
    }

    #[test]
    fn candidates_replace_the_word_that_was_begun() {
        assert_eq!(complete("SELECT * FROM or", 16, &Names::default()).start, 14);
        let whole = complete("é sel", 99, &Names::default());
        assert_eq!(whole.start, "é ".len());
    }
}

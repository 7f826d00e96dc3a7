//! What `\?` and `\h` say.

use std::fmt::Write as _;

/// One topic of `\?`.
struct Topic {
    name: &'static str,
    /// Other words that people look for.
    also: &'static [&'static str],
    summary: &'static str,
    body: &'static str,
}

/// One statement of `\h`.
pub(super) struct Statement {
    pub(super) name: &'static str,
    /// Other words that lead to it.
    also: &'static [&'static str],
    summary: &'static str,
    form: &'static str,
    notes: &'static str,
    pub(super) examples: &'static [&'static str],
}

/// `\?`: the commands and the topics.
pub(super) fn overview() -> String {
    let mut text = String::from(COMMANDS);
    text.push_str("\nTopics, with examples: \\? TOPIC\n");
    for topic in TOPICS {
        let _ = writeln!(text, "  {:<18}{}", topic.name, topic.summary);
    }
    text.push_str("\nStatements: \\h, and \\h SELECT for one of them. They end with ; and may take several lines.\n");
    text
}

/// `\? TOPIC`, or what topics there are.
pub(super) fn topic(wanted: &str) -> Result<String, String> {
    let wanted_lower = wanted.to_ascii_lowercase();
    let is_it = |topic: &&Topic| topic.name == wanted_lower || topic.also.contains(&wanted_lower.as_str());
    if let Some(topic) = TOPICS.iter().find(is_it) {
        return Ok(format!("{}: {}\n\n{}", topic.name, topic.summary, topic.body));
    }
    if find_statement(wanted).is_some() {
        return statement(wanted);
    }
    let names: Vec<_> = TOPICS.iter().map(|topic| topic.name).collect();
    Err(format!("there is no topic {wanted:?}; there are {}, and \\h for statements", names.join(", ")))
}

/// `\h`: all statements in a line each.
pub(super) fn statements() -> String {
    let mut text = String::new();
    for statement in STATEMENTS {
        let _ = writeln!(text, "  {:<18}{}", statement.name, statement.summary);
    }
    text.push_str("\nMore on one of them: \\h SELECT\n");
    text
}

/// `\h STATEMENT`, or what statements there are.
pub(super) fn statement(wanted: &str) -> Result<String, String> {
    let Some(statement) = find_statement(wanted) else {
        let names: Vec<_> = STATEMENTS.iter().map(|statement| statement.name).collect();
        return Err(format!("there is no statement {wanted:?}; there are {}", names.join(", ")));
    };
    let mut text = format!("{}: {}\n\n", statement.name, statement.summary);
    for line in statement.form.lines() {
        let _ = writeln!(text, "  {line}");
    }
    text.push('\n');
    if !statement.notes.is_empty() {
        text.push_str(statement.notes);
        text.push('\n');
    }
    text.push_str("Examples:\n");
    for example in statement.examples {
        let _ = writeln!(text, "  {example}");
    }
    Ok(text)
}

/// The statement whose name fits best: `show` alone leads to the first that begins so.
fn find_statement(wanted: &str) -> Option<&'static Statement> {
    let wanted = wanted.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_uppercase();
    let exact = STATEMENTS.iter().find(|s| s.name == wanted || s.also.contains(&wanted.as_str()));
    exact.or_else(|| {
        let first = wanted.split(' ').next().unwrap_or_default();
        let mut all = STATEMENTS.iter();
        (!first.is_empty()).then(|| all.find(|s| s.name.split(' ').next() == Some(first) || s.also.contains(&first)))?
    })
}

const COMMANDS: &str = r#"Commands of the shell:
  \?  [TOPIC]       this help, or a topic of it
  \h  [STATEMENT]   how a statement is written, with examples
  \d  [NAME]        the keyspaces, or one of them: its ranges, and where they are
  \q                leave (so does Ctrl-D)
  \timing [on|off]  show how long each statement took
  \format [NAME]    table, csv, tsv, json or jsonl
  \pager [on|off]   show long results through $PAGER, or less
  \width [COLUMNS]  cut the cells of tables there; 0 shows all, auto fits the screen
  \c  [ADDR...]     connect to other stores, or to the same ones again
  \i  FILE          run the statements of a file
  \r                forget the statement that is being typed (so does Ctrl-C)
  \echo TEXT        print a line
"#;

const TOPICS: &[Topic] = &[
    Topic {
        name: "keys",
        also: &["key", "where", "ranges", "prefix", "like"],
        summary: "how a WHERE clause becomes ranges of keys",
        body: r#"Rows lie in the order of their keys. What WHERE says of the key decides what is read;
the rest is a filter on it.

  SELECT * FROM words WHERE key = 'apple';                  one key
  SELECT * FROM words WHERE key IN ('apple', 'pear');       some keys
  SELECT * FROM words WHERE key LIKE 'app%';                a prefix
  SELECT * FROM words WHERE key STARTS WITH 'app';          the same
  SELECT * FROM words WHERE key >= 'b' AND key < 'c';       a range
  SELECT * FROM words ORDER BY key DESC LIMIT 3;            the last three: read from the end
  SELECT COUNT(*) FROM words WHERE key BETWEEN 'a' AND 'b';

EXPLAIN before a statement shows what it would read, and warns of a full scan.
"#,
    },
    Topic {
        name: "values",
        also: &["value", "json", "bytes", "null", "literals", "text"],
        summary: "text, bytes, JSON and null",
        body: r#"A keyspace is a relation of four columns: key, value, version (when it was written) and
expires (when it will be gone, or null). Keys and values are bytes. What is UTF-8 is shown
as text, the rest as a bytes literal.

  'it''s'                  text; a quote in it is doubled
  x'00ff'                  bytes
  JSON '{"a": 1}'          JSON, checked; -> and ->> reach into it
  value ->> 'name'         a field of a JSON value as text, null where there is none
  value -> 'address'       the same as JSON
"#,
    },
    Topic {
        name: "keyspaces",
        also: &["keyspace", "relations", "tables"],
        summary: "what can be selected from",
        body: r#"Each keyspace is a relation (key, value, version, expires). Programs that name none use
the keyspace default.

  \d                       the keyspaces
  \d orders                the ranges of one
  CREATE KEYSPACE orders;
  SELECT * FROM default LIMIT 5;
"#,
    },
    Topic {
        name: "fleet",
        also: &["sites", "stores", "leaders", "events", "operations", "admin", "rights"],
        summary: "sites, stores, ranges, leaders, and moving them",
        body: r#"  SHOW SITES;                            stores of each site, and how many are alive
  SHOW STORES;
  SHOW RANGES;                           bounds, replicas and leader of each range
  SHOW LEADERS;                          how many ranges each store leads
  SHOW EVENTS;                           what happened lately
  SHOW AUDIT;                            who was refused, who changed the fleet or its trust
  SHOW SETTINGS;
  SHOW GRANTS;                           who may do what; SHOW ROLES: who is in which role
  SPLIT AT 'm';                          cut the range that holds the key in two
  MOVE LEADER OF RANGE 4 TO SITE b;      hand the lead of a range over
"#,
    },
    Topic {
        name: "formats",
        also: &["format", "csv", "tsv", "jsonl", "table", "output", "export"],
        summary: "table, csv, tsv, json and jsonl",
        body: r#"On a terminal results are tables; elsewhere they are tsv. --format, or \format, says otherwise.

  table   for people. Control characters are escaped; wide cells are cut to fit, and a note
          says so: \width 0 shows all of them. Too many columns for the screen: a line each
  csv     RFC 4180 with a heading, lines end with a line feed; null is empty, an empty text
          has quotes
  tsv     with a heading, one line a row; \t \n \r \\ are escaped, null is \N
          Both hold every byte: what is not text is base64:AP8=, and import --base64 reads it
  json    one array of objects; bytes that are not text are {"base64": "AP8="}, versions are
          texts: as numbers most programs would round them
  jsonl   one object a line

  holdfast sql -e 'SELECT * FROM default' --format csv > all.csv
  holdfast sql -e 'SELECT key FROM default' | wc -l
"#,
    },
    Topic {
        name: "scripts",
        also: &["script", "exit", "codes", "errors", "-e", "-f"],
        summary: "statements from files and pipes, and how they end",
        body: r#"  holdfast sql -e 'SELECT COUNT(*) FROM default' -e 'SHOW SITES'
  holdfast sql -f setup.sql
  holdfast sql < setup.sql
  holdfast sql --on-error continue --echo -f many.sql

Results go to standard output, everything else to standard error. A script stops at its
first error unless --on-error continue.

  exit code  0  everything was done
             1  a statement failed
             2  the command line was not understood
             3  no store could be reached
           130  interrupted by Ctrl-C
"#,
    },
    Topic {
        name: "editing",
        also: &["edit", "history", "tab", "keys of the keyboard", "completion"],
        summary: "the line editor, history and completion",
        body: r#"  Tab               completes keywords, keyspaces, columns and sites; twice: shows what there is
  Up, Down          earlier statements; Ctrl-R searches them
  Ctrl-C            forgets the line at the prompt; stops a statement that runs
  Ctrl-D            leaves, on an empty line
  Ctrl-A, Ctrl-E    beginning and end of the line; Ctrl-W a word back; Ctrl-U all of the line

The history is in ~/.local/share/holdfast/history (XDG_DATA_HOME is minded);
HOLDFAST_HISTORY moves it, and switches it off when empty. A line that begins with a space
is not kept.
"#,
    },
];

/// The statements, shortest way first.
const STATEMENTS: &[Statement] = &[
    Statement {
        name: "SELECT",
        also: &["COUNT", "MIN", "MAX", "WHERE", "ORDER BY", "LIMIT", "OFFSET", "LIKE", "QUERY"],
        summary: "reads rows, counts them, finds the first and the last key",
        form: r#"SELECT * | COLUMN [AS NAME], ... | COUNT(* | COLUMN), MIN(key), MAX(key)
FROM KEYSPACE
[WHERE CONDITION]
[ORDER BY key [ASC | DESC]]
[LIMIT N] [OFFSET N]"#,
        notes: r#"Columns: key, value, version, expires, and fields of JSON values:
  value ->> 'name' (text), value -> 'name' (JSON).
Conditions: = <> < <= > >=, BETWEEN, IN (...), LIKE 'abc%', STARTS WITH 'abc',
  IS [NOT] NULL, AND, OR, NOT.
Those on the key decide what is read; all others are checked row by row.
"#,
        examples: &[
            "SELECT * FROM default WHERE key = 'apple';",
            "SELECT key, value ->> 'name' AS name FROM default WHERE key LIKE 'app%' LIMIT 10;",
            "SELECT COUNT(*) FROM default WHERE key >= 'a' AND key < 'b';",
            "SELECT key FROM default ORDER BY key DESC LIMIT 3;",
        ],
    },
    Statement {
        name: "INSERT",
        also: &["VALUES"],
        summary: "writes rows whose keys must not exist",
        form: "INSERT INTO KEYSPACE (key, value [, expires]) VALUES (KEY, VALUE [, TIME]), ...",
        notes: "An existing key is an error. All keys are looked for first, so that as a rule nothing is written
then. Up to 500 rows (1 MiB) of one range are written all or nothing; more go in batches.\n",
        examples: &[
            "INSERT INTO default (key, value) VALUES ('apple', 'red');",
            "INSERT INTO default (key, value) VALUES ('a', JSON '{\"n\": 1}'), ('b', x'00ff');",
        ],
    },
    Statement {
        name: "UPSERT",
        also: &["REPLACE", "PUT"],
        summary: "writes rows whether their keys exist or not",
        form: "UPSERT INTO KEYSPACE (key, value [, expires]) VALUES (KEY, VALUE [, TIME]), ...",
        notes: "A row that is overwritten loses its expiry, unless expires is given: a time, or how long from now,
as '10m' or INTERVAL '2 days'. A row whose time is over is gone at once.
Up to 500 rows (1 MiB) of one range are written all or nothing; more go in batches.\n",
        examples: &[
            "UPSERT INTO default (key, value) VALUES ('apple', 'green');",
            "UPSERT INTO default (key, value, expires) VALUES ('session', 'x', NOW() + INTERVAL '10 minutes');",
        ],
    },
    Statement {
        name: "UPDATE",
        also: &["SET"],
        summary: "changes rows that exist",
        form: "UPDATE KEYSPACE SET value = VALUE | expires = TIME [, ...] WHERE CONDITION",
        notes: "What is not set stays as it is; expires = NULL means never. The condition bounds the key, or
says that all rows are meant: WHERE true AND ...\n",
        examples: &[
            "UPDATE default SET value = 'yellow' WHERE key = 'apple';",
            "UPDATE default SET expires = '10m' WHERE key STARTS WITH 'session/';",
        ],
    },
    Statement {
        name: "DELETE",
        also: &["TRUNCATE"],
        summary: "deletes rows",
        form: "DELETE FROM KEYSPACE WHERE CONDITION",
        notes: "The condition bounds the key, or says that all rows are meant: WHERE true AND ...
WHERE true alone deletes every row of the keyspace.\n",
        examples: &["DELETE FROM default WHERE key = 'apple';", "DELETE FROM default WHERE key LIKE 'tmp/%';"],
    },
    Statement {
        name: "EXPLAIN",
        also: &["ANALYZE", "EXPLAIN ANALYZE", "PLAN"],
        summary: "shows what a statement would read; ANALYZE does it, and shows what it took",
        form: "EXPLAIN [ANALYZE] STATEMENT",
        notes: "EXPLAIN ANALYZE carries the statement out: a DELETE deletes.\n",
        examples: &[
            "EXPLAIN SELECT * FROM default WHERE key LIKE 'app%';",
            "EXPLAIN ANALYZE SELECT COUNT(*) FROM default WHERE key >= 'a' AND key < 'b';",
        ],
    },
    Statement {
        name: "CREATE KEYSPACE",
        also: &["CREATE", "CREATE TABLE"],
        summary: "makes a keyspace with a name",
        form: "CREATE KEYSPACE NAME",
        notes: "A name is a letter of a-z, then up to 62 of a-z, 0-9 and _. Keyspaces are not dropped.\n",
        examples: &["CREATE KEYSPACE orders;"],
    },
    Statement {
        name: "CREATE ROLE",
        also: &["ROLE", "USER", "CREATE USER"],
        summary: "makes a role, which is given rights and to clients",
        form: "CREATE ROLE NAME",
        notes: "A name is a letter of a-z, then up to 62 of a-z, 0-9 and _. Clients are not made: each is who its
certificate or its token says.\n",
        examples: &["CREATE ROLE readers;"],
    },
    Statement {
        name: "DROP ROLE",
        also: &["DROP"],
        summary: "ends a role, with what it gave",
        form: "DROP ROLE NAME",
        notes: "",
        examples: &["DROP ROLE readers;"],
    },
    Statement {
        name: "GRANT",
        also: &["RIGHTS", "GRANT ROLE", "PERMISSIONS", "READ", "WRITE", "ADMIN"],
        summary: "gives rights to a client or a role, and roles to clients",
        form: r#"GRANT RIGHT, ... ON KEYSPACE NAME [PREFIX TEXT] | ON ALL KEYSPACES TO WHOM
GRANT fleet TO WHOM
GRANT ROLE NAME TO CLIENT 'NAME'
WHOM: CLIENT 'NAME', CLIENT '*' for every client, ROLE NAME"#,
        notes: "Rights: read, write, admin (to look at ranges; on all keyspaces also to make keyspaces and to
look at the whole fleet), fleet (to change the fleet). A condition of a write is read, so
INSERT and UPDATE take read and write. With the first grant of a fleet everybody else may do
nothing any more. Operators need no grants.\n",
        examples: &[
            "GRANT read, write ON KEYSPACE orders PREFIX 'a/' TO CLIENT 'billing';",
            "GRANT read ON ALL KEYSPACES TO ROLE readers;",
            "GRANT ROLE readers TO CLIENT 'billing';",
            "GRANT fleet TO CLIENT 'deployer';",
        ],
    },
    Statement {
        name: "REVOKE",
        also: &["REVOKE ROLE", "REVOKE ALL"],
        summary: "takes rights and roles away",
        form: r#"REVOKE RIGHT, ... ON KEYSPACE NAME [PREFIX TEXT] | ON ALL KEYSPACES FROM WHOM
REVOKE fleet FROM WHOM
REVOKE ALL FROM WHOM
REVOKE ROLE NAME FROM CLIENT 'NAME'"#,
        notes: "It takes what was given in these words; SHOW GRANTS lists it. What a role gives stays with its
members until they leave it.\n",
        examples: &[
            "REVOKE write ON KEYSPACE orders PREFIX 'a/' FROM CLIENT 'billing';",
            "REVOKE ALL FROM CLIENT 'billing';",
            "REVOKE ROLE readers FROM CLIENT 'billing';",
        ],
    },
    Statement {
        name: "SHOW",
        also: &[],
        summary: "looks at sites, stores, ranges, events, the audit, settings, keyspaces, grants",
        form: r#"SHOW SITES | STORES | LEADERS | KEYSPACES | ROLES
SHOW RANGES [FROM KEYSPACE NAME]
SHOW EVENTS [LIMIT N]
SHOW AUDIT [SINCE TIME] [WHERE CONDITION [AND CONDITION ...]] [LIMIT N]
SHOW SETTINGS [FOR STORE N]
SHOW GRANTS [FOR CLIENT 'NAME' | FOR ROLE NAME]"#,
        notes: "A condition of the audit compares kind, who, origin, what, result, store or site:\n\
                who = 'TEXT', who <> 'TEXT', who STARTS WITH 'TEXT', who IS NULL.\n\
                A kind is refusal, act or trust; a result is done, refused or unknown.\n",
        examples: &[
            "SHOW STORES;",
            "SHOW RANGES FROM KEYSPACE default;",
            "SHOW EVENTS LIMIT 20;",
            "SHOW AUDIT SINCE '24h' WHERE result = 'refused';",
        ],
    },
    Statement {
        name: "SPLIT",
        also: &["SPLIT AT"],
        summary: "cuts the range that holds a key in two",
        form: "SPLIT [KEYSPACE NAME] AT KEY",
        notes: "The key is the first one of the right part. Without KEYSPACE the one called default is meant.\n",
        examples: &["SPLIT AT 'm';", "SPLIT KEYSPACE default AT x'80';"],
    },
    Statement {
        name: "MOVE LEADER",
        also: &["MOVE", "TRANSFER"],
        summary: "hands the lead of a range over to a store in another site",
        form: "MOVE LEADER OF RANGE N TO SITE NAME",
        notes: "",
        examples: &["MOVE LEADER OF RANGE 4 TO SITE b;"],
    },
];

/// The names of the topics, for completion.
pub(super) fn topic_names() -> impl Iterator<Item = &'static str> {
    TOPICS.iter().map(|topic| topic.name)
}

/// The names of the statements, for completion.
pub(super) fn statement_names() -> impl Iterator<Item = &'static str> {
    STATEMENTS.iter().map(|statement| statement.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_and_statement_is_listed_and_found_by_its_name_in_any_case() {
        for found in TOPICS {
            assert!(overview().contains(found.name));
            assert!(topic(&found.name.to_uppercase()).unwrap().starts_with(found.name));
            assert!(found.also.iter().all(|also| topic(also).is_ok()));
        }
        for found in STATEMENTS {
            assert!(statements().contains(found.name));
            assert!(statement(&found.name.to_lowercase()).unwrap().starts_with(found.name));
            assert!(!found.examples.is_empty());
        }
    }

    #[test]
    fn every_example_can_be_typed_as_it_stands() {
        for example in STATEMENTS.iter().flat_map(|statement| statement.examples) {
            let statement = example.strip_suffix(';').expect("an example ends with a semicolon");
            assert!(crate::lang::parse(statement).is_ok(), "{example}");
        }
    }

    #[test]
    fn the_page_about_the_language_names_every_statement_command_topic_and_format() {
        let page = include_str!("../../../docs/sql.md");
        let topics = page.lines().find(|line| line.starts_with("| `\\?`")).expect("the command for help");
        assert!(topic_names().all(|name| topics.contains(name)), "{topics}");
        for name in statement_names() {
            assert!(page.contains(&format!("\n{name} ")), "{name}");
        }
        let formats = crate::face::Format::NAMES.iter().map(|(name, _)| *name);
        for name in crate::face::meta::NAMES.iter().copied().chain(formats) {
            assert!(page.contains(&format!("\n| `{name}`")), "{name}");
        }
    }

    #[test]
    fn the_first_word_is_enough_to_find_a_statement() {
        assert!(statement("move leader of range 3").unwrap().starts_with("MOVE LEADER"));
        assert!(topic("select").unwrap().starts_with("SELECT"));
    }

    #[test]
    fn what_is_not_known_is_answered_with_what_there_is() {
        assert!(topic("weather").unwrap_err().contains("keys, values"));
        assert!(statement("alter").unwrap_err().contains("SELECT, "));
        assert!(statement("").is_err());
    }

    #[test]
    fn help_fits_a_line_of_the_screen_and_has_no_tabs() {
        let mut all = vec![overview(), statements()];
        all.extend(TOPICS.iter().map(|found| topic(found.name).unwrap()));
        all.extend(STATEMENTS.iter().map(|found| statement(found.name).unwrap()));
        for line in all.iter().flat_map(|text| text.lines()) {
            assert!(line.chars().count() <= 100 && !line.contains('\t'), "{line}");
        }
    }
}

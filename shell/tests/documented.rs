//! `docs/sql.md` is true: its statements run, and what it says is not there is refused.

use std::path::Path;
use std::sync::Arc;

use holdfast_shell::{Cancel, Session, lang};

use crate::collected::Collected;
use crate::memory::MemoryFleet;

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sql.md")).unwrap()
}

/// The texts between "```sql" and "```".
fn sql_blocks(page: &str) -> Vec<&str> {
    page.split("\n```sql\n").skip(1).map(|rest| rest.split_once("\n```").expect("a block ends").0).collect()
}

#[tokio::test]
async fn every_statement_of_the_page_can_be_run_in_its_order() {
    let page = page();
    let session = Session::new(Arc::new(MemoryFleet::new()));
    let mut statements = 0;
    for block in sql_blocks(&page) {
        for piece in lang::split_statements(block) {
            assert!(piece.ended, "a statement of the page lacks its semicolon: {}", piece.text);
            if let Err(error) = session.execute(piece.text, &mut Collected::default(), &Cancel::new()).await {
                panic!("a statement of docs/sql.md fails:\n{}", error.render(piece.text));
            }
            statements += 1;
        }
    }
    assert!(statements > 30, "only {statements} statements were found");
}

#[test]
fn what_the_page_says_is_not_there_is_refused() {
    let page = page();
    let (_, table) = page.split_once("## What is deliberately not there").expect("the section exists");
    let refused: Vec<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).map(|(text, _)| text).collect();
    assert!(refused.len() > 8);
    for text in refused {
        assert!(lang::parse(text).is_err(), "{text} is understood");
    }
}

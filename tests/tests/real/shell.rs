//! The shell: sessions over a list of words of more than a hundred thousand lines, and one in a real terminal.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use holdfast_tests::golden;
use holdfast_tests::scene::{Scene, skip};
use holdfast_tests::terminal::Terminal;
use holdfast_tests::wait;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

/// From Debian's wamerican-large.
const WORDS: &str = "/usr/share/dict/american-english-large";
/// Lines and bytes of the edition that the transcripts were made from.
const EDITION: (usize, usize) = (170_421, 1_658_068);
/// Few enough rows for tests that don't count them.
const SOME: usize = 5_000;

/// The words as a table of comma-separated values: the word, its letters, its vowels, its last three letters. `None`: skipped.
fn words_as_csv(folder: &Path, at_most: usize) -> Option<PathBuf> {
    let Ok(words) = std::fs::read_to_string(WORDS) else {
        skip("the list of words is missing (Debian: wamerican-large)");
        return None;
    };
    if (words.lines().count(), words.len()) != EDITION {
        skip("the list of words is another edition than that of wamerican-large 2020.12.07");
        return None;
    }
    let mut rows = String::from("word,letters,vowels,ending\n");
    for word in words.lines().take(at_most) {
        let letters: Vec<char> = word.chars().collect();
        let vowels = letters.iter().filter(|c| "aeiouAEIOU".contains(**c)).count();
        let ending: String = letters[letters.len().saturating_sub(3)..].iter().collect();
        let _ = writeln!(rows, "{word},{},{vowels},{ending}", letters.len());
    }
    let file = folder.join("words.csv");
    std::fs::write(&file, rows).unwrap();
    Some(file)
}

/// A fleet with a keyspace `words` that holds the list of words. `None`: skipped.
async fn fleet_with_words(at_most: usize) -> Option<Scene> {
    let scene = Scene::start(1).await?;
    let file = words_as_csv(&scene.path("."), at_most)?;
    succeeded(&scene.run(&["sql", "-e", "CREATE KEYSPACE words"]).await);
    let keyspaces = succeeded(&scene.run(&["sql", "-e", "SHOW KEYSPACES", "--format", "json"]).await);
    let keyspaces: Vec<Value> = serde_json::from_str(&keyspaces).unwrap();
    let words = keyspaces.iter().find(|row| row["name"] == "words").expect("it was created");
    let id = words["id"].as_u64().expect("an id is a number").to_string();
    succeeded(&scene.run(&["import", file.to_str().unwrap(), "--keyspace", &id]).await);
    Some(scene)
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a script with both streams in one, as a terminal would show them; gives the transcript and the exit code.
async fn transcript(scene: &Scene, script: &str) -> (String, Option<i32>) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/sessions");
    let mut command = scene.command(&["sql", "-f", script, "--echo", "--format", "table", "--on-error", "continue"]);
    command.current_dir(folder).stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    // Its copies of the writing ends would keep the pipe open.
    drop(command);
    let read = tokio::task::spawn_blocking(move || {
        let mut all = String::new();
        std::io::Read::read_to_string(&mut reader, &mut all).map(|_| all)
    });
    let ended = tokio::time::timeout(wait::PATIENCE, child.wait()).await.expect("the script ends").unwrap();
    (read.await.unwrap().unwrap(), ended.code())
}

/// Columns that say where things lie and what that took.
const OF_CHANCE: &[&str] = &[
    "range",
    "ranges",
    "site",
    "sites",
    "requests",
    "round_trips",
    "time",
    "bytes",
    "leader_site",
    "leader_store",
    "replicas",
    "confirmed",
];

/// Takes out what differs from run to run, statement by statement. What is said of times and places is not lined up alike in each run.
fn without_chance(scene: &Scene, transcript: &str) -> String {
    let mut blocks: Vec<String> = vec![String::new()];
    for line in transcript.lines() {
        if line.starts_with("> ") {
            blocks.push(String::new());
        }
        let block = blocks.last_mut().expect("there is one from the start");
        block.push_str(line);
        block.push('\n');
    }
    let shown = blocks.iter().map(|block| {
        let shown = golden::without_chance(block, &scene.fleet.addresses());
        let is_of_chance =
            ["EXPLAIN", "SHOW", "SPLIT", "\\d"].iter().any(|begin| block.starts_with(&format!("> {begin}")))
                || block.contains(" version,");
        // An error points at its place: its blanks count.
        let is_loose = is_of_chance && !block.contains("\nerror:");
        if is_loose { golden::without_columns(&golden::without_widths(&shown), OF_CHANCE) } else { shown }
    });
    shown.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_statements_over_a_list_of_words_answer_as_a_user_of_sql_expects() {
    let Some(scene) = fleet_with_words(usize::MAX).await else { return };
    let (said, code) = transcript(&scene, "thirty.sql").await;
    golden::compare("shell_thirty.txt", &without_chance(&scene, &said));
    assert_eq!(code, Some(0));
    let (said, code) = transcript(&scene, "wrong.sql").await;
    golden::compare("shell_wrong.txt", &without_chance(&scene, &said));
    assert_eq!(code, Some(1), "a statement failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_results_that_they_can_read_and_exit_codes_that_tell() {
    let Some(scene) = fleet_with_words(SOME).await else { return };
    let query =
        "SELECT key, value ->> 'letters' AS letters, expires FROM words WHERE key IN ('AOL', 'ABCs') ORDER BY key";
    let csv = scene.run(&["sql", "-e", query, "--format", "csv"]).await;
    assert_eq!(succeeded(&csv), "key,letters,expires\nABCs,4,\nAOL,3,\n");
    assert_eq!(
        succeeded(&scene.run(&["sql", "-e", query]).await),
        "key\tletters\texpires\nABCs\t4\t\\N\nAOL\t3\t\\N\n"
    );
    let lines = succeeded(&scene.run(&["sql", "-e", query, "--format", "jsonl"]).await);
    assert_eq!(lines.lines().next(), Some(r#"{"key":"ABCs","letters":"4","expires":null}"#));
    let json = succeeded(&scene.run(&["sql", "-e", "SELECT key FROM words", "--format", "json"]).await);
    assert_eq!(serde_json::from_str::<Vec<Value>>(&json).unwrap().len(), SOME);

    let sites = succeeded(&scene.run(&["sql", "-e", "SHOW SITES", "--format", "json"]).await);
    let sites: Vec<Value> = serde_json::from_str(&sites).unwrap();
    let seen: Vec<_> = sites.iter().map(|row| (row["site"].as_str().unwrap(), row["alive"].as_u64())).collect();
    assert_eq!(seen, [("site-a", Some(1)), ("site-b", Some(1)), ("site-c", Some(1))]);

    let ranges = succeeded(&scene.run(&["sql", "-e", "SHOW RANGES FROM KEYSPACE words", "--format", "jsonl"]).await);
    assert!(ranges.lines().all(|line| line.contains(r#""keyspace":"words""#)) && !ranges.is_empty(), "{ranges}");

    // A script on standard input stops at its first error, and says on which line it was.
    let mut child =
        scene.command(&["sql"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"SELECT COUNT(*) FROM words;\n\n  SELECT nothing FROM words;\nSHOW SITES;\n").await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), format!("count(*)\n{SOME}\n")));
    assert!(text(&output.stderr).contains("--> <stdin>:3:10"), "{}", text(&output.stderr));

    let usage = scene.run(&["sql", "--format", "xml"]).await;
    assert_eq!(usage.status.code(), Some(2));
    let nowhere = scene.run(&["sql", "--connect", "127.0.0.1:1", "-e", "SHOW SITES"]).await;
    assert_eq!(nowhere.status.code(), Some(3));
    assert!(text(&nowhere.stderr).contains("tried: 127.0.0.1:1"), "{}", text(&nowhere.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_the_shell_quietly() {
    let Some(scene) = fleet_with_words(SOME).await else { return };
    let mut child = scene
        .command(&["sql", "-e", "SELECT * FROM words"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = tokio::time::timeout(wait::PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(141), String::new()));
}

/// A session in a terminal, and what was on the screen at each step of it.
struct Session<'a> {
    terminal: Terminal,
    scene: &'a Scene,
    transcript: String,
}

impl Session<'_> {
    fn keep(&mut self, step: &str, screen: &str) {
        let screen = golden::without_chance(screen, &self.scene.fleet.addresses());
        let _ = writeln!(self.transcript, "==== {step}\n{screen}");
    }
}

const PROMPT: &str = "holdfast>";

/// True when the screen shows this, and the shell waits for the next line.
fn is_done(screen: &str, shows: &str) -> bool {
    screen.contains(shows) && screen.lines().last() == Some(PROMPT)
}

/// The greeting without warnings, which a fleet has by chance while it is young or the machine busy.
fn without_warnings(greeting: &str) -> String {
    let (before, rest) = greeting.split_once("warning:").unwrap_or((greeting, ""));
    let after = rest.find("Statements end").map_or("", |at| &rest[at..]);
    format!("{before}{after}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_a_real_terminal_goes_as_fingers_expect() {
    let Some(scene) = fleet_with_words(SOME).await else { return };
    let history = scene.path("history");
    let program = holdfast_tests::scene::program().unwrap();
    let command = format!("{} sql", program.display());
    let at = scene.fleet.addresses().join(",");
    let variables = [
        ("HOLDFAST_AT", at.as_str()),
        ("HOLDFAST_HISTORY", history.to_str().unwrap()),
        ("PAGER", "less -SFRX"),
        ("LESS", ""),
    ];
    let Some(terminal) = Terminal::start(&scene.path("."), 100, 24, &variables, &command) else { return };
    let mut session = Session { terminal, scene: &scene, transcript: String::new() };

    let screen = session.terminal.wait_for_line(PROMPT).await;
    session.keep("the greeting", &without_warnings(&screen));

    type_and_complete(&mut session).await;
    page(&mut session).await;
    cancel(&mut session).await;

    session.terminal.press(&["C-d"]);
    session.terminal.wait_for_end().await;
    let kept = std::fs::read_to_string(&history).unwrap();
    assert!(kept.contains("SELECT key\\nFROM words\\nWHERE key = 'AOL';"), "{kept}");
    golden::compare("shell_terminal.txt", &session.transcript);
}

/// A statement over several lines, completion by Tab, history by Up.
async fn type_and_complete(session: &mut Session<'_>) {
    let terminal = &session.terminal;
    terminal.press(&["C-l"]);
    terminal.enter("SELECT key");
    terminal.wait_for_line("       ->").await;
    terminal.enter("FROM words");
    terminal.wait_for("the second line of the statement", |screen| screen.matches("->").count() == 2).await;
    terminal.enter("WHERE key = 'AOL';");
    terminal.wait_for("the row", |screen| is_done(screen, "(1 row)")).await;
    let screen = session.terminal.screen();
    session.keep("a statement over three lines", &screen);

    let terminal = &session.terminal;
    terminal.press(&["C-l"]);
    terminal.write("sel");
    terminal.press(&["Tab"]);
    terminal.wait_for_line("holdfast> select").await;
    terminal.write("count(*) fr");
    terminal.press(&["Tab"]);
    terminal.wait_for_line("holdfast> select count(*) from").await;
    terminal.write("wo");
    terminal.press(&["Tab"]);
    terminal.wait_for_line("holdfast> select count(*) from words").await;
    terminal.enter("where key starts with 'A';");
    let screen = terminal.wait_for("the count", |screen| is_done(screen, "(1 row)")).await;
    session.keep("completion by Tab", &screen);

    let terminal = &session.terminal;
    terminal.press(&["C-l"]);
    terminal.press(&["Up", "Up"]);
    let screen = terminal.wait_for("the statement of before", |screen| screen.ends_with("WHERE key = 'AOL';")).await;
    session.keep("history by Up", &screen);
    session.terminal.press(&["C-c"]);
    let terminal = &session.terminal;
    terminal.wait_for("an empty prompt", |screen| screen.lines().last() == Some(PROMPT)).await;
}

/// A result that is longer than the screen goes through the pager; a short one does not.
async fn page(session: &mut Session<'_>) {
    let terminal = &session.terminal;
    terminal.press(&["C-l"]);
    terminal.enter("SELECT key, value FROM words LIMIT 1000;");
    let screen = terminal.wait_for("the first page", |screen| screen.lines().last() == Some(":")).await;
    session.keep("the pager", &screen);
    let terminal = &session.terminal;
    terminal.press(&["G"]);
    let screen = terminal.wait_for("the last page", |screen| screen.ends_with("(1,000 rows)\n(END)")).await;
    session.keep("the end of the pager", &screen);
    let terminal = &session.terminal;
    terminal.press(&["q"]);
    terminal.wait_for_line(PROMPT).await;
}

/// Ctrl-C at the prompt forgets what was typed; while a statement runs it stops that one. No store runs meanwhile, so that the statement
/// cannot end by itself: a leader left running would answer reads for as long as its lease holds.
async fn cancel(session: &mut Session<'_>) {
    let terminal = &session.terminal;
    terminal.press(&["C-l"]);
    terminal.enter("SELECT nothing");
    terminal.wait_for_line("       ->").await;
    terminal.press(&["C-c"]);
    terminal.wait_for_line(PROMPT).await;
    for store in [0, 1, 2] {
        session.scene.fleet.signal(store, Signal::STOP).unwrap();
    }
    terminal.enter("SELECT COUNT(*) FROM words;");
    terminal.wait_for("the progress of the scan", |screen| screen.contains("(Ctrl-C stops)")).await;
    terminal.press(&["C-c"]);
    let screen = terminal.wait_for("the end of the statement", |screen| is_done(screen, "cancelled")).await;
    for store in [0, 1, 2] {
        session.scene.fleet.signal(store, Signal::CONT).unwrap();
    }
    session.keep("Ctrl-C", &screen);
    let terminal = &session.terminal;
    terminal.wait_for_line(PROMPT).await;
    terminal.enter("SELECT COUNT(*) FROM words WHERE key = 'AOL';");
    let screen = terminal.wait_for("the shell goes on", |screen| is_done(screen, "(1 row)")).await;
    session.keep("after it the shell goes on", &screen);
}

//! Every command that a help text or a document shows can be parsed, and every target of `make` that a document names exists. Documents are
//! all of the repository's, wherever they lie; commands in pods and by the runbooks' `hf` count, and what prose names in code spans.

use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};

use crate::cli::Cli;

/// Words that end a command in a shell.
const ENDS: [&str; 6] = ["|", "||", "&&", "&", ";", "<"];
/// Words that take the next one as a file.
const REDIRECTIONS: [&str; 4] = [">", ">>", "2>", "<"];

/// One command, and where it stands.
#[derive(Debug)]
struct Shown {
    place: String,
    words: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The commands of some lines of a shell; a line that ends with a backslash goes on in the next.
fn commands<'a>(place: &str, lines: impl Iterator<Item = &'a str>) -> Vec<Shown> {
    let mut found = Vec::new();
    let mut open = String::new();
    for line in lines {
        if let Some(part) = line.strip_suffix('\\') {
            open.push_str(part);
            continue;
        }
        open.push_str(line);
        let text = std::mem::take(&mut open);
        // A command within another: what is inside counts too.
        let inner = text.split("$(").skip(1).chain(text.split("<(").skip(1));
        let inner = inner.filter_map(|rest| rest.split(')').next()).map(ToOwned::to_owned);
        for text in std::iter::once(text.clone()).chain(inner) {
            let spaced = text.replace("; ", " ; ");
            let Some(words) = shlex::split(&spaced) else { continue };
            for words in words.split(|word| ENDS.contains(&word.as_str())) {
                found.extend(command(words).map(|words| Shown { place: format!("{place}: {text}"), words }));
            }
        }
    }
    found
}

/// The words of one command, without assignments before it and redirections in it.
fn command(words: &[String]) -> Option<Vec<String>> {
    let is_assignment = |word: &&String| {
        word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    let mut kept = Vec::new();
    let mut words = words.iter().skip_while(is_assignment);
    while let Some(word) = words.next() {
        if REDIRECTIONS.contains(&word.as_str()) {
            words.next();
        } else if word != "$" {
            kept.push(word.clone());
        }
    }
    (!kept.is_empty()).then_some(kept)
}

/// The lines of a document's fenced blocks.
fn fenced(text: &str) -> impl Iterator<Item = &str> {
    let mut language = None;
    text.lines().filter(move |line| {
        if let Some(rest) = line.trim_start().strip_prefix("```") {
            language = if language.is_some() { None } else { Some(rest) };
            return false;
        }
        matches!(language, Some("" | "sh" | "bash" | "console"))
    })
}

/// The code spans of a document's prose that begin with the name of the program.
fn spans(text: &str) -> Vec<String> {
    let mut is_fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced {
            let spans = line.split('`').skip(1).step_by(2);
            found.extend(
                spans.filter(|span| span.starts_with("holdfast ") || span.starts_with("hf ")).map(str::to_owned),
            );
        }
    }
    found
}

/// All documents below a folder. What is built, downloaded or hidden is not ours.
fn documents_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" || name.ends_with("_modules") || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            documents_below(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    documents_below(&root(), &mut found);
    found.sort();
    found
}

fn from_documents() -> Vec<Shown> {
    let all = documents().into_iter().flat_map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        commands(&path.display().to_string(), fenced(&text))
    });
    all.collect()
}

fn from_help(command: &clap::Command, found: &mut Vec<Shown>) {
    let texts = [command.get_after_help(), command.get_after_long_help()];
    for text in texts.into_iter().flatten() {
        let text = text.to_string();
        found.extend(commands(command.get_name(), text.lines().filter(|line| line.starts_with("  "))));
    }
    command.get_subcommands().for_each(|one| from_help(one, found));
}

/// What comes after the name of the program, when it is ours: here, by the runbooks' `hf`, or in a pod.
fn arguments(shown: &Shown) -> Option<&[String]> {
    // The definition of `hf` itself.
    if shown.words.iter().any(|word| word.starts_with("$@")) {
        return None;
    }
    let (program, rest) = shown.words.split_first()?;
    if program == "kubectl" {
        let inside = &rest[rest.iter().position(|word| word == "--")? + 1..];
        // `run` begins the image's own program, which is ours.
        let is_own = rest.contains(&"run".to_owned()) && rest.contains(&"--image=$image".to_owned());
        return if is_own {
            Some(inside)
        } else {
            inside.split_first().filter(|(name, _)| is_ours(name)).map(|(_, rest)| rest)
        };
    }
    is_ours(program).then_some(rest)
}

fn is_ours(program: &str) -> bool {
    ["$bin", "hf"].contains(&program) || Path::new(program).file_name().is_some_and(|name| name == "holdfast")
}

/// Why a command cannot be parsed.
fn refusal(arguments: &[String]) -> Option<String> {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    let words = std::iter::once("holdfast".to_owned()).chain(arguments.iter().cloned());
    match Cli::try_parse_from(words) {
        Err(error)
            if !matches!(error.kind(), DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand) =>
        {
            Some(error.to_string())
        }
        _ => None,
    }
}

#[test]
fn documents_are_found_wherever_they_lie() {
    let found = documents();
    for name in [
        "README.md",
        "docs/guide.md",
        "docs/runbooks/moved-site.md",
        "docs/kubernetes/mcs.md",
        "tests/clients/README.md",
    ] {
        assert!(found.contains(&root().join(name)), "{name}: {found:?}");
    }
}

#[test]
fn commands_in_pods_and_of_the_runbooks_are_found() {
    let text = "kubectl --context e exec prod-0 -- /holdfast status --ranges\nkubectl run c --rm --image=$image -- get a\n\
                hf forget s4\nkubectl exec p -- nslookup x\nkubectl get pods\nhf() { kubectl exec p -- /holdfast \"$@\"; }\n";
    let found = commands("here", text.lines());
    let ours: Vec<_> = found.iter().filter_map(arguments).map(|words| words.join(" ")).collect();
    assert_eq!(ours, ["status --ranges", "get a", "forget s4"]);
}

#[test]
fn what_prose_names_is_a_subcommand_with_options_that_it_has() {
    use clap::error::ErrorKind::{InvalidSubcommand, UnknownArgument};
    assert_eq!(
        spans("`holdfast a` and `hf b`, `c`\n```\n`holdfast d`\n```\n`holdfast e"),
        ["holdfast a", "hf b", "holdfast e"]
    );
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in documents() {
        for span in spans(&std::fs::read_to_string(&path).unwrap()) {
            for shown in commands(&path.display().to_string(), [span.as_str()].into_iter()) {
                // Placeholders stand for something that could be parsed.
                let Some(words) = arguments(&shown).filter(|words| words.first().is_none_or(|word| word != "help"))
                else {
                    continue;
                };
                count += 1;
                let program = std::iter::once("holdfast".to_owned());
                let parsed = Cli::try_parse_from(program.chain(words.iter().cloned()));
                let kind = parsed.err().map(|error| error.kind());
                if kind.is_some_and(|kind| [InvalidSubcommand, UnknownArgument].contains(&kind)) {
                    wrong.push(shown.place);
                }
            }
        }
    }
    assert!(count > 50, "most of them are not found: {count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_that_is_shown_can_be_parsed() {
    let mut shown = from_documents();
    let in_documents = shown.iter().filter(|one| arguments(one).is_some()).count();
    from_help(&Cli::command(), &mut shown);
    let ours: Vec<_> = shown.iter().filter_map(|one| Some((one, arguments(one)?))).collect();
    assert!(in_documents > 60 && ours.len() > in_documents + 20, "most of them are not found: {}", ours.len());
    let wrong = ours.iter().filter_map(|(one, arguments)| Some(format!("{}\n{}", one.place, refusal(arguments)?)));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_subcommand_shows_examples_and_exit_codes() {
    fn check(command: &clap::Command) {
        let mut shown = Vec::new();
        from_help(command, &mut shown);
        let text = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
        let text = text.unwrap_or_default();
        assert!(text.contains("Exit codes:"), "{}: {text}", command.get_name());
        let own = |one: &Shown| one.words.iter().any(|word| word == command.get_name());
        assert!(shown.iter().any(own), "{} has no example", command.get_name());
        command.get_subcommands().filter(|one| !one.is_hide_set()).for_each(check);
    }
    check(&Cli::command());
}

#[test]
fn the_json_of_every_command_is_documented() {
    fn with_json(command: &clap::Command, words: &str, found: &mut Vec<String>) {
        if command.get_arguments().any(|argument| argument.get_id() == "json") {
            found.push(words.to_owned());
        }
        for below in command.get_subcommands() {
            with_json(below, &format!("{words} {}", below.get_name()), found);
        }
    }
    let document = std::fs::read_to_string(root().join("docs/machine-output.md")).unwrap();
    let mut commands = Vec::new();
    with_json(&Cli::command(), "holdfast", &mut commands);
    assert!(commands.len() > 25, "{commands:?}");
    // What is alike is described once.
    let described = |command: &String| {
        let like = match command.as_str() {
            "holdfast trust rotate switch" | "holdfast trust rotate remove" | "holdfast trust rotate abort" => {
                "holdfast trust rotate add"
            }
            "holdfast trust restore site" => "holdfast trust revoke site",
            "holdfast ca bundle remove" => "holdfast ca bundle add",
            command => command,
        };
        document.contains(&format!("\n## `{like}`\n"))
    };
    let missing: Vec<_> = commands.iter().filter(|command| !described(command)).collect();
    assert!(missing.is_empty(), "docs/machine-output.md lacks {missing:?}");
}

#[test]
fn every_argument_is_explained() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments().filter(|one| !one.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
    Cli::command().debug_assert();
}

#[test]
fn every_target_of_make_that_a_document_names_exists() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let shown = from_documents();
    let targets: Vec<_> = shown.iter().filter(|one| one.words[0] == "make").collect();
    assert!(targets.len() >= 3, "{targets:?}");
    for one in targets {
        for target in one.words[1..].iter().filter(|word| !word.contains('=')) {
            let rule = format!("{target}:");
            assert!(makefile.lines().any(|line| line.starts_with(&rule)), "{}: no such target", one.place);
        }
        let passed = one.words.iter().find_map(|word| word.strip_prefix("ARGS="));
        if let Some(passed) = passed.filter(|_| one.words.iter().any(|word| word == "demo")) {
            let words: Vec<_> = std::iter::once("demo".to_owned()).chain(shlex::split(passed).unwrap()).collect();
            assert_eq!(refusal(&words), None, "{}", one.place);
        }
    }
}

#[test]
fn commands_are_found_as_a_shell_would() {
    let text = "X=1 target/release/holdfast get a --json | jq . && holdfast put b \"$(holdfast get c)\" > out & # d";
    let found: Vec<_> = commands("here", text.lines()).into_iter().map(|one| one.words.join(" ")).collect();
    assert_eq!(
        found,
        ["target/release/holdfast get a --json", "jq .", "holdfast put b $(holdfast get c)", "holdfast get c"]
    );
    let long = commands("here", "holdfast scan a \\\n  b".lines());
    assert_eq!(long[0].words, ["holdfast", "scan", "a", "b"]);
}

//! Replays one seed: `sim --seed N [--trace] [--quiet-network] [--shape 3x2]`.

use std::process::ExitCode;
use std::rc::Rc;

use holdfast_output::{Lines, errln};
use holdfast_sim::{Options, Shape, run_aloud};

const USAGE: &str = "usage: sim --seed N [--trace] [--shape SITESxSTORES] [--no-faults]";

struct Arguments {
    seed: u64,
    trace: bool,
    options: Options,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { seed: 0, trace: false, options: Options::default() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seed" => arguments.seed = number(words.next())?,
            "--trace" => arguments.trace = true,
            "--no-faults" => arguments.options.faults = false,
            "--shape" => arguments.options.shape = Some(shape(&words.next().unwrap_or_default())?),
            other => return Err(format!("{other:?} is not known\n{USAGE}")),
        }
    }
    Ok(arguments)
}

fn number(word: Option<String>) -> Result<u64, String> {
    let word = word.ok_or(USAGE)?;
    word.parse().map_err(|_| format!("{word:?} is not a number\n{USAGE}"))
}

fn shape(word: &str) -> Result<Shape, String> {
    let (sites, stores) = word.split_once('x').ok_or_else(|| format!("a shape is like 3x2, not {word:?}"))?;
    Ok(Shape { sites: number(Some(sites.into()))?, stores_per_site: number(Some(stores.into()))? })
}

fn main() -> ExitCode {
    let Arguments { seed, trace, options } = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            errln!("{error}");
            return ExitCode::from(2);
        }
    };
    // A run is short and goes on to its end, whoever reads its steps.
    let lines = Rc::new(Lines::default());
    let steps = Rc::clone(&lines);
    let say = move |line: &str| {
        steps.say(line);
    };
    let sink = trace.then(|| Box::new(say) as Box<dyn FnMut(&str)>);
    let report = run_aloud(seed, &options, sink);
    lines.say(&report.to_string());
    if let Err(unwritten) = lines.end() {
        return holdfast_output::ending(&unwritten).map_or(ExitCode::FAILURE, ExitCode::from);
    }
    if report.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

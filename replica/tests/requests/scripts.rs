//! Runs the scripts in `scripts/`: one behaviour a file, the file's name is the claim.

use std::error::Error;
use std::fmt::Write as _;

use holdfast_replica::command::Split;
use holdfast_replica::pipeline::AdminWrite;
use holdfast_replica::{Outcome, Ticket};
use holdfast_types::{
    Condition, Expected, Key, KeyRange, Moment, Mutation, RangeId, Rejected, ReplicaId, Request, Response, Timestamp,
    WriteAttempt,
};

use crate::model::{Leader, START_MS, attempt, key};

type Answer = Result<String, Box<dyn Error>>;
type Args<'a> = goldenscript::ArgumentConsumer<'a>;

struct Runner {
    leader: Leader,
    told: usize,
}

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _: &goldenscript::Context) -> Answer {
        let mut args = command.consume_args();
        let leader = &mut self.leader;
        let before = (leader.evaluations.len(), leader.confirming.len());
        let mut out = String::new();
        match command.name.as_str() {
            "put" | "delete" | "swap" | "delete-range" => self.request(&command.name, &mut args)?,
            "split" => {
                let ticket = next(&mut args)?.parse()?;
                let split = Split { at: key(&next(&mut args)?), right: RangeId(8), right_leader: ReplicaId(1) };
                leader.admin(ticket, AdminWrite::Split(split));
            }
            "evaluate" => {
                leader.evaluate();
            }
            "confirm" => {
                leader.confirm();
            }
            "propose" => match leader.propose() {
                Some(requests) => writeln!(out, "{}: {requests} requests", leader.last())?,
                None => writeln!(out, "nothing is ready")?,
            },
            "apply" => {
                for entry in leader.apply(usize::MAX).map(|applied| applied.results).unwrap_or_default() {
                    let change = format!("{:?}", entry.change);
                    let name = change.split(['(', ' ', '{']).next().unwrap_or_default();
                    writeln!(out, "{}: {name}", entry.index)?;
                }
            }
            "elect" => leader.elect(args.take_key("kept").map_or(Ok(usize::MAX), |kept| kept.parse())?),
            "pass" => {
                let ms: u64 = next(&mut args)?.parse()?;
                leader.wall_ms += ms;
                leader.moment = Moment(leader.moment.0 + ms * 1_000);
                let outputs = leader.pipeline.expire(leader.now());
                leader.take(outputs);
            }
            name => return Err(format!("no command {name}").into()),
        }
        args.reject_next()?;
        self.tell(before, &mut out)?;
        Ok(out)
    }
}

impl Runner {
    /// `put 1 c=x [slot=0 sequence=1 attempt=1 ahead_ms=1000]`, `swap 2 c=y expected=x|absent`, `delete-range 3 c m max=2`.
    fn request(&mut self, name: &str, args: &mut Args<'_>) -> Result<(), Box<dyn Error>> {
        let write = self.attempt(args)?;
        let ticket: u64 = next(args)?.parse()?;
        let mut mutations = Vec::new();
        let request = if name == "delete-range" {
            let max_keys = args.take_key("max").map_or(Ok(1_000), |max| max.parse())?;
            let bounds = KeyRange { start: key(&next(args)?), end: Some(key(&next(args)?)) };
            Request::DeleteRange { bounds, max_keys }
        } else {
            let expected = args.take_key("expected").map(|text| match text {
                "absent" => Expected::Absent,
                value => Expected::Value(value.to_string().into()),
            });
            while let Some((name, value)) = args.next_key() {
                let value = (!value.is_empty()).then(|| value.to_string().into());
                mutations.push(Mutation { key: key(name), value, expires_at: None });
            }
            let condition = |expected| Condition { key: mutations[0].key.clone(), expected };
            Request::Write { conditions: expected.map(condition).into_iter().collect(), mutations }
        };
        self.leader.request(ticket, write, request);
        Ok(())
    }

    fn attempt(&self, args: &mut Args<'_>) -> Result<Option<WriteAttempt>, Box<dyn Error>> {
        let Some(slot) = args.take_key("slot") else { return Ok(None) };
        let number = |text: Option<&str>, default: u64| text.map_or(Ok(default), str::parse);
        let sequence = number(args.take_key("sequence"), 1)?;
        let number_of_attempt = u32::try_from(number(args.take_key("attempt"), 1)?)?;
        let ahead_ms = number(args.take_key("ahead_ms"), 10_000)?;
        let last_moment = Timestamp::from_ms(self.leader.wall_ms + ahead_ms);
        Ok(Some(attempt(1 << 70, slot.parse()?, sequence, number_of_attempt, last_moment)))
    }

    /// What the command brought about.
    fn tell(&mut self, (evaluations, confirming): (usize, usize), out: &mut String) -> Result<(), Box<dyn Error>> {
        let leader = &self.leader;
        for evaluation in leader.evaluations.iter().skip(evaluations) {
            let look_up = if evaluation.lookup.is_some() { " with a look-up" } else { "" };
            writeln!(out, "evaluation{look_up}")?;
        }
        for Ticket(ticket) in leader.confirming.iter().skip(confirming) {
            writeln!(out, "{ticket} must be confirmed")?;
        }
        for (Ticket(ticket), answer) in &leader.answers[self.told..] {
            writeln!(out, "{ticket} -> {}", show(answer))?;
        }
        self.told = leader.answers.len();
        Ok(())
    }
}

fn next(args: &mut Args<'_>) -> Answer {
    Ok(args.next_pos().ok_or("an argument is missing")?.to_string())
}

fn show(answer: &Result<Outcome, Rejected>) -> String {
    let at = |at: &Timestamp| format!("+{}.{}", at.ms() - START_MS, at.0 & 0xffff);
    match answer {
        Err(rejected) => rejected.to_string(),
        Ok(Outcome::Changed(descriptor)) => format!("{descriptor:?}"),
        Ok(Outcome::Response(Response::Written { timestamp })) => format!("written {}", at(timestamp)),
        Ok(Outcome::Response(Response::ConditionFailed { actual, .. })) => match actual {
            Some(actual) => format!("failed: it is {} {}", actual.value.escape_ascii(), at(&actual.timestamp)),
            None => "failed: it is absent".to_string(),
        },
        Ok(Outcome::Response(Response::RangeDeleted { deleted, resume, .. })) => {
            format!("{deleted} deleted, resume {:?}", resume.as_ref().map(Key::to_string))
        }
        Ok(other) => format!("{other:?}"),
    }
}

#[test]
fn every_script_tells_the_truth() {
    let mut scripts: Vec<_> =
        std::fs::read_dir("tests/requests/scripts").unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        println!("{}", script.display());
        goldenscript::run(&mut Runner { leader: Leader::new(), told: 0 }, &script).unwrap();
    }
}

//! Runs `scripts/*.txt`: one behaviour a file, the file's name is the claim. `UPDATE_GOLDENFILES=1` writes the expected output anew.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::too_many_lines, clippy::unwrap_used, missing_docs)]

mod forging;
mod group;

use std::error::Error;
use std::time::Duration;

use goldenscript::{ArgumentConsumer, Command, Context};
use holdfast_replica::{AdminRequest, EntryRoom, Input, MembershipChange, StagedSnapshot, SurvivalGoal};
use holdfast_types::storage::SnapshotId;
use holdfast_types::{Condition, Expected, Mutation, RangeId, ReplicaId, Request, SiteName, StoreId, Term};

use self::forging::number as keyed;
use self::group::{Group, Part, RANGE, show_message, site};

#[derive(Default)]
struct Script {
    group: Group,
}

type Answer = Result<String, Box<dyn Error>>;

fn store(text: &str) -> Result<StoreId, Box<dyn Error>> {
    Ok(StoreId(text.trim_start_matches('s').parse()?))
}

fn next_store(args: &mut ArgumentConsumer<'_>) -> Result<StoreId, Box<dyn Error>> {
    store(args.next_pos().ok_or("which store?")?)
}

fn replicas(text: Option<&str>) -> Result<Vec<ReplicaId>, Box<dyn Error>> {
    text.unwrap_or("").split(',').filter(|t| !t.is_empty()).map(|t| Ok(ReplicaId(t.parse()?))).collect()
}

fn part(text: &str) -> Result<Part, Box<dyn Error>> {
    Ok(match text {
        "persist" => Part::Persist,
        "apply" => Part::Apply,
        "read" => Part::Read,
        other => return Err(format!("no part {other}").into()),
    })
}

impl Script {
    fn pair(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<(StoreId, StoreId), Box<dyn Error>> {
        Ok((next_store(args)?, next_store(args)?))
    }

    fn traffic(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Answer {
        let one_way = args.take_key("one-way").is_some();
        let (a, b) = self.pair(args)?;
        let pairs = if one_way { vec![(a, b)] } else { vec![(a, b), (b, a)] };
        for pair in pairs {
            match name {
                "cut" => {
                    self.group.cut.insert(pair);
                    self.group.wires.retain(|w| (w.from, w.to) != pair);
                }
                "heal" => {
                    self.group.cut.remove(&pair);
                }
                "delay" => {
                    self.group.delayed.insert(pair);
                }
                _ => {
                    self.group.delayed.remove(&pair);
                }
            }
        }
        Ok(String::new())
    }

    /// Hands one delayed message over, by position of its kind.
    fn deliver(&mut self, args: &mut ArgumentConsumer<'_>) -> Answer {
        let (from, to) = self.pair(args)?;
        let at =
            self.group.wires.iter().position(|w| w.from == from && w.to == to).ok_or("nothing is under way there")?;
        let wire = self.group.wires.remove(at).unwrap();
        let shown = show_message(&wire.envelope);
        self.group.deliver(wire);
        Ok(format!("{from}→{to} {shown}"))
    }

    fn member(&mut self, args: &mut ArgumentConsumer<'_>) -> Answer {
        let at = next_store(args)?;
        let change = match args.next_pos().ok_or("which change?")? {
            "add" => {
                let store = next_store(args)?;
                let named = args.take_key("site").map(SiteName::new).transpose()?;
                MembershipChange::AddLearner { store, site: named.unwrap_or_else(|| site(store)) }
            }
            "reconfigure" => MembershipChange::Reconfigure {
                promote: replicas(args.take_key("promote"))?,
                demote: replicas(args.take_key("demote"))?,
            },
            "remove" => {
                MembershipChange::RemoveLearner { replica: ReplicaId(args.next_pos().ok_or("whom?")?.parse()?) }
            }
            other => return Err(format!("no change {other}").into()),
        };
        self.group.admin(at, RANGE, "change".into(), AdminRequest::ChangeMembership(change));
        Ok(String::new())
    }

    /// A message that no replica made, to a store.
    fn forge(&mut self, args: &mut ArgumentConsumer<'_>) -> Answer {
        let to_store = next_store(args)?;
        let (from_store, envelope) = forging::message(&self.group, to_store, args)?;
        let range = envelope.range;
        // With data: what the receiver has itself.
        let input = if args.take_key("staged").is_some() {
            let range_state = self.group.stores[&to_store].data.states[&range].clone();
            let staged = StagedSnapshot { snapshot: SnapshotId(99), range_state };
            Input::SnapshotStaged { from_store, envelope, staged }
        } else {
            Input::Message { from_store, envelope }
        };
        self.group.step(to_store, range, input);
        Ok(String::new())
    }

    /// Many writes, one after the other; what they were answered is counted.
    fn fill(&mut self, args: &mut ArgumentConsumer<'_>) -> Answer {
        let at = next_store(args)?;
        let entries = keyed(args, "entries")?.unwrap_or(1);
        let bytes = usize::try_from(keyed(args, "bytes")?.unwrap_or(10))?;
        for n in 0..entries {
            let value = Some(bytes::Bytes::from(vec![b'x'; bytes]));
            let mutations = vec![Mutation { key: Group::key(&format!("fill{n}")), value, expires_at: None }];
            let request = Request::Write { conditions: Vec::new(), mutations };
            self.group.request(at, RANGE, "fill".into(), request);
            self.group.run();
        }
        Ok(String::new())
    }

    /// Takes the answers to `fill` out of the events.
    fn count_answers(&mut self) -> Vec<String> {
        let mut counts = std::collections::BTreeMap::<String, u64>::new();
        self.group.events.retain(|event| {
            let answer = event.split_once(": fill → ").map(|(_, answer)| answer.to_owned());
            let is_answer = answer.is_some();
            answer.into_iter().for_each(|a| *counts.entry(a).or_default() += 1);
            !is_answer
        });
        counts.iter().map(|(answer, count)| format!("{count} {answer}")).collect()
    }

    /// What is under way and delayed.
    fn wires(&self) -> String {
        let line = |w: &group::Wire| format!("{}→{} {}", w.from, w.to, show_message(&w.envelope));
        self.group.wires.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn status(&self) -> String {
        let mut lines = Vec::new();
        for (id, store) in &self.group.stores {
            if !store.alive {
                lines.push(format!("{id}: down"));
            }
            for range in store.replicas.keys() {
                let name = if *range == RANGE { format!("{id}") } else { format!("{id}/{range}") };
                let status = self.group.status_of(*id, *range).unwrap();
                lines.push(format!("{name}: {status}"));
            }
        }
        lines.join("\n")
    }

    /// What every store's disk has of the log.
    fn logs(&self) -> String {
        let mut lines = Vec::new();
        for (id, store) in &self.group.stores {
            let Some(log) = store.log.ranges.get(&RANGE) else { continue };
            let bytes: usize = log.entries.values().map(|entry| entry.data.len()).sum();
            lines.push(format!("{id}: {} to {}, {} MB", log.start.index.next(), log.last(), bytes / 1_000_000));
        }
        lines.join("\n")
    }

    fn setup(&mut self, args: &mut ArgumentConsumer<'_>) -> Answer {
        let voters = keyed(args, "voters")?.unwrap_or(3);
        let learners = keyed(args, "learners")?.unwrap_or(0);
        let stores = keyed(args, "stores")?.unwrap_or(voters + learners);
        if args.take_key("goal") == Some("store") {
            self.group.goal = SurvivalGoal::Store;
        }
        self.group.quorum_reads = args.take_key("reads") == Some("quorum");
        self.group.found(stores, voters, learners);
        Ok(String::new())
    }

    fn request(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Answer {
        let at = next_store(args)?;
        let range = keyed(args, "range")?.map_or(RANGE, RangeId);
        let user = args.next_pos().ok_or("which key?")?.to_owned();
        let key = Group::key(&user);
        let value = args.next_pos().map(|v| bytes::Bytes::from(v.to_owned()));
        let request = match name {
            "get" => Request::Get { keys: vec![key], at: None },
            "put" => {
                Request::Write { conditions: Vec::new(), mutations: vec![Mutation { key, value, expires_at: None }] }
            }
            _ => Request::Write {
                conditions: vec![Condition { key: key.clone(), expected: Expected::Absent }],
                mutations: vec![Mutation { key, value, expires_at: None }],
            },
        };
        self.group.request(at, range, format!("{name} {user}"), request);
        Ok(String::new())
    }
}

impl goldenscript::Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer {
        let mut args = command.consume_args();
        let answer = match command.name.as_str() {
            "group" => self.setup(&mut args)?,
            "run" => {
                self.group.run();
                String::new()
            }
            "advance" => {
                let ms = args.next_pos().ok_or("how many ms?")?.parse()?;
                self.group.advance(Duration::from_millis(ms));
                String::new()
            }
            "status" => self.status(),
            "put" | "get" | "put-if-absent" => self.request(&command.name.clone(), &mut args)?,
            "fill" => self.fill(&mut args)?,
            "wires" => self.wires(),
            "logs" => self.logs(),
            "lose" => {
                let (from, to) = self.pair(&mut args)?;
                self.group.wires.retain(|w| (w.from, w.to) != (from, to));
                String::new()
            }
            "damage" => {
                let at = next_store(&mut args)?;
                forging::damage(&mut self.group, at, &mut args)?;
                String::new()
            }
            "cut" | "heal" | "delay" | "undelay" => self.traffic(&command.name.clone(), &mut args)?,
            "isolate" | "rejoin" => {
                let lonely = next_store(&mut args)?;
                for other in self.group.stores.keys().copied().filter(|s| *s != lonely).collect::<Vec<_>>() {
                    for pair in [(lonely, other), (other, lonely)] {
                        if command.name == "isolate" {
                            self.group.cut.insert(pair);
                        } else {
                            self.group.cut.remove(&pair);
                        }
                    }
                }
                String::new()
            }
            "mute" => {
                let pair = self.pair(&mut args)?;
                self.group.muted.insert(pair);
                String::new()
            }
            "unmute" => {
                self.group.muted.clear();
                String::new()
            }
            "deliver" => self.deliver(&mut args)?,
            "hold" | "release" => {
                let id = next_store(&mut args)?;
                let part = part(args.next_pos().ok_or("which part?")?)?;
                let held = &mut self.group.stores.get_mut(&id).unwrap().held;
                if command.name == "hold" {
                    held.insert(part)
                } else {
                    held.remove(&part)
                };
                String::new()
            }
            "once" => {
                let id = next_store(&mut args)?;
                match part(args.next_pos().ok_or("which part?")?)? {
                    Part::Persist => self.group.persist_one(id, true),
                    Part::Apply => self.group.apply_one(id, true),
                    Part::Read => self.group.read_one(id, true),
                };
                String::new()
            }
            "kill" => {
                self.group.kill(next_store(&mut args)?);
                String::new()
            }
            "restart" => {
                self.group.restart(next_store(&mut args)?);
                String::new()
            }
            "flush" => {
                self.group.flush(next_store(&mut args)?);
                String::new()
            }
            "withdraw" => {
                let (by, of) = self.pair(&mut args)?;
                self.group.withdraw(by, of);
                String::new()
            }
            "promise" => {
                let (by, of) = self.pair(&mut args)?;
                self.group.promise(by, of);
                String::new()
            }
            "unled" => {
                let (to, from_store) = self.pair(&mut args)?;
                let term = Term(keyed(&mut args, "term")?.unwrap_or(0));
                self.group.step(to, RANGE, Input::Unled { from_store, term });
                String::new()
            }
            "beats" => {
                self.group.beats = args.next_pos() == Some("on");
                String::new()
            }
            "trace" => {
                self.group.trace = args.next_pos() == Some("on");
                String::new()
            }
            "abstain" | "reluctant" | "clock-off" => {
                let id = next_store(&mut args)?;
                let on = args.next_pos() == Some("on");
                let store = self.group.stores.get_mut(&id).unwrap();
                match command.name.as_str() {
                    "abstain" => store.abstains = on,
                    "reluctant" => store.reluctant = on,
                    _ => store.clock_off = on,
                }
                String::new()
            }
            "room" => {
                let id = next_store(&mut args)?;
                let room = match args.next_pos().ok_or("how much?")? {
                    "plenty" => EntryRoom::Plenty,
                    "scarce" => EntryRoom::Scarce,
                    "full" => EntryRoom::Full,
                    other => return Err(format!("no room {other}").into()),
                };
                self.group.stores.get_mut(&id).unwrap().room = room;
                String::new()
            }
            "cached" => {
                let bytes = |store: &group::Store| store.replicas.get(&RANGE).map_or(0, |r| r.entry_bytes());
                let line = |(id, store)| format!("{id}: {} kB of entries in memory", bytes(store) / 1_000);
                self.group.stores.iter().map(line).collect::<Vec<_>>().join("\n")
            }
            "transfer" => {
                let (at, to) = self.pair(&mut args)?;
                self.group.admin(at, RANGE, "transfer".into(), AdminRequest::Transfer { to: ReplicaId(to.0) });
                String::new()
            }
            "split" => {
                let at = next_store(&mut args)?;
                let key = Group::key(args.next_pos().ok_or("where?")?);
                let request = AdminRequest::Split { at: key, right: RangeId(8) };
                self.group.admin(at, RANGE, "split".into(), request);
                String::new()
            }
            "member" => self.member(&mut args)?,
            "forge" => self.forge(&mut args)?,
            "quarantine" => {
                let id = next_store(&mut args)?;
                self.group.step(id, RANGE, Input::Damaged { reason: "the disk is damaged".into() });
                String::new()
            }
            "doubt" => {
                let (at, store) = self.pair(&mut args)?;
                self.group.step(at, RANGE, Input::LeaderDoubted { store });
                String::new()
            }
            "retire" => {
                let id = next_store(&mut args)?;
                self.group.step(id, RANGE, Input::Retire);
                String::new()
            }
            other => return Err(format!("no command {other}").into()),
        };
        args.reject_next()?;
        let counted = self.count_answers();
        let mut lines = std::mem::take(&mut self.group.events);
        lines.extend(counted);
        if !answer.is_empty() {
            lines.push(answer);
        }
        Ok(lines.join("\n"))
    }
}

#[test]
fn scripts() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    // `HOLDFAST_SCRIPT` picks the scripts whose names contain it.
    let wanted = std::env::var("HOLDFAST_SCRIPT").unwrap_or_default();
    paths.retain(|p| p.extension().is_some_and(|e| e == "txt") && p.to_string_lossy().contains(&wanted));
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        println!("{}", path.display());
        goldenscript::run(&mut Script::default(), &path).unwrap();
    }
}

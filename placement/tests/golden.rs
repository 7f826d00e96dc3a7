//! Runs `tests/scripts`: one behaviour a file, the file's name is the claim. `UPDATE_GOLDENFILES=1` writes what it finds.
//!
//! Commands: `store ID site=S [cores=N] [used=MILLICORES]`, `range ID voters=S/S [leader=S] [count=N] [size_mib=N] [rps=N]`,
//! `set STORE [alive=] [draining=] [leaving=] [disk_ok=] [free_percent=] [used=]`, `lag RANGE STORE` and `catch_up RANGE STORE`, `load RANGE RPS`, `policy [replicas=] [goal=] [prefer=S/S]
//! [system_replicas=]`, `wait SECONDS`, `plan` (shows, does nothing), `round` (does the first steps), `settle` (rounds until
//! nothing is left), `leave STORE...` (judges it, and marks them if they may), `distrust SITE` (says what it means, and does it), `restore SITE`, `copies ROUNDS` (how long a copy takes), `show`, `counts`, `headroom`, `admit LABEL [id=]`,
//! `move LABEL to=UID`.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod model;

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;

use holdfast_placement::{
    FleetView, SiteRecord, StoreView, SurvivalGoal, admit_store, headroom, judge_distrust, judge_leaving, move_site,
    plan,
};
use holdfast_types::{Key, KeyRange, KeyspaceId, Moment, RangeId, Rejected, SiteName, StoreId, Timestamp};
use model::Model;

struct Runner {
    model: Model,
    sites: Vec<SiteRecord>,
    /// Counts moves, and is their time.
    moves: u64,
}

type Answer = Result<String, Box<dyn Error>>;
type Args<'a> = goldenscript::ArgumentConsumer<'a>;

fn key<T: FromStr<Err: Error + 'static>>(args: &mut Args<'_>, name: &str) -> Result<Option<T>, Box<dyn Error>> {
    Ok(args.take_key(name).map(str::parse).transpose()?)
}

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _: &goldenscript::Context) -> Answer {
        let mut args = command.consume_args();
        let answer = match command.name.as_str() {
            "store" => self.store(&mut args),
            "range" => self.range(&mut args),
            "set" => self.set(&mut args),
            "lag" | "catch_up" => self.catch_up(&mut args, command.name == "catch_up"),
            "policy" => self.policy(&mut args),
            "wait" => {
                let seconds: u64 = args.next_pos().ok_or("wait how long?")?.parse()?;
                self.model.view.now = self.model.view.now.after(Duration::from_secs(seconds));
                Ok(String::new())
            }
            "plan" => {
                let planned = plan(&self.model.view, &self.model.policies);
                Ok(self.told(&planned.iter().map(ToString::to_string).collect::<Vec<_>>()))
            }
            "round" => {
                let planned = self.model.round();
                Ok(lines(planned.iter().map(|o| format!("{} {:?}: {}", o.range, o.reason, o.steps[0]))))
            }
            "settle" => {
                let rounds = self.model.settle(200).ok_or("it does not settle")?;
                let held = self.told(&[]);
                Ok(format!("settled after {rounds} rounds\n{held}"))
            }
            "leave" => self.leave(&mut args),
            "distrust" => self.distrust(&mut args),
            "restore" => {
                self.model.restore(&SiteName::new(args.next_pos().ok_or("which site?")?)?);
                Ok(String::new())
            }
            "copies" => {
                self.model.copy_rounds = args.next_pos().ok_or("how many rounds?")?.parse()?;
                Ok(String::new())
            }
            "damage" => self.damage(&mut args),
            "load" => self.load(&mut args),
            "show" => Ok(self.model.show()),
            "counts" => Ok(self.model.counts()),
            "headroom" => Ok(lines(headroom(&self.model.view).iter().map(ToString::to_string))),
            "admit" => self.admit(&mut args),
            "move" => self.move_site(&mut args),
            name => Err(format!("no command {name}").into()),
        };
        args.reject_next()?;
        answer
    }
}

impl Runner {
    fn new() -> Self {
        Self { model: Model { view: FleetView::new(Moment::ZERO), ..Model::default() }, sites: Vec::new(), moves: 0 }
    }

    fn told(&self, planned: &[String]) -> String {
        lines(planned.iter().cloned().chain(self.model.held()))
    }

    fn store(&mut self, args: &mut Args<'_>) -> Answer {
        let id = StoreId(args.next_pos().ok_or("which store?")?.parse()?);
        let site: String = key(args, "site")?.ok_or("which site?")?;
        let mut store = StoreView::alive_at(SiteName::new(&site)?);
        store.capacity_millicores = key::<u64>(args, "cores")?.unwrap_or(4) * 1_000;
        store.used_millicores = key(args, "used")?.unwrap_or(0);
        self.model.view.stores.insert(id, store);
        Ok(String::new())
    }

    fn range(&mut self, args: &mut Args<'_>) -> Answer {
        let first: u64 = args.next_pos().ok_or("which range?")?.parse()?;
        let voters: String = key(args, "voters")?.ok_or("which voters?")?;
        let voters: Vec<StoreId> = voters.split('/').map(|s| s.parse().map(StoreId)).collect::<Result<_, _>>()?;
        let count: u64 = key(args, "count")?.unwrap_or(1);
        let leader: Option<u64> = key(args, "leader")?;
        let size_mib: u64 = key(args, "size_mib")?.unwrap_or(0);
        let rps: u64 = key(args, "rps")?.unwrap_or(0);
        for id in first..first + count {
            let keyspace = if id == RangeId::SYSTEM.0 { KeyspaceId::SYSTEM } else { KeyspaceId::DEFAULT };
            let bounds = KeyRange { start: Key::bound(keyspace, &id.to_be_bytes()), end: Key::keyspace_end(keyspace) };
            let view = std::mem::take(&mut self.model.view);
            self.model.view = view.with_range(RangeId(id), bounds, &voters);
            let range = self.model.view.ranges.get_mut(&RangeId(id)).unwrap();
            range.leader = leader.map(StoreId).or(range.leader);
            range.size_bytes = size_mib << 20;
            range.load.requests_millis_per_second = rps * 1_000;
        }
        Ok(String::new())
    }

    fn set(&mut self, args: &mut Args<'_>) -> Answer {
        let id = StoreId(args.next_pos().ok_or("which store?")?.parse()?);
        if let Some(alive) = key(args, "alive")? {
            self.model.set_alive(id, alive);
        }
        let store = self.model.view.stores.get_mut(&id).ok_or("no such store")?;
        store.draining = key(args, "draining")?.unwrap_or(store.draining);
        store.leaving = key(args, "leaving")?.unwrap_or(store.leaving);
        store.disk_ok = key(args, "disk_ok")?.unwrap_or(store.disk_ok);
        store.used_millicores = key(args, "used")?.unwrap_or(store.used_millicores);
        if let Some(gib) = key::<u64>(args, "disk_gib")? {
            store.disk_total_bytes = gib << 30;
        }
        if let Some(percent) = key::<u64>(args, "free_percent")? {
            store.disk_free_bytes = store.disk_total_bytes / 100 * percent;
        }
        Ok(String::new())
    }

    fn load(&mut self, args: &mut Args<'_>) -> Answer {
        let id = RangeId(args.next_pos().ok_or("which range?")?.parse()?);
        let rps: u64 = args.next_pos().ok_or("how many requests a second?")?.parse()?;
        let range = self.model.view.ranges.get_mut(&id).ok_or("no such range")?;
        range.load.requests_millis_per_second = rps * 1_000;
        Ok(String::new())
    }

    fn leave(&mut self, args: &mut Args<'_>) -> Answer {
        let mut leaving = BTreeSet::new();
        while let Some(id) = args.next_pos() {
            leaving.insert(StoreId(id.parse()?));
        }
        if let Err(why) = judge_leaving(&self.model.view, &self.model.policies, &leaving) {
            return Ok(format!("refused: {why}"));
        }
        for store in leaving {
            self.model.view.stores.get_mut(&store).ok_or("no such store")?.leaving = true;
        }
        Ok("they leave".to_owned())
    }

    fn distrust(&mut self, args: &mut Args<'_>) -> Answer {
        let site = SiteName::new(args.next_pos().ok_or("which site?")?)?;
        let meaning = judge_distrust(&self.model.view, &self.model.policies, &site);
        self.model.distrust(&site);
        let (stores, stopped) = (meaning.stores.len(), meaning.stopped.len());
        let headroom = meaning.headroom.map_or_else(|| "not known".to_owned(), |headroom| headroom.to_string());
        Ok(format!(
            "{stores} stores count as lost, {} ranges are led there, {} lose a voter, {stopped} stop, {} get no other; {headroom}",
            meaning.led, meaning.losing_a_voter, meaning.without_replacement
        ))
    }

    fn damage(&mut self, args: &mut Args<'_>) -> Answer {
        let id = RangeId(args.next_pos().ok_or("which range?")?.parse()?);
        let store = StoreId(args.next_pos().ok_or("which store?")?.parse()?);
        let range = self.model.view.ranges.get_mut(&id).ok_or("no such range")?;
        range.damaged.insert(range.descriptor.replica_on(store).ok_or("no replica there")?.replica);
        Ok(String::new())
    }

    fn catch_up(&mut self, args: &mut Args<'_>, caught_up: bool) -> Answer {
        let id = RangeId(args.next_pos().ok_or("which range?")?.parse()?);
        let store = StoreId(args.next_pos().ok_or("which store?")?.parse()?);
        let range = self.model.view.ranges.get_mut(&id).ok_or("no such range")?;
        let replica = range.descriptor.replica_on(store).ok_or("no replica there")?.replica;
        if caught_up {
            range.caught_up.insert(replica);
        } else {
            range.caught_up.remove(&replica);
        }
        Ok(String::new())
    }

    fn policy(&mut self, args: &mut Args<'_>) -> Answer {
        let policies = &mut self.model.policies;
        policies.default.replicas = key(args, "replicas")?.unwrap_or(policies.default.replicas);
        policies.system.replicas = key(args, "system_replicas")?.unwrap_or(policies.system.replicas);
        match args.take_key("goal") {
            Some("store") => policies.default.goal = SurvivalGoal::Store,
            Some("site") => policies.default.goal = SurvivalGoal::Site,
            Some(other) => return Err(format!("no goal {other}").into()),
            None => {}
        }
        if let Some(prefer) = args.take_key("prefer") {
            policies.default.leader_preference = prefer.split('/').map(SiteName::new).collect::<Result<_, _>>()?;
        }
        Ok(String::new())
    }

    fn admit(&mut self, args: &mut Args<'_>) -> Answer {
        let label = SiteName::new(args.next_pos().ok_or("which label?")?)?;
        let identity: Option<String> = key(args, "id")?;
        let record = admit_store(&self.sites, &label, identity.as_deref()).map_err(Rejected::from)?;
        let told = format!("{} is bound to {}", record.label, record.identity.as_deref().unwrap_or("no identity yet"));
        self.sites.retain(|s| s.label != record.label);
        self.sites.push(record);
        Ok(told)
    }

    fn move_site(&mut self, args: &mut Args<'_>) -> Answer {
        let label = SiteName::new(args.next_pos().ok_or("which label?")?)?;
        let identity: String = key(args, "to")?.ok_or("to which identity?")?;
        self.moves += 1;
        let Some(record) = move_site(&self.sites, &label, &identity, Timestamp(self.moves))? else {
            return Ok(format!("{label} is bound to {identity} already"));
        };
        let former = record.former.iter().map(|was| format!("{} until {}", was.identity, was.until.0));
        let told = format!("{label} is bound to {identity}; it was to {}", former.collect::<Vec<_>>().join(", "));
        self.sites.retain(|s| s.label != record.label);
        self.sites.push(record);
        Ok(told)
    }
}

fn lines(all: impl Iterator<Item = String>) -> String {
    let mut out = String::new();
    for line in all {
        writeln!(out, "{line}").unwrap();
    }
    out
}

#[test]
fn every_script_tells_the_truth() {
    let mut scripts: Vec<_> = std::fs::read_dir("tests/scripts").unwrap().map(|e| e.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        println!("{}", script.display());
        goldenscript::run(&mut Runner::new(), &script).unwrap();
    }
}

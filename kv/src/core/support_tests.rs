//! Scripts over two tables and a network that can be cut in one direction.

use super::*;

const A: StoreId = StoreId(1);
const B: StoreId = StoreId(2);

/// Two stores, messages that arrive at once unless their direction is cut, one common clock.
struct Pair {
    now: Moment,
    tables: BTreeMap<StoreId, Support>,
    incarnations: BTreeMap<StoreId, Incarnation>,
    cut: BTreeSet<(StoreId, StoreId)>,
    /// Directions in which heartbeats pass and streams do not.
    cut_streams: BTreeSet<(StoreId, StoreId)>,
    /// Directions in which streams pass and heartbeats do not.
    cut_heartbeats: BTreeSet<(StoreId, StoreId)>,
    stopped: BTreeSet<StoreId>,
    views: BTreeMap<StoreId, SupportChange>,
    withdrawn: Vec<(StoreId, StoreId, Generation)>,
    sick: BTreeSet<StoreId>,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            now: Moment(1_000_000),
            tables: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            cut: BTreeSet::new(),
            cut_streams: BTreeSet::new(),
            cut_heartbeats: BTreeSet::new(),
            stopped: BTreeSet::new(),
            views: BTreeMap::new(),
            withdrawn: Vec::new(),
            sick: BTreeSet::new(),
        };
        pair.start(A, 1);
        pair.start(B, 1);
        pair
    }

    fn start(&mut self, store: StoreId, incarnation: u64) {
        let incarnation = Incarnation(incarnation);
        let mut table = Support::new(SupportConfig::new(store, incarnation), self.now);
        table.set_members([A, B].into());
        table.set_neighbours([A, B].into());
        self.tables.insert(store, table);
        self.incarnations.insert(store, incarnation);
        self.views.remove(&store);
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now = self.now.after(Duration::from_millis(1));
            for store in [A, B] {
                self.tick(store);
            }
        }
    }

    fn tick(&mut self, store: StoreId) {
        if self.stopped.contains(&store) {
            return;
        }
        let table = self.tables.get_mut(&store).unwrap();
        if table.next_wake() > self.now {
            return;
        }
        let other = if store == A { B } else { A };
        let is_cut = |cut: &BTreeSet<(StoreId, StoreId)>| cut.contains(&(other, store));
        if !is_cut(&self.cut) && !is_cut(&self.cut_streams) && !self.stopped.contains(&other) {
            table.note_streams(other, self.now);
        }
        let output = table.tick(self.now, !self.sick.contains(&store));
        self.carry(store, output);
    }

    fn carry(&mut self, from: StoreId, output: Output) {
        if let Some(change) = output.changed {
            self.withdrawn.extend(change.withdrawn.iter().map(|(of, g)| (from, *of, *g)));
            self.views.insert(from, change);
        }
        for (to, bytes) in output.send {
            if self.cut.contains(&(from, to)) || self.cut_heartbeats.contains(&(from, to)) || self.stopped.contains(&to)
            {
                continue;
            }
            let answers = self.tables.get_mut(&to).unwrap().receive(from, self.incarnations[&from], &bytes, self.now);
            self.carry(to, answers);
        }
    }

    fn given(&self, by: StoreId, to: StoreId) -> Option<Promise> {
        self.views.get(&by).and_then(|c| c.view.given.get(&to).copied())
    }

    fn counted(&self, by: StoreId, of: StoreId) -> bool {
        self.views.get(&by).and_then(|c| c.view.received.get(&of)).is_some_and(|r| r.until > self.now)
    }
}

#[test]
fn store_that_just_started_abstains_and_promises_nothing_for_one_interval() {
    let mut pair = Pair::new();
    pair.run(590);
    assert!(pair.views[&A].abstains);
    assert_eq!(pair.given(A, B), None);
    assert!(!pair.counted(A, B));
    pair.run(200);
    assert!(!pair.views[&A].abstains);
    assert_eq!(pair.given(A, B).unwrap().generation, Generation(1));
    assert!(pair.counted(A, B));
    pair.run(5_000);
    assert_eq!(pair.given(A, B).unwrap().generation, Generation(1), "an unbroken promise keeps its generation");
    assert!(pair.withdrawn.is_empty());
}

#[test]
fn lost_store_is_withdrawn_once_within_one_interval_and_after_its_own_count_ran_out() {
    let mut pair = Pair::new();
    pair.run(1_000);
    pair.stopped.insert(A);
    let until = pair.views[&A].view.received[&B].until;
    let stopped_at = pair.now;
    while pair.withdrawn.is_empty() {
        pair.run(1);
    }
    assert!(pair.now.since(stopped_at) <= Duration::from_millis(601));
    assert!(until < pair.now, "what A counts on ended before B withdrew");
    pair.run(2_000);
    assert_eq!(pair.withdrawn, [(B, A, Generation(1))]);
}

#[test]
fn withdrawn_generation_is_never_promised_again() {
    let mut pair = Pair::new();
    for round in 1..5 {
        pair.cut.clear();
        pair.run(1_500);
        assert_eq!(pair.given(B, A).unwrap().generation, Generation(round));
        pair.cut.insert((A, B));
        pair.run(1_500);
        assert_eq!(pair.given(B, A), None);
    }
    let of_b: Vec<_> = pair.withdrawn.iter().filter(|(by, ..)| *by == B).map(|(.., g)| g.0).collect();
    assert_eq!(of_b, [1, 2, 3, 4]);
}

#[test]
fn cut_in_one_direction_ends_support_both_ways() {
    for cut in [(A, B), (B, A)] {
        let mut pair = Pair::new();
        pair.run(1_000);
        pair.cut.insert(cut);
        pair.run(1_400);
        assert_eq!(pair.given(A, B), None, "{cut:?}");
        assert_eq!(pair.given(B, A), None, "{cut:?}");
        assert!(!pair.counted(A, B) && !pair.counted(B, A));
    }
}

#[test]
fn new_incarnation_waits_until_the_old_promise_ran_out() {
    let mut pair = Pair::new();
    pair.run(1_000);
    pair.start(A, 2);
    pair.run(400);
    assert_eq!(pair.given(B, A).map(|p| p.incarnation), Some(Incarnation(1)), "the old promise is not shortened");
    pair.run(800);
    assert_eq!(pair.given(B, A), Some(Promise { incarnation: Incarnation(2), generation: Generation(2) }));
    assert!(pair.withdrawn.contains(&(B, A, Generation(1))));
}

#[test]
fn ghost_of_an_old_incarnation_is_refused() {
    let mut pair = Pair::new();
    pair.run(1_000);
    let question = pair.tables[&A].encode(Some(pair.tables[&A].question_to(B, pair.now, true)), None);
    pair.start(A, 2);
    pair.run(2_000);
    let now = pair.now;
    let table = pair.tables.get_mut(&B).unwrap();
    let sent = table.receive(A, Incarnation(1), &question, now).send;
    let said: Vec<_> = sent.into_iter().map(|(_, bytes)| Told::decode(B, &bytes).unwrap()).collect();
    assert!(said.len() == 1 && said[0].answer.is_none(), "no answer, and so no promise");
    assert_eq!(said[0].refusal.map(|r| (r.asker, r.seen.incarnation)), Some((Incarnation(1), Incarnation(2))));
}

#[test]
fn loop_that_ran_late_withdraws_only_after_a_heartbeat() {
    let mut pair = Pair::new();
    pair.run(1_000);
    // B sleeps for a second; A lives and asks all the time, but nothing of it is heard before B's next tick.
    pair.now = pair.now.after(Duration::from_secs(1));
    let output = pair.tables.get_mut(&B).unwrap().tick(pair.now, true);
    pair.carry(B, output);
    assert!(pair.withdrawn.is_empty(), "late: nothing is withdrawn at once");
    assert_eq!(pair.given(B, A).unwrap().generation, Generation(1));
    pair.stopped.insert(A);
    pair.run(90);
    assert_eq!(pair.withdrawn, [(B, A, Generation(1))], "a heartbeat later it is");
}

#[test]
fn sick_store_asks_for_nothing_but_still_supports_others() {
    let mut pair = Pair::new();
    pair.run(1_000);
    pair.sick.insert(A);
    pair.run(1_000);
    assert_eq!(pair.given(B, A), None);
    assert!(pair.given(A, B).is_some());
    pair.sick.clear();
    pair.run(200);
    assert_eq!(pair.given(B, A).unwrap().generation, Generation(2));
}

/// A message of a store's `incarnation`, with something in it.
fn told(incarnation: u64, with: impl FnOnce(&mut Told)) -> Bytes {
    let said = Seen { incarnation: Incarnation(incarnation), ..Seen::default() };
    let mut told = Told { said, wall_ms: 0, question: None, answer: None, refusal: None };
    with(&mut told);
    told.encode()
}

#[test]
fn answers_that_overtake_each_other_never_take_a_count_back() {
    let mut table = Support::new(SupportConfig::new(A, Incarnation(1)), Moment(0));
    let answer = |asked_at, generation| {
        let (asked_at, generation) = (Moment(asked_at), Some(Generation(generation)));
        let answer = Answer { asker: Incarnation(1), asked_at, answered_at: asked_at, generation };
        told(1, |told| told.answer = Some(answer))
    };
    let mut receive = |bytes| drop(table.receive(B, Incarnation(1), &bytes, Moment(500_000)));
    receive(answer(400_000, 2));
    receive(answer(500_000, 1));
    receive(answer(300_000, 2));
    let change = table.tick(Moment(500_000), true).changed.unwrap();
    assert_eq!(change.view.received[&B].generation, Generation(2));
    assert_eq!(change.view.received[&B].until, Moment(400_000 + 570_000));
}

#[test]
fn garbage_is_ignored() {
    let mut table = Support::new(SupportConfig::new(A, Incarnation(1)), Moment(0));
    let output = table.receive(B, Incarnation(1), &Bytes::from_static(b"\xff\xff\xff"), Moment(1));
    assert_eq!(output, Output::default());
}

#[test]
fn only_a_neighbour_is_lost_and_one_that_is_none_any_more_is_lost_no_longer() {
    let mut pair = Pair::new();
    pair.run(2_000);
    pair.stopped.insert(A);
    pair.run(1_000);
    assert_eq!(pair.views[&B].lost.keys().copied().collect::<Vec<_>>(), [A]);
    pair.tables.get_mut(&B).unwrap().set_neighbours(BTreeSet::new());
    pair.run(200);
    assert!(pair.views[&B].lost.is_empty(), "nobody asks any more, and nobody could tell");

    let mut pair = Pair::new();
    pair.run(2_000);
    for store in [A, B] {
        pair.tables.get_mut(&store).unwrap().set_neighbours(BTreeSet::new());
    }
    pair.run(1_000);
    assert!(!pair.withdrawn.is_empty(), "promises that nobody asks for run out");
    assert!(pair.views.values().all(|view| view.lost.is_empty()));
}

#[test]
fn streams_that_are_cut_in_either_direction_end_support_in_both_within_a_second() {
    for cut in [vec![(A, B)], vec![(B, A)], vec![(A, B), (B, A)]] {
        let mut pair = Pair::new();
        pair.run(2_000);
        assert!(pair.given(A, B).is_some() && pair.given(B, A).is_some() && pair.views[&A].silent.is_empty());
        pair.cut_streams.extend(cut.clone());
        pair.run(1_000);
        assert_eq!((pair.given(A, B), pair.given(B, A)), (None, None), "{cut:?}");
        assert!(!pair.counted(A, B) && !pair.counted(B, A));
        let silent = |hears: bool, is_heard: bool| match (hears, is_heard) {
            (false, true) => Silent::Theirs,
            (true, false) => Silent::Ours,
            _ => Silent::Both,
        };
        let hears = |by: StoreId, of: StoreId| !cut.contains(&(of, by));
        assert_eq!(pair.views[&A].silent[&B], silent(hears(A, B), hears(B, A)), "each says which way is silent");
        assert_eq!(pair.views[&B].silent[&A], silent(hears(B, A), hears(A, B)));
        pair.cut_streams.clear();
        pair.run(400);
        assert!(pair.given(A, B).is_some() && pair.given(B, A).is_some() && pair.views[&A].silent.is_empty());
    }
}

#[test]
fn streams_that_falter_for_less_than_the_bound_end_nothing() {
    let mut pair = Pair::new();
    pair.run(2_000);
    for _ in 0..10 {
        pair.cut_streams.extend([(A, B), (B, A)]);
        pair.run(390);
        pair.cut_streams.clear();
        pair.run(200);
    }
    assert!(pair.withdrawn.is_empty());
}

#[test]
fn heartbeats_that_are_cut_in_one_direction_end_support_both_ways_though_streams_pass() {
    for cut in [(A, B), (B, A)] {
        let mut pair = Pair::new();
        pair.run(2_000);
        pair.cut_heartbeats.insert(cut);
        pair.run(1_300);
        assert_eq!((pair.given(A, B), pair.given(B, A)), (None, None), "{cut:?}");
        let view = &pair.views[&A];
        assert!(view.streams.contains(&B), "requests find their way by the streams");
    }
}

#[test]
fn row_of_a_forgotten_store_goes_but_never_before_the_promise_to_it_has_run_out() {
    let mut pair = Pair::new();
    pair.run(1_000);
    let forgotten = BTreeSet::from([A]);
    pair.tables.get_mut(&B).unwrap().forget(&forgotten);
    assert!(pair.tables[&B].others.contains_key(&A), "its ranges may still be led by that promise");
    pair.stopped.insert(A);
    pair.run(1_000);
    let table = pair.tables.get_mut(&B).unwrap();
    assert!(pair.withdrawn == [(B, A, Generation(1))] && table.lost.contains_key(&A));
    table.forget(&forgotten);
    assert!(table.others.is_empty() && table.lost.is_empty());
}

#[test]
fn numbers_out_of_bounds_change_nothing_and_are_not_remembered() {
    let mut table = Support::new(SupportConfig::new(A, Incarnation(1)), Moment(0));
    table.set_neighbours([A, B].into());
    table.note_streams(B, Moment(1));
    let most = u64::MAX;
    let attacks = [
        told(1, |told| told.said.counter = most),
        told(1, |told| told.said.started_at = most),
        told(most, |_| {}),
        told(1, |told| told.wall_ms = most),
        told(1, |told| {
            let seen = Seen { incarnation: Incarnation(most), started_at: 0, counter: 0 };
            told.refusal = Some(Refusal { asker: Incarnation(1), seen });
        }),
        told(1, |told| {
            let seen = Seen { incarnation: Incarnation(9), started_at: 0, counter: most };
            told.refusal = Some(Refusal { asker: Incarnation(1), seen });
        }),
        told(1, |told| {
            let (asked_at, generation) = (Moment(most), Some(Generation(most)));
            told.answer = Some(Answer { asker: Incarnation(1), asked_at, answered_at: asked_at, generation });
        }),
    ];
    for bytes in attacks {
        for incarnation in [1, most] {
            assert_eq!(table.receive(B, Incarnation(incarnation), &bytes, Moment(2)), Output::default());
        }
        let output = table.tick(Moment(2), true);
        assert!(output.seen.is_none() && !table.others.contains_key(&B), "{bytes:?}");
    }
}

#[test]
fn an_answer_to_a_question_of_the_future_counts_for_nothing() {
    let mut table = Support::new(SupportConfig::new(A, Incarnation(1)), Moment(0));
    let (asked_at, generation) = (Moment(limits::MAX_TOLD), Some(Generation(1)));
    let answer = Answer { asker: Incarnation(1), asked_at, answered_at: Moment(1), generation };
    table.receive(B, Incarnation(1), &told(1, |told| told.answer = Some(answer)), Moment(500_000));
    let change = table.tick(Moment(500_000), true).changed.unwrap();
    assert!(change.view.received.is_empty(), "it would support this store for ever");
}

#[test]
fn nobody_whom_nothing_proves_ends_this_store_by_a_refusal() {
    let refusal = told(1, |told| {
        let seen = Seen { incarnation: Incarnation(9), started_at: 0, counter: 99 };
        told.refusal = Some(Refusal { asker: Incarnation(1), seen });
    });
    let mut table = Support::new(SupportConfig::new(A, Incarnation(1)), Moment(0));
    assert_eq!(table.receive(B, Incarnation(1), &refusal, Moment(1)).outdated, None, "a name that somebody made up");
    table.set_neighbours([B].into());
    let outdated = table.receive(B, Incarnation(1), &refusal, Moment(2)).outdated;
    assert_eq!(outdated, None, "a replica is made for whoever says that there is one");
    table.set_members([B].into());
    let outdated = table.receive(B, Incarnation(1), &refusal, Moment(2)).outdated;
    assert_eq!(outdated.map(|outdated| outdated.incarnation), Some(Incarnation(9)), "the fleet has it on record");
    let mut config = SupportConfig::new(A, Incarnation(1));
    config.seen.insert(B, Seen::default());
    let outdated = Support::new(config, Moment(0)).receive(B, Incarnation(1), &refusal, Moment(1)).outdated;
    assert!(outdated.is_some(), "an earlier life knew it");
}

#[test]
fn names_that_are_made_up_are_bounded_and_never_written_down() {
    let mut table = Support::new(SupportConfig::new(A, Incarnation(1)), Moment(0));
    table.set_members([B].into());
    table.set_neighbours([B].into());
    table.receive(B, Incarnation(1), &told(1, |_| {}), Moment(1));
    for invented in 100..10_497_u64 {
        let now = Moment(invented * 1_000);
        table.receive(StoreId(invented), Incarnation(7), &told(7, |told| told.said.counter = 9), now);
        if let Some(seen) = table.tick(now, true).seen {
            assert_eq!(seen.keys().collect::<Vec<_>>(), [&B]);
        }
    }
    assert_eq!(table.others.len(), 1 + limits::UNPROVED_STORES);
    assert!(table.others.contains_key(&B));
    // One of them turns out to be of the fleet after all.
    table.set_members([B, StoreId(100)].into());
    table.receive(StoreId(100), Incarnation(7), &told(7, |_| {}), Moment(20_000_000));
    assert!(table.tick(Moment(20_000_000), true).seen.is_some_and(|seen| seen.contains_key(&StoreId(100))));
}

#[test]
fn stores_that_somebody_made_up_are_not_asked_without_end() {
    let mut table = Support::new(SupportConfig::new(A, Incarnation(1)), Moment(0));
    table.set_neighbours((2..100_000).map(StoreId).collect());
    assert_eq!(table.tick(Moment(1), true).send.len(), limits::ADDRESSED_STORES);
}

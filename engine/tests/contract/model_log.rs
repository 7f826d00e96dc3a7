//! Random logs against a map.

use std::collections::BTreeMap;

use holdfast_engine::{LogOp, LogStart, ReplicaRecord};
use holdfast_types::{LogIndex, RangeId, ReplicaId, Term};
use proptest::prelude::*;

use crate::build::{append, entries, live, start};
use crate::twin::{MemoryTwin, Twin};

/// What one step does, in terms of the log as it stands.
#[derive(Clone, Debug)]
enum Step {
    /// Replaces the last `back` entries (as far as there are) by `count` of a term that is `raise` higher.
    Append {
        range: u64,
        back: u64,
        count: u64,
        raise: u64,
    },
    /// Cuts up to `keep` entries before the end; `keep` 0 cuts all, with a start `ahead` further.
    Cut {
        range: u64,
        keep: u64,
        ahead: u64,
    },
    Bury {
        range: u64,
    },
    Forget {
        range: u64,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let range = || 1_u64..4;
    prop_oneof![
        6 => (range(), 0_u64..4, 1_u64..6, 0_u64..2)
            .prop_map(|(range, back, count, raise)| Step::Append { range, back, count, raise }),
        2 => (range(), 0_u64..5, 0_u64..3).prop_map(|(range, keep, ahead)| Step::Cut { range, keep, ahead }),
        1 => range().prop_map(|range| Step::Bury { range }),
        1 => range().prop_map(|range| Step::Forget { range }),
        1 => Just(Step::Reopen),
    ]
}

/// A log as it should be: its start, and the terms of its entries.
#[derive(Clone, Default, Debug)]
struct Log {
    start: LogStart,
    terms: Vec<u64>,
    buried: bool,
}

impl Log {
    fn last(&self) -> u64 {
        self.start.index.0 + self.terms.len() as u64
    }
}

fn apply(model: &mut BTreeMap<u64, Log>, step: &Step) -> Vec<LogOp> {
    match *step {
        Step::Append { range, back, count, raise } => {
            let log = model.entry(range).or_default();
            log.buried = false;
            log.terms.truncate(log.terms.len().saturating_sub(back as usize));
            let first = log.last() + 1;
            let term = log.terms.last().copied().unwrap_or(log.start.term.0).max(1) + raise;
            let terms = vec![term; count as usize];
            log.terms.extend(&terms);
            vec![live(RangeId(range), 1), append(RangeId(range), first, &terms)]
        }
        Step::Cut { range, keep, ahead } => {
            let log = model.entry(range).or_default();
            log.buried = false;
            let last_term = log.terms.last().copied().unwrap_or(log.start.term.0);
            let (index, term) = if keep == 0 {
                (log.last() + ahead, last_term + ahead.min(1))
            } else {
                let cut = log.terms.len().saturating_sub(keep as usize);
                let term = cut.checked_sub(1).map_or(log.start.term.0, |before| log.terms[before]);
                (log.start.index.0 + cut as u64, term)
            };
            let gone = ((index - log.start.index.0) as usize).min(log.terms.len());
            log.terms.drain(..gone);
            log.start = LogStart { index: LogIndex(index), term: Term(term) };
            vec![live(RangeId(range), 1), start(RangeId(range), index, term)]
        }
        Step::Bury { range } => {
            model.insert(range, Log { buried: true, ..Log::default() });
            let record = ReplicaRecord::Tombstone { next: ReplicaId(2), clearing: false };
            vec![LogOp::SetReplica { range: RangeId(range), record }]
        }
        Step::Forget { range } => {
            model.remove(&range);
            vec![LogOp::Forget { range: RangeId(range) }]
        }
        Step::Reopen => Vec::new(),
    }
}

fn check(twin: &dyn Twin, model: &BTreeMap<u64, Log>) {
    let loaded = twin.log().load().unwrap();
    assert_eq!(loaded.iter().map(|log| log.range.0).collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
    for (found, log) in loaded.iter().zip(model.values()) {
        assert_eq!((found.start, found.last.0), (log.start, log.last()));
        assert_eq!(matches!(found.record, ReplicaRecord::Tombstone { .. }), log.buried);
        let first = log.start.index.next();
        let stored = twin.log().entries(found.range, first, LogIndex(u64::MAX - 1), usize::MAX).unwrap();
        assert_eq!(stored, entries(first.0, &log.terms));
        for run in &found.terms {
            assert_eq!(stored[(run.0.0 - first.0) as usize].term, run.1);
        }
        let mut runs = log.terms.clone();
        runs.dedup();
        assert_eq!(found.terms.iter().map(|(_, term)| term.0).collect::<Vec<_>>(), runs);
    }
}

fn run(twin: &mut dyn Twin, steps: &[Step]) {
    let mut model = BTreeMap::new();
    for step in steps {
        let ops = apply(&mut model, step);
        if let Step::Reopen = step {
            twin.reopen();
        } else {
            twin.log().write_synced(&ops).unwrap();
        }
        check(twin, &model);
    }
    twin.reopen();
    check(twin, &model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_log_is_like_the_model(steps in proptest::collection::vec(step(), 1..40)) {
        run(&mut MemoryTwin::new(), &steps);
    }
}

#[cfg(feature = "rocksdb")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rocks_log_is_like_the_model(steps in proptest::collection::vec(step(), 1..30)) {
        run(&mut crate::rocks_twin::RocksTwin::new(), &steps);
    }
}

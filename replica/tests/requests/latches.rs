//! Latches against the plain rule: a request is granted when no earlier one that conflicts with it is left.

use std::collections::BTreeMap;

use holdfast_replica::latches::{LatchId, Latched, Latches, Mode, Span, Wanted};
use holdfast_types::{ClientId, Key, KeyRange, KeyspaceId, Slot};
use proptest::prelude::*;

use crate::model::{bounds, key};

/// One request, as the rule sees it.
#[derive(Clone, Debug)]
struct Plain {
    singles: Vec<(Latched, Mode)>,
    span: Option<Span>,
}

impl Plain {
    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        for (latched, mode) in &self.singles {
            wanted.add(latched.clone(), *mode);
        }
        if let Some(span) = &self.span {
            wanted.set_span(span.clone());
        }
        wanted
    }

    fn conflicts(&self, other: &Plain) -> bool {
        let covers = |span: &Option<Span>, latched| span.as_ref().is_some_and(|span| covers(span, latched));
        let spans = match (&self.span, &other.span) {
            (Some(Span::Keys(a)), Some(Span::Keys(b))) => a.overlaps(b),
            (Some(_), Some(_)) => true,
            _ => false,
        };
        let singles = self.singles.iter().any(|(a, mode)| {
            let shared = |other: Mode| *mode == other && *mode != Mode::Exclusive;
            other.singles.iter().any(|(b, other)| a == b && !shared(*other))
        });
        spans
            || singles
            || self.singles.iter().any(|(latched, _)| covers(&other.span, latched))
            || other.singles.iter().any(|(latched, _)| covers(&self.span, latched))
    }
}

fn covers(span: &Span, latched: &Latched) -> bool {
    match (span, latched) {
        (Span::All, _) => true,
        (Span::Keys(bounds), Latched::Key(key)) => bounds.contains(key),
        (Span::Keys(_), Latched::Slot(..)) => false,
    }
}

fn any_plain() -> impl Strategy<Value = Plain> {
    let name = |n: u8| Key::bound(KeyspaceId(1), &[b'a' + n]);
    let single = prop_oneof![
        4 => (0u8..5, prop_oneof![Just(Mode::Write), Just(Mode::Read), Just(Mode::Exclusive)])
            .prop_map(move |(n, mode)| (Latched::Key(name(n)), mode)),
        1 => (0u16..2).prop_map(|slot| (Latched::Slot(ClientId(1), Slot(slot)), Mode::Exclusive)),
    ];
    let span = prop_oneof![
        8 => Just(None),
        2 => (0u8..5, 0u8..5)
            .prop_map(move |(a, b)| Some(Span::Keys(KeyRange { start: name(a), end: (b < 4).then(|| name(b)) }))),
        1 => Just(Some(Span::All)),
    ];
    (proptest::collection::vec(single, 0..4), span).prop_map(|(singles, span)| Plain { singles, span })
}

#[derive(Clone, Debug)]
enum Step {
    Acquire(Plain),
    Release(prop::sample::Index),
    Narrow(prop::sample::Index, u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => any_plain().prop_map(Step::Acquire),
        4 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => (any::<prop::sample::Index>(), 0u8..5).prop_map(|(who, end)| Step::Narrow(who, end)),
    ]
}

/// Who is granted by the rule.
fn granted_by_rule(live: &BTreeMap<LatchId, Plain>) -> Vec<LatchId> {
    let free = |(id, plain): &(&LatchId, &Plain)| live.range(..**id).all(|(_, earlier)| !earlier.conflicts(plain));
    live.iter().filter(free).map(|(id, _)| *id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn granted_exactly_when_no_earlier_conflict_is_left(steps in proptest::collection::vec(any_step(), 0..40)) {
        let mut latches = Latches::default();
        let mut live: BTreeMap<LatchId, Plain> = BTreeMap::new();
        let mut granted: Vec<LatchId> = Vec::new();
        for step in steps {
            match step {
                Step::Acquire(mut plain) => {
                    // A key that is wanted in two ways is wanted exclusively: both ways stay in the plain request.
                    if let Some(span) = &plain.span {
                        plain.singles.retain(|(latched, _)| !covers(span, latched));
                    }
                    let (id, at_once) = latches.acquire(plain.wanted());
                    live.insert(id, plain);
                    granted.extend(at_once.then_some(id));
                }
                Step::Release(who) if !live.is_empty() => {
                    let id = *who.get(&live.keys().copied().collect::<Vec<_>>());
                    live.remove(&id);
                    granted.retain(|other| *other != id);
                    granted.extend(latches.release(id));
                }
                Step::Narrow(who, end) if !granted.is_empty() => {
                    let (id, end) = (*who.get(&granted), Key::bound(KeyspaceId(1), &[b'a' + end]));
                    if let Some(Plain { span: Some(Span::Keys(bounds)), .. }) = live.get_mut(&id)
                        && bounds.contains(&end)
                    {
                        bounds.end = Some(end.clone());
                    }
                    granted.extend(latches.narrow_end(id, &end));
                }
                Step::Release(_) | Step::Narrow(..) => {}
            }
            latches.check().map_err(TestCaseError::fail)?;
            granted.sort_unstable();
            prop_assert_eq!(&granted, &granted_by_rule(&live));
        }
        // Whoever holds on to nothing for ever lets everybody through: no deadlock.
        while let Some(id) = granted.pop() {
            live.remove(&id);
            granted.extend(latches.release(id));
        }
        prop_assert!(live.is_empty() && latches.is_empty());
    }
}

fn write(name: &str) -> Wanted {
    let mut wanted = Wanted::default();
    wanted.add(Latched::Key(key(name)), Mode::Write);
    wanted
}

#[test]
fn blind_writes_share_a_key_and_wait_behind_a_read_of_it() {
    let mut latches = Latches::default();
    let (first, at_once) = latches.acquire(write("k"));
    assert!(at_once);
    assert!(latches.acquire(write("k")).1);
    let mut conditional = Wanted::default();
    conditional.add(Latched::Key(key("k")), Mode::Read);
    conditional.add(Latched::Key(key("k")), Mode::Write);
    let (swap, at_once) = latches.acquire(conditional);
    assert!(!at_once);
    let (late, at_once) = latches.acquire(write("k"));
    assert!(!at_once, "it must not overtake the swap");
    assert_eq!(latches.release(first), []);
    assert_eq!(latches.release(LatchId(2)), [swap]);
    assert_eq!(latches.release(swap), [late]);
}

#[test]
fn narrowed_span_lets_writes_behind_it_through() {
    let mut latches = Latches::default();
    let mut wanted = Wanted::default();
    wanted.set_span(Span::Keys(bounds("b", "t")));
    let (span, _) = latches.acquire(wanted);
    let (inside, at_once) = latches.acquire(write("c"));
    assert!(!at_once);
    let (behind, at_once) = latches.acquire(write("p"));
    assert!(!at_once);
    assert_eq!(latches.narrow_end(span, &key("m")), [behind]);
    assert_eq!(latches.release(span), [inside]);
}

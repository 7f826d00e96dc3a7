//! Who is taken, who is refused, and what is remembered of both.

use super::*;

fn identity(store: u64) -> Identity {
    Identity {
        fleet: FleetId(7),
        store: StoreId(store),
        incarnation: Incarnation(3),
        process: Process::default(),
        site: SiteName::new("a").unwrap(),
        addresses: Addresses { client: "h:1".into(), store_to_store: "h:2".into() },
        formats: vec![Format { name: "messages".into(), oldest: 1, newest: 2 }],
    }
}

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

/// Who has a certificate of a store of this site.
fn party(of: &str) -> Party {
    let began = std::time::SystemTime::UNIX_EPOCH;
    Party {
        principal: Arc::new(format!("spiffe://f.example/site/{of}/store").parse().unwrap()),
        issued_at: began,
        expires_at: began + Duration::from_secs(3_600),
        fingerprint: holdfast_types::Fingerprint([7; 32]),
    }
}

fn judge(caller: &Identity) -> Result<Caller, Refusal> {
    judge_hello(&identity(2), &Incarnations::default(), hello(caller, StoreId(2), v1::LinkClass::Log), None)
}

#[test]
fn formats_must_overlap_where_both_know_them() {
    let mut caller = identity(1);
    assert!(judge(&caller).is_ok());
    caller.formats = vec![Format { name: "messages".into(), oldest: 3, newest: 4 }];
    assert_eq!(judge(&caller), Err(Refusal::UnknownVersion { known: identity(2).formats[0].clone() }));
    caller.formats = vec![Format { name: "new".into(), oldest: 9, newest: 9 }];
    assert!(judge(&caller).is_ok());
}

#[test]
fn an_older_start_of_a_store_is_refused() {
    let seen = Incarnations::default();
    let mut caller = identity(1);
    let judge = |caller: &Identity| {
        judge_hello(&identity(2), &seen, hello(caller, StoreId(2), v1::LinkClass::Log), None)
            .map(|caller| caller.incarnation)
    };
    assert_eq!(judge(&caller), Ok(Incarnation(3)));
    caller.incarnation = Incarnation(2);
    assert_eq!(judge(&caller), Err(Refusal::OldIncarnation { newest: Incarnation(3) }));
    caller.incarnation = Incarnation(4);
    assert_eq!(judge(&caller), Ok(Incarnation(4)));
}

#[test]
fn who_calls_says_where_it_lives_even_when_it_meant_another() {
    let first = |caller: &Identity, to| hello(caller, StoreId(to), v1::LinkClass::Log);
    let of = |first: &v1::LinkFrame| introduction(&identity(2), &Incarnations::default(), first, None);
    let said = of(&first(&identity(1), 5)).unwrap();
    assert_eq!((said.store, said.incarnation, said.addresses), (StoreId(1), Incarnation(3), identity(1).addresses));
    let mut stranger = identity(1);
    stranger.fleet = FleetId(8);
    assert_eq!(of(&first(&stranger, 2)), None, "another fleet");
    let mut long = identity(1);
    long.addresses.client = "x".repeat(10_000);
    assert_eq!(of(&first(&long, 2)), None, "no address is so long");
    assert_eq!(of(&first(&identity(2), 2)), None, "itself");
}

#[test]
fn a_refused_hello_does_not_count_as_seen() {
    let seen = Incarnations::default();
    let mut liar = identity(1);
    liar.incarnation = Incarnation(99);
    liar.fleet = FleetId(8);
    let hello_of = |caller: &Identity| hello(caller, StoreId(2), v1::LinkClass::Log);
    assert!(judge_hello(&identity(2), &seen, hello_of(&liar), None).is_err());
    assert!(judge_hello(&identity(2), &seen, hello_of(&identity(1)), None).is_ok());
}

#[test]
fn store_that_was_refused_for_its_incarnation_knows_by_whom() {
    let known = Incarnations::default();
    known.prove(StoreId(2));
    let refuse = |newest| refused(&Refusal::OldIncarnation { newest: Incarnation(newest) });
    assert!(judge_answer(&identity(1), &known, StoreId(2), refuse(2)).is_err());
    assert_eq!(known.refused(), None, "an answer to an earlier start of this store");
    assert!(judge_answer(&identity(1), &known, StoreId(2), refuse(9)).is_err());
    let seen = SeenElsewhere { by: StoreId(2), incarnation: Incarnation(9), counter: 0 };
    assert_eq!(known.refused(), Some(seen));
    let refusal = refused(&Refusal::PutBack { newest: Incarnation(3), counter: 77 });
    assert!(judge_answer(&identity(1), &known, StoreId(2), refusal).is_err());
    assert_eq!(known.refused().unwrap().counter, 77, "an incarnation was repeated");
}

fn as_process(incarnation: u64, number: u64, started_at: u64) -> Identity {
    Identity { incarnation: Incarnation(incarnation), process: Process { number, started_at }, ..identity(1) }
}

fn taken(seen: &Incarnations, caller: &Identity) -> Result<Presence, Refusal> {
    let judged = judge_hello(&identity(2), seen, hello(caller, StoreId(2), v1::LinkClass::Log), None)?;
    Ok(seen.presence(judged.store, judged.process))
}

#[test]
fn copy_beside_its_living_original_is_refused_and_the_original_is_left_in_peace() {
    let seen = Incarnations::default();
    let original = as_process(5, 77, 100);
    let streams = [taken(&seen, &original).unwrap(), taken(&seen, &original).unwrap()];
    let alive = Refusal::RunsElsewhere { alive: Incarnation(5) };
    assert_eq!(taken(&seen, &as_process(6, 88, 100)).unwrap_err(), alive, "started later from a copy");
    assert_eq!(taken(&seen, &as_process(5, 88, 90)).unwrap_err(), alive, "from an older image: the number is repeated");
    assert_eq!(taken(&seen, &as_process(4, 88, 80)).unwrap_err(), alive);
    drop(taken(&seen, &original).unwrap());
    drop(streams);
    assert!(taken(&seen, &as_process(6, 99, 120)).is_ok(), "started again, when it was gone");
    let refusal = taken(&seen, &original).unwrap_err();
    assert_eq!(refusal, Refusal::OldIncarnation { newest: Incarnation(6) });
}

#[test]
fn a_disk_that_was_put_back_is_refused_whatever_incarnation_it_says() {
    let seen = Incarnations::default();
    drop(taken(&seen, &as_process(5, 77, 100)).unwrap());
    seen.note(StoreId(1), Incarnation(5), 150);
    let put_back = Refusal::PutBack { newest: Incarnation(5), counter: 150 };
    assert_eq!(taken(&seen, &as_process(5, 88, 100)).unwrap_err(), put_back, "the number is repeated");
    assert_eq!(taken(&seen, &as_process(6, 88, 140)).unwrap_err(), put_back, "batches 140 to 150 are forgotten");
    assert!(taken(&seen, &as_process(6, 88, 150)).is_ok());
}

#[test]
fn process_whose_support_has_ended_does_not_keep_its_next_start_out() {
    let seen = Incarnations::default();
    let _stream = taken(&seen, &as_process(5, 77, 100)).unwrap();
    seen.note(StoreId(1), Incarnation(5), 100);
    assert!(taken(&seen, &as_process(6, 88, 101)).is_err());
    let long_ago = Instant::now().checked_sub(3 * limits::SUPPORT_INTERVAL).expect("the machine runs that long");
    seen.newest.lock().get_mut(&StoreId(1)).unwrap().heard_at = Some(long_ago);
    assert!(
        taken(&seen, &as_process(6, 88, 101)).is_ok(),
        "the machine vanished: its connections are only not known to be dead"
    );
}

#[test]
fn a_forgotten_store_is_refused_whatever_it_says_and_told_so() {
    let seen = Incarnations::default();
    let _stream = taken(&seen, &as_process(5, 77, 100)).unwrap();
    assert!(seen.hears(StoreId(1), Duration::ZERO), "it has a stream open");
    seen.forget(StoreId(1));
    seen.note(StoreId(1), Incarnation(5), 150);
    assert!(!seen.hears(StoreId(1), Duration::from_secs(60)), "what comes late does not bring it back");
    for caller in [as_process(5, 77, 100), as_process(6, 88, 200)] {
        let refusal = taken(&seen, &caller).unwrap_err();
        assert_eq!(refusal, Refusal::Forgotten);
        let known = Incarnations::default();
        known.prove(StoreId(2));
        let told = judge_answer(&caller, &known, StoreId(2), refused(&refusal));
        assert_eq!(told, Err(Refusal::Forgotten));
    }
    assert!(judge_hello(&identity(2), &seen, hello(&identity(3), StoreId(2), v1::LinkClass::Log), None).is_ok());
}

#[test]
fn whoever_calls_a_forgotten_store_does_not_take_itself_for_forgotten() {
    let seen = Incarnations::default();
    seen.forget(StoreId(2));
    for answer in [welcome(&identity(2)), refused(&Refusal::Forgotten)] {
        let judged = judge_answer(&identity(1), &seen, StoreId(2), answer);
        assert!(matches!(judged, Err(Refusal::Malformed(_))), "{judged:?}");
    }
}

#[test]
fn a_store_is_heard_for_a_while_after_its_last_stream_has_ended() {
    let seen = Incarnations::default();
    let hears = |within| seen.hears(StoreId(1), Duration::from_secs(within));
    assert!(!hears(60), "never heard of");
    seen.remember(StoreId(1), Incarnation(4), 90);
    assert!(!hears(60), "what an earlier life of this store has seen");
    let streams = [taken(&seen, &as_process(5, 77, 100)).unwrap(), taken(&seen, &as_process(5, 77, 100)).unwrap()];
    assert!(hears(0));
    drop(streams);
    assert!(hears(60) && !hears(0));
    let long_ago = Instant::now().checked_sub(Duration::from_secs(61)).expect("the machine runs that long");
    seen.newest.lock().get_mut(&StoreId(1)).unwrap().left_at = Some(long_ago);
    assert!(!hears(60));
    seen.note(StoreId(1), Incarnation(5), 150);
    assert!(hears(60), "its heartbeats arrive");
}

#[test]
fn every_refusal_survives_the_wire() {
    let refusals = [
        Refusal::WrongFleet { fleet: FleetId(1 << 100 | 5) },
        Refusal::WrongStore { store: StoreId(4) },
        Refusal::UnknownVersion { known: Format { name: "x".into(), oldest: 1, newest: 2 } },
        Refusal::OldIncarnation { newest: Incarnation(4) },
        Refusal::RunsElsewhere { alive: Incarnation(5) },
        Refusal::PutBack { newest: Incarnation(6), counter: 7 },
        Refusal::Forgotten,
        Refusal::NotItsSite { certificate: site("b"), said: site("c") },
        Refusal::Malformed("no".into()),
    ];
    for refusal in refusals {
        let known = Incarnations::default();
        known.prove(StoreId(2));
        let judged = judge_answer(&identity(1), &known, StoreId(2), refused(&refusal));
        assert_eq!(judged, Err(refusal));
    }
}

/// A hello of store 1 in which something was changed.
fn forged(change: impl FnOnce(&mut v1::LinkHello)) -> v1::LinkFrame {
    let mut frame = hello(&as_process(5, 77, 100), StoreId(2), v1::LinkClass::Support);
    let Some(Body::Hello(hello)) = &mut frame.body else { panic!("a hello") };
    change(hello);
    frame
}

#[test]
fn a_refusal_fits_into_a_frame_whatever_was_said() {
    use prost::Message as _;
    let many =
        |count, letters| vec![v1::LinkFormat { name: "f".repeat(letters), oldest: u32::MAX, newest: u32::MAX }; count];
    for hello in [
        forged(|hello| hello.site = "s".repeat(4_010)),
        forged(|hello| hello.site = "\u{1F980}".repeat(1_000)),
        forged(|hello| hello.formats = many(16, 200)),
        forged(|hello| hello.formats = many(400, 1)),
        forged(|hello| hello.client_address = "a".repeat(4_000)),
        forged(|hello| hello.class = 99),
    ] {
        let judged = judge_hello(&identity(2), &Incarnations::default(), hello, None);
        let answer = judged.map_or_else(|refusal| refused(&refusal), |_| welcome(&identity(2)));
        assert!(answer.encode_to_vec().len() <= limits::SUPPORT_FRAME_BYTES / 4, "{answer:?}");
    }
}

#[test]
fn numbers_out_of_bounds_are_refused_and_not_remembered() {
    let seen = Incarnations::default();
    for hello in [
        forged(|hello| hello.incarnation = u64::MAX),
        forged(|hello| hello.from_store_id = u64::MAX),
        forged(|hello| hello.to_store_id = u64::MAX),
        forged(|hello| hello.started_at = u64::MAX),
    ] {
        assert!(introduction(&identity(2), &seen, &hello, None).is_none());
        assert!(matches!(judge_hello(&identity(2), &seen, hello, None), Err(Refusal::Malformed(_))));
    }
    assert!(seen.newest.lock().is_empty());
    seen.prove(StoreId(2));
    let answers = [
        refused(&Refusal::OldIncarnation { newest: Incarnation(u64::MAX) }),
        refused(&Refusal::OldIncarnation { newest: Incarnation(limits::MAX_HEARSAY + 1) }),
        refused(&Refusal::PutBack { newest: Incarnation(u64::MAX), counter: 1 }),
        refused(&Refusal::PutBack { newest: Incarnation(9), counter: u64::MAX }),
        refused(&Refusal::RunsElsewhere { alive: Incarnation(u64::MAX) }),
        refused(&Refusal::WrongStore { store: StoreId(u64::MAX) }),
        welcome(&Identity { incarnation: Incarnation(u64::MAX), ..identity(2) }),
    ];
    for answer in answers {
        let judged = judge_answer(&identity(1), &seen, StoreId(2), answer);
        assert!(matches!(judged, Err(Refusal::Malformed(_))), "{judged:?}");
        assert_eq!(seen.refused(), None, "nothing that the next start would count on from");
    }
}

#[test]
fn nobody_whom_nothing_proves_ends_this_store() {
    let seen = Incarnations::default();
    for refusal in [
        Refusal::OldIncarnation { newest: Incarnation(9) },
        Refusal::PutBack { newest: Incarnation(9), counter: 9 },
        Refusal::Forgotten,
    ] {
        let judged = judge_answer(&identity(1), &seen, StoreId(2), refused(&refusal));
        assert!(matches!(judged, Err(Refusal::Malformed(_))), "{judged:?}");
    }
    assert_eq!(seen.refused(), None);
}

#[test]
fn names_that_are_made_up_are_bounded() {
    let seen = Incarnations::default();
    seen.remember(StoreId(3), Incarnation(1), 1);
    let kept = taken(&seen, &as_process(5, 77, 100)).unwrap();
    for invented in 100..10_497 {
        assert!(taken(&seen, &Identity { store: StoreId(invented), ..as_process(1, 1, 1) }).is_ok());
    }
    let newest = seen.newest.lock().len();
    assert_eq!(newest, 1 + limits::UNPROVED_STORES);
    assert!(seen.hears(StoreId(1), Duration::ZERO), "whoever has a stream open stays");
    let open: Vec<_> =
        (200..300).map(|id| taken(&seen, &Identity { store: StoreId(id), ..as_process(1, 1, 1) })).collect();
    assert_eq!(open.iter().filter(|taken| taken.is_ok()).count(), limits::UNPROVED_STORES - 1);
    assert!(taken(&seen, &Identity { store: StoreId(3), ..as_process(2, 1, 1) }).is_ok(), "one that is on record");
    drop(kept);
}

#[test]
fn who_does_not_say_which_process_he_is_takes_nobodys_place() {
    let seen = Incarnations::default();
    let _stream = taken(&seen, &as_process(5, 77, 100)).unwrap();
    let alive = Refusal::RunsElsewhere { alive: Incarnation(5) };
    assert_eq!(taken(&seen, &as_process(6, 0, 0)).unwrap_err(), alive);
}

#[test]
fn a_welcome_from_another_store_is_not_taken() {
    let answer = welcome(&identity(3));
    let judged = judge_answer(&identity(1), &Incarnations::default(), StoreId(2), answer);
    assert_eq!(judged, Err(Refusal::WrongStore { store: StoreId(3) }));
}

#[test]
fn a_certificate_speaks_for_the_stores_of_its_own_site() {
    let seen = Incarnations::default();
    let judge = |caller: &Identity, party: &Party| {
        let first = hello(caller, StoreId(2), v1::LinkClass::Log);
        let is_introduced = introduction(&identity(2), &seen, &first, Some(party)).is_some();
        (judge_hello(&identity(2), &seen, first, Some(party)), is_introduced)
    };
    let (taken, is_introduced) = judge(&identity(1), &party("a"));
    assert_eq!(taken.unwrap().party, Some(party("a")));
    assert!(is_introduced);
    let liar = judge(&identity(1), &party("b"));
    let refusal = Refusal::NotItsSite { certificate: site("b"), said: site("a") };
    assert_eq!(liar, (Err(refusal), false), "nothing that he says of the store is believed");
    let client = Party { principal: Arc::new("spiffe://f.example/client/x".parse().unwrap()), ..party("a") };
    assert!(matches!(judge(&identity(1), &client), (Err(Refusal::Malformed(_)), false)));
}

#[test]
fn a_store_that_is_on_record_is_of_the_site_that_it_is_on_record_with() {
    let seen = Incarnations::default();
    seen.prove_of(StoreId(1), &site("b"));
    let judge = |said: &str, certificate: Option<&str>| {
        let caller = Identity { site: site(said), ..identity(1) };
        let first = hello(&caller, StoreId(2), v1::LinkClass::Support);
        judge_hello(&identity(2), &seen, first, certificate.map(party).as_ref()).map(|caller| caller.site)
    };
    let refusal = Refusal::NotItsSite { certificate: site("c"), said: site("b") };
    assert_eq!(judge("c", Some("c")), Err(refusal), "another site's store takes its name");
    assert_eq!(judge("b", Some("b")), Ok(site("b")));
    seen.prove(StoreId(1));
    assert!(judge("c", Some("c")).is_err(), "the site stays on record");
    assert_eq!(judge("c", None), Ok(site("c")), "without certificates it is a store's own word");
}

#[test]
fn who_is_refused_for_another_site_is_not_remembered() {
    let seen = Incarnations::default();
    let newer = Identity { incarnation: Incarnation(9), ..identity(1) };
    let judge = |caller: &Identity, of| {
        judge_hello(&identity(2), &seen, hello(caller, StoreId(2), v1::LinkClass::Log), Some(&party(of)))
    };
    assert!(judge(&newer, "b").is_err());
    assert!(judge(&identity(1), "a").is_ok(), "a liar ended no start of the store");
}

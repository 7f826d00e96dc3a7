use std::time::{Duration, UNIX_EPOCH};

use holdfast_client::admin::{BehindStore, RangeId, RotationPhase, SiteTrust, StoreId, TrustedRoot};

use super::*;

const OLD: Fingerprint = Fingerprint([0x1a; 32]);
const NEW: Fingerprint = Fingerprint([0x2b; 32]);

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

fn root(fingerprint: Fingerprint) -> TrustedRoot {
    let expires_at = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    TrustedRoot { fingerprint, subject: "CN=Holdfast root".into(), expires_at }
}

fn standing(store: u64) -> StoreStanding {
    let trust = StoreTrust {
        identity: "spiffe://f.example/site/b/store".into(),
        certificate: Some(Fingerprint([7; 32])),
        issued_at: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        expires_at: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        root_in_use: Some(OLD),
        roots: vec![root(OLD), root(NEW)],
        refused: None,
        reloads: 3,
        refusals: 1,
        distrusted: vec![site("c")],
    };
    StoreStanding { store: StoreId(store), site: site("b"), silent: None, trust: Some(trust) }
}

fn behind() -> BehindStore {
    BehindStore { store: StoreId(2), site: site("b"), what: "its bundle lacks the new root".into() }
}

fn rotation(phase: RotationPhase) -> Rotation {
    let at = Timestamp::from_ms(1_800_000_000_000);
    Rotation { phase, new_root: NEW, old_roots: vec![OLD], begun_at: at, phase_at: at }
}

#[test]
fn the_status_shows_each_store_each_root_once_and_what_is_due() {
    let silent = StoreStanding { trust: None, silent: Some("no answer".into()), ..standing(3) };
    let trust = FleetTrust {
        stores: vec![standing(1), standing(2), silent, StoreStanding { trust: None, ..standing(4) }],
        rotation: Some(rotation(RotationPhase::Add)),
        behind: vec![behind()],
        distrusted: vec![SiteTrust { site: site("c"), distrusted_at: Some(Timestamp(1)), restored_at: None }],
        due: vec!["site c is distrusted\u{1b}[2J".into()],
    };
    let words = in_words(&trust);
    let rows: Vec<Vec<&str>> = words.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["s1", "b", "2027-01-15T08:00:00Z", "1a1a1a1a", "1a1a1a1a", "2b2b2b2b", "3", "1"]);
    assert_eq!((rows[3][2], rows[4][2]), ("no", "no"), "no answer, no TLS: {words}");
    assert_eq!(words.matches("CN=Holdfast root").count(), 2, "{words}");
    assert!(
        words.contains("from 1a1a1a1a to 2b2b2b2b: phase `add` since 2027-01-15T08:00:00Z, not every store"),
        "{words}"
    );
    assert!(words.contains("  s2 (b): its bundle lacks") && words.contains("due: site c is distrusted"), "{words}");
    assert!(!words.contains('\u{1b}'), "what stores say moves no cursor");
    let told = as_json(&trust);
    assert_eq!(
        (&told["in_order"], &told["rotation"]["phase"], &told["distrusted"][0]),
        (&json!(false), &json!("add"), &json!("c"))
    );
    assert_eq!(told["stores"][0]["trust"]["root_in_use"], json!(OLD.to_string()));
    assert_eq!((&told["stores"][2]["trust"], &told["stores"][2]["silent"]), (&json!(null), &json!("no answer")));
    let calm = FleetTrust { due: vec![], behind: vec![], rotation: None, ..trust };
    assert!(in_words(&calm).ends_with("All is in order.\n"));
}

#[test]
fn each_phase_says_what_comes_next() {
    let said = |phase, behind: Vec<BehindStore>| {
        rotated_in_words(&Rotated { rotation: rotation(phase), changed: true, behind })
    };
    assert!(
        said(RotationPhase::Add, vec![behind()])
            .contains("Put the new root 2b2b2b2b into every bundle, beside 1a1a1a1a")
    );
    assert!(said(RotationPhase::Add, vec![]).contains("`holdfast trust rotate switch`"));
    assert!(said(RotationPhase::Switch, vec![behind()]).contains("made anew below 2b2b2b2b"));
    assert!(said(RotationPhase::Switch, vec![]).contains("`holdfast trust rotate remove`"));
    assert!(said(RotationPhase::Remove, vec![behind()]).contains("Take 1a1a1a1a out of every bundle"));
    assert!(said(RotationPhase::Remove, vec![]).contains("The rotation is over"));
    assert!(said(RotationPhase::Aborted, vec![behind()]).contains("Take 2b2b2b2b out"));
    let again = Rotated { rotation: rotation(RotationPhase::Add), changed: false, behind: vec![] };
    assert!(rotated_in_words(&again).contains("it was there before"));
}

fn meaning() -> DistrustMeaning {
    DistrustMeaning {
        stores: vec![StoreId(2), StoreId(5)],
        ranges_led: 1,
        ranges_losing_a_voter: 7,
        ranges_stopped: 0,
        stopped: vec![],
        ranges_without_replacement: 7,
        headroom: Some("lose b: needs 1.50x, has 3.20x, site a binds".into()),
        enough: true,
        is_last: false,
    }
}

#[test]
fn what_it_means_is_said_before_it_is_done() {
    let words = meaning_in_words(&site("b"), &meaning()).join("\n");
    assert!(words.starts_with("To distrust b means: s2, s5 count as lost"), "{words}");
    assert!(words.contains("1 range is led there now") && words.contains("7 ranges lose a voter"), "{words}");
    assert!(words.contains("7 ranges have no other place") && words.contains("bear the load: lose b"), "{words}");
    let stopped =
        DistrustMeaning { ranges_stopped: 2, stopped: vec![RangeId(7), RangeId(8)], enough: false, ..meaning() };
    let words = meaning_in_words(&site("b"), &stopped).join("\n");
    assert!(words.contains("2 ranges are left WITHOUT A QUORUM") && words.contains("r7, r8"), "{words}");
    assert!(words.contains("DO NOT bear the load"), "{words}");
}

#[test]
fn what_was_done_and_who_knows_it_is_said() {
    let of = |distrusted_at: u64, restored_at: u64, changed| Distrusted {
        site: SiteTrust {
            site: site("b"),
            distrusted_at: Some(Timestamp(distrusted_at)),
            restored_at: (restored_at > 0).then_some(Timestamp(restored_at)),
        },
        changed,
        meaning: Some(meaning()),
        asked_site: site("a"),
        told: vec![StoreId(1), StoreId(3)],
        untold: vec![behind()],
    };
    let done = distrusted_in_words(&of(5, 0, true));
    assert!(
        done.contains("2 of 3 stores of other sites know it") && done.contains("holdfast trust restore site b"),
        "{done}"
    );
    assert!(distrusted_in_words(&of(5, 0, false)).contains("before"));
    assert!(distrusted_in_words(&of(5, 7, true)).contains("trusted again"));
    assert!(distrusted_in_words(&of(5, 7, false)).contains("nothing has changed"));
    let told = distrusted_json(&of(u64::MAX, 0, true));
    assert_eq!((&told["distrusted_at"], &told["meaning"]["ranges_led"]), (&json!(u64::MAX.to_string()), &json!(1)));
    assert_eq!(told["untold"][0]["store"], json!(2));
}

#[test]
fn the_root_that_comes_is_one_certificate_that_is_still_good() {
    use holdfast_trust::authority::Root;
    let dir = tempfile::tempdir().unwrap();
    let domain = holdfast_types::TrustDomain::new("f.example").unwrap();
    let pem = || Root::new(&domain, Duration::from_secs(86_400)).unwrap().certificate_pem();
    let path = dir.path().join("root.pem");
    let refused = || format!("{:#}", new_root(&path).unwrap_err());
    assert!(refused().contains("is not there"));
    std::fs::write(&path, "no certificate").unwrap();
    assert!(refused().contains("BEGIN CERTIFICATE"), "{}", refused());
    let one = pem();
    std::fs::write(&path, &one).unwrap();
    let print = new_root(&path).unwrap();
    assert_eq!(print.0, RootInfo::of_pem(one.as_bytes()).unwrap()[0].fingerprint.0);
    std::fs::write(&path, format!("{one}{}", pem())).unwrap();
    assert!(refused().contains("has 2 certificates"), "{}", refused());
}

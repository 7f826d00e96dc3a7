//! Everything that was ever found, and where the fuzzer begins: each input runs through its target once.

#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use holdfast_hostile::{TARGETS, run, seeds};

fn fuzz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz")
}

/// Runs an input, and says which it was when it fails.
fn replay(target: &'static str, name: &str, input: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| run(target, input)) {
        eprintln!("target {target}, input {name:?}");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn seeds_end_nothing() {
    let seeds = seeds::seeds();
    for target in TARGETS {
        let of_target: Vec<_> = seeds.iter().filter(|seed| seed.target == target.name).collect();
        assert!(of_target.len() >= 3, "{} begins with {} seeds", target.name, of_target.len());
        for seed in of_target {
            replay(target.name, &seed.name, &seed.input);
        }
    }
}

#[test]
fn what_was_found_ends_nothing_any_more() {
    for target in TARGETS {
        let Ok(found) = std::fs::read_dir(fuzz().join("found").join(target.name)) else { continue };
        for input in found {
            let path = input.unwrap().path();
            replay(target.name, &path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
}

/// Inputs that nobody chose: so that the corpus is not all that ordinary tests try.
#[test]
fn noise_ends_nothing() {
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let seeds = seeds::seeds();
    for _ in 0..400 {
        let number = usize::try_from(next() % u64::try_from(seeds.len()).unwrap()).unwrap();
        let mut input = seeds[number].input.clone();
        for _ in 0..=next() % 4 {
            let at = usize::try_from(next() % u64::try_from(input.len()).unwrap()).unwrap();
            input[at] = next().to_le_bytes()[0];
        }
        replay(seeds[number].target, &format!("{} with noise: {input:?}", seeds[number].name), &input);
    }
}

#[test]
fn every_target_has_a_program() {
    for target in TARGETS {
        let program = fuzz().join("fuzz_targets").join(format!("{}.rs", target.name));
        let text = std::fs::read_to_string(&program).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        assert!(text.contains(&format!("{:?}", target.name)), "{} feeds another target", program.display());
    }
    let programs = std::fs::read_dir(fuzz().join("fuzz_targets")).unwrap().count();
    assert_eq!(programs, TARGETS.len());
}

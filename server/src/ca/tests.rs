//! The commands as they are typed, in folders of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use clap::Parser;
use holdfast_trust::{Place, Trust};

use crate::cli::{Cli, Command};

/// Runs `holdfast ca ...` with `@` for the folder; what it failed on.
fn ca(folder: &Path, line: &str) -> Result<(), String> {
    let line = format!("holdfast ca {}", line.replace('@', folder.to_str().unwrap()));
    let cli = Cli::try_parse_from(shlex::split(&line).unwrap()).map_err(|why| why.to_string())?;
    let Command::Ca(args) = cli.command else { unreachable!("{line}") };
    super::run(&args).map_err(|why| format!("{why:#}"))
}

fn fails(folder: &Path, line: &str, expected: &str) {
    let why = ca(folder, line).expect_err(line);
    assert!(why.contains(expected), "{line}: {why}");
}

fn own(folder: &Path) -> String {
    Trust::open(Place::folder(folder)).unwrap().own().principal.to_string()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A root, and the authorities of site b and of people.
fn authorities(folder: &Path) {
    ca(folder, "init --domain f.example @/root").unwrap();
    ca(folder, "site b --root @/root -o @/b").unwrap();
    ca(folder, "people --root @/root -o @/people").unwrap();
}

#[test]
fn whoever_has_all_on_one_machine_signs_in_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    authorities(at);
    for (folder, file) in [("root", "root.key"), ("b", "issuer.key"), ("people", "issuer.key")] {
        assert_eq!((mode(&at.join(folder)), mode(&at.join(folder).join(file))), (0o700, 0o600));
    }
    ca(at, "leaf --issuer @/b --site b --names store-0.b.f.example,127.0.0.1 -o @/store").unwrap();
    ca(at, "leaf --issuer @/people --operator ann -o @/ann").unwrap();
    ca(at, "leaf --issuer @/people --client billing -o @/billing --json").unwrap();
    assert_eq!(own(&at.join("store")), "spiffe://f.example/site/b/store");
    assert_eq!(own(&at.join("ann")), "spiffe://f.example/operator/ann");
    assert_eq!(own(&at.join("billing")), "spiffe://f.example/client/billing");
    // Renewed in its place, and by nobody else.
    let before = fs::read(at.join("ann/tls.crt")).unwrap();
    ca(at, "leaf --issuer @/people --operator ann -o @/ann").unwrap();
    assert_ne!(fs::read(at.join("ann/tls.crt")).unwrap(), before);
    fails(at, "leaf --issuer @/people --client ann -o @/ann", "is of spiffe://f.example/operator/ann");
    for shown in ["root", "b", "store", "store/tls.crt"] {
        ca(at, &format!("show @/{shown}")).unwrap();
        ca(at, &format!("show @/{shown} --json")).unwrap();
    }
}

#[test]
fn keys_stay_where_they_are_used() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    ca(at, "init --domain f.example @/root").unwrap();
    ca(at, "request --authority site b --domain f.example -o @/b").unwrap();
    ca(at, "site b --root @/root --csr @/b/request.csr -o @/signed").unwrap();
    fails(
        at,
        "people --root @/root --csr @/b/request.csr -o @/other",
        "does not ask to speak for clients and operators",
    );
    for name in ["issuer.crt", "ca.crt"] {
        fs::copy(at.join("signed").join(name), at.join("b").join(name)).unwrap();
    }
    ca(at, "request --site b --domain f.example --names localhost -o @/store").unwrap();
    assert_eq!(mode(&at.join("store/tls.key")), 0o600);
    ca(at, "show @/store/request.csr").unwrap();
    ca(at, "sign --issuer @/b @/store/request.csr -o @/store/tls.crt --json").unwrap();
    fs::copy(at.join("b/ca.crt"), at.join("store/ca.crt")).unwrap();
    assert_eq!(own(&at.join("store")), "spiffe://f.example/site/b/store");
    fails(at, "request --site b --domain f.example -o @/store", "is there already");
}

#[test]
fn nothing_is_overwritten_and_nothing_is_signed_beyond_its_scope() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    authorities(at);
    let root = fs::read(at.join("root/root.key")).unwrap();
    fails(at, "init --domain f.example @/root", "is not overwritten");
    fails(at, "site b --root @/root -o @/b", "is not overwritten");
    assert_eq!(fs::read(at.join("root/root.key")).unwrap(), root);
    fails(at, "leaf --issuer @/b --site a -o @/x", "and not for spiffe://f.example/site/a/store");
    fails(at, "leaf --issuer @/b --operator ann -o @/x", "speaks for the stores of site b");
    fails(at, "leaf --issuer @/b --site b --names a.f.example -o @/x", "names of hosts that it may give: b.f.example");
    ca(at, "request --site b --domain g.example -o @/other").unwrap();
    fails(at, "sign --issuer @/b @/other/request.csr -o @/x/tls.crt", "belongs to f.example");
    fails(at, "sign --issuer @/root @/other/request.csr -o @/x/tls.crt", "issuer.crt cannot be read");
    assert!(!at.join("x").exists(), "nothing was written");
}

#[test]
fn a_command_line_that_says_too_little_or_too_much_is_not_understood() {
    let dir = tempfile::tempdir().unwrap();
    for line in [
        "init @/root",
        "init --domain F @/root",
        "init --domain f --valid 0s @/root",
        "init --domain f --valid 200years @/root",
        "request --domain f -o @/x",
        "request --site a --client b --domain f -o @/x",
        "request --site a --authority people --domain f -o @/x",
        "leaf --issuer @/b -o @/x",
        "leaf --issuer @/b --authority people -o @/x",
        "leaf --issuer @/b --client a/b -o @/x",
        "site --root @/root -o @/x",
    ] {
        assert!(ca(dir.path(), line).unwrap_err().contains("--help"), "{line}");
    }
    fails(dir.path(), "request --authority site --domain f -o @/x", "--authority is followed by");
    assert!(!dir.path().join("x").exists() && !dir.path().join("root").exists());
}

#[test]
fn a_bundle_gets_and_loses_one_root_at_a_time_and_keeps_what_it_is_not_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    authorities(at);
    ca(at, "leaf --issuer @/b --site b -o @/store").unwrap();
    ca(at, "init --domain f.example @/new").unwrap();
    let bundle = || fs::read_to_string(at.join("store/ca.crt")).unwrap();
    let old = bundle();
    fs::write(at.join("store/ca.crt"), format!("# of ours\n{}", old.trim_end())).unwrap();
    ca(at, "bundle add --root @/new/root.crt @/store @/b").unwrap();
    let both = bundle();
    assert!(both.starts_with("# of ours\n") && both.matches("BEGIN CERTIFICATE").count() == 2, "{both}");
    assert_eq!(own(&at.join("store")), "spiffe://f.example/site/b/store");
    ca(at, "bundle add --root @/new/root.crt @/store/ca.crt").unwrap();
    assert_eq!(bundle(), both, "it is there once");
    fails(at, "bundle remove --root @/root/root.crt @/store", "does not lead to a root of the bundle");
    assert_eq!(bundle(), both);
    // What an authority signs comes with the bundle of its folder.
    ca(at, "leaf --issuer @/b --site b -o @/second").unwrap();
    assert_eq!(fs::read_to_string(at.join("second/ca.crt")).unwrap().matches("BEGIN CERTIFICATE").count(), 2);
    ca(at, "bundle remove --root @/new/root.crt @/store --json").unwrap();
    assert_eq!(bundle(), format!("# of ours\n{old}"));
    fails(at, "bundle remove --root @/root/root.crt @/root/root.crt", "the only root of the bundle");
    fails(at, "bundle add --root @/second/ca.crt @/store", "has 2 certificates");
    fails(at, "bundle add --root @/new/root.crt @", "has no bundle");
}

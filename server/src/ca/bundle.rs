//! `holdfast ca bundle`: which roots a folder believes, changed one root at a time.
//!
//! The file is a text that others may have written: what is not touched stays as it is, byte for byte.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use holdfast_output::outln;
use holdfast_trust::{Material, RootInfo};
use holdfast_types::Fingerprint;
use serde_json::json;

use super::leaves::write;
use super::{BundleArgs, BundleChange, at, read};

/// What a bundle is called in the folders of those who write them.
const NAMES: [&str; 4] = ["ca.crt", "bundle.pem", "svid_bundle.pem", "bundle.0.pem"];
/// What a certificate ends with.
const END: &str = "-----END CERTIFICATE-----";
/// Certificate and key beside a bundle.
const PAIRS: [(&str, &str); 4] =
    [("tls.crt", "tls.key"), ("svid.pem", "svid_key.pem"), ("svid.0.pem", "svid.0.key"), ("svid.pem", "key.pem")];

/// Adds a root to bundles, or takes it out.
pub(super) fn change(args: &BundleArgs) -> anyhow::Result<()> {
    let (change, is_added) = match &args.command {
        BundleChange::Add(change) => (change, true),
        BundleChange::Remove(change) => (change, false),
    };
    let text = read(&change.root)?;
    let roots = RootInfo::of_pem(text.as_bytes()).with_context(|| change.root.display().to_string())?;
    let [root] = roots.as_slice() else {
        bail!("{} has {} certificates: name the file with the one root", change.root.display(), roots.len());
    };
    let pem = blocks(&text).into_iter().find_map(certificate).context("the root was read")?;
    let mut told = Vec::new();
    for place in &change.places {
        let path = bundle_of(place)?;
        let before = read(&path)?;
        let after = if is_added { with(&before, pem, root.fingerprint)? } else { without(&before, root.fingerprint)? };
        let after = after.filter(|after| *after != before);
        if let Some(after) = &after {
            check(&path, after)?;
            write(&path, after)?;
        }
        let has = RootInfo::of_pem(after.as_ref().unwrap_or(&before).as_bytes())?;
        if !change.json {
            outln!("{}: {}", path.display(), in_words(root, is_added, after.is_some(), has.len()))?;
        }
        told.push(
            json!({ "bundle": path, "changed": after.is_some(), "roots": has.iter().map(as_json).collect::<Vec<_>>() }),
        );
    }
    if change.json {
        outln!("{}", json!(told))?;
    }
    Ok(())
}

fn as_json(root: &RootInfo) -> serde_json::Value {
    json!({ "fingerprint": root.fingerprint.to_string(), "subject": root.subject, "expires_at": at(root.expires_at) })
}

fn in_words(root: &RootInfo, is_added: bool, is_changed: bool, roots: usize) -> String {
    let what = match (is_added, is_changed) {
        (true, true) => "has it now",
        (true, false) => "has it already",
        (false, true) => "has it no more",
        (false, false) => "never had it",
    };
    let count = if roots == 1 { "1 root".to_owned() } else { format!("{roots} roots") };
    format!("{what}, {} in all ({} {})", count, root.fingerprint, root.subject)
}

/// The bundle of a folder, or the file itself.
fn bundle_of(place: &Path) -> anyhow::Result<PathBuf> {
    if place.is_file() {
        return Ok(place.to_owned());
    }
    let found = NAMES.iter().map(|name| place.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{} has no bundle: {}", place.display(), NAMES.join(", ")))
}

/// A text in pieces that each end with a certificate, and what is left behind the last one. What stands before a certificate belongs to it.
fn blocks(mut text: &str) -> Vec<&str> {
    let mut blocks = Vec::new();
    while let Some(end) = text.find(END) {
        let (block, rest) = text.split_at(end + END.len());
        // The end of a line belongs to the line.
        let line_end = rest.find(|c: char| c != '\r' && c != '\n').unwrap_or(rest.len());
        let (block, rest) = (&text[..block.len() + line_end], &rest[line_end..]);
        blocks.push(block);
        text = rest;
    }
    if !text.is_empty() {
        blocks.push(text);
    }
    blocks
}

/// The certificate of a piece without what stands before it.
fn certificate(block: &str) -> Option<&str> {
    block.find("-----BEGIN CERTIFICATE-----").map(|begin| &block[begin..])
}

fn print_of(block: &str) -> anyhow::Result<Option<Fingerprint>> {
    let Some(pem) = certificate(block) else { return Ok(None) };
    Ok(RootInfo::of_pem(pem.as_bytes())?.first().map(|root| root.fingerprint))
}

/// `None`: it is there already.
fn with(text: &str, pem: &str, root: Fingerprint) -> anyhow::Result<Option<String>> {
    if RootInfo::of_pem(text.as_bytes())?.iter().any(|known| known.fingerprint == root) {
        return Ok(None);
    }
    let gap = if text.ends_with('\n') { "" } else { "\n" };
    let end = if pem.ends_with('\n') { "" } else { "\n" };
    Ok(Some(format!("{text}{gap}{pem}{end}")))
}

/// `None`: it is not there.
fn without(text: &str, root: Fingerprint) -> anyhow::Result<Option<String>> {
    let (mut kept, mut is_found) = (String::new(), false);
    for block in blocks(text) {
        if print_of(block)? == Some(root) {
            is_found = true;
        } else {
            kept.push_str(block);
        }
    }
    if !is_found {
        return Ok(None);
    }
    ensure!(
        certificate(&kept).is_some(),
        "it is the only root of the bundle, and nobody would be believed without it: add another one first"
    );
    Ok(Some(kept))
}

/// Whoever has the folder must go on to be believed by those who have the same bundle.
fn check(path: &Path, after: &str) -> anyhow::Result<()> {
    let folder = holdfast_files::parent(path);
    let Some((certificate, key)) = PAIRS.iter().find(|(certificate, _)| folder.join(certificate).is_file()) else {
        return Ok(());
    };
    // Whoever may not read the key may still change the bundle: it is looked at by the store.
    let Ok(key) = read(&folder.join(key)) else { return Ok(()) };
    let certificate = read(&folder.join(certificate))?;
    let checked = Material::from_pem(certificate.as_bytes(), key.as_bytes(), after.as_bytes());
    checked.with_context(|| format!("{} would not do with {}", path.display(), folder.display()))?;
    Ok(())
}

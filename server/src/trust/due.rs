//! What somebody has to see to, a sentence each. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use holdfast_placement::{Rotation, SiteTrust};
use holdfast_types::{Fingerprint, RotationPhase, SiteName, limits};

use super::rotation::{self, behind};
use super::shown::{Certificates, Root, Shown, What};

/// The fleet's trust at a moment.
pub struct Picture<'a> {
    /// Every store of the fleet.
    pub shown: &'a [Shown],
    /// The rotation that is under way, or the last one.
    pub rotation: Option<&'a Rotation>,
    /// What was said of sites that were distrusted once.
    pub sites: &'a [SiteTrust],
    /// Seconds since 1970.
    pub now: u64,
}

/// A moment as people read it.
pub fn moment(seconds: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// The most urgent first. Empty: all is in order.
pub fn due(picture: &Picture<'_>) -> Vec<String> {
    let mut due = Vec::new();
    let of_trusted = trusted(picture.shown, picture.sites);
    if !of_trusted.is_empty() && of_trusted.iter().all(|store| store.what == What::Plain) {
        return vec![
            "this fleet runs without TLS: nobody proves who he is, and whoever reaches a port owns it (docs/security.md)".to_owned(),
        ];
    }
    sites(picture, &of_trusted, &mut due);
    of_trusted.iter().for_each(|store| certificate(store, picture.now, &mut due));
    disagreement(&of_trusted, picture.rotation, &mut due);
    roots(&of_trusted, picture.now, &mut due);
    due.extend(picture.rotation.and_then(|rotation| next_step(rotation, &of_trusted)));
    due
}

/// The stores of sites that are trusted: the others are asked nothing.
pub fn trusted(shown: &[Shown], sites: &[SiteTrust]) -> Vec<Shown> {
    let distrusted = holdfast_placement::trust::distrusted(sites);
    shown.iter().filter(|store| !distrusted.contains(&store.site)).cloned().collect()
}

fn sites(picture: &Picture<'_>, of_trusted: &[Shown], due: &mut Vec<String>) {
    for said in picture.sites.iter().filter(|said| said.is_distrusted()) {
        let site = &said.site;
        let since = said.distrusted_at.map(|at| moment(at.ms() / 1_000)).unwrap_or_default();
        due.push(format!(
            "site {site} is distrusted since {since}: replace it, or trust it again (docs/runbooks/distrust-site.md)"
        ));
        let unheard =
            of_trusted.iter().filter(|store| store.certificates().is_some_and(|c| !c.distrusted.contains(site)));
        due.extend(unheard.map(|store| {
            format!(
                "{} has not heard yet that site {site} is distrusted: it will within seconds of reaching another store",
                store.name()
            )
        }));
    }
    let is_doubted = |site: &SiteName| picture.sites.iter().any(|said| said.site == *site && said.is_distrusted());
    for store in of_trusted {
        let old = store.certificates().into_iter().flat_map(|certificates| &certificates.distrusted);
        due.extend(
            old.filter(|site| !is_doubted(site))
                .map(|site| format!("{} has not heard yet that site {site} is trusted again", store.name())),
        );
    }
}

fn certificate(store: &Shown, now: u64, due: &mut Vec<String>) {
    let name = store.name();
    match &store.what {
        What::Silent(why) => due.push(format!("{name} does not answer, and shows nothing: {why}")),
        What::Plain => due.push(format!("{name} runs without TLS: start it with --tls")),
        What::Certificates(certificates) => {
            due.extend(its_end(&name, certificates, now));
            if let Some(why) = &certificates.refused {
                due.push(format!(
                    "{name} goes on with the certificate that it had, and refuses what lies in its folder: {why}"
                ));
            }
        }
    }
}

fn its_end(name: &str, certificates: &Certificates, now: u64) -> Option<String> {
    let Certificates { issued_at, expires_at, .. } = certificates;
    let (life, left) = (expires_at.saturating_sub(*issued_at), expires_at.saturating_sub(now));
    let at = moment(*expires_at);
    if left == 0 {
        return Some(format!(
            "the certificate of {name} ended at {at}: have a new one made (docs/runbooks/expired-certificate.md)"
        ));
    }
    let is_near = left <= life / u64::from(limits::TRUST_TOLD_AT_LEFT);
    is_near.then(|| {
        format!(
            "the certificate of {name} ends at {at}, and was not renewed yet (docs/runbooks/expired-certificate.md)"
        )
    })
}

/// Stores that would not believe another one at its next connection.
fn disagreement(of_trusted: &[Shown], rotation: Option<&Rotation>, due: &mut Vec<String>) {
    for (root, of) in in_use(of_trusted) {
        let lacks = |store: &&Shown| store.certificates().is_some_and(|c| !c.roots.contains_key(&root));
        for store in of_trusted.iter().filter(lacks) {
            due.push(format!(
                "{} does not have the root {} in its bundle, to which the certificate of {of} leads: neither connects to the other any more",
                store.name(),
                root.short()
            ));
        }
        let is_coming =
            rotation.is_some_and(|rotation| rotation.new_root == root && rotation.phase == RotationPhase::Add);
        if is_coming {
            due.push(format!(
                "the certificate of {of} leads to the new root {} already: nothing is lost while all bundles have it, but clients may not yet",
                root.short()
            ));
        }
    }
}

/// The roots that certificates lead to, each with a store whose does.
fn in_use(shown: &[Shown]) -> BTreeMap<Fingerprint, String> {
    let mut in_use = BTreeMap::new();
    for store in shown {
        if let Some(root) = store.certificates().and_then(|certificates| certificates.root_in_use) {
            in_use.entry(root).or_insert_with(|| store.name());
        }
    }
    in_use
}

fn roots(of_trusted: &[Shown], now: u64, due: &mut Vec<String>) {
    let in_use = in_use(of_trusted);
    let all = of_trusted.iter().filter_map(Shown::certificates).flat_map(|certificates| &certificates.roots);
    let known: BTreeMap<&Fingerprint, &Root> = all.filter(|(print, _)| in_use.contains_key(*print)).collect();
    for (print, root) in known {
        let (at, subject) = (moment(root.expires_at), &root.subject);
        match root.expires_at.saturating_sub(now) {
            0 => due.push(format!("the root {} ({subject}) ended at {at}: nobody believes what leads to it", print.short())),
            left if left <= limits::ROOT_ENDS_SOON.as_secs() => due.push(format!(
                "the root {} ({subject}) ends at {at}, and every certificate below it with it: replace it (docs/runbooks/rotate-root.md)",
                print.short()
            )),
            _ => {}
        }
    }
}

fn next_step(rotation: &Rotation, of_trusted: &[Shown]) -> Option<String> {
    if rotation::is_over(rotation, of_trusted) {
        return None;
    }
    let (phase, new) = (rotation.phase.as_str(), rotation.new_root.short());
    let late = behind(rotation, of_trusted).len();
    let next = match rotation.phase {
        _ if late > 0 => {
            let has = if late == 1 { "store has" } else { "stores have" };
            format!("{late} {has} not shown it yet (`holdfast trust status`)")
        }
        RotationPhase::Add => {
            "every store has shown it; when clients and operators have it too: `holdfast trust rotate switch`".into()
        }
        _ => "every store has shown it; when clients and operators have it too: `holdfast trust rotate remove`"
            .to_owned(),
    };
    Some(format!("the rotation of the root to {new} is in phase `{phase}`: {next}"))
}

#[cfg(test)]
#[path = "due_tests.rs"]
mod tests;

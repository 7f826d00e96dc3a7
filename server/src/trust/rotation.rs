//! The phases of a rotation of the root, and which stores are behind. Pure.
//!
//! ```text
//! add:    the new root is in every bundle      ─▶ switch: every certificate leads to the new root ─▶ remove: the old root is in no bundle
//!   └─────────────────────────────────────────────┴────────────────────────────────────────────────────┴─▶ abort: back to the old one
//! ```
//!
//! Why this is enough: in `add` all certificates lead to an old root, which all bundles have. In `switch` a certificate leads to one or the other,
//! and all bundles have both. In `remove` all lead to the new one, which all bundles have. So at every moment every store believes every
//! other one, as long as nobody goes on before the last one has shown that it is there; and that is what is judged here. A store that does not
//! answer has shown nothing.
//!
//! What is not seen from here: bundles and certificates of clients and operators. They go through the same phases, and docs/runbooks/rotate-root.md
//! says when.

use std::collections::BTreeSet;
use std::fmt;

use holdfast_placement::Rotation;
use holdfast_types::{Fingerprint, RotationPhase, SiteName, StoreId, Timestamp, limits};

use super::shown::{Certificates, Shown, What};

/// Stores that one refusal names.
const NAMED: usize = 5;

/// A store that has not shown a phase, and what is to be done there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Behind {
    /// Which.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
    /// What is missing, and what is to be done.
    pub what: String,
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.store, self.site, self.what)
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Begin: this root is to come.
    Add(Fingerprint),
    /// All bundles have it.
    Switch,
    /// All certificates lead to it.
    Remove,
    /// Back to the old root.
    Abort,
}

/// Why a step is not taken, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CannotRotate {
    /// Stores have not shown what has to be so before.
    #[error("{} of {stores} stores {}: {}", .behind.len(), .phase.lack(.behind.len()), listed(.behind))]
    Behind {
        /// What they have not shown.
        phase: Shows,
        /// Which.
        behind: Vec<Behind>,
        /// Of so many.
        stores: usize,
    },
    /// Nothing was begun.
    #[error("no rotation of the root is under way: `holdfast trust rotate add --root NEW.pem` begins one")]
    NotBegun,
    /// Another one is.
    #[error(
        "a rotation to {} is under way, in phase `{}`: finish it, or give it up (`holdfast trust rotate abort`), before another one",
        new_root.short(), phase.as_str()
    )]
    UnderWay {
        /// Its root.
        new_root: Fingerprint,
        /// How far it is.
        phase: RotationPhase,
    },
    /// A phase was left out.
    #[error("the new root is still to be added: `holdfast trust rotate switch` comes first")]
    TooEarly,
    /// The last one is over.
    #[error("the rotation to {} is over, every store has shown it: to go back, begin another one with the old root", .0.short())]
    Over(Fingerprint),
    /// All certificates lead to it already.
    #[error("the certificates of all stores lead to {} already: there is nothing to rotate", .0.short())]
    InUse(Fingerprint),
    /// More roots are in use than one rotation replaces.
    #[error("certificates of stores lead to {0} roots, and one rotation replaces {most} at most: have some made below another one first", most = limits::ROTATION_OLD_ROOTS)]
    ManyRoots(usize),
}

/// What stores have not shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shows {
    /// Anything at all: it must be known where each stands.
    Anything,
    /// A phase.
    Phase(RotationPhase),
    /// That it is on the old root.
    OldRoot,
}

impl Shows {
    fn lack(self, stores: usize) -> String {
        let has = if stores == 1 { "has" } else { "have" };
        match self {
            Self::Anything => format!("{has} not shown which root is in use"),
            Self::Phase(phase) => format!("{has} not shown `{}` yet", phase.as_str()),
            Self::OldRoot => format!("{has} not gone back to the old root"),
        }
    }
}

fn listed(behind: &[Behind]) -> String {
    let named: Vec<_> = behind.iter().take(NAMED).map(ToString::to_string).collect();
    let more = behind.len().saturating_sub(NAMED);
    match more {
        0 => named.join("; "),
        more => format!("{}; and {more} more (`holdfast trust status` shows all)", named.join("; ")),
    }
}

/// The stores that have not shown the phase that the rotation is in.
pub fn behind(rotation: &Rotation, shown: &[Shown]) -> Vec<Behind> {
    missing(shown, |certificates| lacks(rotation, certificates))
}

fn missing(shown: &[Shown], lacks: impl Fn(&Certificates) -> Option<String>) -> Vec<Behind> {
    let what = |store: &Shown| match &store.what {
        What::Certificates(certificates) => {
            let what = lacks(certificates)?;
            // What lies there may be the right thing, and not be used.
            Some(
                certificates
                    .refused
                    .as_ref()
                    .map_or(what.clone(), |why| format!("{what}. What lies in its folder now is refused: {why}")),
            )
        }
        What::Plain => Some("it runs without TLS, and shows nothing: start it with --tls".to_owned()),
        What::Silent(why) => Some(format!(
            "it does not answer ({why}): start it, or `holdfast forget {}` if it is dead for good",
            store.store
        )),
    };
    let behind = shown
        .iter()
        .filter_map(|store| Some(Behind { store: store.store, site: store.site.clone(), what: what(store)? }));
    behind.collect()
}

/// What a store lacks of the phase, and what is to be done there.
fn lacks(rotation: &Rotation, certificates: &Certificates) -> Option<String> {
    let new = rotation.new_root;
    let has = |root: &Fingerprint| certificates.roots.contains_key(root);
    let lacks_new = || {
        (!has(&new))
            .then(|| format!("its bundle lacks the new root {}: add it there, and leave the old one", new.short()))
    };
    let not_below_new = || {
        let old = certificates.root_in_use.filter(|root| *root != new);
        old.map(|old| format!("its certificate leads to {}: have a new one made below {}", old.short(), new.short()))
            .or_else(|| certificates.root_in_use.is_none().then(|| "it does not show which root is in use".to_owned()))
    };
    match rotation.phase {
        RotationPhase::Add => lacks_new(),
        RotationPhase::Switch => lacks_new().or_else(not_below_new),
        RotationPhase::Remove => lacks_new().or_else(not_below_new).or_else(|| {
            let old: Vec<_> = rotation.old_roots.iter().filter(|root| has(root)).map(Fingerprint::short).collect();
            (!old.is_empty()).then(|| format!("its bundle still has the old root {}: take it out", old.join(", ")))
        }),
        RotationPhase::Aborted => {
            has(&new).then(|| format!("its bundle still has the root {} that was given up: take it out", new.short()))
        }
    }
}

/// True when nothing is left to be done of it.
pub fn is_over(rotation: &Rotation, shown: &[Shown]) -> bool {
    matches!(rotation.phase, RotationPhase::Remove | RotationPhase::Aborted) && behind(rotation, shown).is_empty()
}

/// Takes a rotation on by a step. `None`: it was there before. `shown`: every store of a site that is trusted.
pub fn take(
    rotation: Option<&Rotation>,
    step: Step,
    shown: &[Shown],
    now: Timestamp,
) -> Result<Option<Rotation>, CannotRotate> {
    use RotationPhase as Phase;
    let at = |rotation: &Rotation, phase| Ok(Some(Rotation { phase, phase_at: now, ..rotation.clone() }));
    let refuse = |phase, behind| Err(CannotRotate::Behind { phase, behind, stores: shown.len() });
    let Some(rotation) = rotation else {
        return match step {
            Step::Add(root) => begin(root, shown, now).map(Some),
            Step::Switch | Step::Remove | Step::Abort => Err(CannotRotate::NotBegun),
        };
    };
    let late = behind(rotation, shown);
    match (step, rotation.phase) {
        (Step::Add(root), Phase::Add | Phase::Switch | Phase::Remove) if root == rotation.new_root => Ok(None),
        (Step::Add(root), Phase::Remove) if late.is_empty() => begin(root, shown, now).map(Some),
        (Step::Add(_), Phase::Add | Phase::Switch | Phase::Remove) => {
            Err(CannotRotate::UnderWay { new_root: rotation.new_root, phase: rotation.phase })
        }
        // The one that was given up is begun anew, whoever has its root still.
        (Step::Add(root), Phase::Aborted) if late.is_empty() || root == rotation.new_root => {
            begin(root, shown, now).map(Some)
        }
        (Step::Add(_), Phase::Aborted) => refuse(Shows::Phase(Phase::Aborted), late),
        (Step::Switch | Step::Remove, Phase::Aborted) => Err(CannotRotate::NotBegun),
        (Step::Switch, Phase::Switch | Phase::Remove) | (Step::Remove, Phase::Remove) => Ok(None),
        (Step::Remove, Phase::Add) => Err(CannotRotate::TooEarly),
        (Step::Switch, Phase::Add) | (Step::Remove, Phase::Switch) if !late.is_empty() => {
            refuse(Shows::Phase(rotation.phase), late)
        }
        (Step::Switch, Phase::Add) => at(rotation, Phase::Switch),
        (Step::Remove, Phase::Switch) => at(rotation, Phase::Remove),
        (Step::Abort, Phase::Aborted) => Ok(None),
        (Step::Abort, Phase::Remove) if late.is_empty() => Err(CannotRotate::Over(rotation.new_root)),
        (Step::Abort, Phase::Add | Phase::Switch | Phase::Remove) => match not_gone_back(rotation, shown) {
            late if late.is_empty() => at(rotation, Phase::Aborted),
            late => refuse(Shows::OldRoot, late),
        },
    }
}

/// The roots that certificates of stores lead to now.
fn in_use(shown: &[Shown]) -> BTreeSet<Fingerprint> {
    shown.iter().filter_map(|store| store.certificates()?.root_in_use).collect()
}

fn begin(new_root: Fingerprint, shown: &[Shown], now: Timestamp) -> Result<Rotation, CannotRotate> {
    let unknown = |certificates: &Certificates| {
        certificates.root_in_use.is_none().then(|| "it does not show which root is in use".to_owned())
    };
    let late = missing(shown, unknown);
    if !late.is_empty() {
        return Err(CannotRotate::Behind { phase: Shows::Anything, behind: late, stores: shown.len() });
    }
    let mut old_roots = in_use(shown);
    old_roots.remove(&new_root);
    match old_roots.len() {
        0 => Err(CannotRotate::InUse(new_root)),
        many if many > limits::ROTATION_OLD_ROOTS => Err(CannotRotate::ManyRoots(many)),
        _ => Ok(Rotation { phase: RotationPhase::Add, new_root, old_roots, begun_at: now, phase_at: now }),
    }
}

/// The stores that would be cut off if the new root went out of all bundles now, or cut off others.
fn not_gone_back(rotation: &Rotation, shown: &[Shown]) -> Vec<Behind> {
    let in_use = in_use(shown);
    missing(shown, |certificates| {
        let new = rotation.new_root;
        if certificates.root_in_use.is_none_or(|root| root == new) {
            return Some(format!(
                "its certificate leads to {}, which is to go: have one made below the old root",
                new.short()
            ));
        }
        let lacks = in_use.iter().find(|root| **root != new && !certificates.roots.contains_key(*root));
        lacks.map(|root| format!("its bundle lacks the old root {}: put it back", root.short()))
    })
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;

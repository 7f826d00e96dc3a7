//! What is wrong with a fleet file, and where.

use std::fmt;

use super::checks::names as name_checks;
use super::checks::{
    backup, equality, headroom, identity, image, networks, policy, ports, quantities, sites, trust, version,
};
use super::keys;
use super::model::Fleet;
use super::source::{Path, Place, Places};

/// Whether a fleet can be made from the file all the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, and somebody should know.
    Warning,
}

/// Everything that can be wrong with a fleet file, by concern. Each says what to do.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
#[allow(missing_docs, reason = "each is documented where its check is")]
pub enum Problem {
    /// The text is no YAML, or a value has the wrong type.
    #[error("{0}")]
    Unreadable(String),
    #[error(transparent)]
    Key(#[from] keys::KeyProblem),
    #[error(transparent)]
    Version(#[from] version::VersionProblem),
    #[error(transparent)]
    Sites(#[from] sites::SitesProblem),
    #[error(transparent)]
    Policy(#[from] policy::PolicyProblem),
    #[error(transparent)]
    Equality(#[from] equality::EqualityProblem),
    #[error(transparent)]
    Headroom(#[from] headroom::HeadroomProblem),
    #[error(transparent)]
    Network(#[from] networks::NetworkProblem),
    #[error(transparent)]
    Name(#[from] name_checks::NameProblem),
    #[error(transparent)]
    Identity(#[from] identity::IdentityProblem),
    #[error(transparent)]
    Image(#[from] image::ImageProblem),
    #[error(transparent)]
    Backup(#[from] backup::BackupProblem),
    #[error(transparent)]
    Ports(#[from] ports::PortsProblem),
    #[error(transparent)]
    Quantity(#[from] quantities::QuantityProblem),
    #[error(transparent)]
    Trust(#[from] trust::TrustProblem),
}

/// One problem at its place in the file.
#[derive(PartialEq, Eq, Debug, Clone)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where the value begins.
    pub place: Place,
    /// Which value: `sites[2].name`; the root for the whole file.
    pub path: Path,
    /// What is wrong, and what to do.
    pub problem: Problem,
}

impl Finding {
    /// What the parser of YAML or of the types refused.
    pub(crate) fn of_parser(error: &serde_saphyr::Error) -> Self {
        let place = error.location().map_or(Place::START, Place::of);
        let said = error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter);
        Self {
            severity: Severity::Error,
            place,
            path: Path::root(),
            problem: Problem::Unreadable(without_place(&said)),
        }
    }
}

/// The parser ends its message with the place, which a finding has already.
fn without_place(said: &str) -> String {
    said.split(" at line ").next().unwrap_or(said).to_owned()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity == Severity::Error { "error" } else { "warning" };
        write!(f, "{}:{}: {severity}: ", self.place.line, self.place.column)?;
        if self.path != Path::root() {
            write!(f, "{}: ", self.path)?;
        }
        self.problem.fmt(f)
    }
}

/// Collects findings and looks up their places.
pub struct Findings<'a> {
    places: &'a Places,
    list: Vec<Finding>,
}

impl<'a> Findings<'a> {
    /// None yet.
    #[must_use]
    pub fn new(places: &'a Places) -> Self {
        Self { places, list: Vec::new() }
    }

    /// No fleet can be made of this.
    pub fn error(&mut self, path: Path, problem: impl Into<Problem>) {
        self.add(Severity::Error, path, problem.into());
    }

    /// Somebody should know this.
    pub fn warning(&mut self, path: Path, problem: impl Into<Problem>) {
        self.add(Severity::Warning, path, problem.into());
    }

    fn add(&mut self, severity: Severity, path: Path, problem: Problem) {
        self.list.push(Finding { severity, place: self.places.find(&path), path, problem });
    }

    /// An error at a place of its own: a key, where its path leads to its value.
    pub(crate) fn error_at(&mut self, place: Place, path: Path, problem: impl Into<Problem>) {
        self.list.push(Finding { severity: Severity::Error, place, path, problem: problem.into() });
    }

    /// True while nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them in the order of the file.
    #[must_use]
    pub fn into_list(mut self) -> Vec<Finding> {
        self.list.sort_by_key(|finding| finding.place);
        self.list
    }
}

/// What [`validate`](super::validate) found.
#[derive(Debug)]
pub struct Report {
    /// The fleet, when there is no error.
    pub fleet: Option<Fleet>,
    /// Errors and warnings in the order of the file.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn of(findings: Vec<Finding>) -> Self {
        Self { fleet: None, findings }
    }

    /// How many findings are of this severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

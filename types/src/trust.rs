//! Names of certificates, and how far one root has taken the place of another.

use std::fmt;

/// Names a certificate among all: SHA-256 of it, as it was sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The first of its letters: enough to tell the roots of one fleet apart on a screen.
    #[must_use]
    pub fn short(&self) -> String {
        let [a, b, c, d, ..] = self.0;
        [a, b, c, d].map(|byte| format!("{byte:02x}")).concat()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How far a rotation of the root is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RotationPhase {
    /// The new root goes into every bundle, beside the old ones.
    Add,
    /// Every certificate is made anew, below the new root.
    Switch,
    /// The old roots go out of every bundle.
    Remove,
    /// It was given up: the new root goes out of every bundle.
    Aborted,
}

impl RotationPhase {
    /// As the command line calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Switch => "switch",
            Self::Remove => "remove",
            Self::Aborted => "abort",
        }
    }
}

//! Ends of `holdfast start` that whoever runs it should tell apart: each has an exit code of its own. What is common to all commands is in
//! the guide (docs/guide.md, "Exit codes").

use std::process::ExitCode;

use holdfast_types::SiteName;

/// Starting it again would change nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Ending {
    /// The fleet has forgotten the store; says so itself, and what to do.
    #[error("{0}")]
    Forgotten(String),
    /// A pod without the proof of its site.
    #[error(
        "this is a pod, and site {0} is not proved: set HOLDFAST_SITE_ID (`site-id` in the file) to the UID of the kube-system namespace \
         (`kubectl get namespace kube-system -o jsonpath='{{.metadata.uid}}'`; `holdfast fleet render` writes it)"
    )]
    NoProof(SiteName),
}

impl Ending {
    /// The code that the process ends with.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Forgotten(_) => 4,
            Self::NoProof(_) => 5,
        })
    }
}

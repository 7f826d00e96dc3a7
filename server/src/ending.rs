//! Ends of `holdfast start` that whoever runs it should tell apart: each has an exit code of its own. What is common to all commands is in
//! the guide (docs/guide.md, "Exit codes").

use std::process::ExitCode;

use holdfast_types::{SiteName, StoreId};

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
    /// The proof of its site is another one than it joined with, and the fleet does not accept it; or it is the site's no more.
    #[error("{0}")]
    OtherProof(String),
}

impl Ending {
    /// What a store says whose proof of its site is refused.
    pub fn other_proof(store: StoreId, site: &SiteName, given: Option<&str>, why: &str) -> Self {
        let given = given.map_or_else(|| "without a proof".to_owned(), |given| format!("with the proof {given}"));
        Self::OtherProof(format!(
            "{store} is started {given} of site {site}, which is not accepted: {why}. If this is not the Kubernetes cluster of {site}, \
             the volume or the manifest is in the wrong one: bring it back, and change nothing else. If the Kubernetes cluster of {site} was \
             rebuilt or moved, follow docs/runbooks/moved-site.md (`holdfast site move`), and start it then. Starting it again as it is changes nothing"
        ))
    }

    /// The code that the process ends with.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Forgotten(_) => 4,
            Self::NoProof(_) => 5,
            Self::OtherProof(_) => 6,
        })
    }
}

//! Is the policy one that can be kept, and one that the stores can be told?

use crate::fleet::at;
use crate::fleet::finding::Findings;
use crate::fleet::model::{Fleet, Policy, Survive};

/// The policy makes no sense, or is not in force.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum PolicyProblem {
    /// An even number of copies, or none.
    #[error("{replicas} copies of a range survive no more losses than {}: use an odd number", .replicas.saturating_sub(1))]
    EvenReplicas {
        /// Copies of a range.
        replicas: u32,
    },
    /// One copy.
    #[error("one copy of a range is gone with its site: `survive: site` needs 3 or more, `survive: store` too")]
    OneReplica,
    /// The stores cannot be told.
    #[error(
        "the stores take no policy from outside yet: they keep 3 copies of a range and survive the loss of a site, whatever stands here"
    )]
    NotInForce,
}

/// Checks the policy.
pub fn check(fleet: &Fleet, findings: &mut Findings<'_>) {
    let path = at("policy").key("replicas");
    match fleet.policy.replicas {
        1 => findings.error(path, PolicyProblem::OneReplica),
        replicas if replicas.is_multiple_of(2) => findings.error(path, PolicyProblem::EvenReplicas { replicas }),
        _ if fleet.policy != Policy { survive: Survive::Site, replicas: 3 } => {
            findings.warning(at("policy"), PolicyProblem::NotInForce);
        }
        _ => {}
    }
}

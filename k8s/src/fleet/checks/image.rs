//! The image is named by its digest: a tag may mean something else in each site, and tomorrow.

use crate::fleet::at;
use crate::fleet::finding::Findings;
use crate::fleet::model::Fleet;

/// Hexadecimal digits of a digest.
const DIGITS: usize = 64;

/// The image is not named by a digest.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum ImageProblem {
    /// No digest.
    #[error(
        "{image:?} has no digest, so that sites may run different programs under the same name: write REPOSITORY@sha256:DIGEST (`crane \
         digest {image}` prints it)"
    )]
    NoDigest {
        /// The text.
        image: String,
    },
    /// A digest that is none.
    #[error("{digest:?} is not a digest: write sha256: and 64 of 0-9 and a-f")]
    NotADigest {
        /// What stands after the @.
        digest: String,
    },
}

/// Checks the image.
pub fn check(fleet: &Fleet, findings: &mut Findings<'_>) {
    let Some((_, digest)) = fleet.image.split_once('@') else {
        return findings.error(at("image"), ImageProblem::NoDigest { image: fleet.image.clone() });
    };
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let is_digest = digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == DIGITS && hex.chars().all(is_hex));
    if !is_digest {
        findings.error(at("image"), ImageProblem::NotADigest { digest: digest.to_owned() });
    }
}

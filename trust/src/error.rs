//! What can be wrong with certificates, keys and bundles, in sentences that say what to do.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use holdfast_types::principal::BadIdentity;
use holdfast_types::{Principal, SiteName, TrustDomain};

/// Why material, a certificate or an authority cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TrustError {
    /// A file is missing, too large, or the system does not let it be read.
    #[error("{} cannot be read: {why}", path.display())]
    Unreadable {
        /// The file or the folder.
        path: PathBuf,
        /// In the system's words.
        why: String,
    },
    /// A file or a folder could not be made.
    #[error("{} cannot be written: {why}", path.display())]
    Unwritable {
        /// The file or the folder.
        path: PathBuf,
        /// In the system's words.
        why: String,
    },
    /// There is something already, and a key must not be lost.
    #[error("{} is there already, and is not overwritten: name another folder, or move it away first", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// None of the known names is there.
    #[error(
        "{} holds no certificate: put tls.crt, tls.key and ca.crt there (cert-manager, `holdfast ca`), or svid.pem, svid_key.pem \
         and bundle.pem (SPIRE)",
        folder.display()
    )]
    Empty {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// Nobody is believed without roots.
    #[error("{} holds no bundle of roots: put ca.crt there (bundle.pem of SPIRE), which whoever runs the fleet has", folder.display())]
    NoBundle {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// Whoever has no certificate belongs to no domain by himself.
    #[error(
        "the roots of the bundle {}: say which trust domain the fleet has (--trust-domain NAME)",
        if named.is_empty() { "name no trust domain".to_owned() } else { format!("name several trust domains, {}", named.join(", ")) }
    )]
    WhichDomain {
        /// Those that they name.
        named: Vec<String>,
    },
    /// Anybody on the machine could be this party.
    #[error(
        "{0} can be read by everybody on this machine (mode {mode:04o}): chmod 0600 {0}; in Kubernetes, set defaultMode: 0440 and \
         fsGroup",
        path.display()
    )]
    OpenToAll {
        /// The file with the key.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The text is not what it should be.
    #[error("the {what} cannot be read: {why}")]
    Malformed {
        /// Certificate, key, bundle or request.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// More than anybody needs, and each takes time at every handshake.
    #[error("the {what} has {count} certificates, {most} are the most")]
    TooMany {
        /// Certificate or bundle.
        what: &'static str,
        /// So many were found.
        count: usize,
        /// So many may be.
        most: usize,
    },
    /// Key and certificate are of two pairs.
    #[error(
        "the key is not the one that the certificate was made for: put both there from one pair, the certificate last"
    )]
    OtherKey,
    /// The own certificate would be refused by everybody who has the same bundle.
    #[error(
        "the certificate of {principal} does not lead to a root of the bundle ({why}): add the root that signed it to the bundle"
    )]
    NoPath {
        /// Who it is for.
        principal: Box<Principal>,
        /// What the way to a root fails on.
        why: String,
    },
    /// Too late.
    #[error("the certificate of {principal} expired at {}: have a new one signed", at(*.expired_at))]
    Expired {
        /// Who it was for.
        principal: Box<Principal>,
        /// When it did.
        expired_at: SystemTime,
    },
    /// Too early: mostly a clock that is wrong.
    #[error("the certificate of {principal} is valid from {} on, and this machine's clock is not there yet: set the clock", at(*.issued_at))]
    NotYet {
        /// Who it is for.
        principal: Box<Principal>,
        /// From when on.
        issued_at: SystemTime,
    },
    /// Whoever is connected knows this process as somebody.
    #[error("the certificate is of {found}, and this process is {was}: start it again for it to become somebody else")]
    OtherParty {
        /// Who this process is.
        was: Box<Principal>,
        /// Who the new certificate is for.
        found: Box<Principal>,
    },
    /// Where something was found that is wrong by itself.
    #[error("{}: {why}", folder.display())]
    In {
        /// The folder.
        folder: PathBuf,
        /// What is wrong there.
        why: Box<TrustError>,
    },
    /// A certificate that is sound and still not the right one.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// An authority was asked for what is beyond it.
    #[error("{0}")]
    BeyondScope(String),
    /// Making a certificate failed.
    #[error("the certificate cannot be made: {0}")]
    NotMade(String),
}

impl TrustError {
    pub(crate) fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> Self {
        Self::Unreadable { path: path.to_owned(), why: why.to_string() }
    }

    #[cfg(feature = "authority")]
    pub(crate) fn unwritable(path: &Path, why: &dyn std::fmt::Display) -> Self {
        Self::Unwritable { path: path.to_owned(), why: why.to_string() }
    }

    pub(crate) fn within(self, folder: &Path) -> Self {
        match self {
            // These name their file already.
            Self::Unreadable { .. }
            | Self::OpenToAll { .. }
            | Self::Empty { .. }
            | Self::NoBundle { .. }
            | Self::In { .. } => self,
            other => Self::In { folder: folder.to_owned(), why: Box::new(other) },
        }
    }
}

/// Why a certificate does not prove what its owner needs it for. What a handshake is refused for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    /// The other end has none.
    #[error("no certificate was shown")]
    Missing,
    /// It is no certificate.
    #[error("the certificate is malformed")]
    Malformed,
    /// A certificate for a web site, for example.
    #[error(
        "the certificate names no identity: it needs one URI, spiffe://DOMAIN/site/SITE/store, /client/NAME or /operator/NAME"
    )]
    NoIdentity,
    /// SPIFFE allows one; whoever reads two may read either.
    #[error("the certificate names {0} URIs, and exactly one is an identity")]
    ManyIdentities(usize),
    /// Its URI is not one of ours.
    #[error("the certificate names another kind of identity: {0}")]
    NotOurs(#[from] BadIdentity),
    /// Another fleet's, perhaps below the same root.
    #[error("{theirs} is another trust domain than {ours}")]
    OtherDomain {
        /// The certificate's.
        theirs: Box<Principal>,
        /// The one that this party belongs to.
        ours: TrustDomain,
    },
    /// An authority spoke for somebody whom it may not speak for.
    #[error("the authority {authority:?} may not speak for {principal}")]
    OutOfScope {
        /// Whom the certificate names.
        principal: Box<Principal>,
        /// Subject of the authority whose scope it is not in.
        authority: String,
    },
    /// The root itself has had its time.
    #[error("the root {authority:?} expired at {}", at(*.expired_at))]
    RootExpired {
        /// Its subject.
        authority: String,
        /// When it did.
        expired_at: SystemTime,
    },
    /// A client or an operator where only stores talk.
    #[error("{0} is no store")]
    NotAStore(Box<Principal>),
    /// A store, and not of the site that was called.
    #[error("{found} is not of site {wanted}")]
    OtherSite {
        /// The site that was called.
        wanted: SiteName,
        /// Who answered.
        found: Box<Principal>,
    },
    /// The fleet has said that this site is not believed any more.
    #[error("site {0} is distrusted")]
    Distrusted(SiteName),
    /// More certificates than any path has.
    #[error("{0} certificates were shown, more than any path has")]
    LongChain(usize),
}

/// A time in a sentence.
pub(crate) fn at(time: SystemTime) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(time)
}

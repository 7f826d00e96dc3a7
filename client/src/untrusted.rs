//! Why one end of a connection did not believe the other.

/// What one end of a connection did not believe of the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Doubt {
    /// The certificate of the store has expired.
    StoreExpired,
    /// The certificate of the store is not valid yet: clocks differ.
    StoreNotYetValid,
    /// The certificate of the store leads to no root of our bundle.
    StoreUnknown,
    /// Whoever answers proved to be somebody else than a store of our trust domain, or one that is distrusted.
    StoreUnfit,
    /// Our certificate has expired.
    OwnExpired,
    /// Our certificate leads to no root of the store's bundle.
    OwnUnknown,
    /// The store asks for a certificate and was shown none.
    OwnMissing,
    /// The fleet distrusts the site whose store we are: only stores are told that.
    OwnDistrusted,
    /// The store does not take our certificate, and says no more than that.
    OwnRefused,
    /// Our bearer token is missing, cannot be read, or is not taken.
    Token,
    /// One end speaks TLS and the other does not.
    NoTls,
}

impl Doubt {
    /// What to do about it, as a clause.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::StoreExpired => "have it renewed there; a store takes a new one without a restart",
            Self::StoreNotYetValid => "compare the clocks of both machines",
            Self::StoreUnknown => "see that the address is one of your fleet, and that your bundle has its root",
            Self::StoreUnfit => "see that the address is one of a store of your fleet",
            Self::OwnExpired => "put a new one in its place; it is taken without a restart",
            Self::OwnUnknown => "have it issued by an authority of this fleet",
            Self::OwnMissing => {
                "give one with its key; it takes a bearer token alone where it was started with --bearer-keys"
            }
            Self::OwnDistrusted => "docs/runbooks/distrust-site.md says how it is trusted again",
            Self::OwnRefused => "the log of the store says why",
            Self::Token => {
                "see that it is meant for this fleet and has not expired; a new one in the file is taken by itself"
            }
            Self::NoTls => "use TLS for a fleet that has it, and plain text for one that was started with --insecure",
        }
    }
}

/// A connection on which one end did not believe the other: what was doubted first, and a sentence that names address, cause and remedy of each.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{said}")]
pub struct Untrusted {
    doubt: Doubt,
    said: String,
}

impl Untrusted {
    #[cfg(feature = "grpc")]
    pub(crate) fn new(doubt: Doubt, said: String) -> Self {
        Self { doubt, said }
    }

    /// What was doubted; with several addresses, at the first of them.
    #[must_use]
    pub fn doubt(&self) -> Doubt {
        self.doubt
    }
}

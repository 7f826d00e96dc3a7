//! How connections between stores are protected.

use std::sync::Arc;

use holdfast_edge::handshake::Security as PortSecurity;
use holdfast_trust::{Callers, Trust};
use holdfast_types::principal::Kind;
use holdfast_types::{Principal, SiteName};

/// How connections between stores are protected.
#[derive(Clone, Default, Debug)]
pub enum Security {
    /// Not at all: the network between the stores must be trusted. The handshake keeps honest stores from mistakes, it does not
    /// keep out a liar.
    #[default]
    Plain,
    /// By TLS in both directions: each end is a store of the site that its certificate names, and speaks for no other site.
    Tls(Arc<Trust>),
}

impl Security {
    pub(crate) fn trust(&self) -> Option<&Arc<Trust>> {
        match self {
            Self::Plain => None,
            Self::Tls(trust) => Some(trust),
        }
    }

    /// Of a port that other stores call.
    pub(crate) fn of_port(&self) -> Option<PortSecurity> {
        self.trust().map(|trust| PortSecurity { trust: Arc::clone(trust), callers: Callers::Stores })
    }

    /// True: nothing is wanted of the stores of this site.
    pub(crate) fn is_distrusted(&self, site: &SiteName) -> bool {
        self.trust().is_some_and(|trust| {
            let domain = trust.own().principal.domain.clone();
            trust.is_distrusted(&Principal { domain, kind: Kind::Store(site.clone()) })
        })
    }

    /// Changes whenever somebody may be distrusted who was not.
    pub(crate) fn generation(&self) -> u64 {
        self.trust().map_or(0, |trust| trust.generation())
    }
}

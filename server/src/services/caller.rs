//! Who asks: by the certificate of his connection, or by the token of his request.

use std::net::SocketAddr;
use std::sync::Arc;

use holdfast_edge::connection::Via;
use holdfast_types::{Principal, SiteName};
use http::Extensions;

use crate::bearer::Bearer;

/// Who asks, and from where, as far as he proved it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Caller {
    /// `None`: he proved nothing. With TLS nobody gets to a service so, but whoever asks for what [`super::access`] leaves open.
    pub principal: Option<Arc<Principal>>,
    /// The other end of his connection; `None`: he came by none.
    pub from: Option<SocketAddr>,
}

impl Caller {
    /// Of a request. Who comes by a token is who the token says, whatever certificate his connection has: that is the one of a proxy.
    pub fn of(extensions: &Extensions) -> Self {
        let via = extensions.get::<Via>();
        let by_token = extensions.get::<Bearer>().map(|bearer| Arc::clone(&bearer.principal));
        let by_certificate = || via.and_then(|via| via.0.party()).map(|party| Arc::clone(&party.principal));
        Self { principal: by_token.or_else(by_certificate), from: via.map(|via| via.0.from) }
    }

    /// The site of a store; `None` for everybody else.
    pub fn store_of(&self) -> Option<&SiteName> {
        self.principal.as_ref().and_then(|principal| principal.site())
    }

    /// True for an operator.
    pub fn is_operator(&self) -> bool {
        self.principal.as_ref().is_some_and(|principal| principal.is_operator())
    }

    /// As it is shown in refusals.
    pub fn name(&self) -> String {
        self.principal.as_ref().map_or_else(|| "a caller without a certificate".to_owned(), ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn named(uri: &str) -> Caller {
        Caller { principal: Some(Arc::new(uri.parse().unwrap())), from: None }
    }

    #[test]
    fn a_caller_is_what_he_proved_and_nothing_else() {
        let store = named("spiffe://f/site/b/store");
        assert_eq!((store.store_of().map(SiteName::as_str), store.is_operator()), (Some("b"), false));
        let operator = named("spiffe://f/operator/ann");
        assert_eq!((operator.store_of(), operator.is_operator()), (None, true));
        assert_eq!(operator.name(), "spiffe://f/operator/ann");
        let nobody = Caller::default();
        assert!(nobody.store_of().is_none() && !nobody.is_operator() && !nobody.name().is_empty());
    }

    #[test]
    fn who_comes_by_a_token_is_who_the_token_says() {
        let mut extensions = Extensions::new();
        assert_eq!(Caller::of(&extensions), Caller::default());
        let principal = Arc::new("spiffe://f/client/billing".parse().unwrap());
        extensions.insert(Bearer { principal: Arc::clone(&principal), until: SystemTime::now() });
        assert_eq!(Caller::of(&extensions).principal, Some(principal));
    }
}

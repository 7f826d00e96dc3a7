//! For whom an authority may speak.
//!
//! An authority of a site carries the URI `spiffe://DOMAIN/site/b`, that of people `spiffe://DOMAIN/client` and `spiffe://DOMAIN/operator`:
//! whoever steals one of them can pretend to be what lies below its URIs, and nobody else. The name constraints of X.509 cannot say this,
//! because of a URI they only see the host (RFC 5280, 4.2.1.10). So what carries URIs of SPIFFE is held to them here, for every authority on the
//! way to the root and for the root, and whoever carries none, like those of cert-manager, may speak for all that its own authority may.
//!
//! An authority that carries `spiffe://DOMAIN` alone, like SPIRE's, speaks for its whole domain.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

const SCHEME: &str = "spiffe://";

/// True when an authority with these URIs may speak for the SPIFFE id `identity`.
pub(crate) fn may_speak_for(uris: &[String], identity: &str) -> bool {
    let mut scopes = uris.iter().filter(|uri| is_of_spiffe(uri)).peekable();
    scopes.peek().is_none() || scopes.any(|scope| covers(scope, identity))
}

/// Of any spelling: one that is not quite right must not free its authority of all bounds.
pub(crate) fn is_of_spiffe(uri: &str) -> bool {
    uri.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
}

/// `spiffe://f/site/b` covers itself and `spiffe://f/site/b/store`, and not `spiffe://f/site/bb/store`.
pub(crate) fn covers(scope: &str, identity: &str) -> bool {
    let has_domain = scope.strip_prefix(SCHEME).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    let below = identity.strip_prefix(scope);
    has_domain && below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaks(uris: &[&str], identity: &str) -> bool {
        may_speak_for(&uris.iter().map(|uri| (*uri).to_owned()).collect::<Vec<_>>(), identity)
    }

    #[test]
    fn an_authority_speaks_for_what_lies_below_one_of_its_uris() {
        let store = "spiffe://f/site/b/store";
        assert!(speaks(&["spiffe://f/site/b"], store));
        assert!(speaks(&["spiffe://f"], store), "SPIRE's speaks for its domain");
        assert!(speaks(&["spiffe://f/client", "spiffe://f/operator"], "spiffe://f/operator/ann"));
        assert!(speaks(&["https://x", "spiffe://f/site/b"], store));
        for beyond in
            ["spiffe://f/site/bb/store", "spiffe://f/site/a/store", "spiffe://g/site/b/store", "spiffe://f/client/x"]
        {
            assert!(!speaks(&["spiffe://f/site/b"], beyond), "{beyond}");
        }
    }

    #[test]
    fn an_authority_without_uris_of_spiffe_is_not_bound() {
        assert!(speaks(&[], "spiffe://f/site/b/store"));
        assert!(speaks(&["https://ca.example"], "spiffe://f/site/b/store"));
    }

    #[test]
    fn a_uri_that_is_not_quite_right_frees_nobody() {
        for odd in
            ["spiffe://", "SPIFFE://f", "spiffe:///site/b", "spiffe://f/", "spiffe://f/site/b/", "Spiffe://f/site/b"]
        {
            assert!(!speaks(&[odd], "spiffe://f/site/b/store"), "{odd}");
        }
    }
}

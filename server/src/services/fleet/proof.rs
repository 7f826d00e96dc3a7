//! What somebody has to show before a store believes what he says of stores: his certificate, the shared secret of the fleet, a one-time token.
//!
//! | | with TLS | without |
//! |---|---|---|
//! | a new store | a certificate of its site, and the shared secret if there is one; or a one-time token, which stands for what is missing | the shared secret, or a one-time token |
//! | a member, an announcement | a certificate of its site | the shared secret |
//! | founding the fleet | a certificate of an operator, and the shared secret | the shared secret |
//!
//! An empty secret is one that everybody knows. A certificate of another site is refused whatever else is shown, and a token that is shown must be
//! good whatever else is.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_types::{SiteName, StoreId};
use subtle::ConstantTimeEq;
use tonic::Status;

use crate::services::caller::Caller;

/// What this store asks for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// There is TLS: who calls, has proved it.
    pub(super) with_tls: bool,
    /// The shared secret of the fleet.
    pub(super) secret: &'a str,
}

/// What came with a request to be let in.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    /// Who calls.
    pub(super) caller: &'a Caller,
    /// The shared secret, as he knows it.
    pub(super) secret: &'a str,
    /// A one-time token; empty: none. Whether it is good, only the system range says.
    pub(super) token: &'a str,
}

impl Asked<'_> {
    fn knows_secret(&self, shown: &str) -> bool {
        // How long the comparison takes says nothing of where they differ.
        bool::from(shown.as_bytes().ct_eq(self.secret.as_bytes()))
    }

    /// A store asks to be let in, or to have its record renewed.
    pub(super) fn of_store(&self, shown: Shown<'_>, store: StoreId, site: &SiteName) -> Result<(), Status> {
        let by_token = store == StoreId::NONE && !shown.token.is_empty();
        if self.with_tls && !is_of(shown.caller, site)? && !by_token {
            return Err(Status::permission_denied(format!(
                "{} asks for a store of site {site}: show a certificate of a store of that site, or, for a new store, a one-time token \
                 (`holdfast token create --site {site}`)",
                shown.caller.name()
            )));
        }
        // A member is known by its certificate, where it has one; whoever is new shows all that there is to show.
        let is_proved = self.with_tls && store != StoreId::NONE;
        if is_proved || by_token || self.knows_secret(shown.secret) { Ok(()) } else { Err(wrong_secret()) }
    }

    /// A store says where stores are. `site`: of the one that speaks, if it says that.
    pub(super) fn of_speaker(&self, caller: &Caller, secret: &str, site: Option<&SiteName>) -> Result<(), Status> {
        if !self.with_tls {
            return if self.knows_secret(secret) { Ok(()) } else { Err(wrong_secret()) };
        }
        let Some(own) = caller.store_of() else {
            return Err(Status::permission_denied(format!(
                "{} is no store, and stores alone announce where they are",
                caller.name()
            )));
        };
        is_of(caller, site.unwrap_or(own)).map(|_| ())
    }

    /// Somebody founds the fleet.
    pub(super) fn of_founder(&self, caller: &Caller, secret: &str) -> Result<(), Status> {
        if self.with_tls && !caller.is_operator() {
            return Err(Status::permission_denied(format!(
                "{} may not found a fleet: an operator may, spiffe://DOMAIN/operator/NAME (`holdfast ca`)",
                caller.name()
            )));
        }
        if self.knows_secret(secret) {
            return Ok(());
        }
        Err(Status::permission_denied(
            "the fleet token is not the one that this store was started with: say it to `holdfast init` too (HOLDFAST_FLEET_TOKEN)",
        ))
    }
}

/// True for a store of this site; a store of another one is refused.
fn is_of(caller: &Caller, site: &SiteName) -> Result<bool, Status> {
    match caller.store_of() {
        Some(own) if own != site => Err(Status::permission_denied(format!(
            "the certificate is that of a store of site {own}, and the store is to be one of site {site}: a store speaks for its own site alone"
        ))),
        own => Ok(own.is_some()),
    }
}

fn wrong_secret() -> Status {
    Status::permission_denied(
        "the fleet token is not this fleet's: start the store with the right --fleet-token, or a new one with a one-time token (--join-token)",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tonic::Code;

    use super::*;

    const NEW: StoreId = StoreId::NONE;
    const MEMBER: StoreId = StoreId(4);

    fn caller(kind: &str) -> Caller {
        let principal = (!kind.is_empty()).then(|| Arc::new(format!("spiffe://f/{kind}").parse().unwrap()));
        Caller { principal, from: None }
    }

    fn site() -> SiteName {
        SiteName::new("b").unwrap()
    }

    fn asks(with_tls: bool, store: StoreId, kind: &str, secret: &str, token: &str) -> bool {
        let (asked, caller) = (Asked { with_tls, secret: "hush" }, caller(kind));
        let outcome = asked.of_store(Shown { caller: &caller, secret, token }, store, &site());
        if let Err(refused) = &outcome {
            assert_eq!(refused.code(), Code::PermissionDenied);
            assert!(!refused.message().contains("hush") && !refused.message().contains("holdfast-join-"), "{refused}");
        }
        outcome.is_ok()
    }

    #[test]
    fn with_tls_a_store_shows_a_certificate_of_its_site_and_the_secret_or_a_token() {
        let of_site = "site/b/store";
        assert!(asks(true, NEW, of_site, "hush", ""));
        assert!(!asks(true, NEW, of_site, "wrong", ""), "there is a secret, and it is asked for");
        assert!(asks(true, NEW, of_site, "", "holdfast-join-1"), "the token stands for the secret");
        assert!(asks(true, NEW, "", "", "holdfast-join-1"), "and for the certificate");
        assert!(asks(true, MEMBER, of_site, "", ""), "a member is known by its certificate");
        for kind in ["", "client/x", "operator/ann"] {
            assert!(!asks(true, NEW, kind, "hush", ""), "{kind}");
            assert!(!asks(true, MEMBER, kind, "hush", "holdfast-join-1"), "{kind}: no token makes one a member");
        }
        for (store, token) in [(NEW, ""), (NEW, "holdfast-join-1"), (MEMBER, "")] {
            assert!(
                !asks(true, store, "site/a/store", "hush", token),
                "nothing makes up for a certificate of another site"
            );
        }
    }

    #[test]
    fn without_tls_all_is_by_the_secret_or_a_token() {
        assert!(asks(false, NEW, "", "hush", "") && asks(false, MEMBER, "", "hush", ""));
        assert!(asks(false, NEW, "", "", "holdfast-join-1"));
        for (store, secret, token) in
            [(NEW, "wrong", ""), (NEW, "", ""), (MEMBER, "", "holdfast-join-1"), (MEMBER, "hus", "")]
        {
            assert!(!asks(false, store, "", secret, token), "{store} {secret}");
        }
        let open = Asked { with_tls: false, secret: "" };
        assert!(
            open.of_store(Shown { caller: &caller(""), secret: "", token: "" }, NEW, &site()).is_ok(),
            "as on laptops"
        );
    }

    #[test]
    fn stores_alone_announce_and_each_for_its_own_site() {
        let tls = Asked { with_tls: true, secret: "hush" };
        assert!(tls.of_speaker(&caller("site/b/store"), "", Some(&site())).is_ok());
        assert!(tls.of_speaker(&caller("site/b/store"), "", None).is_ok());
        for (kind, site) in
            [("site/a/store", Some(site())), ("client/x", None), ("operator/ann", Some(site())), ("", None)]
        {
            assert!(tls.of_speaker(&caller(kind), "hush", site.as_ref()).is_err(), "{kind}");
        }
        let plain = Asked { with_tls: false, ..tls };
        assert!(plain.of_speaker(&caller(""), "hush", Some(&site())).is_ok());
        assert!(plain.of_speaker(&caller(""), "", Some(&site())).is_err());
    }

    #[test]
    fn with_tls_an_operator_founds_the_fleet() {
        let founds =
            |with_tls, kind, secret| Asked { with_tls, secret: "hush" }.of_founder(&caller(kind), secret).is_ok();
        assert!(founds(true, "operator/ann", "hush") && founds(false, "", "hush"));
        for (with_tls, kind, secret) in [
            (true, "operator/ann", ""),
            (true, "client/x", "hush"),
            (true, "site/a/store", "hush"),
            (true, "", "hush"),
            (false, "", "wrong"),
        ] {
            assert!(!founds(with_tls, kind, secret), "{kind} {secret}");
        }
    }
}

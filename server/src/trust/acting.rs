//! What a store does when it hears of a site that is distrusted: from then on no handshake with a store of it succeeds, and whoever keeps
//! connections (ports, streams, heartbeats) sees that by [`Trust::generation`], and ends those that stand.
//!
//! A store does not distrust its own site: it would cut itself off from its neighbours, and the others do that anyway. It says so, for
//! whoever runs it.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::path::Path;
use std::sync::Arc;

use holdfast_placement::SiteTrust;
use holdfast_proto::v1::EventKind;
use holdfast_trust::Trust;
use holdfast_types::SiteName;

use crate::audit::{Audit, Change};
use crate::directory::{Directory, OnDoubt};
use crate::events::EventLog;

/// Before anybody can connect: what this store knew when it stopped holds.
pub fn remember(trust: &Trust, data_dir: &Path) {
    let mut sites = Directory::remembered_doubts(data_dir);
    if let Some(own) = trust.own().principal.site() {
        sites.remove(own);
    }
    if !sites.is_empty() {
        let names: Vec<_> = sites.iter().map(SiteName::as_str).collect();
        tracing::warn!(sites = names.join(", "), "distrusted since before this start");
        trust.distrust(sites);
    }
}

/// What is done with each word on sites. `trust`: `None` without TLS, where nobody proves anything and nothing can be distrusted.
pub fn on_doubt(trust: Option<Arc<Trust>>, own: SiteName, events: Arc<EventLog>, audit: Arc<Audit>) -> OnDoubt {
    Box::new(move |mut sites, news| {
        sites.remove(&own);
        if let Some(trust) = &trust {
            trust.distrust(sites);
        }
        for said in news {
            let message = in_words(said, &own);
            if said.is_distrusted() {
                tracing::warn!(site = %said.site, "{message}");
            } else {
                tracing::info!(site = %said.site, "{message}");
            }
            events.note(EventKind::SiteTrust, None, None, message);
            let what = if said.is_distrusted() { "distrust" } else { "trust-again" };
            audit.changed(Change { what, arguments: vec![("site", said.site.to_string())], refused: None });
        }
    })
}

fn in_words(said: &SiteTrust, own: &SiteName) -> String {
    let site = &said.site;
    match (said.is_distrusted(), site == own) {
        (true, true) => format!(
            "the fleet distrusts site {site}, which is this store's own: the stores of other sites do not connect to it any more (docs/runbooks/distrust-site.md)"
        ),
        (true, false) => format!("site {site} is distrusted: connections with its stores end, and no others are taken"),
        (false, _) => format!("site {site} is trusted again"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use holdfast_kv::driver::SystemClock;
    use holdfast_trust::authority;
    use holdfast_types::principal::Kind;
    use holdfast_types::{Incarnation, Principal, StoreId, Timestamp, TrustDomain};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    fn principal(name: &str) -> Principal {
        Principal { domain: TrustDomain::new("f.example").unwrap(), kind: Kind::Store(site(name)) }
    }

    /// Of a store of site a.
    fn trust(dir: &Path) -> Arc<Trust> {
        let root = authority::Root::new(&TrustDomain::new("f.example").unwrap(), 30 * DAY).unwrap();
        let issuer = root.issuer(authority::Scope::Site(site("a")), 20 * DAY).unwrap();
        issuer.leaf(&Kind::Store(site("a")), &[], 3 * DAY).unwrap().write(dir).unwrap();
        Trust::open(holdfast_trust::Place::folder(dir)).unwrap()
    }

    fn said(name: &str, restored_at: Option<Timestamp>) -> SiteTrust {
        SiteTrust { distrusted_at: Some(Timestamp(5)), restored_at, ..SiteTrust::never_doubted(site(name)) }
    }

    #[test]
    fn each_change_of_trust_is_acted_on_and_told_and_the_own_site_is_spared() {
        let dir = tempfile::tempdir().unwrap();
        let trust = trust(&dir.path().join("tls"));
        let clock = Arc::new(SystemClock);
        let events = Arc::new(EventLog::open(dir.path(), StoreId(1), site("a"), Incarnation(1), clock));
        let act = on_doubt(Some(Arc::clone(&trust)), site("a"), Arc::clone(&events), Audit::new());
        act(BTreeSet::new(), &[]);
        act([site("a"), site("b")].into(), &[said("a", None), said("b", None)]);
        assert!(trust.is_distrusted(&principal("b")) && !trust.is_distrusted(&principal("a")));
        act(BTreeSet::new(), &[said("b", Some(Timestamp(9)))]);
        assert!(!trust.is_distrusted(&principal("b")));
        let (noted, _) = events.newest(9, Timestamp::ZERO);
        let messages: Vec<_> = noted.iter().rev().map(|event| event.message.as_str()).collect();
        assert!(
            messages[0].contains("this store's own") && messages[1].starts_with("site b is distrusted"),
            "{messages:?}"
        );
        assert_eq!(messages[2], "site b is trusted again");
        assert!(noted.iter().all(|event| event.kind() == EventKind::SiteTrust));
    }
}

//! The certificate of this store: opened at its start, taken anew while it runs, and what is said of it in the log, in events and to probes.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use holdfast_proto::v1::EventKind;
use holdfast_trust::{Place, Standing, Trust, TrustError, WatchEvent};
use holdfast_types::{Principal, limits};
use tokio::time::Instant;

use crate::audit::Change;
use crate::config::{Insecure, Security};
use crate::running::{Running, ServerState};

/// Opens what proves who this store is; `None`: it was told that it need not.
pub async fn open(security: &Security, in_kubernetes: bool) -> anyhow::Result<Option<Arc<Trust>>> {
    match security {
        Security::Tls(folder) => {
            let patience = if in_kubernetes { limits::TRUST_AWAITED_FOR } else { Duration::ZERO };
            Ok(Some(open_patiently(folder, patience).await?))
        }
        Security::Insecure(_) => Ok(None),
    }
}

/// Says who this store is, and loudly when nothing proves it.
pub fn introduce(security: &Security, trust: Option<&Trust>) {
    if let Some(trust) = trust {
        let own = trust.own();
        let left = own.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
        tracing::info!(
            identity = %own.principal, roots = trust.standing().roots.len(), left = %in_words(left), certificate = %own.fingerprint,
            "this store proves who it is, and is reached by TLS alone"
        );
    }
    if let Security::Insecure(how) = security {
        let who = match how {
            Insecure::OnThisMachine => "whoever is on this machine",
            Insecure::Anywhere => "whoever reaches its ports",
        };
        tracing::warn!(
            "THIS STORE RUNS WITHOUT TLS (--insecure): {who} reads and writes everything, may take part as a store, and owns the fleet. Start \
             it with --tls DIR to change that"
        );
    }
}

/// Who a store would be, by its certificate; `None`: it has none.
pub fn own(security: &Security) -> Result<Option<Arc<Principal>>, TrustError> {
    let trust = security.folder().map(|folder| Trust::open(Place::folder(folder))).transpose()?;
    Ok(trust.map(|trust| trust.own().principal))
}

/// In a pod the certificate may come after the pod: from an agent of SPIRE beside it, or by a Secret that its volume calls optional. One that is not
/// optional is waited for by the kubelet, before there is a container.
async fn open_patiently(folder: &Path, patience: Duration) -> anyhow::Result<Arc<Trust>> {
    let until = Instant::now() + patience;
    let mut is_said = false;
    loop {
        let error = match Trust::open(Place::folder(folder)) {
            Ok(trust) => return Ok(trust),
            Err(error) => error,
        };
        if !is_awaited(folder, &error) || Instant::now() >= until {
            let opening = anyhow::Error::from(error).context("this store cannot prove who it is");
            return Err(if is_said { opening.context(given_up(folder, patience)) } else { opening });
        }
        if !is_said {
            is_said = true;
            tracing::warn!(
                folder = %folder.display(),
                "this pod waits for its certificate: nothing is in the folder yet, and whoever is to write it (spiffe-helper, an optional Secret) has not"
            );
        }
        tokio::time::sleep(limits::TRUST_AWAITED_EVERY).await;
    }
}

fn given_up(folder: &Path, patience: Duration) -> String {
    format!(
        "this pod has waited for its certificate in {} for {} s: look why whoever is to write it has not (the log of spiffe-helper; \
         `kubectl describe pod` for a Secret that is missing)",
        folder.display(),
        patience.as_secs()
    )
}

/// Nothing is there yet, or not all of it: what is there and no good does not become better by waiting.
fn is_awaited(folder: &Path, error: &TrustError) -> bool {
    match error {
        TrustError::Empty { .. } => true,
        TrustError::Unreadable { path, .. } => !path.exists() || path == folder && !folder.exists(),
        _ => false,
    }
}

/// Has what is in the folder looked at again and again, for as long as the process runs.
pub fn watch(trust: &Arc<Trust>, state: &Arc<ServerState>) -> anyhow::Result<()> {
    let state = Arc::downgrade(state);
    trust.watch(move |event| tell(&state, event)).context("watching the certificate of this store")
}

fn tell(state: &Weak<ServerState>, event: WatchEvent) {
    let Some(state) = state.upgrade() else { return };
    let running = state.running();
    match event {
        WatchEvent::Taken => {
            let Some(trust) = state.trust() else { return };
            let own = trust.own();
            tracing::info!(certificate = %own.fingerprint, roots = trust.standing().roots.len(), "a new certificate or bundle is used from now on");
            let arguments = vec![("certificate", own.fingerprint.to_string())];
            state.audit.changed(Change { what: "reload", arguments, refused: None });
        }
        WatchEvent::Refused(why) => {
            tracing::error!(why, "what is in the folder of the certificate is not taken: the old one stays in use");
            state.audit.changed(Change { what: "reload", arguments: Vec::new(), refused: Some(why.clone()) });
            note_refused(running.as_deref(), &why);
        }
        WatchEvent::ThirdLeft { expires_at } => {
            let left = in_words(expires_at.duration_since(SystemTime::now()).unwrap_or_default());
            tracing::warn!(%left, "less than a third of the certificate's life is left, and nothing has renewed it: see docs/runbooks/expired-certificate.md");
            note_ending(running.as_deref(), expires_at);
        }
    }
}

/// What was told before there were events: the store has just begun to run.
pub fn note_standing(running: &Running, trust: &Trust) {
    let standing = trust.standing();
    if let Some(why) = &standing.refused {
        note_refused(Some(running), why);
    }
    if standing.own.is_near_its_end(SystemTime::now()) {
        note_ending(Some(running), standing.own.expires_at);
    }
}

fn note_refused(running: Option<&Running>, why: &str) {
    let Some(running) = running else { return };
    let message =
        format!("{} does not take the certificate that it finds, and keeps the old one: {why}", running.store_id);
    running.events.note(EventKind::TrustRefused, None, None, message);
}

fn note_ending(running: Option<&Running>, expires_at: SystemTime) {
    let Some(running) = running else { return };
    let message =
        format!("the certificate of {} ends at {}, and nothing has renewed it", running.store_id, at(expires_at));
    running.events.note(EventKind::CertificateEnding, None, None, message);
}

/// What a probe is told beside whether the store is ready: neither takes it out of service, since that renews no certificate.
pub fn lines(standing: &Standing, now: SystemTime) -> String {
    let refused = standing.refused.as_ref().map(|why| {
        format!(
            "the certificate in the folder is not taken, the old one stays in use: {}\n",
            holdfast_output::visible(why)
        )
    });
    let expires_at = standing.own.expires_at;
    let ending = standing.own.is_near_its_end(now).then(|| match expires_at.duration_since(now) {
        Ok(left) => {
            format!("the certificate ends in {} ({}), and nothing has renewed it\n", in_words(left), at(expires_at))
        }
        Err(_) => {
            format!("the certificate has expired at {}: no store and no client believes this one\n", at(expires_at))
        }
    });
    [refused, ending].into_iter().flatten().collect()
}

fn at(time: SystemTime) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(time)
}

/// Two units are enough.
fn in_words(left: Duration) -> String {
    let whole = humantime::format_duration(Duration::from_secs(left.as_secs())).to_string();
    whole.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use holdfast_trust::authority::{Root, Scope};
    use holdfast_types::principal::Kind;
    use holdfast_types::{SiteName, TrustDomain};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn fill(folder: &Path) {
        let (domain, site) = (TrustDomain::new("f.example").unwrap(), SiteName::new("b").unwrap());
        let root = Root::new(&domain, 30 * DAY).unwrap();
        let issuer = root.issuer(Scope::Site(site.clone()), 20 * DAY).unwrap();
        issuer.leaf(&Kind::Store(site), &[], 3 * DAY).unwrap().write(folder).unwrap();
    }

    #[tokio::test]
    async fn a_pod_waits_for_its_certificate_and_says_what_it_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tls");
        let refused = format!("{:#}", open_patiently(&folder, Duration::ZERO).await.unwrap_err());
        assert!(refused.starts_with("this store cannot prove who it is: ") && refused.contains("tls"), "{refused}");
        let gave_up = format!("{:#}", open_patiently(&folder, Duration::from_millis(1)).await.unwrap_err());
        assert!(
            gave_up.starts_with("this pod has waited for its certificate") && gave_up.contains("kubectl"),
            "{gave_up}"
        );
        let later = folder.clone();
        let (opened, ()) = tokio::join!(open_patiently(&folder, Duration::from_secs(60)), async move {
            tokio::task::yield_now().await;
            fill(&later);
        });
        assert_eq!(opened.unwrap().own().principal.to_string(), "spiffe://f.example/site/b/store");
    }

    #[tokio::test]
    async fn what_is_there_and_no_good_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path());
        std::fs::write(dir.path().join("tls.key"), "no key").unwrap();
        let refused = open_patiently(dir.path(), Duration::from_secs(3_600)).await.unwrap_err();
        assert!(format!("{refused:#}").starts_with("this store cannot prove who it is: "), "{refused:#}");
    }

    #[test]
    fn a_probe_is_told_what_is_wrong_with_the_certificate_and_nothing_while_all_is_well() {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path());
        let trust = Trust::open(Place::folder(dir.path())).unwrap();
        let now = SystemTime::now();
        assert_eq!(lines(&trust.standing(), now), "");
        let ending = lines(&trust.standing(), now + 2 * DAY + DAY / 2);
        assert!(ending.starts_with("the certificate ends in ") && ending.lines().count() == 1, "{ending}");
        assert!(lines(&trust.standing(), now + 4 * DAY).starts_with("the certificate has expired at "));
        std::fs::write(dir.path().join("tls.crt"), "\u{1b}[2J").unwrap();
        trust.reload().unwrap_err();
        let refused = lines(&trust.standing(), now);
        assert!(
            refused.starts_with("the certificate in the folder is not taken") && !refused.contains('\u{1b}'),
            "{refused}"
        );
        assert_eq!(refused.lines().count(), 1, "{refused}");
    }

    #[test]
    fn a_time_is_told_in_two_units() {
        assert_eq!(in_words(9 * DAY + Duration::from_secs(7_265)), "9days 2h");
        assert_eq!(in_words(Duration::from_millis(900)), "0s");
    }
}

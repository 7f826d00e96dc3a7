//! Both sides of a handshake: from the certificate that was shown to a root of the bundle, and what must hold of the way.
//!
//! webpki finds the way, and checks signatures, times, uses and name constraints along it. What it does not know is checked on the way that it
//! found: that every authority may speak for the identity ([`scope`]), that the root has not expired (webpki believes
//! a root whatever its times say), and then of the identity itself that it is of our domain, of the kind that is wanted, and not distrusted.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_types::{Fingerprint, Principal, TrustDomain, limits};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use crate::bundle::LiveRoots;
use crate::error::{TrustError, Unfit};
use crate::party::{self, Party};
use crate::scope;
use crate::trust::{Callee, Callers, Live, Now, RootInfo};

/// Cryptography, as ring does it: the only provider that is compiled in.
pub(crate) static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));

/// Which signatures are believed.
fn algorithms() -> WebPkiSupportedAlgorithms {
    PROVIDER.signature_verification_algorithms
}

/// Why somebody is not who he says.
#[derive(Debug)]
pub(crate) enum NotProved {
    /// There is no sound way to a root.
    Path(webpki::Error),
    /// There is, and it is not enough.
    Unfit(Unfit),
}

impl From<Unfit> for NotProved {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

impl fmt::Display for NotProved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(why) => f.write_str(&crate::explain::explain_path(why)),
            Self::Unfit(why) => why.fmt(f),
        }
    }
}

/// The roots of a bundle.
#[derive(Debug)]
pub(crate) struct Roots {
    /// In the order of the bundle; `facts` has one for each.
    anchors: Vec<TrustAnchor<'static>>,
    facts: Vec<RootFacts>,
}

/// What an anchor of webpki does not keep of its certificate.
#[derive(Debug)]
struct RootFacts {
    info: RootInfo,
    /// For whom it may speak.
    uris: Vec<String>,
}

/// Who it is, and how that was proved.
pub(crate) struct Proved {
    pub(crate) party: Party,
    /// The root that the way leads to.
    pub(crate) root: Fingerprint,
    /// When the first certificate of the way expires.
    pub(crate) expires_at: SystemTime,
}

impl Roots {
    /// Of the certificates of a bundle.
    pub(crate) fn of(bundle: &[CertificateDer<'static>]) -> Result<Self, TrustError> {
        let mut roots = Self { anchors: Vec::new(), facts: Vec::new() };
        for certificate in bundle {
            let bad = |why: String| TrustError::Malformed { what: "bundle", why };
            let anchor = webpki::anchor_from_trusted_cert(certificate).map_err(|why| bad(format!("{why:?}")))?;
            roots.facts.push(RootFacts::of(certificate).map_err(|why| bad(why.to_string()))?);
            roots.anchors.push(anchor.to_owned());
        }
        Ok(roots)
    }

    /// All URIs that the roots carry.
    pub(crate) fn uris(&self) -> impl Iterator<Item = &str> {
        self.facts.iter().flat_map(|root| &root.uris).map(String::as_str)
    }

    pub(crate) fn infos(&self) -> Vec<RootInfo> {
        self.facts.iter().map(|root| root.info.clone()).collect()
    }

    /// Who shows `leaf`, if the other certificates lead from it to one of these roots at `now`.
    pub(crate) fn prove(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<Proved, NotProved> {
        if others.len() >= limits::TRUST_CHAIN_CERTIFICATES {
            return Err(Unfit::LongChain(others.len().saturating_add(1)).into());
        }
        let certificate = EndEntityCert::try_from(leaf).map_err(NotProved::Path)?;
        let party = Party::of_leaf(leaf)?;
        let (refused, expires_at) = (RefCell::new(None), Cell::new(party.expires_at));
        let check = |path: &VerifiedPath<'_>| match self.check_path(&party, path, now) {
            Ok(first) => {
                expires_at.set(first);
                Ok(())
            }
            Err(unfit) => {
                refused.replace(Some(unfit));
                // What webpki has for "an authority spoke beyond its bounds"; only the fact that it is an error counts.
                Err(webpki::Error::NameConstraintViolation)
            }
        };
        let known = algorithms().all;
        match certificate.verify_for_usage(known, &self.anchors, others, now, usage, None, Some(&check)) {
            Ok(path) => {
                let root = self.facts_of(path.anchor()).ok_or(NotProved::Path(webpki::Error::UnknownIssuer))?;
                Ok(Proved { root: root.info.fingerprint, expires_at: expires_at.get(), party: party.clone() })
            }
            Err(why) => Err(refused.take().map_or(NotProved::Path(why), NotProved::Unfit)),
        }
    }

    /// What must hold of every certificate above the first one. Returns when the first one of the way expires.
    fn check_path(&self, party: &Party, path: &VerifiedPath<'_>, now: UnixTime) -> Result<SystemTime, Unfit> {
        let identity = party.principal.to_string();
        let check = |uris: &[String], authority: String| match scope::may_speak_for(uris, &identity) {
            true => Ok(()),
            false => Err(Unfit::OutOfScope { principal: Box::new((*party.principal).clone()), authority }),
        };
        let mut expires_at = party.expires_at;
        for authority in path.intermediate_certificates() {
            let der = authority.der();
            let authority = party::parse(&der)?;
            check(&party::uris(&authority)?, party::subject(&authority))?;
            expires_at = expires_at.min(party::time(authority.validity().not_after));
        }
        let root = self.facts_of(path.anchor()).ok_or(Unfit::Malformed)?;
        check(&root.uris, root.info.subject.clone())?;
        if root.info.expires_at <= system_time(now) {
            let RootInfo { subject, expires_at, .. } = root.info.clone();
            return Err(Unfit::RootExpired { authority: subject, expired_at: expires_at });
        }
        Ok(expires_at.min(root.info.expires_at))
    }

    /// By place: two roots may have the same name and the same key.
    fn facts_of(&self, anchor: &TrustAnchor<'_>) -> Option<&RootFacts> {
        let at = self.anchors.iter().position(|own| std::ptr::addr_eq(own, anchor));
        self.facts.get(at?)
    }
}

impl RootFacts {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, Unfit> {
        let parsed = party::parse(certificate)?;
        let info = RootInfo {
            fingerprint: party::fingerprint(certificate),
            subject: party::subject(&parsed),
            expires_at: party::time(parsed.validity().not_after),
        };
        Ok(Self { info, uris: party::uris(&parsed)? })
    }
}

pub(crate) fn system_time(now: UnixTime) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(now.as_secs())).unwrap_or(UNIX_EPOCH)
}

impl Now {
    /// What holds of everybody: he belongs to our domain, and his site is not distrusted.
    fn admit(&self, principal: &Principal) -> Result<(), Unfit> {
        of_domain(&self.material.own().principal.domain, principal)?;
        match principal.site().filter(|site| self.distrusted.contains(*site)) {
            Some(site) => Err(Unfit::Distrusted(site.clone())),
            None => Ok(()),
        }
    }
}

fn of_domain(ours: &TrustDomain, principal: &Principal) -> Result<(), Unfit> {
    if principal.domain == *ours {
        return Ok(());
    }
    Err(Unfit::OtherDomain { theirs: Box::new(principal.clone()), ours: ours.clone() })
}

impl Callers {
    fn admit(self, principal: &Principal) -> Result<(), Unfit> {
        match self {
            Self::Stores if !principal.is_store() => Err(Unfit::NotAStore(Box::new(principal.clone()))),
            Self::Stores | Self::Anyone | Self::AnyoneOrNobody => Ok(()),
        }
    }
}

impl Callee {
    fn admit(&self, principal: &Principal) -> Result<(), Unfit> {
        let Some(found) = principal.site() else { return Err(Unfit::NotAStore(Box::new(principal.clone()))) };
        match self {
            Self::StoreOf(wanted) if wanted != found => {
                Err(Unfit::OtherSite { wanted: wanted.clone(), found: Box::new(principal.clone()) })
            }
            Self::Store | Self::StoreOf(_) => Ok(()),
        }
    }
}

/// In the words of rustls, which turns them into an alert for the other end.
fn refusal(why: NotProved) -> Error {
    use webpki::Error as Path;
    let error = match why {
        NotProved::Path(Path::CertExpired { time, not_after }) => CertificateError::ExpiredContext { time, not_after },
        NotProved::Path(Path::CertNotValidYet { time, not_before }) => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        // Another authority may be called as ours is: only its signatures tell them apart.
        NotProved::Path(Path::UnknownIssuer | Path::InvalidSignatureForPublicKey) => CertificateError::UnknownIssuer,
        NotProved::Path(Path::BadDer | Path::BadDerTime | Path::TrailingData(_)) => CertificateError::BadEncoding,
        NotProved::Path(Path::RequiredEkuNotFoundContext(_)) => CertificateError::InvalidPurpose,
        NotProved::Path(other) => CertificateError::Other(OtherError(Arc::new(other))),
        NotProved::Unfit(unfit) => CertificateError::Other(OtherError(Arc::new(unfit))),
    };
    Error::InvalidCertificate(error)
}

/// A store of a distrusted site is told so, by an alert that is said for nothing else: else whoever runs it would look for a fault of his
/// certificate. It has proved that it is of that site, and by then it knows that whoever tells it is a store of its fleet.
fn told_of_distrust(error: Error) -> Error {
    let is_distrust = match &error {
        Error::InvalidCertificate(CertificateError::Other(why)) => {
            matches!(why.0.downcast_ref(), Some(Unfit::Distrusted(_)))
        }
        _ => false,
    };
    if is_distrust { Error::InvalidCertificate(CertificateError::Revoked) } else { error }
}

/// Nothing but TLS 1.3 is compiled in, and nothing else is offered.
fn no_tls12() -> Error {
    Error::General("a signature of TLS 1.2, which is not spoken here".to_owned())
}

/// A certificate that was shown, and those that were shown with it.
type ShownChain<'a> = (&'a CertificateDer<'a>, &'a [CertificateDer<'a>]);

impl Live {
    /// Whether today's material proves whoever showed this, and he is one of those whom `wanted` admits.
    fn judge(
        &self,
        (leaf, others): ShownChain<'_>,
        now: UnixTime,
        usage: KeyUsage,
        wanted: impl FnOnce(&Principal) -> Result<(), Unfit>,
    ) -> Result<(), Error> {
        let today = self.now();
        let proved = today.material.roots().prove(leaf, others, now, usage).map_err(refusal)?;
        let principal = &proved.party.principal;
        let admitted = today.admit(principal).and_then(|()| wanted(principal));
        admitted.map_err(|unfit| refusal(unfit.into()))
    }
}

/// Checks who calls.
#[derive(Debug)]
pub(crate) struct CallerCheck {
    pub(crate) live: Arc<Live>,
    pub(crate) callers: Callers,
}

impl ClientCertVerifier for CallerCheck {
    fn client_auth_mandatory(&self) -> bool {
        self.callers != Callers::AnyoneOrNobody
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Whoever calls has one certificate, and shows it to whatever roots; names of roots would only tell strangers about us.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let shown = (end_entity, intermediates);
        let judged = self.live.judge(shown, now, KeyUsage::client_auth(), |principal| self.callers.admit(principal));
        judged.map(|()| ClientCertVerified::assertion()).map_err(told_of_distrust)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// Checks who answers.
#[derive(Debug)]
pub(crate) struct CalleeCheck {
    pub(crate) live: Arc<Live>,
    pub(crate) callee: Callee,
}

impl ServerCertVerifier for CalleeCheck {
    /// The name of the server is a way to it, and proves nothing.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = (end_entity, intermediates);
        let judged = self.live.judge(shown, now, KeyUsage::server_auth(), |principal| self.callee.admit(principal));
        judged.map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// Checks who answers somebody who has no certificate himself.
#[derive(Debug)]
pub(crate) struct BundleCheck {
    pub(crate) live: Arc<LiveRoots>,
    pub(crate) callee: Callee,
}

impl ServerCertVerifier for BundleCheck {
    /// The name of the server is a way to it, and proves nothing.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = self.live.roots.load();
        let proved = roots.prove(end_entity, intermediates, now, KeyUsage::server_auth()).map_err(refusal)?;
        let principal = &proved.party.principal;
        let admitted = of_domain(&self.live.domain, principal).and_then(|()| self.callee.admit(principal));
        admitted.map(|()| ServerCertVerified::assertion()).map_err(|unfit| refusal(unfit.into()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// Today's certificate and key, for both sides.
#[derive(Debug)]
pub(crate) struct OwnPair(pub(crate) Arc<Live>);

impl ResolvesServerCert for OwnPair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.now().material.pair())
    }
}

impl ResolvesClientCert for OwnPair {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.now().material.pair())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

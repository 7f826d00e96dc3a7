//! What is trusted now, and who this process is.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use holdfast_types::{Fingerprint, Principal, SiteName, limits};
use parking_lot::Mutex;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{DnsName, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ServerConfig};

use crate::error::TrustError;
use crate::material::{Digest, Material};
use crate::party::Party;
use crate::pem;
use crate::place::Place;
use crate::verify::{CalleeCheck, CallerCheck, OwnPair, PROVIDER, Roots};

/// Who may call a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Callers {
    /// Stores of the fleet alone.
    Stores,
    /// Whoever has a certificate of the trust domain.
    Anyone,
    /// He too who has none, and proves himself otherwise; a certificate that he does show must be good.
    AnyoneOrNobody,
}

/// Who must answer a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Callee {
    /// Any store of the fleet.
    Store,
    /// A store of this site.
    StoreOf(SiteName),
}

/// What is spoken within a connection. Both ends name it in the handshake, so that none is led to a port that speaks something else; one that
/// names nothing is let through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaks {
    /// HTTP/2, for gRPC: clients of other makes insist on hearing it.
    Grpc,
    /// HTTP/1.1.
    Http,
    /// Frames of the support link.
    Support,
}

impl Speaks {
    fn name(self) -> Vec<u8> {
        let name: &[u8] = match self {
            Self::Grpc => b"h2",
            Self::Http => b"http/1.1",
            Self::Support => b"holdfast-support",
        };
        name.to_vec()
    }
}

/// A root of the bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RootInfo {
    /// Of its certificate.
    pub fingerprint: Fingerprint,
    /// Its name, for people.
    pub subject: String,
    /// Until when it is believed.
    pub expires_at: SystemTime,
}

impl RootInfo {
    /// The roots of a text, as a bundle would have them.
    ///
    /// # Errors
    /// When one of them cannot be read, or there is none.
    pub fn of_pem(text: &[u8]) -> Result<Vec<Self>, TrustError> {
        Ok(Roots::of(&pem::certificates(text, "bundle", limits::TRUST_ROOTS)?)?.infos())
    }
}

/// How things stand: for status pages, metrics and reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Who this process is. It expires when the first certificate on the way to the root does.
    pub own: Party,
    /// The root that the own certificate leads to.
    pub own_root: Fingerprint,
    /// All that are believed.
    pub roots: Vec<RootInfo>,
    /// Why what lies in the folder now is not used; `None` when it is.
    pub refused: Option<String>,
    /// How often new material was taken since the start.
    pub reloads: u64,
    /// How often it was refused.
    pub refusals: u64,
}

/// What a look at the folder came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reloaded {
    /// It holds what is in use.
    Unchanged,
    /// It held something new, which is in use now.
    Taken,
}

/// What holds at one moment. Never changed, only replaced.
#[derive(Debug)]
pub(crate) struct Now {
    pub(crate) material: Arc<Material>,
    pub(crate) distrusted: BTreeSet<SiteName>,
    generation: u64,
}

/// What holds now. Configurations share it, and ask it at each handshake.
#[derive(Debug)]
pub(crate) struct Live(ArcSwap<Now>);

impl Live {
    pub(crate) fn now(&self) -> Arc<Now> {
        self.0.load_full()
    }
}

/// What became of the folder so far.
#[derive(Debug, Default)]
struct Record {
    /// Of the files in use; `None` when they never were files.
    taken: Option<Digest>,
    refused: Option<Refused>,
    reloads: u64,
    refusals: u64,
}

/// Files that are not used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    /// Of the files; `None` when they cannot be read.
    pub(crate) digest: Option<Digest>,
    pub(crate) why: TrustError,
}

/// Certificate, key, bundle and distrust of this process. Shared by all who listen and call.
///
/// - What is in use was checked as a whole, and is replaced as a whole.
/// - A handshake sees one state: what held when it came to the certificate of the other end.
/// - `generation` grows with every change, and never otherwise.
#[derive(Debug)]
pub struct Trust {
    live: Arc<Live>,
    place: Option<Place>,
    /// Whoever changes anything holds it.
    record: Mutex<Record>,
}

impl Trust {
    /// Reads and checks what lies there.
    ///
    /// # Errors
    /// When it cannot be read, does not fit together, is not valid now, or does not lead to a root of its own bundle.
    pub fn open(place: Place) -> Result<Arc<Self>, TrustError> {
        let found = place.look().map_err(|refused| refused.why)?;
        let material = found.material().map_err(|refused| refused.why)?;
        let record = Record { taken: Some(found.digest()), ..Record::default() };
        Ok(Self::starting_with(material, Some(place.clone()), record))
    }

    /// Of material that is in no folder: nothing is ever reloaded.
    #[must_use]
    pub fn from_material(material: Material) -> Arc<Self> {
        Self::starting_with(material, None, Record::default())
    }

    fn starting_with(material: Material, place: Option<Place>, record: Record) -> Arc<Self> {
        let now = Now { material: Arc::new(material), distrusted: BTreeSet::new(), generation: 1 };
        let live = Arc::new(Live(ArcSwap::from_pointee(now)));
        Arc::new(Self { live, place, record: Mutex::new(record) })
    }

    /// Looks at the folder, and takes what is there if it is good and new. What is not good is not used: the old stays, and
    /// [`Trust::standing`] tells why.
    ///
    /// # Errors
    /// Why it is not good.
    pub fn reload(&self) -> Result<Reloaded, TrustError> {
        let mut record = self.record.lock();
        match self.look(&record) {
            Ok(found) => Ok(self.settle(&mut record, found)),
            Err(refused) => {
                self.refuse(&mut record, refused.clone());
                Err(refused.why)
            }
        }
    }

    /// The same, for the one who looks again and again: what is not good is refused when it is still the same at the next look. Whoever
    /// writes three files one after the other is not blamed for the moments between them. Returns what there is to tell.
    pub(crate) fn look_again(&self, suspect: &mut Option<Refused>) -> Option<Result<(), String>> {
        let mut record = self.record.lock();
        match self.look(&record) {
            Ok(found) => {
                *suspect = None;
                (self.settle(&mut record, found) == Reloaded::Taken).then_some(Ok(()))
            }
            Err(refused) => {
                let is_still_so = suspect.replace(refused.clone()).as_ref() == Some(&refused);
                let is_news = is_still_so && self.refuse(&mut record, refused.clone());
                is_news.then(|| Err(refused.why.to_string()))
            }
        }
    }

    /// New material, if there is any.
    fn look(&self, record: &Record) -> Result<Option<(Material, Digest)>, Refused> {
        let Some(place) = &self.place else { return Ok(None) };
        let found = place.look()?;
        let digest = found.digest();
        if record.taken == Some(digest) {
            return Ok(None);
        }
        let material = found.material()?;
        let (was, is) = (self.own().principal, &material.own().principal);
        if was != *is {
            let why = TrustError::OtherParty { was: Box::new((*was).clone()), found: Box::new((**is).clone()) };
            return Err(Refused { digest: Some(digest), why: why.within(place.path()) });
        }
        Ok(Some((material, digest)))
    }

    fn settle(&self, record: &mut Record, found: Option<(Material, Digest)>) -> Reloaded {
        record.refused = None;
        let Some((material, digest)) = found else { return Reloaded::Unchanged };
        record.taken = Some(digest);
        record.reloads = record.reloads.saturating_add(1);
        self.replace(|now| Now { material: Arc::new(material), distrusted: now.distrusted.clone(), ..*now });
        Reloaded::Taken
    }

    /// True when it is refused for the first time.
    fn refuse(&self, record: &mut Record, refused: Refused) -> bool {
        let is_new = record.refused.as_ref() != Some(&refused);
        if is_new {
            record.refusals = record.refusals.saturating_add(1);
            record.refused = Some(refused);
        }
        is_new
    }

    /// Only while `record` is locked, so that no change is lost.
    fn replace(&self, next: impl FnOnce(&Now) -> Now) {
        let now = self.live.now();
        let next = Now { generation: now.generation.saturating_add(1), ..next(&now) };
        self.live.0.store(Arc::new(next));
    }

    /// How things stand.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let record = self.record.lock();
        let material = &self.live.now().material;
        Standing {
            own: material.own().clone(),
            own_root: material.own_root(),
            roots: material.roots().infos(),
            refused: record.refused.as_ref().map(|refused| refused.why.to_string()),
            reloads: record.reloads,
            refusals: record.refusals,
        }
    }

    /// Who this process is.
    #[must_use]
    pub fn own(&self) -> Party {
        self.live.now().material.own().clone()
    }

    /// Grows with each material that is taken and each change of distrust: whoever remembers it sees that there is something new.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.live.now().generation
    }

    /// From now on no handshake with a store of these sites succeeds; those of sites that are not among them do again. Connections that stand
    /// already are not ended here: whoever has them asks [`Trust::is_distrusted`].
    pub fn distrust(&self, sites: BTreeSet<SiteName>) {
        let _changing = self.record.lock();
        if self.live.now().distrusted != sites {
            self.replace(|now| Now { material: now.material.clone(), distrusted: sites, ..*now });
        }
    }

    /// True of a store of a site that is not believed any more.
    #[must_use]
    pub fn is_distrusted(&self, principal: &Principal) -> bool {
        principal.site().is_some_and(|site| self.live.now().distrusted.contains(site))
    }

    /// How connections to a port that speaks gRPC are accepted. Stays right when material or distrust change.
    #[must_use]
    pub fn server(&self, callers: Callers) -> Arc<ServerConfig> {
        self.server_for(callers, Speaks::Grpc)
    }

    /// The same, for a port that may speak something else.
    #[must_use]
    pub fn server_for(&self, callers: Callers, speaks: Speaks) -> Arc<ServerConfig> {
        let check = Arc::new(CallerCheck { live: self.live.clone(), callers });
        let versions = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring has all that TLS 1.3 needs");
        let own = Arc::new(OwnPair(self.live.clone()));
        let mut config = versions.with_client_cert_verifier(check).with_cert_resolver(own);
        config.alpn_protocols = vec![speaks.name()];
        // A ticket would let its owner in again after his certificate has expired, or his site is distrusted.
        config.send_tls13_tickets = 0;
        config.max_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        Arc::new(config)
    }

    /// How a store is called that speaks gRPC. Stays right when material or distrust change.
    #[must_use]
    pub fn client(&self, callee: Callee) -> Arc<ClientConfig> {
        self.client_for(callee, Speaks::Grpc)
    }

    /// The same, for a port that may speak something else.
    #[must_use]
    pub fn client_for(&self, callee: Callee, speaks: Speaks) -> Arc<ClientConfig> {
        let check = Arc::new(CalleeCheck { live: self.live.clone(), callee });
        client_config(check, Some(OwnPair(self.live.clone())), speaks)
    }
}

/// How a store is called by whoever judges it like this; `own`: what he shows himself, if he has a certificate.
pub(crate) fn client_config(
    check: Arc<dyn ServerCertVerifier>,
    own: Option<OwnPair>,
    speaks: Speaks,
) -> Arc<ClientConfig> {
    let versions = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has all that TLS 1.3 needs");
    let judging = versions.dangerous().with_custom_certificate_verifier(check);
    let mut config = match own {
        Some(own) => judging.with_client_cert_resolver(Arc::new(own)),
        None => judging.with_no_client_auth(),
    };
    config.alpn_protocols = vec![speaks.name()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Arc::new(config)
}

/// What rustls wants to know of the host that is called. It goes to the other end in plain text (SNI) when it is a name, for proxies on the way;
/// who answers is proved by his identity, not by it.
#[must_use]
pub fn server_name(host: &str) -> ServerName<'static> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let address = bare.parse::<IpAddr>();
    let name = DnsName::try_from(bare.to_owned()).map(ServerName::DnsName);
    match (address, name) {
        (Err(_), Ok(name)) => name,
        (address, _) => ServerName::from(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
    }
}

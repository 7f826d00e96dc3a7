//! Certificates that no honest authority makes, and ends that show them without asking anybody.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use holdfast_trust::Trust;
use holdfast_trust::authority::{Issued, Issuer, Root, Scope};
use holdfast_types::principal::Kind;
use holdfast_types::{PrincipalName, SiteName, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};

/// Somebody who signs whatever he is asked for.
pub struct Forger(CertifiedIssuer<'static, KeyPair>);

/// What a forged leaf says.
pub struct Leaf {
    pub uris: Vec<&'static str>,
    pub names: Vec<&'static str>,
    pub from: SystemTime,
    pub until: SystemTime,
    pub uses: Vec<ExtendedKeyUsagePurpose>,
}

impl Leaf {
    /// Of somebody with these URIs, for all uses, for an hour before and after now.
    pub fn of(uris: &[&'static str]) -> Self {
        let hour = Duration::from_secs(3_600);
        let uses = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let now = SystemTime::now();
        Self { uris: uris.to_vec(), names: Vec::new(), from: now - hour, until: now + hour, uses }
    }
}

impl Forger {
    /// A root with these URIs.
    pub fn root(uris: &[&str]) -> Self {
        Self::root_until(uris, SystemTime::now() + Duration::from_secs(7_200))
    }

    /// The same, until then.
    pub fn root_until(uris: &[&str], until: SystemTime) -> Self {
        let mut params = authority("forged root", uris);
        params.not_after = until.into();
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// An authority below it with these URIs.
    pub fn below(&self, uris: &[&str]) -> Self {
        let params = authority("forged authority", uris);
        Self(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    /// Its certificate, as in a bundle.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Signs a leaf; `roots` is the bundle that goes with it.
    pub fn leaf(&self, leaf: &Leaf, roots: &Self) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(leaf.names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.subject_alt_names.extend(leaf.uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        params.not_before = leaf.from.into();
        params.not_after = leaf.until.into();
        params.extended_key_usages = leaf.uses.clone();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued {
            certificate_pem: certificate.pem() + &self.pem(),
            key_pem: key.serialize_pem(),
            bundle_pem: roots.pem(),
        }
    }
}

fn authority(name: &str, uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params
}

/// Certificate and key, whether they fit or not.
fn pair(issued: &Issued) -> Arc<SingleCertAndKey> {
    let chain = CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    let key = default_provider().key_provider.load_private_key(key).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

/// A caller who shows what he is given, and believes everybody.
pub fn caller(issued: Option<&Issued>) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    Arc::new(match issued.map(pair) {
        Some(pair) => config.with_client_cert_resolver(pair),
        None => config.with_no_client_auth(),
    })
}

/// Somebody who is called, shows what he is given, and asks nothing.
pub fn callee(issued: &Issued) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    Arc::new(config.with_no_client_auth().with_cert_resolver(pair(issued)))
}

#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// An honest fleet of two sites.
pub struct Fleet {
    pub root: Root,
    pub a: Issuer,
    pub b: Issuer,
    pub people: Issuer,
}

pub const DAY: Duration = Duration::from_secs(86_400);

impl Fleet {
    pub fn new(domain: &str) -> Self {
        let root = Root::new(&TrustDomain::new(domain).unwrap(), DAY * 10).unwrap();
        let issuer = |scope| root.issuer(scope, DAY * 5).unwrap();
        Self {
            a: issuer(Scope::Site(site("a"))),
            b: issuer(Scope::Site(site("b"))),
            people: issuer(Scope::People),
            root,
        }
    }

    pub fn store_a(&self) -> Issued {
        self.a.leaf(&Kind::Store(site("a")), &[], DAY).unwrap()
    }

    pub fn store_b(&self) -> Issued {
        self.b.leaf(&Kind::Store(site("b")), &[], DAY).unwrap()
    }

    pub fn client(&self) -> Issued {
        self.people.leaf(&Kind::Client(PrincipalName::new("billing").unwrap()), &[], DAY).unwrap()
    }

    pub fn operator(&self) -> Issued {
        self.people.leaf(&Kind::Operator(PrincipalName::new("ann").unwrap()), &[], DAY).unwrap()
    }
}

pub fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

pub fn trust(issued: &Issued) -> Arc<Trust> {
    Trust::from_material(issued.material().unwrap())
}

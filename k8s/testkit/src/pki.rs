//! The keys and certificates of one site. They are made once and kept; a new node gets its own from the same authority.

use crate::cert_manager;
use crate::error::{At, Result};
use crate::plan::{Node, Site};
use crate::state::{self, SiteFolder};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fs;
use std::path::PathBuf;

/// The group that may do everything.
const MASTERS: &str = "system:masters";
/// Users of the API server that are no nodes: file name, user, group. CoreDNS and kube-router read with all rights, which spares
/// this development tool their roles.
const USERS: [(&str, &str, Option<&str>); 8] = [
    ("admin", "admin", Some(MASTERS)),
    ("kubelet-client", "kube-apiserver-kubelet-client", Some(MASTERS)),
    ("controllers", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
    ("proxy", "system:kube-proxy", None),
    ("dns", "coredns", Some(MASTERS)),
    ("policies", "kube-router", Some(MASTERS)),
    // It has the rights of `cert_manager::rights`, or none.
    (cert_manager::USER, cert_manager::USER, None),
];

/// The files of one site's keys and certificates.
pub(crate) struct Pki {
    folder: PathBuf,
}

impl Pki {
    pub(crate) fn of(folder: &SiteFolder) -> Pki {
        Pki { folder: folder.pki() }
    }

    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.crt"))
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// The certificate of the site's authority.
    pub(crate) fn authority(&self) -> PathBuf {
        self.certificate("ca")
    }

    /// The public half of the key that signs service accounts' tokens.
    pub(crate) fn service_account_public_key(&self) -> PathBuf {
        self.folder.join("service-accounts.pub")
    }

    /// The name of the files of what a node shows to the API server, and to those who call its kubelet.
    pub(crate) fn node_user(node: &Node) -> String {
        format!("node-{}", node.number)
    }

    /// The name of the files of what a node's kubelet serves with.
    pub(crate) fn kubelet(node: &Node) -> String {
        format!("kubelet-{}", node.number)
    }

    /// Makes what is missing, for the site and all its nodes.
    pub(crate) fn complete(&self, site: &Site) -> Result<()> {
        let authority = self.load_authority(site)?;
        self.service_accounts()?;
        let server = params("kube-apiserver", None, ExtendedKeyUsagePurpose::ServerAuth, server_names(site))?;
        self.issue("apiserver", server, &authority)?;
        for (file, user, group) in USERS {
            self.issue(file, params(user, group, ExtendedKeyUsagePurpose::ClientAuth, Vec::new())?, &authority)?;
        }
        for node in &site.nodes {
            let name = format!("system:node:{}", node.name);
            let group = Some("system:nodes");
            let names = vec![node.name.clone(), node.address.to_string()];
            let client = params(&name, group, ExtendedKeyUsagePurpose::ClientAuth, Vec::new())?;
            self.issue(&Pki::node_user(node), client, &authority)?;
            let server = params(&name, group, ExtendedKeyUsagePurpose::ServerAuth, names)?;
            self.issue(&Pki::kubelet(node), server, &authority)?;
        }
        Ok(())
    }

    fn load_authority(&self, site: &Site) -> Result<Issuer<'static, KeyPair>> {
        // The authority's parameters follow from the site's name, so its key is all that must be kept.
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(&format!("{} authority", site.name), None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let (path, key_path) = (self.authority(), self.key("ca"));
        if path.exists() {
            let text = fs::read_to_string(&key_path).at(&key_path)?;
            return Ok(Issuer::new(params, KeyPair::from_pem(&text)?));
        }
        let key = KeyPair::generate()?;
        state::write_file(&key_path, &key.serialize_pem())?;
        state::write_file(&path, &params.self_signed(&key)?.pem())?;
        Ok(Issuer::new(params, key))
    }

    fn service_accounts(&self) -> Result<()> {
        let path = self.service_account_public_key();
        if path.exists() {
            return Ok(());
        }
        let key = KeyPair::generate()?;
        state::write_file(&self.key("service-accounts"), &key.serialize_pem())?;
        state::write_file(&path, &key.public_key_pem())
    }

    fn issue(&self, name: &str, params: CertificateParams, authority: &Issuer<'_, KeyPair>) -> Result<()> {
        let path = self.certificate(name);
        if path.exists() {
            return Ok(());
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, authority)?;
        state::write_file(&self.key(name), &key.serialize_pem())?;
        state::write_file(&path, &certificate.pem())
    }
}

fn distinguished_name(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    if let Some(group) = group {
        distinguished.push(DnType::OrganizationName, group);
    }
    distinguished
}

/// A certificate's parameters; names that parse as addresses become addresses.
fn params(
    name: &str,
    group: Option<&str>,
    purpose: ExtendedKeyUsagePurpose,
    names: Vec<String>,
) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = distinguished_name(name, group);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn server_names(site: &Site) -> Vec<String> {
    let mut names = vec!["127.0.0.1".to_owned(), site.nodes[0].address.to_string()];
    names.push(site.kubernetes_address().to_string());
    let service = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned);
    names.extend(service);
    names.push(format!("kubernetes.default.svc.{}", site.domain()));
    names
}

//! Who everybody is: an authority that the program itself makes, and the Secrets by which pods get what it signed. It is all done as
//! docs/kubernetes.md has it for `trust: {mode: secret}`, but for the root, which would be on another machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::clients::NAMESPACE;
use crate::{Programs, Stage, command};

/// The Secret with the certificate of programs, in their namespace.
pub(crate) const PROGRAM_SECRET: &str = "program-tls";
/// What a certificate consists of, as files and as keys of a Secret.
const FILES: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];

/// The authority, and the folders of those whose certificates it signed.
pub(crate) struct Authority {
    holdfast: PathBuf,
    folder: PathBuf,
    domain: String,
}

/// A certificate that was made.
struct Made {
    folder: PathBuf,
    /// Its SHA-256.
    fingerprint: String,
}

impl Authority {
    /// Makes it in a folder of its own, with certificates for whoever drives the stage and for programs.
    pub(crate) fn new(programs: &Programs, folder: PathBuf, domain: &str) -> Result<Authority> {
        let authority = Authority { holdfast: programs.holdfast.clone(), folder, domain: domain.to_owned() };
        let [root, people] = ["root", "people"].map(|name| authority.at(name));
        authority.ca(&["init", "--domain", domain, &root])?;
        authority.ca(&["people", "--root", &root, "--out", &people])?;
        authority.leaf("people", &["--operator", "stage"], "operator")?;
        authority.leaf("people", &["--client", "program"], "program")?;
        Ok(authority)
    }

    /// The folder of an operator.
    pub(crate) fn operator(&self) -> PathBuf {
        self.folder.join("operator")
    }

    /// A certificate of a site's stores, below an authority of that site, which is made when it is first needed.
    fn store(&self, site: &str) -> Result<Made> {
        let issuer = format!("site-{site}");
        if !self.folder.join(&issuer).exists() {
            self.ca(&["site", site, "--root", &self.at("root"), "--out", &self.at(&issuer)])?;
        }
        let name = format!("{site}.{}", self.domain);
        self.leaf(&issuer, &["--site", site, "--names", &name], &format!("store-{site}"))
    }

    /// Makes a certificate; one of the same party that is there already is replaced, as it is when somebody renews it.
    fn leaf(&self, issuer: &str, party: &[&str], out: &str) -> Result<Made> {
        let (issuer, out) = (self.at(issuer), self.folder.join(out));
        let told =
            self.ca(&[&["leaf", "--json", "--issuer", &issuer, "--out", &out.display().to_string()], party].concat())?;
        let told: Value = serde_json::from_str(&told).context("holdfast ca leaf says something else than expected")?;
        let fingerprint = told["certificates"][0]["sha256"].as_str();
        let fingerprint = fingerprint.context("holdfast ca leaf names no certificate")?.to_owned();
        Ok(Made { folder: out, fingerprint })
    }

    fn ca(&self, arguments: &[&str]) -> Result<String> {
        command::output(Command::new(&self.holdfast).arg("ca").args(arguments))
    }

    fn at(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

impl Stage {
    /// Gives every site what its pods prove who they are with, before there is any pod.
    pub(crate) fn hand_out_certificates(&self) -> Result<()> {
        for site in self.sites() {
            // A Secret needs its namespace. The tree applies the labels of it later, which are nobody's until then.
            self.clusters.kubectl(&site, ["create", "namespace", &self.fleet.namespace])?;
            self.certify(&site, &self.fleet.secret(&site), &site)?;
            self.put_secret(&site, NAMESPACE, PROGRAM_SECRET, &self.authority.folder.join("program"))?;
        }
        Ok(())
    }

    /// Makes a new certificate for the stores of a site, and puts it into a Secret in the fleet's namespace of `place`, in place of the one
    /// that is there. Gives its fingerprint.
    pub fn certify(&self, place: &str, secret: &str, site: &str) -> Result<String> {
        let Made { folder, fingerprint } = self.authority.store(site)?;
        self.put_secret(place, &self.fleet.namespace, secret, &folder)?;
        Ok(fingerprint)
    }

    fn put_secret(&self, site: &str, namespace: &str, name: &str, folder: &Path) -> Result<()> {
        let files = FILES.map(|file| format!("--from-file={}", folder.join(file).display()));
        // Nothing is created by this: `kubectl create` would refuse to replace the Secret, and apply takes no files.
        let make = ["create", "secret", "generic", name, "--namespace", namespace, "--dry-run=client", "--output=json"];
        let made = self.clusters.kubectl(site, make.into_iter().chain(files.iter().map(String::as_str)))?;
        self.clusters.apply(site, &made)?;
        Ok(())
    }
}

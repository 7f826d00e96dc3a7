//! `holdfast ca request`, `sign` and `leaf`: whoever is signed.

use std::fs::{self, DirBuilder};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, ensure};
use holdfast_files::{Draft, Readers};
use holdfast_output::{errln, outln};
use holdfast_trust::Trust;
use holdfast_trust::authority::{Issued, Issuer, Request, Shown, csr, csr_of_authority};
use holdfast_types::principal::Kind;
use holdfast_types::{Principal, PrincipalName};
use serde_json::json;

use super::{LEAF_VALID, LeafArgs, RequestArgs, SignArgs, at, read, show, valid};

/// The command line asks for one of them.
const NOBODY: &str = "one of --site, --client and --operator says who it is for";

/// Makes a key and a request of it.
pub(super) fn request(args: &RequestArgs) -> anyhow::Result<()> {
    let (key_file, (key, request)) = match (args.scope()?, args.party.kind()) {
        (Some(scope), _) => {
            ensure!(
                args.names.is_empty(),
                "an authority has no names of hosts: `holdfast ca site --names` says which it may give"
            );
            ("issuer.key", csr_of_authority(&scope, &args.domain)?)
        }
        (None, kind) => ("tls.key", csr(&kind.context(NOBODY)?, &args.domain, &args.names)?),
    };
    let (key_at, request_at) = (args.out.join(key_file), args.out.join("request.csr"));
    make(&args.out)?;
    // A key that is in use is not replaced: until the new certificate is there, nothing would fit.
    ensure!(
        key_at.symlink_metadata().is_err(),
        "{} is there already: name another folder, and put key, root and certificate in the place of the old ones when it is signed",
        key_at.display()
    );
    holdfast_files::replace(&key_at, key.as_bytes()).with_context(|| format!("cannot write {}", key_at.display()))?;
    write(&request_at, &request)?;
    let read = Request::read(&request)?;
    if args.json {
        outln!("{}", json!({ "key": key_at, "request": request_at, "asked": show::request_as_json(&read) }))?;
        return Ok(());
    }
    outln!("The key is in {}, and stays there.", key_at.display())?;
    outln!(
        "The request is in {}, of the key {}. It is no secret: take it to the authority.",
        request_at.display(),
        read.key_fingerprint()
    )?;
    Ok(())
}

/// Signs a request.
pub(super) fn sign(args: &SignArgs) -> anyhow::Result<()> {
    let issuer = Issuer::read(&args.issuer)?;
    let request = Request::read(&read(&args.csr)?).with_context(|| args.csr.display().to_string())?;
    let signed = issuer.sign_request(&request, args.valid)?;
    write(&args.out, &signed.certificate_pem)?;
    let certificates = Shown::of_pem(signed.certificate_pem.as_bytes())?;
    if args.json {
        let certificates: Vec<_> = certificates.iter().map(show::as_json).collect();
        let told =
            json!({ "certificate": args.out, "asked": show::request_as_json(&request), "certificates": certificates });
        outln!("{told}")?;
        return Ok(());
    }
    outln!("Signed, of the key {}:", request.key_fingerprint())?;
    certificates.first().map_or(Ok(()), show::print)?;
    outln!(
        "Next: put {} and {} beside tls.key, where the request was made, as tls.crt and ca.crt",
        args.out.display(),
        args.issuer.join("ca.crt").display()
    )?;
    Ok(())
}

/// Makes a key, and signs it.
pub(super) fn leaf(args: &LeafArgs) -> anyhow::Result<()> {
    let kind = args.party.kind().context(NOBODY)?;
    let issued = issue(&args.issuer, kind, &args.names, args.valid, &args.out)?;
    issued.write(&args.out)?;
    let certificates = Shown::of_pem(issued.certificate_pem.as_bytes())?;
    if args.json {
        let certificates: Vec<_> = certificates.iter().map(show::as_json).collect();
        outln!("{}", json!({ "folder": args.out, "certificates": certificates }))?;
        return Ok(());
    }
    if let Some(made) = certificates.first() {
        let who = made.uris.join(", ");
        outln!("{who} is in {}, valid until {}: --tls {0}", args.out.display(), at(made.expires_at))?;
    }
    Ok(())
}

/// The operator who founds a fleet: what [`leaf`] would make. In no folder yet: where the fleet refuses to be founded, no certificate is left behind.
pub struct FirstOperator {
    issued: Issued,
    folder: PathBuf,
    /// The command that makes him another certificate.
    again: String,
}

impl FirstOperator {
    /// Signs him, for a folder that has nobody else's certificate.
    pub fn new(issuer: &Path, name: PrincipalName, folder: &Path) -> anyhow::Result<Self> {
        let again = format!("holdfast ca leaf --issuer {} --operator {name} -o {}", issuer.display(), folder.display());
        let issued = issue(issuer, Kind::Operator(name), &[], valid(LEAF_VALID).map_err(Error::msg)?, folder)?;
        Ok(Self { issued, folder: folder.to_owned(), again })
    }

    /// How he connects.
    pub fn trust(&self) -> anyhow::Result<Arc<Trust>> {
        Ok(Trust::from_material(self.issued.material()?))
    }

    /// The command that makes him another certificate, which is as good.
    pub fn again(&self) -> &str {
        &self.again
    }

    /// Writes his key and certificate into the folder.
    pub fn keep(&self) -> anyhow::Result<()> {
        self.issued.write(&self.folder)?;
        if let Some(made) = Shown::of_pem(self.issued.certificate_pem.as_bytes())?.first() {
            errln!("{} is in {}, valid until {}", made.uris.join(", "), self.folder.display(), at(made.expires_at));
        }
        Ok(())
    }
}

/// Signs somebody, for a folder that has nobody else's certificate.
fn issue(issuer: &Path, kind: Kind, names: &[String], valid: Duration, folder: &Path) -> anyhow::Result<Issued> {
    let issuer = Issuer::read(issuer)?;
    let issued = issuer.leaf(&kind, names, valid)?;
    check_owner(folder, &Principal { domain: issuer.domain().clone(), kind })?;
    Ok(issued)
}

/// Whoever renews one certificate does not overwrite another's.
fn check_owner(folder: &Path, principal: &Principal) -> anyhow::Result<()> {
    let path = folder.join("tls.crt");
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let there = Shown::of_pem(read(&path)?.as_bytes()).with_context(|| path.display().to_string())?;
    let owner = there.first().map(|certificate| certificate.uris.join(", ")).unwrap_or_default();
    ensure!(
        owner == principal.to_string(),
        "{} is of {owner}, and not of {principal}: name another folder",
        path.display()
    );
    Ok(())
}

/// A folder that nobody else can look into.
fn make(folder: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("cannot make {}", folder.display()))
}

/// A file that is no secret, in one step.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = holdfast_files::parent(path);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let written = Draft::of(path, Readers::AsUsual).and_then(|mut draft| {
        draft.write_all(text.as_bytes())?;
        draft.place()
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

//! `holdfast ca show`: what certificates and requests say. Nothing is checked against anything: a store that is started with them does that.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, ensure};
use holdfast_output::{outln, visible};
use holdfast_trust::authority::{Asked, Request, Shown};
use serde_json::{Value, json};

use super::{ShowArgs, at, read};

/// What a folder of ours, of cert-manager or of SPIRE may hold, beside keys.
const FILES: [&str; 10] = [
    "root.crt",
    "issuer.crt",
    "request.csr",
    "tls.crt",
    "ca.crt",
    "svid.pem",
    "svid_bundle.pem",
    "bundle.pem",
    "svid.0.pem",
    "bundle.0.pem",
];

/// What a file holds.
enum Content {
    Certificates(Vec<Shown>),
    Request(Request),
}

/// Shows a file, or those of a folder.
pub(super) fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let files = files(&args.path)?;
    let mut told = Vec::new();
    for file in &files {
        let content = content(&read(file)?).with_context(|| file.display().to_string())?;
        if args.json {
            told.push(content_as_json(file, &content));
            continue;
        }
        outln!("{}:", file.display())?;
        match &content {
            Content::Certificates(certificates) => certificates.iter().try_for_each(print)?,
            Content::Request(request) => {
                outln!("  request of {}", asked(request.asked()))?;
                print_list("names", &request.names())?;
                outln!("    key      {}", request.key_fingerprint())?;
            }
        }
    }
    if args.json {
        outln!("{}", Value::Array(told))?;
    }
    Ok(())
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let there: Vec<_> = FILES.iter().map(|name| path.join(name)).filter(|file| file.exists()).collect();
    ensure!(!there.is_empty(), "{} holds none of {}", path.display(), FILES.join(", "));
    Ok(there)
}

fn content(text: &str) -> anyhow::Result<Content> {
    Ok(if text.contains("CERTIFICATE REQUEST") {
        Content::Request(Request::read(text)?)
    } else {
        Content::Certificates(Shown::of_pem(text.as_bytes())?)
    })
}

/// The first certificate of a text.
pub(super) fn only(text: &str) -> anyhow::Result<Shown> {
    Shown::of_pem(text.as_bytes())?.into_iter().next().context("there is no certificate")
}

/// Who asks, in words.
pub(super) fn asked(asked: &Asked) -> String {
    match asked {
        Asked::Party(principal) => principal.to_string(),
        Asked::Authority(domain, scope) => format!("an authority of {domain} for {scope}"),
    }
}

/// A certificate, in a few lines.
pub(super) fn print(certificate: &Shown) -> anyhow::Result<()> {
    let who = if certificate.uris.is_empty() { certificate.subject.clone() } else { certificate.uris.join(", ") };
    let kind = if certificate.is_authority { "authority for " } else { "" };
    outln!("  {kind}{}", visible(&who))?;
    outln!("    subject  {}", visible(&certificate.subject))?;
    outln!("    issuer   {}", visible(&certificate.issuer))?;
    outln!(
        "    valid    from {} until {}{}",
        at(certificate.issued_at),
        at(certificate.expires_at),
        left(certificate)
    )?;
    print_list("names", &certificate.names)?;
    if let Some(names) = &certificate.may_name {
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        outln!("    may name {}", visible(&names))?;
    }
    outln!("    sha256   {}", certificate.fingerprint)?;
    Ok(())
}

fn print_list(what: &str, names: &[String]) -> anyhow::Result<()> {
    if !names.is_empty() {
        outln!("    {what:<8} {}", visible(&names.join(", ")))?;
    }
    Ok(())
}

fn left(certificate: &Shown) -> &'static str {
    let now = SystemTime::now();
    if certificate.expires_at <= now {
        " (expired)"
    } else if certificate.issued_at > now {
        " (not yet valid)"
    } else {
        ""
    }
}

/// The same for programs.
pub(super) fn as_json(certificate: &Shown) -> Value {
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "authority": certificate.is_authority,
        "uris": certificate.uris,
        "names": certificate.names,
        "may_name": certificate.may_name,
        "issued_at": at(certificate.issued_at),
        "expires_at": at(certificate.expires_at),
        "sha256": certificate.fingerprint.to_string(),
    })
}

/// A request, for programs.
pub(super) fn request_as_json(request: &Request) -> Value {
    let (who, is_authority) = match request.asked() {
        Asked::Party(principal) => (vec![principal.to_string()], false),
        Asked::Authority(domain, scope) => (scope.uris(domain), true),
    };
    json!({
        "uris": who,
        "authority": is_authority,
        "names": request.names(),
        "key_sha256": request.key_fingerprint().to_string(),
    })
}

fn content_as_json(file: &Path, content: &Content) -> Value {
    match content {
        Content::Certificates(certificates) => {
            json!({ "file": file, "certificates": certificates.iter().map(as_json).collect::<Vec<_>>() })
        }
        Content::Request(request) => json!({ "file": file, "request": request_as_json(request) }),
    }
}

//! `holdfast ca init`, `site` and `people`: whoever signs.

use std::path::Path;

use anyhow::ensure;
use holdfast_output::outln;
use holdfast_trust::authority::{Asked, Request, Root, Scope, Shown, Validity};
use serde_json::json;

use super::{AuthorityArgs, InitArgs, at, leaves, read, show};

/// Makes a root.
pub(super) fn init(args: &InitArgs) -> anyhow::Result<()> {
    let root = Root::new(&args.domain, args.valid)?;
    root.write(&args.folder)?;
    let made = show::only(&root.certificate_pem())?;
    if args.json {
        outln!("{}", json!({ "folder": args.folder, "certificates": [show::as_json(&made)] }))?;
        return Ok(());
    }
    let folder = args.folder.display();
    outln!("The root of {} is in {folder}, valid until {}.", args.domain, at(made.expires_at))?;
    outln!(
        "Keep {folder}/root.key offline, and a copy of it: with it, anybody can be anybody. It is needed when a site is added, and for nothing else."
    )?;
    outln!("Next: holdfast ca site SITE --root {folder} -o DIR, and holdfast ca people --root {folder} -o DIR")?;
    Ok(())
}

/// Makes an authority below it, or signs the request of one.
pub(super) fn below(scope: &Scope, names: &[String], args: &AuthorityArgs) -> anyhow::Result<()> {
    let root = Root::read(&args.root)?;
    let made = match &args.csr {
        None => {
            let issuer = root.issuer_within(scope.clone(), names, Validity::from_now(args.valid))?;
            issuer.write(&args.out)?;
            show::only(&read(&args.out.join("issuer.crt"))?)?
        }
        Some(csr) => sign(&root, scope, names, csr, args)?,
    };
    if args.json {
        outln!("{}", json!({ "folder": args.out, "certificates": [show::as_json(&made)] }))?;
        return Ok(());
    }
    let folder = args.out.display();
    outln!("The authority for {scope} is in {folder}, valid until {}.", at(made.expires_at))?;
    match &args.csr {
        None => {
            outln!("Next: holdfast ca leaf --issuer {folder} ..., or holdfast ca sign --issuer {folder} CSR -o CERT")?
        }
        Some(_) => {
            outln!("Next: put {folder}/issuer.crt and {folder}/ca.crt beside issuer.key, where the request was made")?
        }
    }
    Ok(())
}

/// The key is elsewhere: what is written here goes there.
fn sign(root: &Root, scope: &Scope, names: &[String], csr: &Path, args: &AuthorityArgs) -> anyhow::Result<Shown> {
    let request = Request::read(&read(csr)?)?;
    let asks_for_it = matches!(request.asked(), Asked::Authority(_, asked) if asked == scope);
    ensure!(asks_for_it, "{} does not ask to speak for {scope}: {}", csr.display(), show::asked(request.asked()));
    let signed = root.sign_issuer(&request, names, args.valid)?;
    leaves::write(&args.out.join("issuer.crt"), &signed.certificate_pem)?;
    leaves::write(&args.out.join("ca.crt"), &signed.bundle_pem)?;
    show::only(&signed.certificate_pem)
}

//! What stands below the options of `holdfast ca` and its subcommands: examples and exit codes, as in [`crate::help`].

/// What all of them end with.
macro_rules! exits {
    () => {
        "Exit codes:\n  0  it was done\n  1  it was not, and standard error says why\n  2  the command line was not understood"
    };
}

/// `holdfast ca`.
pub const CA: &str = concat!(
    "\
For those without cert-manager or SPIRE. A root that stays offline signs one authority for each site and one for people; these sign stores, clients
and operators. Whoever steals the authority of a site can be a store of that site, and nothing else.

Examples:
  holdfast ca init --domain kv.example ca/root
  holdfast ca site a --root ca/root -o ca/a
  holdfast ca people --root ca/root -o ca/people
  holdfast ca leaf --issuer ca/a --site a -o tls/a
  holdfast ca leaf --issuer ca/people --operator ann -o ann

",
    exits!()
);

/// `holdfast ca init`.
pub const INIT: &str = concat!(
    "\
Writes root.key and root.crt into a folder that nobody else can look into. Nothing is overwritten.

Examples:
  holdfast ca init --domain kv.example ca/root
  holdfast ca init --domain kv.example --valid 5years /media/safe/root --json

",
    exits!()
);

/// `holdfast ca site`.
pub const SITE: &str = concat!(
    "\
Writes issuer.key, issuer.crt and ca.crt, the root, into a folder that nobody else can look into. With --csr the key is on another machine already:
issuer.crt and ca.crt are written, and belong beside it.

The names are for clients of other makes, which look at the name of the host. Stores and clients of Holdfast look at identities alone.

Examples:
  holdfast ca site b --root ca/root -o ca/b
  holdfast ca site b --root ca/root -o ca/b --names holdfast.svc.cluster.local,10.1.0.0/16
  holdfast ca site b --root ca/root --csr request.csr -o signed

",
    exits!()
);

/// `holdfast ca people`.
pub const PEOPLE: &str = concat!(
    "\
Writes issuer.key, issuer.crt and ca.crt, the root, into a folder that nobody else can look into.

Examples:
  holdfast ca people --root ca/root -o ca/people
  holdfast ca people --root ca/root --csr request.csr -o signed --valid 1year

",
    exits!()
);

/// `holdfast ca request`.
pub const REQUEST: &str = concat!(
    "\
The key is made where it is used, and never leaves: what travels is the request, and the certificate that answers it. Writes tls.key (of an
authority: issuer.key) and request.csr. A key that is there already is not replaced.

Examples:
  holdfast ca request --site b --domain kv.example -o tls
  holdfast ca request --site b --domain kv.example --names store-0.b.kv.example,10.1.0.5 -o tls
  holdfast ca request --client billing --domain kv.example -o billing
  holdfast ca request --authority site b --domain kv.example -o ca/b

",
    exits!()
);

/// `holdfast ca sign`.
pub const SIGN: &str = concat!(
    "\
Refused when the authority may not speak for whoever asks, or may not give the names that he asks for. Compare the key that is shown with the one that
`holdfast ca request` showed: a request says who asks, and proves nothing of it. The certificate is written with the authority behind it, as stores
and clients read it (tls.crt).

Examples:
  holdfast ca sign --issuer ca/b request.csr -o tls.crt
  holdfast ca sign --issuer ca/people billing.csr -o billing.crt --valid 30days --json

",
    exits!()
);

/// `holdfast ca leaf`.
pub const LEAF: &str = concat!(
    "\
Writes tls.key, ca.crt and tls.crt. A certificate of the same party is replaced, and a store that uses the folder takes the new one within seconds.

Examples:
  holdfast ca leaf --issuer ca/b --site b -o tls/b
  holdfast ca leaf --issuer ca/b --site b --names store-0.b.kv.example,localhost -o tls/b --valid 30days
  holdfast ca leaf --issuer ca/people --client billing -o billing
  holdfast ca leaf --issuer ca/people --operator ann -o ann

",
    exits!()
);

/// `holdfast ca bundle`.
pub const BUNDLE: &str = concat!(
    "\
For a rotation of the root (`holdfast trust rotate`, docs/runbooks/rotate-root.md). Folders of authorities have a bundle, too: what they sign comes with it.

Examples:
  holdfast ca bundle add --root new/root.crt tls/a tls/b ann
  holdfast ca bundle remove --root old/root.crt tls/a tls/b ann

",
    exits!()
);

/// `holdfast ca bundle add`.
pub const BUNDLE_ADD: &str = concat!(
    "\
A root that is there already stays as it is, which is a success.

Examples:
  holdfast ca bundle add --root new/root.crt tls/a tls/b ann
  holdfast ca bundle add --root old/root.crt new/a new/people    # authorities below the new root: what they sign believes both

",
    exits!()
);

/// `holdfast ca bundle remove`.
pub const BUNDLE_REMOVE: &str = concat!(
    "\
Refused for the only root of a bundle, and for the one that the certificate beside it leads to.

Examples:
  holdfast ca bundle remove --root old/root.crt tls/a tls/b ann --json

",
    exits!()
);

/// `holdfast ca show`.
pub const SHOW: &str = concat!(
    "\
Shows what is said, and checks none of it.

Examples:
  holdfast ca show tls/b
  holdfast ca show request.csr
  holdfast ca show ca/b --json | jq -r '.[].certificates[].expires_at'

",
    exits!()
);

//! What stands below the options of `holdfast trust` and its subcommands: examples and exit codes, as in [`crate::help`].

/// Of what looks or takes a step.
macro_rules! exits_due {
    () => {
        "Exit codes:\n  0  all is in order\n  1  it was refused, or no store could be asked; standard error says why\n  2  something is due: it is listed; or the command line was not understood"
    };
}

/// Of what is done or not.
macro_rules! exits {
    () => {
        "Exit codes:\n  0  it was done\n  1  it was not, and standard error says why\n  2  the command line was not understood"
    };
}

/// `holdfast trust`.
pub const TRUST: &str = concat!(
    "\
Examples:
  holdfast trust status --tls ann
  holdfast trust rotate add --root new-root.pem --tls ann
  holdfast trust revoke site b --tls ann

",
    exits_due!()
);

/// `holdfast trust status`.
pub const STATUS: &str = concat!(
    "\
Asks every store what it shows: until when its certificate is good, which root of its bundle that leads to, which roots it believes, and whether it
refuses what lies in its folder now. What somebody has to see to is listed as due: certificates and roots that end, stores that do not answer or would
not believe each other, the next step of a rotation, sites that are distrusted. It needs no quorum.

Examples:
  holdfast trust status --tls ann
  holdfast trust status --tls ann --at 10.0.1.5:7300,10.0.2.5:7300
  holdfast trust status --tls ann --json | jq -r '.due[]'

",
    exits_due!()
);

/// `holdfast trust rotate`.
pub const ROTATE: &str = concat!(
    "\
Three phases, each refused until every store has shown the one before, with the stores that are behind and what to do there:
  add      the new root goes into every bundle, beside the old one
  switch   every certificate is made anew, below the new root
  remove   the old root goes out of every bundle
Files are put where they belong by whoever owns the folders (cert-manager, SPIRE, `holdfast ca`), and stores take them without a restart. These commands
check what stores show, and put on record how far it is. Run again, a step says where it stands. See docs/runbooks/rotate-root.md.

Examples:
  holdfast trust rotate add --root new-root.pem --tls ann
  holdfast trust rotate switch --tls ann
  holdfast trust rotate remove --tls ann
  holdfast trust rotate abort --tls ann

",
    exits_due!()
);

/// `holdfast trust rotate add`.
pub const ROTATE_ADD: &str = concat!(
    "\
Puts on record which root is to come. Refused while a store does not show which root it uses, and while another rotation is under way. Afterwards put the
new root into the bundle of every store, client and operator, and leave the old one; `holdfast trust status` shows who is behind.

Examples:
  holdfast trust rotate add --root new-root.pem --tls ann

",
    exits_due!()
);

/// `holdfast trust rotate switch`.
pub const ROTATE_SWITCH: &str = concat!(
    "\
Refused until every store has the new root in its bundle. Afterwards have every certificate made anew below the new root; clients that lack it would not
believe a store with such a certificate.

Examples:
  holdfast trust rotate switch --tls ann

",
    exits_due!()
);

/// `holdfast trust rotate remove`.
pub const ROTATE_REMOVE: &str = concat!(
    "\
Refused until the certificate of every store leads to the new root. Afterwards take the old root out of every bundle: certificates of clients and
operators that still lead to it are believed no more. Run again when that is done, it says that the rotation is over.

Examples:
  holdfast trust rotate remove --tls ann

",
    exits_due!()
);

/// `holdfast trust rotate abort`.
pub const ROTATE_ABORT: &str = concat!(
    "\
Refused while the certificate of a store leads to the new root, or a bundle lacks the old one: have those made below the old root, and put it back, first.
Afterwards take the new root out of every bundle.

Examples:
  holdfast trust rotate abort --tls ann

",
    exits_due!()
);

/// `holdfast trust revoke`.
pub const REVOKE: &str = concat!(
    "\
Examples:
  holdfast trust revoke site b --tls ann

",
    exits!()
);

/// `holdfast trust revoke site`.
pub const REVOKE_SITE: &str = concat!(
    "\
For a site whose keys are in other hands. Says what it means and asks for the name of the site, before anything is done. Then every store ends its
connections with stores of the site within a second, and takes and makes no others; placement counts them as lost, and makes their replicas anew where
there is a place. Clients that run at the site are not meant: they go to other stores. Refused when ranges would be left without a quorum, for the last
site that is trusted, and by a store of the site itself. See docs/runbooks/distrust-site.md.

Examples:
  holdfast trust revoke site b --tls ann
  holdfast trust revoke site b --tls ann --at 10.0.1.5:7300,10.0.3.5:7300    # stores of other sites
  holdfast trust revoke site b --tls ann --yes --json
  holdfast trust revoke site b --tls ann --even-if-ranges-stop

",
    exits!()
);

/// `holdfast trust restore`.
pub const RESTORE: &str = concat!(
    "\
Examples:
  holdfast trust restore site b --tls ann

",
    exits!()
);

/// `holdfast trust restore site`.
pub const RESTORE_SITE: &str = concat!(
    "\
Whoever still has keys of the site is believed again: have its authority and its certificates made anew first. A site that is trusted already stays so.

Examples:
  holdfast trust restore site b --tls ann

",
    exits!()
);

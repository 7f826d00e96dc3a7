//! Security: who is at either end.
//!
//! A fleet speaks TLS 1.3, or it was started with `--insecure` and everything goes in plain text. The client has to be told which: it never
//! falls back from one to the other.
//!
//! **Certificates.** Give the client the folder with its certificate, its key and the bundle of roots that it believes, as cert-manager
//! (`tls.crt`, `tls.key`, `ca.crt`), SPIRE or `holdfast ca` write it:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::builder().tls().start()?;
//! # let (addresses, folder) = (mock.addresses(), tempfile::tempdir()?);
//! # let folder = folder.path();
//! # mock.certificate("billing")?.write(folder)?;
//! use holdfast_client::{Client, Options, Security};
//!
//! let client = Client::connect(addresses, Options::new().security(Security::open(folder)?)).await?;
//! client.put("k", "v").await?;
//! assert_eq!(mock.callers()[0].principal.to_string(), "spiffe://mock/client/billing");
//! # Ok(())
//! # }
//! ```
//!
//! - *The store* has to show a certificate that says `spiffe://DOMAIN/site/SITE/store`, of the trust domain that is in our own certificate, and
//!   that leads to a root of our bundle. Host names and addresses prove nothing: they are only the way there, so that a tunnel or an address
//!   that changed hands makes no difference. Each call names the fleet that it is meant for as well; a store of another fleet refuses it,
//!   though it may share the trust domain.
//! - *The client* shows its own certificate, `spiffe://DOMAIN/client/NAME` or `/operator/NAME`. What it may do is up to the fleet; what it may
//!   not do is refused with [`Rejected::Forbidden`](crate::Rejected::Forbidden), and retrying does not help.
//! - *Renewal* needs nothing of you. [`Security::open`](crate::Security::open) looks at the folder once a second. New material that fits together is used by the
//!   connections made from then on; what does not is refused, with a warning by `tracing`, and the old stays in use. Stores end a connection
//!   before a certificate of it expires, and the client makes another. All clients of a process may share one
//!   [`Security`](crate::Security): it is cheap to clone.
//!
//! **Bearer tokens.** Where programs share a certificate, that of a machine or of a proxy beside them, it does not say who calls. A token in the calls
//! themselves does, and counts before the certificate, if the fleet takes tokens of whoever signed it (`--bearer-keys`):
//!
//! ```no_run
//! use holdfast_client::{BearerFile, Options, Place, Security, Trust};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let trust = Trust::open(Place::folder("/etc/holdfast/tls"))?;
//! let security = Security::tls_with_bearer(trust, BearerFile::new("/var/run/secrets/tokens/holdfast"));
//! let options = Options::new().security(security);
//! # Ok(())
//! # }
//! ```
//!
//! Where the program has no certificate at all, the roots and the token are enough. The token goes to nobody who has not proved to be a store of the
//! trust domain, which roots of `holdfast ca` and SPIRE name themselves; for others it is given (`None` below):
//!
//! ```no_run
//! use holdfast_client::{BearerFile, Options, Security};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let token = BearerFile::new("/var/run/secrets/tokens/holdfast");
//! // A folder with `ca.crt` and nothing else.
//! let options = Options::new().security(Security::open_bearer_alone("/etc/holdfast/roots", None, token)?);
//! # Ok(())
//! # }
//! ```
//!
//! The file is read anew whenever a stream is opened or a call made beside it, so that whoever renews the token need tell nobody. There is no
//! token without TLS.
//!
//! **When it fails.** Connecting ends at once with [`ClientError::Untrusted`](crate::ClientError::Untrusted), and not after the deadline, when each store that answered
//! was not believed or did not believe us: waiting mends no certificate. A client that is connected already goes on trying, since new material
//! may come; its calls end with [`DeadlineExceeded`](crate::ClientError::DeadlineExceeded), whose last refusal names the cause. The admin API has
//! [`AdminError::Untrusted`](crate::admin::AdminError::Untrusted). The sentence names the address, the cause and the remedy;
//! [`Untrusted::doubt`](crate::Untrusted::doubt) is for programs:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::builder().tls().start()?;
//! # let other = holdfast_client::mock::Mock::builder().tls().start()?;
//! # let (addresses, folder) = (mock.addresses(), tempfile::tempdir()?);
//! # let folder = folder.path();
//! # other.certificate("billing")?.write(folder)?;
//! use holdfast_client::{Client, ClientError, Doubt, Options, Security};
//!
//! // A fleet with TLS, whose roots are others than ours.
//! let refused = Client::connect(addresses, Options::new().security(Security::open(folder)?)).await;
//! let Err(ClientError::Untrusted(why)) = refused else { panic!("that is another root") };
//! assert_eq!(why.doubt(), Doubt::StoreUnknown);
//! # Ok(())
//! # }
//! ```
//!
//! | doubt | what it means | what to do |
//! |---|---|---|
//! | `StoreExpired`, `StoreNotYetValid` | the certificate of the store, or of its authority, is out of its time | renew it there; compare clocks |
//! | `StoreUnknown` | it leads to no root of our bundle | the right address? the newest `ca.crt`? |
//! | `StoreUnfit` | it is no store's, of another trust domain, or of a site that is distrusted | the right address? |
//! | `OwnExpired`, `OwnUnknown`, `OwnRefused` | the store does not take ours | renew it, or have it issued by this fleet's authority; the store's log says more |
//! | `OwnDistrusted` | the fleet distrusts the site whose store we are | only stores hear it |
//! | `OwnMissing`, `Token` | the store wants a certificate or a token that it takes | give one; look at audience and expiry |
//! | `NoTls` | one end speaks TLS, and the other does not | `Security::Tls` for a fleet that has it |
//!
//! **Tests.** [`MockBuilder::tls`](crate::mock::MockBuilder::tls) gives the mock an authority of its own, [`Mock::certificate`](crate::mock::Mock::certificate)
//! makes certificates by it, and [`Mock::callers`](crate::mock::Mock::callers) says who called. `holdfast dev --tls` starts a fleet with one.

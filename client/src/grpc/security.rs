//! How a client and the stores prove to each other who they are.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use holdfast_trust::connect::Calling;
use holdfast_trust::{Bundle, Place, Trust, TrustError, WatchEvent};
use holdfast_types::TrustDomain;

use super::bearer::BearerFile;

/// How a client and the stores prove to each other who they are.
///
/// ```no_run
/// use holdfast_client::{Client, Options, Security};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let options = Options::new().security(Security::open("/etc/holdfast/tls")?);
/// let client = Client::connect(["store-0.site-a:7300"], options).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Security {
    /// Not at all: whoever answers is believed, and everybody on the way reads along. For fleets that were started with `--insecure`.
    #[default]
    Plain,
    /// TLS 1.3: only stores of our trust domain are believed, and they hear who we are.
    Tls {
        /// Our certificate and key, and the roots that we believe.
        trust: Arc<Trust>,
        /// Who we are by the word of somebody whom the fleet believes; it counts before what our certificate says.
        bearer: Option<Arc<BearerFile>>,
    },
    /// TLS 1.3: only stores of one trust domain are believed, and they hear who we are by a bearer token alone.
    Bearer {
        /// The roots that we believe, and whose stores.
        bundle: Arc<Bundle>,
        /// Who we are.
        bearer: Arc<BearerFile>,
    },
}

impl Security {
    /// TLS with this material.
    #[must_use]
    pub fn tls(trust: Arc<Trust>) -> Self {
        Self::Tls { trust, bearer: None }
    }

    /// TLS with this material, and a bearer token with each call. There is none without TLS: whoever reads along could use it.
    #[must_use]
    pub fn tls_with_bearer(trust: Arc<Trust>, bearer: BearerFile) -> Self {
        Self::Tls { trust, bearer: Some(Arc::new(bearer)) }
    }

    /// TLS without a certificate of our own, and a bearer token with each call: for programs that have no certificate. Fleets take those whose stores
    /// were given keys of bearer tokens (`--bearer-keys`).
    #[must_use]
    pub fn bearer_alone(bundle: Arc<Bundle>, bearer: BearerFile) -> Self {
        Self::Bearer { bundle, bearer: Arc::new(bearer) }
    }

    /// The same with the bundle in a folder, `ca.crt` or `bundle.pem`, which is watched. `domain`: whose stores are believed; `None`: those of the
    /// trust domain that the roots name themselves, as those of `holdfast ca` and SPIRE do.
    ///
    /// # Errors
    /// [`TrustError`]: what is wrong with the bundle, and what to do.
    pub fn open_bearer_alone(
        folder: impl AsRef<Path>,
        domain: Option<TrustDomain>,
        bearer: BearerFile,
    ) -> Result<Self, TrustError> {
        let bundle = Bundle::open(&Place::folder(folder.as_ref()), domain)?;
        bundle.watch(tell).map_err(|error| no_thread(folder.as_ref(), &error))?;
        Ok(Self::bearer_alone(bundle, bearer))
    }

    /// TLS with the certificate, the key and the bundle in a folder, as cert-manager (`tls.crt`, `tls.key`, `ca.crt`), SPIRE and `holdfast ca`
    /// write them. The folder is watched: what is renewed there is used by the connections that are made from then on.
    ///
    /// # Errors
    /// [`TrustError`]: what is wrong with the material, and what to do.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, TrustError> {
        let trust = Trust::open(Place::folder(folder.as_ref()))?;
        trust.watch(tell).map_err(|error| no_thread(folder.as_ref(), &error))?;
        Ok(Self::tls(trust))
    }

    /// Our own material; `None` in plain text, and where a token is all that we have.
    #[must_use]
    pub fn trust(&self) -> Option<&Arc<Trust>> {
        match self {
            Self::Plain | Self::Bearer { .. } => None,
            Self::Tls { trust, .. } => Some(trust),
        }
    }

    pub(super) fn bearer(&self) -> Option<&Arc<BearerFile>> {
        match self {
            Self::Plain => None,
            Self::Tls { bearer, .. } => bearer.as_ref(),
            Self::Bearer { bearer, .. } => Some(bearer),
        }
    }

    /// How connections are made.
    pub(super) fn calling(&self) -> Calling {
        match self {
            Self::Plain => Calling::Plain,
            Self::Tls { trust, .. } => Calling::Proving(Arc::clone(trust)),
            Self::Bearer { bundle, .. } => Calling::Unnamed(Arc::clone(bundle)),
        }
    }
}

fn no_thread(folder: &Path, error: &std::io::Error) -> TrustError {
    let why = format!("no thread can be had that watches it: {error}");
    TrustError::Unreadable { path: folder.to_owned(), why }
}

impl From<Arc<Trust>> for Security {
    fn from(trust: Arc<Trust>) -> Self {
        Self::tls(trust)
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("Plain"),
            Self::Tls { trust, bearer } => {
                let principal = trust.own().principal.to_string();
                f.debug_struct("Tls").field("as", &principal).field("bearer", bearer).finish()
            }
            Self::Bearer { bundle, bearer } => {
                let domain = bundle.domain().to_string();
                f.debug_struct("Bearer").field("of", &domain).field("bearer", bearer).finish()
            }
        }
    }
}

fn tell(event: WatchEvent) {
    match event {
        WatchEvent::Taken => {
            tracing::info!(target: "holdfast_client", "a new certificate or bundle is used from now on");
        }
        WatchEvent::Refused(why) => {
            tracing::warn!(target: "holdfast_client", %why, "new trust material is refused, the old one stays in use");
        }
        WatchEvent::ThirdLeft { expires_at } => {
            let left = expires_at.duration_since(SystemTime::now()).unwrap_or_default();
            let hours_left = left.as_secs() / 3_600;
            tracing::warn!(target: "holdfast_client", hours_left, "less than a third of the certificate's life is left");
        }
    }
}

//! A fleet whose stores prove who they are, and the authority that says so.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use holdfast_client::admin::Admin;
use holdfast_client::{Client, Options, Security};
use holdfast_trust::authority::{Issued, Root, Scope, Validity};
use holdfast_trust::{Place, Trust};
use holdfast_types::principal::Kind;
use holdfast_types::{Principal, TrustDomain};

use crate::raw::get;
use crate::scene::Scene;
use crate::tls;
use crate::wait;

/// The trust domain of every fleet here that does not say otherwise.
pub const DOMAIN: &str = "fleet.test";
/// Longer than any test.
pub const DAY: Duration = Duration::from_secs(86_400);
/// What a folder holds, as cert-manager calls it.
const FILES: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];
/// Only its owner reads a key.
const KEY_MODE: u32 = 0o600;

/// Whoever signs certificates of a trust domain.
pub struct Authority {
    domain: TrustDomain,
    root: Root,
}

impl Authority {
    /// A new root for a trust domain.
    ///
    /// # Panics
    /// When that is no name of one.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        let domain = TrustDomain::new(domain).expect("a legal trust domain");
        let root = Root::new(&domain, 30 * DAY).expect("a root can be made");
        Self { domain, root }
    }

    /// A certificate for the rest of a test. `who`: `site/b/store`, `client/x`, `operator/ann`.
    #[must_use]
    pub fn issue(&self, who: &str) -> Issued {
        self.issue_for(who, DAY)
    }

    /// A certificate that lives for so long.
    ///
    /// # Panics
    /// When `who` is no identity.
    #[must_use]
    pub fn issue_for(&self, who: &str, valid: Duration) -> Issued {
        let (principal, scope) = self.party(who);
        // From now on, unlike those of `leaf`: a connection ends before its certificate by a part of the certificate's life.
        let now = SystemTime::now();
        self.issue_between(&principal.kind, &scope, now - Duration::from_secs(1), now + valid)
    }

    /// One that has expired.
    ///
    /// # Panics
    /// When `who` is no identity.
    #[must_use]
    pub fn issue_expired(&self, who: &str) -> Issued {
        let (principal, scope) = self.party(who);
        let now = SystemTime::now();
        self.issue_between(&principal.kind, &scope, now - DAY, now - Duration::from_secs(1))
    }

    fn party(&self, who: &str) -> (Principal, Scope) {
        let principal: Principal = format!("spiffe://{}/{who}", self.domain).parse().expect("an identity");
        let scope = match &principal.kind {
            Kind::Store(site) => Scope::Site(site.clone()),
            Kind::Client(_) | Kind::Operator(_) => Scope::People,
        };
        (principal, scope)
    }

    fn issue_between(&self, kind: &Kind, scope: &Scope, from: SystemTime, until: SystemTime) -> Issued {
        let issuer = self.root.issuer(scope.clone(), 2 * DAY).expect("an authority below the root");
        issuer.leaf_within(kind, &[], Validity::between(from, until)).expect("a certificate")
    }

    /// Its root, as it stands in bundles.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.issue("client/nobody").bundle_pem
    }
}

/// Puts certificate, key and bundle into a folder in one step, as Kubernetes does it: behind the symlink `..data`.
///
/// # Panics
/// When the folder takes no files.
pub fn install(folder: &Path, issued: &Issued) {
    let texts = [&issued.certificate_pem, &issued.key_pem, &issued.bundle_pem];
    install_files(folder, &FILES.into_iter().zip(texts.map(String::as_bytes)).collect::<Vec<_>>());
}

/// The same with any files.
///
/// # Panics
/// When the folder takes no files.
pub fn install_files(folder: &Path, files: &[(&str, &[u8])]) {
    fs::create_dir_all(folder).expect("a folder");
    let number = fs::read_dir(folder).expect("it was made").count();
    let version = format!("..{number:05}");
    fs::create_dir(folder.join(&version)).expect("a name that was not there before");
    for (name, bytes) in files {
        let path = folder.join(&version).join(name);
        fs::write(&path, bytes).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(KEY_MODE)).expect("its own file");
    }
    let next = folder.join("..next");
    symlink(&version, &next).expect("a link");
    fs::rename(&next, folder.join("..data")).expect("one step");
    for (name, _) in files {
        let link = folder.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(name), link).expect("a link");
        }
    }
}

/// A fleet with TLS, and the only one that runs now.
pub struct Guarded {
    /// The fleet, and the program.
    pub scene: Scene,
    /// Whoever signed the certificates of its stores.
    pub authority: Authority,
    folders: Cell<u32>,
}

impl Guarded {
    /// Waits for its turn, makes certificates for all sites and chooses ports; starts nothing. `None`: skipped.
    pub async fn prepare(sites: usize, stores_per_site: usize) -> Option<Self> {
        let mut scene = Scene::prepare(sites, stores_per_site).await?;
        let authority = Authority::new(DOMAIN);
        let operator = scene.path("tls-operator");
        install(&operator, &authority.issue("operator/ann"));
        for site in sites_of(&scene) {
            install(&folder_of(&scene, &site), &authority.issue(&format!("site/{site}/store")));
        }
        let (security, base) = (opened(&operator), scene.path(""));
        scene.guard(security, operator, move |site| base.join(format!("tls-{site}")));
        Some(Self { scene, authority, folders: Cell::new(0) })
    }

    /// The same, and starts it.
    ///
    /// # Panics
    /// When the fleet does not start.
    pub async fn start() -> Option<Self> {
        let mut guarded = Self::prepare(3, 1).await?;
        guarded.run().await;
        Some(guarded)
    }

    /// Starts the fleet, and waits until each store serves clients: the first time it does once it knows what was granted to them.
    ///
    /// # Panics
    /// When the fleet does not start.
    pub async fn run(&mut self) {
        self.scene.fleet.start().await.expect("the fleet starts");
        let shown = self.authority.issue("client/first");
        for store in self.scene.fleet.stores() {
            wait::until("a store serves clients", async || {
                let asked = get("nothing");
                let answer = tls::call(store.client, Some(&shown), "/holdfast.v1.Kv/Get", None, &asked).await;
                (answer == Ok(0)).then_some(())
            })
            .await;
        }
    }

    /// Names of the sites, in order.
    #[must_use]
    pub fn sites(&self) -> Vec<String> {
        sites_of(&self.scene)
    }

    /// Where the stores of a site have their certificate.
    #[must_use]
    pub fn folder_of(&self, site: &str) -> PathBuf {
        folder_of(&self.scene, site)
    }

    /// Puts this in place of the certificate of a site's stores.
    pub fn renew(&self, site: &str, issued: &Issued) {
        install(&self.folder_of(site), issued);
    }

    /// A folder of its own with this in it.
    #[must_use]
    pub fn folder_with(&self, issued: &Issued) -> PathBuf {
        self.folders.set(self.folders.get() + 1);
        let folder = self.scene.path(&format!("tls-of-test-{}", self.folders.get()));
        install(&folder, issued);
        folder
    }

    /// Trust with this material.
    ///
    /// # Panics
    /// When it does not fit together.
    #[must_use]
    pub fn trust(&self, issued: &Issued) -> Arc<Trust> {
        Trust::open(Place::folder(self.folder_with(issued))).expect("material that fits")
    }

    /// Who somebody is to the stores.
    #[must_use]
    pub fn security(&self, who: &str) -> Security {
        Security::tls(self.trust(&self.authority.issue(who)))
    }

    /// A client of the fleet.
    ///
    /// # Panics
    /// When no store answers.
    pub async fn client(&self, who: &str) -> Client {
        let options = Options::new().security(self.security(who));
        Client::connect(self.scene.fleet.addresses(), options).await.expect("the fleet answers")
    }

    /// Whoever looks at the fleet and changes it.
    ///
    /// # Panics
    /// When no store answers.
    pub async fn admin(&self, who: &str) -> Admin {
        Admin::connect_with(self.scene.fleet.addresses(), self.security(who)).await.expect("the fleet answers")
    }

    /// A series on the page of a store's metrics, which a certificate opens; `None`: it is not there.
    pub async fn metric(&self, store: usize, name: &str) -> Option<f64> {
        let port = self.scene.fleet.stores()[store].metrics;
        let page = tls::https_get(port, Some(&self.authority.issue("client/prometheus")), "/metrics").await.ok()?;
        let line = page.lines().find(|line| line.starts_with(name) && !line.starts_with('#'))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Waits until what a store says to those who ask whether it is ready contains this.
    pub async fn until_readyz_says(&self, store: usize, text: &str) -> String {
        let port = self.scene.fleet.stores()[store].http;
        wait::until(&format!("/readyz says {text:?}"), async || {
            crate::raw::http_get(port, "/readyz").await.filter(|said| said.contains(text))
        })
        .await
    }
}

fn sites_of(scene: &Scene) -> Vec<String> {
    let mut sites: Vec<_> = scene.fleet.stores().iter().map(|store| store.site.clone()).collect();
    sites.sort_unstable();
    sites.dedup();
    sites
}

fn folder_of(scene: &Scene, site: &str) -> PathBuf {
    scene.path(&format!("tls-{site}"))
}

fn opened(folder: &Path) -> Security {
    // Watched, so that it goes on with what it is given.
    Security::open(folder).expect("material that fits")
}

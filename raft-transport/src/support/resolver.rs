//! Names to socket addresses, on a thread of its own: a name service that hangs must not make the support thread late.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use holdfast_types::{SiteName, StoreId};
use parking_lot::{Condvar, Mutex};

/// Says to a support link, from any thread, where the stores are. Cheap to clone; all clones are one book.
#[derive(Clone)]
pub struct SupportAddresses {
    inner: Arc<Inner>,
}

struct Inner {
    book: Mutex<Book>,
    changed: Condvar,
    waker: Arc<mio::Waker>,
}

#[derive(Default)]
struct Book {
    stores: BTreeMap<StoreId, Place>,
    /// Changes with every entry: the link looks at the book only when it did.
    version: u64,
    wanted: BTreeSet<StoreId>,
    is_closed: bool,
}

/// Where a store is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) site: SiteName,
    pub(crate) target: String,
    /// What the name meant when it was last looked up.
    pub(crate) resolved: Option<SocketAddr>,
}

impl SupportAddresses {
    /// Starts the thread that looks names up; it ends with `close`.
    pub(crate) fn start(waker: Arc<mio::Waker>) -> std::io::Result<Self> {
        let inner = Arc::new(Inner { book: Mutex::default(), changed: Condvar::new(), waker });
        let addresses = Self { inner };
        let resolver = addresses.clone();
        std::thread::Builder::new().name("support-names".to_owned()).spawn(move || resolver.resolve_forever())?;
        Ok(addresses)
    }

    /// Says where a store listens for support: `host:port`. Literal addresses are used as they are, names are looked up, and again
    /// whenever a connection fails.
    pub fn set(&self, store: StoreId, site: SiteName, target: &str) {
        let mut book = self.inner.book.lock();
        if book.stores.get(&store).is_some_and(|known| known.site == site && known.target == target) {
            return;
        }
        let resolved = target.parse().ok();
        if resolved.is_none() {
            book.wanted.insert(store);
            self.inner.changed.notify_one();
        }
        book.stores.insert(store, Place { site, target: target.to_owned(), resolved });
        self.publish(book);
    }

    /// Ends the connections to and from a store that left the fleet.
    pub fn forget(&self, store: StoreId) {
        let mut book = self.inner.book.lock();
        book.stores.remove(&store);
        self.publish(book);
    }

    /// The book when it is newer than `seen`, which is moved on.
    pub(crate) fn newer(&self, seen: &mut u64) -> Option<BTreeMap<StoreId, Place>> {
        let book = self.inner.book.lock();
        if book.version == *seen {
            return None;
        }
        *seen = book.version;
        Some(book.stores.clone())
    }

    /// The store did not answer at its address: look its name up again.
    pub(crate) fn look_up(&self, store: StoreId) {
        let mut book = self.inner.book.lock();
        if book.stores.get(&store).is_some_and(|place| place.target.parse::<SocketAddr>().is_err()) {
            book.wanted.insert(store);
            self.inner.changed.notify_one();
        }
    }

    pub(crate) fn close(&self) {
        self.inner.book.lock().is_closed = true;
        self.inner.changed.notify_all();
    }

    fn publish(&self, mut book: parking_lot::MutexGuard<'_, Book>) {
        book.version += 1;
        drop(book);
        if let Err(error) = self.inner.waker.wake() {
            tracing::warn!(%error, "the support thread could not be woken; it looks by itself within a heartbeat");
        }
    }

    fn resolve_forever(&self) {
        while let Some((store, target)) = self.next_wanted() {
            // The first that is reachable at all would be better than the first; stores have one address.
            let found = target.to_socket_addrs().map(|mut found| found.next());
            let mut book = self.inner.book.lock();
            let Some(place) = book.stores.get_mut(&store).filter(|place| place.target == target) else { continue };
            match found {
                Ok(Some(resolved)) if place.resolved != Some(resolved) => {
                    place.resolved = Some(resolved);
                    self.publish(book);
                }
                Ok(_) => {}
                Err(error) => {
                    drop(book);
                    tracing::debug!(%store, target, %error, "the name of a store is not known");
                }
            }
        }
    }

    fn next_wanted(&self) -> Option<(StoreId, String)> {
        let mut book = self.inner.book.lock();
        loop {
            if book.is_closed {
                return None;
            }
            if let Some(store) = book.wanted.pop_first() {
                if let Some(place) = book.stores.get(&store) {
                    return Some((store, place.target.clone()));
                }
            } else {
                self.inner.changed.wait(&mut book);
            }
        }
    }
}

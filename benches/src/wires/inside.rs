//! Work on a thread within a network namespace.
//!
//! A namespace is a property of a thread, and of the threads and processes that it starts: a runtime that is made there, its sockets and
//! the programs that it starts all belong to it.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::thread::JoinHandle;

use anyhow::Context;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::oneshot;

use super::Place;

/// Where `ip` keeps the namespaces that have names.
pub(super) const NAMESPACES: &str = "/run/netns";
/// Threads of a runtime within a namespace, beside the one that the work begins on.
const THREADS: usize = 2;

/// Work that goes on in a namespace. Dropping it ends the work where it waits next, and waits for that.
pub struct Inside<T> {
    thread: Option<JoinHandle<()>>,
    cancel: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<anyhow::Result<T>>,
}

/// Starts work in a namespace, on a runtime of its own.
pub fn inside<T, W, F>(place: &Place, work: W) -> anyhow::Result<Inside<T>>
where
    T: Send + 'static,
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = anyhow::Result<T>>,
{
    let (cancel, cancelled) = oneshot::channel::<()>();
    let (end, ended) = oneshot::channel();
    let namespace = place.namespace.clone();
    let body = move || {
        let result = enter(&namespace).and_then(|()| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
            runtime.block_on(async {
                tokio::select! {
                    result = work() => result,
                    _ = cancelled => Err(anyhow::anyhow!("not wanted any more")),
                }
            })
        });
        // Nobody waits for work that was dropped.
        let _ = end.send(result);
    };
    let thread = std::thread::Builder::new().name(place.namespace.clone()).spawn(body)?;
    Ok(Inside { thread: Some(thread), cancel: Some(cancel), ended })
}

impl<T> Inside<T> {
    /// Waits for the end of the work.
    ///
    /// # Panics
    /// When the work did.
    pub async fn finish(mut self) -> anyhow::Result<T> {
        let result = (&mut self.ended).await;
        let joined = self.thread.take().map(JoinHandle::join);
        if let Some(Err(panic)) = joined {
            std::panic::resume_unwind(panic);
        }
        result.context("the thread ended without a word")?
    }
}

impl<T> Drop for Inside<T> {
    fn drop(&mut self) {
        drop(self.cancel.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed; it belongs to work that nobody wants.
            let _ = thread.join();
        }
    }
}

/// Moves this thread into a namespace.
fn enter(namespace: &str) -> anyhow::Result<()> {
    let path = Path::new(NAMESPACES).join(namespace);
    let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("entering {namespace}"))
}

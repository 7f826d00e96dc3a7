//! Being told to end: once, so that what is on its way arrives and the progress is kept; twice, so that nothing is waited for.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How often the program was told to end.
#[derive(Clone, Debug)]
pub struct Stop {
    told: watch::Receiver<u8>,
}

impl Stop {
    /// Listens for Ctrl-C and SIGTERM from now on.
    pub fn on_signals() -> std::io::Result<Self> {
        let (tell, told) = watch::channel(0_u8);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    () = tell.closed() => return,
                }
                tell.send_modify(|told| *told = told.saturating_add(1));
            }
        });
        Ok(Self { told })
    }

    /// One that a test tells.
    #[cfg(test)]
    pub fn by_hand() -> (watch::Sender<u8>, Self) {
        let (tell, told) = watch::channel(0_u8);
        (tell, Self { told })
    }

    /// True when it was told.
    pub fn is_wished(&self) -> bool {
        *self.told.borrow() > 0
    }

    /// Returns when it was told.
    pub async fn wished(&mut self) {
        self.at_least(1).await;
    }

    /// Returns when it was told again.
    pub async fn insisted(&mut self) {
        self.at_least(2).await;
    }

    async fn at_least(&mut self, times: u8) {
        // Nobody can tell any more.
        if self.told.wait_for(|told| *told >= times).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

//! Who is at the other end: handshakes of TLS, and what becomes of them.
//!
//! All handshakes of a port run in the task that accepts its connections, one beside the other: whoever calls, and however often, they take
//! the time of one thread at most, and nothing else waits for them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use holdfast_trust::{Callers, Party, Speaks, Trust, Unfit, explain_io};
use holdfast_types::limits;
use parking_lot::Mutex;
use rustls::{CertificateError, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::connection::{Connection, Lasts, Socket};
use crate::gate::{Admitted, Port};
use crate::stream::{Sealed, Stream, TooLong};

/// With what a port proves who it is, and who may call it.
#[derive(Clone, Debug)]
pub struct Security {
    /// Certificate, key, bundle and distrust of this process.
    pub trust: Arc<Trust>,
    /// Who may call.
    pub callers: Callers,
}

/// Why a handshake led to nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Failure {
    /// It was not over in time.
    Late,
    /// The other end left.
    Gone,
    /// It made room for others, or there was none for it.
    Crowded,
    /// Too much was sent.
    TooLong,
    /// What was sent is not TLS 1.3, or not as it should be.
    Protocol,
    /// A certificate is wanted, and none was shown.
    NoCertificate,
    /// The certificate, or one on its way to the root, has expired or is not valid yet.
    Expired,
    /// No sound way leads from the certificate to a root of the bundle.
    Untrusted,
    /// There is one, and it is the wrong certificate: of another trust domain, of nobody who may call, beyond what its authority may say.
    Unfit,
    /// Of a site that is distrusted.
    Distrusted,
    /// The other end does not take the certificate of this process.
    Refused,
}

impl Failure {
    /// All of them.
    pub const ALL: [Failure; 11] = [
        Failure::Late,
        Failure::Gone,
        Failure::Crowded,
        Failure::TooLong,
        Failure::Protocol,
        Failure::NoCertificate,
        Failure::Expired,
        Failure::Untrusted,
        Failure::Unfit,
        Failure::Distrusted,
        Failure::Refused,
    ];

    /// A short name, as in the label of a metric.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Gone => "gone",
            Self::Crowded => "crowded",
            Self::TooLong => "too_long",
            Self::Protocol => "protocol",
            Self::NoCertificate => "no_certificate",
            Self::Expired => "expired",
            Self::Untrusted => "untrusted",
            Self::Unfit => "unfit",
            Self::Distrusted => "distrusted",
            Self::Refused => "refused",
        }
    }

    /// Why TLS gave up.
    #[must_use]
    pub fn of(error: &rustls::Error) -> Self {
        use rustls::Error;
        match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::AlertReceived(_) => Self::Refused,
            Error::InvalidCertificate(why) => Self::of_certificate(why),
            _ => Self::Protocol,
        }
    }

    fn of_certificate(why: &CertificateError) -> Self {
        match why {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::Expired,
            CertificateError::BadEncoding => Self::Protocol,
            // Nothing else is refused so.
            CertificateError::Revoked => Self::Distrusted,
            CertificateError::Other(other) => match other.0.downcast_ref::<Unfit>() {
                Some(Unfit::Distrusted(_)) => Self::Distrusted,
                Some(Unfit::RootExpired { .. }) => Self::Expired,
                Some(Unfit::Missing) => Self::NoCertificate,
                Some(_) => Self::Unfit,
                None => Self::Untrusted,
            },
            _ => Self::Untrusted,
        }
    }

    /// Why the socket, or TLS upon it, gave up.
    #[must_use]
    pub fn of_io(error: &io::Error) -> Self {
        let inner = error.get_ref();
        if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::of(error);
        }
        if inner.is_some_and(|inner| inner.is::<TooLong>()) { Self::TooLong } else { Self::Gone }
    }

    fn is_worth_a_line(self) -> bool {
        // Probes connect and leave, and so do people who scan for ports.
        self != Self::Gone
    }
}

/// What became of handshakes since the start; only grows. What failed is told of in the log, each reason now and then.
#[derive(Default, Debug)]
pub struct Handshakes {
    done: AtomicU64,
    failed: [AtomicU64; Failure::ALL.len()],
    said_at: Mutex<[Option<Instant>; Failure::ALL.len()]>,
    witness: Witness,
}

/// Who hears of every handshake that failed: where it came from, why, and what there is to say of it. Must not block.
type OnFailed = Box<dyn Fn(SocketAddr, Failure, &str) + Send + Sync>;

#[derive(Default)]
struct Witness(OnceLock<OnFailed>);

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "Witness" } else { "None" })
    }
}

impl Handshakes {
    /// From here on `hears` hears of every handshake that failed, but of those whose other end only left. Set once.
    pub fn witness(&self, hears: impl Fn(SocketAddr, Failure, &str) + Send + Sync + 'static) {
        // A process has one that hears of them.
        let _ = self.witness.0.set(Box::new(hears));
    }

    /// Those that proved who is there.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Those that did not, for one reason.
    #[must_use]
    pub fn failed(&self, why: Failure) -> u64 {
        self.failed[why as usize].load(Ordering::Relaxed)
    }

    /// Those that did not.
    #[must_use]
    pub fn all_failed(&self) -> u64 {
        Failure::ALL.into_iter().map(|why| self.failed(why)).sum()
    }

    /// Counts one that proved who is there.
    pub fn note_done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one that did not. `port`: whose it was; `says`: what there is to say of it.
    pub fn note_failed(&self, port: &str, from: SocketAddr, why: Failure, says: &str) {
        let count = self.failed[why as usize].fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(hears) = self.witness.0.get().filter(|_| why.is_worth_a_line()) {
            hears(from, why, says);
        }
        let now = Instant::now();
        // Strangers cause these lines: of each reason, one now and then is enough.
        let said_at = &mut self.said_at.lock()[why as usize];
        if said_at.is_some_and(|said| now.duration_since(said) < limits::TURNED_AWAY_SAID_EVERY) {
            return;
        }
        *said_at = Some(now);
        let reason = why.as_str();
        if why.is_worth_a_line() {
            tracing::warn!(port, %from, reason, count, "nobody was let in: {says}");
        } else {
            tracing::debug!(port, %from, reason, count, "nobody was let in: {says}");
        }
    }
}

/// Why nothing begins in the second in which a certificate is valid for the last time.
pub const EXPIRES_NOW: &str = "a certificate expires at this very moment";

/// Which end of a connection this process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It was called.
    Called,
    /// It calls, and ends the connection first: it can call again before anybody misses it.
    Calling,
}

/// How long a connection may stand that both certificates stand behind, `other` being `None` for an end that showed none: until a while before
/// the earlier one expires, and not the same while for all. When it is that late already, until it expires.
#[must_use]
pub fn time_left(own: &Party, other: Option<&Party>, end: End, now: SystemTime) -> Duration {
    let first = other.filter(|other| other.expires_at < own.expires_at).unwrap_or(own);
    let life = first.expires_at.duration_since(first.issued_at).unwrap_or_default();
    let left = first.expires_at.duration_since(now).unwrap_or_default();
    let margin = limits::END_BEFORE_EXPIRY.min(life / 10);
    let whole = margin * if end == End::Called { 1 } else { 2 };
    if left <= whole + margin {
        return left;
    }
    let part = f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX);
    left - whole - margin.mul_f64(part)
}

/// What stands between a caller and his requests: the configuration of a port, and its handshakes.
#[derive(Clone)]
pub(crate) struct Keeper {
    port: Arc<Port>,
    security: Security,
    config: Arc<ServerConfig>,
}

impl Keeper {
    pub(crate) fn new(port: Arc<Port>, security: Security) -> Self {
        let speaks = if port.limits.speaks_http2 { Speaks::Grpc } else { Speaks::Http };
        let config = security.trust.server_for(security.callers, speaks);
        Self { port, security, config }
    }

    /// The connection, once it has proved who is there; `None`: it did not.
    pub(crate) async fn prove(self, admitted: Admitted) -> Option<Socket> {
        let Admitted { stream, connection, seat } = admitted;
        let proved = tokio::select! {
            biased;
            why = connection.ended() => Err((Failure::Crowded, why.to_owned())),
            proved = tokio::time::timeout(self.port.limits.handshake_within, self.shake(stream, &connection)) => {
                proved.unwrap_or_else(|_| Err((Failure::Late, "the handshake was not over in time".to_owned())))
            }
        };
        match proved {
            Ok((stream, lasts)) => {
                self.port.handshakes().note_done();
                Some(Socket::new(stream, connection, &self.port, seat, lasts))
            }
            Err((why, says)) => {
                self.port.handshakes().note_failed(self.port.name, connection.from, why, &says);
                None
            }
        }
    }

    async fn shake(
        &self,
        stream: TcpStream,
        connection: &Arc<Connection>,
    ) -> Result<(Stream, Lasts), (Failure, String)> {
        let turn = self.port.turns.turn(connection).await;
        // It may be another one a moment later; what counts is which one was shown, and the older one expires first.
        let own = self.security.trust.own();
        let sealed = match Sealed::accept(stream, Arc::clone(&self.config), &connection.account).await {
            Ok(sealed) => sealed,
            Err((error, stream)) => {
                drop(turn);
                let failure = (Failure::of_io(&error), explain_io(&error).unwrap_or_else(|| error.to_string()));
                linger(stream).await;
                return Err(failure);
            }
        };
        let party = Party::at_other_end(sealed.session()).map_err(|why| (Failure::Unfit, why.to_string()))?;
        let left = time_left(&own, party.as_ref(), End::Called, SystemTime::now());
        if left.is_zero() {
            return Err((Failure::Expired, EXPIRES_NOW.to_owned()));
        }
        if let Some(party) = party {
            connection.prove(party.clone());
            // Whoever ends connections of a site that is distrusted either finds this one, or had it distrusted before this question.
            if self.security.trust.is_distrusted(&party.principal) {
                return Err((Failure::Distrusted, format!("{} is distrusted", party.principal)));
            }
        }
        Ok((Stream::Tls(Box::new(sealed)), Lasts::until_expiry(left)))
    }
}

/// Why it was refused has been said to the other end: the kernel throws that away with the connection while anything lies there unread.
async fn linger(mut stream: TcpStream) {
    let leave = async {
        stream.shutdown().await?;
        let (mut unread, mut buffer) = (0, [0; 1 << 10]);
        while unread < limits::HANDSHAKE_READ_BYTES {
            match stream.read(&mut buffer).await? {
                0 => break,
                bytes => unread += bytes,
            }
        }
        io::Result::Ok(())
    };
    // Whether it was heard or not, the connection is over.
    let _ = tokio::time::timeout(limits::HANDSHAKE_LINGER, leave).await;
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;

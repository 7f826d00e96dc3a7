//! Why a handshake failed, in a sentence for whoever must mend it.

use std::io;
use std::time::SystemTime;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::error::at;
use crate::party::shown;
use crate::verify::system_time;

/// What went wrong, and where the reason is to be looked for. Holds no secret, and at most a few lines of what the other end said.
#[must_use]
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => explain_certificate(why),
        Error::AlertReceived(alert) => explain_alert(*alert),
        Error::NoCertificatesPresented => "the other end showed no certificate".to_owned(),
        Error::NoApplicationProtocol => {
            "the other end wants to speak something else: is this the right port?".to_owned()
        }
        Error::PeerIncompatible(why) => format!("the other end speaks no TLS 1.3 as it is spoken here ({why:?})"),
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::MessageTooLarge) => {
            "the other end does not speak TLS: is this the right port, and is TLS on there?".to_owned()
        }
        other => shown(&other.to_string()),
    }
}

/// The same of an error of a stream, when TLS is what went wrong.
#[must_use]
pub fn explain_io(error: &io::Error) -> Option<String> {
    let inner = error.get_ref()?;
    inner.downcast_ref::<Error>().map(explain)
}

fn explain_certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate of the other end, or of its authority, expired at {}", told(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the certificate of the other end is valid from {} on: one of the two clocks is wrong",
            told(*not_before)
        ),
        CertificateError::UnknownIssuer => {
            "the certificate of the other end leads to no root of our bundle: it is of another fleet, or its root is missing in ca.crt"
                .to_owned()
        }
        CertificateError::BadSignature => "the other end does not have the key of the certificate that it shows".to_owned(),
        CertificateError::InvalidPurpose => {
            "the certificate of the other end is not made for this use: stores need server auth and client auth, everybody else client auth"
                .to_owned()
        }
        // Nothing else is refused so: see `verify`.
        CertificateError::Revoked => "the other end is a store of a site that is distrusted".to_owned(),
        CertificateError::Other(other) => format!("the certificate of the other end is refused: {}", other.0),
        other => format!("the certificate of the other end is refused: {}", shown(&other.to_string())),
    }
}

/// What the other end says of us. It says little: the sentence is in its log.
fn explain_alert(alert: AlertDescription) -> String {
    let says = match alert {
        AlertDescription::CertificateExpired => "that our certificate has expired, or is not valid yet by its clock",
        AlertDescription::UnknownCA => "that our certificate leads to no root of its bundle",
        AlertDescription::CertificateRequired => "that it wants a certificate, and we have shown none",
        AlertDescription::UnsupportedCertificate => "that our certificate is not made for this use",
        AlertDescription::CertificateRevoked => "that the fleet distrusts the site of this store",
        AlertDescription::NoApplicationProtocol => "that it speaks something else: is this the right port?",
        AlertDescription::ProtocolVersion => "that it does not speak our version of TLS",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => "that it refuses our certificate; why is in its log",
        other => return format!("the other end ended the handshake ({other:?})"),
    };
    format!("the other end says {says}")
}

/// Of a path that webpki refuses.
pub(crate) fn explain_path(why: &webpki::Error) -> String {
    use webpki::Error as Path;
    match why {
        Path::CertExpired { not_after, .. } => format!("a certificate expired at {}", told(*not_after)),
        Path::CertNotValidYet { not_before, .. } => format!("a certificate is valid from {} on", told(*not_before)),
        Path::UnknownIssuer | Path::InvalidSignatureForPublicKey => {
            "no root of it, and no authority that comes along, has signed it".to_owned()
        }
        Path::CaUsedAsEndEntity => "it is the certificate of an authority".to_owned(),
        Path::NameConstraintViolation => "it has a name that its authority may not give".to_owned(),
        Path::RequiredEkuNotFoundContext(_) => {
            "it is not made for this use: stores need server auth and client auth, everybody else client auth"
                .to_owned()
        }
        other => shown(&format!("{other:?}")),
    }
}

fn told(time: rustls::pki_types::UnixTime) -> humantime::Rfc3339Timestamp {
    at(clamped(system_time(time)))
}

/// Sentences can tell no year of five digits.
fn clamped(time: SystemTime) -> SystemTime {
    time.min(crate::party::latest())
}

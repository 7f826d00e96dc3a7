//! Why something went wrong on the way to a store, in a clause: the cause at the bottom, not each layer that it came up through.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::error::Error;
use std::{fmt, io};

use holdfast_trust::Unfit;
use holdfast_trust::connect::TlsFailure;
use holdfast_types::limits;
use rustls::{AlertDescription, CertificateError};
use tonic::{Code, Status};

use crate::untrusted::Doubt;

/// A cause, and whether it is that one end did not believe the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Why {
    text: String,
    doubt: Option<Doubt>,
}

impl Why {
    /// A cause that has nothing to do with who is at either end.
    pub(super) fn other(text: impl Into<String>) -> Self {
        Self { text: short(text.into()), doubt: None }
    }

    /// One end did not believe the other.
    pub(super) fn doubted(doubt: Doubt, text: impl Into<String>) -> Self {
        Self { text: short(text.into()), doubt: Some(doubt) }
    }

    /// What was doubted, if one end did not believe the other: then nothing was asked.
    pub(super) fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.doubt.map_or(Ok(()), |doubt| write!(f, ": {}", doubt.advice()))
    }
}

impl Error for Why {}

/// Of a call.
pub(super) fn of_status(status: &Status) -> Why {
    match (status.code(), status.source()) {
        (Code::Unauthenticated, None) => Why::doubted(Doubt::Token, status.message()),
        (_, Some(source)) => of_error(source),
        (_, None) => Why::other(status.message()),
    }
}

/// Of a connection.
pub(super) fn of_error(error: &(dyn Error + 'static)) -> Why {
    let mut cause = error;
    loop {
        if let Some(why) = cause.downcast_ref::<Why>() {
            return why.clone();
        }
        if let Some(failure) = cause.downcast_ref::<io::Error>().and_then(tls_failure) {
            let text = failure.to_string();
            return match doubt_of(&failure.cause) {
                Some(doubt) => Why::doubted(doubt, text),
                None => Why::other(text),
            };
        }
        match cause.source() {
            Some(deeper) => cause = deeper,
            None => return Why::other(cause.to_string()),
        }
    }
}

fn tls_failure(error: &io::Error) -> Option<&TlsFailure> {
    error.get_ref()?.downcast_ref()
}

fn doubt_of(cause: &rustls::Error) -> Option<Doubt> {
    match cause {
        rustls::Error::InvalidCertificate(refused) => Some(doubt_of_store(refused)),
        rustls::Error::AlertReceived(alert) => doubt_of_us(*alert),
        // What came is no record of TLS, or of no TLS that is spoken here.
        rustls::Error::InvalidMessage(_) => Some(Doubt::NoTls),
        _ => None,
    }
}

fn doubt_of_store(refused: &CertificateError) -> Doubt {
    match refused {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Doubt::StoreExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Doubt::StoreNotYetValid,
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Doubt::StoreUnknown,
        CertificateError::Other(other) => match other.0.downcast_ref() {
            Some(Unfit::RootExpired { .. }) => Doubt::StoreExpired,
            _ => Doubt::StoreUnfit,
        },
        _ => Doubt::StoreUnfit,
    }
}

/// The other end says little, because everybody could read it.
fn doubt_of_us(alert: AlertDescription) -> Option<Doubt> {
    match alert {
        AlertDescription::CertificateExpired => Some(Doubt::OwnExpired),
        AlertDescription::UnknownCA => Some(Doubt::OwnUnknown),
        AlertDescription::CertificateRequired => Some(Doubt::OwnMissing),
        AlertDescription::CertificateRevoked => Some(Doubt::OwnDistrusted),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => Some(Doubt::OwnRefused),
        _ => None,
    }
}

/// Whoever answers chose how long it is.
fn short(mut text: String) -> String {
    if text.len() > limits::MAX_SENTENCE_BYTES {
        text.truncate(text.floor_char_boundary(limits::MAX_SENTENCE_BYTES.saturating_sub("...".len())));
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_says_is_cut_and_what_a_token_lacks_is_known() {
        let long = of_status(&Status::internal("x".repeat(1 << 20)));
        assert!(long.to_string().len() <= limits::MAX_SENTENCE_BYTES && long.doubt().is_none());
        let token = of_status(&Status::unauthenticated("the token has expired"));
        assert_eq!(token.doubt(), Some(Doubt::Token));
        assert!(token.to_string().starts_with("the token has expired: see that it is meant for this fleet"), "{token}");
    }

    #[test]
    fn alerts_are_about_us_and_refusals_about_the_store() {
        let of = |cause: rustls::Error| doubt_of(&cause);
        let alert = |alert| of(rustls::Error::AlertReceived(alert));
        assert_eq!(alert(AlertDescription::CertificateExpired), Some(Doubt::OwnExpired));
        assert_eq!(alert(AlertDescription::UnknownCA), Some(Doubt::OwnUnknown));
        assert_eq!(alert(AlertDescription::CertificateRevoked), Some(Doubt::OwnDistrusted));
        assert_eq!(alert(AlertDescription::AccessDenied), Some(Doubt::OwnRefused));
        assert_eq!(alert(AlertDescription::InternalError), None, "that says nothing of either certificate");
        let refused = |why| of(rustls::Error::InvalidCertificate(why));
        assert_eq!(refused(CertificateError::Expired), Some(Doubt::StoreExpired));
        assert_eq!(refused(CertificateError::UnknownIssuer), Some(Doubt::StoreUnknown));
        assert_eq!(refused(CertificateError::ApplicationVerificationFailure), Some(Doubt::StoreUnfit));
    }
}

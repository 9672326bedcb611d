//! What goes wrong in TLS, in words for the person who set it up.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// Whether it was TLS that failed, and not the connection below it.
pub fn is_tls(err: &io::Error) -> bool {
    cause(err).is_some()
}

fn cause(err: &io::Error) -> Option<&Error> {
    err.get_ref().and_then(|cause| cause.downcast_ref::<Error>())
}

/// What happened on a connection, said of the other end.
pub fn words(err: &io::Error) -> String {
    match cause(err) {
        Some(err) => of_tls(err),
        None if err.kind() == io::ErrorKind::UnexpectedEof => "it closed the connection".into(),
        None => err.to_string(),
    }
}

fn of_tls(err: &Error) -> String {
    match err {
        Error::InvalidMessage(_) => "it does not speak TLS".into(),
        Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoKxGroupsInCommon,
        ) => "it knows no cipher that is still safe".into(),
        Error::PeerIncompatible(_) => format!("it does not speak TLS 1.2 or later as we do ({err})"),
        Error::InvalidCertificate(err) => of_certificate(err),
        Error::AlertReceived(alert) => of_alert(*alert),
        err => err.to_string(),
    }
}

fn of_certificate(err: &CertificateError) -> String {
    match err {
        CertificateError::ApplicationVerificationFailure => {
            "its certificate is not the one that is expected of it".into()
        }
        CertificateError::UnknownIssuer => "its certificate is from no authority that is trusted".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: are the clocks right?".into()
        }
        CertificateError::BadSignature => {
            "its certificate is not signed by whom it says, or it does not hold the key".into()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = if presented.is_empty() { "no name at all".into() } else { presented.join(", ") };
            format!("its certificate is not for {}, but for {names}", expected.to_str())
        }
        err => format!("its certificate cannot be used: {err}"),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::ProtocolVersion => "it does not speak TLS 1.2 or later".into(),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "it knows no cipher that is still safe".into()
        }
        AlertDescription::CertificateRequired => "it asks for a certificate of ours".into(),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => format!("it does not trust our certificate ({alert:?})"),
        alert => format!("it ended the handshake ({alert:?})"),
    }
}

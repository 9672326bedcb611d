//! How we answer: HTTPS, and DICOM over TLS.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

use super::Identity;

impl Identity {
    /// For the pages.
    pub fn https(&self) -> Result<ServerConfig, Error> {
        let mut config = super::server()?.with_no_client_auth().with_cert_resolver(self.current());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// For DICOM. A caller may show a certificate; whether it has to, and which one, says the table of peers, once the
    /// caller has said who it is.
    pub fn dicom(&self) -> Result<Arc<ServerConfig>, Error> {
        let algorithms = super::provider().signature_verification_algorithms;
        let verifier = Arc::new(AnyHolder { algorithms });
        let mut config =
            super::server()?.with_client_cert_verifier(verifier).with_cert_resolver(self.current());
        // Associations are few and long; without resumption each one shows its certificate anew.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

/// Takes every certificate whose key the caller proves to hold. Who issued it and until when it is good is no matter,
/// because nothing is believed of it: only the fingerprint counts, where one is pinned.
#[derive(Debug)]
struct AnyHolder {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyHolder {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

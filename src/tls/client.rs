//! How we connect to others, and whom we believe to be who we want.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::{Fingerprint, Identity};

/// With what a connection is made secure.
#[derive(Debug, Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

/// Why there is no [`Client`].
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of trusted authorities.
    #[error("{0}")]
    Authorities(String),
    /// Neither a name nor an address.
    #[error("{0:?} is not a name that a certificate can be for")]
    ServerName(String),
    /// A defect of ours.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] TlsError),
}

impl Client {
    /// Believes the one certificate with this fingerprint, whoever issued it.
    pub fn pinned(fingerprint: Fingerprint, identity: Option<&Identity>) -> Result<Client, ClientError> {
        let algorithms = super::provider().signature_verification_algorithms;
        let mut config = config(Arc::new(Pinned { fingerprint, algorithms }), identity)?;
        config.enable_sni = false; // the name means nothing
        Ok(Client { config: Arc::new(config), server_name: name("pinned.invalid")? })
    }

    /// Believes a certificate for this name that one of the authorities in the file has issued.
    pub fn trusting(
        authorities: &Path,
        server_name: &str,
        identity: Option<&Identity>,
    ) -> Result<Client, ClientError> {
        let shown = authorities.display();
        let wrong = |text: String| ClientError::Authorities(text);
        let bytes = std::fs::read(authorities).map_err(|err| wrong(format!("cannot read {shown}: {err}")))?;
        let certificates = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, pem::Error>>();
        let certificates =
            certificates.map_err(|err| wrong(format!("the PEM in {shown} is damaged: {err}")))?;
        let mut roots = RootCertStore::empty();
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(wrong(format!("there is no certificate of an authority in {shown}")));
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), super::provider())
            .build()
            .map_err(|err| wrong(format!("the certificates in {shown} cannot be used: {err}")))?;
        let config = config(verifier, identity)?;
        Ok(Client { config: Arc::new(config), server_name: name(server_name)? })
    }

    /// Makes a connection secure.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(self.config.clone());
        connector.connect(self.server_name.clone(), stream).await.map(TlsStream::Client)
    }
}

/// What is done with every server, whoever it is.
fn config(
    verifier: Arc<dyn ServerCertVerifier>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, ClientError> {
    let config = super::client()?.dangerous().with_custom_certificate_verifier(verifier);
    Ok(match identity {
        Some(identity) => config.with_client_cert_resolver(identity.current()),
        None => config.with_no_client_auth(),
    })
}

fn name(text: &str) -> Result<ServerName<'static>, ClientError> {
    ServerName::try_from(text.to_owned()).map_err(|_| ClientError::ServerName(text.to_owned()))
}

/// Takes one certificate, if the peer proves to hold its key.
#[derive(Debug)]
struct Pinned {
    fingerprint: Fingerprint,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if Fingerprint::of(end_entity) == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(TlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

//! TLS 1.2 and 1.3 with rustls, for the pages, for DICOM and towards other AEs: the profile of BCP 195 that PS3.15
//! Annex B asks for.
//!
//! [`Identity`] is our certificate and its key, read again when its files change. Peers are told apart by the
//! [`Fingerprint`] of their certificate, which an administrator has pinned: a certificate that a device made for itself
//! is as good as one from an authority. [`Client`] is how we connect to others.

mod client;
mod fingerprint;
mod identity;
mod server;
mod words;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ConfigBuilder, ServerConfig, WantsVerifier};

pub use self::client::{Client, ClientError};
pub use self::fingerprint::{Fingerprint, NoCertificate};
pub use self::identity::{Identity, IdentityError};
pub use self::words::{is_tls, words};

/// What everything else does with cryptography comes from here, whichever other crates are built in.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn server() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, rustls::Error> {
    ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13, &TLS12])
}

fn client() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13, &TLS12])
}

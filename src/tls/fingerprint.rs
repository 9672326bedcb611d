//! Certificates by their SHA-256: what is pinned of a peer.

use std::fmt;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::server::ParsedCertificate;
use sha2::{Digest, Sha256};

/// SHA-256 of a certificate in DER. Written as openssl writes it, in pairs of digits with colons between.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Why a text is no certificate that can be pinned. A sentence without its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCertificate {
    /// No PEM of that kind.
    #[error("there is no certificate in it: it begins with -----BEGIN CERTIFICATE-----")]
    None,
    /// Somebody took the wrong file, and may have shown what nobody else should see.
    #[error("it is a private key, which its owner alone should have: the certificate is another file")]
    Key,
    /// PEM whose inside is broken.
    #[error("the certificate in it is damaged: copy all of it, both lines with dashes included")]
    Damaged,
    /// Something else than an X.509 certificate of version 3.
    #[error("the certificate in it cannot be used: an X.509 certificate of version 3 is needed")]
    Unusable,
}

impl Fingerprint {
    /// Of this certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Fingerprint {
        Fingerprint(Sha256::digest(certificate).into())
    }

    /// Of the first certificate in a PEM text.
    pub fn from_pem(text: &str) -> Result<Fingerprint, NoCertificate> {
        let certificate = match CertificateDer::from_pem_slice(text.as_bytes()) {
            Ok(certificate) => certificate,
            Err(pem::Error::NoItemsFound) if text.contains("PRIVATE KEY-----") => {
                return Err(NoCertificate::Key);
            }
            Err(pem::Error::NoItemsFound) => return Err(NoCertificate::None),
            Err(_) => return Err(NoCertificate::Damaged),
        };
        // What cannot be taken apart here cannot be shown in a handshake either.
        ParsedCertificate::try_from(&certificate).map_err(|_| NoCertificate::Unusable)?;
        Ok(Fingerprint::of(&certificate))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for Fingerprint {
    type Error = Vec<u8>;

    fn try_from(bytes: Vec<u8>) -> Result<Fingerprint, Vec<u8>> {
        bytes.try_into().map(Fingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|byte| format!("{byte:02X}")).collect();
        f.write_str(&pairs.join(":"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_of_a_certificate_is_the_sha_256_of_its_der() {
        let made = rcgen::generate_simple_self_signed(["ct01".to_owned()]).expect("a certificate");
        let fingerprint = Fingerprint::from_pem(&made.cert.pem()).expect("a certificate");

        assert_eq!(fingerprint.as_bytes(), Sha256::digest(made.cert.der()).as_slice());
        assert_eq!(Fingerprint::try_from(fingerprint.as_bytes().to_vec()), Ok(fingerprint));
        assert_eq!(fingerprint.to_string().len(), 32 * 3 - 1);
        assert!(Fingerprint::try_from(vec![0; 31]).is_err());
    }

    #[test]
    fn what_is_no_certificate_says_why() {
        let made = rcgen::generate_simple_self_signed(["ct01".to_owned()]).expect("a certificate");
        let pem = made.cert.pem();
        let cut = pem.get(..pem.len() / 2).expect("a half");
        for (text, why) in [
            ("", NoCertificate::None),
            ("CT01", NoCertificate::None),
            (made.signing_key.serialize_pem().as_str(), NoCertificate::Key),
            (cut, NoCertificate::Damaged),
            ("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", NoCertificate::Damaged),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", NoCertificate::Unusable),
        ] {
            assert_eq!(Fingerprint::from_pem(text), Err(why), "{text}");
        }
    }
}

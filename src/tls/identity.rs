//! Our certificate and its key: read from two PEM files, checked against each other, and read again when the files
//! change, so that a renewed certificate needs no restart. Connections that are open keep what they began with.

use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error as TlsError, InconsistentKeys, SignatureScheme};

/// How often the files are looked at. What is being written is left alone until the next look.
const LOOK: Duration = Duration::from_secs(2);

/// Anybody else than the owner and the group may read.
const READABLE_BY_OTHERS: u32 = 0o004;

/// Who we are in TLS. Cheap to clone; all clones change together.
#[derive(Clone)]
pub struct Identity(Arc<Files>);

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// The files as they were just before they were read.
    read: State,
    current: Arc<Current>,
}

/// What handshakes are made with from now on.
#[derive(Debug)]
pub(super) struct Current(RwLock<Arc<CertifiedKey>>);

/// What is wrong with the files, a sentence each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// With the file of the certificate.
    #[error("{0}")]
    Certificate(String),
    /// With the file of the key, or the two do not belong together.
    #[error("{0}")]
    Key(String),
}

/// By what a change of the files is noticed: of each file its inode, length and time. A file that is not there is a
/// state too.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State([Option<(u64, u64, i64, i64)>; 2]);

impl Identity {
    /// Reads the pair, or tells all that is wrong with it.
    pub fn load(certificate: &Path, key: &Path) -> Result<Identity, Vec<IdentityError>> {
        let read = State::of(certificate, key);
        let pair = pair(certificate, key)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(pair))));
        Ok(Identity(Arc::new(Files { certificate: certificate.into(), key: key.into(), read, current })))
    }

    /// What an administrator should know of the files although they do.
    pub fn warning(&self) -> Option<String> {
        let path = self.0.key.display();
        let mode = fs::metadata(&self.0.key).ok()?.permissions().mode();
        (mode & READABLE_BY_OTHERS != 0).then(|| {
            format!("every account of this machine can read the TLS key {path}: make it private with chmod o= {path}")
        })
    }

    /// Looks at the files now and then and takes them over when they have changed. Never ends; what is half-written or
    /// does not fit leaves the pair that was there.
    pub async fn keep_current(self) {
        let mut watch = Watch::of(&self);
        loop {
            tokio::time::sleep(LOOK).await;
            let looked = move || {
                watch.look();
                watch
            };
            watch = match tokio::task::spawn_blocking(looked).await {
                Ok(watch) => watch,
                Err(err) => {
                    tracing::error!(%err, "changes of the TLS certificate are not noticed any more");
                    return;
                }
            };
        }
    }

    pub(super) fn current(&self) -> Arc<Current> {
        self.0.current.clone()
    }
}

/// What was seen of the files.
struct Watch {
    files: Arc<Files>,
    /// As they were when they were read last, whether they could be used or not.
    tried: State,
    /// As they were at the last look.
    before: State,
}

impl Watch {
    fn of(identity: &Identity) -> Watch {
        let read = identity.0.read.clone();
        Watch { files: identity.0.clone(), tried: read.clone(), before: read }
    }

    fn look(&mut self) {
        let now = State::of(&self.files.certificate, &self.files.key);
        // Twice the same: whoever writes them is done.
        if now != self.tried && now == self.before {
            self.files.take_over();
            self.tried = now.clone();
        }
        self.before = now;
    }
}

impl Files {
    fn take_over(&self) {
        let certificate = self.certificate.display();
        match pair(&self.certificate, &self.key) {
            Ok(pair) => {
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                tracing::info!("the TLS certificate {certificate} has changed and is used from now on");
            }
            Err(mistakes) => {
                let why: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                tracing::warn!(
                    "the TLS certificate {certificate} has changed and cannot be used, so the one before stays: {}",
                    why.join("; ")
                );
            }
        }
    }
}

impl Current {
    fn get(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Without the key, wherever it is shown.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.0.certificate.display())
    }
}

impl State {
    fn of(certificate: &Path, key: &Path) -> State {
        let seen = |file: Metadata| (file.ino(), file.len(), file.mtime(), file.mtime_nsec());
        State([certificate, key].map(|path| fs::metadata(path).ok().map(seen)))
    }
}

/// A chain and its key that belong together.
fn pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, Vec<IdentityError>> {
    let (chain, signing) = match (chain(certificate), signing_key(key)) {
        (Ok(chain), Ok(signing)) => (chain, signing),
        (chain, signing) => {
            let chain = chain.err().map(IdentityError::Certificate);
            return Err(chain.into_iter().chain(signing.err().map(IdentityError::Key)).collect());
        }
    };
    let pair = CertifiedKey::new(chain, signing);
    match pair.keys_match() {
        Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
        Err(_) => Err(vec![IdentityError::Key(format!(
            "the key in {} does not belong to the certificate in {}",
            key.display(),
            certificate.display()
        ))]),
    }
}

/// All certificates of a file, ours first.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let bytes = fs::read(path).map_err(|err| format!("cannot read {shown}: {err}"))?;
    let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, pem::Error>>();
    let chain = chain.map_err(|err| format!("the PEM in {shown} is damaged: {err}"))?;
    let Some(first) = chain.first() else {
        return Err(format!(
            "there is no certificate in {shown}: PEM is needed, -----BEGIN CERTIFICATE-----"
        ));
    };
    ParsedCertificate::try_from(first)
        .map_err(|err| format!("the first certificate in {shown} cannot be used: {err}"))?;
    Ok(chain)
}

fn signing_key(path: &Path) -> Result<Arc<dyn SigningKey>, String> {
    let shown = path.display();
    let bytes = fs::read(path).map_err(|err| format!("cannot read {shown}: {err}"))?;
    let key = match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => key,
        Err(pem::Error::NoItemsFound) => {
            let is_encrypted = bytes.windows(9).any(|bytes| bytes == b"ENCRYPTED");
            return Err(match is_encrypted {
                true => format!(
                    "the key in {shown} is encrypted with a password: take it off with openssl pkey -in {shown} -out FILE"
                ),
                false => {
                    format!("there is no private key in {shown}: PEM is needed, -----BEGIN PRIVATE KEY-----")
                }
            });
        }
        Err(err) => return Err(format!("the PEM in {shown} is damaged: {err}")),
    };
    super::provider().key_provider.load_private_key(key).map_err(|_| {
        format!("the key in {shown} cannot be used: RSA of 2048 bits or more, P-256, P-384 and Ed25519 can")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair {
        folder: tempfile::TempDir,
    }

    impl Pair {
        fn new() -> Pair {
            let pair = Pair { folder: tempfile::tempdir().expect("a folder") };
            pair.renew();
            pair
        }

        fn renew(&self) {
            let made = rcgen::generate_simple_self_signed(["pacs".to_owned()]).expect("a certificate");
            fs::write(self.certificate(), made.cert.pem()).expect("written");
            fs::write(self.key(), made.signing_key.serialize_pem()).expect("written");
        }

        fn certificate(&self) -> PathBuf {
            self.folder.path().join("certificate.pem")
        }

        fn key(&self) -> PathBuf {
            self.folder.path().join("key.pem")
        }

        fn mistakes(&self) -> String {
            let mistakes = Identity::load(&self.certificate(), &self.key()).expect_err("mistakes");
            mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
    }

    #[test]
    fn a_pair_is_read_and_each_mistake_has_its_sentence() {
        let pair = Pair::new();
        assert!(Identity::load(&pair.certificate(), &pair.key()).is_ok());

        let key = fs::read(pair.key()).expect("a key");
        fs::write(
            pair.key(),
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        )
        .expect("written");
        assert!(pair.mistakes().contains("encrypted with a password"), "{}", pair.mistakes());
        fs::write(pair.key(), b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
            .expect("written");
        assert!(pair.mistakes().contains("cannot be used"), "{}", pair.mistakes());
        fs::copy(pair.certificate(), pair.key()).expect("copied");
        assert!(pair.mistakes().contains("there is no private key in"), "{}", pair.mistakes());
        fs::write(pair.key(), key).expect("written");

        let other = Pair::new();
        fs::copy(other.certificate(), pair.certificate()).expect("copied");
        assert!(pair.mistakes().contains("does not belong to"), "{}", pair.mistakes());
    }

    #[test]
    fn what_is_wrong_with_both_files_is_told_together() {
        let pair = Pair::new();
        fs::write(pair.certificate(), "nothing").expect("written");
        fs::remove_file(pair.key()).expect("removed");
        let told = pair.mistakes();
        assert!(told.contains("there is no certificate in") && told.contains("cannot read"), "{told}");
    }

    #[test]
    fn a_key_that_all_may_read_is_worth_a_warning() {
        let pair = Pair::new();
        let identity = Identity::load(&pair.certificate(), &pair.key()).expect("a pair");
        for (mode, warns) in [(0o644, true), (0o640, false), (0o600, false)] {
            fs::set_permissions(pair.key(), fs::Permissions::from_mode(mode)).expect("changed");
            assert_eq!(identity.warning().is_some(), warns, "{mode:o}");
        }
    }

    #[test]
    fn a_changed_pair_is_taken_over_when_it_is_whole_and_a_broken_one_is_not() {
        let pair = Pair::new();
        let identity = Identity::load(&pair.certificate(), &pair.key()).expect("a pair");
        let shown = || identity.current().get().cert.clone();
        let first = shown();
        let mut watch = Watch::of(&identity);

        fs::write(pair.certificate(), "half of it").expect("written");
        watch.look();
        watch.look();
        assert_eq!(shown(), first);

        pair.renew();
        watch.look();
        assert_eq!(shown(), first, "it may be being written");
        watch.look();
        assert_ne!(shown(), first);
    }
}

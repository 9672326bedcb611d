//! Certificates for tests, and the two independent ends of TLS: openssl as a client, and a browser of a few lines.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use filmroom::tls::{Fingerprint, Identity};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate that vouches for itself, for localhost and 127.0.0.1, and its key, in a folder of its own.
pub struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    /// Makes one.
    pub fn new() -> Pair {
        Pair::named("localhost")
    }

    /// Makes one for this name and 127.0.0.1.
    pub fn named(name: &str) -> Pair {
        let pair = Pair { folder: tempfile::tempdir().expect("a folder") };
        pair.renew(name);
        pair
    }

    /// Puts another certificate and another key in their place.
    pub fn renew(&self, name: &str) {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let names = [name.to_owned(), "127.0.0.1".to_owned()];
        let mut parameters = rcgen::CertificateParams::new(names).expect("names");
        // Authorities are looked for by their subject.
        let subject = format!("{name} {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        parameters.distinguished_name.push(rcgen::DnType::CommonName, subject);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        std::fs::write(self.certificate(), certificate.pem()).expect("written");
        std::fs::write(self.key(), key.serialize_pem()).expect("written");
    }

    /// The file of the certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// The file of the key.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// The certificate as text.
    pub fn pem(&self) -> String {
        std::fs::read_to_string(self.certificate()).expect("a certificate")
    }

    /// What an administrator pins.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::from_pem(&self.pem()).expect("a certificate")
    }

    /// What the server loads.
    pub fn identity(&self) -> Identity {
        Identity::load(&self.certificate(), &self.key()).expect("a pair")
    }
}

/// What `openssl s_client` said, both of its outputs.
pub struct Said {
    pub is_connected: bool,
    pub text: String,
}

/// Connects with openssl and closes at once. It is let down to the oldest ciphers, so that what is refused is refused
/// by the other end.
pub async fn s_client(to: SocketAddr, options: &[&str]) -> Said {
    let out = tokio::process::Command::new("openssl")
        .args(["s_client", "-connect", &to.to_string(), "-cipher", "DEFAULT:@SECLEVEL=0"])
        .args(options)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("openssl, of the Debian package of this name");
    let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Said { is_connected: out.status.success(), text }
}

/// A server of openssl that speaks every version and every cipher it knows; killed when dropped.
pub struct LaxServer {
    _child: tokio::process::Child,
    pub address: SocketAddr,
}

impl LaxServer {
    /// Starts it with this certificate.
    pub async fn start(pair: &Pair) -> LaxServer {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let mut command = tokio::process::Command::new("openssl");
        command.args([
            "s_server",
            "-quiet",
            "-accept",
            &address.to_string(),
            "-cipher",
            "DEFAULT:@SECLEVEL=0",
        ]);
        command.arg("-cert").arg(pair.certificate()).arg("-key").arg(pair.key());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().expect("openssl, of the Debian package of this name");
        super::eventually("openssl listens", async || TcpStream::connect(address).await.is_ok()).await;
        LaxServer { _child: child, address }
    }
}

/// A connection by HTTPS that believes one certificate.
pub struct Browser {
    stream: TlsStream<TcpStream>,
}

impl Browser {
    /// Connects to 127.0.0.1 at this port, and takes the certificate of `pair` alone.
    pub async fn connect(to: SocketAddr, pem: &str) -> std::io::Result<Browser> {
        use rustls::pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        roots.add(certificate).expect("a certificate that vouches for itself");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let socket = TcpStream::connect(to).await?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
        Ok(Browser { stream })
    }

    /// The protocol both ends agreed on.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.stream.get_ref().1.alpn_protocol()
    }

    /// Writes bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Reads to the end of the connection. Where it breaks, what has come counts.
    pub async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        drop(self.stream.read_to_end(&mut bytes).await);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Status line, header fields in lower case and body of a page that is as long as it says; the connection stays.
    pub async fn get(&mut self, path: &str) -> std::io::Result<String> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes()).await?;
        let mut text = String::new();
        loop {
            let mut bytes = [0; 4096];
            let length = self.stream.read(&mut bytes).await?;
            text.push_str(&String::from_utf8_lossy(&bytes[..length]));
            let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let lines = head.lines().map(str::to_ascii_lowercase);
                let length =
                    lines.filter_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).next();
                length == Some(body.len())
            });
            if whole {
                return Ok(text.to_ascii_lowercase());
            }
            if length == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

//! Whether the connection to the database is encrypted, and whom it believes: `ssl-mode` and `ssl-ca` of the database
//! URL, as MySQL's own programs call them.

use std::path::{Path, PathBuf};

use mysql_async::SslOpts;

/// How a connection over TCP is protected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Encryption {
    /// Not at all.
    #[default]
    Disabled,
    /// Nobody can listen, but anybody in between can be the server.
    Required,
    /// The server has a certificate of one of the authorities in the file. The driver looks at the name in it, too,
    /// which MySQL's own programs leave to VERIFY_IDENTITY.
    VerifyCa(PathBuf),
    /// The server has a certificate for its name, from one of the authorities in the file or, without a file, from one
    /// that browsers know.
    VerifyIdentity(Option<PathBuf>),
}

impl Encryption {
    /// From the two options; the error is the end of a sentence about the URL.
    pub(super) fn of(mode: Option<&str>, authorities: Option<String>) -> Result<Encryption, String> {
        let file = match authorities {
            Some(path) if !path.starts_with('/') => {
                return Err("needs an ssl-ca path that begins with /".into());
            }
            path => path.map(PathBuf::from),
        };
        let mode = mode.map(str::to_ascii_uppercase);
        match (mode.as_deref(), file) {
            (None | Some("DISABLED"), None) => Ok(Encryption::Disabled),
            (Some("REQUIRED"), None) => Ok(Encryption::Required),
            (Some("VERIFY_CA"), Some(file)) => Ok(Encryption::VerifyCa(file)),
            (Some("VERIFY_CA"), None) => {
                Err("has ssl-mode=VERIFY_CA without the file of the authority, ssl-ca=/path".into())
            }
            (Some("VERIFY_IDENTITY"), file) => Ok(Encryption::VerifyIdentity(file)),
            (None | Some("DISABLED" | "REQUIRED"), Some(_)) => {
                Err("has an ssl-ca that is looked at with ssl-mode=VERIFY_CA and VERIFY_IDENTITY alone"
                    .into())
            }
            (Some(_), _) => {
                Err("has an ssl-mode that is none of DISABLED, REQUIRED, VERIFY_CA and VERIFY_IDENTITY"
                    .into())
            }
        }
    }

    /// For the driver; none for a plain connection.
    pub(super) fn options(&self) -> Option<SslOpts> {
        let believing = |file: &Path| {
            let roots = vec![file.to_owned().into()];
            SslOpts::default().with_root_certs(roots).with_disable_built_in_roots(true)
        };
        match self {
            Encryption::Disabled => None,
            Encryption::Required => Some(SslOpts::default().with_danger_accept_invalid_certs(true)),
            Encryption::VerifyCa(file) | Encryption::VerifyIdentity(Some(file)) => Some(believing(file)),
            Encryption::VerifyIdentity(None) => Some(SslOpts::default()),
        }
    }

    /// As it stands in a URL: the mode, and the file.
    pub(super) fn words(&self) -> Option<(&'static str, Option<&Path>)> {
        match self {
            Encryption::Disabled => None,
            Encryption::Required => Some(("REQUIRED", None)),
            Encryption::VerifyCa(file) => Some(("VERIFY_CA", Some(file))),
            Encryption::VerifyIdentity(file) => Some(("VERIFY_IDENTITY", file.as_deref())),
        }
    }
}

//! Everything that is set before the program starts. Each setting is a flag and an environment variable; all
//! mistakes are reported together.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::db::DatabaseUrl;
use crate::dicom::ae_title::AeTitle;
use crate::dimse::Timeouts;
use crate::dimse::access::UnknownPeers;
use crate::dimse::scu;
use crate::jobs;
use crate::tls::{Identity, IdentityError};

/// How to run the server. Defaults stand in [`Settings`].
#[derive(Debug, Clone)]
pub struct Config {
    /// An existing database; without one the server starts a private one in the data folder.
    pub database: Option<DatabaseUrl>,
    /// Files, and the private database.
    pub data_dir: PathBuf,
    /// What modalities must call us.
    pub ae_title: AeTitle,
    /// Where modalities connect.
    pub dicom_listen: SocketAddr,
    /// Where modalities connect by TLS, if they may. Needs [`Config::tls`].
    pub dicom_tls_listen: Option<SocketAddr>,
    /// Where browsers connect.
    pub http_listen: SocketAddr,
    /// Our certificate; with one, the pages are served by HTTPS.
    pub tls: Option<Identity>,
    /// The proxies that browsers come through, where they do.
    pub behind_proxy: Vec<IpNet>,
    /// The folder of a second viewer, where one is given.
    pub ohif_dir: Option<PathBuf>,
    /// What happens to callers that are not peers.
    pub unknown_peers: UnknownPeers,
    /// Associations at a time.
    pub max_associations: usize,
    /// How long DICOM peers may take.
    pub timeouts: Timeouts,
    /// When jobs are tried.
    pub jobs: jobs::Schedule,
    /// How long we wait for those we ask.
    pub patience: scu::Timeouts,
    /// The executable whose children decode frames: this one.
    pub decode_worker: PathBuf,
}

/// The settings as they are typed, before they mean anything.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// An existing MySQL 8.0 or later or MariaDB 10.6 or later: mysql://user:password@host:3306/database. Without
    /// it filmroom runs a private server in the data folder.
    #[arg(long, global = true, env = "FILMROOM_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// A file that holds the database URL, for secrets that may not stand in the environment.
    #[arg(long, global = true, env = "FILMROOM_DATABASE_URL_FILE", value_name = "FILE")]
    pub database_url_file: Option<PathBuf>,
    /// Folder for the files of the archive.
    #[arg(
        long,
        global = true,
        env = "FILMROOM_DATA_DIR",
        default_value = "filmroom-data",
        value_name = "FOLDER"
    )]
    pub data_dir: PathBuf,
    /// Our AE title, which modalities must call.
    #[arg(long, env = "FILMROOM_AE_TITLE", default_value = "FILMROOM", value_name = "TITLE")]
    pub ae_title: String,
    /// Address and port for DICOM.
    #[arg(long, env = "FILMROOM_DICOM_LISTEN", default_value = "0.0.0.0:11112", value_name = "ADDRESS:PORT")]
    pub dicom_listen: String,
    /// Address and port for DICOM over TLS; the usual port is 2762. Needs --tls-certificate.
    #[arg(long, env = "FILMROOM_DICOM_TLS_LISTEN", value_name = "ADDRESS:PORT")]
    pub dicom_tls_listen: Option<String>,
    /// Address and port for the pages. An address that other machines reach needs --tls-certificate or --behind-proxy.
    #[arg(long, env = "FILMROOM_HTTP_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub http_listen: String,
    /// Certificate for HTTPS and for DICOM over TLS, PEM, followed by those between it and its authority.
    #[arg(long, env = "FILMROOM_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// Private key of the certificate, PEM without a password. Both files are read again when they change.
    #[arg(long, env = "FILMROOM_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Proxies that browsers come through, and that speak HTTPS with them: IP addresses or networks, with commas
    /// between. What they say of whom they ask for (X-Forwarded-For, -Proto, -Host) is believed.
    #[arg(long, env = "FILMROOM_BEHIND_PROXY", value_name = "ADDRESS[,ADDRESS…]")]
    pub behind_proxy: Option<String>,
    /// Serve the pages to other machines without encryption: passwords and images can be read on the way.
    #[arg(long, env = "FILMROOM_PLAIN_HTTP_I_KNOW", value_parser = clap::builder::BoolishValueParser::new())]
    pub plain_http_i_know: bool,
    /// Folder with the OHIF viewer, which is then served with the pages; make ohif gets it.
    #[arg(long, env = "FILMROOM_OHIF_DIR", value_name = "FOLDER")]
    pub ohif_dir: Option<PathBuf>,
    /// What callers that are not peers get: ask (their C-ECHO is answered, the rest waits for you on the peers
    /// page), store (their C-STORE is accepted too) or deny.
    #[arg(long, env = "FILMROOM_UNKNOWN_PEERS", default_value = "ask", value_name = "ask|store|deny")]
    pub unknown_peers: String,
    /// Associations at a time; more are told to try again.
    #[arg(long, env = "FILMROOM_MAX_ASSOCIATIONS", default_value = "64", value_name = "COUNT")]
    pub max_associations: String,
    /// Seconds for an association request to arrive.
    #[arg(long, env = "FILMROOM_ASSOCIATION_TIMEOUT", default_value = "30", value_name = "SECONDS")]
    pub association_timeout: String,
    /// Seconds for a message to arrive, to which one is added for each 16 KiB of it that have come.
    #[arg(long, env = "FILMROOM_MESSAGE_TIMEOUT", default_value = "60", value_name = "SECONDS")]
    pub message_timeout: String,
    /// Seconds an association may be silent.
    #[arg(long, env = "FILMROOM_IDLE_TIMEOUT", default_value = "300", value_name = "SECONDS")]
    pub idle_timeout: String,
}

/// All that is wrong with the settings, a sentence each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Mistakes(pub Vec<String>);

impl Settings {
    /// What the settings mean, or everything that is wrong with them.
    pub fn check(&self) -> Result<Config, Mistakes> {
        let mut mistakes = Vec::new();
        let database = self.database(&mut mistakes);
        let ae_title = keep(&mut mistakes, "--ae-title", self.ae_title.parse::<AeTitle>());
        let dicom_listen = keep(&mut mistakes, "--dicom-listen", address(&self.dicom_listen));
        let dicom_tls_listen = self.dicom_tls_listen(&mut mistakes);
        let http_listen = keep(
            &mut mistakes,
            "--http-listen",
            address(&self.http_listen).and_then(|at| self.protected(at)),
        );
        let tls = self.identity(&mut mistakes);
        let behind_proxy = self.proxies(&mut mistakes);
        let ohif_dir = self.ohif(&mut mistakes);
        let unknown_peers =
            keep(&mut mistakes, "--unknown-peers", self.unknown_peers.parse::<UnknownPeers>());
        let max_associations =
            keep(&mut mistakes, "--max-associations", number(&self.max_associations, 1, 1000));
        let association =
            keep(&mut mistakes, "--association-timeout", number(&self.association_timeout, 1, 3600));
        let message = keep(&mut mistakes, "--message-timeout", number(&self.message_timeout, 1, 86_400));
        let idle = keep(&mut mistakes, "--idle-timeout", number(&self.idle_timeout, 1, 86_400));
        if self.data_dir.as_os_str().is_empty() {
            mistakes.push("--data-dir must name a folder".into());
        }
        let decode_worker = keep(&mut mistakes, "this executable", std::env::current_exe());
        match (
            ae_title,
            dicom_listen,
            http_listen,
            unknown_peers,
            max_associations,
            (association, message, idle),
            decode_worker,
        ) {
            (
                Some(ae_title),
                Some(dicom_listen),
                Some(http_listen),
                Some(unknown_peers),
                Some(max_associations),
                (Some(association), Some(message), Some(idle)),
                Some(decode_worker),
            ) if mistakes.is_empty() => Ok(Config {
                database,
                data_dir: self.data_dir.clone(),
                ae_title,
                dicom_listen,
                dicom_tls_listen,
                http_listen,
                tls,
                behind_proxy,
                ohif_dir,
                unknown_peers,
                max_associations: usize::try_from(max_associations).unwrap_or(usize::MAX),
                timeouts: Timeouts {
                    association: Duration::from_secs(association),
                    message: Duration::from_secs(message),
                    idle: Duration::from_secs(idle),
                },
                jobs: jobs::Schedule::default(),
                patience: scu::Timeouts::default(),
                decode_worker,
            }),
            _ => Err(Mistakes(mistakes)),
        }
    }

    /// The database that is named, if one is.
    fn database(&self, mistakes: &mut Vec<String>) -> Option<DatabaseUrl> {
        let text = match (&self.database_url, &self.database_url_file) {
            (Some(_), Some(_)) => {
                mistakes.push("give --database-url or --database-url-file, not both".into());
                return None;
            }
            (Some(url), None) => url.clone(),
            (None, Some(file)) => match std::fs::read_to_string(file) {
                Ok(text) => text.trim().to_owned(),
                Err(err) => {
                    mistakes.push(format!("--database-url-file: cannot read {}: {err}", file.display()));
                    return None;
                }
            },
            (None, None) => return None,
        };
        keep(mistakes, "--database-url", text.parse::<DatabaseUrl>())
    }

    fn dicom_tls_listen(&self, mistakes: &mut Vec<String>) -> Option<SocketAddr> {
        let text = self.dicom_tls_listen.as_ref()?;
        if self.tls_certificate.is_none() && self.tls_key.is_none() {
            mistakes.push("--dicom-tls-listen: needs --tls-certificate and --tls-key too".into());
        }
        keep(mistakes, "--dicom-tls-listen", address(text))
    }

    /// An address for the pages on which nobody reads along, or the word that somebody may.
    fn protected(&self, address: SocketAddr) -> Result<SocketAddr, String> {
        let is_encrypted = self.tls_certificate.is_some() || self.tls_key.is_some();
        let is_said = is_encrypted || self.behind_proxy.is_some() || self.plain_http_i_know;
        if is_said || is_loopback(address.ip()) {
            return Ok(address);
        }
        Err(format!(
            "{address} can be reached from other machines: give --tls-certificate and --tls-key for HTTPS, or \
             --behind-proxy with the address of a proxy that speaks HTTPS, or --plain-http-i-know if passwords and \
             images may be read on the way"
        ))
    }

    /// Our certificate and its key.
    fn identity(&self, mistakes: &mut Vec<String>) -> Option<Identity> {
        let (certificate, key) = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => {
                mistakes.push("--tls-certificate: needs the key of the certificate too, --tls-key".into());
                return None;
            }
            (None, Some(_)) => {
                mistakes.push("--tls-key: needs the certificate of the key too, --tls-certificate".into());
                return None;
            }
            (None, None) => return None,
        };
        let wrong = match Identity::load(certificate, key) {
            Ok(identity) => return Some(identity),
            Err(wrong) => wrong,
        };
        mistakes.extend(wrong.iter().map(|mistake| match mistake {
            IdentityError::Certificate(text) => format!("--tls-certificate: {text}"),
            IdentityError::Key(text) => format!("--tls-key: {text}"),
        }));
        None
    }

    /// The folder of OHIF, if one is named; it holds the page that everything else is loaded by.
    fn ohif(&self, mistakes: &mut Vec<String>) -> Option<PathBuf> {
        let folder = self.ohif_dir.as_ref()?;
        if folder.join("index.html").is_file() {
            return Some(folder.clone());
        }
        mistakes.push(format!(
            "--ohif-dir: there is no index.html in {}: make ohif gets the viewer and says where it is",
            folder.display()
        ));
        None
    }

    fn proxies(&self, mistakes: &mut Vec<String>) -> Vec<IpNet> {
        let Some(text) = &self.behind_proxy else { return Vec::new() };
        if self.tls_certificate.is_some() || self.tls_key.is_some() {
            mistakes.push(
                "--behind-proxy: with --tls-certificate browsers are spoken to directly: leave out one of the two".into(),
            );
        }
        let networks =
            text.split(',').map(|text| network(text.trim())).collect::<Result<Vec<IpNet>, String>>();
        keep(mistakes, "--behind-proxy", networks).unwrap_or_default()
    }
}

/// Whether an address is of this machine alone.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn keep<T, E: std::fmt::Display>(mistakes: &mut Vec<String>, name: &str, result: Result<T, E>) -> Option<T> {
    result.map_err(|err| mistakes.push(format!("{name}: {err}"))).ok()
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an address and a port, such as 127.0.0.1:8080 or [::1]:8080"))
}

/// One address, or a network such as 10.0.0.0/24. Not everything there is: then anybody could say who they are.
fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network {
        Ok(network) if network.prefix_len() == 0 => Err(format!("{text} is everybody, and not a proxy")),
        Ok(network) => Ok(network.trunc()),
        Err(_) => Err(format!("{text:?} is not an IP address or a network, such as 10.0.0.7 or 10.0.0.0/24")),
    }
}

fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("must be a number from {least} to {most}, not {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn check(arguments: &[&str]) -> Result<Config, Mistakes> {
        let line = Line::parse_from(std::iter::once(&"filmroom").chain(arguments));
        line.settings.check()
    }

    #[test]
    fn the_defaults_are_good() {
        let config = check(&[]).unwrap();
        assert_eq!(config.ae_title.as_str(), "FILMROOM");
        assert_eq!(config.dicom_listen.port(), 11112);
        assert!(config.database.is_none());
    }

    #[test]
    fn all_mistakes_are_reported_together() {
        let mistakes = check(&[
            "--ae-title",
            "much too long for a title",
            "--dicom-listen",
            "here",
            "--idle-timeout",
            "0",
            "--unknown-peers",
            "maybe",
        ])
        .unwrap_err();
        assert_eq!(mistakes.0.len(), 4, "{mistakes}");
    }

    #[test]
    fn http_on_another_address_than_loopback_needs_tls_a_proxy_or_the_word() {
        let open = ["--http-listen", "0.0.0.0:8080"];
        let mistakes = check(&open).unwrap_err();
        assert_eq!(mistakes.0.len(), 1, "{mistakes}");
        for way in ["--tls-certificate", "--behind-proxy", "--plain-http-i-know"] {
            assert!(mistakes.0[0].contains(way), "{mistakes}");
        }
        assert!(check(&["--http-listen", "[::ffff:10.0.0.1]:8080"]).is_err());
        assert!(check(&["--http-listen", "[::1]:8080"]).is_ok());
        assert!(check(&["--http-listen", "[::ffff:127.0.0.1]:8080"]).is_ok());
        assert!(check(&[&open[..], &["--plain-http-i-know"]].concat()).is_ok());
        assert!(check(&[&open[..], &["--behind-proxy", "10.0.0.7"]].concat()).is_ok());
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        let proxies = |text| check(&["--behind-proxy", text]).map(|config| config.behind_proxy);
        let written = |text| proxies(text).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(written("127.0.0.1"), ["127.0.0.1/32"]);
        assert_eq!(written("::1, 10.1.2.3/8"), ["::1/128", "10.0.0.0/8"]);
        for wrong in ["", "nginx", "10.0.0.0/33", "10.0.0.1,", "0.0.0.0/0", "::/0"] {
            assert!(proxies(wrong).unwrap_err().0[0].starts_with("--behind-proxy: "), "{wrong}");
        }
    }

    #[test]
    fn a_viewer_is_in_a_folder_with_its_page() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().to_str().unwrap();
        let mistakes = check(&["--ohif-dir", name]).unwrap_err();
        assert_eq!(mistakes.0.len(), 1, "{mistakes}");
        assert!(
            mistakes.0[0].starts_with(&format!("--ohif-dir: there is no index.html in {name}")),
            "{mistakes}"
        );
        std::fs::write(folder.path().join("index.html"), "").unwrap();
        assert_eq!(check(&["--ohif-dir", name]).unwrap().ohif_dir.as_deref(), Some(folder.path()));
        assert_eq!(check(&[]).unwrap().ohif_dir, None);
    }

    #[test]
    fn a_certificate_needs_its_key_and_a_tls_port_both() {
        for (arguments, says) in [
            (&["--tls-certificate", "/a"][..], "--tls-key"),
            (&["--tls-key", "/a"], "--tls-certificate"),
            (&["--dicom-tls-listen", "127.0.0.1:2762"], "--tls-certificate and --tls-key"),
        ] {
            let mistakes = check(arguments).unwrap_err();
            assert_eq!(mistakes.0.len(), 1, "{mistakes}");
            assert!(mistakes.0[0].contains(says), "{mistakes}");
        }
        let mistakes = check(&[
            "--tls-certificate",
            "/nowhere/certificate",
            "--tls-key",
            "/nowhere/key",
            "--behind-proxy",
            "10.0.0.7",
            "--dicom-tls-listen",
            "here",
        ])
        .unwrap_err();
        assert_eq!(mistakes.0.len(), 4, "{mistakes}");
        assert!(
            mistakes.0.iter().any(|text| text.starts_with("--tls-key: cannot read /nowhere/key")),
            "{mistakes}"
        );
    }
}

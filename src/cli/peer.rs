//! `filmroom peer`: remote AEs from a terminal.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use mysql_async::prelude::Queryable;

use super::{at_terminal, with_database};
use crate::config::Settings;
use crate::db::audit::{self, Action, Entry};
use crate::db::peer::{self, Encryption, Peer, PeerDetails};
use crate::db::{self, Pool};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::service::{Service, Services};
use crate::tls::Fingerprint;

/// What can be done to peers.
#[derive(Debug, Subcommand)]
pub enum PeerCommand {
    /// Make an AE known.
    Add {
        /// Its AE title.
        ae_title: String,
        #[command(flatten)]
        given: Given,
    },
    /// Change what is given of a known AE, and nothing else.
    Change {
        /// Its AE title.
        ae_title: String,
        /// Its new AE title.
        #[arg(long, value_name = "AE_TITLE")]
        rename: Option<String>,
        #[command(flatten)]
        given: Given,
    },
    /// Show the known AEs.
    List,
    /// Forget an AE.
    Remove {
        /// Its AE title.
        ae_title: String,
    },
}

/// What is said of a peer. What is not given is as it was, or of a new one as stands here.
#[derive(Debug, Args)]
pub struct Given {
    /// Name or IP address it calls from; '' for any, as of a new one.
    #[arg(long)]
    host: Option<String>,
    /// Port it listens on; none if it does not, as of a new one.
    #[arg(long, value_parser = port)]
    port: Option<Port>,
    /// What it may use here, of echo, store, find, get, move and commit, with commas between; '' for nothing. A new one
    /// may echo, store and commit.
    #[arg(long, value_name = "SERVICES")]
    may: Option<Services>,
    /// A C-MOVE may name it as its destination, or with =no not. Needs its host and port.
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    destination: Option<YesNo>,
    /// Ask it for storage commitment after sending to it, or with =no not. Needs its host and port.
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    offers_commitment: Option<YesNo>,
    /// optional: in plain or by TLS, as of a new one. required: by TLS alone. certificate: by TLS with its certificate
    /// alone.
    #[arg(long, value_name = "optional|required|certificate")]
    tls: Option<String>,
    /// Its certificate, PEM: it has to show that with --tls certificate, and when we call it by TLS.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// What it is, for people.
    #[arg(long)]
    description: Option<String>,
}

/// A port, or none.
#[derive(Debug, Clone, Copy)]
struct Port(Option<u16>);

fn port(text: &str) -> Result<Port, String> {
    match text {
        "none" => Ok(Port(None)),
        text => match text.parse() {
            Ok(0) | Err(_) => Err("must be between 1 and 65535, or none".to_owned()),
            Ok(port) => Ok(Port(Some(port))),
        },
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum YesNo {
    Yes,
    No,
}

impl Given {
    fn is_nothing(&self) -> bool {
        let Given { host, port, may, destination, offers_commitment, tls, certificate, description } = self;
        host.is_none()
            && port.is_none()
            && may.is_none()
            && destination.is_none()
            && offers_commitment.is_none()
            && tls.is_none()
            && certificate.is_none()
            && description.is_none()
    }

    /// A peer with what is given changed, or what is wrong with that.
    fn applied_to(self, mut peer: PeerDetails) -> anyhow::Result<PeerDetails> {
        if let Some(host) = self.host {
            peer.host = host.trim().to_owned();
            if !peer.host.is_empty() && !peer::is_host(&peer.host) {
                bail!("--host: {host:?} is not a host name or an IP address");
            }
        }
        if let Some(description) = self.description {
            peer.description = description.trim().to_owned();
            if peer.description.chars().count() > 255 {
                bail!("--description: at most 255 characters");
            }
        }
        if let Some(Port(port)) = self.port {
            peer.port = port;
        }
        if let Some(may) = self.may {
            peer.services = may;
        }
        if let Some(word) = self.destination {
            peer.is_destination = word == YesNo::Yes;
        }
        if let Some(word) = self.offers_commitment {
            peer.offers_commitment = word == YesNo::Yes;
        }
        if peer.is_sent_to() && (peer.host.is_empty() || peer.port.is_none()) {
            let flag = if peer.is_destination { "--destination" } else { "--offers-commitment" };
            bail!("{flag}: {} needs --host and --port, because we send to it", peer.ae_title);
        }
        if let Some(tls) = self.tls {
            peer.encryption = tls.parse().map_err(|err: String| anyhow!("--tls: {err}"))?;
        }
        match (peer.encryption, self.certificate) {
            (Encryption::Certificate, None) if peer.certificate.is_none() => {
                bail!("--tls certificate: give the certificate too, --certificate FILE")
            }
            (Encryption::Optional, Some(_)) => {
                bail!("--certificate: is looked at with --tls required or --tls certificate alone")
            }
            (_, None) => {}
            (Encryption::Required | Encryption::Certificate, Some(file)) => {
                peer.certificate = Some(pinned(&file)?)
            }
        }
        if peer.is_sent_to() && peer.encryption != Encryption::Optional && peer.certificate.is_none() {
            bail!(
                "--tls {}: we send to {} by TLS, so give --certificate FILE",
                peer.encryption.as_str(),
                peer.ae_title
            );
        }
        Ok(peer)
    }
}

fn pinned(file: &Path) -> anyhow::Result<Fingerprint> {
    let shown = file.display();
    let bytes = std::fs::read(file).with_context(|| format!("--certificate: cannot read {shown}"))?;
    Fingerprint::from_pem(&String::from_utf8_lossy(&bytes)).with_context(|| format!("--certificate: {shown}"))
}

/// Runs one of them.
pub async fn run(settings: &Settings, command: PeerCommand) -> anyhow::Result<()> {
    with_database(settings, async |pool| match command {
        PeerCommand::Add { ae_title, given } => add(pool, &ae_title, given).await,
        PeerCommand::Change { ae_title, rename, given } => change(pool, &ae_title, rename, given).await,
        PeerCommand::List => list(pool).await,
        PeerCommand::Remove { ae_title } => remove(pool, &ae_title).await,
    })
    .await
}

async fn add(pool: &Pool, ae_title: &str, given: Given) -> anyhow::Result<()> {
    let details = given.applied_to(PeerDetails {
        ae_title: ae_title.parse()?,
        host: String::new(),
        port: None,
        services: [Service::Echo, Service::Store, Service::Commit].into_iter().collect(),
        is_destination: false,
        offers_commitment: false,
        encryption: Encryption::Optional,
        certificate: None,
        description: String::new(),
    })?;
    let mut conn = db::acquire(pool).await?;
    let mut change = conn.start_transaction(Default::default()).await.map_err(db::Error::from)?;
    match peer::add(&mut change, &details).await {
        Err(err) if db::is_duplicate(&err) => {
            let title = &details.ae_title;
            bail!("{title} is a peer already: `filmroom peer change` changes it")
        }
        added => added.map_err(db::Error::from)?,
    }
    note(&mut change, format!("added {details}")).await?;
    change.commit().await.map_err(db::Error::from)?;
    println!("{} is a peer now", details.ae_title);
    Ok(())
}

async fn change(pool: &Pool, ae_title: &str, rename: Option<String>, given: Given) -> anyhow::Result<()> {
    let ae_title: AeTitle = ae_title.parse()?;
    let rename: Option<AeTitle> = rename.map(|title| title.parse()).transpose().context("--rename")?;
    if rename.is_none() && given.is_nothing() {
        bail!("say what to change of {ae_title}, such as --may or --host");
    }
    let mut conn = db::acquire(pool).await?;
    let mut change = conn.start_transaction(Default::default()).await.map_err(db::Error::from)?;
    let peer = known(&mut change, &ae_title).await?;
    let mut details = given.applied_to(peer.details())?;
    if let Some(rename) = rename {
        details.ae_title = rename;
    }
    match peer::update(&mut change, peer.peer_key, &details).await {
        Ok(true) => {}
        Ok(false) => bail!("{ae_title} is no peer"),
        Err(err) if db::is_duplicate(&err) => {
            bail!("--rename: {} is a peer already", details.ae_title)
        }
        Err(err) => return Err(db::Error::from(err).into()),
    }
    note(&mut change, format!("{ae_title} is now {details}")).await?;
    change.commit().await.map_err(db::Error::from)?;
    println!("{ae_title} is now {details}");
    Ok(())
}

async fn list(pool: &Pool) -> anyhow::Result<()> {
    let mut conn = db::acquire(pool).await?;
    let peers = peer::list(&mut conn).await.map_err(db::Error::from)?;
    if peers.is_empty() {
        println!("there are no peers");
    }
    for peer in peers {
        let host = if peer.host.is_empty() { "any address" } else { &peer.host };
        let port = peer.port.map_or_else(|| "-".into(), |port| port.to_string());
        let how = match peer.encryption {
            Encryption::Optional => "plain or TLS",
            Encryption::Required => "TLS",
            Encryption::Certificate => "TLS, its certificate",
        };
        println!(
            "{:<16}  {:<24}  {:<5}  {:<36}  {:<20}  {:<36}  {}",
            peer.ae_title.as_str(),
            host,
            port,
            if peer.services.is_empty() { "nothing".to_owned() } else { peer.services.to_string() },
            how,
            sent_to(&peer),
            peer.description
        );
    }
    Ok(())
}

fn sent_to(peer: &Peer) -> &'static str {
    match (peer.is_destination, peer.offers_commitment) {
        (false, false) => "",
        (true, false) => "destination",
        (false, true) => "offers commitment",
        (true, true) => "destination, offers commitment",
    }
}

async fn remove(pool: &Pool, ae_title: &str) -> anyhow::Result<()> {
    let ae_title: AeTitle = ae_title.parse()?;
    let mut conn = db::acquire(pool).await?;
    let mut change = conn.start_transaction(Default::default()).await.map_err(db::Error::from)?;
    let peer = known(&mut change, &ae_title).await?;
    peer::remove(&mut change, peer.peer_key).await.map_err(db::Error::from)?;
    note(&mut change, format!("removed {ae_title}")).await?;
    change.commit().await.map_err(db::Error::from)?;
    println!("{ae_title} is no peer any more");
    Ok(())
}

async fn known(conn: &mut impl Queryable, ae_title: &AeTitle) -> anyhow::Result<Peer> {
    let peer = peer::by_ae_title(conn, ae_title).await.map_err(db::Error::from)?;
    peer.with_context(|| format!("{ae_title} is no peer"))
}

/// Adds a line about a peer to the audit trail, in the transaction that changes it.
async fn note(change: &mut impl Queryable, details: String) -> anyhow::Result<()> {
    let entry = Entry::of(at_terminal(), Action::ChangePeer, details);
    Ok(audit::append(change, &[entry]).await.map_err(db::Error::from)?)
}

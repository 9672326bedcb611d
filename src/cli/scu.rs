//! `filmroom echo`, `find`, `get`, `move` and `send`: other AEs from a terminal.
//!
//! PEER is the AE title of a peer, or `AE@host:port` for one that stands in no table. Where a command ends with failures
//! it says each and exits with 1.

mod find;
mod progress;
mod retrieve;
mod send;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;

use self::progress::Progress;
use super::with_database;
use crate::config::{Config, Settings};
use crate::db;
use crate::db::audit::{self, Action, Entry};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::query::Level;
use crate::dimse::scu::{Called, Proposal, Requestor};

/// What can be asked of other AEs.
#[derive(Debug, Subcommand)]
pub enum ScuCommand {
    /// Ask another AE whether it is there (C-ECHO).
    Echo {
        #[command(flatten)]
        settings: Settings,
        /// AE title of a peer, or AE@host:port.
        peer: String,
    },
    /// Ask another archive what it has (C-FIND).
    Find {
        #[command(flatten)]
        settings: Settings,
        /// AE title of a peer, or AE@host:port.
        peer: String,
        /// patient, study, series or image.
        #[arg(long, default_value = "study", value_parser = level)]
        level: Level,
        /// At most so many answers.
        #[arg(long, default_value = "1000", value_name = "COUNT")]
        most: usize,
        /// JSON lines instead of a table.
        #[arg(long)]
        json: bool,
        /// What is to match, and what is wanted: PatientName=DOE*, StudyDate=20260101-, or a keyword alone.
        #[arg(value_name = "KEY[=VALUE]")]
        keys: Vec<String>,
    },
    /// Retrieve studies into the archive, or into a folder (C-GET).
    Get {
        #[command(flatten)]
        settings: Settings,
        /// AE title of a peer, or AE@host:port.
        peer: String,
        /// Study Instance UIDs.
        #[arg(required = true, value_name = "STUDY_UID")]
        studies: Vec<String>,
        /// Write files into this folder and leave the archive alone.
        #[arg(long, value_name = "FOLDER")]
        into: Option<PathBuf>,
    },
    /// Have another archive send studies to us, or to somebody else (C-MOVE).
    Move {
        #[command(flatten)]
        settings: Settings,
        /// AE title of a peer, or AE@host:port.
        peer: String,
        /// Study Instance UIDs.
        #[arg(required = true, value_name = "STUDY_UID")]
        studies: Vec<String>,
        /// To whom; without it, to our own AE title, where a server of ours has to run. The archive has to know it.
        #[arg(long, value_name = "AE")]
        to: Option<AeTitle>,
    },
    /// Send studies of the archive, or files (C-STORE).
    Send {
        #[command(flatten)]
        settings: Settings,
        /// AE title of a peer, or AE@host:port.
        peer: String,
        /// Study Instance UIDs, DICOM files, or folders of them.
        #[arg(required = true, value_name = "STUDY_UID|FILE")]
        what: Vec<String>,
    },
}

/// Runs one of them.
pub async fn run(command: ScuCommand) -> anyhow::Result<()> {
    match command {
        ScuCommand::Echo { settings, peer } => echo(&settings, &peer).await,
        ScuCommand::Find { settings, peer, level, most, json, keys } => {
            find::run(&settings, &peer, level, most, json, &keys).await
        }
        ScuCommand::Get { settings, peer, studies, into } => {
            retrieve::get(&settings, &peer, &studies, into.as_deref()).await
        }
        ScuCommand::Move { settings, peer, studies, to } => {
            retrieve::have_sent(&settings, &peer, &studies, to).await
        }
        ScuCommand::Send { settings, peer, what } => send::run(&settings, &peer, &what).await,
    }
}

fn level(text: &str) -> Result<Level, String> {
    text.to_uppercase().parse().map_err(|()| "must be patient, study, series or image".to_owned())
}

async fn echo(settings: &Settings, peer: &str) -> anyhow::Result<()> {
    let config = settings.check()?;
    let called = called(settings, &config, peer).await?;
    let mut association = requestor(&config).associate(&called, vec![Proposal::verification()]).await?;
    let began = std::time::Instant::now();
    let response = association.echo().await?;
    let took = began.elapsed();
    association.release().await?;
    if !response.is_done() {
        bail!("{} does not want to be verified: {}", called.ae_title, response.in_words());
    }
    println!("{} at {} answers, in {:.1} ms", called.ae_title, called.address(), took.as_secs_f64() * 1e3);
    Ok(())
}

fn requestor(config: &Config) -> Requestor {
    Requestor { ae_title: config.ae_title.clone(), identity: config.tls.clone(), timeouts: config.patience }
}

/// Whom PEER names. The database is only asked for where it is a peer's title alone.
async fn called(settings: &Settings, config: &Config, peer: &str) -> anyhow::Result<Called> {
    if peer.contains('@') {
        return peer.parse().map_err(|err: String| super::WrongUsage(err).into());
    }
    let ae_title: AeTitle = peer.parse().map_err(|err| super::WrongUsage(format!("{peer:?}: {err}")))?;
    let found: std::cell::RefCell<Option<db::peer::Peer>> = std::cell::RefCell::default();
    with_database(settings, async |pool| {
        let mut conn = db::acquire(pool).await?;
        let peer = db::peer::by_ae_title(&mut conn, &ae_title).await.map_err(db::Error::from)?;
        *found.borrow_mut() = peer;
        Ok(())
    })
    .await?;
    let Some(peer) = found.into_inner() else {
        bail!("{ae_title} is no peer: give it as AE@host:port, or make it one with filmroom peer add");
    };
    Ok(requestor(config).called(&peer)?)
}

/// Leaves a trace of what goes out or comes in by a command.
async fn record(pool: &db::Pool, entries: Vec<Entry>) -> anyhow::Result<()> {
    let mut conn = db::acquire(pool).await?;
    let mut change = conn.start_transaction(Default::default()).await.map_err(db::Error::from)?;
    audit::append(&mut change, &entries).await.map_err(db::Error::from)?;
    Ok(change.commit().await.map_err(db::Error::from)?)
}

fn did(action: Action, details: String, study: &str) -> Entry {
    Entry::of(super::at_terminal(), action, details).study(study)
}

/// Ends a command: 0 where nothing failed.
fn ended(failures: usize, what: &str) -> anyhow::Result<()> {
    match failures {
        0 => Ok(()),
        1 => Err(anyhow::anyhow!("1 {what} failed")),
        failures => Err(anyhow::anyhow!("{failures} {what}s failed")),
    }
    .context("not everything was done")
}

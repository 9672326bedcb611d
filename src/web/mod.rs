//! Pages, pictures and DICOMweb over HTTP. `routes` is the table of contents.

pub mod access;
pub mod account;
pub mod assets;
pub mod association;
pub mod audit;
pub mod commitment;
pub mod dicomweb;
pub mod error;
pub mod events;
pub mod filters;
pub mod grant;
pub mod group;
pub mod health;
pub mod hsts;
pub mod instance;
pub mod intake;
pub mod job;
pub mod launch;
pub mod multipart;
pub mod ohif;
pub mod page;
pub mod patient;
pub mod peer;
pub mod picture;
pub mod qr;
pub mod quarantine;
pub mod remote;
pub mod role;
pub mod routes;
pub mod rules;
pub mod send;
pub mod share;
pub mod sign_in;
pub mod slow;
pub mod study;
pub mod system;
pub mod text;
pub mod transport;
pub mod upload;
pub mod user;
pub mod viewer;

use crate::archive::Archive;
use crate::db;
use crate::dimse::scu::Requestor;
use crate::people;
use std::sync::Arc;

/// What every handler may use. Built once; handlers get it as `web::Data<App>`.
pub struct App {
    /// Instances and all that is known of them.
    pub archive: Archive,
    /// For the administration tables alone.
    pub pool: db::Pool,
    /// Decodes frames.
    pub decoder: Arc<crate::codec::Decoder>,
    /// Draws them.
    pub pictures: picture::Pictures,
    /// Metadata of what was asked for lately.
    pub metadata: dicomweb::wado::metadata::Metadata,
    /// What is being put in.
    pub intakes: intake::Intakes,
    /// A second viewer, where one is given.
    pub ohif: Option<ohif::folder::Folder>,
    /// What the pages say of this server.
    pub about: About,
    /// Who may come in, and the trail they leave.
    pub people: Arc<people::People>,
    /// How the pages are reached.
    pub transport: transport::Transport,
    /// What other AEs are asked with.
    pub requestor: Requestor,
    /// For how long a job is tried.
    pub job_patience: std::time::Duration,
    /// Told when a job was made, so that it begins at once.
    pub new_job: Arc<tokio::sync::Notify>,
    /// Becomes true when the program is to stop: what streams without end, ends.
    pub stopping: tokio::sync::watch::Receiver<bool>,
}

/// What a page may tell a person of this server.
#[derive(Debug, Clone)]
pub struct About {
    /// Our AE title.
    pub ae_title: String,
    /// Where modalities send to.
    pub dicom_address: std::net::SocketAddr,
    /// Where they send to by TLS, if they may.
    pub dicom_tls_address: Option<std::net::SocketAddr>,
    /// Where the pages are.
    pub http_address: std::net::SocketAddr,
    /// Which database, without its password.
    pub database: String,
    /// What is wrong with its settings for keeping what was acknowledged, in sentences.
    pub warnings: Vec<String>,
    /// The data folder.
    pub data_dir: std::path::PathBuf,
    /// When the program started, UTC.
    pub started_at: chrono::DateTime<chrono::Utc>,
    /// What happens to callers that are not peers: `ask`, `store` or `deny`.
    pub unknown_peers: &'static str,
}

//! Pages, pictures and, later, DICOMweb over HTTP.

use crate::archive::Archive;
use mysql_async::Pool;
use std::sync::Arc;

/// What every handler may use. Built once; handlers get it as `web::Data<App>`.
pub struct App {
    /// Instances and all that is known of them.
    pub archive: Archive,
    /// For the administration tables alone.
    pub pool: Pool,
    /// Decodes frames.
    pub decoder: Arc<crate::codec::Decoder>,
    /// What the pages say of this server.
    pub about: About,
}

/// What a page may tell a person of this server.
#[derive(Debug, Clone)]
pub struct About {
    /// Our AE title.
    pub ae_title: String,
    /// Where modalities send to.
    pub dicom_address: std::net::SocketAddr,
    /// Which database, without its password.
    pub database: String,
    /// The data folder.
    pub data_dir: std::path::PathBuf,
    /// When the program started, UTC.
    pub started_at: chrono::DateTime<chrono::Utc>,
    /// What happens to callers that are not peers: `ask`, `store` or `deny`.
    pub unknown_peers: &'static str,
}

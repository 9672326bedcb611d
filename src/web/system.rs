//! The system page, `GET /admin/system`: what runs here, how full it is, and whether it keeps what it is given.

use std::io;

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::Utc;

use super::App;
use super::access::Caller;
use super::error::Error;
use super::page::{self, Layout};
use super::text;
use crate::db::{self, audit};

/// Below this part of the disk free, the page warns.
const LOW_PERCENT: u64 = 10;

/// How full the disk of the data folder is.
struct Disk {
    free: String,
    total: String,
    used_percent: u64,
    is_low: bool,
}

#[derive(Template)]
#[template(path = "system/show.html")]
struct SystemPage {
    layout: Layout,
    version: &'static str,
    uptime: String,
    started: String,
    data_dir: String,
    dicom_address: String,
    dicom_tls_address: Option<String>,
    http_address: String,
    unknown_peers: &'static str,
    database: String,
    server: String,
    patients: String,
    studies: String,
    series: String,
    instances: String,
    size: String,
    quarantined: u64,
    disk: Option<Disk>,
    audited: String,
    /// The account in the database URL could change the audit trail.
    trail_is_open: bool,
}

/// `GET /admin/system`
pub async fn show(_: Caller, layout: Layout, app: web::Data<App>) -> Result<HttpResponse, Error> {
    let (totals, quarantined) = app.archive.totals().await?;
    let storage = app.archive.storage().clone();
    let read = web::block(move || Ok::<_, io::Error>((storage.free_bytes()?, storage.total_bytes()?))).await;
    let disk = match read {
        Ok(Ok((free, total))) => Some(disk(free, total)),
        Ok(Err(err)) => {
            tracing::warn!(%err, "cannot read how full the disk of the data folder is");
            None
        }
        Err(err) => return Err(Error::Unavailable(err.into())),
    };
    let mut conn = db::acquire(&app.pool).await?;
    let (audited, trail_is_open) = (audit::newest(&mut conn).await?, audit::is_changeable(&mut conn).await);
    drop(conn);
    let about = &app.about;
    page::html(&SystemPage {
        layout,
        version: env!("CARGO_PKG_VERSION"),
        uptime: text::duration((Utc::now() - about.started_at).num_seconds()),
        started: text::date_time(about.started_at.naive_utc()),
        data_dir: about.data_dir.display().to_string(),
        dicom_address: about.dicom_address.to_string(),
        dicom_tls_address: about.dicom_tls_address.map(|address| address.to_string()),
        http_address: about.http_address.to_string(),
        unknown_peers: unknown_peers(about.unknown_peers),
        database: about.database.clone(),
        server: app.pool.server().to_string(),
        patients: text::thousands(totals.patients),
        studies: text::thousands(totals.studies),
        series: text::thousands(totals.series),
        instances: text::thousands(totals.instances),
        size: text::size(totals.size_bytes),
        quarantined,
        disk,
        audited: text::thousands(audited),
        trail_is_open,
    })
}

fn disk(free: u64, total: u64) -> Disk {
    let free_percent = free.saturating_mul(100).checked_div(total).unwrap_or(0).min(100);
    Disk {
        free: text::size(free),
        total: text::size(total),
        used_percent: 100 - free_percent,
        is_low: free_percent < LOW_PERCENT,
    }
}

fn unknown_peers(policy: &str) -> &'static str {
    match policy {
        "store" => "may store",
        "deny" => "are turned away",
        _ => "are asked about on the peers page",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_low_below_a_tenth_free() {
        assert!(disk(9, 100).is_low);
        assert!(!disk(10, 100).is_low);
        assert_eq!(disk(25, 100).used_percent, 75);
        assert_eq!(disk(0, 0).used_percent, 100);
    }
}

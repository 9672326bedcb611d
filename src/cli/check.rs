//! `filmroom check`: follows the chain of hashes through the audit trail.

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::with_database;
use crate::config::Settings;
use crate::db::audit::{self, chain};
use crate::db::{self, Pool};

/// Rows read at a time.
const ROWS: u64 = 5000;

/// Fails where the chain is broken.
pub async fn run(settings: &Settings) -> anyhow::Result<()> {
    with_database(settings, async |pool| follow(pool).await).await
}

async fn follow(pool: &Pool) -> anyhow::Result<()> {
    let mut conn = db::acquire(pool).await?;
    let count = audit::newest(&mut conn).await.map_err(db::Error::from)?;
    let style = ProgressStyle::with_template("audit trail {bar:40} {pos}/{len}");
    let progress = ProgressBar::new(count).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let (mut key, mut hash) = (0, chain::NOTHING.to_vec());
    loop {
        let rows = audit::read(&mut conn, key, ROWS).await.map_err(db::Error::from)?;
        if rows.is_empty() {
            break;
        }
        (key, hash) = chain::follow(key, &hash, &rows).context("the audit trail is not what was written")?;
        progress.set_position(key);
    }
    progress.finish_and_clear();
    println!("the audit trail is whole: {key} entries, the last has the hash {}", hex::encode(&hash));
    Ok(())
}

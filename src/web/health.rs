//! For machines: `GET /healthz` says that the program runs, `GET /readyz` that it can answer.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use mysql_async::prelude::Queryable;
use tokio::time::timeout;

use super::App;
use crate::db;

/// A database that takes longer is not ready.
const PATIENCE: Duration = Duration::from_secs(3);

/// `GET /healthz`
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).body("ok\n")
}

/// `GET /readyz`: 503 while the database does not answer or the program is being stopped.
pub async fn ready(app: web::Data<App>) -> HttpResponse {
    let (mut response, body) = match is_ready(&app).await {
        true => (HttpResponse::Ok(), "ready\n"),
        false => (HttpResponse::ServiceUnavailable(), "not ready\n"),
    };
    response.insert_header((header::CACHE_CONTROL, "no-store")).body(body)
}

async fn is_ready(app: &App) -> bool {
    if *app.stopping.borrow() {
        return false;
    }
    let ping = async {
        let mut conn = db::acquire(&app.pool).await?;
        conn.ping().await.map_err(db::Error::from)
    };
    match timeout(PATIENCE, ping).await {
        Ok(Ok(())) => true,
        Ok(Err(err)) => {
            tracing::warn!(%err, "the database is not ready");
            false
        }
        Err(_) => {
            tracing::warn!("the database did not answer in time");
            false
        }
    }
}

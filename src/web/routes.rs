//! Every address, in one table.
//!
//! Around all of them, from the outside in: security headers, errors as pages, and the guard of `access`.

use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::web::{ServiceConfig, get, post, scope};
use actix_web::{HttpResponse, web};

use super::{
    access, assets, error, events, health, hsts, instance, page, patient, peer, picture, quarantine, study,
    system, viewer,
};

/// What a page may load: our own files and nothing else, so that a hostile name in a data set stays text.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    img-src 'self'; \
    style-src 'self'; \
    script-src 'self'; \
    connect-src 'self'; \
    media-src 'self'; \
    form-action 'self'; \
    frame-ancestors 'none'; \
    base-uri 'none'";

/// All of HTTP. The application needs `web::Data<App>` beside it.
pub fn configure(config: &mut ServiceConfig) {
    config.service(
        scope("")
            .wrap(from_fn(access::guard))
            .wrap(from_fn(error::render))
            .wrap(headers())
            .wrap(from_fn(hsts::add))
            .configure(pages)
            .default_service(web::to(nothing_here)),
    );
}

fn pages(config: &mut ServiceConfig) {
    config
        .route("/", get().to(study::home))
        .route("/studies", get().to(study::list))
        .route("/studies/{study}", get().to(study::show))
        .route("/patients/{patient_key}", get().to(patient::show))
        .route("/events", get().to(events::stream))
        .route("/admin", get().to(peer::home))
        .route("/admin/peers", get().to(peer::list))
        .route("/admin/peers", post().to(peer::add))
        .route("/admin/peers/{peer_key}", get().to(peer::edit))
        .route("/admin/peers/{peer_key}", post().to(peer::change))
        .route("/admin/peers/{peer_key}/remove", get().to(peer::ask_to_remove))
        .route("/admin/peers/{peer_key}/remove", post().to(peer::remove))
        .route("/admin/callers/allow", post().to(peer::allow))
        .route("/admin/callers/forget", post().to(peer::forget))
        .route("/admin/quarantine", get().to(quarantine::list))
        .route("/admin/quarantine/{quarantine_key}", get().to(quarantine::show))
        .route("/admin/quarantine/{quarantine_key}/discard", get().to(quarantine::ask_to_discard))
        .route("/admin/quarantine/{quarantine_key}/discard", post().to(quarantine::discard))
        .route("/admin/system", get().to(system::show))
        .route("/healthz", get().to(health::alive))
        .route("/readyz", get().to(health::ready))
        .route("/theme", post().to(page::set_theme))
        .route("/static/{name:.+}", get().to(assets::get))
        .configure(instance::configure)
        .configure(picture::configure)
        .configure(viewer::configure);
}

/// PS3.15 asks for none of this; browsers do. `same-origin` tells other sites nothing, as `no-referrer` would, but
/// lets the browser send the Origin that `access` looks at.
fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add(("Content-Security-Policy", CONTENT_SECURITY_POLICY))
        .add(("X-Content-Type-Options", "nosniff"))
        .add(("Referrer-Policy", "same-origin"))
        .add(("Cross-Origin-Opener-Policy", "same-origin"))
        .add(("Cross-Origin-Resource-Policy", "same-origin"))
}

async fn nothing_here(_: access::User) -> Result<HttpResponse, error::Error> {
    Err(error::Error::NotFound)
}

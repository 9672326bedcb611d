//! Every address, in one table.
//!
//! Around all of them, from the outside in: security headers, errors as pages, and the guard of `access`.

use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::web::{ServiceConfig, get, post, scope};
use actix_web::{HttpResponse, web};

use super::{access, assets, error, page};

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
            .configure(pages)
            .default_service(web::to(nothing_here)),
    );
}

fn pages(config: &mut ServiceConfig) {
    config.route("/theme", post().to(page::set_theme)).route("/static/{name:.+}", get().to(assets::get));
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

//! OHIF, a viewer that runs in the browser, below `/ohif/`: the files its makers publish, from a folder that is named
//! when the program starts. It reads studies by DICOMweb, as whoever has signed in.

pub mod folder;
mod moved;

use std::io::Read;

use actix_web::http::header::{self, AcceptEncoding, Encoding, EntityTag, Header as _, IfNoneMatch};
use actix_web::web::{Bytes, Data, Path, block};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use flate2::read::GzDecoder;

use self::folder::{Folder, Made};
use super::App;
use super::access::Caller;
use super::error::Error;
use crate::db::role::Right;

/// Where all of it is.
pub const ROOT: &str = "/ohif/";
/// What the viewer is told, in the place of the file of that name.
const SETTINGS: &str = "app-config.js";
/// The page that every view of the viewer begins with.
const PAGE: &str = "index.html";

#[derive(Template)]
#[template(path = "ohif/app-config.js", escape = "none")]
struct SettingsFile {
    may_download: bool,
    may_upload: bool,
}

/// `GET /ohif`
pub async fn home(_: Caller, app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Error> {
    file(&app, &request, PAGE.to_owned()).await
}

/// `GET /ohif/{name}`: a file, or the page for every address that the viewer makes up.
pub async fn get(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    name: Path<String>,
) -> Result<HttpResponse, Error> {
    match name.as_str() {
        SETTINGS => settings(&app, &caller),
        name if is_view(name) => file(&app, &request, PAGE.to_owned()).await,
        _ => file(&app, &request, name.into_inner()).await,
    }
}

async fn file(app: &Data<App>, request: &HttpRequest, name: String) -> Result<HttpResponse, Error> {
    let asked = app.clone();
    let made = block(move || folder(&asked)?.get(&name).map_err(Error::internal)).await;
    let made = made.map_err(|err| Error::Unavailable(err.into()))??.ok_or(Error::NotFound)?;
    answer(request, made).await
}

fn folder(app: &App) -> Result<&Folder, Error> {
    app.ohif.as_ref().ok_or(Error::NotFound)
}

/// Whether it is an address of the viewer's own, such as `viewer`, and no file's.
fn is_view(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    !last.contains('.')
}

/// What the viewer offers follows from what the caller may do, so it is nobody else's.
fn settings(app: &App, caller: &Caller) -> Result<HttpResponse, Error> {
    folder(app)?;
    let settings =
        SettingsFile { may_download: caller.may(Right::Download), may_upload: caller.may(Right::Upload) };
    let text = settings.render()?;
    Ok(HttpResponse::Ok().content_type("text/javascript; charset=utf-8").body(text))
}

/// Shared memory, which the viewer computes volumes in, is for pages that keep to themselves: that is what the embedder
/// policy says, here and for its workers.
async fn answer(request: &HttpRequest, made: Made) -> Result<HttpResponse, Error> {
    // Weak, because it is zipped for some.
    let tag = EntityTag::new_weak(made.tag);
    let is_seen = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(seen)) => seen.iter().any(|seen| seen.weak_eq(&tag)),
        Err(_) => false,
    };
    let mut response = if is_seen { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    let caching = if made.is_lasting { "private, max-age=31536000, immutable" } else { "private, no-cache" };
    response
        .insert_header((header::CACHE_CONTROL, caching))
        .insert_header(header::ETag(tag))
        .insert_header((header::VARY, "Accept-Encoding, Cookie"))
        .insert_header((header::CONTENT_SECURITY_POLICY, made.policy))
        .insert_header(("Cross-Origin-Embedder-Policy", "require-corp"));
    if is_seen {
        return Ok(response.finish());
    }
    response.content_type(made.kind);
    if !made.is_zipped {
        return Ok(response.body(made.bytes));
    }
    if takes_gzip(request) {
        return Ok(response.insert_header(header::ContentEncoding::Gzip).body(made.bytes));
    }
    let plain = block(move || unzipped(&made.bytes)).await.map_err(|err| Error::Unavailable(err.into()))?;
    Ok(response.body(plain.map_err(Error::internal)?))
}

fn takes_gzip(request: &HttpRequest) -> bool {
    let offered = [Encoding::gzip(), Encoding::identity()];
    let chosen = AcceptEncoding::parse(request).ok().and_then(|accept| accept.negotiate(offered.iter()));
    chosen == Some(Encoding::gzip())
}

fn unzipped(bytes: &Bytes) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes.as_ref()).read_to_end(&mut plain)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_an_extension_is_a_view() {
        for view in ["", "viewer", "viewer/dicomweb", "segmentation"] {
            assert!(is_view(view), "{view}");
        }
        for file in ["app.bundle.js", "assets/favicon.ico", "a/b.c"] {
            assert!(!is_view(file), "{file}");
        }
    }
}

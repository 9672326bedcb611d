//! Stylesheets, scripts and icons, embedded in the executable.
//!
//! Pages refer to a file by [`href`], whose address holds a hash of the content: such an answer may be kept for ever.
//! The same file without the hash (one script importing another) is checked again each time, by its ETag.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::http::header::{self, EntityTag, IfNoneMatch};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::Error;

macro_rules! embedded {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/static/", $name)))),+]
    };
}

/// Every file of `static/`, by its name below that folder.
const FILES: &[(&str, &[u8])] = embedded![
    "app.css",
    "app.js",
    "favicon.svg",
    "icons.svg",
    "upload/files.js",
    "upload/upload.js",
    "viewer/address.js",
    "viewer/film.js",
    "viewer/gestures.js",
    "viewer/instance.css",
    "viewer/instance.js",
    "viewer/viewer.css",
    "viewer/viewer.js",
];

struct Asset {
    bytes: &'static [u8],
    content_type: &'static str,
    hash: String,
}

static ASSETS: LazyLock<BTreeMap<&'static str, Asset>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|&(name, bytes)| {
            let digest = Sha256::digest(bytes);
            let hash = hex::encode(digest.iter().take(6).copied().collect::<Vec<u8>>());
            (name, Asset { bytes, content_type: content_type(name), hash })
        })
        .collect()
});

/// The address of an embedded file, with the hash of its content.
///
/// # Panics
/// When there is no such file: the names stand in templates, and the first page that is shown would tell.
pub fn href(name: &str) -> String {
    match ASSETS.get(name) {
        Some(asset) => format!("/static/{name}?v={}", asset.hash),
        None => panic!("static/{name} is not embedded"),
    }
}

/// What may follow the question mark.
#[derive(Deserialize)]
pub struct Version {
    v: Option<String>,
}

/// `GET /static/{name}`
pub async fn get(
    name: web::Path<String>,
    version: web::Query<Version>,
    seen: web::Header<IfNoneMatch>,
) -> Result<HttpResponse, Error> {
    let asset = ASSETS.get(name.as_str()).ok_or(Error::NotFound)?;
    let tag = EntityTag::new_strong(asset.hash.clone());
    let lasting = version.v.as_deref() == Some(asset.hash.as_str());
    let caching = if lasting { "public, max-age=31536000, immutable" } else { "no-cache" };
    let unchanged = match seen.into_inner() {
        IfNoneMatch::Any => true,
        IfNoneMatch::Items(tags) => tags.iter().any(|seen| seen.weak_eq(&tag)),
    };
    let mut response = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((header::CACHE_CONTROL, caching)).insert_header(header::ETag(tag));
    if unchanged {
        return Ok(response.finish());
    }
    Ok(response.content_type(asset.content_type).body(asset.bytes))
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_change_with_the_content() {
        let address = href("app.css");
        assert!(address.starts_with("/static/app.css?v="), "{address}");
        assert_eq!(address.rsplit('=').next().map(str::len), Some(12));
        assert_ne!(ASSETS["app.css"].hash, ASSETS["app.js"].hash);
    }

    #[test]
    fn every_file_has_a_content_type_a_browser_uses() {
        for (name, asset) in ASSETS.iter() {
            assert_ne!(asset.content_type, "application/octet-stream", "{name}");
        }
    }
}

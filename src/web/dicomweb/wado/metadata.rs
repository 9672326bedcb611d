//! Metadata, PS3.18 section 10.4.1.1.2: all that instances hold beside what is long. It is made once and kept, on the disk
//! and for a while in memory.

use std::io::Write;

use actix_web::http::header::{self, ETag, EntityTag};
use actix_web::web::{Bytes, Data, block};
use actix_web::{HttpRequest, HttpResponse};
use dicom_dictionary_std::tags;
use flate2::Compression;
use flate2::write::GzEncoder;
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::{broken, is_seen, not_modified, ranges};
use crate::archive::Archive;
use crate::archive::metadata::{Kept, ROOT, with_root};
use crate::archive::retrieve::{ExtentRow, Holding, Unreadable};
use crate::web::App;
use crate::web::access::Caller;
use crate::web::dicomweb::xml::{self, XML};
use crate::web::dicomweb::{Named, address, media, root};
use crate::web::error::Error;
use crate::web::picture::uids_of_series_seen;

/// Counts up when the same instances have other metadata.
const METADATA: &str = concat!("metadata/3/", env!("CARGO_PKG_VERSION"));
/// Metadata in one answer, bytes; of more, it has to be asked for by series or instance.
const LONGEST: usize = 256 << 20;
const VARY: &str = "Accept, Accept-Encoding, Cookie, Authorization";
/// Metadata in memory, bytes as they are sent.
const KEPT: u64 = 48 << 20;

/// Metadata of what was asked for lately, by its entity tag and whether it is zipped.
pub type Metadata = Cache<(String, bool), Bytes>;

/// Where metadata that was made is kept in memory.
pub fn cache() -> Metadata {
    let weigh = |_: &(String, bool), body: &Bytes| u32::try_from(body.len()).unwrap_or(u32::MAX);
    Cache::builder().max_capacity(KEPT).weigher(weigh).build()
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Under one of its names.
    Json(&'static str),
    Xml,
}

const JSON: &str = "application/dicom+json";
const PLAIN_JSON: &str = "application/json";
const FORMS: [(&str, Form); 3] =
    [(JSON, Form::Json(JSON)), (PLAIN_JSON, Form::Json(PLAIN_JSON)), (XML, Form::Xml)];

/// `GET …/metadata` of a study, a series or an instance.
pub async fn get(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let ranges = ranges(&request);
    let (form, range) = media::choose_for(&ranges, &FORMS)?;
    let extents = named.extents(&app, &caller).await?;
    for extent in &extents {
        uids_of_series_seen(&app, &caller, &extent.study_instance_uid, &extent.series_instance_uid).await?;
    }
    let root = root(&caller);
    let made_of = made_of(&extents);
    let key = key(&made_of, &root);
    let takes_gzip = matches!(form, Form::Json(_)) && takes_gzip(&request);
    let tag = EntityTag::new_strong(match form {
        // Other bytes, RFC 9110 section 8.8.3.3.
        Form::Json(_) if takes_gzip => format!("{key}-gzip"),
        Form::Json(_) => key.clone(),
        Form::Xml if range.name == XML => format!("{key}-xml"),
        Form::Xml => format!("{key}-parts"),
    });
    if is_seen(&request, &tag) {
        return Ok(not_modified(tag, VARY));
    }
    let body = match app.metadata.get(&(key.clone(), takes_gzip)) {
        Some(body) => body,
        None => {
            let kept = match &named.instance {
                None => Some(app.archive.kept_metadata(&named.uids(), &made_of)),
                // A small thing, and there are many of them.
                Some(_) => None,
            };
            let body = body(&app, &caller, &named, kept, root, takes_gzip).await?;
            app.metadata.insert((key.clone(), takes_gzip), body.clone());
            body
        }
    };
    let mut response = HttpResponse::Ok();
    response
        .insert_header(ETag(tag))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .insert_header((header::VARY, VARY));
    response.insert_header(match takes_gzip {
        true => header::ContentEncoding::Gzip,
        false => header::ContentEncoding::Identity,
    });
    match form {
        Form::Json(kind) => Ok(response.content_type(kind).body(body)),
        // The key stands in no instance, and the same address has the same bytes.
        Form::Xml => xml::answer(response, &app.pictures, body, range, key).await,
    }
}

/// The metadata as JSON, zipped where that is wanted: as it is kept, or made and kept then.
async fn body(
    app: &App,
    caller: &Caller,
    named: &Named,
    kept: Option<Kept>,
    root: String,
    is_zipped: bool,
) -> Result<Bytes, Error> {
    // Before anything long is in memory.
    let processor = app.pictures.processor().await?;
    let found = match kept.clone() {
        Some(kept) => block(move || kept.read()).await.map_err(|err| Error::Unavailable(err.into()))?,
        None => None,
    };
    let holdings = match found {
        Some(_) => Vec::new(),
        None => named.holdings(app, caller).await?,
    };
    let archive = app.archive.clone();
    let made = block(move || {
        let _processor = processor;
        let (text, is_new) = match found {
            Some(text) => (text, false),
            None => (made(&archive, &holdings)?, true),
        };
        let body = with_root(&text, &root);
        let body = if is_zipped { zipped(&body)? } else { body };
        Ok((body, is_new.then_some(text)))
    });
    let made = made.await.map_err(|err| Error::Unavailable(err.into()))?;
    let (body, new) = made.map_err(broken)?;
    if let (Some(text), Some(kept)) = (new, kept) {
        // Nobody waits for it.
        let archive = app.archive.clone();
        drop(block(move || kept.write(&archive, &text)));
    }
    Ok(Bytes::from(body))
}

/// The metadata of these instances. Blocks.
fn made(archive: &Archive, holdings: &[Holding]) -> Result<Vec<u8>, Unreadable> {
    let mut text = vec![b'['];
    for (number, holding) in holdings.iter().enumerate() {
        if number > 0 {
            text.push(b',');
        }
        let at = address(ROOT, holding);
        let added = [
            (tags::RETRIEVE_URL, at.clone()),
            (tags::AVAILABLE_TRANSFER_SYNTAX_UID, holding.row().transfer_syntax_uid.clone()),
        ];
        archive.json(holding, &added, |path| format!("{at}/bulkdata/{path}"), &mut text)?;
        if text.len() > LONGEST {
            return Err(Unreadable::TooLong(u64::try_from(text.len()).unwrap_or(u64::MAX)));
        }
    }
    text.push(b']');
    Ok(text)
}

fn zipped(text: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut zip = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
    let zipped = zip.write_all(text).and_then(|()| zip.finish());
    zipped.map_err(|err| Unreadable::Archive(err.into()))
}

/// Of what metadata is made: it changes when the instances do.
fn made_of(extents: &[ExtentRow]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(METADATA);
    for extent in extents {
        hasher.update(&extent.study_instance_uid);
        hasher.update(&extent.series_instance_uid);
        for number in [extent.instances, extent.newest, extent.keys, extent.hashes] {
            hasher.update(number.to_le_bytes());
        }
    }
    hex::encode(hasher.finalize().iter().take(16).copied().collect::<Vec<u8>>())
}

/// What it is kept under in memory, and its entity tag.
fn key(made_of: &str, root: &str) -> String {
    let root = Sha256::digest(root);
    format!("{made_of}{}", hex::encode(root.iter().take(16).copied().collect::<Vec<u8>>()))
}

fn takes_gzip(request: &HttpRequest) -> bool {
    let headers = request.headers().get_all(header::ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
    headers.flat_map(|value| value.split(',')).any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        matches!(name.trim(), "gzip" | "*") && !matches!(quality.trim(), "q=0" | "q=0.0")
    })
}

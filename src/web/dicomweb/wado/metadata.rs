//! Metadata, PS3.18 section 10.4.1.1.2: all that instances hold beside what is long. It is made once and kept, zipped.

use std::fmt::Write;
use std::io::Read;

use actix_web::http::header::{self, ETag, EntityTag};
use actix_web::web::{Bytes, Data, block};
use actix_web::{HttpRequest, HttpResponse};
use dicom_dictionary_std::tags;
use flate2::Compression;
use flate2::write::GzEncoder;
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::{broken, first_of_each_series, is_seen, ranges};
use crate::archive::retrieve::{Holding, Unreadable};
use crate::web::App;
use crate::web::access::Caller;
use crate::web::dicomweb::xml::{self, XML};
use crate::web::dicomweb::{Named, address, media, root};
use crate::web::error::Error;
use crate::web::picture::series_seen;

/// Counts up when the same instances have other metadata.
const METADATA: &str = concat!("metadata/1/", env!("CARGO_PKG_VERSION"));
/// Metadata in one answer, bytes; of more, it has to be asked for by series or instance.
const LONGEST: usize = 256 << 20;
/// Kept metadata, bytes as they are sent.
const KEPT: u64 = 32 << 20;

/// Where metadata that was made is kept.
pub fn cache() -> Cache<String, Bytes> {
    let weigh = |_: &String, zipped: &Bytes| u32::try_from(zipped.len()).unwrap_or(u32::MAX);
    Cache::builder().max_capacity(KEPT).weigher(weigh).build()
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Xml,
}

const FORMS: [(&str, Form); 3] =
    [("application/dicom+json", Form::Json), ("application/json", Form::Json), (XML, Form::Xml)];

/// `GET …/metadata` of a study, a series or an instance.
pub async fn get(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let ranges = ranges(&request);
    let (form, range) = media::choose_for(&ranges, &FORMS)?;
    let holdings = named.holdings(&app, &caller).await?;
    for holding in first_of_each_series(&holdings) {
        series_seen(&app, &caller, holding).await?;
    }
    let root = root(&caller);
    let key = key(METADATA, &holdings, &root);
    let tag = EntityTag::new_strong(match form {
        Form::Json => key.clone(),
        Form::Xml if range.name == XML => format!("{key}-xml"),
        Form::Xml => format!("{key}-parts"),
    });
    if is_seen(&request, &tag) {
        return Ok(HttpResponse::NotModified().insert_header(ETag(tag)).finish());
    }
    let zipped = match app.metadata.get(&key) {
        Some(zipped) => zipped,
        None => {
            let zipped = made(&app, holdings, root).await?;
            app.metadata.insert(key.clone(), zipped.clone());
            zipped
        }
    };
    let mut response = HttpResponse::Ok();
    response
        .insert_header(ETag(tag))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .insert_header((header::VARY, "Accept, Accept-Encoding, Cookie, Authorization"))
        .content_type("application/dicom+json");
    if form == Form::Json && takes_gzip(&request) {
        return Ok(response.insert_header(header::ContentEncoding::Gzip).body(zipped));
    }
    let unzip = move || {
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(zipped.as_ref()).read_to_end(&mut text).map(|_| text)
    };
    let text = block(unzip).await.map_err(|err| Error::Unavailable(err.into()))?.map_err(Error::internal)?;
    response.insert_header(header::ContentEncoding::Identity);
    match form {
        Form::Json => Ok(response.body(text)),
        // The key stands in no instance, and the same address has the same bytes.
        Form::Xml => xml::answer(response, text, range, key).await,
    }
}

/// The metadata of these instances as JSON, zipped.
async fn made(app: &App, holdings: Vec<Holding>, root: String) -> Result<Bytes, Error> {
    let archive = app.archive.clone();
    let processor = app.pictures.processor().await?;
    let made = move || {
        let _processor = processor;
        let mut text = vec![b'['];
        for (number, holding) in holdings.iter().enumerate() {
            if number > 0 {
                text.push(b',');
            }
            let at = address(&root, holding);
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
        let mut zip = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
        std::io::Write::write_all(&mut zip, &text)
            .and_then(|()| zip.finish())
            .map_err(|err| Unreadable::Archive(err.into()))
    };
    let made = block(made).await.map_err(|err| Error::Unavailable(err.into()))?;
    made.map(Bytes::from).map_err(|err| broken(&err))
}

/// What the metadata of these instances is kept under: it changes when they do.
fn key(kind: &str, holdings: &[Holding], root: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(kind);
    hasher.update(root);
    for holding in holdings {
        hasher.update(&holding.row().data_set_sha256);
        hasher.update(&holding.row().transfer_syntax_uid);
    }
    let mut text = String::new();
    for byte in hasher.finalize().iter().take(16) {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
    }
    text
}

fn takes_gzip(request: &HttpRequest) -> bool {
    let headers = request.headers().get_all(header::ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
    headers.flat_map(|value| value.split(',')).any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        matches!(name.trim(), "gzip" | "*") && !matches!(quality.trim(), "q=0" | "q=0.0")
    })
}

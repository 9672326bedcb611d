//! One instance: all its attributes, a report as text, and its file.

mod attributes;
mod report;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::http::header::{self, ContentDisposition, DispositionParam, DispositionType};
use actix_web::web::{Bytes, Data, Path, Query, block};
use askama::Template;
use dicom_dictionary_std::tags;
use futures_util::stream;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use self::attributes::Listing;
pub(super) use self::report::Part;
use super::App;
use super::access::{Caller, NOT_ALLOWED};
use super::error::Error;
use super::page::{self, Layout};
use super::picture::{instance_of, kind_of, position};
use super::text;
use crate::archive::retrieve::{Holding, Unreadable, read_from_memory};
use crate::db::audit::{Action, Entry};
use crate::db::role::Right;
use crate::dicom::data_set::DataSet;
use crate::dicom::sop_class;

/// Rows on a page.
const ROWS: usize = 1_000;
/// Values up to this length are shown, or at least their beginning.
const VALUE_BYTES: u64 = 64 << 10;
/// A document longer than this is to be taken out of the downloaded instance.
const DOCUMENT_BYTES: u64 = 32 << 20;
/// What is read of a file at a time on its way to a browser.
const CHUNK: usize = 256 << 10;
/// The same where the disk has to be waited for, on another thread.
const CHUNK_OF_DISK: usize = 1 << 20;

#[derive(Template)]
#[template(path = "instance/show.html")]
struct ShowPage {
    layout: Layout,
    what: &'static str,
    class: String,
    instance: String,
    study: String,
    viewer: Option<String>,
    here: String,
    download: Option<String>,
    document: Option<String>,
    size: String,
    transfer_syntax: String,
    problem: Option<String>,
    report: Option<(String, Vec<Part>)>,
    query: String,
    listing: Listing,
    position: String,
    is_whole: bool,
    previous: Option<String>,
    next: Option<String>,
}

/// What may follow the question mark.
#[derive(Debug, Deserialize)]
pub struct Asked {
    q: Option<String>,
    page: Option<String>,
}

/// `GET /instances/{SOPInstanceUID}?q=&page=`
pub async fn show(
    caller: Caller,
    app: Data<App>,
    layout: Layout,
    instance: Path<String>,
    asked: Query<Asked>,
) -> Result<HttpResponse, Error> {
    let holding = instance_of(&app, &caller, &instance).await?;
    let row = holding.row();
    let here = format!("/instances/{}", row.sop_instance_uid);
    let viewer = format!("/studies/{}/viewer?instance={}", row.study_instance_uid, row.sop_instance_uid);
    let links = Links {
        download: caller.may(Right::Download).then(|| format!("{here}.dcm")),
        viewer: Some(viewer),
        document: caller.may(Right::Download),
        here,
    };
    let page = attributes_page(&app, layout, &holding, links, &asked).await?;
    caller.record(&app, about(&caller, Action::ViewInstance, &holding)).await?;
    Ok(page)
}

/// `GET /quarantine/{key}/attributes?q=&page=`
pub async fn show_quarantined(
    caller: Caller,
    app: Data<App>,
    layout: Layout,
    key: Path<u64>,
    asked: Query<Asked>,
) -> Result<HttpResponse, Error> {
    let holding = app.archive.quarantined_file(*key, &caller.visibility).await?.ok_or(Error::NotFound)?;
    let download = caller.may(Right::Download).then(|| format!("/quarantine/{key}.dcm"));
    let links =
        Links { here: format!("/quarantine/{key}/attributes"), download, viewer: None, document: false };
    let page = attributes_page(&app, layout, &holding, links, &asked).await?;
    caller.record(&app, about(&caller, Action::ViewQuarantine, &holding)).await?;
    Ok(page)
}

/// What somebody did with an instance, for the audit trail.
pub(super) fn about(caller: &Caller, action: Action, holding: &Holding) -> Entry {
    let row = holding.row();
    let entry = caller.did(action, format!("instance {}", row.sop_instance_uid));
    entry.study(&row.study_instance_uid).series(&row.series_instance_uid)
}

/// Where a page of attributes leads.
struct Links {
    here: String,
    /// Of the file, for those who may take it away.
    download: Option<String>,
    viewer: Option<String>,
    document: bool,
}

async fn attributes_page(
    app: &App,
    layout: Layout,
    holding: &Holding,
    links: Links,
    asked: &Asked,
) -> Result<HttpResponse, Error> {
    let query = asked.q.as_deref().unwrap_or_default().trim().to_owned();
    let page0 = match asked.page.as_deref() {
        None | Some("") => 0,
        Some(text) => position(text, "The page", 10_000)?,
    };
    let _processor = app.pictures.processor().await?;
    let meta = readable(app.archive.file_meta(holding).await)?;
    let data_set = readable(app.archive.attributes(holding, VALUE_BYTES).await)?;
    let problem = [&meta, &data_set].into_iter().find_map(|read| read.as_ref().err().cloned());
    let has_document =
        data_set.as_ref().is_ok_and(|data_set| data_set.element(tags::ENCAPSULATED_DOCUMENT).is_some());
    let sets: Vec<_> = [&meta, &data_set].into_iter().filter_map(|read| read.as_ref().ok()).collect();
    let listing = attributes::list(&sets, &query, page0 * ROWS, ROWS);
    let report = data_set.as_ref().ok().and_then(report::report);

    let row = holding.row();
    let address = |page: usize| {
        let query = utf8_percent_encode(&query, NON_ALPHANUMERIC);
        format!("{}?q={query}&page={page}", links.here)
    };
    let first = page0 * ROWS;
    let last = first + listing.rows.len();
    let thousands = |number: usize| text::thousands(u64::try_from(number).unwrap_or(u64::MAX));
    let shown = ShowPage {
        layout,
        what: kind_of(holding).label(),
        class: class_name(&row.sop_class_uid),
        instance: row.sop_instance_uid.clone(),
        study: format!("/studies/{}", row.study_instance_uid),
        viewer: links.viewer.filter(|_| row.number_of_frames > 0),
        download: links.download,
        document: (has_document && links.document).then(|| format!("{}/document", links.here)),
        size: text::size(row.size_bytes),
        transfer_syntax: transfer_syntax_name(row.transfer_syntax_uid.as_str()),
        problem,
        report,
        position: match (query.is_empty(), listing.matching > ROWS) {
            (true, false) => text::counted(u64::try_from(listing.total).unwrap_or(u64::MAX), "row", "rows"),
            (false, false) => format!("{} of {} rows", thousands(listing.matching), thousands(listing.total)),
            (_, true) => format!(
                "{} to {} of {} rows",
                thousands(first + 1),
                thousands(last),
                thousands(listing.matching)
            ),
        },
        is_whole: query.is_empty() && listing.total <= ROWS,
        previous: (page0 > 0).then(|| address(page0)),
        next: (last < listing.matching).then(|| address(page0 + 2)),
        here: links.here,
        query,
        listing,
    };
    page::html(&shown)
}

/// A report as its page shows it, with its title and all other attributes; none where the instance is no report.
pub(super) async fn report_of(app: &App, holding: &Holding) -> Result<Option<Report>, Error> {
    let _processor = app.pictures.processor().await?;
    let data_set = app.archive.attributes(holding, VALUE_BYTES).await.map_err(|err| match err {
        Unreadable::Archive(err) => Error::from(err),
        err => Error::Invalid(format!("The report cannot be read: {err}.")),
    })?;
    Ok(report::report(&data_set).map(|(title, parts)| Report { title, parts, data_set }))
}

/// A structured report.
pub(super) struct Report {
    pub(super) title: String,
    pub(super) parts: Vec<Part>,
    pub(super) data_set: DataSet,
}

/// What can be shown, or the sentence in its place; what is not the instance's fault goes on as an error.
fn readable<T>(read: Result<T, Unreadable>) -> Result<Result<T, String>, Error> {
    match read {
        Ok(read) => Ok(Ok(read)),
        Err(Unreadable::Archive(err)) => Err(err.into()),
        Err(err) => Ok(Err(err.to_string())),
    }
}

fn class_name(uid: &str) -> String {
    let name = uid.parse().ok().and_then(|uid| sop_class::name(&uid));
    name.map_or_else(|| uid.to_owned(), str::to_owned)
}

pub(super) fn transfer_syntax_name(uid: &str) -> String {
    use dicom_dictionary_std::uids;
    match uid {
        uids::IMPLICIT_VR_LITTLE_ENDIAN => "Implicit VR Little Endian".to_owned(),
        uids::EXPLICIT_VR_LITTLE_ENDIAN => "Explicit VR Little Endian".to_owned(),
        "1.2.840.10008.1.2.2" => "Explicit VR Big Endian".to_owned(),
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => "Deflated Explicit VR Little Endian".to_owned(),
        uid => dicom_encoding::transfer_syntax::TransferSyntaxIndex::get(
            &dicom_transfer_syntax_registry::TransferSyntaxRegistry,
            uid,
        )
        .map_or_else(|| uid.to_owned(), |syntax| syntax.name().to_owned()),
    }
}

/// `GET /instances/{SOPInstanceUID}.dcm`: the file, with the data set as it was received.
pub async fn download(caller: Caller, app: Data<App>, instance: Path<String>) -> Result<HttpResponse, Error> {
    let holding = instance_of(&app, &caller, &instance).await?;
    let answer = file(&app, &holding, format!("{}.dcm", holding.row().sop_instance_uid)).await?;
    caller.record(&app, about(&caller, Action::Download, &holding)).await?;
    Ok(answer)
}

/// `GET /quarantine/{key}.dcm`: for those who may take files away as well as correct.
pub async fn download_quarantined(
    caller: Caller,
    app: Data<App>,
    key: Path<u64>,
) -> Result<HttpResponse, Error> {
    if !caller.may(Right::Download) {
        return Err(Error::Forbidden(NOT_ALLOWED));
    }
    let holding = app.archive.quarantined_file(*key, &caller.visibility).await?.ok_or(Error::NotFound)?;
    let name = format!("{}-quarantined-{key}.dcm", holding.row().sop_instance_uid);
    let answer = file(&app, &holding, name).await?;
    caller.record(&app, about(&caller, Action::Download, &holding)).await?;
    Ok(answer)
}

async fn file(app: &App, holding: &Holding, name: String) -> Result<HttpResponse, Error> {
    let (archive, wanted) = (app.archive.clone(), holding.clone());
    let opened = block(move || archive.file(&wanted)).await;
    let (file, length) = opened.map_err(|err| Error::Unavailable(err.into()))??;
    Ok(HttpResponse::Ok()
        .insert_header(attachment(name))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(header::ContentEncoding::Identity)
        .content_type("application/dicom")
        .body(SizedStream::new(length, chunks(file, length))))
}

/// A file in pieces, so that memory does not grow with it.
fn chunks(file: File, length: u64) -> impl stream::Stream<Item = std::io::Result<Bytes>> {
    chunks_of(file, 0, length)
}

/// So many bytes of a file from there on, in pieces.
pub(super) fn chunks_of(
    file: impl Into<Arc<File>>,
    start: u64,
    length: u64,
) -> impl stream::Stream<Item = std::io::Result<Bytes>> {
    let file = file.into();
    let end = start.saturating_add(length);
    stream::try_unfold(start, move |offset: u64| {
        let file = Arc::clone(&file);
        async move {
            let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
            if left == 0 {
                return Ok(None);
            }
            // What is in memory already comes without another thread.
            let mut bytes = read_from_memory(&file, offset, left.min(CHUNK));
            if bytes.is_empty() {
                let read = move || {
                    let mut bytes = vec![0; left.min(CHUNK_OF_DISK)];
                    file.read_exact_at(&mut bytes, offset).map(|()| bytes)
                };
                bytes = block(read).await.map_err(std::io::Error::other)??;
            }
            let next = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            Ok(Some((Bytes::from(bytes), next)))
        }
    })
}

/// `GET /instances/{SOPInstanceUID}/document`: the bytes of an encapsulated document. They are a stranger's, so no
/// browser may run what is in them.
pub async fn document(caller: Caller, app: Data<App>, instance: Path<String>) -> Result<HttpResponse, Error> {
    let holding = instance_of(&app, &caller, &instance).await?;
    let (bytes, mime, extension) = document_of(&app, &holding).await?;
    caller.record(&app, about(&caller, Action::Download, &holding)).await?;
    Ok(HttpResponse::Ok()
        .insert_header(attachment(format!("{}.{extension}", holding.row().sop_instance_uid)))
        .insert_header((header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type(mime)
        .body(bytes))
}

/// An encapsulated document, its media type, and how a file of it is called.
pub(super) async fn document_of(
    app: &App,
    holding: &Holding,
) -> Result<(Vec<u8>, &'static str, &'static str), Error> {
    let _processor = app.pictures.processor().await?;
    let data_set = app.archive.attributes(holding, DOCUMENT_BYTES).await.map_err(|err| match err {
        Unreadable::Archive(err) => Error::from(err),
        err => Error::Invalid(format!("The document cannot be read: {err}.")),
    })?;
    if data_set.element(tags::ENCAPSULATED_DOCUMENT).is_none() {
        return Err(Error::NotFound);
    }
    let too_long =
        || Error::Invalid("The document is too long to be taken out here. Download the instance.".into());
    let bytes = data_set.bytes(tags::ENCAPSULATED_DOCUMENT).ok_or_else(too_long)?;
    // PS3.3 C.24.2: a document of odd length is padded, and its own length stands beside it.
    let length =
        data_set.integer(tags::ENCAPSULATED_DOCUMENT_LENGTH).and_then(|length| usize::try_from(length).ok());
    let bytes =
        length.and_then(|length| bytes.get(..length)).filter(|bytes| !bytes.is_empty()).unwrap_or(bytes);
    let mime = data_set.text(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT).unwrap_or_default();
    let (mime, extension) = match mime.to_ascii_lowercase().as_str() {
        "application/pdf" => ("application/pdf", "pdf"),
        "text/xml" | "application/xml" => ("application/xml", "xml"),
        "model/stl" => ("model/stl", "stl"),
        "model/obj" => ("model/obj", "obj"),
        _ => ("application/octet-stream", "bin"),
    };
    Ok((bytes.to_vec(), mime, extension))
}

fn attachment(name: String) -> ContentDisposition {
    ContentDisposition {
        disposition: DispositionType::Attachment,
        parameters: vec![DispositionParam::Filename(name)],
    }
}

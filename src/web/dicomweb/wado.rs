//! WADO-RS, PS3.18 section 10.4: instances, their metadata, frames and bulk data.

pub mod bulkdata;
pub(super) mod found;
pub mod frames;
pub mod metadata;

use std::future::ready;
use std::io::Read;

use actix_web::http::header::{
    self, ETag, EntityTag, Header as _, HeaderValue, IfNoneMatch, TryIntoHeaderValue,
};
use actix_web::web::{Bytes, Data, block};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use dicom_dictionary_std::uids;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use super::media::{self, Range};
use super::multipart::{self, Part, cut_off};
use super::{Named, address, root};
use crate::archive::retrieve::sendable::Sendable;
use crate::archive::retrieve::transcode::{Unconvertible, targets};
use crate::archive::retrieve::{Holding, Unreadable};
use crate::codec;
use crate::db::audit::Action;
use crate::dicom::file_meta;
use crate::dicom::uid::TransferSyntaxUid;
use crate::web::App;
use crate::web::access::Caller;
use crate::web::error::Error;
use crate::web::instance::chunks_of;

/// What is converted is sent in pieces of so many bytes.
const PIECE: usize = 128 << 10;

/// What an answer depends on beside its address.
pub(super) const VARY: &str = "Accept, Cookie, Authorization";

const DICOM: [(&str, ()); 1] = [("application/dicom", ())];

/// `GET /dicom-web/studies/{study}`, `…/series/{series}` and `…/instances/{instance}`: Part 10 files, as they are stored
/// where that is taken, and converted otherwise, PS3.18 section 8.7.3.5.
pub async fn instances(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let ranges = ranges(&request);
    let holdings = named.holdings(&app, &caller).await?;
    let ((), range) = media::choose_able(&ranges, &DICOM, |(), range| {
        let syntax = range.parameter("transfer-syntax");
        (holdings.len() == 1 || range.takes_several())
            && holdings.iter().all(|holding| target(holding, syntax).is_ok())
    })?;
    let syntax = range.parameter("transfer-syntax");
    let is_single = !range.takes_several();
    if is_single && holdings.len() > 1 {
        let words = "Several instances come as multipart/related; type=\"application/dicom\".";
        return Err(Error::NotAcceptable(words.to_owned()));
    }
    let mut parts = Vec::with_capacity(holdings.len());
    for holding in holdings {
        parts.push(Wanted::of(holding, syntax)?);
    }
    let details = format!("{} instances by DICOMweb", parts.len());
    let mut entry = caller.did(Action::Download, details);
    if let Some(study) = &named.study {
        entry = entry.study(study.as_str());
    }
    if let Some(series) = &named.series {
        entry = entry.series(series.as_str());
    }
    caller.record(&app, entry).await?;
    if is_single {
        let Some(only) = parts.pop() else { return Err(Error::NotFound) };
        return only.answer(&app).await;
    }
    let root = root(&caller);
    let is_stored = parts.iter().all(|part| part.target == *part.holding.transfer_syntax());
    let parts = parts.into_iter().map(move |wanted| {
        let app = app.clone();
        let length = wanted.holding.row().size_bytes;
        let kind = content_type("application/dicom", &wanted.target);
        let location = address(&root, &wanted.holding);
        let body = async move { wanted.body(&app).await.map_err(|err| cut_off(&err)) };
        (Part { kind, location, body: stream::once(body).try_flatten().boxed_local() }, length)
    });
    // What is converted is as long as it becomes.
    Ok(not_kept(match is_stored {
        true => multipart::sized("application/dicom", parts.collect()),
        false => multipart::answer("application/dicom", stream::iter(parts.map(|(part, _)| Ok(part)))),
    }))
}

/// An instance and the transfer syntax it is to be sent in.
pub(super) struct Wanted {
    holding: Holding,
    target: TransferSyntaxUid,
}

impl Wanted {
    /// An instance in the transfer syntax that is wanted.
    pub(super) fn of(holding: Holding, syntax: Option<&str>) -> Result<Wanted, Error> {
        Ok(Wanted { target: target(&holding, syntax)?, holding })
    }

    /// It alone, as a file.
    pub(super) async fn answer(self, app: &App) -> Result<HttpResponse, Error> {
        let kind = content_type("application/dicom", &self.target);
        let body = self.body(app).await?;
        Ok(not_kept(bytes(HttpResponse::Ok(), &kind).streaming(body)))
    }

    async fn body(self, app: &App) -> Result<multipart::Body, Error> {
        let Wanted { holding, target } = self;
        if target == *holding.transfer_syntax() {
            let archive = app.archive.clone();
            let opened = block(move || archive.file(&holding)).await;
            let opened = opened.map_err(|err| Error::Unavailable(err.into()))?;
            let (file, length) = opened.map_err(|err| broken(Unreadable::Archive(err)))?;
            return Ok(chunks_of(file, 0, length).boxed_local());
        }
        let row = holding.row();
        let class = row.sop_class_uid.parse().map_err(Error::internal)?;
        let uid = row.sop_instance_uid.parse().map_err(Error::internal)?;
        let head = file_meta::head(Some(&class), Some(&uid), &target, "").map_err(Error::internal)?;
        let mut known = targets(holding.transfer_syntax()).iter().copied();
        let form = known.find(|known| known.uid() == target.as_str()).ok_or(Error::NotFound)?;
        let _processor = app.pictures.processor().await?;
        let data_set = app.archive.converted_to(&holding, form).await.map_err(unconvertible)?;
        Ok(one(head).chain(pieces(data_set)).boxed_local())
    }
}

fn pieces(data_set: Sendable) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold(data_set, |mut data_set| async move {
        let read = move || {
            let mut bytes = Vec::with_capacity(PIECE);
            let limit = u64::try_from(PIECE).unwrap_or(u64::MAX);
            data_set.by_ref().take(limit).read_to_end(&mut bytes).map(|_| (bytes, data_set))
        };
        let (bytes, data_set) = block(read).await.map_err(std::io::Error::other)??;
        Ok((!bytes.is_empty()).then(|| (Bytes::from(bytes), data_set)))
    })
}

pub(super) fn one(bytes: Vec<u8>) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::once(ready(Ok(Bytes::from(bytes))))
}

/// As it is stored where that is taken; without a word Explicit VR Little Endian is, PS3.18 section 8.7.3.5.2, and what
/// has no such form comes as it is stored then.
fn target(holding: &Holding, wanted: Option<&str>) -> Result<TransferSyntaxUid, Error> {
    let stored = holding.transfer_syntax();
    let said = wanted.filter(|wanted| !wanted.is_empty());
    match said {
        Some("*") => return Ok(stored.clone()),
        Some(wanted) if wanted == stored.as_str() => return Ok(stored.clone()),
        _ => {}
    }
    let wanted = said.unwrap_or(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let converted = targets(stored).iter().find(|target| target.uid() == wanted);
    match (converted, said) {
        (Some(target), _) => Ok(target.transfer_syntax()),
        (None, None) => Ok(stored.clone()),
        (None, Some(wanted)) => Err(Error::NotAcceptable(format!(
            "An instance that is stored in {stored} does not come in {wanted}: ask for transfer-syntax=*."
        ))),
    }
}

/// An instance of each series, of instances in the order they are read.
pub(super) fn first_of_each_series(holdings: &[Holding]) -> impl Iterator<Item = &Holding> {
    let mut last = "";
    holdings.iter().filter(move |holding| {
        let series = holding.row().series_instance_uid.as_str();
        std::mem::replace(&mut last, series) != series
    })
}

/// What the client takes, by the parameter or else by the header.
pub(super) fn ranges(request: &HttpRequest) -> Vec<Range> {
    let accept = url::form_urlencoded::parse(request.query_string().as_bytes())
        .find_map(|(name, value)| (name == "accept").then(|| value.into_owned()));
    media::ranges(request, accept.as_deref())
}

fn content_type(name: &str, transfer_syntax: &TransferSyntaxUid) -> String {
    format!("{name}; transfer-syntax={transfer_syntax}")
}

/// Whether the client has it already.
pub(super) fn is_seen(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Items(seen)) => seen.iter().any(|seen| seen.weak_eq(tag)),
        _ => false,
    }
}

/// What a part of an instance is recognised by: which it is of what content, and in which form. Weak, because what stands
/// between the parts of an answer is another each time.
pub(super) fn tag_of(holding: &Holding, part: &str, form: &str) -> EntityTag {
    let mut hasher = Sha256::new();
    hasher.update(&holding.row().data_set_sha256);
    for text in [holding.transfer_syntax().as_str(), part, form] {
        hasher.update(text);
        hasher.update([0]);
    }
    EntityTag::new_weak(hex::encode(hasher.finalize().iter().take(16).copied().collect::<Vec<u8>>()))
}

/// The answer to whoever has it already.
pub(super) fn not_modified(tag: EntityTag, vary: &'static str) -> HttpResponse {
    HttpResponse::NotModified()
        .insert_header(ETag(tag))
        .insert_header((header::VARY, vary))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .finish()
}

/// The answer, with what it is recognised by.
pub(super) fn tagged(mut response: HttpResponse, tag: EntityTag) -> Result<HttpResponse, Error> {
    let value = ETag(tag).try_into_value().map_err(Error::internal)?;
    response.headers_mut().insert(header::ETAG, value);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static(VARY));
    Ok(response)
}

/// Nothing of what is stored is a page, and nothing of it is zipped on the way.
pub(super) fn bytes(mut response: HttpResponseBuilder, kind: &str) -> HttpResponseBuilder {
    response
        .insert_header(header::ContentEncoding::Identity)
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .content_type(kind);
    response
}

pub(super) fn broken(err: Unreadable) -> Error {
    match err {
        Unreadable::Archive(err) => Error::Unavailable(err.into()),
        err => broken_in_words(&err.to_string()),
    }
}

pub(super) fn unconvertible(err: Unconvertible) -> Error {
    match err {
        Unconvertible::Unreadable(err) => broken(err),
        Unconvertible::Frame { err: err @ (codec::Error::Busy | codec::Error::NoWorker(_)), .. } => {
            Error::Unavailable(err.into())
        }
        err => broken_in_words(&err.to_string()),
    }
}

/// What is taken away stays in no browser.
fn not_kept(mut response: HttpResponse) -> HttpResponse {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn broken_in_words(words: &str) -> Error {
    Error::Invalid(format!("The instance cannot be read: {words}."))
}

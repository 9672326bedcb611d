//! WADO-RS, PS3.18 section 10.4: instances, their metadata, frames and bulk data.

pub mod bulkdata;
pub mod frames;
pub mod metadata;

use std::future::ready;
use std::io::Read;

use actix_web::body::SizedStream;
use actix_web::http::header::{self, EntityTag, Header as _, IfNoneMatch};
use actix_web::web::{Bytes, Data, block};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use dicom_dictionary_std::uids;
use futures_util::{Stream, StreamExt, stream};

use super::Named;
use super::media::{self, Range};
use crate::archive::Archive;
use crate::archive::retrieve::sendable::Sendable;
use crate::archive::retrieve::transcode::targets;
use crate::archive::retrieve::{Holding, Unreadable};
use crate::db::audit::Action;
use crate::dicom::file_meta;
use crate::dicom::uid::TransferSyntaxUid;
use crate::web::App;
use crate::web::access::Caller;
use crate::web::error::Error;
use crate::web::instance::chunks_of;

/// What is converted is sent in pieces of so many bytes.
const PIECE: usize = 128 << 10;

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
    let ((), range) = media::choose_for(&ranges, &DICOM)?;
    let syntax = range.parameter("transfer-syntax");
    let is_single = range.name == "application/dicom";
    let holdings = named.holdings(&app, &caller).await?;
    if is_single && holdings.len() > 1 {
        let words = "Several instances come as multipart/related; type=\"application/dicom\".";
        return Err(Error::NotAcceptable(words.to_owned()));
    }
    let mut parts = Vec::with_capacity(holdings.len());
    for holding in holdings {
        parts.push(Wanted { target: target(&holding, syntax)?, holding });
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
    let archive = app.archive.clone();
    if is_single {
        let Some(only) = parts.pop() else { return Err(Error::NotFound) };
        let kind = content_type("application/dicom", &only.target);
        let body = only.body(archive).await.map_err(|err| broken_in_words(&err))?;
        return Ok(HttpResponse::Ok().content_type(kind).streaming(body));
    }
    let boundary = boundary();
    let kind = format!("multipart/related; type=\"application/dicom\"; boundary={boundary}");
    let end = format!("\r\n--{boundary}--\r\n");
    let mut heads = Vec::with_capacity(parts.len());
    for (number, part) in parts.iter().enumerate() {
        let start = if number == 0 { "" } else { "\r\n" };
        let kind = content_type("application/dicom", &part.target);
        heads.push(format!("{start}--{boundary}\r\nContent-Type: {kind}\r\n\r\n"));
    }
    let length = length_of(&parts, &heads, &end);
    let opened = stream::iter(parts.into_iter().zip(heads)).map(move |(part, head)| {
        let archive = archive.clone();
        async move {
            match part.body(archive).await {
                Ok(body) => one(head.into()).chain(body).boxed_local(),
                Err(err) => stream::once(ready(Err(std::io::Error::other(err)))).boxed_local(),
            }
        }
    });
    // The next file is opened while one is sent.
    let body = opened.buffered(2).flatten().chain(one(end.into()));
    let mut response = HttpResponse::Ok();
    response.content_type(kind);
    Ok(match length {
        Some(length) => response.body(SizedStream::new(length, body)),
        None => response.streaming(body),
    })
}

/// Of the whole body, where every instance is sent as it is stored.
fn length_of(parts: &[Wanted], heads: &[String], end: &str) -> Option<u64> {
    let mut length = u64::try_from(end.len()).ok()?;
    for (part, head) in parts.iter().zip(heads) {
        if part.target != *part.holding.transfer_syntax() {
            return None;
        }
        length = length
            .checked_add(part.holding.row().size_bytes)?
            .checked_add(u64::try_from(head.len()).ok()?)?;
    }
    Some(length)
}

/// An instance and the transfer syntax it is to be sent in.
struct Wanted {
    holding: Holding,
    target: TransferSyntaxUid,
}

impl Wanted {
    async fn body(
        self,
        archive: Archive,
    ) -> Result<stream::LocalBoxStream<'static, std::io::Result<Bytes>>, String> {
        let Wanted { holding, target } = self;
        if target == *holding.transfer_syntax() {
            let opened = block(move || archive.file(&holding)).await.map_err(|err| err.to_string())?;
            let (file, length) = opened.map_err(|err| err.to_string())?;
            return Ok(chunks_of(file, 0, length).boxed_local());
        }
        let row = holding.row();
        let uids = (row.sop_class_uid.parse(), row.sop_instance_uid.parse());
        let (Ok(class), Ok(uid)) = uids else { return Err("an index row has no usable UID".to_owned()) };
        let head = file_meta::head(Some(&class), Some(&uid), &target, "").map_err(|err| err.to_string())?;
        let wanted = target.as_str();
        let converted = archive.converted(&holding, |syntax| syntax == wanted).await;
        let (data_set, _) = converted.map_err(|err| err.why)?;
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

/// Nothing of what is stored is a page, and nothing of it is zipped on the way.
fn bytes(mut response: HttpResponseBuilder, kind: &str) -> HttpResponseBuilder {
    response
        .insert_header(header::ContentEncoding::Identity)
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .content_type(kind);
    response
}

/// What stands in no instance, as good as certain.
pub(super) fn boundary() -> String {
    let mut bits = [0; 16];
    match getrandom::fill(&mut bits) {
        Ok(()) => hex::encode(bits),
        Err(_) => "filmroom-2f0c1ab1d8a54c0f8d5b8a52c2f5d1c7".to_owned(),
    }
}

fn broken(err: &Unreadable) -> Error {
    match err {
        Unreadable::Archive(err) => Error::Unavailable(err.to_string().into()),
        err => broken_in_words(&err.to_string()),
    }
}

fn broken_in_words(words: &str) -> Error {
    Error::Invalid(format!("The instance cannot be read: {words}."))
}

//! Bulk data, PS3.18 section 10.4.1.1.4: one value of an instance, all of it or a range, or all values there are.

use std::future::ready;

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{Data, block};
use actix_web::{HttpRequest, HttpResponse};
use dicom_dictionary_std::tags;
use futures_util::{Stream, StreamExt, stream};

use super::found::Found;
use super::{
    VARY, broken, bytes, content_type, first_of_each_series, is_seen, not_kept, not_modified, ranges, tag_of,
    tagged,
};
use crate::archive::retrieve::Holding;
use crate::db::audit::Action;
use crate::db::role::Right;
use crate::dicom::json::ElementPath;
use crate::web::App;
use crate::web::access::{Caller, NOT_ALLOWED};
use crate::web::dicomweb::multipart::{self, Part, cut_off};
use crate::web::dicomweb::{Named, address, media, root};
use crate::web::error::Error;
use crate::web::picture::series_seen;

const KIND: &str = "application/octet-stream";

/// `GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path}`
pub async fn get(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let path: ElementPath = request.match_info().query("path").parse().map_err(|_| Error::NotFound)?;
    let holding = named.only(&app, &caller).await?;
    // The same as on the pages: a document is taken away, a picture is looked at.
    let is_document = path.tag == tags::ENCAPSULATED_DOCUMENT;
    if is_document && !caller.may(Right::Download) {
        return Err(Error::Forbidden(NOT_ALLOWED));
    }
    let ranges = ranges(&request);
    let ((), range) = media::choose_for(&ranges, &[(KIND, ())])?;
    let is_multipart = range.name == "multipart/related";
    if is_document {
        let row = holding.row();
        let entry = caller.did(Action::Download, format!("instance {}", row.sop_instance_uid));
        let entry = entry.study(&row.study_instance_uid).series(&row.series_instance_uid);
        caller.record(&app, entry).await?;
    } else {
        series_seen(&app, &caller, &holding).await?;
    }
    let tag = tag_of(&holding, &format!("bulk data {path}"), &range.name);
    if is_seen(&request, &tag) {
        return Ok(not_modified(tag, VARY));
    }
    let location = format!("{}/bulkdata/{path}", address(&root(&caller), &holding));
    let found = value(&app, &holding, &path).await?.ok_or(Error::NotFound)?;
    let kind = kind_of(&holding, &path, &found);
    if is_multipart {
        let part = Part { kind, location, body: found.whole() };
        return tagged(multipart::answer(KIND, one_part(part)), tag);
    }
    tagged(ranged(&request, found, &kind), tag)
}

/// `GET …/bulkdata` of an instance, a series or a study: every value that metadata only tells the address of, documents
/// too, which is why it takes the right to take files away.
pub async fn all(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let ranges = ranges(&request);
    let ((), range) = media::choose_able(&ranges, &[(KIND, ())], |(), range| range.takes_several())?;
    if !range.takes_several() {
        return Err(Error::NotAcceptable("Several values come as multipart/related.".to_owned()));
    }
    let holdings = named.holdings(&app, &caller).await?;
    for holding in first_of_each_series(&holdings) {
        let row = holding.row();
        let entry = caller.did(Action::Download, "bulk data by DICOMweb");
        let entry = entry.study(&row.study_instance_uid).series(&row.series_instance_uid);
        caller.record(&app, entry).await?;
    }
    let root = root(&caller);
    let parts = stream::iter(holdings).then(move |holding| {
        let (app, location) = (app.clone(), address(&root, &holding));
        async move { values(&app, holding, location).await.map_err(|err| cut_off(&err)) }
    });
    let parts = parts.flat_map(|values| match values {
        Ok(parts) => parts,
        Err(err) => stream::once(ready(Err(err))).boxed_local(),
    });
    Ok(not_kept(multipart::answer(KIND, parts)))
}

/// The values of an instance, one after the other.
async fn values(
    app: &Data<App>,
    holding: Holding,
    location: String,
) -> Result<stream::LocalBoxStream<'static, std::io::Result<Part>>, Error> {
    let processor = app.pictures.processor().await?;
    let (archive, wanted) = (app.archive.clone(), holding.clone());
    let find = move || {
        let _processor = processor;
        let (mut paths, mut text) = (Vec::new(), Vec::new());
        let found = |path: &ElementPath| {
            paths.push(path.clone());
            String::new()
        };
        archive.json(&wanted, &[], found, &mut text).map(|()| paths)
    };
    let paths = block(find).await.map_err(|err| Error::Unavailable(err.into()))?.map_err(broken)?;
    let app = app.clone();
    let parts = stream::iter(paths).then(move |path| {
        let (app, holding, location) = (app.clone(), holding.clone(), format!("{location}/bulkdata/{path}"));
        async move {
            let moved = || Error::internal("a value is no longer where it was");
            let found = value(&app, &holding, &path).await.and_then(|found| found.ok_or_else(moved));
            let found = found.map_err(|err| cut_off(&err))?;
            Ok(Part { kind: kind_of(&holding, &path, &found), location, body: found.whole() })
        }
    });
    Ok(parts.boxed_local())
}

fn one_part(part: Part) -> impl Stream<Item = std::io::Result<Part>> {
    stream::once(ready(Ok(part)))
}

/// A value of an instance by its path, off the asynchronous threads.
pub async fn value(app: &App, holding: &Holding, path: &ElementPath) -> Result<Option<Found>, Error> {
    let processor = app.pictures.processor().await?;
    let (archive, holding, path) = (app.archive.clone(), holding.clone(), path.clone());
    let find = move || {
        let _processor = processor;
        archive.bulk_data(&holding, &path)
    };
    let found = block(find).await.map_err(|err| Error::Unavailable(err.into()))?.map_err(broken)?;
    found.map(|bulk| Found::new(&app.pictures, bulk)).transpose()
}

/// Pixel data that is encapsulated says how.
fn kind_of(holding: &Holding, path: &ElementPath, found: &Found) -> String {
    let is_pixel_data = path.items.is_empty() && path.tag == tags::PIXEL_DATA;
    match is_pixel_data && found.bulk().is_encapsulated() {
        true => content_type(KIND, holding.transfer_syntax()),
        false => KIND.to_owned(),
    }
}

/// A value, or the part of it that the Range header asks for.
pub fn ranged(request: &HttpRequest, found: Found, kind: &str) -> HttpResponse {
    let length = found.length();
    let range = request.headers().get(header::RANGE).and_then(|range| range.to_str().ok());
    // Our tags are weak, which If-Range never finds equal: all of it comes then, RFC 9110 section 13.1.5.
    let range = range.filter(|_| !request.headers().contains_key(header::IF_RANGE));
    let (status, from, count) = match range.map(|range| asked_range(range, length)) {
        None | Some(Asked::All) => (StatusCode::OK, 0, length),
        Some(Asked::Part(from, count)) => (StatusCode::PARTIAL_CONTENT, from, count),
        Some(Asked::Outside) => {
            let mut response = HttpResponse::RangeNotSatisfiable();
            return response.insert_header((header::CONTENT_RANGE, format!("bytes */{length}"))).finish();
        }
    };
    let mut response = HttpResponse::build(status);
    response.insert_header((header::ACCEPT_RANGES, "bytes"));
    if status == StatusCode::PARTIAL_CONTENT {
        let last = from + count - 1;
        response.insert_header((header::CONTENT_RANGE, format!("bytes {from}-{last}/{length}")));
    }
    let body = SizedStream::new(count, found.part(from, count));
    bytes(response, kind).body(body)
}

/// What a Range header asks for, RFC 9110 section 14.2.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// What cannot be understood, and several ranges, are passed over.
    All,
    /// From a byte, so many.
    Part(u64, u64),
    Outside,
}

fn asked_range(range: &str, length: u64) -> Asked {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::All;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (first.trim(), last.trim()) {
        ("", last) => match number(last) {
            None => Asked::All,
            Some(0) => Asked::Outside,
            Some(count) if length > 0 => Asked::Part(length.saturating_sub(count), count.min(length)),
            Some(_) => Asked::Outside,
        },
        (first, last) => {
            let last = if last.is_empty() { Some(u64::MAX) } else { number(last) };
            match (number(first), last) {
                (Some(first), Some(last)) if first > last => Asked::All,
                (Some(first), Some(_)) if first >= length => Asked::Outside,
                (Some(first), Some(last)) => Asked::Part(first, last.min(length - 1) - first + 1),
                _ => Asked::All,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_of_what_is_there() {
        for (range, expected) in [
            ("bytes=0-9", Asked::Part(0, 10)),
            ("bytes=10-", Asked::Part(10, 90)),
            ("bytes=-5", Asked::Part(95, 5)),
            ("bytes=-500", Asked::Part(0, 100)),
            ("bytes=90-200", Asked::Part(90, 10)),
            ("bytes=100-", Asked::Outside),
            ("bytes=-0", Asked::Outside),
            ("bytes=9-1", Asked::All),
            ("bytes=0-1,5-6", Asked::All),
            ("lines=1-2", Asked::All),
            ("bytes=18446744073709551615-", Asked::Outside),
        ] {
            assert_eq!(asked_range(range, 100), expected, "{range}");
        }
        assert_eq!(asked_range("bytes=0-", 0), Asked::Outside);
    }
}

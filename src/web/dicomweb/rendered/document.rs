//! What is no picture: encapsulated documents, reports and videos.

use actix_web::http::header;
use actix_web::web::{Data, block};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use base64::Engine;
use dicom_dictionary_std::{tags, uids};
use sha2::{Digest, Sha256};
use std::os::unix::fs::FileExt;

use super::annotation::{date, patient};
use crate::archive::retrieve::{Bulk, Holding};
use crate::db::audit::Action;
use crate::db::role::Right;
use crate::dicom::json::ElementPath;
use crate::web::App;
use crate::web::access::{Caller, NOT_ALLOWED};
use crate::web::dicomweb::media::{self, Range};
use crate::web::dicomweb::wado::bulkdata::{ranged, value};
use crate::web::error::Error;
use crate::web::instance::{Part, Report, about, document_of, report_of};
use crate::web::picture::{kind_of, series_seen};

/// An encapsulated document, which is taken away rather than looked at.
pub async fn document(
    caller: &Caller,
    app: &App,
    ranges: &[Range],
    holding: &Holding,
) -> Result<HttpResponse, Error> {
    if !caller.may(Right::Download) {
        return Err(Error::Forbidden(NOT_ALLOWED));
    }
    let (bytes, mime, _) = document_of(app, holding).await?;
    media::choose(ranges, &[(mime, ())])?;
    caller.record(app, about(caller, Action::Download, holding)).await?;
    Ok(HttpResponse::Ok()
        // A viewer of our own may show it within its page.
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'; frame-ancestors 'self'; base-uri 'none'",
        ))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .content_type(mime)
        .body(bytes))
}

/// A report as a page that needs nothing else.
#[derive(Template)]
#[template(path = "instance/report.html")]
struct ReportPage {
    style: &'static str,
    title: String,
    patient: Vec<String>,
    study: String,
    parts: Vec<Part>,
}

/// The only style of that page; its hash in the policy lets no other in.
const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}\
                     h1{font-size:1.4rem}header p{margin:0;color:#555}ul{padding-left:1.2rem}\
                     span{white-space:pre-line}.name{font-weight:600}.heading{font-size:1.1rem}";

/// A structured report, PS3.18 table 8.7.4-1: text/html.
pub async fn report(
    caller: &Caller,
    app: &App,
    ranges: &[Range],
    holding: &Holding,
) -> Result<HttpResponse, Error> {
    let Some(Report { title, parts, data_set }) = report_of(app, holding).await? else {
        let words = format!(
            "This is not an image ({}), and has no other form to be shown in.",
            kind_of(holding).label()
        );
        return Err(Error::NotAcceptable(words));
    };
    media::choose(ranges, &[("text/html", ())])?;
    caller.record(app, about(caller, Action::ViewInstance, holding)).await?;
    let page = ReportPage {
        style: STYLE,
        title: if title.is_empty() { "Report".to_owned() } else { title },
        patient: patient(&data_set),
        study: [
            date(&data_set, tags::STUDY_DATE),
            data_set.text(tags::STUDY_DESCRIPTION).unwrap_or_default(),
        ]
        .join(" ")
        .trim()
        .to_owned(),
        parts,
    };
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "sandbox; default-src 'none'; style-src 'sha256-{hash}'; frame-ancestors 'none'; base-uri 'none'"
    );
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/html; charset=utf-8")
        .body(page.render()?))
}

/// The stream of a video as it is stored, all of it or a range, so that a player can go to any place in it.
pub async fn video(
    caller: &Caller,
    app: &Data<App>,
    request: &HttpRequest,
    ranges: &[Range],
    holding: &Holding,
) -> Result<HttpResponse, Error> {
    let path = ElementPath { items: Vec::new(), tag: tags::PIXEL_DATA };
    let found = value(app, holding, &path).await?.ok_or(Error::NotFound)?;
    let syntax = holding.transfer_syntax().to_string();
    let read = block(move || (video_type(&beginning(found.bulk()), &syntax), found)).await;
    let (kind, found) = read.map_err(|err| Error::Unavailable(err.into()))?;
    media::choose(ranges, &[(kind, ())])?;
    series_seen(app, caller, holding).await?;
    Ok(ranged(request, found, kind))
}

/// The first bytes of a stream; fewer where it cannot be read, which is found out when it is sent.
fn beginning(found: &Bulk) -> Vec<u8> {
    match found {
        Bulk::Stored { file, stretches, .. } => {
            let mut bytes = vec![0; 12];
            let read = stretches.first().and_then(|first| file.read_at(&mut bytes, first.offset).ok());
            bytes.truncate(read.unwrap_or(0));
            bytes
        }
        Bulk::Read(bytes) => bytes.get(..12).unwrap_or(bytes).to_vec(),
    }
}

/// What a stream is: by its container, and where that is none by what the transfer syntax says (PS3.5 section 8.2).
fn video_type(beginning: &[u8], transfer_syntax: &str) -> &'static str {
    match beginning {
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "video/mp4",
        // A pack or a sequence of MPEG-2.
        [0, 0, 1, 0xBA | 0xB3, ..] => "video/mpeg",
        // Packets of a transport stream, RFC 3555.
        [0x47, ..] => "video/mp2t",
        _ if transfer_syntax.starts_with(uids::MPEG2MPML) || transfer_syntax.starts_with(uids::MPEG2MPHL) => {
            "video/mpeg"
        }
        _ => "video/mp4",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_video_is_what_its_container_says() {
        assert_eq!(video_type(b"\0\0\0\x18ftypmp42", uids::MPEG2MPML), "video/mp4");
        assert_eq!(video_type(&[0, 0, 1, 0xB3, 0x14], uids::MPEG4HP41), "video/mpeg");
        assert_eq!(video_type(&[0x47, 0x40], uids::MPEG4HP41), "video/mp2t");
        assert_eq!(video_type(&[0, 0, 0, 1], uids::MPEG4HP41), "video/mp4");
        assert_eq!(video_type(&[], uids::MPEG2MPHL), "video/mpeg");
    }
}

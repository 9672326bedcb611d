//! Pictures: one frame of an instance as a PNG, and the thumbnails that stand for a series and a study.
//!
//! The same address has the same bytes, so browsers may keep a frame for a year and never ask again. Making one is
//! work for a bounded pool (`workshop`). Where a picture cannot be made the answer is a tile that says so with a
//! sign, status 422, and the sentence in a header; the pages show the sentence as text.

mod tile;
mod view;
mod workshop;

use std::convert::Infallible;

use actix_web::body::SizedStream;
use actix_web::http::header::{self, EntityTag, HeaderName, HeaderValue, IfNoneMatch};
use actix_web::web::{Bytes, Data, Header, Path, Query};
use actix_web::{HttpResponse, HttpResponseBuilder};
use futures_util::{Stream, stream};
use serde::Deserialize;
use sha2::{Digest, Sha256};

pub use self::tile::Sign;
pub use self::view::{Asked, NamedView, flag, position, window};
pub use self::workshop::{Made, Pictures, Problem};
use super::App;
use super::access::Caller;
use super::error::Error;
use crate::archive::retrieve::Holding;
use crate::db::audit::Action;
use crate::dicom::sop_class::{self, Kind};
use crate::dicom::uid::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};
use crate::people::trail::Shown;

/// Part of every tag: counts up when the renderer draws the same view differently.
const RENDERER: &str = concat!("1/", env!("CARGO_PKG_VERSION"));
/// A frame of an instance never changes.
const FOR_EVER: &str = "private, max-age=31536000, immutable";
/// What stands for a study may be another instance when more have arrived.
const SHORTLY: &str = "private, max-age=20";
/// What a browser keeps for one person it does not show to the next without asking.
const OF_WHOEVER_ASKED: (HeaderName, &str) = (header::VARY, "Cookie, Authorization");
/// Side of a thumbnail in pixels, unless another is asked for.
const THUMBNAIL: u32 = 160;
/// Side of the tile in a picture's place.
const TILE: u32 = 320;
/// Bytes of a picture that are sent at once.
const PIECE: usize = 256 << 10;
/// Why there is no picture, for scripts and for people who look.
const PROBLEM: HeaderName = HeaderName::from_static("picture-problem");

/// `GET /instances/{SOPInstanceUID}/frames/{n}.png`
pub async fn frame(
    caller: Caller,
    app: Data<App>,
    path: Path<(String, String)>,
    asked: Query<Asked>,
    seen: Header<IfNoneMatch>,
) -> Result<HttpResponse, Error> {
    let (instance, frame) = path.into_inner();
    let holding = instance_of(&app, &caller, &instance).await?;
    let answer = answer(&app, &holding, &frame, &asked, &seen).await?;
    series_seen(&app, &caller, &holding).await?;
    Ok(answer)
}

/// Leaves a trace of pictures of a series, once for all that are looked at in one go.
pub async fn series_seen(app: &App, caller: &Caller, holding: &Holding) -> Result<(), Error> {
    uids_of_series_seen(app, caller, &holding.row().study_instance_uid, &holding.row().series_instance_uid)
        .await
}

/// The same, where the instances themselves are not needed.
pub async fn uids_of_series_seen(app: &App, caller: &Caller, study: &str, series: &str) -> Result<(), Error> {
    let entry = caller.did(Action::ViewSeries, "").study(study).series(series);
    caller.show_once(app, &[Shown::Series(study.to_owned(), series.to_owned())], entry).await
}

/// `GET /quarantine/{key}/frames/{n}.png`
pub async fn quarantined_frame(
    caller: Caller,
    app: Data<App>,
    path: Path<(u64, String)>,
    asked: Query<Asked>,
    seen: Header<IfNoneMatch>,
) -> Result<HttpResponse, Error> {
    let (key, frame) = path.into_inner();
    let holding = app.archive.quarantined_file(key, &caller.visibility).await?.ok_or(Error::NotFound)?;
    let answer = answer(&app, &holding, &frame, &asked, &seen).await?;
    let study = &holding.row().study_instance_uid;
    let entry = caller.did(Action::ViewQuarantine, format!("quarantine {key}")).study(study);
    caller.show_once(&app, &[Shown::Quarantined(key)], entry).await?;
    Ok(answer)
}

async fn answer(
    app: &App,
    holding: &Holding,
    frame: &str,
    asked: &Asked,
    seen: &IfNoneMatch,
) -> Result<HttpResponse, Error> {
    let named = asked.view()?;
    let frame0 = frame_of(holding, frame)?;
    let tag = tag(holding, frame0, &named.name);
    if is_seen(seen, &tag) {
        return Ok(not_modified(tag, FOR_EVER));
    }
    match app.pictures.picture(app, holding, frame0, &named, tag.tag()).await? {
        Made::Picture(png) => Ok(picture(HttpResponse::Ok(), tag, FOR_EVER, png)),
        Made::Problem(problem) => {
            let side = named.view.width.into_iter().chain(named.view.height).min().unwrap_or(TILE).min(TILE);
            let sentence: String =
                problem.sentence.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
            let mut response = HttpResponse::UnprocessableEntity();
            if let Ok(value) = HeaderValue::from_str(&sentence) {
                response.insert_header((PROBLEM, value));
            }
            response.insert_header((header::CACHE_CONTROL, "private, no-cache"));
            Ok(response.content_type("image/png").body(tile::tile(problem.sign, side)))
        }
    }
}

/// What may follow the question mark of a thumbnail.
#[derive(Debug, Deserialize)]
pub struct Thumbnail {
    study: Option<String>,
    w: Option<String>,
}

impl Thumbnail {
    fn side(&self) -> Result<u32, Error> {
        let Some(text) = &self.w else { return Ok(THUMBNAIL) };
        let side = text.parse().ok().filter(|side| (16..=512).contains(side));
        side.ok_or_else(|| Error::Invalid("The width (w) must be a whole number from 16 to 512.".into()))
    }
}

/// `GET /studies/{StudyInstanceUID}/thumbnail.png`
pub async fn study_thumbnail(
    caller: Caller,
    app: Data<App>,
    study: Path<String>,
    asked: Query<Thumbnail>,
    seen: Header<IfNoneMatch>,
) -> Result<HttpResponse, Error> {
    let study: StudyInstanceUid = study.parse().map_err(|_| Error::NotFound)?;
    let found = app.archive.middle_of_study(&study, &caller.visibility).await?;
    // On the pages it stands on it is part of what they left a trace of.
    let part_of = match asked.side()? <= THUMBNAIL {
        true => vec![Shown::Study(study.to_string()), Shown::Listed(study.to_string())],
        false => vec![Shown::Study(study.to_string())],
    };
    thumbnail(&app, &caller, found, &part_of, &asked, &seen).await
}

/// `GET /series/{SeriesInstanceUID}/thumbnail.png?study=`
pub async fn series_thumbnail(
    caller: Caller,
    app: Data<App>,
    series: Path<String>,
    asked: Query<Thumbnail>,
    seen: Header<IfNoneMatch>,
) -> Result<HttpResponse, Error> {
    let series: SeriesInstanceUid = series.parse().map_err(|_| Error::NotFound)?;
    let study = asked.study.as_deref().map(str::parse::<StudyInstanceUid>).transpose();
    let study = study.map_err(|err| Error::Invalid(format!("study is not a UID: {err}.")))?;
    let found = app.archive.middle_of_series(&series, study.as_ref(), &caller.visibility).await?;
    let part_of: Vec<Shown> =
        found.iter().map(|(holding, _)| Shown::Study(holding.row().study_instance_uid.clone())).collect();
    thumbnail(&app, &caller, found, &part_of, &asked, &seen).await
}

async fn thumbnail(
    app: &App,
    caller: &Caller,
    found: Option<(Holding, String)>,
    part_of: &[Shown],
    asked: &Thumbnail,
    seen: &IfNoneMatch,
) -> Result<HttpResponse, Error> {
    let (holding, _) = found.ok_or(Error::NotFound)?;
    let side = asked.side()?;
    let study = &holding.row().study_instance_uid;
    let entry = caller.did(Action::ViewStudy, "small picture").study(study);
    caller.show_once(app, part_of, entry).await?;
    let frame0 = holding.row().number_of_frames / 2;
    let named = NamedView::fitted(side);
    let tag = tag(&holding, frame0, &named.name);
    if is_seen(seen, &tag) {
        return Ok(not_modified(tag, SHORTLY));
    }
    match app.pictures.picture(app, &holding, frame0, &named, tag.tag()).await? {
        Made::Picture(png) => Ok(picture(HttpResponse::Ok(), tag, SHORTLY, png)),
        // A sign is what stands for a series without pictures; nothing is wrong with that.
        Made::Problem(problem) => {
            let png = Bytes::from(tile::tile(problem.sign, side));
            Ok(picture(HttpResponse::Ok(), tag, SHORTLY, png))
        }
    }
}

/// The instance an address names, if the caller may see it.
pub async fn instance_of(app: &App, caller: &Caller, uid: &str) -> Result<Holding, Error> {
    let uid: SopInstanceUid = uid.parse().map_err(|_| Error::NotFound)?;
    app.archive.instance(&uid, &caller.visibility).await?.ok_or(Error::NotFound)
}

/// The frame an address names, counted from 0. What the index calls one frame may have none at all, which is a
/// problem to be told in words and not an address that does not exist.
pub fn frame_of(holding: &Holding, text: &str) -> Result<u32, Error> {
    let frame: u32 = text.parse().map_err(|_| Error::NotFound)?;
    let last = holding.row().number_of_frames.max(1);
    if (1..=last).contains(&frame) { Ok(frame - 1) } else { Err(Error::NotFound) }
}

/// The sign for what is not an image.
pub fn sign_of(kind: Kind) -> Sign {
    match kind {
        Kind::Report | Kind::Pdf | Kind::Cda | Kind::KeyObjects | Kind::Measurements => Sign::Document,
        Kind::Waveform | Kind::Ecg | Kind::Audio | Kind::Spectroscopy => Sign::Waveform,
        Kind::Video => Sign::Video,
        _ => Sign::Other,
    }
}

/// What an instance is, in a word or two.
pub fn kind_of(holding: &Holding) -> Kind {
    holding.row().sop_class_uid.parse().map_or(Kind::Other, |uid| sop_class::kind(&uid))
}

/// Content, frame, view and renderer: what the bytes of a picture follow from.
pub fn tag(holding: &Holding, frame0: u32, view: &str) -> EntityTag {
    let mut hash = Sha256::new();
    hash.update(&holding.row().data_set_sha256);
    hash.update(format!("\n{frame0}\n{view}\n{RENDERER}"));
    EntityTag::new_strong(hex::encode(hash.finalize()).chars().take(32).collect())
}

fn is_seen(seen: &IfNoneMatch, tag: &EntityTag) -> bool {
    match seen {
        IfNoneMatch::Any => true,
        IfNoneMatch::Items(tags) => tags.iter().any(|seen| seen.weak_eq(tag)),
    }
}

fn not_modified(tag: EntityTag, keep: &'static str) -> HttpResponse {
    let mut response = HttpResponse::NotModified();
    response.insert_header((header::CACHE_CONTROL, keep)).insert_header(header::ETag(tag));
    response.insert_header(OF_WHOEVER_ASKED);
    response.finish()
}

fn picture(
    mut response: HttpResponseBuilder,
    tag: EntityTag,
    keep: &'static str,
    png: Bytes,
) -> HttpResponse {
    response.insert_header((header::CACHE_CONTROL, keep)).insert_header(header::ETag(tag));
    response.insert_header(OF_WHOEVER_ASKED);
    // Already compressed: no middleware should try again.
    response.insert_header(header::ContentEncoding::Identity);
    let length = u64::try_from(png.len()).unwrap_or(u64::MAX);
    response.content_type("image/png").body(SizedStream::new(length, pieces(png)))
}

/// A whole picture would be copied into the connection's buffer, and that would stay as large.
fn pieces(png: Bytes) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let ends = (PIECE..).step_by(PIECE).map(move |end| (end - PIECE, end.min(png.len()), png.clone()));
    let pieces = ends.take_while(|(start, end, _)| start < end);
    stream::iter(pieces.map(|(start, end, png)| Ok(png.slice(start..end))))
}

//! What can be looked at without knowing DICOM, PS3.18 sections 10.4.1.1.3 and 10.4.1.1.6: pictures as the pages draw
//! them, as JPEG, PNG or GIF, one by one or several in one answer; reports as pages; videos and documents as what
//! they are.

mod animation;
mod annotation;
mod asked;
mod document;
mod form;
mod icc;
mod order;

use std::io;

use actix_web::http::header::{self, ETag};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt, stream};

pub use self::asked::{Asked, Part as PartOfImage, pixels};
pub use self::document::{document, report, video};
pub use self::form::{FORMS, Form};
pub use self::order::Order;
use super::media::{self, Range};
use super::multipart::{self, Part, cut_off};
use super::wado::frames::listed;
use super::wado::{first_of_each_series, is_seen, ranges};
use super::{Named, address, root};
use crate::archive::retrieve::Holding;
use crate::codec::{PixelEncoding, pixel_encoding};
use crate::db::audit::Action;
use crate::dicom::sop_class::Kind;
use crate::people::trail::Shown;
use crate::web::App;
use crate::web::access::Caller;
use crate::web::error::Error;
use crate::web::picture::{frame_of, kind_of, series_seen};

/// Side of a thumbnail in pixels, unless another viewport is asked for.
const THUMBNAIL: u32 = 256;

/// What an instance is shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShownAs {
    /// One or more pictures.
    Pictures,
    /// Film.
    Video,
    /// A page, if it is a report at all.
    Report,
    /// A file of another kind.
    Document,
}

impl ShownAs {
    /// What this instance is shown as.
    pub fn of(holding: &Holding) -> ShownAs {
        let is_video = matches!(pixel_encoding(holding.transfer_syntax()), PixelEncoding::Video);
        match kind_of(holding) {
            Kind::Pdf | Kind::Cda | Kind::Model => ShownAs::Document,
            _ if holding.row().number_of_frames == 0 => ShownAs::Report,
            _ if is_video => ShownAs::Video,
            _ => ShownAs::Pictures,
        }
    }
}

/// `GET …/rendered` of a study or a series: a picture of each instance, or, where only one is taken, of the one that
/// stands for them.
pub async fn several(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let asked = Asked::parse(request.query_string(), None)?;
    let ranges = ranges(&request);
    let (form, range) = media::choose_for(&ranges, &FORMS)?;
    let order = Order { asked, form };
    if takes_one(range) {
        let holding = named.middle(&app, &caller).await?;
        let frame0 = middle(&holding);
        return one(&caller, &app, &request, &holding, frame0, &order).await;
    }
    let mut holdings = named.holdings(&app, &caller).await?;
    holdings.retain(|holding| ShownAs::of(holding) == ShownAs::Pictures);
    for holding in first_of_each_series(&holdings) {
        series_seen(&app, &caller, holding).await?;
    }
    let pictures = holdings.into_iter().map(|holding| (middle(&holding), holding)).collect();
    many(&caller, app, pictures, order, Pictured::Instances).await
}

/// `GET …/instances/{instance}/rendered`: the middle frame; all of them as a GIF or in several parts, where these are
/// taken; or the video, the report or the document.
pub async fn instance(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let holding = named.only(&app, &caller).await?;
    let ranges = ranges(&request);
    match ShownAs::of(&holding) {
        ShownAs::Document => document(&caller, &app, &ranges, &holding).await,
        ShownAs::Video => video(&caller, &app, &request, &ranges, &holding).await,
        ShownAs::Report => report(&caller, &app, &ranges, &holding).await,
        ShownAs::Pictures => {
            let asked = Asked::parse(request.query_string(), None)?;
            pictures(&caller, app, &request, &ranges, holding, asked).await
        }
    }
}

/// Pictures of an instance, as many as can be had in the form that is taken.
pub async fn pictures(
    caller: &Caller,
    app: Data<App>,
    request: &HttpRequest,
    ranges: &[Range],
    holding: Holding,
    asked: Asked,
) -> Result<HttpResponse, Error> {
    let (form, range) = media::choose_for(ranges, &FORMS)?;
    let order = Order { asked, form };
    let count = holding.row().number_of_frames;
    if range.name == "multipart/related" {
        series_seen(&app, caller, &holding).await?;
        let pictures = (0..count).map(|frame0| (frame0, holding.clone())).collect();
        return many(caller, app, pictures, order, Pictured::Frames).await;
    }
    if form == Form::Gif && count > 1 {
        series_seen(&app, caller, &holding).await?;
        return animation::answer(app, holding, order, (0..count).collect()).await;
    }
    let frame0 = middle(&holding);
    one(caller, &app, request, &holding, frame0, &order).await
}

/// `GET …/instances/{instance}/frames/{frames}/rendered`
pub async fn frames(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let holding = named.only(&app, &caller).await?;
    let frames = listed(&holding, request.match_info().query("frames"))?;
    let asked = Asked::parse(request.query_string(), None)?;
    let ranges = ranges(&request);
    let (form, range) = media::choose_for(&ranges, &FORMS)?;
    let order = Order { asked, form };
    let frame0 = match frames.as_slice() {
        [frame0] if range.name != "multipart/related" => *frame0,
        _ if !takes_one(range) => {
            series_seen(&app, &caller, &holding).await?;
            let pictures = frames.into_iter().map(|frame0| (frame0, holding.clone())).collect();
            return many(&caller, app, pictures, order, Pictured::Frames).await;
        }
        _ if form == Form::Gif => {
            series_seen(&app, &caller, &holding).await?;
            return animation::answer(app, holding, order, frames).await;
        }
        _ => {
            let words = "Pictures of several frames come as multipart/related, or as image/gif.";
            return Err(Error::NotAcceptable(words.to_owned()));
        }
    };
    one(&caller, &app, &request, &holding, frame0, &order).await
}

/// `GET …/thumbnail` of a study, a series or an instance.
pub async fn thumbnail(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let holding = named.middle(&app, &caller).await?;
    small(&caller, &app, &request, &holding, middle(&holding)).await
}

/// `GET …/instances/{instance}/frames/{frame}/thumbnail`
pub async fn frame_thumbnail(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let holding = named.only(&app, &caller).await?;
    let frame0 = frame_of(&holding, request.match_info().query("frame"))?;
    small(&caller, &app, &request, &holding, frame0).await
}

async fn small(
    caller: &Caller,
    app: &App,
    request: &HttpRequest,
    holding: &Holding,
    frame0: u32,
) -> Result<HttpResponse, Error> {
    let asked = Asked::parse(request.query_string(), Some(THUMBNAIL))?;
    let order = Order { asked, form: media::choose(&ranges(request), &FORMS)? };
    let study = &holding.row().study_instance_uid;
    let part_of = [Shown::Study(study.clone()), Shown::Listed(study.clone())];
    caller.show_once(app, &part_of, caller.did(Action::ViewStudy, "small picture").study(study)).await?;
    file(app, request, holding, frame0, &order).await
}

/// One picture, and its trace.
pub async fn one(
    caller: &Caller,
    app: &App,
    request: &HttpRequest,
    holding: &Holding,
    frame0: u32,
    order: &Order,
) -> Result<HttpResponse, Error> {
    series_seen(app, caller, holding).await?;
    file(app, request, holding, frame0, order).await
}

async fn file(
    app: &App,
    request: &HttpRequest,
    holding: &Holding,
    frame0: u32,
    order: &Order,
) -> Result<HttpResponse, Error> {
    let tag = order.tag(app, holding, frame0).await?;
    if is_seen(request, &tag) {
        return Ok(HttpResponse::NotModified().insert_header(ETag(tag)).finish());
    }
    let bytes = order.file(app, holding, frame0).await?;
    Ok(HttpResponse::Ok()
        .insert_header(ETag(tag))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .insert_header((header::VARY, "Accept, Cookie, Authorization"))
        .insert_header(header::ContentEncoding::Identity)
        .content_type(order.form.name())
        .body(bytes))
}

/// What the parts of an answer are pictures of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pictured {
    Instances,
    Frames,
}

/// Pictures one after the other. What cannot be drawn is left out; where that is everything, it is said.
async fn many(
    caller: &Caller,
    app: Data<App>,
    pictures: Vec<(u32, Holding)>,
    order: Order,
    pictured: Pictured,
) -> Result<HttpResponse, Error> {
    let root = root(caller);
    let mut pictures = pictures.into_iter();
    let mut problem = Error::NotAcceptable("There is no picture in it.".to_owned());
    let first = loop {
        let Some((frame0, holding)) = pictures.next() else { return Err(problem) };
        match order.file(&app, &holding, frame0).await {
            Ok(file) => break part(&root, &holding, frame0, &order, pictured, file),
            Err(err @ Error::NotAcceptable(_)) => problem = err,
            Err(err) => return Err(err),
        }
    };
    let kind = order.form.name();
    let rest = rest_of(app, root, pictures, order, pictured);
    Ok(multipart::answer(kind, stream::once(std::future::ready(Ok(first))).chain(rest)))
}

fn rest_of(
    app: Data<App>,
    root: String,
    pictures: impl Iterator<Item = (u32, Holding)>,
    order: Order,
    pictured: Pictured,
) -> impl Stream<Item = io::Result<Part>> {
    stream::iter(pictures).filter_map(move |(frame0, holding)| {
        let (app, root, order) = (app.clone(), root.clone(), order.clone());
        async move {
            match order.file(&app, &holding, frame0).await {
                Ok(file) => Some(Ok(part(&root, &holding, frame0, &order, pictured, file))),
                Err(Error::NotAcceptable(sentence)) => {
                    let instance = &holding.row().sop_instance_uid;
                    tracing::warn!(%instance, sentence, "a picture is left out of an answer");
                    None
                }
                Err(err) => Some(Err(cut_off(&err))),
            }
        }
    })
}

fn part(root: &str, holding: &Holding, frame0: u32, order: &Order, pictured: Pictured, file: Bytes) -> Part {
    let instance = address(root, holding);
    let location = match pictured {
        Pictured::Instances => format!("{instance}/rendered"),
        Pictured::Frames => format!("{instance}/frames/{}/rendered", frame0.saturating_add(1)),
    };
    Part::of(order.form.name(), location, file)
}

/// Whether the client takes no more than one picture.
fn takes_one(range: &Range) -> bool {
    range.name != "multipart/related" && range.name != "*/*"
}

fn middle(holding: &Holding) -> u32 {
    holding.row().number_of_frames / 2
}

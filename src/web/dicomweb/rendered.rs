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
use futures_util::{StreamExt, stream};

pub use self::asked::{Asked, Part as PartOfImage, pixels};
pub use self::document::{document, report, video};
pub use self::form::{FORMS, Form};
pub use self::order::Order;
use super::media::{self, Range};
use super::multipart::{self, Part, cut_off};
use super::wado::frames::listed;
use super::wado::{VARY, broken, first_of_each_series, is_seen, not_modified, ranges};
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

/// Pictures that may be left out of one answer.
const MOST_LEFT_OUT: usize = 1000;

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
    if !range.takes_several() {
        let holding = named.middle(&app, &caller).await?;
        let frame0 = middle(&holding);
        return one(&caller, &app, &request, &holding, frame0, &order).await;
    }
    let mut holdings = named.holdings(&app, &caller).await?;
    holdings.retain(|holding| ShownAs::of(holding) == ShownAs::Pictures);
    for holding in first_of_each_series(&holdings) {
        series_seen(&app, &caller, holding).await?;
    }
    let pictures = holdings.into_iter().map(|holding| (middle(&holding), holding));
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
    if range.name == "multipart/related" {
        series_seen(&app, caller, &holding).await?;
        let count = frames_there(&app, &holding).await?;
        let pictures = (0..count).map(move |frame0| (frame0, holding.clone()));
        return many(caller, app, pictures, order, Pictured::Frames).await;
    }
    if form == Form::Gif && holding.row().number_of_frames > 1 {
        series_seen(&app, caller, &holding).await?;
        let count = frames_there(&app, &holding).await?;
        return animation::answer(app, holding, order, 0..count).await;
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
    let (form, range) = media::choose_able(&ranges, &FORMS, |form, range| {
        frames.len() == 1 || range.takes_several() || form == Form::Gif
    })?;
    let order = Order { asked, form };
    let frame0 = match frames.as_slice() {
        [frame0] if range.name != "multipart/related" => *frame0,
        _ if range.takes_several() => {
            series_seen(&app, &caller, &holding).await?;
            let pictures = frames.into_iter().map(move |frame0| (frame0, holding.clone()));
            return many(&caller, app, pictures, order, Pictured::Frames).await;
        }
        _ if form == Form::Gif => {
            series_seen(&app, &caller, &holding).await?;
            return animation::answer(app, holding, order, frames.into_iter()).await;
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
        return Ok(not_modified(tag, VARY));
    }
    let bytes = order.file(app, holding, frame0).await?;
    Ok(HttpResponse::Ok()
        .insert_header(ETag(tag))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .insert_header((header::VARY, VARY))
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
    pictures: impl Iterator<Item = (u32, Holding)> + 'static,
    order: Order,
    pictured: Pictured,
) -> Result<HttpResponse, Error> {
    let kind = order.form.name();
    let mut drawn =
        Drawn { app, root: root(caller), pictures, order, pictured, left_out: LeftOut::default() };
    let Some(first) = drawn.next().await? else {
        let nothing = || Error::NotAcceptable("There is no picture in it.".to_owned());
        return Err(drawn.left_out.why.take().map_or_else(nothing, |(_, why)| why));
    };
    let rest = stream::try_unfold(drawn, |mut drawn| async move {
        let next = drawn.next().await.map_err(|err| cut_off(&err))?;
        Ok::<_, io::Error>(next.map(|part| (part, drawn)))
    });
    Ok(multipart::answer(kind, stream::once(std::future::ready(Ok(first))).chain(rest)))
}

/// Pictures that become parts of an answer.
struct Drawn<I> {
    app: Data<App>,
    root: String,
    pictures: I,
    order: Order,
    pictured: Pictured,
    left_out: LeftOut,
}

impl<I: Iterator<Item = (u32, Holding)>> Drawn<I> {
    /// The next one that can be drawn.
    async fn next(&mut self) -> Result<Option<Part>, Error> {
        while let Some((frame0, holding)) = self.pictures.next() {
            match self.order.file(&self.app, &holding, frame0).await {
                Ok(file) => return Ok(Some(self.part(&holding, frame0, file))),
                Err(err @ (Error::NotAcceptable(_) | Error::Invalid(_))) => {
                    self.left_out.add(&holding, err)?;
                }
                Err(err) => return Err(err),
            }
        }
        Ok(None)
    }

    fn part(&self, holding: &Holding, frame0: u32, file: Bytes) -> Part {
        let instance = address(&self.root, holding);
        let location = match self.pictured {
            Pictured::Instances => format!("{instance}/rendered"),
            Pictured::Frames => format!("{instance}/frames/{}/rendered", frame0.saturating_add(1)),
        };
        Part::of(self.order.form.name(), location, file)
    }
}

/// What is left out of an answer, which the log says once, when that ends.
#[derive(Default)]
struct LeftOut {
    count: usize,
    /// The first instance, and what is wrong with it.
    why: Option<(String, Error)>,
}

impl LeftOut {
    /// # Errors
    /// When it is so much that nobody goes on.
    fn add(&mut self, holding: &Holding, err: Error) -> Result<(), Error> {
        self.count += 1;
        if self.count > MOST_LEFT_OUT {
            return Err(err);
        }
        self.why.get_or_insert_with(|| (holding.row().sop_instance_uid.clone(), err));
        Ok(())
    }
}

impl Drop for LeftOut {
    fn drop(&mut self) {
        if let Some((instance, why)) = &self.why {
            tracing::warn!(instance, %why, count = self.count, "pictures are left out of an answer");
        }
    }
}

/// Frames that an instance says it has, of those that are there.
async fn frames_there(app: &App, holding: &Holding) -> Result<u32, Error> {
    let _processor = app.pictures.processor().await?;
    let header = app.archive.header(holding).await.map_err(broken)?;
    Ok(header.frames(holding))
}

fn middle(holding: &Holding) -> u32 {
    holding.row().number_of_frames / 2
}

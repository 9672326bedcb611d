//! The viewer: a series strip, one frame, and every control a link or a form, so that it works without a script and
//! every state is an address. The script (`static/viewer/`) makes the same addresses faster.

pub(super) mod caption;
mod document;
mod geometry;
mod pane;
mod state;

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path, Query};
use askama::Template;
use serde::{Deserialize, Serialize};

use self::caption::Caption;
use self::document::{DocumentCard, document_card};
use self::pane::{ImagePane, Place, image_pane};
use self::state::{Asked, State, action};
use super::App;
use super::access::Caller;
use super::error::Error;
use super::page::{self, Layout};
use super::picture::{frame_of, instance_of, series_seen};
use super::text::{self, Person};
use crate::archive::retrieve::{Holding, Unreadable};
use crate::db::audit::Action;
use crate::db::frame::{SeriesRow, StudyRow};
use crate::dicom::sop_class::{self, Kind};
use crate::dicom::uid::StudyInstanceUid;
use crate::people::trail::Shown;

#[derive(Template)]
#[template(path = "viewer/show.html")]
struct ShowPage {
    layout: Layout,
    study: StudyLine,
    strip: Vec<StripEntry>,
    pane: Pane,
}

struct StudyLine {
    href: String,
    patient_href: String,
    patient_name: String,
    patient_line: String,
    title: String,
}

struct StripEntry {
    href: String,
    current: bool,
    thumbnail: String,
    title: String,
    meta: String,
}

/// What fills the page beside the strip.
enum Pane {
    Image(Box<ImagePane>),
    Document(DocumentCard),
    Empty,
}

impl Pane {
    fn image(&self) -> Option<&ImagePane> {
        match self {
            Pane::Image(pane) => Some(pane),
            Pane::Document(_) | Pane::Empty => None,
        }
    }
}

/// `GET /studies/{StudyInstanceUID}/viewer`
pub async fn show(
    caller: Caller,
    app: Data<App>,
    layout: Layout,
    study: Path<String>,
    asked: Query<Asked>,
) -> Result<HttpResponse, Error> {
    let uid: StudyInstanceUid = study.parse().map_err(|_| Error::NotFound)?;
    let mut state = asked.state()?;
    let (study, series) = app.archive.viewed_study(&uid, &caller.visibility).await?.ok_or(Error::NotFound)?;
    if let Some(instance) = &asked.instance {
        let holding = instance_of(&app, &caller, instance).await?;
        state.series = holding.row().series_instance_uid.clone();
    }
    let shown = match state.series.as_str() {
        "" => series.iter().find(|series| series.images > 0).or(series.first()),
        wanted => Some(find(&series, wanted)?),
    };
    state.series = shown.map(|series| series.series_instance_uid.clone()).unwrap_or_default();
    let pane = match shown {
        None => Pane::Empty,
        Some(series) => {
            let place = (&uid, &study, series);
            pane(&app, &caller, place, state.clone(), asked.instance.as_deref()).await?
        }
    };
    let entry = caller.did(Action::ViewSeries, "").study(uid.as_str()).series(&state.series);
    caller.show(&app, Shown::Series(uid.to_string(), state.series.clone()), entry).await?;
    caller.has_seen_strip(&app, uid.as_str());
    let strip = series.iter().map(|series| strip_entry(&uid, series, &state.series)).collect();
    page::html(&ShowPage { layout, study: study_line(&uid, &study), strip, pane })
}

fn find<'a>(series: &'a [SeriesRow], uid: &str) -> Result<&'a SeriesRow, Error> {
    series.iter().find(|series| series.series_instance_uid == uid).ok_or(Error::NotFound)
}

async fn pane(
    app: &App,
    caller: &Caller,
    (uid, study, series): (&StudyInstanceUid, &StudyRow, &SeriesRow),
    mut state: State,
    instance: Option<&str>,
) -> Result<Pane, Error> {
    let (stack, equipment) = app.archive.stack(series.series_key).await?;
    if series.images == 0 {
        return Ok(Pane::Document(document_card(&stack)));
    }
    let named = instance.and_then(|instance| stack.iter().position(|row| row.sop_instance_uid == instance));
    state.n = named.map_or(state.n, |index| index + 1).min(stack.len());
    let Some(row) = state.n.checked_sub(1).and_then(|index| stack.get(index)) else {
        return Ok(Pane::Empty);
    };
    let frames = usize::try_from(row.number_of_frames).unwrap_or(usize::MAX).max(1);
    state.frame = state.frame.min(frames);
    let holding = instance_of(app, caller, &row.sop_instance_uid).await?;
    let frame0 = frame_of(&holding, &state.frame.to_string())?;
    let caption = caption_of(app, &holding, frame0).await?;
    let place = Place { study: uid, series, stack: stack.len(), frames };
    Ok(Pane::Image(Box::new(image_pane(&place, study, equipment, row, state, caption))))
}

fn study_line(uid: &StudyInstanceUid, study: &StudyRow) -> StudyLine {
    let date = text::date(study.study_date);
    let age = text::age(study.patient_birth_date, study.study_date, "");
    let parts = [study.patient_id.clone(), text::sex(&study.patient_sex).to_owned(), age, date.clone()];
    let title = [study.study_description.clone(), date];
    StudyLine {
        href: format!("/studies/{uid}"),
        patient_href: format!("/patients/{}", study.patient_key),
        patient_name: Person::of(&study.patient_name).name,
        patient_line: joined(&parts, " · "),
        title: joined(&title, ", "),
    }
}

fn strip_entry(study: &StudyInstanceUid, series: &SeriesRow, current: &str) -> StripEntry {
    let uid = &series.series_instance_uid;
    let kind = series.sop_class_uid.parse().map_or(Kind::Other, |uid| sop_class::kind(&uid));
    let count = match (series.images, series.frames) {
        (0, _) => kind.label().to_owned(),
        (1, frames) if frames > 1 => text::counted(frames, "frame", "frames"),
        (images, frames) if frames > images => {
            format!(
                "{}, {}",
                text::counted(images, "clip", "clips"),
                text::counted(frames, "frame", "frames")
            )
        }
        (images, _) => text::counted(images, "image", "images"),
    };
    StripEntry {
        href: format!("{}?series={uid}", action(study)),
        current: uid == current,
        thumbnail: format!("/series/{uid}/thumbnail.png?study={study}&w=288"),
        title: series_title(series),
        meta: joined(&[series.modality.clone(), count], " · "),
    }
}

/// `3. T2 tse axial`; without a description what the document is called, or nothing but the number.
fn series_title(series: &SeriesRow) -> String {
    let words = match (series.series_description.trim(), series.document_title.trim()) {
        ("", "") => "",
        ("", title) => title,
        (description, _) => description,
    };
    match (series.series_number, words) {
        (Some(number), "") => format!("Series {number}"),
        (Some(number), words) => format!("{number}. {words}"),
        (None, "") => "Series without a number".to_owned(),
        (None, words) => words.to_owned(),
    }
}

fn joined(parts: &[String], between: &str) -> String {
    let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    parts.join(between)
}

/// An instance of a stack, for the script.
#[derive(Serialize)]
pub struct StackEntry {
    uid: String,
    frames: u32,
    rows: u32,
    columns: u32,
}

/// What may follow the question mark.
#[derive(Deserialize)]
pub struct StackAsked {
    series: String,
}

/// `GET /studies/{StudyInstanceUID}/viewer/stack.json?series=`: the instances of a series in their order.
pub async fn stack(
    caller: Caller,
    app: Data<App>,
    study: Path<String>,
    asked: Query<StackAsked>,
) -> Result<Json<Vec<StackEntry>>, Error> {
    let study: StudyInstanceUid = study.parse().map_err(|_| Error::NotFound)?;
    let (_, series) = app.archive.viewed_study(&study, &caller.visibility).await?.ok_or(Error::NotFound)?;
    let (stack, _) = app.archive.stack(find(&series, &asked.series)?.series_key).await?;
    let entry = caller.did(Action::ViewSeries, "").study(study.as_str()).series(&asked.series);
    caller.show_once(&app, &[Shown::Series(study.to_string(), asked.series.clone())], entry).await?;
    let entries = stack.into_iter().map(|row| StackEntry {
        uid: row.sop_instance_uid,
        frames: row.number_of_frames,
        rows: row.rows.unwrap_or(0),
        columns: row.columns.unwrap_or(0),
    });
    Ok(Json(entries.collect()))
}

/// `GET /instances/{SOPInstanceUID}/frames/{n}/caption.json`: the words around a frame.
pub async fn frame_caption(
    caller: Caller,
    app: Data<App>,
    path: Path<(String, String)>,
) -> Result<Json<Caption>, Error> {
    let (instance, frame) = path.into_inner();
    let holding = instance_of(&app, &caller, &instance).await?;
    let frame0 = frame_of(&holding, &frame)?;
    series_seen(&app, &caller, &holding).await?;
    Ok(Json(caption_of(&app, &holding, frame0).await?))
}

/// The words around a frame, and why it cannot be shown, if so.
async fn caption_of(app: &App, holding: &Holding, frame0: u32) -> Result<Caption, Error> {
    let problem = app.pictures.problem(app, holding, frame0).await?;
    let mut made = match app.archive.header(holding).await {
        Ok(header) => caption::caption(&header.data_set, usize::try_from(frame0).unwrap_or(usize::MAX)),
        Err(Unreadable::Archive(err)) if problem.is_none() => return Err(err.into()),
        Err(_) => Caption::default(),
    };
    if made.width == 0 || made.height == 0 || problem.is_some() {
        // The tile in the picture's place is a square.
        (made.width, made.height, made.scale) = (1, 1, None);
    }
    made.problem = problem.map(|problem| problem.sentence);
    Ok(made)
}

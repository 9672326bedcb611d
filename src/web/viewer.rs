//! The viewer: a series strip, one frame, and every control a link or a form, so that it works without a script and
//! every state is an address. The script (`static/viewer/`) makes the same addresses faster.

mod caption;
mod geometry;
mod state;

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path, Query, ServiceConfig, get};
use askama::Template;
use serde::{Deserialize, Serialize};

use self::caption::{Caption, window_line};
use self::state::{Asked, State, Windowing, Zoom, action, tidy};
use super::App;
use super::access::User;
use super::error::Error;
use super::page::{self, Layout};
use super::picture::{frame_of, instance_of};
use super::text::{self, Person};
use crate::archive::retrieve::{Holding, Unreadable};
use crate::db::frame::{EquipmentRow, SeriesRow, StackRow, StudyRow};
use crate::dicom::sop_class::{self, Kind};
use crate::dicom::uid::StudyInstanceUid;
use crate::render;

/// What a fitted picture is made to fit into where nobody knows the screen; the script asks for the same.
const FITTED: u32 = 1280;
/// The same on a phone.
const FITTED_SMALL: u32 = 720;
/// Documents listed for a series without images.
const DOCUMENTS: usize = 50;

/// The addresses of the viewer.
pub fn configure(config: &mut ServiceConfig) {
    config
        .route("/studies/{study}/viewer", get().to(show))
        .route("/studies/{study}/viewer/stack.json", get().to(stack))
        .route("/instances/{instance}/frames/{frame}/caption.json", get().to(frame_caption));
}

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

struct ImagePane {
    instance: String,
    series: String,
    action: String,
    stack: String,
    n: usize,
    of: usize,
    frame: usize,
    frames: usize,
    picture: String,
    small_picture: Option<String>,
    alt: String,
    caption: Caption,
    top_left: Vec<String>,
    top_right: Vec<String>,
    series_line: String,
    place: String,
    short_place: String,
    zoom: &'static str,
    zoom_line: &'static str,
    windows: Vec<WindowLink>,
    window_fields: Vec<(&'static str, String)>,
    window_center: String,
    window_width: String,
    typed_window: Option<(String, String)>,
    window_index: Option<usize>,
    invert: Switch,
    fit: Switch,
    actual: Switch,
    reset: String,
    slider_name: &'static str,
    slider_label: &'static str,
    slider_fields: Vec<(&'static str, String)>,
    slider_value: usize,
    slider_max: usize,
    steps: Vec<Step>,
}

struct Switch {
    href: String,
    on: bool,
}

struct WindowLink {
    label: String,
    detail: String,
    href: String,
    current: bool,
    /// Of a window in the image, from 1.
    index: Option<usize>,
    /// Centre and width of a preset.
    values: Option<(String, String)>,
    /// The digit that chooses it.
    key: Option<usize>,
}

struct Step {
    name: &'static str,
    label: &'static str,
    icon: &'static str,
    href: Option<String>,
}

struct DocumentCard {
    what: String,
    title: Option<String>,
    sentence: &'static str,
    documents: Vec<DocumentLine>,
    more: usize,
}

struct DocumentLine {
    title: String,
    instance: String,
    open: &'static str,
    document_href: Option<String>,
    format: &'static str,
}

/// `GET /studies/{StudyInstanceUID}/viewer`
async fn show(
    _: User,
    app: Data<App>,
    layout: Layout,
    study: Path<String>,
    asked: Query<Asked>,
) -> Result<HttpResponse, Error> {
    let uid: StudyInstanceUid = study.parse().map_err(|_| Error::NotFound)?;
    let mut state = asked.state()?;
    let (study, series) = app.archive.viewed_study(&uid).await?.ok_or(Error::NotFound)?;
    if let Some(instance) = &asked.instance {
        let holding = instance_of(&app, instance).await?;
        state.series = holding.row().series_instance_uid.clone();
    }
    let shown = match state.series.as_str() {
        "" => series.iter().find(|series| series.images > 0).or(series.first()),
        wanted => Some(find(&series, wanted)?),
    };
    state.series = shown.map(|series| series.series_instance_uid.clone()).unwrap_or_default();
    let pane = match shown {
        None => Pane::Empty,
        Some(series) => pane(&app, &uid, &study, series, state.clone(), asked.instance.as_deref()).await?,
    };
    let strip = series.iter().map(|series| strip_entry(&uid, series, &state.series)).collect();
    page::html(&ShowPage { layout, study: study_line(&uid, &study), strip, pane })
}

fn find<'a>(series: &'a [SeriesRow], uid: &str) -> Result<&'a SeriesRow, Error> {
    series.iter().find(|series| series.series_instance_uid == uid).ok_or(Error::NotFound)
}

async fn pane(
    app: &App,
    uid: &StudyInstanceUid,
    study: &StudyRow,
    series: &SeriesRow,
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
    let holding = instance_of(app, &row.sop_instance_uid).await?;
    let frame0 = frame_of(&holding, &state.frame.to_string())?;
    let caption = caption_of(app, &holding, frame0).await?;
    let place = Place { study: uid, series, stack: stack.len(), frames };
    Ok(Pane::Image(Box::new(image_pane(&place, study, equipment, row, state, caption))))
}

/// Where in the archive the shown frame is.
struct Place<'a> {
    study: &'a StudyInstanceUid,
    series: &'a SeriesRow,
    stack: usize,
    frames: usize,
}

fn image_pane(
    place: &Place<'_>,
    study: &StudyRow,
    equipment: Option<EquipmentRow>,
    row: &StackRow,
    state: State,
    mut caption: Caption,
) -> ImagePane {
    let to = |state: State| state.href(place.study);
    let with = |change: &dyn Fn(&mut State)| {
        let mut next = state.clone();
        change(&mut next);
        to(next)
    };
    let clip = place.frames > 1;
    let largest = caption.rows.max(caption.columns);
    let side = |fitted: u32| (state.zoom == Zoom::Fit && largest > fitted).then_some(fitted);
    let modality = &place.series.modality;
    let windows = windows(&caption, modality, &state, &with);
    let (window_center, window_width) = match (&state.window, caption.window_range) {
        (Windowing::Typed(window), _) => (tidy(window.center), tidy(window.width)),
        (Windowing::OfImage(index), _) if caption.windows.get(*index).is_some() => {
            caption.windows.get(*index).map(|w| (tidy(w.center), tidy(w.width))).unwrap_or_default()
        }
        (_, Some((center, width))) => (tidy(center), tidy(width)),
        (_, None) => (String::new(), String::new()),
    };
    caption.window_line = window_line(&state.window, &caption.windows);
    let images = format!("Image {} of {}", state.n, place.stack);
    let of_frames = format!("{} of {}", state.frame, place.frames);
    let words = match (clip, place.stack > 1) {
        (true, true) => format!("{images}, frame {of_frames}"),
        (true, false) => format!("Frame {of_frames}"),
        (false, _) => images,
    };
    let series_line = series_title(place.series);
    ImagePane {
        instance: row.sop_instance_uid.clone(),
        series: state.series.clone(),
        action: action(place.study),
        stack: format!("{}/stack.json?series={}", action(place.study), state.series),
        n: state.n,
        of: place.stack,
        frame: state.frame,
        frames: place.frames,
        picture: state.picture(&row.sop_instance_uid, side(FITTED)),
        small_picture: side(FITTED_SMALL).map(|side| state.picture(&row.sop_instance_uid, Some(side))),
        alt: format!("{modality} {series_line}, {words}"),
        top_left: top_left(study),
        top_right: equipment.map(|equipment| top_right(&equipment)).unwrap_or_default(),
        series_line,
        short_place: match clip {
            true => format!("{} / {}", state.frame, place.frames),
            false => format!("{} / {}", state.n, place.stack),
        },
        place: words,
        zoom: if state.zoom == Zoom::Fit { "fit" } else { "1" },
        zoom_line: if state.zoom == Zoom::Fit { "Fit to the window" } else { "Zoom 100 %" },
        windows,
        window_fields: state.fields_without(&["window", "wc", "ww"]),
        window_center,
        window_width,
        typed_window: match &state.window {
            Windowing::Typed(window) => Some((tidy(window.center), tidy(window.width))),
            Windowing::AsStored | Windowing::OfImage(_) => None,
        },
        window_index: match &state.window {
            Windowing::OfImage(index) => Some(index + 1),
            Windowing::AsStored | Windowing::Typed(_) => None,
        },
        invert: Switch { href: with(&|next| next.inverted = !next.inverted), on: state.inverted },
        fit: Switch { href: with(&|next| next.zoom = Zoom::Fit), on: state.zoom == Zoom::Fit },
        actual: Switch { href: with(&|next| next.zoom = Zoom::Actual), on: state.zoom == Zoom::Actual },
        reset: with(&|next| {
            next.window = Windowing::AsStored;
            next.inverted = false;
            next.zoom = Zoom::Fit;
        }),
        slider_name: if clip { "frame" } else { "n" },
        slider_label: if clip { "Frame" } else { "Image" },
        slider_fields: state.fields_without(if clip { &["frame"] } else { &["n", "frame"] }),
        slider_value: if clip { state.frame } else { state.n },
        slider_max: if clip { place.frames } else { place.stack },
        steps: steps(place, &state, &with),
        caption,
    }
}

fn windows(
    caption: &Caption,
    modality: &str,
    state: &State,
    with: &dyn Fn(&dyn Fn(&mut State)) -> String,
) -> Vec<WindowLink> {
    let link = |label: String, detail: String, window: Windowing| WindowLink {
        label,
        detail,
        href: with(&|next| next.window = window.clone()),
        current: state.window == window,
        index: match &window {
            Windowing::OfImage(index) => Some(index + 1),
            _ => None,
        },
        values: match &window {
            Windowing::Typed(window) => Some((tidy(window.center), tidy(window.width))),
            _ => None,
        },
        key: None,
    };
    let detail = |center: f64, width: f64| format!("C {} W {}", tidy(center), tidy(width));
    let mut links = vec![link("As stored".to_owned(), String::new(), Windowing::AsStored)];
    // The first of the image is what "as stored" shows.
    for (index, window) in caption.windows.iter().enumerate().skip(1) {
        links.push(link(
            window.label.clone(),
            detail(window.center, window.width),
            Windowing::OfImage(index),
        ));
    }
    if let (Some(first), Some(window)) = (links.first_mut(), caption.windows.first()) {
        first.label = if caption.windows.len() > 1 { window.label.clone() } else { "As stored".to_owned() };
        first.detail = detail(window.center, window.width);
    }
    for preset in render::presets(modality) {
        let window = render::Window { center: preset.center, width: preset.width };
        let detail = detail(preset.center, preset.width);
        links.push(link(preset.explanation.to_string(), detail, Windowing::Typed(window)));
    }
    for (index, link) in links.iter_mut().enumerate().take(9) {
        link.key = Some(index + 1);
    }
    links
}

fn steps(place: &Place<'_>, state: &State, with: &dyn Fn(&dyn Fn(&mut State)) -> String) -> Vec<Step> {
    const FIRST: &str = "M14 5 9 10l5 5M6 5v10";
    const PREVIOUS: &str = "M12 5 7 10l5 5";
    const NEXT: &str = "M8 5l5 5-5 5";
    const LAST: &str = "M6 5l5 5-5 5M14 5v10";
    const PREVIOUS_IMAGE: &str = "M15 5 10.500 10l4.500 5M9 5l-4.500 5L9 15";
    const NEXT_IMAGE: &str = "M5 5l4.500 5L5 15M11 5l4.500 5-4.500 5";
    let clip = place.frames > 1;
    let (value, last) = if clip { (state.frame, place.frames) } else { (state.n, place.stack) };
    let step = |name, label, icon, target: usize| Step {
        name,
        label,
        icon,
        href: (target != value && (1..=last).contains(&target)).then(|| {
            with(&|next| {
                if clip {
                    next.frame = target;
                } else {
                    next.n = target;
                    next.frame = 1;
                }
            })
        }),
    };
    let image = |name, label, icon, target: usize| Step {
        name,
        label,
        icon,
        href: (1..=place.stack).contains(&target).then(|| {
            with(&|next| {
                next.n = target;
                next.frame = 1;
            })
        }),
    };
    let mut steps = vec![
        step("first", "First", FIRST, 1),
        step("previous", "Previous", PREVIOUS, value.saturating_sub(1)),
        step("next", "Next", NEXT, value.saturating_add(1)),
        step("last", "Last", LAST, last),
    ];
    if clip && place.stack > 1 {
        let previous = image("previous-image", "Previous clip", PREVIOUS_IMAGE, state.n.saturating_sub(1));
        steps.insert(0, previous);
        steps.push(image("next-image", "Next clip", NEXT_IMAGE, state.n.saturating_add(1)));
    }
    steps
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

fn top_left(study: &StudyRow) -> Vec<String> {
    let birth = match text::date(study.patient_birth_date) {
        date if date.is_empty() => text::sex(&study.patient_sex).to_owned(),
        date => joined(&[format!("Born {date}"), text::sex(&study.patient_sex).to_owned()], ", "),
    };
    let when = joined(&[text::date(study.study_date), text::time(study.study_time)], " ");
    let lines = [study.patient_id.clone(), birth, when, study.study_description.clone()];
    lines.into_iter().filter(|line| !line.is_empty()).collect()
}

fn top_right(equipment: &EquipmentRow) -> Vec<String> {
    let device = [equipment.manufacturer.clone(), equipment.manufacturer_model_name.clone()];
    let lines = [equipment.institution_name.clone(), joined(&device, " "), equipment.station_name.clone()];
    lines.into_iter().filter(|line| !line.is_empty()).collect()
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

fn document_card(stack: &[StackRow]) -> DocumentCard {
    let kind_of = |row: &StackRow| row.sop_class_uid.parse().map_or(Kind::Other, |uid| sop_class::kind(&uid));
    let kind = stack.first().map_or(Kind::Other, kind_of);
    let sentence = match kind {
        Kind::Report => "A report is text, not pictures. Open it to read it.",
        Kind::Pdf | Kind::Cda | Kind::Model => {
            "This is a file inside a DICOM instance. Download it to open it."
        }
        Kind::KeyObjects => "A list of images somebody marked. Its page names them.",
        Kind::PresentationState => "It says how images are to be shown, and has no pixels of its own.",
        Kind::Waveform | Kind::Ecg => "Curves over time, such as an ECG. They cannot be drawn here yet.",
        _ => "It has no pixels to show. All its attributes can be read, and it can be downloaded.",
    };
    let documents = stack.iter().take(DOCUMENTS).enumerate().map(|(index, row)| {
        let number = row.instance_number.map_or_else(|| (index + 1).to_string(), |number| number.to_string());
        let label = kind_of(row).label();
        let encapsulated = encapsulated_format(&row.sop_class_uid);
        DocumentLine {
            title: if row.document_title.is_empty() {
                format!("{label} {number}")
            } else {
                row.document_title.clone()
            },
            instance: row.sop_instance_uid.clone(),
            open: if kind_of(row) == Kind::Report { "Read it" } else { "All attributes" },
            document_href: encapsulated.map(|_| format!("/instances/{}/document", row.sop_instance_uid)),
            format: encapsulated.unwrap_or_default(),
        }
    });
    DocumentCard {
        what: kind.label().to_owned(),
        title: stack
            .first()
            .map(|row| row.document_title.clone())
            .filter(|title| !title.is_empty() && stack.len() == 1),
        sentence,
        documents: documents.collect(),
        more: stack.len().saturating_sub(DOCUMENTS),
    }
}

/// What an encapsulated document is, by its SOP Class.
fn encapsulated_format(sop_class: &str) -> Option<&'static str> {
    match sop_class.strip_prefix("1.2.840.10008.5.1.4.1.1.104.")? {
        "1" => Some("PDF"),
        "2" => Some("CDA"),
        "3" => Some("STL"),
        "4" => Some("OBJ"),
        "5" => Some("MTL"),
        _ => Some("document"),
    }
}

fn joined(parts: &[String], between: &str) -> String {
    let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    parts.join(between)
}

/// An instance of a stack, for the script.
#[derive(Serialize)]
struct StackEntry {
    uid: String,
    frames: u32,
    rows: u32,
    columns: u32,
}

#[derive(Deserialize)]
struct StackAsked {
    series: String,
}

/// `GET /studies/{StudyInstanceUID}/viewer/stack.json?series=`: the instances of a series in their order.
async fn stack(
    _: User,
    app: Data<App>,
    study: Path<String>,
    asked: Query<StackAsked>,
) -> Result<Json<Vec<StackEntry>>, Error> {
    let study: StudyInstanceUid = study.parse().map_err(|_| Error::NotFound)?;
    let (_, series) = app.archive.viewed_study(&study).await?.ok_or(Error::NotFound)?;
    let (stack, _) = app.archive.stack(find(&series, &asked.series)?.series_key).await?;
    let entries = stack.into_iter().map(|row| StackEntry {
        uid: row.sop_instance_uid,
        frames: row.number_of_frames,
        rows: row.rows.unwrap_or(0),
        columns: row.columns.unwrap_or(0),
    });
    Ok(Json(entries.collect()))
}

/// `GET /instances/{SOPInstanceUID}/frames/{n}/caption.json`: the words around a frame.
async fn frame_caption(
    _: User,
    app: Data<App>,
    path: Path<(String, String)>,
) -> Result<Json<Caption>, Error> {
    let (instance, frame) = path.into_inner();
    let holding = instance_of(&app, &instance).await?;
    let frame0 = frame_of(&holding, &frame)?;
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

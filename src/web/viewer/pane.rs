//! What stands around a frame, and where each of its controls leads.

use super::caption::{Caption, window_line};
use super::state::{State, Windowing, Zoom, action, tidy};
use super::{joined, series_title};
use crate::db::frame::{EquipmentRow, SeriesRow, StackRow, StudyRow};
use crate::dicom::uid::StudyInstanceUid;
use crate::render;
use crate::web::text;

/// What a fitted picture is made to fit into where nobody knows the screen; the script asks for the same.
const FITTED: u32 = 1280;
/// The same on a phone.
const FITTED_SMALL: u32 = 720;

/// A frame with its words and controls.
pub(super) struct ImagePane {
    pub(super) instance: String,
    pub(super) series: String,
    pub(super) action: String,
    pub(super) stack: String,
    pub(super) n: usize,
    pub(super) of: usize,
    pub(super) frame: usize,
    pub(super) frames: usize,
    pub(super) picture: String,
    pub(super) small_picture: Option<String>,
    pub(super) alt: String,
    pub(super) caption: Caption,
    pub(super) top_left: Vec<String>,
    pub(super) top_right: Vec<String>,
    pub(super) series_line: String,
    pub(super) place: String,
    pub(super) short_place: String,
    pub(super) zoom: &'static str,
    pub(super) zoom_line: &'static str,
    pub(super) windows: Vec<WindowLink>,
    pub(super) window_fields: Vec<(&'static str, String)>,
    pub(super) window_center: String,
    pub(super) window_width: String,
    pub(super) typed_window: Option<(String, String)>,
    pub(super) window_index: Option<usize>,
    pub(super) invert: Switch,
    pub(super) fit: Switch,
    pub(super) actual: Switch,
    pub(super) reset: String,
    pub(super) slider_name: &'static str,
    pub(super) slider_label: &'static str,
    pub(super) slider_fields: Vec<(&'static str, String)>,
    pub(super) slider_value: usize,
    pub(super) slider_max: usize,
    pub(super) steps: Vec<Step>,
}

/// A control that is on or off.
pub(super) struct Switch {
    pub(super) href: String,
    pub(super) on: bool,
}

/// A window to choose.
pub(super) struct WindowLink {
    pub(super) label: String,
    pub(super) detail: String,
    pub(super) href: String,
    pub(super) current: bool,
    /// Of a window in the image, from 1.
    pub(super) index: Option<usize>,
    /// Centre and width of a preset.
    pub(super) values: Option<(String, String)>,
    /// The digit that chooses it.
    pub(super) key: Option<usize>,
}

/// A step through the images.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) icon: &'static str,
    pub(super) href: Option<String>,
}

/// Where in the archive the shown frame is.
pub(super) struct Place<'a> {
    pub(super) study: &'a StudyInstanceUid,
    pub(super) series: &'a SeriesRow,
    pub(super) stack: usize,
    pub(super) frames: usize,
}

/// The pane of a frame: the addresses of everything one can do with it.
pub(super) fn image_pane(
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
    if caption.has_window {
        caption.window_line = window_line(&state.window, &caption.windows);
    }
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
        if caption.windows.iter().any(|own| (own.center, own.width) == (preset.center, preset.width)) {
            continue;
        }
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

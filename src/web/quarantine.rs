//! Quarantine: `GET /admin/quarantine`, and two instances of one UID side by side.

use actix_web::{HttpResponse, web};
use askama::Template;

use super::App;
use super::access::{Caller, Posted};
use super::error::Error;
use super::instance::transfer_syntax_name;
use super::page::{self, Layout};
use super::peer::Confirmed;
use super::text::{self, Person};
use crate::archive::quarantine::{Comparison, Pixels};
use crate::db::audit::Action;
use crate::db::quarantine::{Quarantined, Version};
use crate::dicom::difference::Difference;
use crate::dicom::sop_class;
use crate::people::trail::Shown;

/// What is in quarantine, as its row shows it.
struct Row {
    key: u64,
    uid: String,
    person: Person,
    patient_id: String,
    what: String,
    source: String,
    received: String,
}

/// One of the two, as the page shows it.
struct Side {
    heading: &'static str,
    /// Of the picture, where it has pixels.
    picture: Option<String>,
    download: String,
    person: Person,
    patient_id: String,
    what: String,
    transfer_syntax: String,
    size: String,
    source: String,
    received: String,
}

/// An attribute that differs.
struct DifferenceRow {
    tag: String,
    name: String,
    path: String,
    first: Option<String>,
    second: Option<String>,
}

#[derive(Template)]
#[template(path = "quarantine/list.html")]
struct ListPage {
    layout: Layout,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "quarantine/show.html")]
struct ComparePage {
    layout: Layout,
    key: u64,
    uid: String,
    study_uid: String,
    sides: [Side; 2],
    pixels: &'static str,
    differences: Vec<DifferenceRow>,
    unreadable: Option<String>,
}

#[derive(Template)]
#[template(path = "quarantine/discard.html")]
struct DiscardPage {
    layout: Layout,
    key: u64,
    uid: String,
    second: Side,
}

/// `GET /admin/quarantine`
pub async fn list(caller: Caller, layout: Layout, app: web::Data<App>) -> Result<HttpResponse, Error> {
    let quarantined = app.archive.list_quarantine(&caller.visibility).await?;
    caller.record(&app, caller.did(Action::ViewQuarantine, "list")).await?;
    page::html(&ListPage { layout, rows: quarantined.iter().map(row).collect() })
}

/// `GET /admin/quarantine/{quarantine_key}`
pub async fn show(
    caller: Caller,
    layout: Layout,
    key: web::Path<String>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let key = parsed(&key)?;
    let comparison = app.archive.compare(key, &caller.visibility).await?.ok_or(Error::NotFound)?;
    let study = comparison.pair.study_instance_uid.as_str();
    let entry = caller.did(Action::ViewQuarantine, format!("quarantine {key}")).study(study);
    caller.show(&app, Shown::Quarantined(key), entry).await?;
    page::html(&compare_page(layout, comparison))
}

/// `GET /admin/quarantine/{quarantine_key}/discard`
pub async fn ask_to_discard(
    caller: Caller,
    layout: Layout,
    key: web::Path<String>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let key = parsed(&key)?;
    let pair = app.archive.in_quarantine(key, &caller.visibility).await?.ok_or(Error::NotFound)?;
    let entry = caller.did(Action::ViewQuarantine, format!("quarantine {key}"));
    let entry = entry.study(pair.study_instance_uid.as_str());
    caller.show_once(&app, &[Shown::Quarantined(key)], entry).await?;
    let second = second(&pair);
    page::html(&DiscardPage {
        layout,
        key: pair.quarantine_key,
        uid: pair.sop_instance_uid.to_string(),
        second,
    })
}

/// `POST /admin/quarantine/{quarantine_key}/discard`
pub async fn discard(
    caller: Caller,
    key: web::Path<String>,
    _form: Posted<Confirmed>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let key = parsed(&key)?;
    let pair = app.archive.in_quarantine(key, &caller.visibility).await?.ok_or(Error::NotFound)?;
    let details = format!("quarantine {key}, second instance {}", pair.sop_instance_uid);
    let entry = caller.did(Action::Delete, details).study(pair.study_instance_uid.as_str());
    if app.archive.discard_quarantined(key, entry).await? {
        tracing::info!(quarantine_key = key, "an instance in quarantine was discarded");
    }
    Ok(page::see_other("/admin/quarantine"))
}

fn parsed(key: &str) -> Result<u64, Error> {
    key.parse().map_err(|_| Error::NotFound)
}

fn row(pair: &Quarantined) -> Row {
    Row {
        key: pair.quarantine_key,
        uid: pair.sop_instance_uid.to_string(),
        person: Person::of(&pair.second.patient_name),
        patient_id: pair.second.patient_id.clone(),
        what: what(&pair.second),
        source: source(&pair.second),
        received: text::date_time(pair.second.received_at),
    }
}

fn compare_page(layout: Layout, comparison: Comparison) -> ComparePage {
    let Comparison { pair, attributes, pixels } = comparison;
    let (differences, unreadable) = match attributes {
        Ok(differences) => (differences.into_iter().map(difference).collect(), None),
        Err(sentence) => (Vec::new(), Some(sentence)),
    };
    ComparePage {
        layout,
        key: pair.quarantine_key,
        uid: pair.sop_instance_uid.to_string(),
        study_uid: pair.study_instance_uid.to_string(),
        pixels: in_words(pixels),
        differences,
        unreadable,
        sides: [first(&pair), second(&pair)],
    }
}

fn in_words(pixels: Pixels) -> &'static str {
    match pixels {
        Pixels::Same => "The pixel data are the same, byte for byte.",
        Pixels::Differ => "The pixel data differ.",
        Pixels::EncodedDifferently => {
            "The pixel data are encoded differently, so whether the images are the same is for the eye to tell."
        }
        Pixels::None => "Neither has pixel data.",
        Pixels::Unknown => "The pixel data could not be compared.",
    }
}

fn first(pair: &Quarantined) -> Side {
    let uid = &pair.sop_instance_uid;
    side(
        "First, kept",
        &pair.first,
        format!("/instances/{uid}/frames/1.png?width=400&height=400"),
        format!("/instances/{uid}.dcm"),
    )
}

fn second(pair: &Quarantined) -> Side {
    let key = pair.quarantine_key;
    side(
        "Second, waiting",
        &pair.second,
        format!("/quarantine/{key}/frames/1.png?width=400&height=400"),
        format!("/quarantine/{key}.dcm"),
    )
}

fn side(heading: &'static str, version: &Version, picture: String, download: String) -> Side {
    let syntax = &version.transfer_syntax_uid;
    Side {
        heading,
        picture: (version.number_of_frames > 0).then_some(picture),
        download,
        person: Person::of(&version.patient_name),
        patient_id: version.patient_id.clone(),
        what: what(version),
        transfer_syntax: transfer_syntax_name(syntax.as_str()),
        size: text::size(version.size_bytes),
        source: source(version),
        received: text::date_time(version.received_at),
    }
}

fn what(version: &Version) -> String {
    let name = sop_class::name(&version.sop_class_uid).map(str::to_owned);
    name.unwrap_or_else(|| version.sop_class_uid.to_string())
}

fn source(version: &Version) -> String {
    match (version.source_ae_title.as_str(), version.source_address.as_str()) {
        ("", address) => address.to_owned(),
        (title, "") => title.to_owned(),
        (title, address) => format!("{title} at {address}"),
    }
}

fn difference(difference: Difference) -> DifferenceRow {
    let tag = difference.tag;
    DifferenceRow {
        tag: format!("({:04X},{:04X})", tag.group(), tag.element()),
        name: difference.name,
        path: difference.path,
        first: difference.first,
        second: difference.second,
    }
}

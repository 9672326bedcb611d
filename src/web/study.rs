//! The study list, `GET /studies`, and the page of a study, `GET /studies/{StudyInstanceUID}`.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use chrono::Local;

use super::access::Caller;
use super::commitment::{Kept, kept};
use super::error::Error;
use super::filters::{COLUMNS, Filters, PAGE_SIZES, Period};
use super::page::{self, Layout};
use super::text::{self, Person};
use super::{App, events, launch};
use crate::archive::find::{Found, Matches, StudyDetails};
use crate::db::audit::Action;
use crate::db::instance::Document;
use crate::db::patient::Patient;
use crate::db::series::Series;
use crate::db::study::Study;
use crate::dicom::query::Direction;
use crate::dicom::sop_class;
use crate::dicom::uid::StudyInstanceUid;
use crate::people::trail::Shown;

/// A study as a row of a list shows it.
pub struct StudyRow {
    /// Study Instance UID.
    pub uid: String,
    /// Patient's name.
    pub person: Person,
    /// Patient ID.
    pub patient_id: String,
    /// Birth date, or nothing.
    pub birth_date: String,
    /// As the device wrote it.
    pub sex: String,
    /// Study date, or nothing.
    pub date: String,
    /// Study time, or nothing.
    pub time: String,
    /// Modalities in the study.
    pub modalities: Vec<String>,
    /// Study description.
    pub description: String,
    /// Referring physician.
    pub referring: String,
    /// Accession number.
    pub accession: String,
    /// Number of series.
    pub series: u32,
    /// Number of instances, grouped.
    pub images: String,
}

impl StudyRow {
    /// The row of this study.
    pub fn of(study: &Study) -> StudyRow {
        StudyRow {
            uid: study.study_instance_uid.to_string(),
            person: Person::of(&study.patient_name),
            patient_id: study.patient_id.clone(),
            birth_date: text::date(study.patient_birth_date),
            sex: study.patient_sex.clone(),
            date: text::date(study.study_date),
            time: text::time(study.study_time),
            modalities: modalities(study),
            description: study.study_description.clone(),
            referring: text::physician(&study.referring_physician_name),
            accession: study.accession_number.clone(),
            series: study.number_of_study_related_series,
            images: text::thousands(study.number_of_study_related_instances.into()),
        }
    }
}

fn modalities(study: &Study) -> Vec<String> {
    study.modalities_in_study.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// A heading of the list, which sorts it.
struct Heading {
    name: &'static str,
    label: &'static str,
    address: String,
    /// `ascending` or `descending` where the list is sorted by it.
    sorted: Option<&'static str>,
}

/// A choice of the form: a modality, or a period.
pub struct Choice {
    /// In the address.
    pub value: String,
    /// On the chip.
    pub label: String,
    /// It is in use.
    pub chosen: bool,
}

/// A wider search that is offered where nothing was found.
struct Offer {
    label: &'static str,
    address: String,
}

/// A number of studies on a page that can be chosen.
struct Size {
    rows: u64,
    /// None for the one in use.
    address: Option<String>,
}

#[derive(Template)]
#[template(path = "study/list.html")]
struct ListPage {
    layout: Layout,
    filters: Filters,
    periods: Vec<Choice>,
    modalities: Vec<Choice>,
    headings: Vec<Heading>,
    studies: Vec<StudyRow>,
    /// `1 to 25 of 4,034`, or `of more than 10,000`
    position: String,
    newer: Option<String>,
    older: Option<String>,
    /// How many studies a page may have; none where one page of the usual size holds all.
    sizes: Vec<Size>,
    /// Nothing was ever stored, as far as this list can tell.
    is_empty_archive: bool,
    offers: Vec<Offer>,
    receiving: String,
    host: String,
}

/// `GET /`
pub async fn home(_: Caller) -> HttpResponse {
    page::see_other("/studies")
}

/// `GET /studies`
pub async fn list(
    caller: Caller,
    layout: Layout,
    request: HttpRequest,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let filters = Filters::parse(request.query_string());
    let query = filters.query(Local::now().date_naive());
    let found = app.archive.find_studies(query, &caller.visibility).await?;
    let searched = filters.address();
    let entry = caller.did(Action::Query, format!("{}; {} shown", filters.in_words(), found.studies.len()));
    // A page that stays open looks again by itself when something arrives: the same list to the same person.
    match is_refresh(&request) {
        true => caller.show_once(&app, &[Shown::Search(searched)], entry).await?,
        false => caller.show(&app, Shown::Search(searched), entry).await?,
    }
    caller.has_seen_listed(&app, found.studies.iter().map(|study| study.study_instance_uid.as_str()));
    let receiving = events::receiving_for(&caller, &app.archive.activity().live());
    page::html(&list_page(layout, filters, &found, receiving, host(&request)))
}

/// Whether a script of ours asks, because something has arrived. What it says is believed only where the same list was
/// shown to the same caller before.
fn is_refresh(request: &HttpRequest) -> bool {
    request.headers().contains_key("x-refresh")
}

fn list_page(layout: Layout, filters: Filters, found: &Found, receiving: String, host: String) -> ListPage {
    let turned = |page| filters.turned_to(page, found.page.as_of).address();
    let number = found.page.number;
    ListPage {
        periods: Period::choices(&filters),
        modalities: modality_choices(&filters, &found.modalities),
        headings: headings(&filters),
        studies: found.studies.iter().map(StudyRow::of).collect(),
        position: position(found),
        newer: (number > 1).then(|| turned(number - 1)),
        older: found.more_follow.then(|| turned(number.saturating_add(1))),
        sizes: sizes(&filters, found),
        is_empty_archive: found.studies.is_empty() && found.modalities.is_empty() && !filters.is_narrowed(),
        offers: offers(&filters),
        receiving,
        host,
        layout,
        filters,
    }
}

/// The name modalities can reach this machine by, as far as the browser knows it.
fn host(request: &HttpRequest) -> String {
    let host = request.connection_info().host().to_owned();
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name.to_owned(),
        _ => host,
    }
}

fn sizes(filters: &Filters, found: &Found) -> Vec<Size> {
    if found.page.number == 1 && !found.more_follow && filters.is_usual_size() {
        return Vec::new();
    }
    let size = |rows| {
        let address = (rows != filters.rows).then(|| filters.with_rows(rows).address());
        Size { rows, address }
    };
    PAGE_SIZES.into_iter().map(size).collect()
}

fn position(found: &Found) -> String {
    let before = found.page.offset();
    let shown = u64::try_from(found.studies.len()).unwrap_or(u64::MAX);
    let (first, last) = (before.saturating_add(1), before.saturating_add(shown));
    let total = match found.matches {
        Matches::Exactly(total) => text::thousands(total),
        Matches::MoreThan(counted) => format!("more than {}", text::thousands(counted)),
    };
    match shown {
        0 => String::new(),
        1 if found.matches == Matches::Exactly(1) => "1 study".to_owned(),
        _ => format!("{} to {} of {total}", text::thousands(first), text::thousands(last)),
    }
}

/// What the archive holds, and what was chosen though it holds none.
fn modality_choices(filters: &Filters, held: &[String]) -> Vec<Choice> {
    let missing = filters.modalities.iter().filter(|chosen| !held.contains(chosen));
    held.iter()
        .chain(missing)
        .map(|name| Choice {
            value: name.clone(),
            label: name.clone(),
            chosen: filters.modalities.contains(name),
        })
        .collect()
}

fn headings(filters: &Filters) -> Vec<Heading> {
    let heading = |&(by, name, label, first)| {
        let is_sorted = filters.sort.by == by;
        let next = match (is_sorted, filters.sort.direction) {
            (false, _) => first,
            (true, Direction::Ascending) => Direction::Descending,
            (true, Direction::Descending) => Direction::Ascending,
        };
        let sorted = is_sorted.then_some(match filters.sort.direction {
            Direction::Ascending => "ascending",
            Direction::Descending => "descending",
        });
        Heading { name, label, address: filters.sorted(by, next).address(), sorted }
    };
    COLUMNS.iter().map(heading).collect()
}

fn offers(filters: &Filters) -> Vec<Offer> {
    let mut offers = Vec::new();
    if filters.period != Period::Any {
        offers.push(Offer { label: "Look at any date", address: filters.of_any_date().address() });
    }
    if !filters.modalities.is_empty() {
        offers.push(Offer { label: "Look at all modalities", address: filters.of_any_modality().address() });
    }
    if filters.is_narrowed() {
        offers.push(Offer { label: "Show all studies", address: "/studies".to_owned() });
    }
    offers
}

/// A series with something to look at.
struct SeriesCard {
    /// Of the viewer, at this series.
    address: String,
    thumbnail: String,
    number: String,
    modality: String,
    description: String,
    count: String,
    equipment: String,
}

/// An instance to be read.
struct DocumentRow {
    uid: String,
    title: String,
    what: String,
    when: String,
    size: String,
    is_verified: bool,
}

/// A patient in a flag.
struct Named {
    key: u64,
    name: String,
    id: String,
}

#[derive(Template)]
#[template(path = "study/show.html")]
struct StudyPage {
    layout: Layout,
    uid: String,
    person: Person,
    patient_key: u64,
    patient_id: String,
    issuer: String,
    birth_date: String,
    age: String,
    sex: String,
    title: String,
    date: String,
    time: String,
    accession: String,
    study_id: String,
    referring: String,
    institution: String,
    modalities: Vec<String>,
    counts: String,
    size: String,
    /// Something is to be said of it to those who work here.
    has_flags: bool,
    filed_under: Option<Named>,
    also_under: Vec<Named>,
    demographics_differ: bool,
    quarantined: Vec<u64>,
    /// Which peers have stored it safely; nothing for those who come by a share link.
    kept: Vec<Kept>,
    series: Vec<SeriesCard>,
    documents: Vec<DocumentRow>,
    others: Vec<StudyRow>,
    more_others: Vec<StudyRow>,
}

/// Other studies that are shown at once; the rest is folded away.
const OTHERS_SHOWN: usize = 5;

/// `GET /studies/{StudyInstanceUID}`
pub async fn show(
    caller: Caller,
    layout: Layout,
    uid: web::Path<String>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let uid: StudyInstanceUid = uid.parse().map_err(|_| Error::NotFound)?;
    let details = app.archive.study_details(uid.clone(), &caller.visibility).await?.ok_or(Error::NotFound)?;
    let entry = caller.did(Action::ViewStudy, "").study(uid.as_str());
    caller.show(&app, Shown::Study(uid.to_string()), entry).await?;
    let starts_weasis = layout.starts_weasis;
    let page = page::html(&study_page(layout, details))?;
    Ok(if starts_weasis { launch::may_start_weasis(page) } else { page })
}

fn study_page(layout: Layout, details: StudyDetails) -> StudyPage {
    let StudyDetails { study, patients, series, documents, quarantined, stored_at, others } = details;
    let uid = study.study_instance_uid.to_string();
    let mut patients = patients.iter().map(named);
    let filed_under = patients.next();
    let also_under: Vec<Named> = patients.collect();
    let is_flagged = !also_under.is_empty() || study.demographics_differ || !quarantined.is_empty();
    let (others, more_others) = split_others(&study, &others);
    StudyPage {
        person: Person::of(&study.patient_name),
        patient_key: study.patient_key,
        birth_date: text::date(study.patient_birth_date),
        age: text::age(study.patient_birth_date, study.study_date, &study.patient_age),
        sex: text::sex(&study.patient_sex).to_owned(),
        title: title(&study),
        date: text::date(study.study_date),
        time: text::time(study.study_time),
        referring: text::physician(&study.referring_physician_name),
        modalities: modalities(&study),
        counts: counts(&study),
        size: text::size(study.size_bytes),
        series: series.iter().filter(|series| series.pictures > 0).map(|one| card(&uid, one)).collect(),
        documents: documents.iter().map(document).collect(),
        patient_id: study.patient_id,
        issuer: study.issuer_of_patient_id,
        accession: study.accession_number,
        study_id: study.study_id,
        institution: study.institution_name,
        demographics_differ: study.demographics_differ,
        kept: match layout.shared_until {
            None => kept(&stored_at, study.number_of_study_related_instances.into()),
            Some(_) => Vec::new(),
        },
        // They name other patients, and lead where nobody gets by a share link.
        has_flags: is_flagged && layout.shared_until.is_none(),
        layout,
        uid,
        filed_under,
        also_under,
        quarantined,
        others,
        more_others,
    }
}

fn title(study: &Study) -> String {
    match study.study_description.as_str() {
        "" => "Study without a description".to_owned(),
        description => description.to_owned(),
    }
}

fn counts(study: &Study) -> String {
    let series = text::counted(study.number_of_study_related_series.into(), "series", "series");
    let instances = text::counted(study.number_of_study_related_instances.into(), "instance", "instances");
    format!("{series}, {instances}")
}

fn named(patient: &Patient) -> Named {
    let id = match (patient.patient_id.as_str(), patient.issuer_of_patient_id.as_str()) {
        ("", _) => "without an ID".to_owned(),
        (id, "") => format!("ID {id}"),
        (id, issuer) => format!("ID {id} of {issuer}"),
    };
    Named { key: patient.patient_key, name: Person::of(&patient.patient_name).name, id }
}

/// The patient's other studies, those with a modality of this one first; the first few, and the rest.
fn split_others(study: &Study, others: &[Study]) -> (Vec<StudyRow>, Vec<StudyRow>) {
    let ours = modalities(study);
    let is_alike = |other: &&Study| modalities(other).iter().any(|modality| ours.contains(modality));
    let (alike, different): (Vec<&Study>, Vec<&Study>) = others.iter().partition(is_alike);
    let mut first: Vec<StudyRow> = alike.into_iter().chain(different).map(StudyRow::of).collect();
    let rest = first.split_off(first.len().min(OTHERS_SHOWN));
    (first, rest)
}

fn card(study: &str, series: &Series) -> SeriesCard {
    let uid = series.series_instance_uid.as_str();
    let extent = match (series.pictures, series.frames) {
        (1, frames) if frames > 1 => text::counted(frames, "frame", "frames"),
        (pictures, frames) if frames > pictures => {
            let images = text::counted(pictures, "image", "images");
            format!("{images}, {}", text::counted(frames, "frame", "frames"))
        }
        (pictures, _) => text::counted(pictures, "image", "images"),
    };
    SeriesCard {
        address: format!("/studies/{study}/viewer?series={uid}"),
        thumbnail: format!("/series/{uid}/thumbnail.png?study={study}"),
        number: series.series_number.map(|number| number.to_string()).unwrap_or_default(),
        modality: series.modality.clone(),
        description: described(series),
        count: extent,
        equipment: equipment(series),
    }
}

fn described(series: &Series) -> String {
    let candidates = [&series.series_description, &series.protocol_name, &series.body_part_examined];
    let text = candidates.into_iter().find(|text| !text.is_empty());
    match (text, series.laterality.as_str()) {
        (None, _) => "No description".to_owned(),
        (Some(text), "L") => format!("{text}, left"),
        (Some(text), "R") => format!("{text}, right"),
        (Some(text), _) => text.clone(),
    }
}

/// What made it, without saying anything twice.
fn equipment(series: &Series) -> String {
    let (maker, model) = (series.manufacturer.as_str(), series.manufacturer_model_name.as_str());
    let device = match (maker, model) {
        (maker, model) if model.to_lowercase().contains(&maker.to_lowercase()) => model.to_owned(),
        (maker, model) => format!("{maker} {model}").trim().to_owned(),
    };
    let parts = [device.as_str(), series.station_name.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn document(document: &Document) -> DocumentRow {
    let kind = match document.number_of_frames {
        0 => sop_class::kind(&document.sop_class_uid).label(),
        _ => "Video",
    };
    let titles = [&document.document_title, &document.series_description];
    let title = titles.into_iter().find(|title| !title.is_empty()).cloned();
    let name = sop_class::name(&document.sop_class_uid);
    let title = title.or_else(|| name.map(str::to_owned)).unwrap_or_else(|| kind.to_owned());
    let series = document.series_number.map(|number| format!("series {number}"));
    let what = [Some(kind.to_owned()).filter(|kind| *kind != title), series];
    let when = [text::date(document.content_date), text::time(document.content_time)];
    DocumentRow {
        uid: document.sop_instance_uid.to_string(),
        what: what.into_iter().flatten().collect::<Vec<_>>().join(", "),
        when: when.join(" ").trim().to_owned(),
        size: text::size(document.size_bytes),
        is_verified: document.verification_flag == "VERIFIED",
        title,
    }
}

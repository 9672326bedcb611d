//! QIDO-RS, PS3.18 section 10.6: searches for studies, series and instances. The engine is that of C-FIND, with an order
//! that stays and a page of the matches.

use std::fmt::Write;

use actix_web::http::header::{HeaderName, HeaderValue, WARNING};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::multipart::boundary;
use super::parameters::{MOST, Parameters};
use super::xml::{self, XML};
use super::{Named, media, root};
use crate::db::audit::Action;
use crate::dicom::query::Level;
use crate::dicom::query::identifier::{Identifier, Options};
use crate::dicom::service::Model;
use crate::dicom::uid::Encoding;
use crate::dicom::{dictionary, json};
use crate::people::trail::Shown;
use crate::web::App;
use crate::web::access::Caller;
use crate::web::error::Error;

/// How many match altogether; not in the standard, and what others call it.
const TOTAL: HeaderName = HeaderName::from_static("x-total-count");

/// PS3.18 table 10.6.3-3, and what viewers read of each study.
const OF_STUDY: &[Tag] = &[
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::INSTANCE_AVAILABILITY,
    tags::MODALITIES_IN_STUDY,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STUDY_DESCRIPTION,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_ID,
    tags::NUMBER_OF_STUDY_RELATED_SERIES,
    tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
];
/// PS3.18 table 10.6.3-4, likewise.
const OF_SERIES: &[Tag] = &[
    tags::MODALITY,
    tags::SERIES_DATE,
    tags::SERIES_TIME,
    tags::SERIES_DESCRIPTION,
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::BODY_PART_EXAMINED,
    tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
];
/// PS3.18 table 10.6.3-5, likewise.
const OF_INSTANCE: &[Tag] = &[
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::INSTANCE_AVAILABILITY,
    tags::AVAILABLE_TRANSFER_SYNTAX_UID,
    tags::INSTANCE_NUMBER,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::NUMBER_OF_FRAMES,
];

/// `GET /dicom-web/studies`
pub async fn studies(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    search(&caller, &app, &request, Level::Study, &named).await
}

/// `GET …/series` of a study, or of all
pub async fn series(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    search(&caller, &app, &request, Level::Series, &named).await
}

/// `GET …/instances` of a series, a study, or of all
pub async fn instances(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    search(&caller, &app, &request, Level::Image, &named).await
}

/// How the matches are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Xml,
    Csv,
}

const FORMS: [(&str, Form); 4] = [
    ("application/dicom+json", Form::Json),
    ("application/json", Form::Json),
    (XML, Form::Xml),
    ("text/csv", Form::Csv),
];

async fn search(
    caller: &Caller,
    app: &App,
    request: &HttpRequest,
    level: Level,
    named: &Named,
) -> Result<HttpResponse, Error> {
    let study = named.study.as_ref().map(|uid| (tags::STUDY_INSTANCE_UID, uid.as_str()));
    let series = named.series.as_ref().map(|uid| (tags::SERIES_INSTANCE_UID, uid.as_str()));
    let of_path: Vec<(Tag, &str)> = study.into_iter().chain(series).collect();
    let parameters = Parameters::parse(request.query_string()).map_err(Error::Invalid)?;
    let ranges = media::ranges(request, parameters.accept.as_deref());
    let (form, range) = media::choose_for(&ranges, &FORMS)?;
    let (identifier, unknown) = parameters.identifier(level, &of_path, &usual(level, &of_path));
    let options = Options { relational: true, combined_date_time: true, fuzzy: false };
    let identifier = Identifier::parse(Model::StudyRoot, options, &identifier)
        .map_err(|refused| Error::Invalid(format!("{}.", refused.sentence)))?;
    let size = parameters.limit.unwrap_or(MOST).min(MOST);
    let mut query = identifier.query(size);
    query.sort = parameters.order.unwrap_or(query.sort);
    let wanted = identifier.wanted.clone();
    let page = app.archive.page(query, wanted, &caller.visibility, parameters.offset).await?;
    leave_trace(caller, app, request, &identifier, (page.matches.len(), of_path.is_empty())).await?;

    let mut warnings = Vec::new();
    if parameters.fuzzy {
        warnings.push(
            "The fuzzymatching parameter is not supported. Only literal matching has been performed."
                .to_owned(),
        );
    }
    if !unknown.is_empty() {
        let names: Vec<String> = unknown.iter().map(|tag| dictionary::name(*tag)).collect();
        warnings.push(format!("Not matched, because the index has no {}.", names.join(", ")));
    }
    let shown = parameters.offset.saturating_add(u64::try_from(page.matches.len()).unwrap_or(u64::MAX));
    let more = page.total.map_or(0, |total| total.saturating_sub(shown));
    if parameters.limit.is_none_or(|limit| limit > MOST) && (more > 0 || page.total.is_none()) {
        warnings.push(match page.total {
            Some(_) => format!("There are {more} additional results that can be requested"),
            None => "There are additional results that can be requested".to_owned(),
        });
    }
    let mut response = answer(&warnings);
    if let Some(total) = page.total {
        response.insert_header((TOTAL, total));
    }
    let title = app.requestor.ae_title.as_str();
    let objects = || objects(&identifier, &page.matches, title, &root(caller)).map_err(Error::internal);
    match form {
        Form::Json => Ok(response.content_type("application/dicom+json").body(objects()?)),
        Form::Xml => xml::answer(response, &app.pictures, objects()?, range, boundary()).await,
        Form::Csv => {
            Ok(response.content_type("text/csv; charset=utf-8").body(table(&identifier, &page.matches)))
        }
    }
}

/// Attributes of the level, and of those above it that the address does not name.
fn usual(level: Level, of_path: &[(Tag, &str)]) -> Vec<Tag> {
    let is_named = |tag: Tag| of_path.iter().any(|(named, _)| *named == tag);
    let mut usual = Vec::new();
    if level == Level::Study || !is_named(tags::STUDY_INSTANCE_UID) {
        usual.extend(OF_STUDY);
    }
    if level >= Level::Series && (level == Level::Series || !is_named(tags::SERIES_INSTANCE_UID)) {
        usual.extend(OF_SERIES);
    }
    if level == Level::Image {
        usual.extend(OF_INSTANCE);
    }
    usual
}

async fn leave_trace(
    caller: &Caller,
    app: &App,
    request: &HttpRequest,
    identifier: &Identifier,
    (shown, is_search): (usize, bool),
) -> Result<(), Error> {
    let entry = caller.did(Action::Query, format!("{}; {shown} found", identifier.in_words()));
    let searched = Shown::Search(format!("{}?{}", request.path(), request.query_string()));
    // A viewer asks for the series of a study again and again; who looks for studies asks anew each time.
    match is_search {
        true => caller.show(app, searched, entry).await,
        false => caller.show_once(app, &[searched], entry).await,
    }
}

fn answer(warnings: &[String]) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    for warning in warnings {
        let value = HeaderValue::from_str(&format!("299 filmroom \"{warning}\""));
        if let Ok(value) = value {
            response.append_header((WARNING, value));
        }
    }
    response
}

/// The matches in the DICOM JSON Model, PS3.18 F.2.1.
fn objects(
    identifier: &Identifier,
    matches: &[Vec<String>],
    ae_title: &str,
    root: &str,
) -> Result<Vec<u8>, crate::dicom::prescan::Error> {
    let mut body = Vec::with_capacity(matches.len() * 1024 + 2);
    body.push(b'[');
    for (number, values) in matches.iter().enumerate() {
        if number > 0 {
            body.push(b',');
        }
        let encoding = Encoding::ExplicitVrLittleEndian;
        let bytes = identifier.answer(values, ae_title, encoding);
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let address = address(identifier, values, root);
        let added = [(tags::RETRIEVE_URL, address)];
        json::write(std::io::Cursor::new(bytes), length, encoding, &added, |_| String::new(), &mut body)?;
    }
    body.push(b']');
    Ok(body)
}

/// Retrieve URL (0008,1190).
fn address(identifier: &Identifier, values: &[String], root: &str) -> String {
    let mut address = root.to_owned();
    for (level, name) in [(Level::Study, "studies"), (Level::Series, "series"), (Level::Image, "instances")] {
        if level > identifier.level {
            break;
        }
        let at = identifier.wanted.iter().position(|attribute| *attribute == level.unique_key());
        let uid = at.and_then(|at| values.get(at)).map(String::as_str).unwrap_or_default();
        let _ = write!(address, "/{name}/{uid}"); // a String takes everything
    }
    address
}

/// The matches as a table, a line each, keywords at the top.
fn table(identifier: &Identifier, matches: &[Vec<String>]) -> String {
    let names: Vec<&str> = identifier
        .wanted
        .iter()
        .map(|attribute| dictionary::keyword(attribute.tag()).unwrap_or_default())
        .collect();
    let mut text = line(names.iter().copied());
    for values in matches {
        text.push_str(&line(values.iter().map(String::as_str)));
    }
    text
}

/// RFC 4180; what a spreadsheet would take for a formula is kept from being one.
fn line<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let cells = values.map(|value| {
        let is_formula = value.starts_with(['=', '+', '-', '@', '\t', '\r']) && value.parse::<f64>().is_err();
        let value = if is_formula { format!("'{value}") } else { value.to_owned() };
        match value.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", value.replace('"', "\"\"")),
            false => value,
        }
    });
    cells.collect::<Vec<_>>().join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_a_table_are_cells_whatever_is_in_them() {
        assert_eq!(
            line(["Doe^Jane", "a, b", "say \"x\"", "=1+1", "-1.5"].into_iter()),
            "Doe^Jane,\"a, b\",\"say \"\"x\"\"\",'=1+1,-1.5\r\n"
        );
    }

    #[test]
    fn what_the_address_names_is_not_said_of_each_match_again() {
        let named = [(tags::STUDY_INSTANCE_UID, "1.2")];
        assert!(!usual(Level::Series, &named).contains(&tags::PATIENT_NAME));
        assert!(usual(Level::Series, &[]).contains(&tags::PATIENT_NAME));
        assert!(usual(Level::Image, &named).contains(&tags::MODALITY));
    }
}

//! STOW-RS, PS3.18 section 10.5: instances that are put in. They take the way of C-STORE and are kept by its promises;
//! each is answered for.

mod metadata;

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::wado::ranges;
use super::xml::XML;
use super::{Named, media, root};
use crate::archive::commit::Outcome;
use crate::archive::import::{Intake, Received};
use crate::archive::receive::{Refusal, Stored};
use crate::dicom::native_xml;
use crate::web::App;
use crate::web::access::Caller;
use crate::web::error::Error;
use crate::web::intake::may_pass;
use crate::web::multipart::{Body, Broken, Multipart};

/// In which form is answered.
const ANSWERS: [(&str, &str); 3] = [
    ("application/dicom+json", "application/dicom+json"),
    ("application/json", "application/json"),
    (XML, XML),
];

/// Instances in one request.
const MOST_PARTS: usize = 100_000;

/// Warning Reason (0008,1196), PS3.18 table I.2-2.
const COERCED: u16 = 0xB000;
const DOES_NOT_MATCH: u16 = 0xB007;

/// `POST /dicom-web/studies` and `POST /dicom-web/studies/{study}`
pub async fn store(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    // No form of another site can send these: that a body is of one of them is what lets a cookie stand for its sender.
    let kind = content_type(&request)?;
    let form = form(&kind)?;
    let answered = media::choose(&ranges(&request), &ANSWERS)?;
    let source = app.intakes.source(&caller);
    let intake = Intake::new(&app.archive, source, named.study.clone());
    let root = root(&caller);
    let taken = move |body| answer(&take(intake, body, &form), &root, answered);
    let Answer { status, body, broken } = app.intakes.read(&app, &caller, payload, taken).await??;
    let mut response = HttpResponse::build(status);
    if let Some(broken) = broken {
        response.insert_header((
            header::WARNING,
            format!("299 filmroom \"{}\"", broken.replace(['"', '\\'], "'")),
        ));
    }
    Ok(response.content_type(answered).body(body))
}

/// In which form instances come.
#[derive(Debug, PartialEq, Eq)]
enum Form {
    /// Files, told apart by this boundary.
    Files(String),
    /// Metadata and bulk data, likewise.
    Metadata(String),
    /// One file, which is the body.
    File,
}

fn content_type(request: &HttpRequest) -> Result<media::Range, Error> {
    let text = |name: header::HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(coding) =
        text(header::CONTENT_ENCODING).filter(|coding| !coding.eq_ignore_ascii_case("identity"))
    {
        return Err(Error::UnsupportedMediaType(format!(
            "The body must not be encoded, as {coding} or otherwise."
        )));
    }
    let kind = text(header::CONTENT_TYPE).and_then(media::media_type);
    kind.ok_or_else(|| unsupported("nothing"))
}

fn form(kind: &media::Range) -> Result<Form, Error> {
    let boundary = || {
        let boundary = kind.parameter("boundary").filter(|boundary| !boundary.is_empty());
        boundary.map(str::to_owned).ok_or_else(|| Error::Invalid(sentence(&Broken::NoBoundary)))
    };
    match (kind.name.as_str(), kind.parameter("type").map(str::to_ascii_lowercase).as_deref()) {
        ("application/dicom", _) => Ok(Form::File),
        ("multipart/related", None | Some("application/dicom")) => Ok(Form::Files(boundary()?)),
        ("multipart/related", Some("application/dicom+json" | XML)) => Ok(Form::Metadata(boundary()?)),
        ("multipart/related", Some(other)) => Err(unsupported(&format!("multipart/related of {other}"))),
        (other, _) => Err(unsupported(other)),
    }
}

fn unsupported(kind: &str) -> Error {
    Error::UnsupportedMediaType(format!(
        "Instances are put in as multipart/related of application/dicom, application/dicom+json or \
         application/dicom+xml, and not as {kind}."
    ))
}

fn sentence(broken: &Broken) -> String {
    let text = broken.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// What came in a request.
#[derive(Default)]
struct Taken {
    received: Vec<Received>,
    broken: Option<String>,
}

/// Reads a body to its end. Waits for connection and disk.
fn take(mut intake: Intake, body: Body, form: &Form) -> Taken {
    let mut taken = Taken::default();
    let read = match form {
        Form::Files(boundary) => files(&mut intake, body, boundary, &mut taken.received),
        Form::Metadata(boundary) => Multipart::new(body, boundary)
            .map_err(|broken| sentence(&broken))
            .and_then(|mut parts| metadata::take(&mut intake, &mut parts, &mut taken.received)),
        Form::File => file(&mut intake, body, &mut taken.received),
    };
    taken.broken = read.err();
    while let Some(received) = intake.next_answer() {
        taken.received.push(received);
    }
    taken
}

fn files(
    intake: &mut Intake,
    body: Body,
    boundary: &str,
    received: &mut Vec<Received>,
) -> Result<(), String> {
    let in_words = |broken: Broken| sentence(&broken);
    let mut parts = Multipart::new(body, boundary).map_err(in_words)?;
    let mut number = 0;
    while parts.next_part().map_err(in_words)?.is_some() {
        number += 1;
        if number > MOST_PARTS {
            return Err(format!(
                "One request brings at most {MOST_PARTS} instances; the others were not read."
            ));
        }
        let mut file = intake.file();
        while let Some(data) = parts.next_data().map_err(in_words)? {
            file.push(data);
        }
        received.extend(intake.complete(String::new(), file));
    }
    Ok(())
}

fn file(intake: &mut Intake, mut body: Body, received: &mut Vec<Received>) -> Result<(), String> {
    let mut file = intake.file();
    while let Some(data) = body.piece().map_err(|broken| sentence(&broken))? {
        file.push(data);
    }
    received.extend(intake.complete(String::new(), file));
    Ok(())
}

/// What is answered.
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    broken: Option<String>,
}

/// The Store Instances Response Module and the status that sums it up, PS3.18 section 10.5.3.
fn answer(taken: &Taken, root: &str, answered: &str) -> Result<Answer, Error> {
    if taken.received.is_empty() {
        let nothing = "There is no instance in the body.".to_owned();
        return Err(Error::Invalid(taken.broken.clone().unwrap_or(nothing)));
    }
    let (mut done, mut failed, mut nameless) = (Vec::new(), Vec::new(), Vec::new());
    let mut has_warning = false;
    let mut studies = BTreeSet::new();
    for Received { identity, result, .. } in &taken.received {
        match result {
            Ok(stored) => {
                if !is_in_quarantine(stored) {
                    studies.insert(stored.study_instance_uid.as_str());
                }
                let reason = warning(stored);
                has_warning |= reason.is_some();
                done.push(stored_item(stored, reason, root));
            }
            Err(refusal) => {
                let mut item = json!({
                    "00081197": { "vr": "US", "Value": [failure(refusal)] },
                    // Error Comment, as others answer too.
                    "00000902": { "vr": "LO", "Value": [comment(refusal)] },
                });
                match (&identity.sop_class, &identity.sop_instance) {
                    (Some(class), Some(instance)) => {
                        item["00081150"] = uid(class.as_str());
                        item["00081155"] = uid(instance.as_str());
                        failed.push(item);
                    }
                    _ => nameless.push(item),
                }
            }
        }
    }
    let are_all_passing = taken.received.iter().all(|received| may_pass(&received.result));
    let status = match (done.is_empty(), failed.is_empty() && nameless.is_empty() && !has_warning) {
        (true, _) if are_all_passing => StatusCode::SERVICE_UNAVAILABLE,
        (true, _) => StatusCode::CONFLICT,
        (false, true) if taken.broken.is_none() => StatusCode::OK,
        (false, _) => StatusCode::ACCEPTED,
    };
    let mut body = json!({});
    if let (Some(study), 1) = (studies.first(), studies.len()) {
        body["00081190"] = json!({ "vr": "UR", "Value": [format!("{root}/studies/{study}")] });
    }
    // An empty sequence would be read as a failure.
    for (name, items) in [("00081198", failed), ("00081199", done), ("0008119A", nameless)] {
        if !items.is_empty() {
            body[name] = json!({ "vr": "SQ", "Value": items });
        }
    }
    let mut body = body.to_string().into_bytes();
    if answered == XML {
        let json = std::mem::take(&mut body);
        native_xml::write(&json, &mut body).map_err(Error::internal)?;
    }
    Ok(Answer { status, body, broken: taken.broken.clone() })
}

fn stored_item(stored: &Stored, reason: Option<u16>, root: &str) -> Value {
    let (study, series) = (&stored.study_instance_uid, &stored.series_instance_uid);
    let instance = stored.sop_instance_uid.as_str();
    let mut item = json!({
        "00081150": uid(stored.sop_class_uid.as_str()),
        "00081155": uid(instance),
    });
    // What is in quarantine is not to be had there.
    if !is_in_quarantine(stored) {
        let address = format!("{root}/studies/{study}/series/{series}/instances/{instance}");
        item["00081190"] = json!({ "vr": "UR", "Value": [address] });
    }
    if let Some(reason) = reason {
        item["00081196"] = json!({ "vr": "US", "Value": [reason] });
    }
    item
}

fn is_in_quarantine(stored: &Stored) -> bool {
    matches!(stored.outcome, Outcome::Quarantined | Outcome::AlreadyQuarantined)
}

fn uid(uid: &str) -> Value {
    json!({ "vr": "UI", "Value": [uid] })
}

/// Of an instance that was stored in another way than its sender may think.
fn warning(stored: &Stored) -> Option<u16> {
    match stored.outcome {
        Outcome::Quarantined | Outcome::AlreadyQuarantined => Some(COERCED),
        Outcome::Stored | Outcome::AlreadyHeld => (!stored.notes.is_empty()).then_some(DOES_NOT_MATCH),
    }
}

/// Failure Reason (0008,1197), PS3.18 table I.2-2.
fn failure(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::Archive(_) | Refusal::TooLong => 0xA700,
        Refusal::OtherInstance | Refusal::OtherStudy => 0xA900,
        Refusal::Unreadable(_)
        | Refusal::Unusable(_)
        | Refusal::NotDicom
        | Refusal::Directory
        | Refusal::Metadata(_)
        | Refusal::NotUnzipped(_) => 0xC000,
    }
}

/// As long as the VR allows.
fn comment(refusal: &Refusal) -> String {
    refusal.to_string().replace('\\', "/").chars().take(64).collect()
}

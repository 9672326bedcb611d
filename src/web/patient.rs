//! The page of a patient, `GET /patients/{patient_key}`.

use actix_web::{HttpResponse, web};
use askama::Template;

use super::App;
use super::access::Caller;
use super::error::Error;
use super::page::{self, Layout};
use super::study::StudyRow;
use super::text::{self, Person};
use crate::archive::find::PatientDetails;
use crate::db::audit::{self, Action};

/// A study of the list, which may be filed under somebody else.
struct Row {
    study: StudyRow,
    is_filed_elsewhere: bool,
    /// The name, where this study writes another one than the patient row.
    other_name: Option<String>,
}

#[derive(Template)]
#[template(path = "patient/show.html")]
struct PatientPage {
    layout: Layout,
    person: Person,
    patient_id: String,
    issuer: String,
    birth_date: String,
    sex: String,
    count: String,
    studies: Vec<Row>,
}

/// `GET /patients/{patient_key}`
pub async fn show(
    caller: Caller,
    layout: Layout,
    key: web::Path<String>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let key: u64 = key.parse().map_err(|_| Error::NotFound)?;
    let details = app.archive.patient_details(key, &caller.visibility).await?.ok_or(Error::NotFound)?;
    let patient = audit::Patient {
        patient_id: details.patient.patient_id.clone(),
        issuer_of_patient_id: details.patient.issuer_of_patient_id.clone(),
        patient_name: details.patient.patient_name.clone(),
    };
    caller.record(&app, caller.did(Action::ViewPatient, "").patient(patient)).await?;
    caller.has_seen_listed(&app, details.studies.iter().map(|study| study.study_instance_uid.as_str()));
    page::html(&patient_page(layout, details))
}

fn patient_page(layout: Layout, details: PatientDetails) -> PatientPage {
    let PatientDetails { patient, studies } = details;
    let person = Person::of(&patient.patient_name);
    let rows = studies.iter().map(|study| {
        let name = Person::of(&study.patient_name).name;
        Row {
            study: StudyRow::of(study),
            is_filed_elsewhere: study.patient_key != patient.patient_key,
            other_name: Some(name).filter(|name| *name != person.name),
        }
    });
    PatientPage {
        layout,
        studies: rows.collect(),
        count: text::counted(u64::try_from(studies.len()).unwrap_or(u64::MAX), "study", "studies"),
        birth_date: text::date(patient.patient_birth_date),
        sex: text::sex(&patient.patient_sex).to_owned(),
        patient_id: patient.patient_id,
        issuer: patient.issuer_of_patient_id,
        person,
    }
}

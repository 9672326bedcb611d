//! Who was given a study: `GET /studies/{StudyInstanceUID}/access`, a form to give it, and the button to take it back.

use actix_web::{HttpResponse, web};
use askama::Template;
use mysql_async::prelude::Queryable;
use serde::Deserialize;

use super::App;
use super::access::{Caller, Posted};
use super::error::Error;
use super::page::{self, Layout, own_address};
use super::text::{self, Person};
use crate::db;
use crate::db::audit::{self, Action, Entry};
use crate::db::group::{self, Given, Grant, Grantee};
use crate::db::role::Right;
use crate::db::study::Study;
use crate::db::user;
use crate::dicom::uid::StudyInstanceUid;

/// What somebody was given, as a row of the page of that person or group.
pub struct GivenRow {
    /// Our own number of the grant.
    pub key: u64,
    /// The patient.
    pub person: Person,
    /// Our own number of the patient.
    pub patient_key: u64,
    /// Patient ID.
    pub patient_id: String,
    /// Where it is one study.
    pub study: Option<StudyLink>,
    /// Who gave it.
    pub by: String,
    /// When, UTC.
    pub at: String,
}

/// A study to look at.
pub struct StudyLink {
    /// Study Instance UID.
    pub uid: String,
    /// Its description, or words for that there is none.
    pub title: String,
}

impl GivenRow {
    /// The row of this grant.
    pub fn of(grant: Grant) -> GivenRow {
        let title = match grant.study_description {
            description if description.is_empty() => "Study without a description".to_owned(),
            description => description,
        };
        let study = StudyLink { uid: grant.study_instance_uid, title };
        GivenRow {
            key: grant.grant_key,
            person: Person::of(&grant.patient_name),
            patient_key: grant.patient_key,
            patient_id: grant.patient_id,
            study: (!grant.is_patient).then_some(study),
            by: grant.granted_by,
            at: text::date_time(grant.granted_at),
        }
    }
}

/// To whom something was given, as a row of the page of the study.
struct Row {
    key: u64,
    grantee: String,
    is_group: bool,
    is_patient: bool,
    by: String,
    at: String,
}

/// Somebody, or a group, that a study can be given to.
struct Choice {
    /// `user-7`, `group-2`
    value: String,
    label: String,
}

/// The form that gives.
#[derive(Clone, Deserialize)]
pub struct GiveForm {
    #[serde(default)]
    to: String,
    /// `study` or `patient`
    #[serde(default)]
    what: String,
}

#[derive(Template)]
#[template(path = "grant/show.html")]
struct AccessPage {
    layout: Layout,
    uid: String,
    title: String,
    date: String,
    person: Person,
    patient_id: String,
    referring: String,
    rows: Vec<Row>,
    people: Vec<Choice>,
    groups: Vec<Choice>,
    form: GiveForm,
    /// What is wrong with the choice of whom.
    mistake: Option<String>,
}

/// `GET /studies/{StudyInstanceUID}/access`
pub async fn show(
    caller: Caller,
    layout: Layout,
    uid: web::Path<String>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let study = found(&app, &caller, &uid).await?;
    let form = GiveForm { to: String::new(), what: "study".to_owned() };
    show_with(&caller, layout, &app, study, form, None).await
}

async fn show_with(
    caller: &Caller,
    layout: Layout,
    app: &App,
    study: Study,
    form: GiveForm,
    mistake: Option<String>,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let grants = group::grants_of_study(&mut conn, study.study_key, study.patient_key).await?;
    let users = user::list(&mut conn).await?;
    let groups = group::list(&mut conn).await?;
    drop(conn);
    let uid = study.study_instance_uid.to_string();
    caller.record(app, caller.did(Action::ViewStudy, "who may see it").study(&uid)).await?;
    let may_be_given = |user: &&user::User| !user.is_disabled && !user.rights.has(Right::SeeAll);
    page::html(&AccessPage {
        layout,
        title: match study.study_description {
            description if description.is_empty() => "Study without a description".to_owned(),
            description => description,
        },
        date: text::date(study.study_date),
        person: Person::of(&study.patient_name),
        patient_id: study.patient_id,
        referring: text::physician(&study.referring_physician_name),
        rows: grants.into_iter().map(row).collect(),
        people: users.iter().filter(may_be_given).map(person_choice).collect(),
        groups: groups.into_iter().map(group_choice).collect(),
        uid,
        form,
        mistake,
    })
}

/// `POST /studies/{StudyInstanceUID}/access`
pub async fn give(
    caller: Caller,
    layout: Layout,
    uid: web::Path<String>,
    form: Posted<GiveForm>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let study = found(&app, &caller, &uid).await?;
    let entry = caller.did(Action::Grant, "");
    match given(&app, &caller, &study, &form, entry).await? {
        Ok(()) => Ok(page::see_other(&format!("/studies/{}/access", study.study_instance_uid))),
        Err(mistake) => show_with(&caller, layout, &app, study, form.clone(), Some(mistake)).await,
    }
}

/// Gives what the form says, or tells what is wrong with it.
async fn given(
    app: &App,
    caller: &Caller,
    study: &Study,
    form: &GiveForm,
    mut entry: Entry,
) -> Result<Result<(), String>, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let (to, name) = match grantee(&mut change, &form.to).await? {
        Ok(to) => to,
        Err(mistake) => return Ok(Err(mistake)),
    };
    let (given, what) = match form.what.as_str() {
        "study" => (Given::Study(study.study_key), "the study"),
        "patient" => (Given::Patient(study.patient_key), ALL_OF_PATIENT),
        _ => return Err(Error::Invalid("Choose what to give: this study, or all of the patient.".into())),
    };
    let by = caller.actor().name;
    match group::give(&mut change, given, to, &by).await {
        Err(err) if db::is_duplicate(&err) => return Ok(Err(format!("{name} was given {what} already."))),
        added => added?,
    }
    entry.details = format!("gave {what} to {}", in_words(to, &name));
    let entry = match given {
        Given::Study(_) => entry.study(study.study_instance_uid.as_str()),
        Given::Patient(_) => entry.patient(audit::Patient {
            patient_id: study.patient_id.clone(),
            issuer_of_patient_id: study.issuer_of_patient_id.clone(),
            patient_name: study.patient_name.clone(),
        }),
    };
    audit::append(&mut change, &[entry]).await?;
    change.commit().await?;
    Ok(Ok(()))
}

const ALL_OF_PATIENT: &str = "all studies of the patient, now and to come,";

/// Whom the form names, with their name, or what is wrong with that.
async fn grantee(conn: &mut impl Queryable, to: &str) -> Result<Result<(Grantee, String), String>, Error> {
    let nobody = Ok(Err("Choose a person or a group.".to_owned()));
    let Some((kind, key)) = to.split_once('-') else { return nobody };
    let Ok(key) = key.parse::<u64>() else { return nobody };
    match kind {
        "user" => match user::by_key(conn, key).await? {
            Some(user) if user.is_disabled => Ok(Err(format!("{} cannot sign in.", user.name))),
            Some(user) if user.rights.has(Right::SeeAll) => {
                Ok(Err(format!("{} sees all studies already.", user.name)))
            }
            Some(user) => Ok(Ok((Grantee::User(key), user.name.to_string()))),
            None => nobody,
        },
        "group" => match group::by_key(conn, key).await? {
            Some(group) => Ok(Ok((Grantee::Group(key), group.name))),
            None => nobody,
        },
        _ => nobody,
    }
}

/// Where the button stands.
#[derive(Deserialize)]
pub struct TakeBackForm {
    #[serde(default)]
    back: String,
}

/// `POST /admin/grants/{grant_key}/take-back`
pub async fn take_back(
    caller: Caller,
    key: web::Path<String>,
    form: Posted<TakeBackForm>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let key: u64 = key.parse().map_err(|_| Error::NotFound)?;
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    if let Some(grant) = group::take_back(&mut change, key).await? {
        audit::append(&mut change, &[taken(&caller, &grant)]).await?;
        change.commit().await?;
    }
    Ok(page::see_other(own_address(&form.back)))
}

/// The line of the audit trail of what was taken back.
fn taken(caller: &Caller, grant: &Grant) -> Entry {
    let kind = if grant.is_group { "group" } else { "user" };
    let what = if grant.is_patient { ALL_OF_PATIENT } else { "the study" };
    let entry = caller.did(Action::Grant, format!("took {what} back from {kind} {}", grant.grantee));
    let entry = entry.patient(audit::Patient {
        patient_id: grant.patient_id.clone(),
        issuer_of_patient_id: grant.issuer_of_patient_id.clone(),
        patient_name: grant.patient_name.clone(),
    });
    if grant.is_patient { entry } else { entry.study(&grant.study_instance_uid) }
}

async fn found(app: &App, caller: &Caller, uid: &str) -> Result<Study, Error> {
    let uid: StudyInstanceUid = uid.parse().map_err(|_| Error::NotFound)?;
    app.archive.study(&uid, &caller.visibility).await?.ok_or(Error::NotFound)
}

fn in_words(to: Grantee, name: &str) -> String {
    match to {
        Grantee::User(_) => format!("user {name}"),
        Grantee::Group(_) => format!("group {name}"),
    }
}

fn row(grant: Grant) -> Row {
    Row {
        key: grant.grant_key,
        grantee: grant.grantee,
        is_group: grant.is_group,
        is_patient: grant.is_patient,
        by: grant.granted_by,
        at: text::date_time(grant.granted_at),
    }
}

fn person_choice(user: &user::User) -> Choice {
    let label = match user.full_name.as_str() {
        "" => user.name.to_string(),
        full_name => format!("{full_name} ({})", user.name),
    };
    Choice { value: format!("user-{}", user.user_key), label }
}

fn group_choice(group: group::Group) -> Choice {
    let members = text::counted(group.members, "member", "members");
    Choice { value: format!("group-{}", group.group_key), label: format!("{}, {members}", group.name) }
}

//! What is being sent and retrieved: `GET /jobs`, and one of them with its items, `GET /jobs/{job_key}`.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::Utc;

use super::App;
use super::access::{AGAIN, Caller, NOT_ALLOWED, Posted};
use super::error::Error;
use super::page::{self, Layout};
use super::text::{self, Person};
use crate::db;
use crate::db::audit::{self, Action};
use crate::db::job::{self, Job, Kind, Method, State};
use crate::db::role::Right;
use crate::db::study::Study;
use crate::people::trail::Shown;

/// A job as its row shows it.
struct Row {
    key: u64,
    /// `Send to`, `Retrieve from`
    what: &'static str,
    ae_title: String,
    /// ` by C-MOVE`
    how: &'static str,
    asked_by: String,
    created: String,
    /// `Waiting`, `Running`, …
    state: &'static str,
    /// For the style sheet.
    state_name: &'static str,
    /// `tries again in 2 minutes`
    when: String,
    error: String,
    /// `118 of 200 instances`
    progress: String,
    completed: u32,
    /// 0 where it is not known.
    expected: u32,
    /// Whose study it is, where whoever looks may know.
    subject: Option<Subject>,
    /// `3 studies`
    extent: String,
    can_be_cancelled: bool,
    can_be_tried_again: bool,
    /// `again`, or `now` where it waits for its next attempt.
    when_tried: &'static str,
}

/// A study that whoever looks may see.
struct Subject {
    uid: String,
    person: Person,
    title: String,
}

/// A study of a job.
struct StudyRow {
    /// None where it is not here, or not for whoever looks.
    subject: Option<Subject>,
    /// Of a study that is to come: whoever asked for it knows it.
    uid: Option<String>,
    progress: String,
    state: &'static str,
}

/// Something that failed.
struct FailureRow {
    /// None where it is of a study that whoever looks may not see.
    uid: Option<String>,
    error: String,
}

#[derive(Template)]
#[template(path = "job/list.html")]
struct ListPage {
    layout: Layout,
    jobs: Vec<Row>,
    /// Where the page looks again by itself while something is under way.
    again: Option<String>,
}

#[derive(Template)]
#[template(path = "job/show.html")]
struct JobPage {
    layout: Layout,
    job: Row,
    studies: Vec<StudyRow>,
    failures: Vec<FailureRow>,
    again: Option<String>,
}

/// `GET /jobs`
pub async fn list(caller: Caller, layout: Layout, app: web::Data<App>) -> Result<HttpResponse, Error> {
    let asked_by = whose(&caller)?;
    let mut conn = db::acquire(&app.pool).await?;
    let jobs = job::list(&mut conn, asked_by.as_deref()).await?;
    drop(conn);
    let seen = subjects(&caller, &app, jobs.iter().map(|job| job.study_instance_uid.clone())).await?;
    if !seen.is_empty() {
        let entry = caller.did(Action::Query, format!("jobs; {} shown", jobs.len()));
        caller.show_once(&app, &[Shown::Search("/jobs".to_owned())], entry).await?;
        caller.has_seen_listed(&app, seen.keys().map(String::as_str));
    }
    let rows: Vec<Row> = jobs.iter().map(|job| row(job, &seen)).collect();
    let is_busy = jobs.iter().any(|job| !job.state.is_over());
    page::html(&ListPage { again: is_busy.then(|| again(&layout)), jobs: rows, layout })
}

/// `GET /jobs/{job_key}`
pub async fn show(
    caller: Caller,
    layout: Layout,
    key: web::Path<String>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let job = of(&caller, &app, &key).await?;
    let mut conn = db::acquire(&app.pool).await?;
    let studies = job::studies(&mut conn, job.job_key).await?;
    let failures = job::failures(&mut conn, job.job_key).await?;
    drop(conn);
    let seen = subjects(&caller, &app, studies.iter().map(|study| study.study_instance_uid.clone())).await?;
    if !seen.is_empty() {
        let page = format!("/jobs/{}", job.job_key);
        let entry = caller.did(Action::Query, format!("job {}; {} studies shown", job.job_key, seen.len()));
        caller.show_once(&app, &[Shown::Search(page)], entry).await?;
        caller.has_seen_listed(&app, seen.keys().map(String::as_str));
    }
    let failure_rows = failures.iter().map(|failure| FailureRow {
        uid: seen.contains_key(&failure.study_instance_uid).then(|| {
            match failure.sop_instance_uid.as_str() {
                "" => failure.study_instance_uid.clone(),
                uid => uid.to_owned(),
            }
        }),
        error: page::sentence(failure.error.trim_end_matches('.')),
    });
    let is_to_come = job.kind == Kind::Retrieve;
    let study_rows = studies.iter().map(|study| {
        let subject = seen.get(&study.study_instance_uid).map(subject);
        StudyRow {
            uid: (is_to_come && subject.is_none()).then(|| study.study_instance_uid.clone()),
            subject,
            progress: counted(study.completed, study.expected),
            state: match (study.waiting, study.failed) {
                (0, 0) => "Done",
                (0, _) => "Failed",
                _ if job.state.is_over() => "Not tried",
                _ => "",
            },
        }
    });
    page::html(&JobPage {
        failures: failure_rows.collect(),
        studies: study_rows.collect(),
        again: (!job.state.is_over()).then(|| again(&layout)),
        job: row(&job, &seen),
        layout,
    })
}

/// Nothing but the token.
#[derive(serde::Deserialize)]
pub struct NoFields {}

/// `POST /jobs/{job_key}/cancel`
pub async fn cancel(
    caller: Caller,
    key: web::Path<String>,
    _: Posted<NoFields>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let job = of(&caller, &app, &key).await?;
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    if job::cancel(&mut change, job.job_key).await? {
        let details = format!("cancelled job {}: {}", job.job_key, in_words(&job));
        audit::append(&mut change, &[caller.did(Action::ChangeJob, details)]).await?;
        change.commit().await?;
        tracing::info!(job = job.job_key, "a job was cancelled");
    }
    Ok(page::see_other(&format!("/jobs/{}", job.job_key)))
}

/// `POST /jobs/{job_key}/try-again`: what is missing of a job that is over, or the next attempt of one that waits now.
pub async fn try_again(
    caller: Caller,
    key: web::Path<String>,
    _: Posted<NoFields>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let job = of(&caller, &app, &key).await?;
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let is_begun = job::try_again(&mut change, job.job_key, app.job_patience.as_secs()).await?
        || job::try_now(&mut change, job.job_key).await?;
    if is_begun {
        let details = format!("tried job {} again: {}", job.job_key, in_words(&job));
        audit::append(&mut change, &[caller.did(Action::ChangeJob, details)]).await?;
        change.commit().await?;
        app.new_job.notify_one();
    }
    Ok(page::see_other(&format!("/jobs/{}", job.job_key)))
}

/// Whose jobs somebody sees: their own, or everybody's.
fn whose(caller: &Caller) -> Result<Option<String>, Error> {
    let user = caller.signed_in()?;
    if caller.may(Right::Administer) {
        return Ok(None);
    }
    match caller.may(Right::Send) || caller.may(Right::QueryRemote) {
        true => Ok(Some(user.name.to_string())),
        false => Err(Error::Forbidden(NOT_ALLOWED)),
    }
}

/// The job of an address, if it is there for this caller.
async fn of(caller: &Caller, app: &App, key: &str) -> Result<Job, Error> {
    let asked_by = whose(caller)?;
    let key: u64 = key.parse().map_err(|_| Error::NotFound)?;
    let mut conn = db::acquire(&app.pool).await?;
    let job = job::by_key(&mut conn, key).await?.ok_or(Error::NotFound)?;
    match asked_by.is_none_or(|name| name == job.asked_by) {
        true => Ok(job),
        false => Err(Error::NotFound),
    }
}

/// Those of these studies that the caller may see.
async fn subjects(
    caller: &Caller,
    app: &App,
    uids: impl Iterator<Item = String>,
) -> Result<BTreeMap<String, Study>, Error> {
    let mut uids: Vec<String> = uids.filter(|uid| !uid.is_empty()).collect();
    uids.sort();
    uids.dedup();
    // Without the right to look at studies nothing of them is told.
    if !caller.may(Right::View) {
        return Ok(BTreeMap::new());
    }
    let studies = app.archive.studies(uids, &caller.visibility).await?;
    Ok(studies.into_iter().map(|study| (study.study_instance_uid.to_string(), study)).collect())
}

fn subject(study: &Study) -> Subject {
    Subject {
        uid: study.study_instance_uid.to_string(),
        person: Person::of(&study.patient_name),
        title: match study.study_description.as_str() {
            "" => "No description".to_owned(),
            description => description.to_owned(),
        },
    }
}

fn row(job: &Job, seen: &BTreeMap<String, Study>) -> Row {
    let is_over = job.state.is_over();
    let is_missing = job.completed < job.expected || job.failed > 0 || job.expected == 0;
    Row {
        key: job.job_key,
        what: what(job.kind),
        ae_title: job.ae_title.to_string(),
        how: how(job.method),
        asked_by: job.asked_by.clone(),
        created: text::date_time(job.created_at),
        state: state(job),
        state_name: job.state.as_str(),
        when: when(job),
        error: match job.last_error.as_str() {
            "" => String::new(),
            error => page::sentence(error.trim_end_matches('.')),
        },
        progress: counted(job.completed.into(), job.expected.into()),
        completed: job.completed,
        expected: job.expected,
        subject: seen.get(&job.study_instance_uid).map(subject),
        extent: text::counted(job.studies.into(), "study", "studies"),
        can_be_cancelled: !is_over && !job.is_cancelled,
        can_be_tried_again: match job.state {
            State::Failed | State::Cancelled => is_missing,
            State::Waiting => job.next_attempt_at > Utc::now().naive_utc(),
            State::Running | State::Done => false,
        },
        when_tried: if job.state == State::Waiting { "now" } else { "again" },
    }
}

fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Send => "Send to",
        Kind::Retrieve => "Retrieve from",
    }
}

fn how(method: Option<Method>) -> &'static str {
    match method {
        None => "",
        Some(Method::Get) => "by C-GET",
        Some(Method::Move) => "by C-MOVE",
    }
}

fn in_words(job: &Job) -> String {
    let studies = text::counted(job.studies.into(), "study", "studies");
    format!("{} {}, {studies}", what(job.kind).to_lowercase(), job.ae_title)
}

fn state(job: &Job) -> &'static str {
    match job.state {
        State::Waiting | State::Running if job.is_cancelled => "Being cancelled",
        State::Waiting => "Waiting",
        State::Running => "Running",
        State::Done => "Done",
        State::Failed => "Failed",
        State::Cancelled => "Cancelled",
    }
}

fn when(job: &Job) -> String {
    let until = (job.next_attempt_at - Utc::now().naive_utc()).num_seconds();
    match (job.state, job.ended_at) {
        (State::Waiting, _) if until > 0 => format!("tries again in {}", text::duration(until)),
        (_, Some(ended)) => page::ago(ended),
        _ => String::new(),
    }
}

fn counted(completed: u64, expected: u64) -> String {
    match expected {
        0 => String::new(),
        expected => {
            format!("{} of {}", text::thousands(completed), text::counted(expected, "instance", "instances"))
        }
    }
}

/// Where a page of jobs looks again without scripts.
fn again(layout: &Layout) -> String {
    format!("{}?{AGAIN}", layout.here.split('?').next().unwrap_or("/jobs"))
}

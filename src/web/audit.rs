//! The audit trail: `GET /admin/audit`, the same as CSV, and who has seen a study, `GET /studies/{study}/audit`.

use actix_web::http::header::{self, ContentDisposition, DispositionParam, DispositionType};
use actix_web::web::{Bytes, Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use chrono::{NaiveDate, NaiveDateTime};
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};

use super::App;
use super::access::Caller;
use super::error::Error;
use super::page::{self, Layout};
use super::text::{self, Person};
use crate::db::audit::{self, Action, Recorded, Sought};
use crate::db::{self, Pool};
use crate::dicom::uid::StudyInstanceUid;

/// Rows on a page.
const ROWS: u64 = 100;
/// Rows that are read at a time for a file.
const ROWS_OF_FILE: u64 = 2000;

/// A row as the page shows it.
struct Row {
    when: String,
    who: String,
    kind: String,
    address: String,
    what: String,
    is_refused: bool,
    /// The patient, where there is one.
    person: Option<Person>,
    patient_id: String,
    /// Study Instance UID; empty for none.
    study: String,
    details: String,
}

/// What the form asks for, as it was typed.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub struct Asked {
    #[serde(default)]
    patient: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    #[serde(default)]
    before: String,
}

/// A choice of the form.
struct Choice {
    value: &'static str,
    label: &'static str,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "audit/list.html")]
struct ListPage {
    layout: Layout,
    asked: Asked,
    actions: Vec<Choice>,
    mistake: Option<&'static str>,
    rows: Vec<Row>,
    is_narrowed: bool,
    /// Where the older rows are.
    older: Option<String>,
    file: String,
}

#[derive(Template)]
#[template(path = "audit/study.html")]
struct StudyPage {
    layout: Layout,
    uid: String,
    rows: Vec<Row>,
    is_cut: bool,
}

/// `GET /admin/audit`
pub async fn list(
    caller: Caller,
    layout: Layout,
    asked: Query<Asked>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let asked = asked.into_inner();
    let (sought, mistake) = sought(&asked);
    let mut conn = db::acquire(&app.pool).await?;
    let found = audit::find(&mut conn, &sought, ROWS + 1).await?;
    drop(conn);
    caller.record(&app, caller.did(Action::ViewAudit, in_words(&sought))).await?;
    let shown = usize::try_from(ROWS).unwrap_or(usize::MAX);
    let last = found.get(shown.saturating_sub(1)).filter(|_| found.len() > shown);
    let older = last
        .map(|last| address("/admin/audit", &Asked { before: last.audit_key.to_string(), ..asked.clone() }));
    page::html(&ListPage {
        layout,
        actions: actions(&asked),
        mistake,
        rows: found.iter().take(shown).map(row).collect(),
        is_narrowed: Sought { before: None, ..sought } != Sought::default(),
        older,
        file: address("/admin/audit.csv", &Asked { before: String::new(), ..asked.clone() }),
        asked,
    })
}

/// `GET /studies/{StudyInstanceUID}/audit`: who has seen this study, the last first.
pub async fn of_study(
    caller: Caller,
    layout: Layout,
    study: Path<String>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let uid: StudyInstanceUid = study.parse().map_err(|_| Error::NotFound)?;
    app.archive.study(&uid, &caller.visibility).await?.ok_or(Error::NotFound)?;
    let sought = Sought { study_instance_uid: uid.to_string(), ..Sought::default() };
    let mut conn = db::acquire(&app.pool).await?;
    let found = audit::find(&mut conn, &sought, ROWS_OF_FILE + 1).await?;
    drop(conn);
    caller.record(&app, caller.did(Action::ViewAudit, "of a study").study(uid.as_str())).await?;
    let shown = usize::try_from(ROWS_OF_FILE).unwrap_or(usize::MAX);
    page::html(&StudyPage {
        layout,
        uid: uid.to_string(),
        rows: found.iter().take(shown).map(row).collect(),
        is_cut: found.len() > shown,
    })
}

/// `GET /admin/audit.csv`: every row that is asked for, newest first.
pub async fn file(
    caller: Caller,
    request: HttpRequest,
    asked: Query<Asked>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let (sought, mistake) = sought(&asked);
    if let Some(mistake) = mistake {
        return Err(Error::Invalid(mistake.to_owned()));
    }
    if request.method() == actix_web::http::Method::GET {
        caller
            .record(&app, caller.did(Action::Download, format!("audit trail, {}", in_words(&sought))))
            .await?;
    }
    let disposition = ContentDisposition {
        disposition: DispositionType::Attachment,
        parameters: vec![DispositionParam::Filename("audit.csv".to_owned())],
    };
    Ok(HttpResponse::Ok()
        .insert_header(disposition)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/csv; charset=utf-8")
        .streaming(lines(app.pool.clone(), sought)))
}

/// The lines of the file, a few thousand at a time, so that memory does not grow with the trail.
fn lines(pool: Pool, sought: Sought) -> impl Stream<Item = Result<Bytes, Error>> {
    stream::try_unfold((Some(sought), HEADINGS.to_owned()), move |(sought, mut text)| {
        let pool = pool.clone();
        async move {
            let Some(mut sought) = sought else { return Ok(None) };
            let mut conn = db::acquire(&pool).await?;
            let rows = audit::find(&mut conn, &sought, ROWS_OF_FILE).await?;
            drop(conn);
            rows.iter().for_each(|row| text.push_str(&line(row)));
            sought.before = rows.last().map(|row| row.audit_key);
            let next = sought.before.is_some().then_some(sought);
            Ok(Some((Bytes::from(text), (next, String::new()))))
        }
    })
}

const HEADINGS: &str = "number,time (UTC),kind,who,address,action,outcome,patient ID,issuer,patient name,\
                        study instance UID,series instance UID,details,hash\r\n";

fn line(row: &Recorded) -> String {
    let cells = [
        row.audit_key.to_string(),
        row.recorded_at.format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
        row.actor_kind.clone(),
        row.actor.clone(),
        row.address.clone(),
        row.action.clone(),
        row.outcome.clone(),
        row.patient.patient_id.clone(),
        row.patient.issuer_of_patient_id.clone(),
        row.patient.patient_name.clone(),
        row.study_instance_uid.clone(),
        row.series_instance_uid.clone(),
        row.details.clone(),
        hex::encode(&row.hash),
    ];
    cells.iter().map(|cell| csv_cell(cell)).collect::<Vec<_>>().join(",") + "\r\n"
}

/// RFC 4180; and what a spreadsheet would take for a formula gets an apostrophe before it.
fn csv_cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// What is looked for, and what is wrong with how it was asked for.
fn sought(asked: &Asked) -> (Sought, Option<&'static str>) {
    let mut mistake = None;
    let mut day = |text: &str| match text.trim() {
        "" => None,
        text => {
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
            if day.is_none() {
                mistake = Some("A day is written as in 2026-11-22.");
            }
            day
        }
    };
    let sought = Sought {
        from: day(&asked.from),
        to: day(&asked.to),
        patient: asked.patient.trim().chars().take(200).collect(),
        actor: asked.user.trim().chars().take(64).collect(),
        action: Action::parse(&asked.action),
        study_instance_uid: String::new(),
        before: asked.before.parse().ok(),
    };
    (sought, mistake)
}

/// For the trail itself.
fn in_words(sought: &Sought) -> String {
    let mut parts = Vec::new();
    if !sought.patient.is_empty() {
        parts.push(format!("patient {}", sought.patient));
    }
    if !sought.actor.is_empty() {
        parts.push(format!("user {}", sought.actor));
    }
    if let Some(action) = sought.action {
        parts.push(action.as_str().to_owned());
    }
    for (word, day) in [("from", sought.from), ("to", sought.to)] {
        parts.extend(day.map(|day| format!("{word} {day}")));
    }
    if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") }
}

fn actions(asked: &Asked) -> Vec<Choice> {
    let choice = |action: Action| Choice {
        value: action.as_str(),
        label: action.label(),
        chosen: action.as_str() == asked.action,
    };
    Action::ALL.into_iter().map(choice).collect()
}

fn address(path: &str, asked: &Asked) -> String {
    let fields = [
        ("patient", &asked.patient),
        ("user", &asked.user),
        ("action", &asked.action),
        ("from", &asked.from),
        ("to", &asked.to),
        ("before", &asked.before),
    ];
    let given: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    match serde_urlencoded::to_string(given) {
        Ok(query) if !query.is_empty() => format!("{path}?{query}"),
        _ => path.to_owned(),
    }
}

fn row(row: &Recorded) -> Row {
    let has_patient = !row.patient.patient_name.is_empty() || !row.patient.patient_id.is_empty();
    let action = Action::parse(&row.action).map(Action::label);
    Row {
        when: to_the_second(row.recorded_at),
        who: row.actor.clone(),
        kind: row.actor_kind.clone(),
        address: row.address.clone(),
        what: action.unwrap_or(&row.action).to_owned(),
        is_refused: row.outcome == audit::Outcome::Refused.as_str(),
        person: has_patient.then(|| Person::of(&row.patient.patient_name)),
        patient_id: row.patient.patient_id.clone(),
        study: row.study_instance_uid.clone(),
        details: row.details.clone(),
    }
}

fn to_the_second(at: NaiveDateTime) -> String {
    format!("{}{}", text::date_time(at), at.format(":%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_where_it_must_be_and_is_never_a_formula() {
        assert_eq!(csv_cell("Doe^Jane"), "Doe^Jane");
        assert_eq!(csv_cell("a,b"), "\"a,b\"");
        assert_eq!(csv_cell("a\"b\r\nc"), "\"a\"\"b\r\nc\"");
        assert_eq!(csv_cell("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(csv_cell("@x"), "'@x");
    }

    #[test]
    fn a_day_that_is_none_is_said_so() {
        let asked = Asked { from: "yesterday".into(), ..Asked::default() };
        assert!(sought(&asked).1.is_some());
        let asked = Asked { from: "2026-11-22".into(), ..Asked::default() };
        assert_eq!(sought(&asked).0.from, NaiveDate::from_ymd_opt(2026, 11, 22));
    }
}

//! Share links, for those who make them: `/studies/{StudyInstanceUID}/shares` and `/shares`. What whoever holds a link
//! sees first is in `visit`.

pub mod visit;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Deserialize;

use super::App;
use super::access::{Caller, Posted};
use super::error::Error;
use super::page::{self, Layout};
use super::qr::{self, Drawn};
use super::text::{self, Person};
use super::transport::names_this_machine;
use crate::db;
use crate::db::audit::{self, Action};
use crate::db::role::Right;
use crate::db::share::{self, NewShare, Share};
use crate::db::study::Study;
use crate::dicom::uid::StudyInstanceUid;
use crate::people::accounts::Refused;
use crate::people::secret::Secret;
use crate::people::trail::Shown;

/// How long a link may last, days, and in words.
const DAYS: [(u32, &str); 4] = [(1, "1 day"), (7, "7 days"), (30, "30 days"), (90, "90 days")];
/// And how long it does unless something else is chosen.
const USUAL_DAYS: &str = "7";

/// A link as its row shows it.
struct Row {
    key: u64,
    study: String,
    title: String,
    /// None where whoever looks may not see the study.
    person: Option<Person>,
    made_by: String,
    note: String,
    /// What it takes and gives: `view only, password`.
    terms: String,
    /// `expires 2026-12-04`, `expired`, `revoked`
    state: String,
    opened: String,
    is_open: bool,
    may_revoke: bool,
}

/// The form of a link, as it was sent, and as it is shown again with what is wrong with it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ShareForm {
    #[serde(default)]
    days: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    password: String,
    /// Present where the box is ticked.
    may_download: Option<String>,
}

impl ShareForm {
    /// How long it may last, and whether that is chosen.
    fn choices(&self) -> [(u32, &'static str, bool); DAYS.len()] {
        DAYS.map(|(days, words)| (days, words, self.days == days.to_string()))
    }
}

/// What is wrong, beside the field it is wrong in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mistakes {
    note: Option<String>,
    password: Option<String>,
}

#[derive(Template)]
#[template(path = "share/list.html")]
struct ListPage {
    layout: Layout,
    uid: String,
    title: String,
    person: Person,
    shares: Vec<Row>,
    form: ShareForm,
    mistakes: Mistakes,
}

#[derive(Template)]
#[template(path = "share/made.html")]
struct MadePage {
    layout: Layout,
    uid: String,
    title: String,
    address: String,
    code: Option<Drawn>,
    lasts: &'static str,
    has_password: bool,
    /// The address leads nowhere from another machine.
    is_local: bool,
}

#[derive(Template)]
#[template(path = "share/mine.html")]
struct MinePage {
    layout: Layout,
    shares: Vec<Row>,
}

/// `GET /studies/{StudyInstanceUID}/shares`
pub async fn list(
    caller: Caller,
    layout: Layout,
    uid: Path<String>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let study = shared(&app, &caller, &uid).await?;
    let uid = study.study_instance_uid.as_str();
    let entry = caller.did(Action::ViewStudy, "share links").study(uid);
    caller.show_once(&app, &[Shown::Study(uid.to_owned())], entry).await?;
    let form = ShareForm { days: USUAL_DAYS.to_owned(), ..ShareForm::default() };
    list_with(&caller, layout, &app, &study, form, Mistakes::default()).await
}

async fn list_with(
    caller: &Caller,
    layout: Layout,
    app: &App,
    study: &Study,
    form: ShareForm,
    mistakes: Mistakes,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let shares = share::of_study(&mut conn, study.study_key).await?;
    page::html(&ListPage {
        layout,
        uid: study.study_instance_uid.to_string(),
        title: title(&study.study_description),
        person: Person::of(&study.patient_name),
        shares: shares.iter().map(|share| row(caller, share)).collect(),
        form,
        mistakes,
    })
}

/// `POST /studies/{StudyInstanceUID}/shares`: makes a link and shows it, once.
pub async fn add(
    caller: Caller,
    layout: Layout,
    uid: Path<String>,
    form: Posted<ShareForm>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    let study = shared(&app, &caller, &uid).await?;
    let (days, lasts) = lasting(&form)?;
    let password_hash = match checked(&app, &form).await? {
        Ok(hash) => hash,
        Err(mistakes) => {
            return list_with(&caller, layout, &app, &study, form.clone(), mistakes).await;
        }
    };
    let secret = Secret::random().map_err(Error::internal)?;
    let new = NewShare {
        link_hash: secret.hash(),
        study_key: study.study_key,
        user_key: user.user_key,
        password_hash: &password_hash,
        // Nobody gives what they do not have.
        may_download: form.may_download.is_some() && caller.may(Right::Download),
        note: form.note.trim(),
        days,
    };
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let share_key = share::add(&mut change, &new).await?;
    let details = format!("made share {share_key} for {lasts}: {}{}", terms(&new), whom(new.note));
    let entry = caller.did(Action::Share, details).study(study.study_instance_uid.as_str());
    audit::append(&mut change, &[entry]).await?;
    change.commit().await?;
    tracing::info!(study = %study.study_instance_uid, share_key, "a study was shared");
    let address = format!("{}/share/{}", caller.client.site(), secret.text());
    page::html(&MadePage {
        layout,
        uid: study.study_instance_uid.to_string(),
        title: title(&study.study_description),
        code: qr::drawn(&address),
        address,
        lasts,
        has_password: !password_hash.is_empty(),
        is_local: names_this_machine(&caller.client.host),
    })
}

/// `GET /shares`: the links that are open, of whoever asks; all for administrators.
pub async fn mine(caller: Caller, layout: Layout, app: Data<App>) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    let made_by = (!caller.may(Right::Administer)).then_some(user.user_key);
    let mut conn = db::acquire(&app.pool).await?;
    let shares = share::open(&mut conn, made_by, &caller.visibility).await?;
    drop(conn);
    let entry = caller.did(Action::Query, format!("open share links; {} shown", shares.len()));
    caller.record(&app, entry).await?;
    page::html(&MinePage { layout, shares: shares.iter().map(|share| row(&caller, share)).collect() })
}

/// Which page a button stood on.
#[derive(Deserialize)]
pub struct RevokeForm {
    /// `study` on the page of one study's links.
    #[serde(default)]
    from: String,
}

/// `POST /shares/{share_key}/revoke`: ends a link, and the visits of those who came by it.
pub async fn revoke(
    caller: Caller,
    key: Path<String>,
    form: Posted<RevokeForm>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    caller.signed_in()?;
    let key: u64 = key.parse().map_err(|_| Error::NotFound)?;
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let share = share::by_key(&mut change, key).await?.ok_or(Error::NotFound)?;
    if !may_revoke(&caller, &share) {
        return Err(Error::NotFound);
    }
    if share::revoke(&mut change, key).await? {
        let entry = caller.did(Action::Share, format!("revoked share {key}{}", whom(&share.note)));
        audit::append(&mut change, &[entry.study(&share.study_instance_uid)]).await?;
        change.commit().await?;
        tracing::info!(study = %share.study_instance_uid, share_key = key, "a share link was revoked");
    }
    Ok(match form.from.as_str() {
        "study" => page::see_other(&format!("/studies/{}/shares", share.study_instance_uid)),
        _ => page::see_other("/shares"),
    })
}

/// The study that a person shares, if they can see it.
async fn shared(app: &App, caller: &Caller, uid: &str) -> Result<Study, Error> {
    caller.signed_in()?;
    let uid: StudyInstanceUid = uid.parse().map_err(|_| Error::NotFound)?;
    app.archive.study(&uid, &caller.visibility).await?.ok_or(Error::NotFound)
}

fn lasting(form: &ShareForm) -> Result<(u32, &'static str), Error> {
    let chosen = DAYS.into_iter().find(|(days, _)| form.days == days.to_string());
    chosen.ok_or_else(|| Error::Invalid("A link lasts 1, 7, 30 or 90 days.".to_owned()))
}

/// The hash of the link's password, empty where it has none; or all that is wrong with the form.
async fn checked(app: &App, form: &ShareForm) -> Result<Result<String, Mistakes>, Error> {
    let note = form.note.trim();
    let mut mistakes = Mistakes::default();
    if note.chars().count() > 255 {
        mistakes.note = Some("At most 255 characters.".to_owned());
    }
    let hash = match form.password.as_str() {
        "" => Ok(String::new()),
        password => app.people.new_password(password, &[note]).await,
    };
    match hash {
        Ok(hash) if mistakes == Mistakes::default() => return Ok(Ok(hash)),
        Ok(_) => {}
        Err(Refused::Weak(weak)) => mistakes.password = Some(weak.to_string()),
        Err(Refused::Failed(err)) => return Err(err.into()),
        Err(refused) => return Err(Error::internal(refused)),
    }
    Ok(Err(mistakes))
}

fn may_revoke(caller: &Caller, share: &Share) -> bool {
    caller.may(Right::Administer) || caller.person().is_some_and(|user| user.name.as_str() == share.made_by)
}

fn row(caller: &Caller, share: &Share) -> Row {
    let opened = match share.opened {
        0 => "never".to_owned(),
        times => text::counted(times.into(), "time", "times"),
    };
    let last = share.last_opened_at.map(|at| format!(", last {}", page::ago(at)));
    Row {
        key: share.share_key,
        study: share.study_instance_uid.clone(),
        title: title(&share.study_description),
        person: share.is_visible.then(|| Person::of(&share.patient_name)),
        made_by: share.made_by.clone(),
        note: share.note.clone(),
        terms: in_words(share.may_download, !share.password_hash.is_empty()),
        state: state(share),
        opened: format!("{opened}{}", last.unwrap_or_default()),
        is_open: share.is_open,
        may_revoke: share.is_open && may_revoke(caller, share),
    }
}

fn state(share: &Share) -> String {
    let day = |at: chrono::NaiveDateTime| text::date(Some(at.date()));
    match share.revoked_at {
        Some(at) => format!("revoked {}", day(at)),
        None if share.is_open => format!("until {} UTC", text::date_time(share.expires_at)),
        None => format!("expired {}", day(share.expires_at)),
    }
}

fn terms(new: &NewShare<'_>) -> String {
    in_words(new.may_download, !new.password_hash.is_empty())
}

fn in_words(may_download: bool, has_password: bool) -> String {
    let what = if may_download { "view and download" } else { "view only" };
    let how = if has_password { "with a password" } else { "without a password" };
    format!("{what}, {how}")
}

/// For whom a link is, for the audit trail.
fn whom(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!("; for {note}") }
}

fn title(description: &str) -> String {
    match description {
        "" => "Study without a description".to_owned(),
        description => description.to_owned(),
    }
}

//! What whoever holds a share link sees first: `GET /share/{link}`, which says nothing of the patient and changes
//! nothing, because programs look at links before people do; and `POST /share/{link}`, which opens the study.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Deserialize;

use crate::db;
use crate::db::audit::{self, Action, Entry};
use crate::db::share::{self, Share};
use crate::dicom::uid::StudyInstanceUid;
use crate::people::secret::{self, Secret};
use crate::people::sign_in::{Refusal, visitor};
use crate::people::throttle::Attempt;
use crate::web::App;
use crate::web::access::{Caller, Posted, VISIT, Who, with_cookie};
use crate::web::error::Error;
use crate::web::page::{self, Layout};
use crate::web::text;

const WRONG: &str = "This is not the password of this link.";

#[derive(Template)]
#[template(path = "share/visit.html")]
struct VisitPage {
    layout: Layout,
    link: String,
    until: String,
    has_password: bool,
    mistake: Option<String>,
}

/// Instead, where there is no such link, or not any more.
#[derive(Template)]
#[template(path = "share/closed.html")]
struct ClosedPage {
    layout: Layout,
}

/// Instead, for somebody who is signed in and may not see the study.
#[derive(Template)]
#[template(path = "share/signed_in.html")]
struct SignedInPage {
    layout: Layout,
    label: String,
}

/// `GET /share/{link}`
pub async fn ask(
    caller: Caller,
    layout: Layout,
    link: Path<String>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    match open_share(&app, &link).await? {
        None => closed(layout),
        Some(share) => match elsewhere(&app, &caller, &layout, &share).await? {
            Some(answer) => Ok(answer),
            None => visit_page(StatusCode::OK, layout, &link, &share, None),
        },
    }
}

/// The link that stands in an address, while it is good.
async fn open_share(app: &App, link: &str) -> Result<Option<Share>, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let share = share::by_link(&mut conn, &secret::hash(link)).await?;
    Ok(share.filter(|share| share.is_open))
}

fn closed(layout: Layout) -> Result<HttpResponse, Error> {
    page::answer(StatusCode::NOT_FOUND, &ClosedPage { layout })
}

/// Where a person who is signed in, or somebody who has opened this link before, goes instead.
async fn elsewhere(
    app: &App,
    caller: &Caller,
    layout: &Layout,
    share: &Share,
) -> Result<Option<HttpResponse>, Error> {
    let study = || Some(page::see_other(&format!("/studies/{}", share.study_instance_uid)));
    match &caller.who {
        Who::Visitor(visit) if visit.share_key == share.share_key => Ok(study()),
        Who::Person { user, .. } => {
            let uid: StudyInstanceUid = share.study_instance_uid.parse().map_err(Error::internal)?;
            if app.archive.study(&uid, &caller.visibility).await?.is_some() {
                return Ok(study());
            }
            let page = SignedInPage { layout: layout.clone(), label: user.label().to_owned() };
            page::html(&page).map(Some)
        }
        Who::Visitor(_) | Who::Nobody | Who::Program { .. } => Ok(None),
    }
}

fn visit_page(
    status: StatusCode,
    layout: Layout,
    link: &str,
    share: &Share,
    mistake: Option<String>,
) -> Result<HttpResponse, Error> {
    let page = VisitPage {
        layout,
        link: link.to_owned(),
        until: text::date_time(share.expires_at),
        has_password: !share.password_hash.is_empty(),
        mistake,
    };
    page::answer(status, &page)
}

/// The form of the landing page.
#[derive(Deserialize)]
pub struct VisitForm {
    #[serde(default)]
    password: String,
}

/// `POST /share/{link}`: begins a visit.
pub async fn open(
    caller: Caller,
    layout: Layout,
    link: Path<String>,
    form: Posted<VisitForm>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let Some(share) = open_share(&app, &link).await? else { return closed(layout) };
    if let Some(answer) = elsewhere(&app, &caller, &layout, &share).await? {
        return Ok(answer);
    }
    match password(&app, &caller, &link, &share, &form.password).await? {
        Password::Right => begin(&app, &caller, layout, &link).await,
        Password::Wrong => {
            visit_page(StatusCode::UNAUTHORIZED, layout, &link, &share, Some(WRONG.to_owned()))
        }
        Password::Wait(wait) => {
            let mistake = Error::TooMany(wait).to_string();
            let status = StatusCode::TOO_MANY_REQUESTS;
            let mut answer = visit_page(status, layout, &link, &share, Some(mistake))?;
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
            Ok(answer)
        }
    }
}

/// What a password of a link is.
enum Password {
    /// The right one, or none is asked for.
    Right,
    Wrong,
    /// Not looked at yet.
    Wait(Duration),
}

/// Wrong passwords are counted for this link, at this address and altogether, and leave a row.
async fn password(
    app: &App,
    caller: &Caller,
    link: &str,
    share: &Share,
    password: &str,
) -> Result<Password, Error> {
    if share.password_hash.is_empty() {
        return Ok(Password::Right);
    }
    let attempt = Attempt {
        name: format!("link {}", hex::encode(secret::hash(link))),
        address: caller.client.address,
        browser: None,
        is_known: false,
    };
    match app.people.is_password_of_link(&attempt, password, &share.password_hash).await {
        Ok(()) => return Ok(Password::Right),
        Err(Refusal::Wait(wait)) => return Ok(Password::Wait(wait)),
        Err(Refusal::Failed(err)) => return Err(err.into()),
        Err(Refusal::Wrong) => {}
    }
    let entry = caller.did(Action::OpenShare, format!("share {}: wrong password", share.share_key));
    caller.record(app, entry.study(&share.study_instance_uid).refused()).await?;
    Ok(Password::Wrong)
}

/// Lets somebody in. The link may have ended meanwhile.
async fn begin(app: &App, caller: &Caller, layout: Layout, link: &str) -> Result<HttpResponse, Error> {
    let secret = Secret::random().map_err(Error::internal)?;
    let address = caller.client.address;
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let share = share::by_link(&mut change, &secret::hash(link)).await?.filter(|share| share.is_open);
    let Some(share) = share else { return closed(layout) };
    if let Who::Visitor(before) = &caller.who {
        share::leave(&mut change, before.visit_key).await?;
    }
    share::visit(&mut change, share.share_key, &secret.hash(), &address.to_string()).await?;
    let entry = Entry::of(visitor(share.share_key, address), Action::OpenShare, "");
    audit::append(&mut change, &[entry.study(&share.study_instance_uid)]).await?;
    change.commit().await?;
    tracing::info!(study = %share.study_instance_uid, share_key = share.share_key, "a share link was opened");
    let answer = page::see_other(&format!("/studies/{}", share.study_instance_uid));
    with_cookie(answer, &caller.cookie(VISIT, secret.text().to_owned()))
}

//! Signing in and out, and the page that makes the first administrator: `/login`, `/logout`, `/setup`.

use std::time::Instant;

use actix_web::cookie::{self, Cookie};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::App;
use super::access::{CLEAR_SITE_DATA, Caller, DEVICE, Posted, SESSION, VISIT, Who, cookie_of, with_cookie};
use super::error::Error;
use super::page::{self, Layout, own_address};
use crate::db;
use crate::db::audit::{Action, Entry};
use crate::db::role::Role;
use crate::db::user::{self, NewUser, UserName};
use crate::db::visibility::ReferringNames;
use crate::db::{audit, session, share};
use crate::people::sign_in::{Refusal, Typed, begin_session, person};
use crate::people::{self, Rules, password};

/// A browser remembers for this long who has signed in with it, days.
const DEVICE_DAYS: i64 = 365;

#[derive(Template)]
#[template(path = "sign_in/login.html")]
struct LoginPage {
    layout: Layout,
    name: String,
    next: String,
    /// Nobody can sign in yet.
    is_empty: bool,
    refusal: Option<String>,
}

/// What may follow the question mark.
#[derive(Deserialize)]
pub struct Asked {
    next: Option<String>,
}

/// The form of the sign-in page.
#[derive(Deserialize)]
pub struct LoginForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

/// `GET /login?next=`
pub async fn show(
    caller: Caller,
    layout: Layout,
    asked: Query<Asked>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let next = own_address(asked.next.as_deref().unwrap_or_default()).to_owned();
    if caller.person().is_some() {
        return Ok(page::see_other(&next));
    }
    let mut conn = db::acquire(&app.pool).await?;
    let is_empty = user::count(&mut conn).await? == 0;
    page::html(&LoginPage { layout, name: String::new(), next, is_empty, refusal: None })
}

/// `POST /login`
pub async fn sign_in(
    caller: Caller,
    layout: Layout,
    request: HttpRequest,
    form: Posted<LoginForm>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let device = cookie_of(&request, &caller.client, DEVICE).unwrap_or_default();
    let typed = Typed {
        name: &form.name,
        password: &form.password,
        code: &form.code,
        address: caller.client.address,
        browser: caller.browser(),
        device: &device,
        user_agent: user_agent(&request),
    };
    let next = own_address(&form.next).to_owned();
    let signed_in = match app.people.sign_in(&typed).await {
        Ok(signed_in) => signed_in,
        Err(Refusal::Failed(err)) => return Err(err.into()),
        Err(refusal) => {
            let (status, wait) = match &refusal {
                Refusal::Wait(wait) => (StatusCode::TOO_MANY_REQUESTS, Some(wait.as_secs().max(1))),
                _ => (StatusCode::UNAUTHORIZED, None),
            };
            let refusal = Some(refusal.to_string());
            let page = LoginPage { layout, name: form.name.clone(), next, is_empty: false, refusal };
            let mut answer = page::answer(status, &page)?;
            if let Some(wait) = wait {
                answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
            }
            return Ok(answer);
        }
    };
    end_session_before(&app, &caller).await?;
    let answer = with_cookie(page::see_other(&next), &caller.cookie(SESSION, signed_in.session))?;
    with_cookie(answer, &remembered(&caller, signed_in.device))
}

/// The cookie by which a browser remembers who has signed in with it.
pub(super) fn remembered(caller: &Caller, device: String) -> Cookie<'static> {
    let mut cookie = caller.cookie(DEVICE, device);
    cookie.set_max_age(cookie::time::Duration::days(DEVICE_DAYS));
    cookie
}

/// Somebody who signs in again leaves the session they were in.
async fn end_session_before(app: &App, caller: &Caller) -> Result<(), Error> {
    if let Who::Person { user, session_key } = &caller.who {
        let mut conn = db::acquire(&app.pool).await?;
        session::end(&mut conn, *session_key, user.user_key).await?;
    }
    Ok(())
}

/// As the browser calls itself.
pub(super) fn user_agent(request: &HttpRequest) -> &str {
    request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// `POST /logout`: ends the session or the visit, and what the browser holds of it.
pub async fn sign_out(caller: Caller, app: Data<App>) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    match &caller.who {
        Who::Person { user, session_key } => {
            session::end(&mut change, *session_key, user.user_key).await?;
            audit::append(&mut change, &[caller.did(Action::SignOut, "")]).await?;
        }
        Who::Visitor(visit) => {
            share::leave(&mut change, visit.visit_key).await?;
            audit::append(&mut change, &[caller.did(Action::SignOut, "")]).await?;
        }
        Who::Nobody | Who::Program { .. } => {}
    }
    change.commit().await?;
    let answer = with_cookie(page::see_other("/login"), &caller.cookie_gone(SESSION))?;
    let mut answer = with_cookie(answer, &caller.cookie_gone(VISIT))?;
    let (name, value) = CLEAR_SITE_DATA;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(Error::internal)?;
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    Ok(answer)
}

#[derive(Template)]
#[template(path = "sign_in/set_up.html")]
struct SetUpPage {
    layout: Layout,
    form: SetUpForm,
    mistakes: Mistakes,
}

/// The form of the set-up page.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct SetUpForm {
    /// The one-time token of the address in the log.
    #[serde(default)]
    key: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    full_name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    again: String,
    /// Present where the box is ticked.
    second_factor: Option<String>,
}

/// What is wrong, beside the field it is wrong in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mistakes {
    name: Option<String>,
    full_name: Option<String>,
    password: Option<String>,
    again: Option<String>,
}

/// What may follow the question mark.
#[derive(Deserialize)]
pub struct SetUpAsked {
    token: Option<String>,
}

const NO_SET_UP: &str = "This address is good once and for an hour. If nobody has set filmroom up yet, start it again \
                         and take the new address from its log, or run: filmroom user add NAME --role administrator \
                         --password-stdin";

/// `GET /setup?token=`
pub async fn show_set_up(
    layout: Layout,
    asked: Query<SetUpAsked>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let key = asked.token.clone().unwrap_or_default();
    if !app.people.set_up.is_token(&key, Instant::now()) {
        return Err(Error::Forbidden(NO_SET_UP));
    }
    let form = SetUpForm { key, second_factor: Some("on".into()), ..SetUpForm::default() };
    page::html(&SetUpPage { layout, form, mistakes: Mistakes::default() })
}

/// `POST /setup`: makes the first administrator and signs them in.
pub async fn set_up(
    caller: Caller,
    layout: Layout,
    request: HttpRequest,
    form: Posted<SetUpForm>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    if !app.people.set_up.is_token(&form.key, Instant::now()) {
        return Err(Error::Forbidden(NO_SET_UP));
    }
    let name = match checked(&form) {
        Ok(name) => name,
        Err(mistakes) => return page::html(&SetUpPage { layout, form: form.clone(), mistakes }),
    };
    let password_hash =
        app.people.passwords.hash(form.password.clone()).await.map_err(people::Error::from)?;
    let new = NewUser {
        name,
        full_name: form.full_name.trim().to_owned(),
        role: Role::Administrator,
        password_hash,
        referring_names: ReferringNames::default(),
    };
    let address = caller.client.address;
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    if user::count(&mut change).await? > 0 {
        return Err(Error::Forbidden(NO_SET_UP));
    }
    let user_key = user::add(&mut change, &new).await?;
    let rules = Rules { second_factor_for_administrators: form.second_factor.is_some(), basic: true };
    people::set_rules(&mut change, rules).await?;
    let user = user::by_key(&mut change, user_key).await?.ok_or(Error::NotFound)?;
    let made = Entry::of(
        person(&user, address),
        Action::ChangeUser,
        format!("set up the first administrator {}", user.name),
    );
    let session = begin_session(&mut change, user_key, address, user_agent(&request)).await?;
    let signed_in = Entry::of(person(&user, address), Action::SignIn, "after set-up");
    audit::append(&mut change, &[made, signed_in]).await?;
    change.commit().await?;
    app.people.set_up.end();
    tracing::info!("the first administrator was set up");
    with_cookie(page::see_other("/studies"), &caller.cookie(SESSION, session))
}

fn checked(form: &SetUpForm) -> Result<UserName, Mistakes> {
    let name = form.name.parse::<UserName>();
    let full_name = form.full_name.trim();
    let weak = password::check(&form.password, &[form.name.trim(), full_name]);
    let mistakes = Mistakes {
        name: name.as_ref().err().map(|err| page::sentence(err)),
        full_name: (full_name.chars().count() > 255).then(|| "At most 255 characters.".to_owned()),
        password: weak.err().map(|weak| weak.to_string()),
        again: (form.password != form.again).then(|| "This is not the same password.".to_owned()),
    };
    match name {
        Ok(name) if mistakes == Mistakes::default() => Ok(name),
        _ => Err(mistakes),
    }
}

//! My account, `GET /account`: the password, and below it what `second_factor`, `session` and `token` are about.

pub mod second_factor;
pub mod session;
pub mod token;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use mysql_async::prelude::Queryable;
use serde::Deserialize;

use self::session::SessionRow;
use self::token::{Scope, TokenForm, TokenMistakes, TokenRow};
use super::App;
use super::access::{Caller, Posted, SESSION, with_cookie};
use super::error::Error;
use super::page::{self, Layout};
use super::sign_in::{remembered, user_agent};
use crate::db;
use crate::db::audit::Action;
use crate::db::user::User;
use crate::people::accounts::Refused;
use crate::people::own::{self, Browser, Renewed};
use crate::people::sign_in::Refusal;

#[derive(Template)]
#[template(path = "account/show.html")]
struct AccountPage {
    layout: Layout,
    name: String,
    full_name: String,
    role: &'static str,
    has_second_factor: bool,
    password: PasswordMistakes,
    sessions: Vec<SessionRow>,
    has_other_sessions: bool,
    tokens: Vec<TokenRow>,
    token: TokenForm,
    scopes: Vec<Scope>,
    token_mistakes: TokenMistakes,
}

/// What is shown again after something was wrong.
#[derive(Default)]
struct Again {
    password: PasswordMistakes,
    token: Option<TokenForm>,
    token_mistakes: TokenMistakes,
}

/// What is wrong with a new password, beside the field it is wrong in.
#[derive(Debug, Default, PartialEq, Eq)]
struct PasswordMistakes {
    present: Option<String>,
    password: Option<String>,
    again: Option<String>,
}

/// `GET /account`
pub async fn show(caller: Caller, layout: Layout, app: Data<App>) -> Result<HttpResponse, Error> {
    show_with(&caller, layout, &app, Again::default()).await
}

async fn show_with(caller: &Caller, layout: Layout, app: &App, again: Again) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    let mut conn = db::acquire(&app.pool).await?;
    let sessions = db::session::of_user(&mut conn, user.user_key).await?;
    let tokens = db::token::of_user(&mut conn, user.user_key).await?;
    let token = again.token.unwrap_or_else(|| TokenForm::of(user.rights));
    page::html(&AccountPage {
        name: user.name.to_string(),
        full_name: user.full_name.clone(),
        role: user.role.label(),
        has_second_factor: user.has_totp,
        password: again.password,
        has_other_sessions: sessions.len() > 1,
        sessions: sessions.iter().map(|session| SessionRow::of(session, caller.session_key())).collect(),
        tokens: tokens.iter().map(TokenRow::of).collect(),
        scopes: token.scopes(user.rights),
        token_mistakes: again.token_mistakes,
        token,
        layout,
    })
}

/// The form of a new password.
#[derive(Deserialize)]
pub struct PasswordForm {
    #[serde(default)]
    present: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    again: String,
}

/// `POST /account/password`
pub async fn set_password(
    caller: Caller,
    layout: Layout,
    request: HttpRequest,
    form: Posted<PasswordForm>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    let hash = match new_password(&app, &caller, user, &form).await? {
        Ok(hash) => hash,
        Err(password) => {
            return show_with(&caller, layout, &app, Again { password, ..Again::default() }).await;
        }
    };
    let browser = Browser { address: caller.client.address, user_agent: user_agent(&request) };
    let entry = caller.did(Action::ChangeAccount, "password");
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    hold_session(&mut change, &caller).await?;
    let renewed = own::set_password(&mut change, user, &hash, &browser, entry).await?;
    change.commit().await?;
    tracing::info!("somebody changed their password");
    with_cookies(page::see_other("/account"), &caller, renewed)
}

/// The session that somebody changes their account in has to be there until they have: where it ended while the
/// request was looked at, because the password is another, nothing is changed.
async fn hold_session(change: &mut impl Queryable, caller: &Caller) -> Result<(), Error> {
    match db::session::hold(change, caller.session_key()).await? {
        true => Ok(()),
        false => Err(Error::SignIn),
    }
}

/// The cookies of a browser whose person has another password or second factor.
fn with_cookies(answer: HttpResponse, caller: &Caller, renewed: Renewed) -> Result<HttpResponse, Error> {
    let answer = with_cookie(answer, &caller.cookie(SESSION, renewed.session))?;
    with_cookie(answer, &remembered(caller, renewed.device))
}

/// The hash of the new password, or all that is wrong with the form.
async fn new_password(
    app: &App,
    caller: &Caller,
    user: &User,
    form: &PasswordForm,
) -> Result<Result<String, PasswordMistakes>, Error> {
    let mut mistakes = PasswordMistakes {
        present: mistake_in(app, caller, &form.present, "password").await?,
        again: (form.password != form.again).then(|| "This is not the same password.".to_owned()),
        password: None,
    };
    match app.people.new_password(&form.password, &[user.name.as_str(), &user.full_name]).await {
        Ok(hash) if mistakes == PasswordMistakes::default() => return Ok(Ok(hash)),
        Ok(_) => {}
        Err(Refused::Weak(weak)) => mistakes.password = Some(weak.to_string()),
        Err(Refused::Failed(err)) => return Err(err.into()),
        Err(refused) => return Err(Error::internal(refused)),
    }
    Ok(Err(mistakes))
}

/// What is wrong with the present password, which somebody types once more to change `what` of their account.
async fn mistake_in(app: &App, caller: &Caller, password: &str, what: &str) -> Result<Option<String>, Error> {
    let user = caller.signed_in()?;
    let entry = caller.did(Action::ChangeAccount, format!("{what}: wrong present password"));
    let confirmed = app.people.confirm(user, password, caller.client.address, caller.browser(), entry);
    match confirmed.await {
        Ok(()) => Ok(None),
        Err(Refusal::Wrong) => Ok(Some("This is not your present password.".to_owned())),
        Err(Refusal::Wait(wait)) => Err(Error::TooMany(wait)),
        Err(Refusal::Failed(err)) => Err(err.into()),
    }
}

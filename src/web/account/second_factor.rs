//! The second factor of one's own account: `/account/second-factor`. Nothing is stored before a code has proved that the
//! authenticator knows the secret; until then the secret is in the form alone.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::{hold_session, mistake_in, with_cookies};
use crate::db;
use crate::db::audit::Action;
use crate::db::role::Right;
use crate::db::user::{self, User};
use crate::people::own::{self, Browser};
use crate::people::second_factor::{enrolment, new_secret, step_of};
use crate::people::sign_in::seconds;
use crate::web::App;
use crate::web::access::{Caller, Posted};
use crate::web::error::Error;
use crate::web::page::{self, Layout};
use crate::web::qr::{self, Drawn};
use crate::web::sign_in::user_agent;

/// Bytes of a secret.
const SECRET_BYTES: usize = 20;

const NOT_A_SECRET: &str = "This form is not complete. Open the page again.";
const SET_UP_ALREADY: &str = "There is a second factor already. Remove it before you set up another one.";
const WRONG_CODE: &str = "This is not the code of now. Check that the clock of your device is right, and type the \
                          code while it is shown.";
const NEEDED: &str = "Administrators sign in with a second factor here, so yours cannot be removed. An administrator \
                      can change that rule.";

#[derive(Template)]
#[template(path = "account/set_up_second_factor.html")]
struct SetUpPage {
    layout: Layout,
    /// Nothing else is open before.
    is_needed: bool,
    /// For the hidden field.
    secret: String,
    /// For typing.
    text: String,
    code: Option<Drawn>,
    mistake: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "account/second_factor.html")]
struct SecondFactorPage {
    layout: Layout,
    codes_left: u64,
    /// Administrators have to have one.
    is_needed: bool,
    mistakes: Mistakes,
}

/// What is wrong with the present password, beside the field it was typed in.
#[derive(Default)]
struct Mistakes {
    renewing: Option<String>,
    removing: Option<String>,
}

#[derive(Template)]
#[template(path = "account/recovery_codes.html")]
struct CodesPage {
    layout: Layout,
    codes: Vec<String>,
    /// The second factor was set up with them.
    is_set_up: bool,
}

/// `GET /account/second-factor`
pub async fn show(caller: Caller, layout: Layout, app: Data<App>) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    match user.has_totp {
        true => second_factor_page(layout, &app, user, Mistakes::default()).await,
        false => set_up_page(layout, user, &new_secret().map_err(Error::internal)?, None).await,
    }
}

async fn set_up_page(
    layout: Layout,
    user: &User,
    secret: &[u8],
    mistake: Option<&'static str>,
) -> Result<HttpResponse, Error> {
    let told =
        enrolment(secret, user.name.as_str()).ok_or_else(|| Error::Invalid(NOT_A_SECRET.to_owned()))?;
    page::html(&SetUpPage {
        layout,
        is_needed: user.needs_second_factor(),
        secret: hex::encode(secret),
        text: told.text,
        code: qr::drawn(&told.url),
        mistake,
    })
}

async fn second_factor_page(
    layout: Layout,
    app: &App,
    user: &User,
    mistakes: Mistakes,
) -> Result<HttpResponse, Error> {
    let is_needed = has_to_have_one(user);
    let mut conn = db::acquire(&app.pool).await?;
    let codes_left = user::recovery_codes_left(&mut conn, user.user_key).await?;
    page::html(&SecondFactorPage { layout, codes_left, is_needed, mistakes })
}

fn has_to_have_one(user: &User) -> bool {
    user.rights.has(Right::Administer) && user.rules.second_factor_for_administrators
}

/// The form that sets a second factor up.
#[derive(Deserialize)]
pub struct SetUpForm {
    #[serde(default)]
    secret: String,
    #[serde(default)]
    code: String,
}

/// `POST /account/second-factor`: sets it up, and shows the codes to recover by, once.
pub async fn set_up(
    caller: Caller,
    layout: Layout,
    request: HttpRequest,
    form: Posted<SetUpForm>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    let set_up_already = || Error::Invalid(SET_UP_ALREADY.to_owned());
    if user.has_totp {
        return Err(set_up_already());
    }
    let secret = hex::decode(&form.secret).ok().filter(|secret| secret.len() == SECRET_BYTES);
    let secret = secret.ok_or_else(|| Error::Invalid(NOT_A_SECRET.to_owned()))?;
    let Some(step) = step_of(&secret, &form.code, seconds()) else {
        return set_up_page(layout, user, &secret, Some(WRONG_CODE)).await;
    };
    let browser = Browser { address: caller.client.address, user_agent: user_agent(&request) };
    let entry = caller.did(Action::ChangeAccount, "set up a second factor");
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    hold_session(&mut change, &caller).await?;
    let enrolled = own::set_second_factor(&mut change, user, &secret, step, &browser, entry).await?;
    let enrolled = enrolled.ok_or_else(set_up_already)?;
    change.commit().await?;
    tracing::info!("somebody set up a second factor");
    let layout = layout.in_session(&enrolled.renewed.session);
    let answer = page::html(&CodesPage { layout, codes: enrolled.recovery_codes, is_set_up: true })?;
    with_cookies(answer, &caller, enrolled.renewed)
}

/// The present password, for what needs it.
#[derive(Deserialize)]
pub struct PasswordForm {
    #[serde(default)]
    password: String,
}

/// `POST /account/second-factor/remove`
pub async fn remove(
    caller: Caller,
    layout: Layout,
    request: HttpRequest,
    form: Posted<PasswordForm>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    if has_to_have_one(user) {
        return Err(Error::Forbidden(NEEDED));
    }
    if !user.has_totp {
        return Ok(page::see_other("/account/second-factor"));
    }
    if let Some(mistake) = mistake_in(&app, &caller, &form.password, "removing the second factor").await? {
        let mistakes = Mistakes { removing: Some(mistake), ..Mistakes::default() };
        return second_factor_page(layout, &app, user, mistakes).await;
    }
    let browser = Browser { address: caller.client.address, user_agent: user_agent(&request) };
    let entry = caller.did(Action::ChangeAccount, "removed the second factor");
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    hold_session(&mut change, &caller).await?;
    let renewed = own::remove_second_factor(&mut change, user, &browser, entry).await?;
    change.commit().await?;
    tracing::info!("somebody removed their second factor");
    with_cookies(page::see_other("/account"), &caller, renewed)
}

/// `POST /account/recovery-codes`: makes new ones and shows them, once.
pub async fn renew_codes(
    caller: Caller,
    layout: Layout,
    form: Posted<PasswordForm>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    if !user.has_totp {
        return Ok(page::see_other("/account/second-factor"));
    }
    if let Some(mistake) = mistake_in(&app, &caller, &form.password, "new recovery codes").await? {
        let mistakes = Mistakes { renewing: Some(mistake), ..Mistakes::default() };
        return second_factor_page(layout, &app, user, mistakes).await;
    }
    let entry = caller.did(Action::ChangeAccount, "made new recovery codes");
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    hold_session(&mut change, &caller).await?;
    let codes = own::renew_recovery_codes(&mut change, user, entry).await?;
    change.commit().await?;
    match codes {
        Some(codes) => page::html(&CodesPage { layout, codes, is_set_up: false }),
        None => Ok(page::see_other("/account/second-factor")),
    }
}

//! The people who may sign in: `GET /admin/users`, a form to make an account, and a page for each.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use mysql_async::prelude::Queryable;
use serde::Deserialize;

use super::App;
use super::access::{Caller, Posted};
use super::error::Error;
use super::grant::GivenRow;
use super::page::{self, Layout};
use super::text;
use crate::db::audit::Action;
use crate::db::group::{self, Grantee, Group};
use crate::db::role::{Right, Role};
use crate::db::user::{self, NewUser, User, UserName};
use crate::db::visibility::ReferringNames;
use crate::db::{self, session};
use crate::people::accounts::{self, Refused};
use crate::people::password;

/// Most characters of all names as referring physician together.
const LONGEST_NAMES: usize = 2000;

/// An account as its row shows it.
struct Row {
    key: u64,
    name: String,
    full_name: String,
    role: &'static str,
    has_second_factor: bool,
    is_disabled: bool,
    signed_in: String,
}

/// The form of an account, as it was sent, and as it is shown again with what is wrong with it. Passwords are not shown
/// again.
#[derive(Clone, Default, Deserialize)]
pub struct UserForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    full_name: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    again: String,
    #[serde(default)]
    referring_names: String,
}

/// What is wrong, beside the field it is wrong in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mistakes {
    name: Option<String>,
    full_name: Option<&'static str>,
    role: Option<&'static str>,
    password: Option<String>,
    again: Option<&'static str>,
    referring_names: Option<String>,
}

#[derive(Template)]
#[template(path = "user/list.html")]
struct ListPage {
    layout: Layout,
    users: Vec<Row>,
    form: UserForm,
    mistakes: Mistakes,
}

#[derive(Template)]
#[template(path = "user/edit.html")]
struct EditPage {
    layout: Layout,
    user: Row,
    created: String,
    sees_all: bool,
    sessions: String,
    groups: Vec<Group>,
    given: Vec<GivenRow>,
    form: UserForm,
    mistakes: Mistakes,
    /// Why nothing was changed.
    refusal: Option<String>,
    /// What was changed, where the page does not show it.
    done: Option<String>,
}

/// What the page of an account says beside what is stored.
#[derive(Default)]
struct Said {
    form: Option<UserForm>,
    mistakes: Mistakes,
    refusal: Option<String>,
    done: Option<String>,
}

/// `GET /admin/users`
pub async fn list(_: Caller, layout: Layout, app: web::Data<App>) -> Result<HttpResponse, Error> {
    let form = UserForm { role: Role::Referrer.as_str().to_owned(), ..UserForm::default() };
    list_with(layout, &app, form, Mistakes::default()).await
}

async fn list_with(
    layout: Layout,
    app: &App,
    form: UserForm,
    mistakes: Mistakes,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let users = user::list(&mut conn).await?;
    page::html(&ListPage { layout, users: users.iter().map(row).collect(), form, mistakes })
}

/// `POST /admin/users`
pub async fn add(
    caller: Caller,
    layout: Layout,
    form: Posted<UserForm>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let (name, details) = match new_account(&form) {
        Ok(new) => new,
        Err(mistakes) => return list_with(layout, &app, form.clone(), mistakes).await,
    };
    match added(&app, &caller, name, details, &form.password).await {
        Ok(user_key) => Ok(page::see_other(&address(user_key))),
        Err(refused) => {
            let mut mistakes = Mistakes::default();
            let is_name = matches!(refused, Refused::Taken(_));
            let place = if is_name { &mut mistakes.name } else { &mut mistakes.password };
            *place = Some(sentence(refused)?);
            list_with(layout, &app, form.clone(), mistakes).await
        }
    }
}

async fn added(
    app: &App,
    caller: &Caller,
    name: UserName,
    details: Details,
    password: &str,
) -> Result<u64, Refused> {
    let names = [name.as_str(), details.full_name.as_str()];
    let password_hash = app.people.new_password(password, &names).await?;
    let Details { full_name, role, referring_names } = details;
    let new = NewUser { name, full_name, role, password_hash, referring_names };
    let mut conn = db::acquire(&app.pool).await.map_err(crate::people::Error::from)?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let user_key = accounts::add(&mut change, caller.actor(), &new).await?;
    change.commit().await?;
    Ok(user_key)
}

/// What may follow the question mark.
#[derive(Deserialize)]
pub struct Asked {
    /// `password` after a new one was set.
    done: Option<String>,
}

/// `GET /admin/users/{user_key}`
pub async fn edit(
    caller: Caller,
    layout: Layout,
    key: web::Path<String>,
    asked: web::Query<Asked>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let user = stored(&mut conn, &key).await?;
    drop(conn);
    let done = (asked.done.as_deref() == Some("password"))
        .then(|| format!("{} has a new password, and is signed out everywhere.", user.name));
    edit_with(&caller, layout, &app, user, Said { done, ..Said::default() }).await
}

async fn edit_with(
    caller: &Caller,
    layout: Layout,
    app: &App,
    user: User,
    said: Said,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let sessions = session::of_user(&mut conn, user.user_key).await?.len();
    let groups = group::of_user(&mut conn, user.user_key).await?;
    let given = group::granted_to(&mut conn, Grantee::User(user.user_key)).await?;
    drop(conn);
    if !given.is_empty() {
        // The page names patients.
        let shown = format!("what {} was given; {} shown", user.name, given.len());
        caller.record(app, caller.did(Action::Query, shown)).await?;
    }
    let status = if said.refusal.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    let page = EditPage {
        layout,
        created: text::date_time(user.created_at),
        sees_all: user.rights.has(Right::SeeAll),
        sessions: match u64::try_from(sessions).unwrap_or(u64::MAX) {
            0 => "not signed in now".to_owned(),
            sessions => format!("signed in now, in {}", text::counted(sessions, "session", "sessions")),
        },
        groups,
        given: given.into_iter().map(GivenRow::of).collect(),
        form: said.form.unwrap_or_else(|| form_of(&user)),
        mistakes: said.mistakes,
        refusal: said.refusal,
        done: said.done,
        user: row(&user),
    };
    page::answer(status, &page)
}

/// `POST /admin/users/{user_key}`
pub async fn change(
    caller: Caller,
    layout: Layout,
    key: web::Path<String>,
    form: Posted<UserForm>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let user = stored(&mut change, &key).await?;
    let said = match details(&form) {
        Ok(Details { full_name, role, referring_names }) => {
            let by = caller.actor();
            match accounts::change(&mut change, by, &user, &full_name, role, &referring_names).await {
                Ok(()) => {
                    change.commit().await?;
                    return Ok(page::see_other("/admin/users"));
                }
                Err(refused) => Said { refusal: Some(sentence(refused)?), ..Said::default() },
            }
        }
        Err(mistakes) => Said { mistakes, ..Said::default() },
    };
    change.rollback().await?;
    drop(conn);
    edit_with(&caller, layout, &app, user, Said { form: Some(form.clone()), ..said }).await
}

/// `POST /admin/users/{user_key}/password`
pub async fn set_password(
    caller: Caller,
    layout: Layout,
    key: web::Path<String>,
    form: Posted<UserForm>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let user = stored(&mut conn, &key).await?;
    let mistakes = Mistakes {
        password: weakness(&form, user.name.as_str(), &user.full_name),
        again: not_the_same(&form),
        ..Mistakes::default()
    };
    if mistakes != Mistakes::default() {
        drop(conn);
        return edit_with(&caller, layout, &app, user, Said { mistakes, ..Said::default() }).await;
    }
    let names = [user.name.as_str(), user.full_name.as_str()];
    let password_hash = app.people.new_password(&form.password, &names).await.map_err(failed)?;
    let mut change = conn.start_transaction(Default::default()).await?;
    accounts::set_password(&mut change, caller.actor(), &user, &password_hash).await.map_err(failed)?;
    change.commit().await?;
    Ok(page::see_other(&format!("{}?done=password", address(user.user_key))))
}

/// A form without fields of its own.
#[derive(Deserialize)]
pub struct Confirmed {}

/// `POST /admin/users/{user_key}/disable`
pub async fn disable(
    caller: Caller,
    layout: Layout,
    key: web::Path<String>,
    _form: Posted<Confirmed>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let user = stored(&mut change, &key).await?;
    match accounts::set_disabled(&mut change, caller.actor(), &user, true).await {
        Ok(()) => {
            change.commit().await?;
            Ok(page::see_other(&address(user.user_key)))
        }
        Err(refused) => {
            let refusal = Some(sentence(refused)?);
            change.rollback().await?;
            drop(conn);
            edit_with(&caller, layout, &app, user, Said { refusal, ..Said::default() }).await
        }
    }
}

/// `POST /admin/users/{user_key}/enable`
pub async fn enable(
    caller: Caller,
    key: web::Path<String>,
    _form: Posted<Confirmed>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let user = stored(&mut change, &key).await?;
    accounts::set_disabled(&mut change, caller.actor(), &user, false).await.map_err(failed)?;
    change.commit().await?;
    Ok(page::see_other(&address(user.user_key)))
}

/// `POST /admin/users/{user_key}/remove-second-factor`
pub async fn remove_second_factor(
    caller: Caller,
    key: web::Path<String>,
    _form: Posted<Confirmed>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let user = stored(&mut change, &key).await?;
    accounts::remove_second_factor(&mut change, caller.actor(), &user).await.map_err(failed)?;
    change.commit().await?;
    Ok(page::see_other(&address(user.user_key)))
}

fn address(user_key: u64) -> String {
    format!("/admin/users/{user_key}")
}

async fn stored(conn: &mut impl Queryable, key: &str) -> Result<User, Error> {
    let key: u64 = key.parse().map_err(|_| Error::NotFound)?;
    user::by_key(conn, key).await?.ok_or(Error::NotFound)
}

/// Why an account was not changed, for the page; what is not the person's part in it, is an error.
fn sentence(refused: Refused) -> Result<String, Error> {
    match refused {
        Refused::Failed(err) => Err(err.into()),
        Refused::Weak(weak) => Ok(weak.to_string()),
        Refused::LastAdministrator | Refused::Taken(_) => Ok(page::sentence(&refused.to_string())),
    }
}

/// Where nothing can be refused but by a fault.
fn failed(refused: Refused) -> Error {
    match refused {
        Refused::Failed(err) => err.into(),
        other => Error::internal(other),
    }
}

fn row(user: &User) -> Row {
    Row {
        key: user.user_key,
        name: user.name.to_string(),
        full_name: user.full_name.clone(),
        role: user.role.label(),
        has_second_factor: user.has_totp,
        is_disabled: user.is_disabled,
        signed_in: user.signed_in_at.map_or_else(|| "never".to_owned(), text::date_time),
    }
}

fn form_of(user: &User) -> UserForm {
    UserForm {
        full_name: user.full_name.clone(),
        role: user.role.as_str().to_owned(),
        referring_names: user.referring_names.lines(),
        ..UserForm::default()
    }
}

/// What of an account can be changed.
#[derive(Debug, PartialEq, Eq)]
struct Details {
    full_name: String,
    role: Role,
    referring_names: ReferringNames,
}

/// The form as values, or everything that is wrong with it at once.
fn details(form: &UserForm) -> Result<Details, Mistakes> {
    let full_name = form.full_name.trim();
    let role = form.role.parse::<Role>();
    let names = referring_names(&form.referring_names);
    let mistakes = Mistakes {
        full_name: (full_name.chars().count() > 255).then_some("At most 255 characters."),
        role: role.is_err().then_some("Choose what this person is here for."),
        referring_names: names.as_ref().err().cloned(),
        ..Mistakes::default()
    };
    match (role, names) {
        (Ok(role), Ok(referring_names)) if mistakes == Mistakes::default() => {
            Ok(Details { full_name: full_name.to_owned(), role, referring_names })
        }
        _ => Err(mistakes),
    }
}

/// As [`details`], of an account to be.
fn new_account(form: &UserForm) -> Result<(UserName, Details), Mistakes> {
    let name = form.name.parse::<UserName>();
    let details = details(form);
    let mistakes = Mistakes {
        name: name.as_ref().err().map(|err| page::sentence(err)),
        password: weakness(form, form.name.trim(), form.full_name.trim()),
        again: not_the_same(form),
        ..Mistakes::default()
    };
    match (name, details) {
        (Ok(name), Ok(details)) if mistakes == Mistakes::default() => Ok((name, details)),
        (_, Ok(_)) => Err(mistakes),
        (_, Err(others)) => {
            let Mistakes { name, password, again, .. } = mistakes;
            Err(Mistakes { name, password, again, ..others })
        }
    }
}

/// What is wrong with the password of somebody with these names.
fn weakness(form: &UserForm, name: &str, full_name: &str) -> Option<String> {
    password::check(&form.password, &[name, full_name]).err().map(|weak| weak.to_string())
}

fn not_the_same(form: &UserForm) -> Option<&'static str> {
    (form.password != form.again).then_some("This is not the same password.")
}

/// Names that count, where every line is one.
fn referring_names(text: &str) -> Result<ReferringNames, String> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let Some(nobody) = lines.iter().find(|line| ReferringNames::parse(line).is_empty()) {
        return Err(format!("\u{201c}{nobody}\u{201d} is nobody's name: it has no letter."));
    }
    if lines.len() > ReferringNames::MOST {
        return Err(format!("At most {} names.", ReferringNames::MOST));
    }
    let names = ReferringNames::parse(text);
    match names.lines().chars().count() > LONGEST_NAMES {
        true => Err("At most 2,000 characters.".to_owned()),
        false => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(name: &str, role: &str, password: &str, names: &str) -> UserForm {
        let text = |text: &str| text.to_owned();
        UserForm {
            name: text(name),
            full_name: String::new(),
            role: text(role),
            password: text(password),
            again: text(password),
            referring_names: text(names),
        }
    }

    #[test]
    fn all_mistakes_are_said_at_once_beside_their_fields() {
        let wrong = UserForm { again: "other".into(), ..form("a b", "king", "short", "*") };
        let mistakes = new_account(&wrong).expect_err("wrong");
        for mistake in [mistakes.name, mistakes.password, mistakes.referring_names] {
            assert!(mistake.is_some_and(|text| text.ends_with('.')));
        }
        assert!(mistakes.role.is_some() && mistakes.again.is_some());
        assert_eq!(mistakes.full_name, None);
    }

    #[test]
    fn a_good_form_is_an_account() {
        let good = form("Smith", "referrer", "tulip gravel sideways", "Smith^John\n\n Smith^J* ");
        let (name, details) = new_account(&good).expect("good");
        assert_eq!((name.as_str(), details.role), ("smith", Role::Referrer));
        assert_eq!(details.referring_names.lines(), "Smith^John\nSmith^J*");
    }

    #[test]
    fn too_many_names_are_refused_and_not_cut() {
        let names = |count| (0..count).map(|n| format!("Smith^J{n}\n")).collect::<String>();
        assert!(referring_names(&names(ReferringNames::MOST)).is_ok());
        assert!(referring_names(&names(ReferringNames::MOST + 1)).is_err());
        assert!(referring_names(&"a".repeat(LONGEST_NAMES + 1)).is_err());
    }
}

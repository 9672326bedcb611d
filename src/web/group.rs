//! Groups of people who are given studies together: `GET /admin/groups`, a form to make one, and a page for each.

use std::collections::BTreeSet;

use actix_web::{HttpResponse, web};
use askama::Template;
use mysql_async::prelude::Queryable;
use serde::Deserialize;

use super::App;
use super::access::{Caller, Fields, Posted};
use super::error::Error;
use super::grant::GivenRow;
use super::page::{self, Layout};
use super::text;
use crate::db;
use crate::db::audit::{self, Action};
use crate::db::group::{self, Grant, Grantee, Group};
use crate::db::user::{self, User};

/// A person as a box of the form shows them.
struct Member {
    key: u64,
    name: String,
    full_name: String,
    role: &'static str,
    is_disabled: bool,
    is_in: bool,
}

/// Name and description of a group, as they were sent, and as they are shown again with what is wrong with them.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct GroupForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: String,
}

/// What is wrong, beside the field it is wrong in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mistakes {
    name: Option<String>,
    description: Option<String>,
}

#[derive(Template)]
#[template(path = "group/list.html")]
struct ListPage {
    layout: Layout,
    groups: Vec<Group>,
    form: GroupForm,
    mistakes: Mistakes,
}

#[derive(Template)]
#[template(path = "group/edit.html")]
struct EditPage {
    layout: Layout,
    key: u64,
    /// As it is stored.
    name: String,
    members: Vec<Member>,
    given: Vec<GivenRow>,
    form: GroupForm,
    mistakes: Mistakes,
}

#[derive(Template)]
#[template(path = "group/remove.html")]
struct RemovePage {
    layout: Layout,
    group: Group,
    given: Vec<GivenRow>,
}

/// `GET /admin/groups`
pub async fn list(_: Caller, layout: Layout, app: web::Data<App>) -> Result<HttpResponse, Error> {
    list_with(layout, &app, GroupForm::default(), Mistakes::default()).await
}

async fn list_with(
    layout: Layout,
    app: &App,
    form: GroupForm,
    mistakes: Mistakes,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    page::html(&ListPage { layout, groups: group::list(&mut conn).await?, form, mistakes })
}

/// `POST /admin/groups`
pub async fn add(
    caller: Caller,
    layout: Layout,
    form: Posted<GroupForm>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let form = trimmed(&form);
    if let Err(mistakes) = checked(&form) {
        return list_with(layout, &app, form, mistakes).await;
    }
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let group_key = match group::add(&mut change, &form.name, &form.description).await {
        Err(err) if db::is_duplicate(&err) => {
            change.rollback().await?;
            drop(conn);
            let mistakes = taken(&form);
            return list_with(layout, &app, form, mistakes).await;
        }
        added => added?,
    };
    let entry = caller.did(Action::ChangeGroup, format!("made {}", form.name));
    audit::append(&mut change, &[entry]).await?;
    change.commit().await?;
    Ok(page::see_other(&format!("/admin/groups/{group_key}")))
}

/// `GET /admin/groups/{group_key}`
pub async fn edit(
    caller: Caller,
    layout: Layout,
    key: web::Path<String>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let group = stored(&mut conn, &key).await?;
    let members = group::members(&mut conn, group.group_key).await?;
    drop(conn);
    let form = GroupForm { name: group.name.clone(), description: group.description.clone() };
    edit_with(&caller, layout, &app, group, &members, (form, Mistakes::default())).await
}

async fn edit_with(
    caller: &Caller,
    layout: Layout,
    app: &App,
    group: Group,
    ticked: &[u64],
    (form, mistakes): (GroupForm, Mistakes),
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let members = group::members(&mut conn, group.group_key).await?;
    let users = user::list(&mut conn).await?;
    let given = group::granted_to(&mut conn, Grantee::Group(group.group_key)).await?;
    drop(conn);
    let given = given_rows(caller, app, &group, given).await?;
    let shown = users.iter().filter(|user| is_offered(user, &members));
    page::html(&EditPage {
        layout,
        key: group.group_key,
        name: group.name,
        members: shown.map(|user| member(user, ticked)).collect(),
        given,
        form,
        mistakes,
    })
}

/// What a group was given. That names patients, so it leaves a trace.
async fn given_rows(
    caller: &Caller,
    app: &App,
    group: &Group,
    given: Vec<Grant>,
) -> Result<Vec<GivenRow>, Error> {
    if !given.is_empty() {
        let shown = format!("what group {} was given; {} shown", group.name, given.len());
        caller.record(app, caller.did(Action::Query, shown)).await?;
    }
    Ok(given.into_iter().map(GivenRow::of).collect())
}

/// `POST /admin/groups/{group_key}`
pub async fn change(
    caller: Caller,
    layout: Layout,
    key: web::Path<String>,
    fields: Fields,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let form = GroupForm {
        name: fields.first("name").trim().to_owned(),
        description: fields.first("description").trim().to_owned(),
    };
    let ticked: Vec<u64> = fields.all("member").filter_map(|key| key.parse().ok()).collect();
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let before = stored(&mut change, &key).await?;
    let again = match checked(&form) {
        Err(mistakes) => Some(mistakes),
        Ok(()) => match changed(&mut change, &before, &form, &ticked).await {
            Ok(None) => None,
            Ok(Some(words)) => {
                let words = format!("changed {}: {words}", before.name);
                audit::append(&mut change, &[caller.did(Action::ChangeGroup, words)]).await?;
                change.commit().await?;
                return Ok(page::see_other("/admin/groups"));
            }
            Err(err) if db::is_duplicate(&err) => Some(taken(&form)),
            Err(err) => return Err(err.into()),
        },
    };
    change.rollback().await?;
    drop(conn);
    match again {
        Some(mistakes) => edit_with(&caller, layout, &app, before, &ticked, (form, mistakes)).await,
        None => Ok(page::see_other("/admin/groups")),
    }
}

/// Makes the group what the form says, and tells what is different now; nothing where nothing is.
async fn changed(
    conn: &mut impl Queryable,
    before: &Group,
    form: &GroupForm,
    ticked: &[u64],
) -> mysql_async::Result<Option<String>> {
    let mut words = Vec::new();
    for (what, from, to) in
        [("name", &before.name, &form.name), ("description", &before.description, &form.description)]
    {
        if from != to {
            words.push(format!("{what} \"{from}\" to \"{to}\""));
        }
    }
    if !words.is_empty() {
        group::change(conn, before.group_key, &form.name, &form.description).await?;
    }
    let members = group::members(conn, before.group_key).await?;
    let users = user::list(conn).await?;
    let is_in = |user: &&User| is_offered(user, &members) && ticked.contains(&user.user_key);
    let mut wanted: BTreeSet<u64> = users.iter().filter(is_in).map(|user| user.user_key).collect();
    // Whoever did not stand in the form stays what they are.
    wanted.extend(members.iter().filter(|key| !users.iter().any(|user| user.user_key == **key)));
    let named = |is_changed: &dyn Fn(u64) -> bool| {
        let changed = users.iter().filter(|user| is_changed(user.user_key));
        changed.map(|user| user.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let added = named(&|key| wanted.contains(&key) && !members.contains(&key));
    let removed = named(&|key| !wanted.contains(&key) && members.contains(&key));
    for (what, names) in [("added", added), ("removed", removed)] {
        if !names.is_empty() {
            words.push(format!("{what} {names}"));
        }
    }
    if !members.iter().eq(&wanted) {
        group::set_members(conn, before.group_key, &Vec::from_iter(wanted)).await?;
    }
    Ok((!words.is_empty()).then(|| words.join("; ")))
}

/// `GET /admin/groups/{group_key}/remove`
pub async fn ask_to_remove(
    caller: Caller,
    layout: Layout,
    key: web::Path<String>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let group = stored(&mut conn, &key).await?;
    let given = group::granted_to(&mut conn, Grantee::Group(group.group_key)).await?;
    drop(conn);
    let given = given_rows(&caller, &app, &group, given).await?;
    page::html(&RemovePage { layout, group, given })
}

/// A form without fields of its own.
#[derive(Deserialize)]
pub struct Confirmed {}

/// `POST /admin/groups/{group_key}/remove`
pub async fn remove(
    caller: Caller,
    key: web::Path<String>,
    _form: Posted<Confirmed>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let group = stored(&mut change, &key).await?;
    let given = group::granted_to(&mut change, Grantee::Group(group.group_key)).await?.len();
    group::remove(&mut change, group.group_key).await?;
    let members = text::counted(group.members, "member", "members");
    let words = format!("removed {}, which had {members} and had been given {given}", group.name);
    audit::append(&mut change, &[caller.did(Action::ChangeGroup, words)]).await?;
    change.commit().await?;
    Ok(page::see_other("/admin/groups"))
}

async fn stored(conn: &mut impl Queryable, key: &str) -> Result<Group, Error> {
    let key: u64 = key.parse().map_err(|_| Error::NotFound)?;
    group::by_key(conn, key).await?.ok_or(Error::NotFound)
}

/// Whether the form has a box for somebody: who may sign in, and who is in the group.
fn is_offered(user: &User, members: &[u64]) -> bool {
    !user.is_disabled || members.contains(&user.user_key)
}

fn member(user: &User, ticked: &[u64]) -> Member {
    Member {
        key: user.user_key,
        name: user.name.to_string(),
        full_name: user.full_name.clone(),
        role: user.role.label(),
        is_disabled: user.is_disabled,
        is_in: ticked.contains(&user.user_key),
    }
}

fn trimmed(form: &GroupForm) -> GroupForm {
    GroupForm { name: form.name.trim().to_owned(), description: form.description.trim().to_owned() }
}

fn taken(form: &GroupForm) -> Mistakes {
    let sentence = format!("There is a group {} already.", form.name);
    Mistakes { name: Some(sentence), ..Mistakes::default() }
}

fn checked(form: &GroupForm) -> Result<(), Mistakes> {
    let name = match form.name.chars().count() {
        0 => Some("A group needs a name."),
        1..=64 => None,
        _ => Some("At most 64 characters."),
    };
    let description = (form.description.chars().count() > 255).then_some("At most 255 characters.");
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let mistakes = Mistakes { name: owned(name), description: owned(description) };
    if mistakes == Mistakes::default() { Ok(()) } else { Err(mistakes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_name_that_is_not_too_long() {
        let form =
            |name: &str, description: &str| GroupForm { name: name.into(), description: description.into() };
        assert!(checked(&form("Practice", "")).is_ok());
        assert!(checked(&form(&"ä".repeat(64), &"x".repeat(255))).is_ok());
        let mistakes = checked(&form("", &"x".repeat(256))).expect_err("wrong");
        assert!(mistakes.name.is_some() && mistakes.description.is_some());
        assert!(checked(&form(&"x".repeat(65), "")).is_err());
    }
}

//! What the people of each role may do, `GET /admin/roles`: one table of boxes.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;

use super::App;
use super::access::{Caller, Fields};
use super::error::Error;
use super::page::{self, Layout};
use crate::db;
use crate::db::role::{self, Right, Rights, Role, RoleRights};
use crate::people::accounts::Refused;
use crate::people::roles;

/// A right, with a box for each role.
struct Row {
    right: Right,
    explanation: &'static str,
    boxes: Vec<Tick>,
}

/// Whether a role has a right.
struct Tick {
    role: Role,
    is_ticked: bool,
    /// Cannot be changed.
    is_fixed: bool,
}

#[derive(Template)]
#[template(path = "role/show.html")]
struct RolesPage {
    layout: Layout,
    rows: Vec<Row>,
    /// Why nothing was changed.
    refusal: Option<String>,
}

/// `GET /admin/roles`
pub async fn show(_: Caller, layout: Layout, app: web::Data<App>) -> Result<HttpResponse, Error> {
    let mut conn = db::acquire(&app.pool).await?;
    let rows = rows(&role::list(&mut conn).await?);
    page::html(&RolesPage { layout, rows, refusal: None })
}

/// `POST /admin/roles`
pub async fn change(
    caller: Caller,
    layout: Layout,
    fields: Fields,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let wanted = Role::ALL.map(|role| RoleRights { role, rights: ticked(&fields, role) });
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    match roles::change(&mut change, caller.actor(), &wanted, caller.session_key()).await {
        Ok(()) => {
            change.commit().await?;
            Ok(page::see_other("/admin/roles"))
        }
        Err(Refused::Failed(err)) => Err(err.into()),
        Err(refused) => {
            change.rollback().await?;
            let refusal = Some(page::sentence(&refused.to_string()));
            page::answer(StatusCode::CONFLICT, &RolesPage { layout, rows: rows(&wanted), refusal })
        }
    }
}

fn ticked(fields: &Fields, role: Role) -> Rights {
    let words = fields.all(role.as_str()).filter_map(Right::parse);
    words.fold(Rights::NONE, |rights, right| rights.with(Some(right))).with(role.kept_right())
}

fn rows(roles: &[RoleRights]) -> Vec<Row> {
    let boxes = |right| {
        let tick = |row: &RoleRights| Tick {
            role: row.role,
            is_ticked: row.rights.has(right),
            is_fixed: row.role.kept_right() == Some(right),
        };
        roles.iter().map(tick).collect()
    };
    Right::ALL
        .into_iter()
        .map(|right| Row { right, explanation: explanation(right), boxes: boxes(right) })
        .collect()
}

fn explanation(right: Right) -> &'static str {
    match right {
        Right::View => "Look at studies and their pictures.",
        Right::SeeAll => {
            "Every study. Without it: those they referred, and those they or a group of theirs were given."
        }
        Right::Download => "Take files away.",
        Right::Upload => "Put files in.",
        Right::Edit => "Correct what is stored, and look after quarantine.",
        Right::Delete => "Delete studies.",
        Right::Send => "Send to other AEs.",
        Right::Share => "Make links for people without an account.",
        Right::QueryRemote => "Ask other archives.",
        Right::Administer => "People, peers, settings and the audit trail.",
    }
}

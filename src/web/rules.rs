//! The rules for signing in, `GET /admin/sign-in`.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::App;
use super::access::{Caller, Posted};
use super::error::Error;
use super::page::{self, Layout};
use crate::db;
use crate::db::audit::{self, Action};
use crate::db::session::{ABSOLUTE_HOURS, IDLE_MINUTES};
use crate::people::{self, Rules, password};

#[derive(Template)]
#[template(path = "rules/show.html")]
struct RulesPage {
    layout: Layout,
    rules: Rules,
    idle_minutes: u32,
    absolute_hours: u32,
    shortest_password: usize,
}

/// The two boxes.
#[derive(Deserialize)]
pub struct RulesForm {
    /// Present where the box is ticked.
    second_factor: Option<String>,
    /// Present where the box is ticked.
    basic: Option<String>,
}

/// `GET /admin/sign-in`
pub async fn show(_: Caller, layout: Layout, app: web::Data<App>) -> Result<HttpResponse, Error> {
    page::html(&RulesPage {
        layout,
        rules: app.people.rules().await?,
        idle_minutes: IDLE_MINUTES,
        absolute_hours: ABSOLUTE_HOURS,
        shortest_password: password::SHORTEST,
    })
}

/// `POST /admin/sign-in`
pub async fn change(
    caller: Caller,
    form: Posted<RulesForm>,
    app: web::Data<App>,
) -> Result<HttpResponse, Error> {
    let before = app.people.rules().await?;
    let after =
        Rules { second_factor_for_administrators: form.second_factor.is_some(), basic: form.basic.is_some() };
    let words = difference(before, after);
    if !words.is_empty() {
        let mut conn = db::acquire(&app.pool).await?;
        let mut change = conn.start_transaction(Default::default()).await?;
        people::set_rules(&mut change, after).await?;
        audit::append(&mut change, &[caller.did(Action::ChangeSetting, words)]).await?;
        change.commit().await?;
    }
    Ok(page::see_other("/admin/sign-in"))
}

/// What is different, from what to what.
fn difference(before: Rules, after: Rules) -> String {
    let word = |is_on| if is_on { "yes" } else { "no" };
    let rules = [
        (
            "administrators need a second factor",
            before.second_factor_for_administrators,
            after.second_factor_for_administrators,
        ),
        ("programs may send name and password with each request", before.basic, after.basic),
    ];
    let changed = rules.into_iter().filter(|(_, before, after)| before != after);
    let words = changed.map(|(rule, before, after)| format!("{rule}: {} to {}", word(before), word(after)));
    words.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_different_is_told_from_what_to_what() {
        let on = Rules { second_factor_for_administrators: true, basic: true };
        assert_eq!(difference(on, on), "");
        assert_eq!(
            difference(on, Rules { second_factor_for_administrators: false, basic: true }),
            "administrators need a second factor: yes to no"
        );
    }
}

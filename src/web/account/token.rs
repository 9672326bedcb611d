//! Tokens, by which programs sign in as somebody: `/account/tokens`. The text of a token is shown once.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;

use super::session::Confirmed;
use super::{Again, hold_session, show_with};
use crate::db;
use crate::db::audit::{self, Action};
use crate::db::role::{Right, Rights};
use crate::db::token::{self, Listed};
use crate::people::own::{self, NewToken};
use crate::web::App;
use crate::web::access::{Caller, Fields, Posted};
use crate::web::error::Error;
use crate::web::page::{self, Layout};
use crate::web::text;

/// How long a token may last, days.
const DAYS: [u32; 4] = [7, 30, 90, 365];
/// And how long it does unless something else is chosen.
const USUAL_DAYS: u32 = 90;
/// Characters of a name.
const LONGEST_NAME: usize = 64;

/// A token as its row shows it.
pub(super) struct TokenRow {
    pub(super) key: u64,
    pub(super) name: String,
    pub(super) scope: Vec<&'static str>,
    pub(super) is_for_a_study: bool,
    pub(super) expires: String,
    pub(super) is_expired: bool,
    pub(super) used: String,
}

impl TokenRow {
    /// The row of this token.
    pub(super) fn of(token: &Listed) -> TokenRow {
        TokenRow {
            key: token.token_key,
            name: token.name.clone(),
            scope: token.scope.list().into_iter().map(Right::label).collect(),
            is_for_a_study: token.is_for_a_study,
            expires: match token.is_for_a_study {
                true => format!("{} UTC", text::date_time(token.expires_at)),
                false => text::date(Some(token.expires_at.date())),
            },
            is_expired: token.is_expired,
            used: token.last_used_at.map_or_else(|| "never".to_owned(), page::ago),
        }
    }
}

/// The form of a new token, as it was sent.
pub(super) struct TokenForm {
    pub(super) name: String,
    pub(super) scope: Rights,
    pub(super) days: u32,
}

/// A box of the form.
pub(super) struct Scope {
    pub(super) word: &'static str,
    pub(super) label: &'static str,
    pub(super) is_ticked: bool,
}

/// What is wrong, beside the field it is wrong in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TokenMistakes {
    pub(super) name: Option<&'static str>,
    pub(super) scope: Option<&'static str>,
}

impl TokenForm {
    /// The form before anybody has typed: a token to look, and to take files away.
    pub(super) fn of(rights: Rights) -> TokenForm {
        let scope = Rights::of(&[Right::View, Right::Download]).and(rights);
        TokenForm { name: String::new(), scope, days: USUAL_DAYS }
    }

    /// The boxes for somebody with these rights. No token administers, and each sees what its person sees.
    pub(super) fn scopes(&self, rights: Rights) -> Vec<Scope> {
        let scope = |right: Right| Scope {
            word: right.as_str(),
            label: right.label(),
            is_ticked: self.scope.has(right),
        };
        may_be_given(rights).into_iter().map(scope).collect()
    }

    /// How long the token may last, and whether that is chosen.
    pub(super) fn choices(&self) -> [(u32, bool); DAYS.len()] {
        DAYS.map(|days| (days, days == self.days))
    }

    fn sent(fields: &Fields, rights: Rights) -> Result<TokenForm, Error> {
        let days = fields.first("days").parse().ok().filter(|days| DAYS.contains(days));
        let chosen = Rights::of_words(&fields.all("scope").collect::<Vec<_>>().join(","));
        let may = may_be_given(rights);
        Ok(TokenForm {
            name: fields.first("name").trim().to_owned(),
            scope: chosen.and(Rights::of(&may)),
            days: days.ok_or_else(|| Error::Invalid("A token lasts 7, 30, 90 or 365 days.".to_owned()))?,
        })
    }

    fn mistakes(&self) -> TokenMistakes {
        let name = match self.name.chars().count() {
            0 => Some("Say what it is for, so that you know it again."),
            1..=LONGEST_NAME => None,
            _ => Some("At most 64 characters."),
        };
        let scope = (self.scope == Rights::NONE).then_some("A token that may do nothing is of no use.");
        TokenMistakes { name, scope }
    }
}

/// What somebody with these rights may give a token.
fn may_be_given(rights: Rights) -> Vec<Right> {
    let of_a_person = [Right::Administer, Right::SeeAll];
    rights.list().into_iter().filter(|right| !of_a_person.contains(right)).collect()
}

#[derive(Template)]
#[template(path = "account/token.html")]
struct TokenPage {
    layout: Layout,
    name: String,
    text: String,
    /// Of the study list, whole.
    address: String,
    expires_in: String,
}

/// `POST /account/tokens`: makes a token and shows it, once.
pub async fn add(
    caller: Caller,
    layout: Layout,
    fields: Fields,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    let form = TokenForm::sent(&fields, user.rights)?;
    let mistakes = form.mistakes();
    if mistakes != TokenMistakes::default() {
        let again = Again { token: Some(form), token_mistakes: mistakes, ..Again::default() };
        return show_with(&caller, layout, &app, again).await;
    }
    let TokenForm { name, scope, days } = form;
    let details = format!("made token {name} for {days} days: {}", scope.words());
    let entry = caller.did(Action::ChangeAccount, details);
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    hold_session(&mut change, &caller).await?;
    let text = own::add_token(&mut change, user, &NewToken { name: &name, scope, days }, entry).await?;
    change.commit().await?;
    let address = format!("{}/studies", caller.client.site());
    page::html(&TokenPage { layout, name, text, address, expires_in: format!("{days} days") })
}

/// `POST /account/tokens/{token_key}/remove`
pub async fn remove(
    caller: Caller,
    key: Path<String>,
    _form: Posted<Confirmed>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    let key: u64 = key.parse().map_err(|_| Error::NotFound)?;
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let name = token::remove(&mut change, key, user.user_key).await?.ok_or(Error::NotFound)?;
    let entry = caller.did(Action::ChangeAccount, format!("removed token {name}"));
    audit::append(&mut change, &[entry]).await?;
    change.commit().await?;
    Ok(page::see_other("/account#tokens"))
}

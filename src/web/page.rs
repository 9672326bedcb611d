//! What every page has: the frame of `base.html`, a theme, and the answer around a template.

use std::future::{Ready, ready};

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use askama::Template;
use chrono::{NaiveDateTime, Utc};
use serde::Deserialize;

use super::App;
use super::access::{Caller, Posted, Who, caller_of, form_token};
use super::error::Error;
use super::text;
use crate::db::role::Right;

/// The cookie that remembers the theme.
const THEME: &str = "theme";

/// What `base.html` needs. Every page struct has one, named `layout`; handlers take it as an argument.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Chosen by the person, or left to the browser.
    pub theme: Theme,
    /// Path and query of this page, to come back to.
    pub here: String,
    /// For the hidden field `token` of every POST form.
    pub token: String,
    /// Our AE title.
    pub ae_title: String,
    /// Where modalities send to.
    pub dicom_port: u16,
    /// What the administrator should know of the database, in sentences.
    pub warnings: Vec<String>,
    /// Who is signed in.
    pub person: Option<SignedIn>,
    /// May administer.
    pub administers: bool,
    /// May correct what is stored.
    pub edits: bool,
    /// May look at studies.
    pub views: bool,
    /// May take files away.
    pub downloads: bool,
    /// May put files in, by the pages.
    pub uploads: bool,
    /// May send to other AEs.
    pub sends: bool,
    /// May ask other archives.
    pub queries_remote: bool,
    /// May look at studies in a viewer of their own.
    pub starts_weasis: bool,
    /// May look at studies in the second viewer too.
    pub opens_ohif: bool,
    /// Came by a share link: until when that is good, UTC.
    pub shared_until: Option<String>,
}

/// Who is signed in, for the corner of the page.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// As people call them.
    pub label: String,
    /// May make share links.
    pub shares: bool,
}

/// Light or dark, or as the browser says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// As the browser says.
    System,
    /// Dark on paper.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// In the order the switch shows them.
    pub const ALL: [Theme; 3] = [Theme::System, Theme::Light, Theme::Dark];

    /// The word in forms and in the cookie.
    pub fn name(self) -> &'static str {
        match self {
            Theme::System => "system",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// The word on the switch.
    pub fn label(self) -> &'static str {
        match self {
            Theme::System => "System",
            Theme::Light => "Light",
            Theme::Dark => "Dark",
        }
    }

    /// The value of `data-theme`, absent where the browser decides.
    pub fn as_str(self) -> Option<&'static str> {
        (self != Theme::System).then(|| self.name())
    }

    fn parse(text: &str) -> Option<Theme> {
        Theme::ALL.into_iter().find(|theme| theme.name() == text)
    }
}

impl Layout {
    /// The frame for the page that answers `request`.
    pub fn of(request: &HttpRequest) -> Layout {
        let theme = request.cookie(THEME).and_then(|cookie| Theme::parse(cookie.value()));
        let here = request.uri().path_and_query().map_or("/studies", |here| here.as_str());
        let app = request.app_data::<web::Data<App>>();
        let caller = caller_of(request);
        let may = |right| caller.as_ref().is_some_and(|caller| caller.may(right));
        let administers = may(Right::Administer);
        let warnings = app.filter(|_| administers).map(|app| app.about.warnings.clone());
        let person = caller.as_ref().and_then(|caller| caller.person());
        Layout {
            theme: theme.unwrap_or(Theme::System),
            here: here.to_owned(),
            token: caller.as_ref().map(|caller| caller.form_token()).unwrap_or_default(),
            ae_title: app.map(|app| app.about.ae_title.clone()).unwrap_or_default(),
            dicom_port: app.map(|app| app.about.dicom_address.port()).unwrap_or_default(),
            warnings: warnings.unwrap_or_default(),
            starts_weasis: person.is_some() && may(Right::Download),
            person: person.map(|user| SignedIn { label: user.label().to_owned(), shares: may(Right::Share) }),
            administers,
            edits: may(Right::Edit),
            views: may(Right::View),
            downloads: may(Right::Download),
            uploads: may(Right::Upload) && person.is_some(),
            sends: may(Right::Send),
            queries_remote: may(Right::QueryRemote),
            opens_ohif: may(Right::View) && app.is_some_and(|app| app.ohif.is_some()),
            shared_until: caller.as_ref().and_then(shared_until),
        }
    }

    /// Whether it is somebody who may make share links.
    pub fn shares(&self) -> bool {
        self.person.as_ref().is_some_and(|person| person.shares)
    }

    /// Whether it is somebody who may have jobs.
    pub fn has_jobs(&self) -> bool {
        self.person.is_some() && (self.sends || self.queries_remote || self.administers)
    }

    /// The same frame for a page on which a new session begins: its forms are bound to that.
    pub fn in_session(mut self, session: &str) -> Layout {
        self.token = form_token(session);
        self
    }

    /// Whether this page's address is `path` or below it.
    pub fn is_under(&self, path: &str) -> bool {
        self.here.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    }
}

fn shared_until(caller: &Caller) -> Option<String> {
    match &caller.who {
        Who::Visitor(visit) => Some(text::date_time(visit.expires_at)),
        Who::Nobody | Who::Person { .. } | Who::Program { .. } => None,
    }
}

impl FromRequest for Layout {
    type Error = Error;
    type Future = Ready<Result<Layout, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Layout::of(request)))
    }
}

/// A page with status 200.
pub fn html(page: &impl Template) -> Result<HttpResponse, Error> {
    answer(StatusCode::OK, page)
}

/// A page. Pages name patients, so nothing on the way and no history keeps a copy.
pub fn answer(status: StatusCode, page: &impl Template) -> Result<HttpResponse, Error> {
    let body = page.render()?;
    Ok(HttpResponse::build(status)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/html; charset=utf-8")
        .body(body))
}

/// After a form was accepted: look at `address` now.
pub fn see_other(address: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, address))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

/// An error of another layer as a sentence beside a field.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// `3 hours ago`. `at` is UTC.
pub fn ago(at: NaiveDateTime) -> String {
    format!("{} ago", text::duration((Utc::now().naive_utc() - at).num_seconds()))
}

/// Whether the request is a browser's for a page, not an image's, a script's or a program's.
pub fn is_wanted(request: &HttpRequest) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// The switch in the footer.
#[derive(Deserialize)]
pub struct ThemeForm {
    theme: String,
    back: String,
}

/// `POST /theme`: remembers light or dark for a year and goes back.
pub async fn set_theme(_: Caller, form: Posted<ThemeForm>) -> Result<HttpResponse, Error> {
    let theme = Theme::parse(&form.theme).ok_or_else(|| Error::Invalid("There is no such theme.".into()))?;
    let cookie = Cookie::build(THEME, theme.name())
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(Duration::days(365))
        .finish();
    let mut response = see_other(own_address(&form.back));
    response.add_cookie(&cookie).map_err(|err| Error::Internal(err.into()))?;
    Ok(response)
}

/// `back` where it is a path of ours, else the study list: a form must not send a person to another site.
pub fn own_address(back: &str) -> &str {
    let ours = back.starts_with('/')
        && !back.starts_with("//")
        && !back.contains('\\')
        && back.bytes().all(|byte| byte.is_ascii_graphic());
    if ours { back } else { "/studies" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_theme_switch_only_leads_back_to_this_site() {
        assert_eq!(own_address("/studies?q=a%20b"), "/studies?q=a%20b");
        for elsewhere in
            ["https://example.org/", "//example.org", "/\\example.org", "/a\r\nSet-Cookie: x=y", ""]
        {
            assert_eq!(own_address(elsewhere), "/studies", "{elsewhere:?}");
        }
    }

    #[test]
    fn themes_survive_their_names() {
        for theme in Theme::ALL {
            assert_eq!(Theme::parse(theme.name()), Some(theme));
        }
        assert_eq!(Theme::parse("sepia"), None);
    }
}

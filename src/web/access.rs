//! Who may ask for what. [`guard`] stands before everything, [`admit`] before each address with what that address
//! [`Needs`]; handlers get the [`Caller`] and pass their visibility to the archive.
//!
//! A request is somebody's by a cookie (a person's session, a visit by a share link) or by its Authorization header (a
//! program's token, or a name and a password). Cookies are sent by browsers also on behalf of other sites. So what
//! changes something has to come from a page of ours, as the browser says, and has to carry a token that follows from
//! the cookie and stands in our pages alone; and programs, which need neither, may not change anything by a form.

use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use base64::Engine;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::future::{Ready, ready};

use super::App;
use super::error::Error;
use super::transport::{Client, Transport};
use crate::db::audit::{Action, Actor, ActorKind, Entry};
use crate::db::role::{Right, Rights};
use crate::db::share::Visit;
use crate::db::user::User;
use crate::db::visibility::Visibility;
use crate::people::sign_in::{Refusal, TOKEN_PREFIX};
use crate::people::trail::{Shown, WayIn};
use crate::people::{self, secret};

/// The largest form any page has, bytes.
const FORM_BYTES: usize = 64 * 1024;
/// How long a form may take to arrive.
const FORM_TIME: Duration = Duration::from_secs(15);

/// Holds a person's session.
pub const SESSION: &str = "session";
/// Holds a visit by a share link.
pub const VISIT: &str = "visit";
/// Tells one browser from another before anybody is signed in.
pub const FORM: &str = "form";
/// What a browser remembers of who has signed in with it.
pub const DEVICE: &str = "device";

const NOT_ALLOWED: &str = "Your account does not have the right to this. An administrator can give it.";
const NOT_SHARED: &str = "The link you came by does not include this.";
const FOR_PEOPLE: &str =
    "This is for people with a browser: a token or a password in the request does not open it.";
const WRONG_HOST: &str = "This address is not a name of the machine filmroom runs on. Open it as http://localhost or http://127.0.0.1.";
const OTHER_SITE: &str = "This request came from another site and was not carried out.";
const STALE_FORM: &str =
    "This form is from before you signed in or out. Go back, reload the page and try again.";

/// What an address asks of whoever asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing; nobody is looked up.
    Nothing,
    /// Nothing, but it matters who it is.
    Anybody,
    /// A person who is signed in.
    Person,
    /// Somebody with this right.
    Right(Right),
}

/// Who is asking, and what they may do and see.
#[derive(Debug, Clone)]
pub struct Caller(Rc<Inner>);

/// What a [`Caller`] is made of.
#[derive(Debug)]
pub struct Inner {
    /// Who.
    pub who: Who,
    /// What they may do.
    pub rights: Rights,
    /// Whose studies they see.
    pub visibility: Visibility,
    /// The other end of the connection.
    pub client: Client,
    /// What the cookie holds that forms are bound to.
    seed: String,
    /// There was a cookie of a session that is over.
    pub session_is_over: bool,
}

/// Who somebody is.
#[derive(Debug, Clone)]
pub enum Who {
    /// Not known.
    Nobody,
    /// A person with a browser.
    Person {
        /// The person.
        user: Box<User>,
        /// `session.session_key`
        session_key: u64,
    },
    /// A program, with a person's token or password.
    Program {
        /// The person.
        user: Box<User>,
        /// As far as the program is let.
        scope: Rights,
        /// Number and name of the token.
        token: Option<(u64, String)>,
    },
    /// Whoever holds a share link.
    Visitor(Visit),
}

impl Deref for Caller {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// Whether they may.
    pub fn may(&self, right: Right) -> bool {
        self.rights.has(right)
    }

    /// The person with a browser.
    pub fn person(&self) -> Option<&User> {
        match &self.who {
            Who::Person { user, .. } => Some(user),
            Who::Nobody | Who::Program { .. } | Who::Visitor(_) => None,
        }
    }

    /// The person an address that [`Needs::Person`] is asked by.
    pub fn signed_in(&self) -> Result<&User, Error> {
        self.person().ok_or(Error::SignIn)
    }

    /// The session of that person; 0 where there is none.
    pub fn session_key(&self) -> u64 {
        match &self.who {
            Who::Person { session_key, .. } => *session_key,
            Who::Nobody | Who::Program { .. } | Who::Visitor(_) => 0,
        }
    }

    /// For the audit trail.
    pub fn actor(&self) -> Actor {
        let (kind, name) = match &self.who {
            Who::Nobody => (ActorKind::Nobody, String::new()),
            Who::Person { user, .. } => (ActorKind::User, user.name.to_string()),
            Who::Program { user, .. } => (ActorKind::Program, user.name.to_string()),
            Who::Visitor(visit) => (ActorKind::Visitor, format!("share {}", visit.share_key)),
        };
        Actor { kind, name, address: self.client.address.to_string() }
    }

    /// An entry of the audit trail: they did this.
    pub fn did(&self, action: Action, details: impl Into<String>) -> Entry {
        let mut entry = Entry::of(self.actor(), action, details);
        if let Who::Program { token: Some((_, name)), .. } = &self.who {
            entry.details = format!("token {name}; {}", entry.details).trim_end_matches("; ").to_owned();
        }
        entry
    }

    fn way_in(&self) -> WayIn {
        match &self.who {
            Who::Nobody => WayIn::Visit(0),
            Who::Person { session_key, .. } => WayIn::Session(*session_key),
            Who::Program { token: Some((token_key, _)), .. } => WayIn::Token(*token_key),
            Who::Program { user, token: None, .. } => WayIn::Password(user.user_key),
            Who::Visitor(visit) => WayIn::Visit(visit.visit_key),
        }
    }

    /// Leaves a trace of what was done.
    pub async fn record(&self, app: &App, entry: Entry) -> Result<(), Error> {
        Ok(app.people.trail.record(entry).await?)
    }

    /// Leaves a trace of what is shown.
    pub async fn show(&self, app: &App, shown: Shown, entry: Entry) -> Result<(), Error> {
        Ok(app.people.trail.show(self.way_in(), shown, entry).await?)
    }

    /// Leaves a trace of what is shown, unless one of these was shown to the same caller just before.
    pub async fn show_once(&self, app: &App, any_of: &[Shown], entry: Entry) -> Result<(), Error> {
        Ok(app.people.trail.show_once(self.way_in(), any_of, entry).await?)
    }

    /// The series of a study were shown, with their small pictures.
    pub fn has_seen_strip(&self, app: &App, study: &str) {
        app.people.trail.remember(self.way_in(), Shown::Study(study.to_owned()));
    }

    /// A list of studies was shown, with its small pictures.
    pub fn has_seen_list(&self, app: &App) {
        app.people.trail.remember(self.way_in(), Shown::List);
    }

    /// Whether the session or the visit goes on. Asking is no use of it.
    pub async fn is_still_in(&self, app: &App) -> bool {
        let found = match &self.who {
            Who::Person { .. } => app.people.has_session(&self.seed).await,
            Who::Visitor(_) => app.people.has_visit(&self.seed).await,
            Who::Nobody | Who::Program { .. } => Ok(true),
        };
        found.unwrap_or_else(|err| {
            tracing::warn!(%err, "cannot tell whether somebody is still signed in");
            false
        })
    }

    /// For the hidden field `token` of every form.
    pub fn form_token(&self) -> String {
        form_token(&self.seed)
    }

    /// What tells this browser from another at the same address.
    pub fn browser(&self) -> [u8; 32] {
        secret::hash(&self.seed)
    }

    /// A cookie of ours: for this site alone, not for scripts, and by HTTPS alone where that is how we are reached.
    pub fn cookie(&self, name: &str, value: String) -> Cookie<'static> {
        cookie(&self.client, name, value)
    }

    /// The same cookie, gone.
    pub fn cookie_gone(&self, name: &str) -> Cookie<'static> {
        let mut cookie = self.cookie(name, String::new());
        cookie.make_removal();
        cookie
    }
}

/// A cookie's name: browsers take one that begins with `__Host-` from its own site over HTTPS alone.
fn cookie_name(client: &Client, name: &str) -> String {
    if client.keeps_secure_cookies() { format!("__Host-{name}") } else { name.to_owned() }
}

fn cookie(client: &Client, name: &str, value: String) -> Cookie<'static> {
    Cookie::build(cookie_name(client, name), value)
        .path("/")
        .http_only(true)
        .secure(client.keeps_secure_cookies())
        .same_site(SameSite::Lax)
        .finish()
}

/// The value of a cookie of ours.
pub fn cookie_of(request: &HttpRequest, client: &Client, name: &str) -> Option<String> {
    let cookie = request.cookie(&cookie_name(client, name))?;
    Some(cookie.value().to_owned()).filter(|value| !value.is_empty())
}

fn form_token(seed: &str) -> String {
    hex::encode(secret::hash(&format!("form {seed}"))).chars().take(32).collect()
}

impl FromRequest for Caller {
    type Error = Error;
    type Future = Ready<Result<Caller, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller_of(request).ok_or(Error::SignIn))
    }
}

/// Who asked for this, after [`admit`] has found out.
pub fn caller_of(request: &HttpRequest) -> Option<Caller> {
    request.extensions().get::<Caller>().cloned()
}

/// Middleware before everything: we must be asked under a name of ours, and what changes something must come from us.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let client = transport(request.request()).client(request.request());
    let allowed = match transport(request.request()).serves(&client) {
        false => Err(Error::Forbidden(WRONG_HOST)),
        true if request.method().is_safe() || is_from_us(&client, request.headers()) => Ok(()),
        true => Err(Error::Forbidden(OTHER_SITE)),
    };
    match allowed {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(err) => Ok(request.error_response(err)),
    }
}

fn transport(request: &HttpRequest) -> Transport {
    request.app_data::<Data<App>>().map_or(Transport::Loopback, |app| app.transport.clone())
}

/// Browsers that do not send the first header send the second; programs send neither, and have no cookies.
fn is_from_us(client: &Client, headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(HeaderName::from_static("sec-fetch-site")), text(header::ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        // Our pages send no referrer, so a browser that does not say more names no origin either; the token decides.
        (None, Some("null")) => !client.keeps_secure_cookies(),
        (None, Some(origin)) => client.is_origin(origin),
        (None, None) => true,
    }
}

/// Middleware before each address: finds out who is asking and whether they may.
pub async fn admit(
    needs: Needs,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if needs == Needs::Nothing {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let fresh = match identify(&mut request).await {
        Ok(fresh) => fresh,
        Err(err) => return Ok(request.error_response(err)),
    };
    let allowed = match request.method().is_safe() {
        true => allowed(&request, needs).await,
        false => match posted(&mut request).await {
            Ok(()) => allowed(&request, needs).await,
            Err(err) => Err(err),
        },
    };
    let mut response = match allowed {
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        Err(err) => request.error_response(err),
    };
    if let Some(cookie) = fresh
        && response.response().error().is_none()
    {
        response.response_mut().add_cookie(&cookie).map_err(Error::internal)?;
    }
    Ok(response)
}

/// Puts the [`Caller`] beside the request. Returns the cookie that a browser gets which has none of ours.
async fn identify(request: &mut ServiceRequest) -> Result<Option<Cookie<'static>>, Error> {
    let app = app_of(request)?;
    let client = app.transport.client(request.request());
    let authorization = request.headers().get(header::AUTHORIZATION);
    let found = match authorization.map(|value| value.to_str().unwrap_or_default().to_owned()) {
        Some(value) => Found::of(program(&app, &value, &client).await?),
        None => by_cookie(&app, request.request(), &client).await?,
    };
    let mut fresh = None;
    let seed = match found.seed.or_else(|| cookie_of(request.request(), &client, FORM)) {
        Some(seed) => seed,
        None => {
            let seed = secret::Secret::random().map_err(Error::internal)?.text().to_owned();
            fresh = Some(cookie(&client, FORM, seed.clone()));
            seed
        }
    };
    let (rights, visibility) = match &found.who {
        Who::Nobody => (Rights::NONE, Visibility::Study { study_key: 0 }),
        Who::Person { user, .. } => (user.rights, people::visibility(user)),
        Who::Program { user, scope, .. } => (user.rights.and(*scope), people::visibility(user)),
        Who::Visitor(visit) => {
            let download = visit.may_download.then_some(Right::Download);
            (Rights::of(&[Right::View]).with(download), Visibility::Study { study_key: visit.study_key })
        }
    };
    let session_is_over = found.session_is_over;
    let inner = Inner { who: found.who, rights, visibility, client, seed, session_is_over };
    request.extensions_mut().insert(Caller(Rc::new(inner)));
    Ok(fresh)
}

/// Who was found, by which cookie.
struct Found {
    who: Who,
    seed: Option<String>,
    session_is_over: bool,
}

impl Found {
    fn of(who: Who) -> Found {
        Found { who, seed: None, session_is_over: false }
    }
}

async fn by_cookie(app: &App, request: &HttpRequest, client: &Client) -> Result<Found, Error> {
    let session = cookie_of(request, client, SESSION);
    if let Some(cookie) = &session
        && let Some(found) = app.people.session(cookie, is_somebody(request)).await?
    {
        let who = Who::Person { session_key: found.session_key, user: Box::new(found.user) };
        return Ok(Found { who, seed: session, session_is_over: false });
    }
    let session_is_over = session.is_some();
    if let Some(cookie) = cookie_of(request, client, VISIT)
        && let Some(visit) = app.people.visit(&cookie, is_somebody(request)).await?
    {
        return Ok(Found { who: Who::Visitor(visit), seed: Some(cookie), session_is_over });
    }
    Ok(Found { who: Who::Nobody, seed: None, session_is_over })
}

/// Whether a person is behind a request: not where a page that stays open looks again by itself, with its small
/// pictures. Such requests do not keep a session from ending.
fn is_somebody(request: &HttpRequest) -> bool {
    let path = request.path();
    !request.headers().contains_key("x-refresh") && path != "/events" && !path.ends_with("/thumbnail.png")
}

/// RFC 6750 and RFC 7617.
async fn program(app: &App, authorization: &str, client: &Client) -> Result<Who, Error> {
    let (scheme, value) = authorization.split_once(' ').unwrap_or((authorization, ""));
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") && value.starts_with(TOKEN_PREFIX) {
        let token = app.people.token(value, client.address).await.map_err(refused)?;
        let named = Some((token.token_key, token.name));
        return Ok(Who::Program { user: Box::new(token.user), scope: token.scope, token: named });
    }
    if scheme.eq_ignore_ascii_case("basic") && app.people.rules().await?.basic {
        let decoded = base64::engine::general_purpose::STANDARD.decode(value).unwrap_or_default();
        let text = String::from_utf8(decoded).unwrap_or_default();
        let (name, password) = text.split_once(':').unwrap_or((&text, ""));
        let user = app.people.basic(name, password, client.address).await.map_err(refused)?;
        let scope = user.rights;
        return Ok(Who::Program { user: Box::new(user), scope, token: None });
    }
    Err(Error::SignIn)
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Wrong => Error::SignIn,
        Refusal::Wait(wait) => Error::TooMany(wait),
        Refusal::Failed(err) => err.into(),
    }
}

async fn allowed(request: &ServiceRequest, needs: Needs) -> Result<(), Error> {
    let caller = caller_of(request.request()).ok_or(Error::SignIn)?;
    match (needs, &caller.who) {
        (Needs::Nothing | Needs::Anybody, _) => Ok(()),
        (Needs::Person | Needs::Right(_), Who::Nobody) => Err(Error::SignIn),
        (Needs::Person, Who::Person { .. }) => Ok(()),
        (Needs::Person | Needs::Right(Right::Administer), Who::Program { .. }) => {
            Err(Error::Forbidden(FOR_PEOPLE))
        }
        (Needs::Person, Who::Visitor(_)) => Err(Error::Forbidden(NOT_SHARED)),
        (Needs::Right(right), Who::Person { user, .. }) if caller.may(right) => {
            match app_of(request)?.people.needs_second_factor(user).await? {
                true => Err(Error::SecondFactor),
                false => Ok(()),
            }
        }
        (Needs::Right(right), _) if caller.may(right) => Ok(()),
        (Needs::Right(_), Who::Visitor(_)) => Err(Error::Forbidden(NOT_SHARED)),
        (Needs::Right(_), _) => Err(Error::Forbidden(NOT_ALLOWED)),
    }
}

fn app_of(request: &ServiceRequest) -> Result<Data<App>, Error> {
    request.app_data::<Data<App>>().cloned().ok_or(Error::NotFound)
}

/// The body of a form, after its field `token` proved right.
struct Body(Bytes);

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
}

/// Reads the form of a request that changes something, and leaves it for [`Posted`].
async fn posted(request: &mut ServiceRequest) -> Result<(), Error> {
    let caller = caller_of(request.request()).ok_or(Error::SignIn)?;
    if let Who::Program { .. } = caller.who {
        return Err(Error::Forbidden(FOR_PEOPLE));
    }
    let not_understood = || Error::Invalid("The form could not be understood.".into());
    let body = request.extract::<web::Payload>().await.map_err(|_| not_understood())?;
    let read = tokio::time::timeout(FORM_TIME, body.to_bytes_limited(FORM_BYTES)).await;
    let bytes = read.map_err(|_| Error::Invalid("The form took too long to arrive.".into()))?;
    let bytes = bytes.map_err(|_| Error::Invalid("The form is larger than any of ours.".into()))?;
    let bytes = bytes.map_err(|_| not_understood())?;
    let token: Token = serde_urlencoded::from_bytes(&bytes).map_err(|_| Error::Forbidden(STALE_FORM))?;
    if !secret::is_equal(caller.form_token().as_bytes(), token.token.as_bytes()) {
        return Err(Error::Forbidden(STALE_FORM));
    }
    request.extensions_mut().insert(Body(bytes));
    Ok(())
}

/// A form that was posted from a page of ours: `T`, without its field `token`.
pub struct Posted<T>(T);

impl<T> Deref for Posted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Posted<T> {
    type Error = Error;
    type Future = Ready<Result<Posted<T>, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let extensions = request.extensions();
        let form = extensions.get::<Body>().and_then(|body| serde_urlencoded::from_bytes(&body.0).ok());
        ready(form.map(Posted).ok_or_else(|| Error::Invalid("The form could not be understood.".into())))
    }
}

/// The fields of a form that come more than once, such as boxes that are ticked.
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first value of this name; empty where there is none.
    pub fn first<'a>(&'a self, name: &'a str) -> &'a str {
        self.all(name).next().unwrap_or_default()
    }

    /// Every value of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Whether a box of this name is ticked.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }
}

impl FromRequest for Fields {
    type Error = Error;
    type Future = Ready<Result<Fields, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let fields = Posted::<Vec<(String, String)>>::from_request(request, payload).into_inner();
        ready(fields.map(|Posted(fields)| Fields(fields)))
    }
}

/// Ends what a browser holds of this site: what it kept on disk, and the cookies.
pub const CLEAR_SITE_DATA: (&str, &str) = ("Clear-Site-Data", "\"cache\", \"cookies\", \"storage\"");

/// Adds a cookie to an answer.
pub fn with_cookie(mut response: HttpResponse, cookie: &Cookie<'_>) -> Result<HttpResponse, Error> {
    response.add_cookie(cookie).map_err(Error::internal)?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn client(scheme: &'static str, host: &str) -> Client {
        Client { address: std::net::IpAddr::from([127, 0, 0, 1]), host: host.into(), scheme }
    }

    fn from_us(client: &Client, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect::<HeaderMap>();
        is_from_us(client, &headers)
    }

    #[test]
    fn another_site_cannot_change_anything() {
        let here = client("http", "localhost:8080");
        assert!(from_us(&here, &[("sec-fetch-site", "same-origin")]));
        assert!(from_us(&here, &[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(from_us(&here, &[("origin", "http://localhost:8080")]));
        assert!(from_us(&here, &[]));
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
            ("origin", "http://example.org"),
            ("origin", "http://localhost:9090"),
            ("origin", "https://localhost:8080"),
            ("origin", "null"),
        ] {
            assert!(!from_us(&here, &[(name, value)]), "{name}: {value}");
        }
    }

    #[test]
    fn cookies_are_for_one_host_and_https_where_a_browser_keeps_such() {
        for (client, name, secure) in [
            (client("https", "pacs.example.org"), "__Host-session", true),
            (client("http", "127.0.0.1:8080"), "__Host-session", true),
            (client("http", "pacs:8080"), "session", false),
        ] {
            let cookie = cookie(&client, SESSION, "x".into());
            assert_eq!(
                (cookie.name(), cookie.secure(), cookie.http_only()),
                (name, Some(secure), Some(true))
            );
            assert_eq!(
                (cookie.path(), cookie.same_site(), cookie.domain()),
                (Some("/"), Some(SameSite::Lax), None)
            );
        }
    }

    #[test]
    fn the_token_of_a_form_follows_from_its_cookie_and_does_not_tell_it() {
        assert_eq!(form_token("a"), form_token("a"));
        assert_ne!(form_token("a"), form_token("b"));
        assert_eq!(form_token("a").len(), 32);
    }
}

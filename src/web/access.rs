//! Who may ask for what. [`guard`] stands before everything, [`admit`] before each address with what that address
//! [`Needs`]; handlers get the [`Caller`] and pass their visibility to the archive.
//!
//! A request is somebody's by a cookie (a person's session, a visit by a share link) or by its Authorization header (a
//! program's token, or a name and a password); DICOMweb also by a token for one study that stands in the address. Cookies are sent by browsers also on behalf of other sites. So what
//! changes something has to come from a page of ours, as the browser says, and has to carry a token that follows from
//! the cookie and stands in our pages alone; and programs, which need neither, may not change anything by a form.

mod caller;
mod cookie;
mod form;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::cookie::Cookie;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest};
use base64::Engine;

pub use self::caller::{Caller, Who, caller_of};
pub use self::cookie::{CLEAR_SITE_DATA, DEVICE, FORM, SESSION, VISIT, cookie_of, form_token, with_cookie};
pub use self::form::{Fields, Posted, STALE_FORM};
use super::App;
use super::dicomweb;
use super::error::Error;
use super::transport::{Client, Transport};
use crate::db::role::{Right, Rights};
use crate::db::user::User;
use crate::db::visibility::Visibility;
use crate::people::sign_in::{Refusal, TOKEN_PREFIX};
use crate::people::{self, secret};

pub(super) const NOT_ALLOWED: &str =
    "Your account does not have the right to this. An administrator can give it.";
const NOT_SHARED: &str = "The link you came by does not include this.";
const FOR_PEOPLE: &str =
    "This is for people with a browser: a token or a password in the request does not open it.";
const NOT_HTTPS: &str = "filmroom is behind a proxy here and answers what that proxy received by HTTPS alone. Open it under the proxy's https address; the proxy has to send X-Forwarded-Proto: https.";
const WRONG_HOST: &str = "This address is not a name of the machine filmroom runs on. Open it as http://localhost or http://127.0.0.1.";
const OTHER_SITE: &str = "This request came from another site and was not carried out.";
/// The query of a page that looks again by itself where there are no scripts.
pub const AGAIN: &str = "again";

/// What an address asks of whoever asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing; nobody is looked up.
    Nothing,
    /// Nothing, but it matters who it is.
    Anybody,
    /// A person who is signed in, and may still have to set up a second factor.
    Enrolling,
    /// A person who is signed in.
    Person,
    /// Somebody with this right.
    Right(Right),
    /// Somebody with this right, a program too, whose body is files and no form of ours. That it comes from no other
    /// site's page is for the handler to see: by a media type that no form can have, or by the form's token.
    Files(Right),
}

/// Middleware before everything: we must be asked under a name of ours, and what changes something must come from us.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let transport = transport(request.request());
    let client = transport.client(request.request());
    let allowed = match transport.serves(&client) {
        false => Err(Error::Forbidden(WRONG_HOST)),
        // Whether it is alive, monitors on this machine ask without the proxy.
        true if !transport.is_open_to(&client) && !["/healthz", "/readyz"].contains(&request.path()) => {
            Err(Error::Forbidden(NOT_HTTPS))
        }
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
        true => allowed(&request, needs),
        false if matches!(needs, Needs::Files(_)) => allowed(&request, needs),
        false => match form::posted(&mut request).await {
            Ok(()) => allowed(&request, needs),
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
        None => match token_in_address(request.request()) {
            Some(token) => Found::of(with_address(&app, &token, &client).await?),
            None => by_cookie(&app, request.request(), &client).await?,
        },
    };
    let mut fresh = None;
    let seed = match found.seed.or_else(|| cookie_of(request.request(), &client, FORM)) {
        Some(seed) => seed,
        None => {
            let seed = secret::Secret::random().map_err(Error::internal)?.text().to_owned();
            fresh = Some(cookie::cookie(&client, FORM, seed.clone()));
            seed
        }
    };
    let (rights, visibility) = match &found.who {
        Who::Nobody => (Rights::NONE, Visibility::Study { study_key: 0 }),
        Who::Person { user, .. } => (user.rights, people::visibility(user)),
        Who::Program { user, scope, study_key, .. } => {
            (user.rights.and(*scope), people::visibility_of_program(user, *study_key))
        }
        Who::Visitor(visit) => {
            let download = visit.may_download.then_some(Right::Download);
            (Rights::of(&[Right::View]).with(download), Visibility::Study { study_key: visit.study_key })
        }
    };
    let session_is_over = found.session_is_over;
    let rights = rights.without_what_needs_view();
    let caller = Caller::new(found.who, rights, visibility, client, seed, session_is_over);
    request.extensions_mut().insert(caller);
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
    let looks_again = request.headers().contains_key("x-refresh") || request.query_string() == AGAIN;
    !looks_again && path != "/events" && !path.ends_with("/thumbnail.png")
}

/// RFC 6750 and RFC 7617.
async fn program(app: &App, authorization: &str, client: &Client) -> Result<Who, Error> {
    let (scheme, value) = authorization.split_once(' ').unwrap_or((authorization, ""));
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") && value.starts_with(TOKEN_PREFIX) {
        let token = app.people.token(value, client.address).await.map_err(refused)?;
        let named = Some((token.token_key, token.name));
        let (user, scope, study_key) = (Box::new(token.user), token.scope, token.study_key);
        return Ok(Who::Program { user, scope, token: named, study_key });
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = base64::engine::general_purpose::STANDARD.decode(value).unwrap_or_default();
        let text = String::from_utf8(decoded).unwrap_or_default();
        let (name, password) = text.split_once(':').unwrap_or((&text, ""));
        let user = app.people.basic(name, password, client.address).await.map_err(refused)?;
        let scope = user.rights;
        return Ok(Who::Program { user: Box::new(user), scope, token: None, study_key: None });
    }
    Err(Error::SignIn)
}

/// RFC 6750 section 2.3, for viewers that are given an address and can send no header. Addresses are written down in many
/// places, so what stands in one has to be a token that is for one study and for hours.
async fn with_address(app: &App, token: &str, client: &Client) -> Result<Who, Error> {
    match program(app, &format!("Bearer {token}"), client).await? {
        Who::Program { study_key: None, .. } => Err(Error::SignIn),
        who => Ok(who),
    }
}

/// What stands behind `access_token` in an address of DICOMweb that is read.
pub(super) fn token_in_address(request: &HttpRequest) -> Option<String> {
    let path = request.path();
    let is_dicomweb = path.starts_with(dicomweb::ROOT) || path == dicomweb::WADO_URI;
    let is_dicomweb = is_dicomweb && request.method().is_safe();
    let mut parameters = url::form_urlencoded::parse(request.query_string().as_bytes());
    let token = parameters.find(|(name, _)| name == "access_token").filter(|_| is_dicomweb);
    token.map(|(_, value)| value.into_owned())
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Wrong => Error::SignIn,
        Refusal::Wait(wait) => Error::TooMany(wait),
        Refusal::Failed(err) => err.into(),
    }
}

fn allowed(request: &ServiceRequest, needs: Needs) -> Result<(), Error> {
    let caller = caller_of(request.request()).ok_or(Error::SignIn)?;
    match (needs, &caller.who) {
        (Needs::Nothing | Needs::Anybody, _) => Ok(()),
        (_, Who::Nobody) => Err(Error::SignIn),
        (Needs::Enrolling, Who::Person { .. }) => Ok(()),
        (Needs::Enrolling | Needs::Person | Needs::Right(Right::Administer), Who::Program { .. }) => {
            Err(Error::Forbidden(FOR_PEOPLE))
        }
        (Needs::Enrolling | Needs::Person, Who::Visitor(_)) => Err(Error::Forbidden(NOT_SHARED)),
        (Needs::Person, Who::Person { user, .. }) => enrolled(user),
        (Needs::Right(right) | Needs::Files(right), Who::Person { user, .. } | Who::Program { user, .. })
            if caller.may(right) =>
        {
            enrolled(user)
        }
        (Needs::Right(right) | Needs::Files(right), _) if caller.may(right) => Ok(()),
        (Needs::Right(_) | Needs::Files(_), Who::Visitor(_)) => Err(Error::Forbidden(NOT_SHARED)),
        (Needs::Right(_) | Needs::Files(_), _) => Err(Error::Forbidden(NOT_ALLOWED)),
    }
}

/// Nothing else is open to somebody who has to set up a second factor first, nor to their programs.
fn enrolled(user: &User) -> Result<(), Error> {
    if user.needs_second_factor() { Err(Error::SecondFactor) } else { Ok(()) }
}

fn app_of(request: &ServiceRequest) -> Result<Data<App>, Error> {
    request.app_data::<Data<App>>().cloned().ok_or(Error::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn client(scheme: &'static str, host: &str) -> Client {
        Client {
            address: std::net::IpAddr::from([127, 0, 0, 1]),
            host: host.into(),
            scheme,
            prefix: String::new(),
        }
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
}

//! What a handler answers when it cannot answer, and the page that says so in words.
//!
//! Handlers return [`Error`]; [`render`] turns it into a page once, logs the cause once under an identifier the
//! person can quote, and never shows the cause.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use askama::Template;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::access::{CLEAR_SITE_DATA, caller_of, token_in_address};
use super::page::{self, Layout};
use crate::archive;
use crate::db;
use crate::people;

/// Why a request did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing at this address, or not any more.
    #[error("There is nothing at this address. It may have been removed, or the address may be incomplete.")]
    NotFound,
    /// Nobody is signed in, or what was sent to sign in is no good.
    #[error("Sign in first.")]
    SignIn,
    /// An administrator has to set up a second factor before anything else.
    #[error("Set up a second factor first: open /account/second-factor in a browser.")]
    SecondFactor,
    /// Too many tries. When the next one is looked at.
    #[error("There were too many tries. Try again in {} seconds.", .0.as_secs().max(1))]
    TooMany(Duration),
    /// The caller may not have this. The sentence says why.
    #[error("{0}")]
    Forbidden(&'static str),
    /// What was sent makes no sense. The sentence says what is wrong.
    #[error("{0}")]
    Invalid(String),
    /// It is there, and not in a form that is taken. The sentence says in which.
    #[error("{0}")]
    NotAcceptable(String),
    /// What was sent is in a form that is not taken. The sentence says in which it is.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// The database is away or busy, or the program is being stopped.
    #[error("The archive cannot be reached at the moment. Nothing is lost; try again in a minute.")]
    Unavailable(#[source] Cause),
    /// A fault of ours.
    #[error("Something went wrong on the server. Nothing was changed.")]
    Internal(#[source] Cause),
}

/// What is behind an error; for the log alone.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    /// A fault of ours.
    pub fn internal(err: impl Into<Cause>) -> Error {
        Error::Internal(err.into())
    }
}

impl From<people::Error> for Error {
    fn from(err: people::Error) -> Error {
        match err {
            people::Error::Database(err) => err.into(),
            people::Error::Password(people::password::Error::Busy) => Error::Unavailable(err.into()),
            other => Error::Internal(other.into()),
        }
    }
}

impl From<mysql_async::Error> for Error {
    fn from(err: mysql_async::Error) -> Error {
        db::Error::from(err).into()
    }
}

impl From<archive::Error> for Error {
    fn from(err: archive::Error) -> Error {
        match err {
            archive::Error::Database(err) => err.into(),
            archive::Error::Stopping => Error::Unavailable(err.into()),
            other => Error::Internal(other.into()),
        }
    }
}

impl From<db::Error> for Error {
    fn from(err: db::Error) -> Error {
        let away = err.is_transient() || matches!(err, db::Error::Stopping);
        if away { Error::Unavailable(err.into()) } else { Error::Internal(err.into()) }
    }
}

impl From<askama::Error> for Error {
    fn from(err: askama::Error) -> Error {
        Error::Internal(err.into())
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self {
            Error::NotFound => StatusCode::NOT_FOUND,
            Error::SignIn => StatusCode::UNAUTHORIZED,
            Error::SecondFactor | Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Error::Invalid(_) => StatusCode::BAD_REQUEST,
            Error::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Error::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The sentence as plain text; [`render`] makes a page of it where a page was asked for.
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        match self {
            // Not Basic: a browser would ask for a password in a window of its own, for a picture too.
            Error::SignIn => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"filmroom\""));
            }
            Error::Unavailable(_) => {
                response.insert_header((header::RETRY_AFTER, "10"));
            }
            Error::TooMany(wait) => {
                response.insert_header((header::RETRY_AFTER, wait.as_secs().max(1).to_string()));
            }
            _ => {}
        }
        response.content_type("text/plain; charset=utf-8").body(self.to_string())
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    layout: Layout,
    heading: &'static str,
    sentence: String,
    id: Option<String>,
}

/// Middleware: logs what went wrong and, for a browser that asked for a page, answers with one.
pub async fn render(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let response = next.call(request).await?;
    let Some(err) = response.response().error() else {
        return Ok(response.map_into_boxed_body());
    };
    let status = response.status();
    if let Some(elsewhere) = err.as_error::<Error>().and_then(|err| elsewhere(err, response.request())) {
        return Ok(response.into_response(elsewhere).map_into_boxed_body());
    }
    let (sentence, id) = match err.as_error::<Error>() {
        Some(err) => (err.to_string(), logged(err, response.request())),
        None => (in_words(status).to_owned(), None),
    };
    if !page::is_wanted(response.request()) {
        return Ok(response.map_into_boxed_body());
    }
    let layout = Layout::of(response.request());
    let page = ErrorPage { layout, heading: heading(status), sentence, id };
    let answer = match page::answer(status, &page) {
        Ok(answer) => answer,
        Err(err) => err.error_response(),
    };
    Ok(response.into_response(answer).map_into_boxed_body())
}

/// For a browser that asked for a page: where to go first.
fn elsewhere(err: &Error, request: &HttpRequest) -> Option<HttpResponse> {
    // Whoever came with a token or a password is not helped by the page for people.
    let is_program =
        request.headers().contains_key(header::AUTHORIZATION) || token_in_address(request).is_some();
    if !page::is_wanted(request) || !request.method().is_safe() || is_program {
        return None;
    }
    match err {
        Error::SignIn => {
            let here = request.uri().path_and_query().map_or("/", |here| here.as_str());
            let here = utf8_percent_encode(here, NON_ALPHANUMERIC);
            let mut response = page::see_other(&format!("/login?next={here}"));
            // Whoever signs in next finds nothing of what was looked at before.
            if caller_of(request).is_some_and(|caller| caller.session_is_over) {
                let (name, _) = CLEAR_SITE_DATA;
                let (name, value) = (HeaderName::from_bytes(name.as_bytes()).ok()?, "\"cache\"");
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            Some(response)
        }
        Error::SecondFactor => Some(page::see_other("/account/second-factor")),
        _ => None,
    }
}

/// Logs a fault with the address (without its query, which may name a patient), and returns what to quote.
fn logged(err: &Error, request: &HttpRequest) -> Option<String> {
    let (Error::Unavailable(cause) | Error::Internal(cause)) = err else { return None };
    let id = new_id();
    // What follows /share/ in an address opens a study.
    let path = if request.path().starts_with("/share/") { "/share/…" } else { request.path() };
    tracing::error!(%id, path, cause = chain(cause.as_ref()), "a page could not be made");
    Some(id)
}

/// What is behind an error, down to the last cause.
pub fn chain(cause: &(dyn std::error::Error + 'static)) -> String {
    let mut text = cause.to_string();
    let mut next = cause.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn new_id() -> String {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => hex::encode(bytes),
        Err(_) => "none".to_owned(),
    }
}

fn heading(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::UNAUTHORIZED => "Not signed in",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::TOO_MANY_REQUESTS => "Too many tries",
        StatusCode::SERVICE_UNAVAILABLE => "Not available now",
        status if status.is_client_error() => "This does not work",
        _ => "Something went wrong",
    }
}

/// For what actix refuses before a handler sees it.
fn in_words(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "There is nothing at this address.",
        StatusCode::METHOD_NOT_ALLOWED => "This address does not take that kind of request.",
        StatusCode::PAYLOAD_TOO_LARGE => "What was sent is larger than this page takes.",
        status if status.is_client_error() => "The request could not be understood.",
        _ => "Something went wrong on the server. Nothing was changed.",
    }
}

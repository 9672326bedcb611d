//! Forms: what changes something carries a token that another site cannot read.

use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::FOR_PEOPLE;
use super::caller::{Who, caller_of};
use crate::people::secret;
use crate::web::error::Error;

/// The largest form any page has, bytes.
const FORM_BYTES: usize = 64 * 1024;

/// Said where a form carries no token, or not the one it should.
pub const STALE_FORM: &str =
    "This form is from before you signed in or out. Go back, reload the page and try again.";

/// The body of a form, after its field `token` proved right.
struct Body(Bytes);

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
}

/// Reads the form of a request that changes something, and leaves it for [`Posted`].
pub(super) async fn posted(request: &mut ServiceRequest) -> Result<(), Error> {
    let caller = caller_of(request.request()).ok_or(Error::SignIn)?;
    if let Who::Program { .. } = caller.who {
        return Err(Error::Forbidden(FOR_PEOPLE));
    }
    let not_understood = || Error::Invalid("The form could not be understood.".into());
    let body = request.extract::<web::Payload>().await.map_err(|_| not_understood())?;
    let bytes = body.to_bytes_limited(FORM_BYTES).await;
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

//! Who may ask for what. Every handler takes [`User`], so this file is where sign-in will be.
//!
//! Until then there is one user, the person at this machine: HTTP is spoken on the loopback interface alone, and a
//! request from any other address is refused. What is left to defend against is the person's own browser being used
//! by another site. [`guard`] refuses names other than this machine's (DNS rebinding) and requests that change
//! something on behalf of another site; [`Posted`] asks every form for a token that another site cannot read.

use std::future::{Future, Ready, ready};
use std::net::IpAddr;
use std::ops::Deref;
use std::pin::Pin;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, Uri};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpRequest, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::App;
use super::error::Error;

/// The largest form any page has, bytes.
const FORM_BYTES: usize = 64 * 1024;

/// Who is asking. Until sign-in exists: the person at this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// For the audit trail.
    pub name: &'static str,
}

impl FromRequest for User {
    type Error = Error;
    type Future = Ready<Result<User, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let here = request.peer_addr().is_some_and(|peer| is_loopback(peer.ip()));
        ready(if here { Ok(User { name: "local user" }) } else { Err(Error::Forbidden(NOT_LOCAL)) })
    }
}

const NOT_LOCAL: &str =
    "Until filmroom has sign-in, its pages are shown only on the machine it runs on. Open them there.";
const WRONG_HOST: &str = "This address is not a name of the machine filmroom runs on. Open it as http://localhost or http://127.0.0.1.";
const OTHER_SITE: &str = "This request came from another site and was not carried out.";
const STALE_FORM: &str =
    "This form is from before the server was last started. Go back, reload the page and try again.";

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(v6.is_loopback(), |v4| v4.is_loopback()),
        IpAddr::V4(v4) => v4.is_loopback(),
    }
}

/// Middleware before every handler: the Host must be this machine, and what changes something must come from us.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    match allowed(request.method(), request.uri(), request.headers()) {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(err) => Ok(request.error_response(err)),
    }
}

fn allowed(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).or(uri.authority().map(|authority| authority.as_str())).unwrap_or_default();
    if !names_this_machine(host) {
        return Err(Error::Forbidden(WRONG_HOST));
    }
    if method.is_safe() {
        return Ok(());
    }
    // Browsers that do not send the first send the second; programs send neither and still need the token.
    let ours = match (text(header::HeaderName::from_static("sec-fetch-site")), text(header::ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => origin.split_once("://").is_some_and(|(_, origin)| origin == host),
        (None, None) => true,
    };
    if ours { Ok(()) } else { Err(Error::Forbidden(OTHER_SITE)) }
}

/// Whether a Host header is `localhost` or a loopback address, with any port.
fn names_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(is_loopback)
}

/// A secret of this process that every form carries, so that another site cannot post one.
#[derive(Clone)]
pub struct FormToken(String);

impl FormToken {
    /// A new one, 128 random bits.
    pub fn random() -> std::io::Result<FormToken> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        Ok(FormToken(hex::encode(bytes)))
    }

    /// For the hidden field.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares without telling by its duration how much was right.
    fn is(&self, given: &str) -> bool {
        let differences =
            self.0.bytes().zip(given.bytes()).fold(0, |differences, (a, b)| differences | (a ^ b));
        self.0.len() == given.len() && differences == 0
    }
}

/// A form that was posted from a page of ours: `T`, after its field `token` proved right.
pub struct Posted<T>(T);

impl<T> Deref for Posted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

impl<T: DeserializeOwned + 'static> FromRequest for Posted<T> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Posted<T>, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let app = request.app_data::<web::Data<App>>().cloned();
        let body = web::Payload::from_request(request, payload);
        Box::pin(async move {
            let not_understood = || Error::Invalid("The form could not be understood.".into());
            let body = body.await.map_err(|_| not_understood())?;
            let bytes = body.to_bytes_limited(FORM_BYTES).await;
            let bytes = bytes.map_err(|_| not_understood())?.map_err(|_| not_understood())?;
            let token: Token = serde_urlencoded::from_bytes(&bytes).map_err(|_| not_understood())?;
            if !app.is_some_and(|app| app.form_token.is(&token.token)) {
                return Err(Error::Forbidden(STALE_FORM));
            }
            serde_urlencoded::from_bytes(&bytes).map(Posted).map_err(|_| not_understood())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn asked(method: Method, headers: &[(&'static str, &'static str)]) -> Result<(), Error> {
        let headers = headers
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect::<HeaderMap>();
        allowed(&method, &Uri::from_static("/studies"), &headers)
    }

    #[test]
    fn only_names_of_this_machine_are_served() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.0.0.1", "[::1]:8080", "[::1]"] {
            assert!(names_this_machine(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org",
            "127.0.0.1.example.org",
            "192.168.1.4:80",
            "[::2]",
            "[",
            "::1",
        ] {
            assert!(!names_this_machine(host), "{host}");
        }
    }

    #[test]
    fn another_site_cannot_change_anything() {
        let host = ("host", "localhost:8080");
        assert!(asked(Method::POST, &[host, ("sec-fetch-site", "same-origin")]).is_ok());
        assert!(asked(Method::POST, &[host, ("origin", "http://localhost:8080")]).is_ok());
        assert!(asked(Method::POST, &[host]).is_ok());
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://example.org"),
            ("origin", "http://localhost:9090"),
            ("origin", "null"),
        ] {
            assert!(asked(Method::POST, &[host, (name, value)]).is_err(), "{name}: {value}");
        }
        assert!(asked(Method::GET, &[host, ("sec-fetch-site", "cross-site")]).is_ok());
    }

    #[test]
    fn a_mapped_loopback_address_is_loopback() {
        assert!("::ffff:127.0.0.1".parse().is_ok_and(is_loopback));
        assert!(!"::ffff:10.0.0.1".parse().is_ok_and(is_loopback));
    }

    #[test]
    fn a_token_is_compared_whole() {
        let token = FormToken("abcd".into());
        assert!(token.is("abcd"));
        for wrong in ["", "abc", "abcde", "abce"] {
            assert!(!token.is(wrong), "{wrong}");
        }
    }
}

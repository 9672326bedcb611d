//! Our cookies: for this site alone, not for scripts, and over HTTPS alone where that is how we are reached.

use actix_web::cookie::{Cookie, SameSite};
use actix_web::{HttpRequest, HttpResponse};

use crate::people::secret;
use crate::web::error::Error;
use crate::web::transport::Client;

/// Holds a person's session.
pub const SESSION: &str = "session";
/// Holds a visit by a share link.
pub const VISIT: &str = "visit";
/// Tells one browser from another before anybody is signed in.
pub const FORM: &str = "form";
/// What a browser remembers of who has signed in with it.
pub const DEVICE: &str = "device";

/// Ends what a browser keeps of this site. The cookies are taken one by one: what tells a browser that somebody has
/// signed in with it before stays, and so does the theme.
pub const CLEAR_SITE_DATA: (&str, &str) = ("Clear-Site-Data", "\"cache\", \"storage\"");

/// A cookie's name: browsers take one that begins with `__Host-` from its own site over HTTPS alone.
fn cookie_name(client: &Client, name: &str) -> String {
    if client.keeps_secure_cookies() { format!("__Host-{name}") } else { name.to_owned() }
}

pub(super) fn cookie(client: &Client, name: &str, value: String) -> Cookie<'static> {
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

/// The token of the forms that are bound to what this cookie holds.
pub fn form_token(seed: &str) -> String {
    hex::encode(secret::hash(&format!("form {seed}"))).chars().take(32).collect()
}

/// Adds a cookie to an answer.
pub fn with_cookie(mut response: HttpResponse, cookie: &Cookie<'_>) -> Result<HttpResponse, Error> {
    response.add_cookie(cookie).map_err(Error::internal)?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(scheme: &'static str, host: &str) -> Client {
        Client {
            address: std::net::IpAddr::from([127, 0, 0, 1]),
            host: host.into(),
            scheme,
            prefix: String::new(),
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

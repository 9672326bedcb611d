//! Where somebody is signed in, and how that ends: `/account/sessions`.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::Deserialize;

use crate::db;
use crate::db::audit::{self, Action};
use crate::db::session::{self, Listed};
use crate::web::App;
use crate::web::access::{Caller, Posted};
use crate::web::error::Error;
use crate::web::page;

/// Of a name that is none we know, this many characters are shown.
const SHOWN: usize = 60;

/// A session as its row shows it.
pub(super) struct SessionRow {
    pub(super) key: u64,
    pub(super) browser: String,
    pub(super) address: String,
    pub(super) since: String,
    pub(super) used: String,
    pub(super) is_this: bool,
}

impl SessionRow {
    /// The row of this session, in the session `this`.
    pub(super) fn of(session: &Listed, this: u64) -> SessionRow {
        SessionRow {
            key: session.session_key,
            browser: in_words(&session.user_agent),
            address: session.address.clone(),
            since: page::ago(session.created_at),
            used: page::ago(session.last_used_at),
            is_this: session.session_key == this,
        }
    }
}

/// A form without fields of its own.
#[derive(Deserialize)]
pub struct Confirmed {}

/// `POST /account/sessions/{session_key}/end`
pub async fn end(
    caller: Caller,
    key: Path<String>,
    _form: Posted<Confirmed>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    let key: u64 = key.parse().map_err(|_| Error::NotFound)?;
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    if !session::end(&mut change, key, user.user_key).await? {
        return Err(Error::NotFound);
    }
    audit::append(&mut change, &[caller.did(Action::ChangeAccount, "ended a session")]).await?;
    change.commit().await?;
    Ok(page::see_other("/account"))
}

/// `POST /account/sessions/end-others`
pub async fn end_others(
    caller: Caller,
    _form: Posted<Confirmed>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    let ended = session::end_others(&mut change, caller.session_key(), user.user_key).await?;
    if ended > 0 {
        let entry = caller.did(Action::ChangeAccount, format!("ended {ended} other sessions"));
        audit::append(&mut change, &[entry]).await?;
        change.commit().await?;
    }
    Ok(page::see_other("/account"))
}

/// Names in what a browser calls itself, and what people call that. The first that is there counts: most browsers name
/// others, too.
const BROWSERS: [(&str, &str); 9] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
const SYSTEMS: [(&str, &str); 7] = [
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// `Firefox on Windows`; else the beginning of what the browser calls itself.
fn in_words(user_agent: &str) -> String {
    let find = |names: &[(&str, &'static str)]| {
        names.iter().find(|(name, _)| user_agent.contains(name)).map(|(_, word)| *word)
    };
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, _) if user_agent.trim().is_empty() => "A browser without a name".to_owned(),
        (None, _) => user_agent.chars().take(SHOWN).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_apart_though_they_name_each_other() {
        for (user_agent, words) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Windows",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
                "Safari on macOS",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/138.0.0.0 Mobile/15E148 Safari/604.1",
                "Chrome on iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            ("Firefox/140.0", "Firefox"),
            ("curl/8.14.1", "curl/8.14.1"),
            ("", "A browser without a name"),
        ] {
            assert_eq!(in_words(user_agent), words);
        }
        assert_eq!(in_words(&"ä".repeat(200)).chars().count(), SHOWN);
    }
}

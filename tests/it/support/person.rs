//! People and programs that ask the pages for something.

use filmroom::db::role::Role;
use filmroom::db::session;
use filmroom::db::user::{self, NewUser};
use filmroom::db::visibility::ReferringNames;
use filmroom::people::password::Passwords;
use filmroom::people::{Rules, secret, set_rules};
use reqwest::redirect::Policy;
use tokio::sync::OnceCell;

use super::TestServer;
use super::database::TestDatabase;

/// The password of everybody here.
pub const PASSWORD: &str = "tulip gravel sideways";

/// Somebody with a browser, or a program: what they send with each request.
#[derive(Clone)]
pub struct Person {
    client: reqwest::Client,
    base: String,
    pub headers: Vec<(String, String)>,
}

/// What [`PASSWORD`] is kept as; hashed once for all tests.
pub async fn password_hash() -> String {
    static HASH: OnceCell<String> = OnceCell::const_new();
    HASH.get_or_init(async || Passwords::default().hash(PASSWORD.to_owned()).await.expect("a hash"))
        .await
        .clone()
}

/// Makes an account, and returns its number.
pub async fn account(database: &TestDatabase, name: &str, role: Role, referring_names: &str) -> u64 {
    let mut conn = database.connect().await;
    let new = NewUser {
        name: name.parse().expect("a user name"),
        full_name: String::new(),
        role,
        password_hash: password_hash().await,
        referring_names: ReferringNames::parse(referring_names),
    };
    let user_key = user::add(&mut conn, &new).await.expect("an account");
    conn.disconnect().await.expect("a goodbye");
    user_key
}

/// Nobody needs a second factor.
pub async fn without_second_factor(database: &TestDatabase) {
    let mut conn = database.connect().await;
    let rules = Rules { second_factor_for_administrators: false, basic: true };
    set_rules(&mut conn, rules).await.expect("rules");
    conn.disconnect().await.expect("a goodbye");
}

/// Begins a session without the page for it, and returns what its cookie holds.
pub async fn session_of(database: &TestDatabase, user_key: u64) -> String {
    let secret = secret::Secret::random().expect("random bytes");
    let mut conn = database.connect().await;
    session::begin(&mut conn, &secret.hash(), user_key, "127.0.0.1", "a test").await.expect("a session");
    conn.disconnect().await.expect("a goodbye");
    secret.text().to_owned()
}

/// An administrator called `admin` who is signed in to the server at `http` with this database.
pub async fn administrator(database: &TestDatabase, http: std::net::SocketAddr) -> Person {
    without_second_factor(database).await;
    let user_key = account(database, "admin", Role::Administrator, "").await;
    Person::at(http, "session", &session_of(database, user_key).await)
}

impl Person {
    /// Somebody who sends these headers with each request, and follows no redirect.
    pub fn with_headers(pacs: &TestServer, headers: &[(&str, &str)]) -> Person {
        Person::sending(pacs.http, headers)
    }

    /// Whoever holds this cookie, at this server.
    pub fn at(http: std::net::SocketAddr, name: &str, value: &str) -> Person {
        Person::sending(http, &[("cookie", &format!("__Host-{name}={value}"))])
    }

    fn sending(http: std::net::SocketAddr, headers: &[(&str, &str)]) -> Person {
        let client = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client");
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Person { client, base: format!("http://{http}"), headers }
    }

    /// Nobody in particular.
    pub fn nobody(pacs: &TestServer) -> Person {
        Person::with_headers(pacs, &[])
    }

    /// Nobody in particular, at this server.
    pub fn nobody_at(http: std::net::SocketAddr) -> Person {
        Person::sending(http, &[])
    }

    /// Whoever holds this cookie.
    pub fn with_cookie(pacs: &TestServer, name: &str, value: &str) -> Person {
        Person::at(pacs.http, name, value)
    }

    /// A request with these headers and the person's own.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.client.request(method, format!("{}{path}", self.base));
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// Asks for something.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.request("GET", path).send().await.expect("an answer")
    }

    /// Asks for something with more headers.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let asked = self.request("GET", path);
        let asked = headers.iter().fold(asked, |asked, (name, value)| asked.header(*name, *value));
        asked.send().await.expect("an answer")
    }

    /// The status of what is asked for.
    pub async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status().as_u16()
    }

    /// A page that must be there.
    pub async fn page(&self, path: &str) -> scraper::Html {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "GET {path}");
        scraper::Html::parse_document(&response.text().await.expect("text"))
    }

    /// The token of this person's forms, as a page of theirs has it.
    pub async fn token(&self, path: &str) -> String {
        let text = self.get(path).await.text().await.expect("text");
        token_in(&text).unwrap_or_else(|| panic!("{path} has a form:\n{text}"))
    }

    /// Sends a form with a token that is taken from the page `from`.
    pub async fn post(&self, from: &str, to: &str, fields: &[(&str, &str)]) -> reqwest::Response {
        let token = self.token(from).await;
        self.post_with(&token, to, fields).await
    }

    /// Sends a form with this token.
    pub async fn post_with(&self, token: &str, to: &str, fields: &[(&str, &str)]) -> reqwest::Response {
        let mut all = vec![("token", token)];
        all.extend_from_slice(fields);
        let body = serde_urlencoded::to_string(all).expect("a form");
        let request = self.request("POST", to).header("content-type", "application/x-www-form-urlencoded");
        request.body(body).send().await.expect("an answer")
    }
}

/// The hidden field of a form in this page.
pub fn token_in(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("name=\"token\" value=\"")?;
    rest.split_once('"').map(|(token, _)| token.to_owned())
}

/// The value of a cookie that an answer sets.
pub fn cookie_of(response: &reqwest::Response, name: &str) -> Option<String> {
    let cookies = response.headers().get_all("set-cookie").iter();
    let value = cookies.filter_map(|cookie| cookie.to_str().ok()).find_map(|cookie| {
        let (found, rest) = cookie.split_once('=')?;
        (found == format!("__Host-{name}")).then(|| rest.split(';').next().unwrap_or_default().to_owned())
    });
    value.filter(|value| !value.is_empty())
}

impl TestServer {
    /// Somebody of this role, with an account of this name, signed in.
    pub async fn person(&self, name: &str, role: Role) -> Person {
        self.referring(name, role, "").await
    }

    /// As [`TestServer::person`], who is this Referring Physician.
    pub async fn referring(&self, name: &str, role: Role, referring_names: &str) -> Person {
        let user_key = account(&self.database, name, role, referring_names).await;
        let session = session_of(&self.database, user_key).await;
        Person::with_cookie(self, "session", &session)
    }

    /// Signs in by the page for it.
    pub async fn sign_in(&self, name: &str, password: &str, code: &str) -> reqwest::Response {
        let nobody = Person::nobody(self);
        let page = nobody.get("/login").await;
        let form = cookie_of(&page, "form").expect("a cookie for the form");
        let token = token_in(&page.text().await.expect("text")).expect("a token");
        let browser = Person::with_cookie(self, "form", &form);
        browser.post_with(&token, "/login", &[("name", name), ("password", password), ("code", code)]).await
    }

    /// Number of rows of the audit trail with this action.
    pub async fn audited(&self, action: &str) -> u64 {
        self.count(&format!("audit WHERE action = '{action}'")).await
    }
}

//! Signing in: the first administrator, sessions and how they end, guesses and how they are slowed down.

use std::time::{Duration, Instant};

use base64::Engine;
use filmroom::db::role::{Right, Rights, Role};
use filmroom::db::{token, user};
use filmroom::people::secret::Secret;
use filmroom::people::sign_in::TOKEN_PREFIX;
use filmroom::people::{Rules, set_rules};

use crate::support::database::{self, statement};
use crate::support::person::{self, PASSWORD, Person, account, cookie_of, token_in};
use crate::support::process::{self, Process};
use crate::support::{TestServer, eventually};
use crate::web_study::{all, texts};

/// The page of nobody in particular at this address, the cookie for its form, and the token in it.
async fn form_at(nobody: &Person, path: &str) -> (scraper::Html, String, String) {
    let answer = nobody.get(path).await;
    assert_eq!(answer.status(), 200, "{path}");
    let cookie = cookie_of(&answer, "form").expect("a cookie for the form");
    let text = answer.text().await.expect("text");
    let token = token_in(&text).expect("a token");
    (scraper::Html::parse_document(&text), cookie, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_server_without_users_leads_to_the_first_administrator() {
    let database = database::fresh().await;
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(process::serve(&database.url.with_password(), folder.path())).await;
    let log = process.log();
    let (_, rest) = log.split_once("/setup?token=").unwrap_or_else(|| panic!("the log leads there: {log}"));
    let token: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    let address = format!("/setup?token={token}");
    let nobody = Person::nobody_at(process.http);

    let login = nobody.page("/login").await;
    assert!(texts(&login, ".banner").concat().contains("no account yet"));
    assert_eq!(nobody.status("/setup").await, 403);
    assert_eq!(nobody.status("/setup?token=0123456789abcdef0123456789abcdef").await, 403);
    let (_, cookie, form) = form_at(&nobody, &address).await;
    let browser = Person::at(process.http, "form", &cookie);
    let set_up = async |name: &str, password: &str, again: &str| {
        let fields = [
            ("key", token.as_str()),
            ("name", name),
            ("full_name", "Anna Berg"),
            ("password", password),
            ("again", again),
        ];
        browser.post_with(&form, "/setup", &fields).await
    };
    for (name, password, again, says) in [
        ("Anna Berg", PASSWORD, PASSWORD, "A user name is 1 to 64 letters"),
        ("anna", "short", "short", "at least 12 characters"),
        ("anna", "passwordpassword", "passwordpassword", "easy to guess"),
        ("anna", PASSWORD, "tulip gravel backwards", "not the same password"),
    ] {
        let answer = set_up(name, password, again).await;
        assert_eq!(answer.status(), 200, "{says}");
        let page = scraper::Html::parse_document(&answer.text().await.expect("text"));
        assert!(texts(&page, ".mistake").concat().contains(says), "{says}: {:?}", texts(&page, ".mistake"));
        assert!(!page.html().contains(password), "the password does not come back");
    }
    let made = set_up("Anna", PASSWORD, PASSWORD).await;
    assert_eq!(
        (made.status().as_u16(), &made.headers()["location"]),
        (303, &"/studies".parse().expect("a header"))
    );
    let session = cookie_of(&made, "session").expect("a session");
    let anna = Person::at(process.http, "session", &session);
    assert_eq!(anna.status("/admin/peers").await, 200);
    // Once only.
    assert_eq!(nobody.status(&address).await, 403);
    assert_eq!(set_up("eve", PASSWORD, PASSWORD).await.status(), 403);
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_new_at_each_sign_in_hashed_at_rest_and_bound_to_its_browser() {
    let pacs = TestServer::start().await;
    account(&pacs.database, "anna", Role::Reader, "").await;
    let answer = pacs.sign_in("Anna ", PASSWORD, "").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (303, &"/studies".parse().expect("a header"))
    );
    let set = answer.headers().get_all("set-cookie").iter().filter_map(|cookie| cookie.to_str().ok());
    let set = set.map(str::to_owned).find(|cookie| cookie.starts_with("__Host-session=")).expect("a session");
    for part in ["Path=/", "HttpOnly", "Secure", "SameSite=Lax"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Domain") && !set.contains("Max-Age"), "{set}");
    let first = cookie_of(&answer, "session").expect("a session");
    assert_eq!(first.len(), 32, "128 bits");
    let second = cookie_of(&pacs.sign_in("anna", PASSWORD, "").await, "session").expect("a session");
    assert_ne!(first, second);
    let kept: u64 = pacs.count(&format!("session WHERE HEX(session_hash) LIKE '%{first}%'")).await;
    assert_eq!(kept, 0, "the cookie itself is not kept");

    // A session from before is not taken over by whoever signs in with it.
    let planted = Person::with_cookie(&pacs, "session", "00112233445566778899aabbccddeeff");
    assert_eq!(planted.status("/studies").await, 401);
    let anna = Person::with_cookie(&pacs, "session", &first);
    assert_eq!(anna.status("/studies").await, 200);
    let out = anna.post("/studies", "/logout", &[]).await;
    assert_eq!(out.headers()["clear-site-data"], "\"cache\", \"storage\"");
    assert_eq!(anna.status("/studies").await, 401, "it is over");
    assert_eq!(
        Person::with_cookie(&pacs, "session", &second).status("/studies").await,
        200,
        "the other is not"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_it_is_idle_old_or_its_person_is_disabled() {
    let pacs = TestServer::start().await;
    let user_key = account(&pacs.database, "anna", Role::Reader, "").await;
    let url = &pacs.database.url;
    for (what, change) in [
        ("idle", "UPDATE session SET last_used_at = last_used_at - INTERVAL 31 MINUTE"),
        ("old", "UPDATE session SET created_at = created_at - INTERVAL 13 HOUR"),
        ("disabled", "UPDATE user SET is_disabled = TRUE WHERE name = 'anna'"),
    ] {
        let session = person::session_of(&pacs.database, user_key).await;
        let anna = Person::with_cookie(&pacs, "session", &session);
        assert_eq!(anna.status("/studies").await, 200, "{what}");
        statement(url, change).await;
        assert_eq!(anna.status("/studies").await, 401, "{what}");
    }
    assert_eq!(pacs.sign_in("anna", PASSWORD, "").await.status(), 401, "disabled");

    // Use goes on being noted, but not where a page that stays open looks again by itself.
    let berta = account(&pacs.database, "berta", Role::Reader, "").await;
    let session = person::session_of(&pacs.database, berta).await;
    let berta = Person::with_cookie(&pacs, "session", &session);
    statement(url, "UPDATE session SET last_used_at = last_used_at - INTERVAL 20 MINUTE").await;
    let idle = "session WHERE last_used_at < UTC_TIMESTAMP(6) - INTERVAL 10 MINUTE";
    let before = pacs.count(idle).await;
    berta.request("GET", "/studies").header("x-refresh", "1").send().await.expect("an answer");
    assert_eq!(pacs.count(idle).await, before);
    berta.get("/studies").await;
    assert_eq!(pacs.count(idle).await, before - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_without_a_second_factor_gets_nowhere_while_the_rule_stands() {
    let pacs = TestServer::start().await;
    let rule = async |second_factor_for_administrators| {
        let mut conn = pacs.database.connect().await;
        let rules = Rules { second_factor_for_administrators, basic: true };
        set_rules(&mut conn, rules).await.expect("rules");
        conn.disconnect().await.expect("a goodbye");
    };
    let reader = pacs.person("reader", Role::Reader).await;
    rule(true).await;
    assert_eq!(pacs.admin.status("/studies").await, 403);
    let page =
        pacs.admin.request("GET", "/studies").header("accept", "text/html").send().await.expect("an answer");
    assert_eq!(page.headers()["location"], "/account/second-factor");
    assert_eq!(reader.status("/studies").await, 200);
    // Nor by another way in: their password, a token, or the pages of their account.
    account(&pacs.database, "chief", Role::Administrator, "").await;
    let secret = Secret::random_with(TOKEN_PREFIX).expect("random");
    let mut conn = pacs.database.connect().await;
    let chief = user::credentials(&mut conn, &"chief".parse().expect("a name")).await.expect("a row");
    let (chief, view) = (chief.expect("the chief").user.user_key, Rights::of(&[Right::View]));
    token::add(&mut conn, &secret.hash(), chief, "old", view, 30).await.expect("a token");
    conn.disconnect().await.expect("a goodbye");
    let bearer = Person::with_headers(&pacs, &[("authorization", &format!("Bearer {}", secret.text()))]);
    let with_password = basic(&pacs, "chief", PASSWORD);
    for way_in in [&bearer, &with_password] {
        assert_eq!(way_in.status("/studies").await, 403);
    }
    for path in ["/account", "/admin"] {
        assert_eq!(pacs.admin.status(path).await, 403, "{path}");
    }
    let token_form = pacs.admin.post("/account/second-factor", "/account/tokens", &[("name", "x")]).await;
    assert_eq!(token_form.status(), 403);
    rule(false).await;
    assert_eq!(pacs.admin.status("/studies").await, 200);
    for way_in in [&bearer, &with_password] {
        assert_eq!(way_in.status("/studies").await, 200);
    }
}

fn basic(pacs: &TestServer, name: &str, password: &str) -> Person {
    let value = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    Person::with_headers(pacs, &[("authorization", &format!("Basic {value}"))])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_may_send_name_and_password_unless_that_is_switched_off() {
    let pacs = TestServer::start().await;
    let user_key = account(&pacs.database, "viewer", Role::Reader, "").await;
    assert_eq!(basic(&pacs, "viewer", PASSWORD).status("/studies").await, 200);
    assert_eq!(basic(&pacs, "viewer", "not this one").status("/studies").await, 401);
    assert_eq!(basic(&pacs, "", "").status("/studies").await, 401);
    for nonsense in ["Basic", "Basic !!!", "Bearer x", "Bearer filmroom_", "Digest x", ""] {
        let program = Person::with_headers(&pacs, &[("authorization", nonsense)]);
        assert_eq!(program.status("/studies").await, 401, "{nonsense}");
    }
    // A password that was just right is remembered, and forgotten with the password or the account.
    let began = Instant::now();
    for _ in 0..40 {
        assert_eq!(basic(&pacs, "viewer", PASSWORD).status("/healthz").await, 200);
        assert_eq!(basic(&pacs, "viewer", PASSWORD).status("/studies/1.2.3").await, 404);
    }
    assert!(began.elapsed() < Duration::from_secs(20));
    statement(&pacs.database.url, "UPDATE user SET is_disabled = TRUE WHERE name = 'viewer'").await;
    assert_eq!(basic(&pacs, "viewer", PASSWORD).status("/studies").await, 401);
    statement(&pacs.database.url, "UPDATE user SET is_disabled = FALSE WHERE name = 'viewer'").await;

    // Whoever has a second factor needs a token: a password alone is not enough of them.
    let mut conn = pacs.database.connect().await;
    user::set_totp(&mut conn, user_key, Some(&[7; 20]), 0, &[]).await.expect("a second factor");
    assert_eq!(basic(&pacs, "viewer", PASSWORD).status("/studies").await, 401);
    user::set_totp(&mut conn, user_key, None, 0, &[]).await.expect("none");
    assert_eq!(basic(&pacs, "viewer", PASSWORD).status("/studies").await, 200);
    let rules = Rules { second_factor_for_administrators: false, basic: false };
    set_rules(&mut conn, rules).await.expect("rules");
    conn.disconnect().await.expect("a goodbye");
    assert_eq!(basic(&pacs, "viewer", PASSWORD).status("/studies").await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_the_answer_is_the_same() {
    let pacs = TestServer::start().await;
    let user_key = account(&pacs.database, "anna", Role::Reader, "").await;
    account(&pacs.database, "berta", Role::Reader, "").await;
    let mut conn = pacs.database.connect().await;
    user::set_totp(&mut conn, user_key, Some(&[7; 20]), 0, &[]).await.expect("a second factor");
    user::set_disabled(&mut conn, user_key + 1, true).await.expect("disabled");
    conn.disconnect().await.expect("a goodbye");
    for (name, password, code) in [
        ("nobody", PASSWORD, ""),
        ("anna", "not this one", ""),
        ("anna", PASSWORD, ""),
        ("anna", PASSWORD, "000000"),
        ("berta", PASSWORD, ""),
        ("<script>alert(1)</script>", PASSWORD, ""),
        ("", "", ""),
    ] {
        let answer = pacs.sign_in(name, password, code).await;
        assert_eq!(answer.status(), 401, "{name}");
        assert!(cookie_of(&answer, "session").is_none(), "{name}");
        let text = answer.text().await.expect("text");
        assert!(!text.contains("<script>alert"), "{name}");
        let page = scraper::Html::parse_document(&text);
        assert_eq!(texts(&page, ".form-mistake"), ["The name, the password or the code is wrong."], "{name}");
        let kept = all(&page, "#name").first().and_then(|input| input.attr("value")).map(str::to_owned);
        assert_eq!(kept.as_deref(), Some(name));
    }
}

/// A browser that has the page for signing in, and the token of its form.
async fn browser_at_login(pacs: &TestServer) -> (Person, String) {
    let (_, cookie, token) = form_at(&Person::nobody(pacs), "/login").await;
    (Person::with_cookie(pacs, "form", &cookie), token)
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_slowed_down_and_do_not_keep_the_right_person_out() {
    let pacs = TestServer::start().await;
    account(&pacs.database, "anna", Role::Reader, "").await;
    let (guesser, token) = browser_at_login(&pacs).await;
    let guess = async |password: &str| {
        let fields = [("name", "anna"), ("password", password)];
        guesser.post_with(&token, "/login", &fields).await
    };
    let mut refused = 0;
    for number in 0..30 {
        let answer = guess(&format!("wrong password {number}")).await;
        match answer.status().as_u16() {
            401 => {}
            429 => {
                refused += 1;
                let wait: u64 =
                    answer.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
                assert!((1..=30).contains(&wait), "{wait}");
            }
            other => panic!("{other}"),
        }
    }
    assert!(refused >= 15, "{refused} of 30 guesses were not looked at");
    // Nor does the right password help this browser now; the negative control for what follows.
    assert_eq!(guess(PASSWORD).await.status(), 429);
    // The right person at the same address, with a browser of their own, signs in at once.
    let answer = pacs.sign_in("anna", PASSWORD, "").await;
    assert_eq!(answer.status(), 303);
    // And the guesser's browser may try again soon: what it was told to wait is over by itself.
    eventually("the wait is over", async || guess(PASSWORD).await.status() == 303).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_is_known_is_not_kept_out_by_any_number_of_guesses_elsewhere() {
    let pacs = TestServer::start().await;
    account(&pacs.database, "anna", Role::Reader, "").await;
    let signed_in = pacs.sign_in("anna", PASSWORD, "").await;
    let device = cookie_of(&signed_in, "device").expect("what the browser remembers");
    // Guesses from ever new browsers, until the account itself is closed at this address.
    let mut is_closed = false;
    for number in 0..130 {
        let status = pacs.sign_in("anna", &format!("guess number {number}"), "").await.status();
        is_closed |= status == 429;
    }
    assert!(is_closed, "a hundred guesses from one address close it");
    let (_, form, token) = form_at(&Person::nobody(&pacs), "/login").await;
    let known = format!("__Host-form={form}; __Host-device={device}");
    let known = Person::with_headers(&pacs, &[("cookie", &known)]);
    let fields = [("name", "anna"), ("password", PASSWORD)];
    assert_eq!(known.post_with(&token, "/login", &fields).await.status(), 303);
    // The negative control: what another browser makes up does not help.
    let (_, form, token) = form_at(&Person::nobody(&pacs), "/login").await;
    let made_up = format!("__Host-form={form}; __Host-device=00.{}", "0".repeat(64));
    let made_up = Person::with_headers(&pacs, &[("cookie", &made_up)]);
    assert_eq!(made_up.post_with(&token, "/login", &fields).await.status(), 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_connections_and_wrong_passwords_leave_the_pages_answering() {
    let pacs = TestServer::start().await;
    account(&pacs.database, "anna", Role::Reader, "").await;
    // Five hundred that send a request a byte at a time: half of them its headers, half the form behind them.
    let slow: Vec<_> = (0..500)
        .map(|number: usize| {
            let http = pacs.http;
            tokio::spawn(async move {
                use tokio::io::AsyncWriteExt;
                let mut stream = tokio::net::TcpStream::connect(http).await.expect("a connection");
                let form = format!(
                    "POST /login HTTP/1.1\r\nhost: {http}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                     content-length: 1000\r\n\r\nname="
                );
                let begin = if number.is_multiple_of(2) { "GET /stud".to_owned() } else { form };
                if stream.write_all(begin.as_bytes()).await.is_err() {
                    return;
                }
                while stream.write_all(b"a").await.is_ok() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            })
        })
        .collect();
    let (guesser, token) = browser_at_login(&pacs).await;
    let http = pacs.http;
    let guessing = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        for number in 0.. {
            tick.tick().await;
            let (guesser, token) = (guesser.clone(), token.clone());
            tokio::spawn(async move {
                let wrong = format!("wrong password {number}");
                guesser.post_with(&token, "/login", &[("name", "anna"), ("password", &wrong)]).await
            });
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(pacs.admin.status("/studies").await, 200);
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let began = Instant::now();
    assert_eq!(pacs.sign_in("anna", PASSWORD, "").await.status(), 303, "the right person");
    slowest = slowest.max(began.elapsed());
    guessing.abort();
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    println!("slowest answer with 500 slow connections at {http} and 20 guesses a second: {slowest:?}");
    // Two seconds is what it should be; a machine that does other things meanwhile gets more.
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
}

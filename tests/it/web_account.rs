//! My account: password, second factor, sessions and tokens.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use filmroom::db::role::Role;
use filmroom::people::{Rules, set_rules};
use mysql_async::prelude::Queryable;
use scraper::Html;

use crate::support::TestServer;
use crate::support::instance::slice;
use crate::support::person::{PASSWORD, Person, cookie_of};
use crate::web_study::{all, texts};

const BETTER: &str = "walnut ferry upholstery";

async fn html(answer: reqwest::Response) -> Html {
    Html::parse_document(&answer.text().await.expect("text"))
}

fn value(page: &Html, selector: &str) -> String {
    let found = all(page, selector);
    let input = found.first().unwrap_or_else(|| panic!("{selector}: {}", page.html()));
    input.attr("value").unwrap_or_default().to_owned()
}

/// What changes of accounts have left in the audit trail, the last first.
async fn entries(pacs: &TestServer) -> Vec<(String, String)> {
    let mut conn = pacs.database.connect().await;
    let sql = "SELECT details, outcome FROM audit WHERE action = 'change-account' ORDER BY audit_key DESC";
    let rows = conn.query(sql).await.expect("rows");
    conn.disconnect().await.expect("a goodbye");
    rows
}

async fn run(pacs: &TestServer, sql: &str) {
    let mut conn = pacs.database.connect().await;
    conn.query_drop(sql).await.expect("a statement that runs");
    conn.disconnect().await.expect("a goodbye");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_every_session_and_begins_one_here() {
    let pacs = TestServer::start().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let elsewhere = cookie_of(&pacs.sign_in("anna", PASSWORD, "").await, "session").expect("a session");
    let elsewhere = Person::with_cookie(&pacs, "session", &elsewhere);
    assert_eq!(elsewhere.status("/studies").await, 200);
    let before = pacs.count("audit").await;

    let fields = [("present", PASSWORD), ("password", BETTER), ("again", BETTER)];
    let answer = anna.post("/account", "/account/password", &fields).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (303, &"/account".parse().expect("text"))
    );
    let renewed = cookie_of(&answer, "session").expect("a new session");
    assert!(cookie_of(&answer, "device").is_some(), "this browser is known under the new password");

    assert_eq!(entries(&pacs).await, [("password".to_owned(), "done".to_owned())]);
    assert_eq!(pacs.count("audit").await, before + 1);
    assert_eq!(anna.status("/account").await, 401, "the old cookie is dead");
    assert_eq!(elsewhere.status("/studies").await, 401);
    assert_eq!(Person::with_cookie(&pacs, "session", &renewed).status("/account").await, 200);
    assert_eq!(pacs.sign_in("anna", PASSWORD, "").await.status(), 401);
    assert_eq!(pacs.sign_in("anna", BETTER, "").await.status(), 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_new_password_stands_beside_its_field() {
    let pacs = TestServer::start().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let fields =
        [("present", "not my password"), ("password", "passwordpassword"), ("again", "mismatched-words")];
    let page = html(anna.post("/account", "/account/password", &fields).await).await;
    assert_eq!(texts(&page, "#present-mistake"), ["This is not your present password."]);
    assert!(texts(&page, "#password-mistake").concat().contains("easy to guess"));
    assert_eq!(texts(&page, "#again-mistake"), ["This is not the same password."]);
    for typed in ["not my password", "passwordpassword", "mismatched-words"] {
        assert!(!page.html().contains(typed), "no password comes back");
    }
    assert_eq!(entries(&pacs).await, [("password: wrong present password".to_owned(), "refused".to_owned())]);

    // A good one is not taken either while the present one is wrong, nor the other way round.
    for (present, password) in [("not my password", BETTER), (PASSWORD, "short")] {
        let fields = [("present", present), ("password", password), ("again", password)];
        assert_eq!(anna.post("/account", "/account/password", &fields).await.status(), 200);
    }
    assert_eq!(pacs.sign_in("anna", PASSWORD, "").await.status(), 303);
    assert_eq!(anna.status("/account").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_present_password_cannot_be_guessed() {
    let pacs = TestServer::start().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let token = anna.token("/account").await;
    let mut refused = 0;
    for guess in 0..25 {
        let fields = [("present", format!("guess number {guess}"))];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = anna.post_with(&token, "/account/password", &fields).await;
        if answer.status() == 429 {
            assert!(answer.headers().contains_key("retry-after"));
            refused += 1;
        }
    }
    assert!(refused > 0, "after twenty it takes time");
    assert_eq!(pacs.sign_in("anna", PASSWORD, "").await.status(), 303, "who knows it is not kept out");
}

/// The secret of the form on this page, and the code it gives `steps` from now.
fn code(page: &Html, steps: i64) -> (String, String) {
    let secret = value(page, "input[name=secret]");
    (secret.clone(), code_of(&secret, steps))
}

fn code_of(secret: &str, steps: i64) -> String {
    let bytes = hex::decode(secret).expect("hex");
    assert_eq!(bytes.len(), 20);
    let totp = totp_rs::Builder::new().with_secret(bytes).with_issuer(Some("filmroom"));
    let totp = totp.with_account_name("anna").build().expect("a secret of 20 bytes");
    totp.generate(now().saturating_add_signed(30 * steps)).to_string()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Sets a second factor up; returns its secret, the code that proved it, the codes to recover by, and who goes on.
async fn set_up(pacs: &TestServer, person: &Person) -> (String, String, Vec<String>, Person) {
    let page = person.page("/account/second-factor").await;
    let (secret, code) = code(&page, 0);
    let fields = [("secret", secret.as_str()), ("code", code.as_str())];
    let answer = person.post("/account", "/account/second-factor", &fields).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["cache-control"]),
        (200, &"no-store".parse().expect("text"))
    );
    let session = cookie_of(&answer, "session").expect("a new session");
    let text = answer.text().await.expect("text");
    let page = Html::parse_document(&text);
    let codes = texts(&page, ".recovery-codes code");
    assert_eq!(codes.len(), 10);
    let renewed = Person::with_cookie(pacs, "session", &session);
    let token = value(&page, "form.sign-out input[name=token]");
    assert_eq!(token, renewed.token("/account").await, "forms on this page are of the new session");
    (secret, code, codes, renewed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_stored_once_it_is_proved_and_asked_for_from_then_on() {
    let pacs = TestServer::start().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let page = anna.page("/account/second-factor").await;
    let picture = all(&page, "svg.qr-code")[0];
    assert_eq!((picture.attr("role"), picture.attr("style")), (Some("img"), None));
    assert!(picture.attr("aria-label").is_some_and(|label| !label.is_empty()));
    assert_eq!(all(&page, "svg.qr-code path").len(), 1);
    assert_eq!(pacs.count("user WHERE totp_secret IS NOT NULL").await, 0);

    let (secret, _) = code(&page, 0);
    let fields = [("secret", secret.as_str()), ("code", "000000")];
    let again = html(anna.post("/account", "/account/second-factor", &fields).await).await;
    assert!(texts(&again, "#code-mistake").concat().contains("not the code of now"));
    assert_eq!(value(&again, "input[name=secret]"), secret, "the same key, not one to scan again");
    for wrong in ["", "00", "zz", &"0".repeat(42), "0123456789abcdef0123456789abcdef"] {
        let fields = [("secret", wrong), ("code", "000000")];
        assert_eq!(anna.post("/account", "/account/second-factor", &fields).await.status(), 400, "{wrong}");
    }
    assert_eq!(pacs.count("user WHERE totp_secret IS NOT NULL").await, 0);

    let before = pacs.count("audit").await;
    let (secret, proof, codes, renewed) = set_up(&pacs, &anna).await;
    assert_eq!(pacs.count("audit").await, before + 1);
    assert_eq!(entries(&pacs).await, [("set up a second factor".to_owned(), "done".to_owned())]);
    assert_eq!(anna.status("/account").await, 401, "other sessions end");

    assert_eq!(pacs.sign_in("anna", PASSWORD, "").await.status(), 401);
    assert_eq!(
        pacs.sign_in("anna", PASSWORD, &proof).await.status(),
        401,
        "the code that proved it is taken"
    );
    let next = code_of(&secret, 1);
    assert_eq!(pacs.sign_in("anna", PASSWORD, &next).await.status(), 303);
    assert_eq!(pacs.sign_in("anna", PASSWORD, &next).await.status(), 401, "none is taken twice");
    assert_eq!(pacs.sign_in("anna", PASSWORD, &codes[3]).await.status(), 303);
    assert_eq!(pacs.sign_in("anna", PASSWORD, &codes[3]).await.status(), 401, "nor a recovery code");
    let page = renewed.page("/account/second-factor").await;
    assert!(texts(&page, ".lead").concat().contains("9 are left"));

    // One that is there is not replaced without the password.
    let fields = [("secret", secret.as_str()), ("code", &code_of(&secret, 0))];
    assert_eq!(renewed.post("/account", "/account/second-factor", &fields).await.status(), 400);
    let kept: String = pacs.value("SELECT GROUP_CONCAT(HEX(code_hash)) FROM recovery_code").await;
    for code in &codes {
        assert!(!kept.to_lowercase().contains(&code.replace('-', "")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_codes_are_renewed_and_the_second_factor_removed_with_the_password_alone() {
    let pacs = TestServer::start().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let (_, _, old, anna) = set_up(&pacs, &anna).await;

    let wrong = [("password", "not my password")];
    let page = html(anna.post("/account", "/account/recovery-codes", &wrong).await).await;
    assert_eq!(texts(&page, "#renewing-mistake"), ["This is not your present password."]);
    let page = html(anna.post("/account", "/account/second-factor/remove", &wrong).await).await;
    assert_eq!(texts(&page, "#removing-mistake"), ["This is not your present password."]);
    assert_eq!(pacs.count("user WHERE totp_secret IS NOT NULL").await, 1);

    let before = pacs.count("audit").await;
    let right = [("password", PASSWORD)];
    let page = html(anna.post("/account", "/account/recovery-codes", &right).await).await;
    let new = texts(&page, ".recovery-codes code");
    assert_eq!((new.len(), pacs.count("audit").await), (10, before + 1));
    assert_eq!(pacs.sign_in("anna", PASSWORD, &old[0]).await.status(), 401);
    assert_eq!(pacs.sign_in("anna", PASSWORD, &new[0]).await.status(), 303);

    let before = pacs.count("audit").await;
    assert_eq!(anna.post("/account", "/account/second-factor/remove", &right).await.status(), 303);
    assert_eq!(pacs.count("audit").await, before + 1);
    assert_eq!(entries(&pacs).await[0], ("removed the second factor".to_owned(), "done".to_owned()));
    assert_eq!(
        (pacs.count("user WHERE totp_secret IS NOT NULL").await, pacs.count("recovery_code").await),
        (0, 0)
    );
    assert_eq!(pacs.sign_in("anna", PASSWORD, "").await.status(), 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_sets_a_second_factor_up_before_anything_else() {
    let pacs = TestServer::start().await;
    let mut conn = pacs.database.connect().await;
    set_rules(&mut conn, Rules { second_factor_for_administrators: true, basic: true }).await.expect("rules");
    conn.disconnect().await.expect("a goodbye");
    let chief = pacs.person("chief", Role::Administrator).await;
    for path in ["/studies", "/admin/peers", "/shares"] {
        let answer =
            chief.request("GET", path).header("accept", "text/html").send().await.expect("an answer");
        let to = answer.headers().get("location").map(|to| to.to_str().expect("text").to_owned());
        assert_eq!(
            (answer.status().as_u16(), to.as_deref()),
            (303, Some("/account/second-factor")),
            "{path}"
        );
    }
    let page = chief.page("/account/second-factor").await;
    assert!(texts(&page, ".banner").concat().contains("Administrators sign in with a second factor here."));
    let (secret, code) = code(&page, 0);
    let fields = [("secret", secret.as_str()), ("code", code.as_str())];
    let answer = chief.post("/account/second-factor", "/account/second-factor", &fields).await;
    let chief = Person::with_cookie(&pacs, "session", &cookie_of(&answer, "session").expect("a session"));
    assert_eq!(all(&html(answer).await, ".main-action[href='/studies']").len(), 1);
    assert_eq!(chief.status("/studies").await, 200);

    // And keeps it while the rule is on.
    let page = chief.page("/account/second-factor").await;
    assert!(all(&page, "form[action='/account/second-factor/remove']").is_empty());
    let right = [("password", PASSWORD)];
    let answer = chief.post("/account", "/account/second-factor/remove", &right).await;
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.expect("text").contains("cannot be removed"));
    assert_eq!(pacs.count("user WHERE totp_secret IS NOT NULL").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_and_ended_one_by_one_or_all_but_this() {
    let pacs = TestServer::start().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let others = pacs.person("berta", Role::Reader).await;
    let mut elsewhere = Vec::new();
    for _ in 0..3 {
        let session = cookie_of(&pacs.sign_in("anna", PASSWORD, "").await, "session").expect("a session");
        elsewhere.push(Person::with_cookie(&pacs, "session", &session));
    }
    run(&pacs, "UPDATE session SET user_agent = '<script>alert(1)</script>' WHERE user_agent = ''").await;
    let page = anna.page("/account").await;
    let rows = texts(&page, "#sessions tbody tr");
    assert_eq!(rows.len(), 4);
    assert_eq!(rows.iter().filter(|row| row.contains("This browser")).count(), 1);
    assert_eq!(
        texts(&page, "#sessions .name").iter().filter(|name| *name == "<script>alert(1)</script>").count(),
        3
    );
    assert!(all(&page, "#sessions script").is_empty());

    let key: u64 = pacs.value("SELECT MIN(session_key) FROM session WHERE user_agent LIKE '<%'").await;
    let before = pacs.count("audit").await;
    let end = |key: u64| format!("/account/sessions/{key}/end");
    assert_eq!(others.post("/account", &end(key), &[]).await.status(), 404, "not one's own");
    assert_eq!(elsewhere[0].status("/studies").await, 200);
    let before = before + pacs.audited("query").await;
    assert_eq!(anna.post("/account", &end(key), &[]).await.status(), 303);
    assert_eq!(pacs.count("audit").await, before + 1);
    assert_eq!(elsewhere[0].status("/account").await, 401);
    assert_eq!(elsewhere[1].status("/account").await, 200);

    assert_eq!(anna.post("/account", "/account/sessions/end-others", &[]).await.status(), 303);
    assert_eq!(pacs.count("audit").await, before + 2);
    assert_eq!(entries(&pacs).await[0].0, "ended 2 other sessions");
    for other in &elsewhere {
        assert_eq!(other.status("/account").await, 401);
    }
    assert_eq!((anna.status("/account").await, others.status("/account").await), (200, 200));
    // Nothing is changed, and nothing is said to be.
    assert_eq!(anna.post("/account", "/account/sessions/end-others", &[]).await.status(), 303);
    assert_eq!(pacs.count("audit").await, before + 2);
}

static NAME: LazyLock<String> = LazyLock::new(|| "<img src=x> & \"nightly\"".to_owned());

/// Makes a token with this scope, and returns its text.
async fn make_token(person: &Person, scope: &[&str]) -> String {
    let mut fields = vec![("name", NAME.as_str()), ("days", "30")];
    fields.extend(scope.iter().map(|right| ("scope", *right)));
    let answer = person.post("/account", "/account/tokens", &fields).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["cache-control"]),
        (200, &"no-store".parse().expect("text"))
    );
    let page = html(answer).await;
    let text = texts(&page, ".secret code").concat();
    assert!(
        texts(&page, ".commands")
            .concat()
            .contains(&format!("curl -H 'Authorization: Bearer {text}' http://127"))
    );
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_and_does_what_its_scope_says() {
    let pacs = TestServer::start().await;
    pacs.store(&slice(1, 1, 1, 1).build()).await;
    let anna = pacs.person("anna", Role::Reader).await;
    let before = pacs.count("audit").await;
    let text = make_token(&anna, &["view"]).await;
    assert!(text.starts_with("filmroom_") && text.len() > 40, "{text}");
    assert_eq!(pacs.count("audit").await, before + 1);
    let page = anna.page("/account").await;
    assert!(!page.html().contains(&text), "never again");
    assert_eq!(texts(&page, "#tokens .name"), [NAME.as_str()]);
    assert!(all(&page, "#tokens td img").is_empty(), "a name is text");
    let kept: String = pacs.value("SELECT CONCAT(HEX(token_hash), name, scope) FROM token").await;
    assert!(!kept.to_lowercase().contains(text.trim_start_matches("filmroom_")));

    let program = Person::with_headers(&pacs, &[("authorization", &format!("Bearer {text}"))]);
    assert_eq!(program.status("/studies").await, 200);
    assert_eq!(program.status("/instances/1.2.3.1.1.1/frames/1.png").await, 200);
    assert_eq!(program.status("/instances/1.2.3.1.1.1.dcm").await, 403, "not in its scope");
    assert_eq!(program.status("/admin/peers").await, 403);
    assert_eq!(program.status("/account").await, 403);
    assert_eq!(program.post_with("", "/account/tokens", &[("name", "more")]).await.status(), 403);
    assert!(
        texts(&anna.page("/account").await, "#tokens tbody tr").concat().contains("ago"),
        "its use is noted"
    );

    let other = make_token(&anna, &["view", "download"]).await;
    let downloads = Person::with_headers(&pacs, &[("authorization", &format!("Bearer {other}"))]);
    assert_eq!(downloads.status("/instances/1.2.3.1.1.1.dcm").await, 200);
    run(&pacs, "UPDATE token SET expires_at = UTC_TIMESTAMP(6) WHERE scope = 'view,download'").await;
    assert_eq!(downloads.status("/studies").await, 401);
    assert!(texts(&anna.page("/account").await, "#tokens .row-flag").concat().contains("expired"));

    let key: u64 = pacs.value("SELECT token_key FROM token WHERE scope = 'view'").await;
    let remove = format!("/account/tokens/{key}/remove");
    let berta = pacs.person("berta", Role::Reader).await;
    assert_eq!(berta.post("/account", &remove, &[]).await.status(), 404, "not one's own");
    assert_eq!(program.status("/studies").await, 200);
    let before = pacs.audited("change-account").await;
    assert_eq!(anna.post("/account", &remove, &[]).await.status(), 303);
    assert_eq!(pacs.audited("change-account").await, before + 1);
    assert_eq!(program.status("/studies").await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_hears_nothing_more_once_its_token_or_its_right_is_gone() {
    let pacs = TestServer::start().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let lasting = make_token(&anna, &["view"]).await;
    let removed = make_token(&anna, &["view"]).await;
    let listening = async |token: &str| {
        let bearer = Person::with_headers(&pacs, &[("authorization", &format!("Bearer {token}"))]);
        let events = bearer.get("/events").await;
        assert_eq!(events.status(), 200);
        events
    };
    // What a stream says until it has told of this study, or ended.
    let heard = async |events: &mut reqwest::Response, study: &str| {
        let mut told = String::new();
        while !told.contains(study) {
            let chunk = tokio::time::timeout(Duration::from_secs(15), events.chunk()).await;
            let Some(chunk) = chunk.expect("in time").expect("a stream") else { return false };
            told.push_str(&String::from_utf8_lossy(&chunk));
        }
        true
    };
    let (mut first, mut second) = (listening(&lasting).await, listening(&removed).await);
    run(&pacs, "DELETE FROM token ORDER BY token_key DESC LIMIT 1").await;
    pacs.store(&slice(1, 1, 1, 1).build()).await;
    assert!(heard(&mut first, "data: 1.2.3.1\n").await, "the control");
    assert!(!heard(&mut second, "data: 1.2.3.1\n").await);
    run(&pacs, "UPDATE role SET may_view = FALSE WHERE role = 'reader'").await;
    pacs.store(&slice(2, 2, 1, 1).build()).await;
    assert!(!heard(&mut first, "data: 1.2.3.2\n").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_no_right_its_person_does_not_have_and_never_administers() {
    let pacs = TestServer::start().await;
    let techno = pacs.person("techno", Role::Technologist).await;
    let page = techno.page("/account").await;
    let offered: Vec<_> =
        all(&page, "input[name=scope]").iter().filter_map(|input| input.attr("value")).collect();
    assert_eq!(offered, ["view", "upload", "edit", "send", "query-remote"]);
    let ticked = all(&page, "input[name=scope][checked]");
    assert_eq!(ticked.iter().filter_map(|input| input.attr("value")).collect::<Vec<_>>(), ["view"]);
    make_token(&techno, &["view", "download", "administer", "fly"]).await;
    assert_eq!(pacs.value::<String>("SELECT scope FROM token").await, "view");

    let chief = pacs.person("chief", Role::Administrator).await;
    assert!(all(&chief.page("/account").await, "input[value=administer]").is_empty());
    let nothing = [("name", ""), ("days", "365"), ("scope", "administer")];
    let page = html(chief.post("/account", "/account/tokens", &nothing).await).await;
    assert_eq!((texts(&page, "#token-name-mistake").len(), texts(&page, "#scope-mistake").len()), (1, 1));
    assert_eq!(value(&page, "#days option[selected]"), "365", "what was chosen is kept");
    assert_eq!(pacs.count("token").await, 1);
    let odd = [("name", "x"), ("days", "100000"), ("scope", "view")];
    assert_eq!(chief.post("/account", "/account/tokens", &odd).await.status(), 400);
}

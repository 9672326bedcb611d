//! The pages of accounts.

use filmroom::db::role::Role;
use filmroom::db::user;

use crate::support::TestServer;
use crate::support::person::{PASSWORD, Person, account, cookie_of, session_of};
use crate::web_study::{all, texts};

/// A password that nobody has yet.
const OTHER: &str = "lantern oatmeal corduroy";

/// What the last row of the audit trail says.
async fn last_details(pacs: &TestServer) -> String {
    pacs.value("SELECT details FROM audit ORDER BY audit_key DESC LIMIT 1").await
}

/// The number of an account.
async fn key_of(pacs: &TestServer, name: &str) -> u64 {
    pacs.value(&format!("SELECT user_key FROM user WHERE name = '{name}'")).await
}

/// The page that an answer is.
async fn html(answer: reqwest::Response) -> scraper::Html {
    scraper::Html::parse_document(&answer.text().await.expect("text"))
}

#[tokio::test]
async fn a_user_is_added_listed_and_can_sign_in() {
    let pacs = TestServer::start().await;
    let form = [
        ("name", "Anna.Berg"),
        ("full_name", "<script>alert(1)</script> Berg"),
        ("role", "referrer"),
        ("password", OTHER),
        ("again", OTHER),
        ("referring_names", "Smith^John\r\nSmith^J*"),
    ];
    let added = pacs.admin.post("/admin/users", "/admin/users", &form).await;
    let key = key_of(&pacs, "anna.berg").await;
    assert_eq!(
        (added.status().as_u16(), added.headers()["location"].to_str().expect("text")),
        (303, format!("/admin/users/{key}").as_str())
    );
    assert_eq!(pacs.audited("change-user").await, 1);
    assert_eq!(last_details(&pacs).await, "made anna.berg as referrer");
    assert_eq!(pacs.count("user WHERE referring_names = 'Smith^John\nSmith^J*'").await, 1);

    let list = pacs.admin.get("/admin/users").await.text().await.expect("text");
    assert!(!list.contains("<script>alert"), "a name is text");
    let rows = texts(&scraper::Html::parse_document(&list), ".users tbody tr");
    assert_eq!(rows.len(), 2);
    assert!(
        rows.iter().any(|row| row.contains("<script>alert(1)</script> Berg") && row.contains("Referrer"))
    );
    let page = pacs.admin.get(&format!("/admin/users/{key}")).await.text().await.expect("text");
    assert!(!page.contains("<script>alert"), "a name is text");

    let signed_in = pacs.sign_in("anna.berg", OTHER, "").await;
    assert!(cookie_of(&signed_in, "session").is_some());
    let page = pacs.page(&format!("/admin/users/{key}")).await;
    assert!(texts(&page, ".account-state").concat().contains("signed in now, in 1 session"));
}

#[tokio::test]
async fn mistakes_stand_beside_their_fields_and_nothing_is_stored() {
    let pacs = TestServer::start().await;
    let good = [
        ("name", "anna"),
        ("full_name", "Anna"),
        ("role", "reader"),
        ("password", OTHER),
        ("again", OTHER),
        ("referring_names", ""),
    ];
    for (wrong, mistakes) in [
        (&[("password", "short"), ("again", "short")][..], &["#password-mistake"][..]),
        (&[("password", "password1234"), ("again", "password1234")], &["#password-mistake"]),
        (&[("again", PASSWORD)], &["#again-mistake"]),
        (&[("role", "king"), ("referring_names", "*")], &["#role-mistake", "#referring_names-mistake"]),
        (&[("name", "anna berg")], &["#name-mistake"]),
        (&[("name", "")], &["#name-mistake"]),
        (&[("name", "Admin")], &["#name-mistake"]),
    ] {
        let wrong_one = |field| wrong.iter().find(|(name, _)| *name == field).map(|(_, value)| *value);
        let form = good.map(|(field, value)| (field, wrong_one(field).unwrap_or(value)));
        let password = form[3].1;
        let answer = pacs.admin.post("/admin/users", "/admin/users", &form).await;
        assert_eq!(answer.status(), 200, "{form:?}");
        let text = answer.text().await.expect("text");
        assert!(!text.contains(password), "a password is not shown again");
        let page = scraper::Html::parse_document(&text);
        let found = all(&page, ".mistake");
        assert_eq!(found.len(), mistakes.len(), "{form:?}");
        for mistake in mistakes {
            assert_eq!(all(&page, mistake).len(), 1, "{mistake} of {form:?}");
        }
        let kept = all(&page, "#full_name").first().and_then(|input| input.attr("value")).map(str::to_owned);
        assert_eq!(kept.as_deref(), Some("Anna"));
    }
    assert_eq!((pacs.count("user").await, pacs.audited("change-user").await), (1, 0));
}

#[tokio::test]
async fn another_role_or_name_is_stored_told_and_ends_the_sessions() {
    let pacs = TestServer::start().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let page = format!("/admin/users/{}", key_of(&pacs, "anna").await);
    assert_eq!(anna.status("/studies").await, 200);

    let same = [("full_name", ""), ("role", "reader"), ("referring_names", "")];
    assert_eq!(pacs.admin.post(&page, &page, &same).await.status(), 303);
    assert_eq!(pacs.audited("change-user").await, 0, "nothing was changed");

    let full_name = [("full_name", "Anna"), ("role", "reader"), ("referring_names", "")];
    assert_eq!(pacs.admin.post(&page, &page, &full_name).await.status(), 303);
    assert_eq!(last_details(&pacs).await, "changed anna: full name \"\" to \"Anna\"");
    assert_eq!(anna.status("/studies").await, 200, "a full name ends no session");

    let role = [("full_name", "Anna"), ("role", "referrer"), ("referring_names", "Berg^Anna")];
    assert_eq!(pacs.admin.post(&page, &page, &role).await.status(), 303);
    assert_eq!(pacs.audited("change-user").await, 2);
    assert_eq!(
        last_details(&pacs).await,
        "changed anna: role reader to referrer; names as referring physician \"\" to \"Berg^Anna\""
    );
    assert_eq!(anna.status("/studies").await, 401);
}

#[tokio::test]
async fn who_is_disabled_is_out_at_once_and_may_be_let_in_again() {
    let pacs = TestServer::start().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let page = format!("/admin/users/{}", key_of(&pacs, "anna").await);
    let (disable, enable) = (format!("{page}/disable"), format!("{page}/enable"));

    assert_eq!(pacs.admin.post(&page, &disable, &[]).await.status(), 303);
    assert_eq!(anna.status("/studies").await, 401);
    assert_eq!(pacs.sign_in("anna", PASSWORD, "").await.status(), 401);
    assert_eq!(texts(&pacs.page("/admin/users").await, ".users .tag"), ["disabled"]);
    assert_eq!(pacs.audited("change-user").await, 1);

    assert_eq!(pacs.admin.post(&page, &enable, &[]).await.status(), 303);
    assert_eq!(pacs.admin.post(&page, &enable, &[]).await.status(), 303);
    assert_eq!(pacs.audited("change-user").await, 2, "who is enabled is not enabled again");
    assert_eq!(pacs.sign_in("anna", PASSWORD, "").await.status(), 303);
}

#[tokio::test]
async fn the_last_administrator_is_neither_disabled_nor_given_another_role() {
    let pacs = TestServer::start().await;
    let page = format!("/admin/users/{}", key_of(&pacs, "admin").await);
    let reader = [("full_name", "Ada"), ("role", "reader"), ("referring_names", "")];
    for (to, fields) in [(format!("{page}/disable"), &[][..]), (page.clone(), &reader[..])] {
        let answer = pacs.admin.post(&page, &to, fields).await;
        assert_eq!(answer.status(), 409, "{to}");
        let said = texts(&html(answer).await, "[role=alert]").concat();
        assert!(said.contains("last account that can administer"), "{said}");
    }
    assert_eq!(pacs.admin.status("/admin/users").await, 200);
    assert_eq!(pacs.audited("change-user").await, 0);

    // A second one who is disabled does not count; one who is not, does.
    let second = account(&pacs.database, "second", Role::Administrator, "").await;
    let theirs = format!("/admin/users/{second}");
    assert_eq!(pacs.admin.post(&theirs, &format!("{theirs}/disable"), &[]).await.status(), 303);
    assert_eq!(pacs.admin.post(&page, &page, &reader).await.status(), 409);
    assert_eq!(pacs.admin.post(&theirs, &format!("{theirs}/enable"), &[]).await.status(), 303);
    assert_eq!(pacs.admin.post(&page, &format!("{page}/disable"), &[]).await.status(), 303);
    assert_eq!(pacs.admin.status("/admin/users").await, 401);
}

#[tokio::test]
async fn of_two_administrators_who_disable_each_other_at_once_one_stays() {
    let pacs = TestServer::start().await;
    let first = key_of(&pacs, "admin").await;
    let second = account(&pacs.database, "second", Role::Administrator, "").await;
    let mut conn = pacs.database.connect().await;
    for round in 0..5 {
        let mut both = Vec::new();
        for key in [first, second] {
            user::set_disabled(&mut conn, key, false).await.expect("an account");
            let session = session_of(&pacs.database, key).await;
            both.push(Person::with_cookie(&pacs, "session", &session));
        }
        let tokens = [both[0].token("/admin/users").await, both[1].token("/admin/users").await];
        let (theirs, ours) =
            (format!("/admin/users/{second}/disable"), format!("/admin/users/{first}/disable"));
        tokio::join!(both[0].post_with(&tokens[0], &theirs, &[]), both[1].post_with(&tokens[1], &ours, &[]));
        let left = pacs.count("user WHERE role = 'administrator' AND NOT is_disabled").await;
        assert_eq!(left, 1, "round {round}");
    }
    conn.disconnect().await.expect("a goodbye");
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_and_a_weak_one_is_refused() {
    let pacs = TestServer::start().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let page = format!("/admin/users/{}", key_of(&pacs, "anna").await);
    let to = format!("{page}/password");

    let weak = html(pacs.admin.post(&page, &to, &[("password", "anna"), ("again", "anne")]).await).await;
    assert_eq!((all(&weak, "#password-mistake").len(), all(&weak, "#again-mistake").len()), (1, 1));
    assert_eq!((anna.status("/studies").await, pacs.audited("change-user").await), (200, 0));

    let set = pacs.admin.post(&page, &to, &[("password", OTHER), ("again", OTHER)]).await;
    assert_eq!(set.status(), 303);
    let after = pacs.page(set.headers()["location"].to_str().expect("text")).await;
    assert!(texts(&after, "[role=status]").concat().contains("anna has a new password"));
    assert_eq!(anna.status("/studies").await, 401);
    assert_eq!(pacs.sign_in("anna", OTHER, "").await.status(), 303);
    assert_eq!(pacs.audited("change-user").await, 1);
    assert!(!last_details(&pacs).await.contains(OTHER));
}

#[tokio::test]
async fn a_second_factor_is_removed_with_the_sessions() {
    let pacs = TestServer::start().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let key = key_of(&pacs, "anna").await;
    let page = format!("/admin/users/{key}");
    let remove = format!("{page}/remove-second-factor");
    assert!(all(&pacs.page(&page).await, &format!("form[action='{remove}']")).is_empty());

    let mut conn = pacs.database.connect().await;
    let secret: &[u8] = b"12345678901234567890";
    user::set_totp(&mut conn, key, Some(secret), 1, &[[7; 32]]).await.expect("a factor");
    conn.disconnect().await.expect("a goodbye");
    assert_eq!(pacs.sign_in("anna", PASSWORD, "").await.status(), 401);

    for _ in 0..2 {
        assert_eq!(pacs.admin.post(&page, &remove, &[]).await.status(), 303);
    }
    assert_eq!(anna.status("/studies").await, 401);
    assert_eq!((pacs.count("recovery_code").await, pacs.audited("change-user").await), (0, 1));
    assert_eq!(pacs.sign_in("anna", PASSWORD, "").await.status(), 303);
}

#[tokio::test]
async fn an_account_that_is_not_there_is_not_found() {
    let pacs = TestServer::start().await;
    for path in
        ["/admin/users/999", "/admin/users/x", "/admin/users/-1", "/admin/groups/999", "/admin/groups/x"]
    {
        assert_eq!(pacs.admin.status(path).await, 404, "{path}");
    }
    // The session of somebody who may not administer opens none of it.
    let reader = pacs.person("reader", Role::Reader).await;
    assert_eq!(reader.status("/admin/users").await, 403);
    let home = pacs.admin.get("/admin").await;
    assert_eq!(home.headers()["location"], "/admin/users");
}

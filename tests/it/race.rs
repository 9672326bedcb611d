//! What happens at once, or is given up half-way: a password that is changed while somebody signs in with the old one, a
//! session that ends while it is used, a browser that hangs up before its row is written.

use std::time::Duration;

use filmroom::db;
use filmroom::db::audit::{Action, Actor, ActorKind, Entry};
use filmroom::db::role::Role;
use filmroom::people::trail::{Shown, Trail, WayIn};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::support::person::{PASSWORD, account};
use crate::support::{TestServer, eventually};

/// How long a request is given to come to where it has to wait.
const A_WHILE: Duration = Duration::from_secs(2);

async fn run(conn: &mut Conn, sql: &str) {
    conn.query_drop(sql).await.expect("a statement");
}

fn viewed() -> Entry {
    let actor = Actor { kind: ActorKind::User, name: "anna".into(), address: "127.0.0.1".into() };
    Entry::of(actor, Action::ViewSeries, "")
}

fn series() -> [Shown; 1] {
    [Shown::Series("1.2.3.1".into(), "1.2.3.1.1".into())]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_hangs_up_keeps_its_row_from_nobody() {
    let pacs = TestServer::start().await;
    let trail = Trail::new(db::connect(&pacs.database.url).await.expect("a pool"));
    let row = "audit WHERE action = 'view-series'";
    {
        let shown = series();
        let mut given_up = Box::pin(trail.show_once(WayIn::Session(1), &shown, viewed()));
        let polled = futures_util::poll!(&mut given_up);
        assert!(polled.is_pending(), "it has to wait for the database");
    }
    trail.show_once(WayIn::Session(1), &series(), viewed()).await.expect("a row");
    assert_eq!(pacs.count(row).await, 1);

    // What nobody waits for any more is written all the same, also where it had to wait behind another row.
    let mut conn = pacs.database.connect().await;
    run(&mut conn, "LOCK TABLES audit WRITE").await;
    {
        let mut given_up = [Box::pin(trail.record(viewed())), Box::pin(trail.record(viewed()))];
        for given_up in &mut given_up {
            assert!(tokio::time::timeout(Duration::from_millis(100), given_up).await.is_err());
        }
    }
    run(&mut conn, "UNLOCK TABLES").await;
    eventually("the rows are there", async || pacs.count(row).await == 3).await;

    // And of those that come at once, each is answered when the one row is there.
    run(&mut conn, "LOCK TABLES audit WRITE").await;
    let shown = series();
    let mut at_once: Vec<_> =
        (0..20).map(|_| Box::pin(trail.show_once(WayIn::Session(2), &shown, viewed()))).collect();
    for waiting in &mut at_once {
        assert!(
            tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err(),
            "nothing is written"
        );
    }
    run(&mut conn, "UNLOCK TABLES").await;
    for waiting in at_once {
        waiting.await.expect("a row");
    }
    assert_eq!(pacs.count(row).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_in_while_the_password_changes_is_not_signed_in_with_the_old_one() {
    let pacs = TestServer::start().await;
    account(&pacs.database, "anna", Role::Reader, "").await;
    let mut conn = pacs.database.connect().await;
    run(&mut conn, "BEGIN").await;
    run(&mut conn, "UPDATE user SET password_hash = 'another' WHERE name = 'anna'").await;
    let signing_in = pacs.sign_in("anna", PASSWORD, "");
    let change = async {
        tokio::time::sleep(A_WHILE).await;
        run(&mut conn, "COMMIT").await;
    };
    let (answer, ()) = tokio::join!(signing_in, change);
    assert_eq!(answer.status(), 401);
    assert_eq!(pacs.count("session JOIN user USING (user_key) WHERE user.name = 'anna'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_meanwhile_makes_no_token_and_no_password() {
    let pacs = TestServer::start().await;
    let token = vec![("name", "x"), ("scope", "view"), ("days", "30")];
    let password =
        vec![("present", PASSWORD), ("password", "gravel tulip upwards"), ("again", "gravel tulip upwards")];
    for (name, to, fields, end) in [
        ("anna", "/account/tokens", &token, "ROLLBACK"), // the control
        ("berta", "/account/tokens", &token, "COMMIT"),
        ("carla", "/account/password", &password, "ROLLBACK"), // the control
        ("dora", "/account/password", &password, "COMMIT"),
    ] {
        let person = pacs.person(name, Role::Reader).await;
        let form = person.token("/account").await;
        let before: String =
            pacs.value(&format!("SELECT password_hash FROM user WHERE name = '{name}'")).await;
        let mut conn = pacs.database.connect().await;
        run(&mut conn, "BEGIN").await;
        run(
            &mut conn,
            &format!("DELETE session FROM session JOIN user USING (user_key) WHERE user.name = '{name}'"),
        )
        .await;
        let changing = person.post_with(&form, to, fields);
        let ending = async {
            tokio::time::sleep(A_WHILE).await;
            run(&mut conn, end).await;
        };
        let (answer, ()) = tokio::join!(changing, ending);
        let after: String =
            pacs.value(&format!("SELECT password_hash FROM user WHERE name = '{name}'")).await;
        let tokens =
            pacs.count(&format!("token JOIN user USING (user_key) WHERE user.name = '{name}'")).await;
        let is_changed = tokens > 0 || before != after;
        assert_eq!(is_changed, end == "ROLLBACK", "{name}: {}", answer.status());
        assert_eq!(answer.status() == 401, end == "COMMIT", "{name}");
    }
}

//! `filmroom user`: accounts from a terminal.

use std::process::Stdio;

use filmroom::db::role::Role;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::person::{PASSWORD, account};
use crate::support::{FILMROOM, TestServer};

/// Runs `filmroom user` on a server's database, with this on standard input: exit code, standard output and error.
async fn user(pacs: &TestServer, arguments: &[&str], typed: &str) -> (i32, String, String) {
    let url = pacs.database.url.with_password();
    let mut child = Command::new(FILMROOM)
        .arg("user")
        .args(arguments)
        // Behind what it is about, where people write it.
        .args(["--database-url", &url])
        .env("FILMROOM_LOG", "error")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("filmroom starts");
    let mut stdin = child.stdin.take().expect("a standard input");
    // It may end without reading.
    let _ = stdin.write_all(typed.as_bytes()).await;
    drop(stdin);
    let ended = child.wait_with_output().await.expect("its output");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (ended.status.code().expect("a code"), text(ended.stdout), text(ended.stderr))
}

async fn last_entry(pacs: &TestServer) -> String {
    pacs.value(
        "SELECT CONCAT_WS(' | ', action, actor_kind, address, details) FROM audit ORDER BY audit_key DESC LIMIT 1",
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_listed_changed_and_disabled() {
    let pacs = TestServer::start().await;
    let add = ["add", "anna", "--role", "reader", "--full-name", "Anna Berg", "--password-stdin"];
    let (code, out, err) = user(&pacs, &add, &format!("{PASSWORD}\n")).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "anna can sign in now, as reader\n", ""));
    assert!(
        last_entry(&pacs).await.starts_with("change-user | terminal |  | "),
        "{}",
        last_entry(&pacs).await
    );
    assert_eq!(pacs.sign_in("anna", PASSWORD, "").await.status(), 303);

    let (_, out, _) = user(&pacs, &["list"], "").await;
    let line = out.lines().find(|line| line.starts_with("anna ")).expect("a line");
    assert!(line.contains("reader") && line.ends_with("Anna Berg"), "{line}");

    // Each of these ends the sessions that are there.
    let sessions = "session JOIN user USING (user_key) WHERE user.name = 'anna'";
    assert_eq!(pacs.count(sessions).await, 1);
    let (code, out, _) = user(&pacs, &["role", "anna", "technologist"], "").await;
    assert_eq!((code, out.as_str()), (0, "anna is technologist now\n"));
    assert_eq!(pacs.count(sessions).await, 0);
    let other = "gravel tulip upwards";
    let (code, ..) = user(&pacs, &["password", "anna", "--password-stdin"], other).await;
    assert_eq!(code, 0);
    assert_eq!(pacs.sign_in("anna", PASSWORD, "").await.status(), 401);
    assert_eq!(pacs.sign_in("anna", other, "").await.status(), 303);
    let (code, out, _) = user(&pacs, &["disable", "anna"], "").await;
    assert_eq!((code, out.as_str()), (0, "anna cannot sign in any more\n"));
    assert_eq!(pacs.count(sessions).await, 0);
    assert_eq!(pacs.sign_in("anna", other, "").await.status(), 401);
    assert_eq!(pacs.count("audit WHERE actor_kind = 'terminal'").await, 4, "a row for each");
    assert_eq!(pacs.count(&format!("audit WHERE details LIKE '%{other}%'")).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_one_sentence_and_changes_nothing() {
    let pacs = TestServer::start().await;
    account(&pacs.database, "berta", Role::Reader, "").await;
    let before = pacs.count("user").await;
    for (arguments, typed, says) in [
        (vec!["add", "anna", "--role", "reader", "--password-stdin"], "short", "12 characters"),
        (vec!["add", "anna", "--role", "reader", "--password-stdin"], "", "no password on standard input"),
        (vec!["add", "anna", "--role", "reader"], PASSWORD, "--password-stdin"),
        (vec!["add", "anna", "--role", "surgeon", "--password-stdin"], PASSWORD, "surgeon"),
        (vec!["add", "a b", "--role", "reader", "--password-stdin"], PASSWORD, "a b"),
        (vec!["add", "berta", "--role", "reader", "--password-stdin"], PASSWORD, "berta"),
        (vec!["disable", "nobody-here"], "", "there is no user nobody-here"),
        (vec!["role", "berta", "surgeon"], "", "surgeon"),
    ] {
        let (code, out, err) = user(&pacs, &arguments, typed).await;
        assert!(code != 0 && out.is_empty(), "{arguments:?}: {code} {out}");
        assert!(err.contains(says), "{arguments:?}: {err}");
    }
    assert_eq!(pacs.count("user").await, before);
    assert_eq!(pacs.count("audit WHERE actor_kind = 'terminal'").await, 0);
}

/// Nobody is left who could let somebody in.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_stays_one() {
    let pacs = TestServer::start().await;
    let name: String = pacs.value("SELECT name FROM user WHERE role = 'administrator'").await;
    for arguments in [["disable", name.as_str()].to_vec(), ["role", name.as_str(), "reader"].to_vec()] {
        let (code, _, err) = user(&pacs, &arguments, "").await;
        assert!(code != 0 && err.contains("administrator"), "{arguments:?}: {err}");
    }
    assert_eq!(pacs.count("user WHERE role = 'administrator' AND NOT is_disabled").await, 1);
}
